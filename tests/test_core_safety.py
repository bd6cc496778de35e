"""No call of the compiled core reads or writes outside a buffer, whatever its arguments: it raises.

The calls are made by another process, which may crash: this file, run as a program, makes them one after the other and
says what came of each. Arrays that are right in every way lie against pages that must not be touched.
"""

import array
import copy
import ctypes
import faulthandler
import math
import mmap
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import pairwise, product

import numpy as np
import pytest
from instances import builds, every_build

REFUSALS = "ValueError", "TypeError", "OverflowError", "MemoryError", "BufferError", "AttributeError", "IndexError"
DTYPES = "float32", "float64"
PATIENCE = 10  # seconds that a call may take
GOOD = "all as it should be"


# Good arguments of everything there is to call; which of them may be None is said beside them.


def make_plan(core, dtype, n_in=3, n_out=2, activation=1, n_steps=1):
    """A network of dense layers (n_in, n_out), (n_out, n_out)..., with penalties."""
    sizes = [n_in] + [n_out] * n_steps
    at, steps = 0, []
    for i, o in pairwise(sizes):
        steps.append((core.OPERATIONS["dense"], activation, 0.0, i, o, at, at + i * o))
        at += (i + 1) * o
    parameters = np.linspace(-1, 1, at + core.ROOM).astype(dtype)
    return core.Plan(
        guarded(parameters),
        guarded(np.zeros_like(parameters)),
        at,
        steps,
        None,
        ((0, at // 2, 0.1, 0.2), (at - 1, at, 0.1, 0.0)),
    )


def graph_steps(core, n_in=3, n_out=2):
    """Every operation there is, of steps that take more than the one before; how many parameters and buffers they have."""
    operation, wide = core.OPERATIONS, n_in + 1
    names = ("columns", "layer_norm", "prelu", "dropout", "add", "batch_norm", "activation", "join", "dense", "scale",
             "periodic", "grouped", "piecewise", "encoded", "lerp", "clip")  # fmt: skip
    at = {name: place for place, name in enumerate(names)}
    table, norm, slopes = 0, 6, 6 + 2 * wide
    batch, weight = slopes + wide, slopes + 3 * wide
    bias = weight + 2 * wide * n_out
    columns = ((table, 3, 2), *((-1, 1, 1) for _ in range(n_in - 1)))
    waves = bias + 2 * n_out
    grouped, encoded, mixed = waves + 4 * n_out, waves + 8 * n_out, waves + 11 * n_out
    turning = 0, tuple(each for c in range(n_out) for each in ((c, 2, c, 0), (c, 0, 0, 0)))
    binned = 2 * wide, tuple((c, 2, 0, 0) for c in range(n_out))
    return [
        (operation["columns"], 0, 0.0, n_in, wide, 0, -1, -1, -1, 0, columns),
        (operation["layer_norm"], 0, 1e-5, wide, wide, norm, norm + wide, at["columns"], -1, 1, ()),
        (operation["prelu"], 0, 0.0, wide, wide, slopes, -1, at["layer_norm"], -1, 2, ()),
        (operation["dropout"], 0, 0.3, wide, wide, -1, -1, at["prelu"], -1, 3, ()),
        (operation["add"], 0, 0.0, wide, wide, -1, -1, at["dropout"], at["columns"], 4, ()),
        (operation["batch_norm"], 0, 1e-5, wide, wide, batch, batch + wide, at["add"], -1, 5, (0.1, 0)),
        (operation["activation"], core.ACTIVATIONS["gelu"], 0.0, wide, wide, -1, -1, at["batch_norm"], -1, 6, ()),
        (operation["join"], 0, 0.0, wide, 2 * wide, -1, -1, at["activation"], at["columns"], 7, ()),
        (operation["dense"], 0, 0.0, 2 * wide, n_out, weight, bias, at["join"], -1, 8, ()),
        (operation["scale"], 0, 0.0, n_out, n_out, bias + n_out, -1, at["dense"], -1, 9, ()),
        (operation["periodic"], 0, 0.0, n_out, 3 * n_out, waves, waves + 2 * n_out, at["scale"], -1, 10, turning),
        (operation["grouped_dense"], 0, 0.0, 3 * n_out, n_out, grouped, grouped + 3 * n_out, at["periodic"], -1, 11,
         (0, ((3, 1, 0, 0),) * n_out)),
        (operation["piecewise_linear"], 0, 0.0, n_out, 2 * n_out, -1, -1, at["grouped"], -1, 12, binned),
        (operation["grouped_dense"], 0, 0.0, 2 * n_out, n_out, encoded, encoded + 2 * n_out, at["piecewise"], -1, 13,
         (0, ((2, 1, 0, 0),) * n_out)),
        (operation["lerp"], 0, 0.0, n_out, n_out, mixed, -1, at["encoded"], at["scale"], 14, ()),
        (operation["clip"], 0, -0.2, n_out, n_out, -1, -1, at["lerp"], -1, 15, (0.3,)),
    ], mixed + n_out, 2 * wide + 3 * n_out  # fmt: skip


def make_graph(core, dtype, n_in=3, n_out=2):
    steps, n, n_buffers = graph_steps(core, n_in, n_out)
    parameters = np.linspace(-1, 1, n + core.ROOM).astype(dtype)
    buffers = guarded(np.full(n_buffers, 0.5, dtype))
    return core.Plan(guarded(parameters), guarded(np.zeros_like(parameters)), n, steps, buffers), n


def hostile_graphs(core):
    """What no plan can be made of: a name, the place of a step, and what of it is changed."""
    fields = ("operation", "activation", "alpha", "n_in", "n_out", "weight", "bias", "source", "other", "key", "extra")
    changes = {
        "columns": {
            "source": [0, -2, 1], "extra": [(), ((0, 3, 2),), ((0, 3, 2), (-1, 1, 2), (-1, 1, 1)), None, (1, 2, 3),
                                            ((0, 3, 0), (-1, 1, 3), (-1, 1, 1)), ((0, 10**6, 2), (-1, 1, 1), (-1, 1, 1)),
                                            ((0, 2**62, 2), (-1, 1, 1), (-1, 1, 1)), ((2**40, 3, 2), (-1, 1, 1), (-1, 1, 1)),
                                            ((0, 0, 2), (-1, 1, 1), (-1, 1, 1)), ((0, 3, 2), (-1, 1, 1), (-1, 1, 1.5j))],
        },
        "layer_norm": {"weight": [-1, 10**6], "bias": [-1, 10**6, -7], "alpha": [-1.0, math.nan], "source": [1, 5, -2, 2**40]},
        "prelu": {"weight": [-1, 10**6], "n_out": [3, 5]},
        "dropout": {"alpha": [1.0, -0.1, math.nan]},
        "add": {"other": [4, 9, -2, -1], "source": [-1, 4]},
        "batch_norm": {"extra": [(), (0.1,), (0.1, -1), (0.1, 7), (2.0, 0), (math.nan, 0), None, (0.1, 2**62)], "bias": [-1]},
        "activation": {"activation": [-1, 99], "n_in": [3]},
        "join": {"other": [-1, 7, -2], "n_out": [4, 9]},
        "dense": {"source": [0, 8], "weight": [10**6]},
        "scale": {"weight": [-1, 10**6], "n_out": [1, 3]},
        "periodic": {"weight": [-1, 10**6, 2**62], "bias": [10**6, -7], "n_out": [5, 7], "extra": [
            (), None, (0, ()), (0, None), (0, ((0, 2, 0, 0),)), (0, ((0, 7, 0, 0),)), (0, ((2, 5, 0, 0), (0, 0, 0, 0))),
            (0, ((0, 5, 3, 0), (0, 0, 0, 0))), (0, ((0, 5, 2**62, 0), (0, 0, 0, 0))), (0, ((-1, 5, 0, 0), (0, 0, 0, 0))),
            (0, ((0, 5, 0, 9), (0, 0, 0, 0))), (0, ((0, -5, 0, 0), (0, 11, 0, 0))), (0, ((0, 2**62, 0, 0),)), (0, (0, 0)),
            (0, ((0, 3, 0, 0), (0, 2, 0, 0), (0, 0, 0, 0))),
        ]},
        "grouped": {"weight": [-1, 10**6], "n_in": [5, 7], "extra": [
            (), (0, ()), (0, ((6, 1, 0, 0),)), (0, ((3, 2, 0, 0), (4, 0, 0, 0))), (0, ((6, 2**40, 0, 0),)),
            (0, ((3, 1, 0, 0), (2, 1, 0, 0))), (0, ((2**62, 2, 0, 0),)), (0, ((0, 2, 0, 0), (6, 0, 0, 0))), 7,
        ]},
        "piecewise": {"activation": [1], "n_out": [3, 5], "extra": [
            (-1, ((0, 2, 0, 0), (1, 2, 0, 0))), (10**6, ((0, 2, 0, 0), (1, 2, 0, 0))), (0, ((0, 4, 0, 0), (2, 0, 0, 0))),
            (2**62, ((0, 2, 0, 0), (1, 2, 0, 0))), (0, ((0, 1025, 0, 0),)), (0, ((0, 2, 0, 0),)), (10, ((0, 4, 0, 0),)), (),
        ]},
        "encoded": {"weight": [-1, 10**6], "bias": [10**6, -5], "extra": [(0, ((4, 3, 0, 0),)), (0, ((5, 2, 0, 0),))]},
        "lerp": {"weight": [-1, 10**6], "other": [14, -2, 12], "n_out": [3]},
        "clip": {"extra": [(), (math.nan,), (-0.3,), (1e301,), None, (1, 2)], "alpha": [math.nan, 0.5]},
    }  # fmt: skip
    steps, n, n_buffers = graph_steps(core)
    changes["dense"]["activation"] = core.NEEDS_Z
    for place, (name, changed) in enumerate(changes.items()):
        for field, values in changed.items():
            for value in values:
                step = list(steps[place])
                step[fields.index(field)] = value
                yield (
                    f"{name}: {field} {str(value)[:40]}",
                    [*steps[:place], tuple(step), *steps[place + 1 :]],
                    n,
                    n_buffers,
                )
    yield "fewer buffers", steps, n, n_buffers - 1
    yield "fewer parameters", steps, n - 1, n_buffers


def after_forward(plan, dtype, rows=4, n_in=3, n_out=2):
    plan.forward(np.ones((rows, n_in), dtype), np.empty((rows, n_out), dtype))
    return plan


def adam(core):
    """With everything: AMSGrad, weight decay, both clips, the average."""
    return core.OPTIMIZERS["adam"], (0.9, 0.99, 1e-8, 1.0), 0.1, 0.5, 1.5, 0.9


def training_arguments(core, dtype, rows=4, n_in=3, n_out=2, plan=None, **changes):
    plan = plan or make_plan(core, dtype, n_in, n_out)
    n = (n_in + 1) * n_out
    return {
        "plan": plan, "x": np.ones((rows, n_in), dtype), "y": np.ones((rows, n_out), dtype),
        "labels": np.zeros(rows, np.int64), "weights": np.ones(rows), "loss": (core.LOSSES["mean_squared_error"], False, ()),
        "logits": False, "mean": True, "update": adam(core),
        "state": tuple(np.zeros((4, n), dtype)), "ranges": ((0, 2), (3, n)),
        "update_step": 0, "rates": np.full(2, 0.1), "batch_size": 3, "losses": np.zeros((2, 2)),
        "outputs": np.empty((rows, n_out), dtype), "shuffle": True, "seed": 1, "first_epoch": 0, "first_step": 0,
        "threads": 2,
    } | changes  # fmt: skip


def training(core, dtype, **changes):
    return core.Training(**training_arguments(core, dtype, **changes))


def functions(core, dtype):
    """By name: what to call, its arguments, and which of them may be of any length, or be left out."""

    def a(*shape):
        return np.full(shape, 0.5, dtype)

    loss = core.LOSSES["cross_entropy"], False, (0.1,)
    n = 8 + core.ROOM
    return {
        "all_finite": (core.all_finite, {"x": a(5)}, {"x"}, ()),
        "activate": (core.activate, {"activation": 1, "slope": 0.0, "y": a(3, 2)}, {"y"}, ()),
        "activate_backward": (core.activate_backward, {"activation": 1, "slope": 0.0, "y": a(3, 2), "dy": a(3, 2),
                                                       "z": a(3, 2)}, (), {"z"}),
        "from z": (core.activate_backward, {"activation": core.ACTIVATIONS["gelu"], "slope": 0.0, "y": a(3, 2),
                                            "dy": a(3, 2), "z": a(3, 2)}, (), ()),
        "loss_target_width": (core.loss_target_width, {"kind": loss, "n": 3}, (), ()),
        "loss": (core.loss, {"kind": loss, "y_hat": a(3, 2), "y": a(3, 2), "labels": np.zeros(3, np.int64),
                             "weights": np.ones(3), "norm": 1.0, "values": np.zeros(3), "dy": a(3, 2)},
                 (), {"y", "labels", "weights"}),
        "apply_update": (core.apply_update, {"kind": adam(core), "learning_rate": 0.1, "step": 1, "p": a(5), "g": a(5),
                                             "state": tuple(a(4, 5)), "ranges": ((0, 2), (3, 5))}, (), ()),
        "permutation": (core.permutation, {"seed": 1, "epoch": 1, "order": np.zeros(5, np.int64)}, {"order"}, ()),
        "Plan": (core.Plan, {"parameters": a(n), "gradients": a(n), "n_parameters": 8,
                             "steps": [(core.OPERATIONS["dense"], 1, 0.0, 3, 2, 0, 6)],
                             "buffers": a(4), "penalties": ((0, 6, 0.1, 0.2),)},
                 {"parameters", "gradients", "buffers"}, {"buffers"}),
        "predict": (make_plan(core, dtype).predict, {"x": a(4, 3), "out": a(4, 2), "logits": False, "threads": 1}, (), ()),
        "predict, threads": (make_plan(core, dtype).predict, {"x": a(600, 3), "out": a(600, 2), "logits": False,
                                                              "threads": 2}, (), ()),
        "forward": (make_plan(core, dtype).forward, {"x": a(4, 3), "out": a(4, 2), "seed": 1, "step": 1,
                                                      "training": True, "logits": False}, (), ()),
        "backward": (after_forward(make_plan(core, dtype), dtype).backward, {"dy": a(4, 2), "dx": a(4, 3),
                                                                            "penalties": 1.0, "parameters": True}, (), {"dx"}),
        "Training": (lambda *args: core.Training(**dict(zip(training_arguments(core, dtype), args, strict=True))),
                     training_arguments(core, dtype), {"rates", "losses"},
                     {"y", "labels", "weights", "outputs", "update"}),
    }  # fmt: skip


OUTPUTS = {"y": ("activate",), "dy": ("activate_backward", "from z", "loss"), "values": ("loss",), "p": ("apply_update",),
           "order": ("permutation",),
           "out": ("predict", "predict, threads", "forward"), "dx": ("backward",), "losses": ("Training",),
           "outputs": ("Training",), "parameters": ("Plan",), "gradients": ("Plan",)}  # fmt: skip
CODES = {"activation"}


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def hostile_arrays(a, any_length, alone):
    """What may stand where this array belongs, and must be refused; alone, an array may be of any size and either type."""
    other = np.float64 if a.dtype == np.float32 else np.float32
    yield from {
        "a string": "abc", "bytes": b"\0" * 64, "an int": 5, "a float": 1.5, "a list": a.tolist(), "an object": object(),
        "a class": np.ndarray, "a dict": {}, "float16": a.astype(np.float16),
        "longdouble": a.astype(np.longdouble), "int32": a.astype(np.int32), "uint64": a.astype(np.uint64),
        "bool": a.astype(bool), "complex": a.astype(complex), "objects": a.astype(object), "strings": a.astype(str),
        "other byte order": a.astype(a.dtype.newbyteorder()), "structured": np.zeros(a.shape, "f4,f4"),
        "one dimension more": a[None], "one dimension less": a[0], "no dimension": np.array(1.0, a.dtype),
        "strided": np.repeat(a, 2, -1)[..., ::2], "reversed": a[..., ::-1],
        "broadcast": np.broadcast_to(a[:1], (2**40, *a.shape[1:])),
    }.items()  # fmt: skip
    if a.ndim == 2:
        yield "Fortran order", np.asfortranarray(a)
    if alone:
        return
    yield "another float", a.astype(other)
    if a.ndim == 2:
        yield "wider", np.hstack([a, a])
        yield "narrower", a[:, :-1].copy()
        yield "no columns", a[:, :0].copy()
    if not any_length:
        yield "shorter", a[:-1].copy()
        yield "longer", np.concatenate([a, a[:1]])
        yield "no rows", a[:0].copy()


HOSTILE_INTS = {"None": None, "a string": "a", "400 digits": 10**400, "-400 digits": -(10**400),
                "2^63 and more": 2**64, "an object": object(), "a list": [1]}  # fmt: skip
HOSTILE_FLOATS = {"None": None, "a string": "a", "complex": 1j, "a list": [1.0], "400 digits": 10**400}
NO_CODES = {"-1": -1, "99": 99, "the least int": -(2**31), "the largest int": 2**31 - 1}


def loss_kinds(core, number=0.1):
    """Every loss with this for each number in its formula, quantile with three levels, focal also with outputs apart."""
    counts = {"huber": 1, "quantile": 3, "cross_entropy": 1, "focal": 4}
    for name, code in core.LOSSES.items():
        yield name, (code, True, (number,) * counts.get(name, 0))
    for weights in 1, 2, 31:
        kind = core.LOSSES["binary_cross_entropy"], True, (number,) * (1 + weights)
        yield f"binary cross-entropy of {weights} weights", kind
    yield "focal, apart", (core.LOSSES["focal"], True, (number, number, number, 1.0))


def hostile_tuples(good, core_name):
    yield from {"empty": (), "shorter": good[:-1], "longer": (*good, 0), "a list": list(good), "an int": 5}.items()
    yield from ((f"the code {name}", (code, *good[1:])) for name, code in NO_CODES.items())
    for i, what in product(range(len(good)), ("a", None)):
        if good[i] is not False:  # a flag may be anything
            yield f"{what!r} at {i}", (*good[:i], what, *good[i + 1 :])
    if isinstance(good[-1], tuple):  # of a loss
        if good[-1]:
            yield "no numbers", (*good[:-1], ())
        yield from {"a number too many": (*good[:-1], (*good[-1], 0.5)),
                    "a million numbers": (*good[:-1], (0.5,) * 10**6), "a list of numbers": (*good[:-1], list(good[-1])),
                    "a string": (*good[:-1], ("a",)), "an endless number": (*good[:-1], (10**400,)),
                    "an array": (*good[:-1], np.ones(1))}.items()  # fmt: skip
    if core_name == "loss":
        yield "None", None
    if isinstance(good[1], tuple):
        numbers = good[1]
        for what, bad in {"nine": (0.0,) * 9, "strings": ("a",) * 3, "None among": (None,), "an int": 5, "a list": [0.5],
                          "400 digits": (10**400,), "complex": (1j,), "an array": np.ones(3)}.items():  # fmt: skip
            yield f"numbers: {what}", (good[0], bad, *good[2:])
        yield "numbers twice", (good[0], numbers, numbers, *good[3:])


def hostile_states(good):
    """What may not stand where the state of an optimizer belongs."""
    yield from {"None": None, "empty": (), "shorter": good[:-1], "longer": (*good, good[0]), "a list": list(good),
                "an array": np.array(good), "an int": 5}.items()  # fmt: skip
    for i, vector in enumerate(good):
        bad = dict(hostile_arrays(vector, False, False)) | {"None": None, "read-only": read_only(vector)}
        yield from ((f"vector {i}: {what}", (*good[:i], value, *good[i + 1 :])) for what, value in bad.items())


def hostile_ranges(good, n):
    """Parts (begin, end, ...) of n numbers; those of an optimizer, which have no more to them, ascend."""
    more = good[0][2:]
    yield from {"None": None, "a list": list(good), "an int": 5, "ints": (0, n), "None inside": (None,),
                "strings": (("a", "b", *more),), "a string": ("ab",), "shorter": (good[0][:-1],),
                "longer": ((*good[0], 0),)}.items()  # fmt: skip
    ends = [(-1, 2), (0, n + 1), (n + 1, n + 1), (3, 2), (n, 0), (-(2**63), 2**62), (0, 2**63 - 1), (2**63, 2**63), (0, 10**400),
            (None, 2), (0, 1.5), (0, "a")]  # fmt: skip
    yield from ((f"{begin:.20} to {end:.20}" if isinstance(begin, str) else f"{str(begin)[:20]} to {str(end)[:20]}",
                 ((begin, end, *more),)) for begin, end in ends)  # fmt: skip
    if not more:
        yield from {"that overlap": ((0, 3), (2, n)), "twice": good * 2, "descending": good[::-1]}.items()


def hostile_steps(good):
    """Lists of steps for a plan."""
    (step,) = good
    yield from {
        "None": None,
        "empty": [],
        "a tuple": (step,),
        "an int": 5,
        "None inside": [None],
        "an int inside": [5],
        "shorter": [step[:-1]],
        "longer": [(*step, 0)],
        "strings": ["abcdefg"],
        "twice": good * 2,
    }.items()
    numbers = [-2, -1, 1, 7, 9, 2**31, 2**40, 2**62, 2**63, -(2**63), 10**400, float("nan"), None, "a"]
    for i, field in enumerate(("operation", "activation", "alpha", "n_in", "n_out", "weight", "bias")):
        for number in numbers:
            harmless = number in {
                "operation": (1,),
                "activation": (1, 7),
                "n_in": (1,),
                "n_out": (1,),
                "weight": (1, 2),
                "bias": (-1, 1),
            }.get(field, ())
            if field != "alpha" and number != step[i] and not (harmless and isinstance(number, int)):
                yield f"{field} {str(number)[:30]}", [(*step[:i], number, *step[i + 1 :])]
    wide = 1, 0, 0.0, 2**39, 2**39, -1, -1
    yield "rows that no memory holds", [wide] * 2**16
    for alpha in (float("nan"), -0.1, 1.0, 1e300):
        yield f"a rate of {alpha}", [(2, 0, alpha, 3, 3, -1, -1)]


def refused(core, dtype):
    """Calls with one argument that does not fit."""
    for name, (call, arguments, any_length, optional) in functions(core, dtype).items():
        yield f"{name}, {GOOD}", lambda c=call, a=arguments: c(*a.values())
        for key, good in arguments.items():
            if isinstance(good, np.ndarray):
                bad = dict(hostile_arrays(good, key in any_length, name in ("all_finite", "activate")))
                if name == "Plan" and key != "buffers":
                    bad["shorter than its room"] = good[:-1].copy()
                if (name == "Plan" and key != "buffers") or key == "rates":
                    bad["empty"] = good[:0].copy()
                if name in OUTPUTS.get(key, ()):
                    bad["read-only"] = read_only(good)
                if key not in optional:
                    bad["None"] = None
            elif key == "steps":
                bad = dict(hostile_steps(good))
            elif key == "state":
                bad = dict(hostile_states(good))
            elif key == "ranges" or (key == "penalties" and name == "Plan"):
                bad = dict(hostile_ranges(good, 5 if name == "apply_update" else 8))
            elif isinstance(good, tuple):
                bad = dict(hostile_tuples(good, key))
                if key == "kind":
                    bad["None"] = None
            elif isinstance(good, bool):
                continue
            elif isinstance(good, int):
                bad = HOSTILE_INTS | (NO_CODES if key in CODES else {})
                if key == "n_parameters":
                    bad = bad | {"-1": -1, "one too many": good + 1, "2^62": 2**62}
                if key == "batch_size":
                    bad = bad | {"0": 0, "-1": -1}
                if key == "batch_size":
                    bad = bad | {"2^63": 2**63}
                if key in ("seed", "first_epoch", "first_step", "update_step", "step", "epoch"):
                    bad = bad | {"-1": -1, "-2^63": -(2**63), "2^64": 2**64}
                if key == "update_step":
                    bad = bad | {"2^62": 2**62, "2^63 - 1": 2**63 - 1}
                if (name, key) == ("apply_update", "step"):
                    bad = bad | {"0": 0, "2^62 + 1": 2**62 + 1, "2^63 - 1": 2**63 - 1}
                if name == "Training" and key == "threads":
                    bad = bad | {"2^31 - 1": 2**31 - 1}
            elif isinstance(good, float):
                bad = HOSTILE_FLOATS
            else:
                bad = {"None": None, "a string": "a", "an object": object(), "an array": np.zeros(3)}
            for what, value in bad.items():
                yield f"{name}: {key}: {what}", lambda c=call, a=arguments | {key: value}: c(*a.values())
    for what, steps, n, n_buffers in hostile_graphs(core):
        yield f"a plan: {what}", lambda s=steps, n=n, b=n_buffers: core.Plan(
            np.zeros(n + core.ROOM, dtype), np.zeros(n + core.ROOM, dtype), n, s, np.zeros(b, dtype))  # fmt: skip
    yield (
        "a plan: buffers of another type",
        lambda: core.Plan(
            np.zeros(100, dtype),
            np.zeros(100, dtype),
            6,
            [(core.OPERATIONS["dense"], 1, 0.0, 3, 2, 0, -1)],
            np.zeros(4, int),
        ),
    )


# Calls that are wrong in other ways. Each must raise, or do no harm.


class Clears:
    """A number, for which a list is emptied while it is read."""

    def __init__(self, things):
        self.things = things

    def __index__(self):
        self.things.clear()
        return 0

    __int__ = __index__

    def __float__(self):
        return float(self.__index__())


def strange(core, dtype):
    """What nobody should do."""

    def cleared(place):
        steps = [(core.OPERATIONS["dense"], 1, 0.0, 3, 3, 0, 9)] * 3000
        steps[0] = tuple(Clears(steps) if i == place else field for i, field in enumerate(steps[0]))
        storage = np.zeros(12 + core.ROOM, dtype)
        return core.Plan(storage, storage.copy(), 12, steps)

    for place in range(7):
        yield f"steps that vanish while field {place} is read", lambda p=place: cleared(p)

    def shrunk(name, n):
        numbers = array.array("d", bytes(8 * n))
        given = memoryview(numbers).cast("B").cast("d", (n // 2, 2)) if name == "losses" else numbers
        run = training(core, dtype, **{name: given})
        del given, numbers[:]
        return run.run()

    for name, n in (("rates", 5_000_000), ("losses", 100_000)):  # so many that their memory goes back to the system
        yield f"{name} that shrink before the run", lambda name=name, n=n: shrunk(name, n)

    def again(**changes):
        run = training(core, dtype)
        with suppress(ValueError, TypeError):
            run.__init__(**training_arguments(core, dtype, **changes))
        return run.run()

    yield "a training made again", again
    yield "a training made again, refused for its rows", lambda: again(x=np.ones((10**6, 3), dtype))
    yield "a training made again for a large plan", lambda: again(plan=make_plan(core, dtype, 300, 300))
    yield "a training made again without rates", lambda: again(rates=np.zeros(0))
    yield "a training of no plan", lambda: core.Training(**training_arguments(core, dtype) | {"plan": None})
    yield "a training made of nothing", lambda: core.Training.__new__(core.Training).run()
    yield "the steps of a training made of nothing", lambda: core.Training.__new__(core.Training).steps
    yield "a training made of nothing, stopped", lambda: core.Training.__new__(core.Training).stop()
    yield "the work of a training made of nothing", lambda: core.Training.__new__(core.Training).work(0)

    def work(thread):
        run = training(core, dtype, threads=1)
        run.run()
        return run.work(thread)

    yield "the work of a training before it is run", lambda: training(core, dtype).work(0)
    for thread in (-(2**31), -1, 0, 1, 2, 2**31 - 1):
        yield f"the work of thread {thread} after the run", lambda t=thread: work(t)

    def at_once():
        run = training(core, dtype, threads=3, losses=np.zeros((50, 2)))
        threads = [threading.Thread(target=run.run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    yield "one training run by many threads at once", at_once

    def twice():
        run = training(core, dtype)
        return run.run(), run.run()

    yield "a training run twice", twice

    def subclass(base, **methods):
        return type("Mine", (base,), methods)

    yield "a subclass of Training", lambda: subclass(core.Training, work=lambda self, thread: None)(
        **training_arguments(core, dtype)).run()  # fmt: skip
    yield "a subclass of Plan", lambda: subclass(core.Plan)(np.zeros(100, dtype), np.zeros(100, dtype), 0, [])
    for name in ("Memory", "Tape", "Plan", "Rule", "Training"):
        if hasattr(core, name):
            for how, copied in {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickle.dumps}.items():
                for made in ("()", ".__new__"):

                    def call(name=name, copied=copied, made=made):  # fmt: skip
                        kind = getattr(core, name)
                        return copied(kind() if made == "()" else kind.__new__(kind))

                    yield f"{how} of {name}{made}", call
    yield "a copy of a plan", lambda: copy.copy(make_plan(core, dtype))
    yield "a copy of a training", lambda: copy.deepcopy(training(core, dtype))
    one = make_plan(core, dtype)
    for what, x in {**dict(hostile_arrays(np.ones((4, 3), dtype), False, False)), "None": None,
                    "a memoryview": memoryview(np.ones((4, 3), dtype)), "many rows": np.ones((10_000, 3), dtype),
                    "dates": np.zeros((4, 3), "M8[s]"), "a subclass": np.ones((4, 3), dtype).view(np.recarray),
                    "new strings": np.full((4, 3), "a", np.dtypes.StringDType()), "void": np.zeros((4, 3), "V4"),
                    "NaN": np.full((4, 3), np.nan, dtype)}.items():  # fmt: skip
        yield f"predict_few of {what}", lambda x=x: one.predict_few(x)
    yield "a plan made of nothing", lambda: core.Plan.__new__(core.Plan).predict(None, None)
    yield "a plan made again", lambda: make_plan(core, dtype).__init__(None, None, 0, None)
    for rows in (0, 3, 5):
        yield (
            f"backward with {rows} rows before forward",
            lambda r=rows: make_plan(core, dtype).backward(np.ones((r, 2), dtype)),
        )
    plan = make_plan(core, dtype)
    same = np.ones((500, 6), dtype).reshape(-1)
    yield "answers over the inputs", lambda: plan.predict(same[:1500].reshape(500, 3), same[:1000].reshape(500, 2))
    yield "by threads too", lambda: plan.predict(same[:1500].reshape(500, 3), same[9:1009].reshape(500, 2), False, 3)
    for threads in (-(2**31), 0, 2**31 - 1):
        yield f"predict with {threads} threads", lambda t=threads: plan.predict(
            np.ones((600, 3), dtype), np.ones((600, 2), dtype), False, t)  # fmt: skip
    yield "more answers than rows", lambda: plan.predict(np.ones((600, 3), dtype), np.ones((601, 2), dtype), False, 2)
    for number in (float("nan"), float("inf"), 1e308, -1.0, 5e-324):
        for code in core.ACTIVATIONS.values():
            yield (
                f"activation {code} of slope {number}",
                lambda n=number, k=code: core.activate(k, n, np.ones((3, 5), dtype)),
            )
            yield f"activation {code} of {number}", lambda n=number, k=code: core.activate(
                k, 0.1, np.full((3, 5), n).astype(dtype))  # fmt: skip
            yield f"the slope of activation {code} at {number}", lambda n=number, k=code: core.activate_backward(
                k, n, *np.full((3, 3, 5), n).astype(dtype))  # fmt: skip
        for (name, kind), y_hat in product(loss_kinds(core, number), (1.0, number)):

            def strange_loss(k=kind, n=number, z=y_hat):
                y_hat = np.full((3, 6), z, dtype)
                y = np.full((3, core.loss_target_width(k, 6)), n, dtype)
                core.loss(k, y_hat, y, None, None, n, np.ones(3), np.ones((3, 6), dtype))

            yield f"{name} of {y_hat}, its numbers, targets and norm {number}", strange_loss
        for code, step in product(core.OPTIMIZERS.values(), (1, 2, 2**40, 2**62)):
            yield f"optimizer {code} of {number}, step {step}", lambda n=number, k=code, t=step: any_state(
                core, (k, (n,) * 8, n, n, n, n), n, t, np.ones(9, dtype))  # fmt: skip
        yield f"penalties of {number}", lambda n=number: penalised(core, dtype, n)
    for n in (-(2**63), -1, 0, 1, 2**63 - 1):
        for name, kind in loss_kinds(core):
            yield f"the targets of {name} for {n} outputs", lambda k=kind, n=n: core.loss_target_width(k, n)
    for label, (name, kind) in product((-(2**63), -1, 2, 2**63 - 1), loss_kinds(core)):
        labels = np.full(4, label, np.int64)
        yield f"label {label}, {name}", lambda k=kind, ls=labels: core.loss(
            k, np.ones((4, 2), dtype), None, ls, None, 1.0, np.ones(4), np.ones((4, 2), dtype))  # fmt: skip
        yield (
            f"label {label} in training, {name}",
            lambda k=kind, ls=labels: training(core, dtype, y=None, labels=ls, loss=k).run(),
        )
    for (name, kind), width in product(loss_kinds(core), (0, 1, 2, 3)):
        yield f"training under {name} on {width} targets", lambda k=kind, w=width: training(
            core, dtype, y=np.ones((4, w), dtype), labels=None, loss=k).run()  # fmt: skip
        yield f"{name} on {width} targets", lambda k=kind, w=width: core.loss(
            k, np.ones((4, 2), dtype), np.ones((4, w), dtype), None, None, 1.0, np.ones(4), np.ones((4, 2), dtype))  # fmt: skip
    levels = core.LOSSES["quantile"], False, (0.5,) * core.LOSS_NUMBERS
    yield "as many levels as there may be", lambda: core.loss(
        levels, np.ones((4, 64), dtype), np.ones((4, 2), dtype), None, None, 1.0, np.ones(4), np.ones((4, 64), dtype))  # fmt: skip
    for weight in (float("nan"), float("inf"), -1.0, 0.0):
        yield f"weights {weight} in training", lambda w=weight: training(core, dtype, weights=np.full(4, w)).run()
    for changes in ({"batch_size": 2**63 - 1}, {"threads": 0}, {"threads": -5}, {"threads": 40}, {"update_step": -(2**63)},
                    {"update_step": 2**63 - 1}, {"first_epoch": -(2**63)}, {"first_step": 2**64 - 1}, {"first_epoch": 2**64 - 1},
                    {"update_step": 2**62 - 1}, {"seed": 2**64 - 1},
                    {"losses": np.zeros((0, 2))}, {"rates": np.full(1, np.nan)}, {"rates": np.full(99, 0.1)}):  # fmt: skip
        yield f"training with {changes!s:.50}", lambda c=changes: training(core, dtype, **c).run()
    for epoch in (2**63 - 1, 2**64 - 1):
        yield f"the order of epoch {epoch}", lambda e=epoch: core.permutation(2**64 - 1, e, np.zeros(1000, np.int64))

    def without_ranges(update):
        run = training(core, dtype, update=update, ranges=(), state=(), weights=np.zeros(4))
        if not run.run():
            raise AssertionError("nothing was to be changed, and it diverged")

    yield "a training of which nothing may change", lambda: without_ranges(
        (core.OPTIMIZERS["sgd"], (0.0, 0.0), 0.0, 0.0, 1.0, 0.0))  # fmt: skip
    yield "a training without ranges", lambda: training(core, dtype, ranges=None)
    yield "a training without state", lambda: training(core, dtype, state=None)
    yield (
        "a rule by itself",
        lambda: core.Rule(adam(core), tuple(np.zeros((4, 5), dtype)), ((0, 5),), 0, 5, dtype == "float32"),
    )
    yield "a rule of another type", lambda: core.Rule(adam(core), tuple(np.zeros((4, 5))), ((0, 5),), 0, 5, True)
    yield "a rule for fewer than none", lambda: core.Rule(adam(core), tuple(np.zeros((4, 5))), (), 0, -5, False)
    yield "a rule made of nothing", lambda: core.Rule.__new__(core.Rule)

    def nothing(n_out):
        gradients = np.full((4 * n_out) + core.ROOM, 7, dtype)
        net = core.Plan(np.zeros_like(gradients), gradients, 4 * n_out, [(0, 0, 0.0, 3, n_out, 0, 3 * n_out)])
        net.forward(np.empty((0, 3), dtype), np.empty((0, n_out), dtype))
        net.backward(np.empty((0, n_out), dtype), np.empty((0, 3), dtype))
        if gradients[: 4 * n_out].any():
            raise AssertionError("the gradient of no rows is not zero")

    for n_out in (1, 2, 40, 5000):
        yield f"forward and backward of no rows, {n_out} outputs", lambda n=n_out: nothing(n)


def any_state(core, kind, rate, step, p):
    """A step with as much state as the optimizer wants."""
    for count in range(5):
        with suppress(ValueError):
            return core.apply_update(kind, rate, step, p, p.copy(), tuple(np.ones((count, 9), p.dtype)), ((0, 9),))
    raise AssertionError("no number of vectors will do")


def penalised(core, dtype, number):
    """A plan of one layer with this much of a penalty goes backward, and says what it adds."""
    storage = np.linspace(-1, 1, 8 + core.ROOM).astype(dtype)
    plan = core.Plan(
        storage, np.zeros_like(storage), 8, [(0, 1, 0.0, 3, 2, 0, 6)], None, ((0, 6, number, number), (2, 3, 1.0, 0.0))
    )
    after_forward(plan, dtype).backward(np.ones((4, 2), dtype))
    return plan.penalty()


# Good calls, with every array against a page that must not be touched, at its end or at its beginning.


def guarded(a, at_end=True, writable=True):
    """A copy of an array that begins or ends where its memory does; without mprotect, just a copy."""
    if sys.platform != "linux":
        return a.copy()
    page = mmap.PAGESIZE
    inner = -(-max(a.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    start = page + (inner - a.nbytes if at_end else 0)
    inside = np.frombuffer(memory, a.dtype, a.size, start).reshape(a.shape)
    inside[...] = a
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for begin, size, allowed in ((0, page, 0), (page, inner, 3 if writable else 1), (page + inner, page, 0)):
        if mprotect(address + begin, size, allowed) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    return inside


def beside_the_abyss(core, dtype):
    """Good arguments; inputs lie in memory that cannot be written."""
    for at_end in (True, False):
        side = "end" if at_end else "beginning"

        def a(*shape, at_end=at_end):
            return guarded(np.linspace(0.1, 0.9, int(np.prod(shape))).reshape(shape).astype(dtype), at_end, False)

        def to(*shape, at_end=at_end, kind=dtype):
            return guarded(np.full(shape, 0.5, kind), at_end)

        def ints(n, at_end=at_end):
            return guarded(np.arange(n, dtype=np.int64) % 2, at_end, False)

        def doubles(n, at_end=at_end):
            return guarded(np.linspace(0.1, 1, n), at_end, False)

        for n in (0, 1, 3, 15, 16, 17, 64, 1000):
            yield f"all_finite, {n}, {side}", lambda n=n, a=a: core.all_finite(a(n))
            yield f"permutation, {n}, {side}", lambda n=n, to=to: core.permutation(1, 2, to(n, kind=np.int64))
            for code, number, clip in product(core.OPTIMIZERS.values(), (0.0, 0.9), (0.0, 0.5)):

                def step(n=n, kind=(code, (number,) * 8, number, clip, clip, number), a=a, to=to):
                    for count in range(5):
                        with suppress(ValueError):
                            return core.apply_update(
                                kind, 0.1, 1, to(n), a(n), tuple(to(n) for _ in range(count)), ((0, n // 2), (n // 2, n)))  # fmt: skip
                    raise AssertionError("no number of vectors will do")

                yield f"apply_update {code} of {number}, clipped to {clip}, {n}, {side}", step
        for rows, n in ((1, 1), (3, 2), (5, 7), (4, 16), (2, 33), (3, 12), (0, 4), (4, 0)):
            for code in core.ACTIVATIONS.values():
                yield (
                    f"activate {code}, {rows} x {n}, {side}",
                    lambda k=code, s=(rows, n), to=to: core.activate(k, 0.1, to(*s)),
                )
                yield f"activate_backward {code}, {rows} x {n}, {side}", lambda k=code, s=(rows, n), a=a, to=to: (
                    core.activate_backward(k, 0.1, a(*s), to(*s), a(*s)))  # fmt: skip
            for (name, kind), logits, labelled in product(loss_kinds(core), (False, True), (False, True)):
                width = core.loss_target_width(kind, n)
                if (n and not width) or (labelled and not name.startswith(("cross", "focal", "hinge", "squared"))):
                    continue

                def loss(
                    k=kind, z=logits, labelled=labelled, s=(rows, n), w=width, a=a, to=to, ints=ints, doubles=doubles
                ):
                    target, labels = (None, ints(s[0])) if labelled else (a(s[0], w), None)
                    kind = k[0], z, k[2]
                    core.loss(kind, a(*s), target, labels, doubles(s[0]), 0.5, to(s[0], kind=np.float64), to(*s))

                yield f"loss {name} {logits} {labelled}, {rows} x {n}, {side}", loss
        for (n_in, n_out, n_steps), rows in product(
            (
                (1, 1, 1),
                (3, 2, 1),
                (2, 3, 2),
                (5, 17, 2),
                (16, 16, 1),
                (33, 1, 2),
                (7, 40, 1),
                (300, 9, 1),
                (3, 600, 1),
                (1, 1, 0),  # of every operation
                (3, 2, 0),
                (40, 33, 0),
            ),
            (1, 2, 5, 33, 130, 300),
        ):
            for threads in (1, 2):
                yield f"training {n_in}, {n_out} x {n_steps}, {rows} rows, {threads} threads, {side}", (
                    lambda shape=(n_in, n_out, n_steps), rows=rows, threads=threads, at_end=at_end:
                    everything(core, dtype, shape, rows, threads, at_end))  # fmt: skip


def everything(core, dtype, shape, rows, threads, at_end):
    """A network predicts, goes forward and backward, and is trained, on arrays beside the abyss."""
    n_in, n_out, n_steps = shape
    if n_steps == 0:
        plan, n = make_graph(core, dtype, n_in, n_out)
    else:
        plan = make_plan(core, dtype, n_in, n_out, n_steps=n_steps)
        n = (n_in + 1) * n_out + (n_steps - 1) * (n_out + 1) * n_out

    def a(*shape, kind=dtype, writable=False):
        return guarded(np.full(shape, 0.25).astype(kind), at_end, writable)

    x, y, out = a(rows, n_in), a(rows, n_out), a(rows, n_out, writable=True)
    plan.predict(x, out, False, threads)
    answer = plan.predict_few(x)
    if answer is not None and answer.tobytes() != out.tobytes():
        raise AssertionError("an answer is not what predict gives")
    plan.predict(x, out, True, threads)
    plan.forward(x, out)
    plan.backward(y, a(rows, n_in, writable=True))
    plan.backward(y)
    for name, kind in loss_kinds(core):
        width = core.loss_target_width(kind, n_out)
        if not width:
            continue
        labels = a(rows, kind=np.int64) if name in ("cross_entropy", "hinge") else None
        fused = name in ("binary_cross_entropy", "cross_entropy", "kl_divergence") or name.startswith("focal")
        for shuffle in (False, True):
            core.Training(
                plan, x, a(rows, width) if labels is None else None, labels, a(rows, kind=np.float64), loss=kind,
                logits=fused, mean=True, update=adam(core), state=tuple(a(n, writable=True) for _ in range(4)),
                ranges=((0, 1), (1, n)), update_step=0, rates=a(2, kind=np.float64), batch_size=max(1, rows // 2),
                losses=a(2, 2, kind=np.float64, writable=True), outputs=out, shuffle=shuffle, seed=1, first_epoch=0,
                first_step=0, threads=threads,
            ).run()  # fmt: skip


# The program: makes the calls from number `first` on, and says before each which it is and afterwards what came of it.

TABLES = {"refused": refused, "strange": strange, "beside the abyss": beside_the_abyss}


def program(build, dtype, table, first):
    faulthandler.enable()
    core = builds()[build]
    for i, (name, call) in enumerate(TABLES[table](core, dtype)):
        if i < first:
            continue
        print(i, " ".join(name.split()), end="\t", sep="\t", flush=True)
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever is raised is what came of it
            print(" ".join(f"{type(error).__name__}: {error}".split())[:200], flush=True)
        else:
            print("returned", flush=True)
        faulthandler.cancel_dump_traceback_later()


def ask(build, dtype, table):
    """What came of each call: pairs of its name, and 'returned', the error, or how the process died."""
    verdicts, first = [], 0
    while True:
        command = [sys.executable, "-W", "ignore", __file__, build, dtype, table, str(first)]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        verdicts += [(name, verdict) for _, name, verdict in lines if verdict]
        if done.returncode == 0:
            return verdicts
        if not lines:
            raise RuntimeError(done.stderr)
        number, name, verdict = lines[-1]
        died = signal.Signals(-done.returncode).name if done.returncode < 0 else f"no answer in {PATIENCE} s"
        verdicts.append((name, f"crashed{', when it was over' if verdict else ''}: {died}"))
        first = int(number) + 1


def every(test):
    """For every build and dtype."""
    return pytest.mark.parametrize("build", every_build())(pytest.mark.parametrize("dtype", DTYPES)(test))


@every
def test_what_does_not_fit_is_refused(build, dtype):
    verdicts = ask(build, dtype, "refused")
    assert len(verdicts) > 1000
    good = {name: verdict for name, verdict in verdicts if name.endswith(GOOD)}
    assert len(good) >= 12 and set(good.values()) == {"returned"}, good
    assert [v for v in verdicts if v[0] not in good and not v[1].startswith(REFUSALS)] == []


@every
def test_what_nobody_should_do_does_no_harm(build, dtype):
    verdicts = ask(build, dtype, "strange")
    assert len(verdicts) > 100
    harmless = (*REFUSALS, "RuntimeError", "returned")
    assert [(name, verdict) for name, verdict in verdicts if not verdict.startswith(harmless)] == []
    verdicts = dict(verdicts)
    assert verdicts["a training of no plan"].startswith("TypeError")  # not what chance found behind None
    assert verdicts["a training made of nothing"] != "returned"


@every
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="protects pages as Linux does")
def test_good_calls_stay_within_their_arrays(build, dtype):
    verdicts = ask(build, dtype, "beside the abyss")
    assert len(verdicts) > 400
    assert [(name, verdict) for name, verdict in verdicts if verdict != "returned"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages as Linux does")
@pytest.mark.parametrize("reach", ["a[-1]", "a[3]", "a[0] = 1"])
def test_the_guard_bites(reach):
    """The pages beside an array, and those of an input, do stop a process."""
    code = (
        f"import ctypes, sys; sys.path.insert(0, {str(__file__).rpartition('test_core')[0]!r}); import numpy as np\n"
        f"from test_core_safety import guarded\n"
        f"view = guarded(np.zeros(3), {reach != 'a[-1]'}, False)\n"
        f"p = ctypes.cast(view.ctypes.data, ctypes.POINTER(ctypes.c_double)); a = p\n{reach}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGSEGV, done.stderr


if __name__ == "__main__":
    program(*sys.argv[1:4], int(sys.argv[4]))
