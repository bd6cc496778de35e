"""A few rows take a short way through the compiled core: the answers, and what is refused, are those of the gate."""

import copy
import itertools
import pickle
import subprocess
import sys
import timeit

import numpy as np
import pytest

import backprop as bp

SIZES = (5, 16, 8, 2)


def network(dtype="float32"):
    layers = [bp.Dense(n_in, n_out, "tanh") for n_in, n_out in itertools.pairwise(SIZES)]
    return bp.Sequential(layers, rng=0, dtype=dtype)


def by_the_gate(net, x, **how):
    """The same call by the long way, and what it raises."""
    given = {"batch_size": None, "threads": None, "out": None, **how}
    return net._predict(x, given["batch_size"], given["threads"], given["out"])


TYPES = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "l", "q", "L", "Q"]


def numbers(dtype, shape):
    rng = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-45, 30, shape)).astype(dtype)
    if dtype == "?":
        return rng.random(shape) > 0.5
    ends = np.iinfo(dtype)
    return rng.integers(ends.min, ends.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_any_type_and_layout_are_converted_as_the_gate_does(dtype, rows, kind):
    net = network(dtype)
    wide = numbers(kind, (2 * rows, 3 * SIZES[0]))
    layouts = [
        np.ascontiguousarray(wide[:rows, : SIZES[0]]), wide[:rows, : SIZES[0]], wide[::2, 1::3], wide[::-2, 2::3],
        np.asfortranarray(wide[:rows, : SIZES[0]]), np.broadcast_to(wide[0, : SIZES[0]], (rows, SIZES[0])),
        wide[:rows, SIZES[0] - 1 :: -1],
    ]  # fmt: skip
    for x in layouts:
        found = net._plan.predict_few(x)
        assert found is not None
        assert found.dtype == dtype and np.array_equal(found, by_the_gate(net, x))
        assert np.array_equal(found, net(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_numbers_of_python_are_converted_as_the_gate_does(dtype):
    net = network(dtype)
    row = [0.1, -2, 1e-300, 2**53, np.float64(1 / 3)]
    for x in (
        [row], (tuple(row),), [tuple(row), row], ([3, -1, 0, 7, 2**31],), [[16777217.0, 16777217, 0, 0, 0]],
        [np.array(row, "f4")], [np.array(row)[::-1], row], (np.arange(10.0)[::2], np.ones(5, "f4")),
    ):  # fmt: skip
        found = net._plan.predict_few(x)
        assert found is not None and np.array_equal(found, by_the_gate(net, x)), x


def test_what_else_is_numbers_goes_by_the_gate_and_is_right():
    net, row = network(), [1.0, 2.0, 3.0, 4.0, 5.0]
    expected = net.predict(np.array([row], "f4"))
    for x in (
        [[True, 2, 3, 4, 5]], [[np.float32(1), 2, 3, 4, 5]], np.array([row], ">f8"), np.array([row], "f2"),
        np.array([row], np.longdouble), np.array([row], object), [np.arange(1, 6)],
        np.frombuffer(b"\0" + np.array(row).tobytes(), "f8", offset=1).reshape(1, 5),
    ):  # fmt: skip
        assert net._plan.predict_few(x) is None
        assert np.array_equal(net.predict(x), expected), x
    assert net._plan.predict_few([[2**60, 0, 0, 0, 0]]) is None and net.predict([[2**60, 0, 0, 0, 0]]).shape == (1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_type_of_an_array_is_known_whatever_object_says_it(dtype):
    net, x = network(dtype), np.random.default_rng(0).normal(size=(3, 5)).astype(dtype)
    expected = net.predict(x)
    own, described = np.dtype(dtype), np.dtype(dtype, metadata={"unit": "m"})
    for kind in (pickle.loads(pickle.dumps(own)), own.newbyteorder("="), own.newbyteorder(">"), described):
        rows, out = x.astype(kind), np.empty((3, 2), kind)
        assert np.array_equal(net.predict(rows), expected)
        if kind.isnative:
            assert net._plan.predict_few(rows, out) is out and np.array_equal(out, expected)
        else:
            assert net._plan.predict_few(rows) is None and net._plan.predict_few(x, out) is None


def test_what_comes_back_is_an_array_as_any_other():
    net, x = network(), np.ones((1, 5), "f4")
    found, before = net.predict(x), sys.getrefcount(np.dtype("f4"))
    assert type(found) is np.ndarray and found.dtype is np.dtype("f4") and found.shape == (1, 2)
    assert found.flags.owndata and found.flags.carray and found.base is None
    assert np.array_equal(pickle.loads(pickle.dumps(found)), copy.deepcopy(found))
    kept = [net.predict(x) for _ in range(1000)]
    assert len({one.ctypes.data for one in kept}) == 1000 and all(np.array_equal(one, found) for one in kept)
    for _ in range(3):
        with pytest.raises(ValueError, match="got nan"):
            net.predict(x * np.nan)
    del kept
    assert sys.getrefcount(np.dtype("f4")) <= before + 1


ANOTHER_ABI = """
import numpy as np, numpy.random
from numpy._core import _multiarray_umath
del _multiarray_umath._ARRAY_API
import backprop as bp
net = bp.Sequential([bp.Dense(5, 16, "tanh"), bp.Dense(16, 8, "tanh"), bp.Dense(8, 2, "tanh")], rng=0)
x = np.arange(5, dtype="f4").reshape(1, 5)
for rows in (x, x.tolist(), x.astype("f8")):
    assert net._plan.predict_few(rows) is None
    print(net.predict(rows).tobytes().hex())
"""


def test_where_the_fields_of_arrays_are_not_known_the_gate_takes_all():
    run = subprocess.run([sys.executable, "-c", ANOTHER_ABI], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    row = np.arange(5, dtype="f4").reshape(1, 5)
    assert run.stdout.split() == [network().predict(row).tobytes().hex()] * 3


ROW = [1.0, 2.0, 3.0, 4.0, 5.0]
REFUSED = {
    "one dimension": ROW, "one dimension, array": np.array(ROW), "three dimensions": [[ROW]], "narrow": [ROW[:4]],
    "wide": [[*ROW, 6.0]], "ragged": [ROW, ROW[:4]], "ragged arrays": [np.ones(5), np.ones(4)], "text": [[*ROW[:4], "5"]],
    "complex": [[*ROW[:4], 5j]], "complex array": np.ones((1, 5), complex), "None": [[*ROW[:4], None]],
    "dates": np.ones((1, 5), "M8[s]"), "differences": np.ones((1, 5), "m8[s]"), "strings": np.full((1, 5), "1"),
    "nothing in each": np.zeros((1, 5), "V0"), "structure": np.zeros((1, 5), "i4,i4"),
    "NaN": [[*ROW[:4], float("nan")]], "NaN in an array": np.array([[*ROW[:4], np.nan]]),
    "infinity": np.array([ROW, [*ROW[:4], -np.inf]], "f4"), "beyond float32": np.array([ROW, [*ROW[:4], 1e39]]),
    "beyond float32, list": [[*ROW[:4], -1e39]], "beyond any number": [[*ROW[:4], 10**400]],
    "masked": np.ma.masked_array([ROW], [[0, 0, 0, 0, 1]]), "masked rows": [np.ma.masked_array(ROW, [0, 0, 0, 0, 1])],
    "nothing": None, "a set": [set(ROW)], "a string": "hello", "a row that is a string": ["hello"],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_gate_refuses_is_refused_in_its_words(name):
    net, x = network(), REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as expected:
        by_the_gate(net, x)
    for how in ({}, {"threads": 1}, {"batch_size": 4}, {"out": np.empty((1, 2), "f4")}):
        with pytest.raises(type(expected.value)) as found:
            net.predict(x, **how)
        assert "out" in how or str(found.value) == str(expected.value)


def outs(net, x):
    parameters = net.parameters[: 2 * len(x)].reshape(len(x), 2)
    readonly = np.empty((1, 2), "f4")
    readonly.flags.writeable = False
    return {
        "a list": [[0.0, 0.0]], "another type": np.empty((1, 2)), "another shape": np.empty((2, 1), "f4"),
        "more rows": np.empty((2, 2), "f4"), "a vector": np.empty(2, "f4"), "read-only": readonly,
        "strided": np.empty((1, 4), "f4")[:, ::2], "big-endian": np.empty((1, 2), ">f4"),
        "askew": np.frombuffer(bytearray(9), "f4", offset=1).reshape(1, 2), "x": x[:, 1:3], "parameters": parameters,
        "gradients": net.gradients[:2].reshape(1, 2), "masked": np.ma.zeros((1, 2), "f4"),
        "dates": np.zeros((1, 2), "M8[s]"),
    }  # fmt: skip


@pytest.mark.parametrize("name", outs(network(), np.ones((1, 5), "f4")))
def test_an_out_that_the_gate_refuses_is_refused_in_its_words(name):
    net, x = network(), np.ones((1, 5), "f4")
    kept, out = net.parameters.copy(), outs(net, x)[name]
    with pytest.raises((TypeError, ValueError)) as expected:
        by_the_gate(net, x, out=out)
    with pytest.raises(type(expected.value)) as found:
        net.predict(x, out=out)
    assert str(found.value) == str(expected.value)
    assert np.array_equal(net.parameters, kept) and np.array_equal(x, np.ones((1, 5)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_is_written_and_returned(dtype):
    net, x = network(dtype), np.random.default_rng(0).normal(size=(7, 5))
    expected = net.predict(x)
    for given in (x, x.astype("f4").astype("f8"), x.tolist()):
        whole = np.full((9, 2), 7, dtype)
        out = whole[1:8]
        assert net.predict(given, out=out) is out and (whole[[0, 8]] == 7).all()
        assert np.allclose(out, expected, rtol=1e-5)
    aside = np.empty((1, 10), dtype)  # x and out in one array, side by side
    aside[:, :5] = x[:1]
    assert np.array_equal(net.predict(aside[:, :5], out=aside[:, 5:7]), expected[:1])


@pytest.mark.parametrize(
    "how", [{"threads": 1}, {"threads": 2}, {"threads": 1024}, {"batch_size": 1}, {"batch_size": 9}]
)
def test_threads_and_batch_size_change_nothing_about_a_few_rows(how):
    net, x = network(), np.random.default_rng(0).normal(size=(7, 5))
    assert np.array_equal(net.predict(x, **how), net.predict(x))


@pytest.mark.parametrize(
    ("name", "value"),
    [("threads", 0), ("threads", 1025), ("threads", 1.0), ("threads", True), ("threads", "1"), ("batch_size", 0),
     ("batch_size", -1), ("batch_size", 2.0), ("batch_size", True), ("batch_size", 2**41)],
)  # fmt: skip
def test_their_type_and_range_are_looked_at_all_the_same(name, value):
    net, x = network(), np.ones((1, 5), "f4")
    with pytest.raises((TypeError, ValueError)) as expected:
        by_the_gate(net, x, **{name: value})
    with pytest.raises(type(expected.value)) as found:
        net.predict(x, **{name: value})
    assert str(found.value) == str(expected.value) and name in str(found.value)


def test_one_row_costs_little_in_whatever_form_it_comes():
    net = bp.Sequential([bp.Dense(20, 64, "relu"), bp.Dense(64, 32, "relu"), bp.Dense(32, 1)], rng=0)
    x, out = np.ones((1, 20), "f4"), np.empty((1, 1), "f4")
    forms = {
        "float64": ((x.astype("f8"),), {}), "list": ((x.tolist(),), {}), "tuple": ((tuple(map(tuple, x.tolist())),), {}),
        "strided": ((np.ones((1, 40), "f4")[:, ::2],), {}), "whole numbers": ((x.astype("i8"),), {}),
        "out": ((x,), {"out": out}), "threads": ((x,), {"threads": 1}), "batch_size": ((x,), {"batch_size": 8}),
    }  # fmt: skip

    def seconds(args, how):
        return min(timeit.repeat(lambda: net.predict(*args, **how), number=200, repeat=7))

    for name, (args, how) in forms.items():
        ratio = min(seconds(args, how) / seconds((x,), {}) for _ in range(3))
        assert ratio < 5, f"{name}: {ratio:.1f} times what a row of float32 costs"
