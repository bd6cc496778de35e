"""What the tests run over, in one place: a new activation, layer or loss is one line here, and gets every test."""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import backprop as bp

ACTIVATIONS = {
    "identity": bp.activations.identity,
    "sigmoid": bp.activations.sigmoid,
    "tanh": bp.activations.tanh,
    "relu": bp.activations.relu,
    "leaky_relu": bp.activations.leaky_relu,
    "leaky_relu_0.3": bp.activations.leaky_relu.with_slope(0.3),
    "elu": bp.activations.elu,
    "elu_0.4": bp.activations.elu.with_alpha(0.4),
    "selu": bp.activations.selu,
    "gelu": bp.activations.gelu,
    "gelu_tanh": bp.activations.gelu_tanh,
    "silu": bp.activations.silu,
    "mish": bp.activations.mish,
    "softplus": bp.activations.softplus,
    "softsign": bp.activations.softsign,
    "hard_sigmoid": bp.activations.hard_sigmoid,
    "hard_tanh": bp.activations.hard_tanh,
    "exp": bp.activations.exp,
    "sin": bp.activations.sin,
    "cos": bp.activations.cos,
    "softmax": bp.activations.softmax,
    "log_softmax": bp.activations.log_softmax,
}

#: Layers from 4 numbers to 3, around an activation.
LAYERS = {
    "dense": lambda f: [bp.Dense(4, 3, f, bias_init="lecun_normal")],
    "no bias": lambda f: [bp.Dense(4, 3, f, use_bias=False)],
    "activation": lambda f: [bp.Dense(4, 3, bias_init="lecun_normal"), bp.Activation(f)],
    "dropout": lambda f: [bp.Dropout(0.25), bp.Dense(4, 3, f, bias_init="lecun_normal"), bp.Dropout(0.4)],
    "fixed norm": lambda f: [bp.Dense(4, 3, f, bias_init="lecun_normal"), bp.BatchNorm(momentum=0, epsilon=0.3)],
    "penalties": lambda f: [bp.Dense(4, 3, f, bias_init="lecun_normal", l1=0.02, l2=0.03)],
}


#: Edges for 4 features, none of them a whole number; the second goes on as it is.
EDGES = [[-1.1, -0.2, 0.3, 1.4], None, [-0.4, 0.7], [-1.5, -0.6, 0.2, 0.4, 1.6, 2.2]]

