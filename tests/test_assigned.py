"""What is assigned to an attribute later is what the constructor would take, or is refused: optimizers, layers, losses..."""

import inspect

import numpy as np
import pytest

import backprop as bp
from backprop import losses, optimizers, schedules

#: What almost no attribute takes.
NONSENSE = ["x", None, -1, -0.5, float("nan"), float("inf"), [], {}, object(), True, 1.5, 10**400, 0, (), "none"]

OBJECTS = {
    **{name: (lambda kind=kind: kind(0.1) if kind is bp.SGD else kind()) for name, kind in optimizers.KINDS.items()},
    "SGD with momentum": lambda: bp.SGD(0.1, 0.9),
    **{name: getattr(losses, name) for name in losses.__all__ if isinstance(getattr(losses, name), type)},
    "Quantile of several": lambda: bp.Quantile((0.1, 0.9)),
    "Constant": lambda: schedules.Constant(0.1), "Cosine": lambda: schedules.Cosine(0.1, 10, growth=2),
    "Exponential": lambda: schedules.Exponential(0.1, 0.5), "OneCycle": lambda: schedules.OneCycle(0.1, 10),
    "Polynomial": lambda: schedules.Polynomial(0.1, 10), "CosLog4": lambda: schedules.CosLog4(0.1, 10),
    "FlatCosine": lambda: schedules.FlatCosine(0.1, 10), "Step": lambda: schedules.Step(0.1, 3),
    "Dense": lambda: bp.Dense(2, 3), "Dropout": lambda: bp.Dropout(0.5), "PReLU": bp.PReLU, "Scale": bp.Scale, "LayerNorm": bp.LayerNorm,
    "BatchNorm": bp.BatchNorm, "Embedding": lambda: bp.Embedding(3, 2), "Columns": lambda: bp.Columns(2, {}),
    "Residual": lambda: bp.Residual([]), "Clip": lambda: bp.Clip(-1, 1), "Ordered": lambda: bp.Ordered(2, 3), "Concatenate": lambda: bp.Concatenate([[], []]),
    "ParametricActivation": lambda: bp.ParametricActivation("mish"), "PeriodicEmbedding": lambda: bp.PeriodicEmbedding(3),
    "PiecewiseLinearEmbedding": lambda: bp.PiecewiseLinearEmbedding([3, None]),
    "Activation": lambda: bp.Activation("relu"), "EarlyStopping": bp.EarlyStopping, "ReduceOnPlateau": bp.ReduceOnPlateau,
    "Checkpoint": lambda: bp.Checkpoint("x"), "CSVLogger": lambda: bp.CSVLogger("x"),
    "LearningRateFinder": bp.LearningRateFinder, "Snapshots": bp.Snapshots,
}  # fmt: skip


def arguments(it):
    names = [name for name in inspect.signature(type(it)).parameters if name != "common"]
    extra = {bp.Optimizer: ("clip_value", "clip_norm", "average", "groups"), bp.Layer: ("trainable",)}
    return names + [name for kind, more in extra.items() if isinstance(it, kind) for name in more if name not in names]


@pytest.mark.parametrize("what", OBJECTS)
def test_every_attribute_is_looked_at(what):
    """It takes what its constructor takes; anything else is refused by name, and leaves it as it was."""
    kind, refused = type(OBJECTS[what]()), 0
    for name in arguments(OBJECTS[what]()):
        for value in NONSENSE:
            it = OBJECTS[what]()
            before = getattr(it, name)
            try:
                setattr(it, name, value)
            except (AttributeError, TypeError, ValueError) as error:
                refused += 1
                assert getattr(it, name) is before
                told = name == "path" or name in str(error) or str(error).startswith(("nesterov", "step_max"))
            else:
                given = {each: getattr(it, each) for each in inspect.signature(kind).parameters if each != "common"}
                together = given.get("nesterov") and not given.get("momentum")  # looked at when it steps
                told = together or kind(**given) is not None
            assert told, (name, value)
    assert refused > 5


@pytest.mark.parametrize("kind", optimizers.KINDS.values())
def test_an_optimizer_takes_no_knob_of_another(kind):
    its, first = (kind(), "mu") if kind is bp.LevenbergMarquardt else (kind(0.1), "learning_rate")
    for name in {"momentum", "beta1", "rho", "weight_decay", "history_size", "eta_plus"} - {*arguments(its)}:
        with pytest.raises(AttributeError, match=f"^{name}: {kind.__name__} has none; it takes {first}"):
            setattr(its, name, 0.5)
    if kind is bp.LBFGS:
        with pytest.raises(ValueError, match=r"^average: expected None, got 0.9: LBFGS\(0.1\) does not support it"):
            its.average = 0.9
        its.average = None
    with pytest.raises(TypeError, match="state: expected a dict of arrays"):
        its.state = {"momentum": "x"}
    for value in (-1, 2**62 + 1, "x", 0.5, None):
        with pytest.raises((TypeError, ValueError), match="steps: expected a whole number"):
            its.steps = value


def test_attributes_that_do_not_go_together_are_refused_where_they_meet():
    net, x = bp.Sequential([bp.Dense(2, 1)], rng=0), np.ones((4, 2))
    for its, says in ((bp.SGD(0.1, 0.9, nesterov=True), "nesterov"), (bp.Rprop(), "step_max")):
        setattr(its, "momentum" if says == "nesterov" else "step_min", 0 if says == "nesterov" else 100)
        with pytest.raises(ValueError, match=f"^{says}: expected"):
            net.fit(x, x[:, :1], loss="mse", optimizer=its)


def test_what_is_assigned_is_used():
    x = np.random.default_rng(0).normal(size=(20, 2))
    nets = [bp.Sequential([bp.Dense(2, 2)], rng=0) for _ in range(2)]
    its = bp.SGD(0.5)
    its.learning_rate, its.momentum, its.clip_norm = 0.1, 0.9, 2
    loss = bp.Huber()
    loss.delta, loss.reduction = 0.5, "sum"
    nets[0].fit(x, x, loss=loss, optimizer=its, epochs=3)
    nets[1].fit(x, x, loss=bp.Huber(0.5, reduction="sum"), optimizer=bp.SGD(0.1, 0.9, clip_norm=2.0), epochs=3)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_what_a_layer_is_made_of_is_settled():
    for layer, name, value in (
        (bp.Embedding(3, 2), "columns", 2), (bp.Embedding(3, 2), "width", 5), (bp.Columns(2, {}), "embeddings", {}),
        (bp.Columns(2, {}), "n_in", 5), (bp.Residual([]), "layers", ()), (bp.Concatenate([[], []]), "branches", ((), ())),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match=f"^{name}: .* cannot be changed: make a new layer"):
            setattr(layer, name, value)
    layer = bp.Dense(2, 3)
    layer.n_in, layer.activation, layer.weight_init = 4, "relu", "zeros"
    net = bp.Sequential([layer], rng=0)
    assert net.n_in == 4 and layer.activation is bp.activations.relu and not layer.weight.any()
