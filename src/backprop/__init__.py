"""Dense neural networks on a CPU, trained and run at the speed it has.

See `Sequential` for the network, and ``help(backprop.layers)``, ``losses``, ``optimizers``, ``activations``,
``schedules``, ``callbacks``, ``metrics`` and ``initializers`` for what goes into one.
"""

import typing as _typing
from importlib import import_module as _import_module

from . import _isa  # isort: skip - first: it chooses the build of the compiled core that all others import
from . import _words, activations, initializers, losses, metrics, optimizers, schedules
from ._threads import get_num_threads, set_num_threads
from ._version import __version__
from .errors import BusyError, DivergedError, FormatError, RankError
from .layers import (
    Activation,
    BatchNorm,
    Clip,
    Columns,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Ordered,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    PReLU,
    Residual,
    Scale,
)  # fmt: skip
from .losses import (
    BinaryCrossEntropy,
    CosineSimilarity,
    CrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
    SquaredHinge,
)
from .network import Sequential, load, resume
from .optimizers import (
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    LevenbergMarquardt,
    Lion,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)

__all__ = [
    "LBFGS", "SGD", "Activation", "Adadelta", "Adagrad", "Adam", "AdamW", "BatchNorm", "BinaryCrossEntropy",
    "BusyError", "CSVLogger", "Callback", "Checkpoint", "Clip", "Columns", "Concatenate", "CosineSimilarity",
    "CrossEntropy", "Dense", "DivergedError", "Dropout", "EarlyStopping", "Embedding", "Focal", "FormatError",
    "GaussianNLL", "GradientCheck", "Hinge", "History", "Huber", "KLDivergence", "Layer", "LayerNorm",
    "LearningRateFinder", "LevenbergMarquardt", "Lion", "LogCosh", "Loss", "MeanAbsoluteError", "MeanSquaredError",
    "NAdam", "Optimizer", "Ordered", "PReLU", "ParametricActivation", "PeriodicEmbedding",
    "PiecewiseLinearEmbedding", "Poisson", "Quantile", "RAdam", "RMSprop", "RankError", "ReduceOnPlateau",
    "Residual", "Rprop", "Scale", "Sequential", "Snapshots", "SquaredHinge", "TerminateOnNaN", "__version__",
    "activations", "check_gradients", "curvature", "from_keras", "from_onnx", "from_sklearn", "from_torch",
    "get_num_threads", "hessian", "initializers", "load", "losses", "metrics", "optimizers", "quantize", "resume",
    "schedules", "set_num_threads", "show_config",
]  # fmt: skip

if _typing.TYPE_CHECKING:
    from .c import quantize
    from .callbacks import (
        Callback,
        Checkpoint,
        CSVLogger,
        EarlyStopping,
        LearningRateFinder,
        ReduceOnPlateau,
        Snapshots,
        TerminateOnNaN,
    )
    from .foreign import from_keras, from_onnx, from_sklearn, from_torch
    from .gradcheck import GradientCheck, check_gradients
    from .spectrum import curvature, hessian
    from .training import History

#: What is imported only when it is asked for, by where it is; the estimators need scikit-learn.
_LAZY = {
    "sklearn": ("MLPClassifier", "MLPRegressor"),
    "preprocessing": (),
    "plots": (),
    "gradcheck": ("GradientCheck", "check_gradients"),
    "training": ("History",),
    "many": ("fit_many",),
    "ensemble": ("Ensemble",),
    "c": ("quantize",),
    "foreign": ("from_keras", "from_onnx", "from_sklearn", "from_torch"),
    "spectrum": ("curvature", "hessian"),
    "callbacks": (
        "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "LearningRateFinder", "ReduceOnPlateau",
        "Snapshots", "TerminateOnNaN",
    ),
}  # fmt: skip


def __getattr__(name: str) -> object:
    for place, names in _LAZY.items():
        if name == place or name in names:
            module = _import_module(f"{__name__}.{place}")
            return module if name == place else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_words.of_attribute(name, __dir__())}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *(name for names in _LAZY.values() for name in names)})


def show_config() -> dict[str, str | int]:
    """Version, instruction set and threads: what to say in a bug report.

    Returns
    -------
    dict
        ``version``, ``isa`` (the build in use; the environment variable ``BACKPROP_ISA`` forces one), ``register_bits``
        (its vector width) and ``threads`` (used at most).
    """
    from . import _core

    return {
        "version": __version__, "isa": _isa.ISA, "register_bits": _core.REGISTER_BITS, "threads": get_num_threads(),
    }  # fmt: skip