#: Networks from 4 features to 3: one of each layer, alone and within others; names are whole numbers in columns 1 and 3.
NETWORKS = {
    "prelu": lambda: [bp.Dense(4, 5), bp.PReLU(), bp.Dense(5, 3)],
    "prelu alone": lambda: [bp.PReLU(0.4), bp.Dense(4, 3)],
    "scale": lambda: [bp.Scale(0.7), bp.Dense(4, 5, "tanh"), bp.Residual([bp.Scale()]), bp.Dense(5, 3)],
    "layer norm": lambda: [bp.Dense(4, 9, "tanh"), bp.LayerNorm(), bp.Dense(9, 3)],
    "layer norm at both ends": lambda: [bp.LayerNorm(), bp.Dense(4, 3, "tanh"), bp.LayerNorm(epsilon=0.1)],
    "batch norm": lambda: [bp.Dense(4, 9), bp.BatchNorm(), bp.Activation("tanh"), bp.Dense(9, 3)],
    "batch norm at both ends": lambda: [bp.BatchNorm(), bp.Dense(4, 3, "tanh"), bp.BatchNorm(momentum=0.4)],
    "two batch norms": lambda: [bp.BatchNorm(), bp.BatchNorm(epsilon=0.1), bp.Dense(4, 37), bp.BatchNorm(),
                                bp.Dense(37, 3)],
    "residual": lambda: [bp.Residual([bp.Dense(4, 6, "tanh"), bp.Dense(6, 4)]), bp.Dense(4, 3)],
    "residual of itself": lambda: [bp.Dense(4, 3, "tanh"), bp.Residual([])],
    "residuals": lambda: [bp.Residual([bp.BatchNorm(), bp.Residual([bp.Dense(4, 4, "sigmoid")]), bp.LayerNorm()]),
                          bp.Dense(4, 3), bp.Residual([bp.PReLU()])],
    "concatenate": lambda: [bp.Concatenate([[bp.Dense(4, 2, "tanh"), bp.LayerNorm()], [], [bp.Dense(4, 3)]]),
                            bp.Dense(9, 3)],
    "ordered": lambda: [bp.Dense(4, 5, "tanh"), bp.Ordered(5, 4), bp.Dense(4, 3)],
    "ordered last": lambda: [bp.Ordered(4, 3)],
    "clip": lambda: [bp.Clip(-0.5, 0.7), bp.Dense(4, 5, "tanh"), bp.Residual([bp.Clip(-0.3, 0.2)]), bp.Dense(5, 3)],
    "clip last": lambda: [bp.Dense(4, 3), bp.Clip(-0.4, 0.3)],
    "concatenate last": lambda: [bp.Concatenate([[bp.Dense(4, 1)], [bp.Dense(4, 2, "tanh"), bp.BatchNorm()]])],
    "both": lambda: [bp.Concatenate([[bp.Residual([bp.Dense(4, 4, "tanh")])],
                                     [bp.Concatenate([[bp.PReLU()], [bp.Dense(4, 1)]])]]), bp.Dense(9, 3)],
    "names": lambda: [bp.Columns(4, {3: bp.Embedding(2, 3), 1: bp.Embedding(5, 2)}), bp.Dense(7, 3, "tanh")],
    "names in branches": lambda: [bp.Concatenate([[bp.Columns(4, {1: bp.Embedding(5, 2), 3: bp.Embedding(2, 1)})],
                                                  [bp.Dense(4, 2, "tanh")]]), bp.Dense(7, 3)],
    "dropout within": lambda: [bp.Residual([bp.Dropout(0.3), bp.Dense(4, 4, "tanh"), bp.Dropout(0.2)]),
                               bp.Concatenate([[bp.Dropout(0.5)], [bp.Dropout(0.5)]]), bp.Dense(8, 3)],
    "activations that need their input": lambda: [
        bp.Activation("gelu"), bp.Dense(4, 5, "mish"), bp.Residual([bp.Activation("silu")]),
        bp.Dense(5, 3, "gelu_tanh")],
    "parametric": lambda: [bp.Dense(4, 5), bp.ParametricActivation("mish"), bp.Residual([bp.ParametricActivation("tanh")]),
                           bp.Dense(5, 3)],
    "parametric at both ends": lambda: [bp.ParametricActivation("elu"), bp.Dense(4, 3), bp.ParametricActivation("softmax")],
    "waves": lambda: [bp.PeriodicEmbedding(4, columns=[2, 0], n_frequencies=5), bp.Dense(10, 3)],
    "waves of all": lambda: [bp.Dense(4, 2), bp.PeriodicEmbedding(2, n_frequencies=70, width=2, sigma=0.5), bp.Dense(4, 3)],
    "waves behind a rectifier": lambda: [bp.PeriodicEmbedding(4, "plr", n_frequencies=3, width=2, sigma=0.3), bp.Dense(8, 3)],
    "waves in a branch": lambda: [bp.Concatenate([[bp.PeriodicEmbedding(4, width=2)], [bp.Scale()]]), bp.Dense(12, 3)],
    "bins": lambda: [bp.PiecewiseLinearEmbedding(EDGES), bp.Dense(10, 3, "tanh")],
    "bins of what was learned": lambda: [bp.Dense(4, 4, "tanh"), bp.PiecewiseLinearEmbedding(EDGES), bp.Dense(10, 9, "mish"),
                                         bp.Dense(9, 3, use_bias=False)],
    "bins at the end": lambda: [bp.Dense(4, 1), bp.PiecewiseLinearEmbedding([[-0.4, 0.1, 0.2, 0.9]])],
    "bins in branches": lambda: [bp.Concatenate([[bp.PiecewiseLinearEmbedding(EDGES)], [bp.Dense(4, 2)]]), bp.Dense(12, 3)],
    "bins of each column apart": lambda: [bp.PiecewiseLinearEmbedding(EDGES, 3), bp.LayerNorm(), bp.Dense(10, 3)],
    "bins that nothing lies in": lambda: [bp.PiecewiseLinearEmbedding([None, None, None, None], 3), bp.Dense(4, 3)],
    "dropout of bins": lambda: [bp.PiecewiseLinearEmbedding(EDGES), bp.Dropout(0.3), bp.Dense(10, 3)],
    "dropout of bins apart": lambda: [bp.Dropout(0.2), bp.PiecewiseLinearEmbedding(EDGES, 2), bp.Dropout(0.3), bp.Dense(7, 3)],
}  # fmt: skip
every_network = pytest.mark.parametrize("name", NETWORKS)


@dataclass(frozen=True)
class LossInstance:
    """A loss, the activations it can stand under, what targets it takes, and for how many outputs it is tested."""

    name: str
    make: Any  # of the reduction
    ends: tuple[str, ...]
    targets: str  # "real", "unit", "labels", "rows", "signs", "counts"
    n_out: int = 3

    def data(self, rows, rng):
        n = self.make("mean").target_width(self.n_out)
        return {
            "real": lambda: rng.normal(size=(rows, n)),
            "unit": lambda: np.round(rng.random((rows, n)) * 1.5 - 0.25, 1).clip(0, 1),
            "labels": lambda: rng.integers(0, n, rows),
            "rows": lambda: rng.dirichlet(np.ones(n), rows),
            "signs": lambda: rng.choice([-1.0, 1.0], (rows, n)),
            "counts": lambda: rng.poisson(2, (rows, n)),
        }[self.targets]()


SOFT, LINEAR = ("softmax",), ("identity",)
LOSSES = [
    LossInstance("mse", lambda r: bp.MeanSquaredError(reduction=r), tuple(ACTIVATIONS), "real"),
    LossInstance("mae", lambda r: bp.MeanAbsoluteError(reduction=r), LINEAR, "real"),
    LossInstance("huber", lambda r: bp.Huber(0.7, reduction=r), LINEAR, "real"),
    LossInstance("log_cosh", lambda r: bp.LogCosh(reduction=r), LINEAR, "real"),
    LossInstance("median", lambda r: bp.Quantile(reduction=r), LINEAR, "real"),
    LossInstance("quantiles", lambda r: bp.Quantile((0.1, 0.6, 0.9), reduction=r), LINEAR, "real", 6),
    LossInstance("bce", lambda r: bp.BinaryCrossEntropy(reduction=r), ("sigmoid",), "unit"),
    LossInstance("bce-logits", lambda r: bp.BinaryCrossEntropy(from_logits=True, reduction=r), LINEAR, "unit"),
    LossInstance("ce-labels", lambda r: bp.CrossEntropy(reduction=r), SOFT, "labels"),
    LossInstance("ce-rows", lambda r: bp.CrossEntropy(reduction=r), SOFT, "rows"),
    LossInstance("ce-smooth", lambda r: bp.CrossEntropy(label_smoothing=0.1, reduction=r), SOFT, "labels"),
    LossInstance("ce-rows-smooth", lambda r: bp.CrossEntropy(label_smoothing=0.1, reduction=r), SOFT, "rows"),
    LossInstance("ce-logits", lambda r: bp.CrossEntropy(from_logits=True, reduction=r), LINEAR, "labels"),
    LossInstance("ce-logits-rows", lambda r: bp.CrossEntropy(from_logits=True, reduction=r), LINEAR, "rows"),
    LossInstance(
        "ce-logits-smooth",
        lambda r: bp.CrossEntropy(from_logits=True, label_smoothing=0.2, reduction=r),
        LINEAR,
        "labels",
    ),
    LossInstance("focal", lambda r: bp.Focal(reduction=r), ("sigmoid",), "unit", 1),
    LossInstance("focal-each", lambda r: bp.Focal(1.5, 0.3, multi_label=True, reduction=r), ("sigmoid",), "unit"),
    LossInstance("focal-logits", lambda r: bp.Focal(0.5, 0.3, from_logits=True, reduction=r), LINEAR, "unit", 1),
    LossInstance("focal-labels", lambda r: bp.Focal(reduction=r), SOFT, "labels"),
    LossInstance("focal-rows", lambda r: bp.Focal(0.5, reduction=r), SOFT, "rows"),
    LossInstance("focal-logits-labels", lambda r: bp.Focal(1.5, from_logits=True, reduction=r), LINEAR, "labels"),
    LossInstance("hinge", lambda r: bp.Hinge(reduction=r), LINEAR, "signs"),
    LossInstance("hinge-labels", lambda r: bp.Hinge(reduction=r), LINEAR, "labels"),
    LossInstance("squared_hinge", lambda r: bp.SquaredHinge(reduction=r), LINEAR, "signs"),
    LossInstance("poisson", lambda r: bp.Poisson(reduction=r), ("sigmoid",), "counts"),
    LossInstance("poisson-log", lambda r: bp.Poisson(log_input=True, reduction=r), LINEAR, "counts"),
    LossInstance("gaussian_nll", lambda r: bp.GaussianNLL(reduction=r), LINEAR, "real", 4),
    LossInstance("kl", lambda r: bp.KLDivergence(reduction=r), SOFT, "rows"),
    LossInstance("kl-logits", lambda r: bp.KLDivergence(from_logits=True, reduction=r), LINEAR, "rows"),
    LossInstance("cosine", lambda r: bp.CosineSimilarity(reduction=r), LINEAR, "real"),
    LossInstance("bce-smooth", lambda r: bp.BinaryCrossEntropy(label_smoothing=0.1, reduction=r), ("sigmoid",), "unit"),
    LossInstance(
        "bce-weighted",
        lambda r: bp.BinaryCrossEntropy(label_smoothing=0.2, pos_weight=(3, 0.5, 2), reduction=r),
        ("sigmoid",),
        "unit",
    ),
    LossInstance(
        "bce-logits-weighted",
        lambda r: bp.BinaryCrossEntropy(from_logits=True, pos_weight=2.5, reduction=r),
        LINEAR,
        "unit",
    ),
]
REDUCTIONS = ("mean", "sum", "none")


def _gradients():
    """(layer, activation, end, loss): each layer around each activation, and each loss under each of its ends, once.

    A layer and a loss beyond it meet through dy alone; so they are crossed only where the code looks at both: where the
    end is left to the loss, which then sees logits, and where an activation below mixes the numbers of a row.
    """
    mse, bce, labels, rows = (
        next(loss for loss in LOSSES if loss.name == name) for name in ("mse", "bce", "ce-labels", "ce-rows")
    )
    return dict.fromkeys([
        *((layer, f, "identity", mse) for layer in LAYERS for f in ACTIVATIONS),
        *(("dense", "tanh", end, loss) for loss in LOSSES for end in loss.ends),
        *((layer, "gelu", "softmax", labels) for layer in LAYERS),
        *(("dense", "softmax", loss.ends[0], loss) for loss in (bce, labels, rows)),
    ])  # fmt: skip


#: What the gradient is looked at of, in every way that it can be.
GRADIENTS = pytest.mark.parametrize(
    ("layer", "f", "end", "loss"),
    [pytest.param(*case, id="-".join([*case[:3], case[3].name])) for case in _gradients()],
)


def network(layer, f, end, n_out=3):
    """A layer around an activation, and an end of so many outputs."""
    last = bp.Dense(3, n_out, ACTIVATIONS[end], bias_init="he_normal")
    return bp.Sequential([*LAYERS[layer](ACTIVATIONS[f]), last], rng=5, dtype="float64")


def data(loss, rows=5, seed=0):
    """x, y and weights for it, under a loss."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 4)), loss.data(rows, rng), rng.random(rows) + 0.1


#: Optimizers as one writes them, and the same ones of PyTorch: the class and its arguments.
OPTIMIZERS = {
    "SGD(0.1)": ("SGD", {"lr": 0.1}),
    "SGD(0.1, weight_decay=0.02)": ("SGD", {"lr": 0.1, "weight_decay": 0.02}),
    "SGD(0.05, momentum=0.9)": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "SGD(0.05, momentum=0.8, nesterov=True, weight_decay=0.1)": (
        "SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "RMSprop()": ("RMSprop", {}),
    "RMSprop(0.02, momentum=0.8, weight_decay=0.1)": ("RMSprop", {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.1}),
    "RMSprop(0.02, centered=True)": ("RMSprop", {"lr": 0.02, "centered": True}),
    "RMSprop(0.02, alpha=0.9, epsilon=1e-05, momentum=0.8, centered=True)": (
        "RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-5, "momentum": 0.8, "centered": True}),
    "Adagrad()": ("Adagrad", {}),
    "Adagrad(0.1, epsilon=1e-06, initial_sum=0.1, weight_decay=0.1)": (
        "Adagrad", {"lr": 0.1, "eps": 1e-6, "initial_accumulator_value": 0.1, "weight_decay": 0.1}),
    "Adadelta()": ("Adadelta", {}),
    "Adadelta(0.5, rho=0.8, epsilon=0.0001, weight_decay=0.1)": (
        "Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}),
    "Adam()": ("Adam", {}),
    "Adam(0.02, beta1=0.8, beta2=0.95, epsilon=1e-06, weight_decay=0.1)": (
        "Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "Adam(0.02, beta2=0.9, amsgrad=True)": ("Adam", {"lr": 0.02, "betas": (0.9, 0.9), "amsgrad": True}),
    "AdamW()": ("AdamW", {}),
    "AdamW(0.02, beta2=0.9, amsgrad=True, weight_decay=0.5)": (
        "AdamW", {"lr": 0.02, "betas": (0.9, 0.9), "amsgrad": True, "weight_decay": 0.5}),
    "NAdam()": ("NAdam", {}),
    "NAdam(0.02, beta1=0.95, beta2=0.9, momentum_decay=0.1, weight_decay=0.1)": (
        "NAdam", {"lr": 0.02, "betas": (0.95, 0.9), "momentum_decay": 0.1, "weight_decay": 0.1}),
    "NAdam(0.02, momentum_decay=0.0)": ("NAdam", {"lr": 0.02, "momentum_decay": 0}),
    "RAdam()": ("RAdam", {}),
    "RAdam(0.02, beta1=0.8, beta2=0.95, epsilon=1e-06, weight_decay=0.1)": (
        "RAdam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "RAdam(0.02, beta2=0.5)": ("RAdam", {"lr": 0.02, "betas": (0.9, 0.5)}),  # never adapts
    "Lion()": None,
    "Lion(0.01, beta1=0.8, beta2=0.95, weight_decay=0.5)": None,
    "Rprop()": ("Rprop", {}),
    "Rprop(0.02, eta_minus=0.3, eta_plus=1.5, step_min=0.001, step_max=0.1)": (
        "Rprop", {"lr": 0.02, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.1)}),
}  # fmt: skip
#: And with what all optimizers take.
CLIPPED = ["SGD(0.05, momentum=0.9, clip_norm=0.3, average=0.9)", "Adam(0.01, clip_value=0.01)",
           "AdamW(0.01, clip_norm=0.5, clip_value=0.1, average=0.5)", "Rprop(clip_value=0.02, average=0.7)"]  # fmt: skip


def optimizer_of(text):
    return eval(text, vars(bp))


def builds():
    """The compiled cores that run here, by the name of their instruction set."""
    found = {"baseline": bp._isa._baseline}
    for name in bp._isa.BUILDS[1:]:
        if bp._isa._baseline.cpu_supports(name):
            try:
                found[name] = importlib.import_module(f"backprop._core_{name}")
            except ModuleNotFoundError:
                continue
    return found


def every_build():
    """The names of the builds, as parameters of a test: those that are not in use are slow ones."""
    used = bp.show_config()["isa"]
    return [name if name == used else pytest.param(name, marks=pytest.mark.slow) for name in builds()]


def layouts(x):
    """The numbers of x (rows, n), laid out in every way NumPy knows: all must give the same bits."""
    rows, n = x.shape
    apart = np.full((3 * rows, 2 * n), 7, x.dtype)
    apart[::3, ::2] = x
    unaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    within = np.full((rows + 2, n + 3), 7, x.dtype)
    within[1:-1, 2:-1] = x
    return {
        "contiguous": x.copy(),
        "Fortran": np.asfortranarray(x),
        "transposed": x.T.copy().T,
        "strided": apart[::3, ::2],
        "negative strides": x[::-1, ::-1].copy()[::-1, ::-1],
        "byte-swapped": x.astype(x.dtype.newbyteorder()),
        "unaligned": unaligned,
        "read-only": read_only,
        "a window": within[1:-1, 2:-1],
        "lists": x.tolist(),
        "a subclass": x.view(np.recarray),
    }
