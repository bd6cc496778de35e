"""How messages speak: values shown on one line, the name that was meant, and what other libraries' words are here."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80

#: Other libraries' names of choices, without their capitals and marks, and the names here: the first that is a choice.
_CHOICES: dict[str, tuple[str, ...]] = {
    "logistic": ("sigmoid",), "linear": ("identity",), "none": ("identity",), "swish": ("silu",),
    "lrelu": ("leaky_relu",), "gelunew": ("gelu_tanh",), "expit": ("sigmoid",), "exponential": ("exp",),
    "hardswish": ("hard_sigmoid", "silu"), "relu6": ("relu",),
    "categoricalcrossentropy": ("cross_entropy", "log_loss"), "crossentropyloss": ("cross_entropy",),
    "sparsecategoricalcrossentropy": ("cross_entropy", "log_loss"), "categorical": ("cross_entropy",),
    "softmaxcrossentropy": ("cross_entropy",), "nll": ("cross_entropy",), "nllloss": ("cross_entropy",),
    "ce": ("cross_entropy",), "negativeloglikelihood": ("cross_entropy",), "logloss": ("log_loss", "cross_entropy"),
    "binarycrossentropy": ("binary_cross_entropy", "log_loss"), "bce": ("binary_cross_entropy",),
    "bceloss": ("binary_cross_entropy",), "bcewithlogits": ("binary_cross_entropy",), "logcosh": ("log_cosh",),
    "squarederror": ("mse",), "squaredloss": ("mse",), "mseloss": ("mse",), "l2": ("mse",), "l2loss": ("mse",),
    "meansquarederror": ("mse",), "meanabsoluteerror": ("mae",), "absoluteerror": ("mae",), "l1": ("mae",),
    "l1loss": ("mae",), "smoothl1": ("huber",), "smoothl1loss": ("huber",), "huberloss": ("huber",),
    "pinball": ("quantile",), "kld": ("kl_divergence",), "kldiv": ("kl_divergence",), "kl": ("kl_divergence",),
    "kullbackleiblerdivergence": ("kl_divergence",), "cosine": ("cosine_similarity",), "gaussian": ("gaussian_nll",),
    "rootmeansquarederror": ("rmse",), "acc": ("accuracy",), "accuracyscore": ("accuracy",),
    "categoricalaccuracy": ("accuracy",), "sparsecategoricalaccuracy": ("accuracy",), "binaryaccuracy": ("accuracy",),
    "topk": ("top_5",), "topkcategoricalaccuracy": ("top_5",), "auc": ("roc_auc",), "rocaucscore": ("roc_auc",),
    "f1score": ("f1",), "r2score": ("r2",), "rsquared": ("r2",), "precisionscore": ("precision",),
    "recallscore": ("recall",), "sensitivity": ("recall",), "batchmean": ("mean",), "avg": ("mean",),
    "average": ("mean",), "sumoverbatchsize": ("mean",), "minimize": ("min",), "maximize": ("max",),
    "xavier": ("glorot_uniform",), "xavieruniform": ("glorot_uniform",), "xaviernormal": ("glorot_normal",),
    "glorot": ("glorot_uniform",), "he": ("he_normal",), "kaiming": ("he_normal",), "kaiminguniform": ("he_uniform",),
    "kaimingnormal": ("he_normal",), "lecun": ("lecun_normal",), "zero": ("zeros",), "momentum": ("sgd",),
    "gradientdescent": ("sgd",), "adamoptimizer": ("adam",), "loadam": ("adam",), "lr": ("learning_rate",),
    "eps": ("epsilon",),
}  # fmt: skip

_NONE = "there is none here"
_NO_SIZES = "it learns its size from the network"
#: Other libraries' keywords, by the callable or the family that would take them, and what to write here.
_KEYWORDS: dict[str, dict[str, str]] = {
    "Optimizer": {
        "lr": "learning_rate", "alpha": "learning_rate", "eta": "learning_rate", "step_size": "learning_rate",
        "learning_rate_init": "learning_rate", "params": "the network is given to fit, not to the optimizer",
        "betas": "give beta1 and beta2", "beta_1": "beta1", "beta_2": "beta2", "momentum": "beta1", "eps": "epsilon",
        "rho": "alpha", "clipnorm": "clip_norm", "clipvalue": "clip_value", "global_clipnorm": "clip_norm",
        "max_grad_norm": "clip_norm", "use_ema": "give average=0.999", "ema_momentum": "average", "ema": "average",
        "initial_accumulator_value": "initial_sum", "etas": "give eta_minus and eta_plus",
        "step_sizes": "give step_min and step_max", "tolerance_grad": "tolerance", "tol": "tolerance",
        "max_eval": "max_evaluations", "max_iter": "give fit its epochs",
        "param_groups": "groups", "exclude_from_weight_decay": 'give groups={"*.bias": {"weight_decay": 0}}',
        "line_search_fn": "it always has one, strong Wolfe",
        "decay": "learning_rate takes a schedule, from backprop.schedules",
        "lr_decay": "learning_rate takes a schedule, from backprop.schedules",
        "schedule": "learning_rate takes a schedule", "dampening": _NONE, "weight_decay": "layers take l2",
        "l2": "weight_decay", "maximize": "give fit a loss of the opposite sign",
        "nesterov": "NAdam has Nesterov's momentum",
    },
    "Layer": {
        "name": "layers have no names, but places: net.layers[0]", "dtype": "Sequential takes the dtype",
        "input_shape": "give the first layer its n_in", "input_dim": "n_in", "eps": "epsilon",
        "trainable": "set layer.trainable = False, once it is made", "seed": "give Sequential its rng", "device": _NONE,
        "inplace": _NONE,
    },
    "Dense": {
        "units": "give n_in and n_out, Dense(n_in, n_out)", "in_features": "n_in", "out_features": "n_out",
        "input_size": "n_in", "output_size": "n_out", "bias": "use_bias", "kernel_initializer": "weight_init",
        "bias_initializer": "bias_init", "init": "weight_init", "kernel_regularizer": "give l1 and l2",
        "activity_regularizer": _NONE, "weight_decay": "l2", "kernel_constraint": _NONE,
    },
    "Dropout": {"p": "rate", "prob": "rate", "keep_prob": "give rate=1 - keep_prob", "noise_shape": _NONE},
    "BatchNorm": {
        "num_features": _NO_SIZES, "n_in": _NO_SIZES, "axis": _NONE, "center": _NONE, "scale": _NONE, "affine": _NONE,
        "decay": "give momentum=1 - decay", "track_running_stats": _NONE,
    },
    "LayerNorm": {
        "normalized_shape": _NO_SIZES, "n_in": _NO_SIZES, "axis": _NONE, "elementwise_affine": _NONE, "center": _NONE,
        "scale": _NONE,
    },
    "PReLU": {"num_parameters": _NO_SIZES, "init": "slope", "alpha": "slope", "alpha_initializer": "slope"},
    "ParametricActivation": {"num_parameters": _NO_SIZES, "function": "activation"},
    "PeriodicEmbedding": {
        "n_features": "n_in", "d_embedding": "width", "frequency_init_scale": "sigma", "activation": "variant",
        "lite": _NONE,
    },
    "PiecewiseLinearEmbedding": {
        "bins": "edges", "n_bins": "give each column its number of bins, or its edges", "d_embedding": "width",
        "activation": _NONE, "version": _NONE,
    },
    "Embedding": {
        "num_embeddings": "values", "input_dim": "values", "embedding_dim": "width", "output_dim": "width",
        "input_length": "columns", "embeddings_initializer": "weight_init", "padding_idx": _NONE,
    },
    "Loss": {
        "weight": "give fit a class_weight", "pos_weight": "give fit a class_weight",
        "class_weight": "give fit a class_weight", "ignore_index": "give fit a sample_weight, 0 there",
        "size_average": "reduction", "reduce": "reduction", "name": _NONE,
        "beta": "delta", "quantile": "q", "quantiles": "q", "tau": "q", "alpha": "q", "full": _NONE,
        "logits": "from_logits", "with_logits": "from_logits", "smoothing": "label_smoothing",
        "log_target": _NONE,
    },
    "Callback": {
        "verbose": "give fit progress=True", "restore_best_weights": "restore_best", "min_lr": "minimum",
        "threshold": "min_delta", "tol": "min_delta", "eps": "min_delta", "metric": "monitor",
        "filepath": "path", "filename": "path", "save_best_only": 'give keep="best"', "save_last": 'give keep="last"',
        "save_top_k": "keep", "period": "every", "save_freq": "give every, in epochs",
        "start_lr": "low", "end_lr": "high", "max_lr": "high",
        "num_iter": "steps", "baseline": _NONE, "start_from_epoch": _NONE,
        "save_weights_only": _NONE, "append": _NONE, "separator": _NONE,
    },
    "Schedule": {
        "lr": "learning_rate", "initial_learning_rate": "learning_rate", "max_lr": "learning_rate",
        "optimizer": "the optimizer takes the schedule as its learning_rate", "step_size": "every", "gamma": "factor",
        "decay_rate": "factor", "decay_steps": "give steps, or every", "T_max": "steps", "T_0": "steps",
        "total_steps": "steps", "total_iters": "steps", "max_epochs": "give steps, which are batches",
        "epochs": "give steps, which are batches", "eta_min": "final", "end_learning_rate": "final", "alpha": "final",
        "min_lr": "final", "T_mult": "growth", "warmup_steps": "warmup", "last_epoch": _NONE,
    },
    "Sequential": {
        "seed": "rng", "random_state": "rng", "device": _NONE, "name": _NONE,
        "input_shape": "give the first layer its n_in", "loss": "give it to fit", "optimizer": "give it to fit",
    },
    "fit": {
        "verbose": "give progress=True", "batch": "batch_size", "bs": "batch_size",
        "lr": "give optimizer=Adam(learning_rate)", "learning_rate": "give optimizer=Adam(learning_rate)",
        "n_epochs": "epochs", "nb_epoch": "epochs",
        "num_epochs": "epochs", "max_epochs": "epochs", "max_iter": "epochs", "n_iter": "epochs",
        "criterion": "loss", "loss_fn": "loss", "loss_function": "loss", "metric": "metrics",
        "validation": "validation_data", "eval_set": "validation_data", "val_data": "validation_data",
        "X_val": "give validation_data=(x, y)", "y_val": "give validation_data=(x, y)", "val_split": "validation_split",
        "validation_fraction": "validation_split", "validation_batch_size": _NONE, "sample_weights": "sample_weight",
        "weights": "sample_weight", "class_weights": "class_weight", "seed": "rng", "random_state": "rng",
        "n_jobs": "threads", "workers": "threads", "num_workers": "threads", "device": _NONE,
        "early_stopping": "give callbacks=[EarlyStopping()]",
        "patience": "give callbacks=[EarlyStopping(patience=...)]",
        "initial_epoch": "resume", "steps_per_epoch": _NONE, "X": "x", "inputs": "x", "data": "x", "target": "y",
        "targets": "y", "labels": "y", "return_dict": "it always returns one", "callback": "callbacks",
    },
}  # fmt: skip

#: What every optimizer takes by name.
COMMON = ("clip_value", "clip_norm", "average", "groups")

#: What is often forgotten, or given too much.
_USAGE = {
    "Dense": "sizes are given, not guessed, Dense(n_in, {})",
    "BatchNorm": f"{_NO_SIZES}, BatchNorm()", "LayerNorm": f"{_NO_SIZES}, LayerNorm()",
    "PReLU": f"{_NO_SIZES}, PReLU()", "Sequential": "give a list of layers, Sequential([...])",
    "fit": 'such as net.fit(x, y, loss="mse", optimizer="adam")', "evaluate": 'such as net.evaluate(x, y, loss="mse")',
    "SGD": "such as SGD(0.01)",
}  # fmt: skip

#: Other libraries' classes, and what does their work here.
_NAMES = {
    "Linear": "Dense(n_in, n_out)", "ReLU": 'Activation("relu")', "Sigmoid": 'Activation("sigmoid")',
    "Tanh": 'Activation("tanh")', "Softmax": 'Activation("softmax")', "GELU": 'Activation("gelu")',
    "SiLU": 'Activation("silu")', "LeakyReLU": 'Activation("leaky_relu")', "ELU": 'Activation("elu")',
    "CrossEntropyLoss": "CrossEntropy", "NLLLoss": "CrossEntropy", "CategoricalCrossentropy": "CrossEntropy",
    "SparseCategoricalCrossentropy": "CrossEntropy", "BCELoss": "BinaryCrossEntropy",
    "BCEWithLogitsLoss": "BinaryCrossEntropy(from_logits=True)", "BinaryCrossentropy": "BinaryCrossEntropy",
    "MSELoss": "MeanSquaredError", "L1Loss": "MeanAbsoluteError", "HuberLoss": "Huber", "SmoothL1Loss": "Huber",
    "PeriodicEmbeddings": "PeriodicEmbedding", "PiecewiseLinearEmbeddings": "PiecewiseLinearEmbedding",
    "PiecewiseLinearEncoding": "PiecewiseLinearEmbedding",
    "BatchNorm1d": "BatchNorm", "BatchNormalization": "BatchNorm", "LayerNormalization": "LayerNorm",
    "ModelCheckpoint": "Checkpoint", "ReduceLROnPlateau": "ReduceOnPlateau", "Model": "Sequential",
    "Module": "Layer", "Input": "the first layer's n_in", "Flatten": "x.reshape(len(x), -1)",
    "plot_model": "plots.network",
    "load_model": "load", "Adamax": "Adam", "Nadam": "NAdam", "MLP": "Sequential, MLPClassifier or MLPRegressor",
}  # fmt: skip

#: What a network has in other libraries, and what does its work here.
_METHODS = {
    "compile": "fit takes the loss, the optimizer and the metrics",
    "add": "layers are given at once, Sequential([...])",
    "append": "layers are given at once, Sequential([...])", "train": "fit trains, and forward answers as in training",
    "eval": "predict answers without dropout", "train_on_batch": "fit takes one step on one batch",
    "test_on_batch": "evaluate", "score": "evaluate gives the loss and the metrics",
    "predict_proba": "predict gives the probabilities of a softmax or sigmoid at the end",
    "predict_classes": "predict(x).argmax(axis=1)", "weights": "parameters, or layers[0].weight",
    "get_weights": "arrays()", "set_weights": "parameters can be assigned to", "trainable_weights": "parameters",
    "named_parameters": "arrays()", "state_dict": "arrays()", "load_state_dict": "bp.load reads what save wrote",
    "load_weights": "bp.load reads what save wrote", "load": "bp.load reads what save wrote",
    "zero_grad": "backward overwrites the gradients", "grad": "gradients", "clone": "copy()",
    "to": "Sequential takes the dtype", "float": "Sequential takes the dtype", "double": "Sequential takes the dtype",
    "half": "Sequential takes the dtype", "cuda": "it computes on the CPU", "cpu": "it is there",
    "input_shape": "n_in", "output_shape": "n_out", "history": "fit returns it", "partial_fit": "fit goes on",
    "get_layer": "net[0], or layers[0]", "pop": "net[:-1] is the network without its last layer",
    "children": "layers", "modules": "leaves", "register_forward_hook": "activations(x) is what each operation gives",
}  # fmt: skip


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, and short."""
    try:
        return " ".join(_repr.repr(value).split())
    except ValueError:  # Python does not write whole numbers of more than 4300 digits
        return f"a {type(value).__name__} too long to show"


def meant(value: str, names: Iterable[str]) -> str | None:
    """Which of these names a word stands for: another library's word for it, another spelling, or the nearest."""
    choices = list(names)
    plain = {_plain(name): name for name in choices}
    here = (word for word in _CHOICES.get(_plain(value), ()) if word in choices)
    known = plain.get(_plain(value)) or next(here, None)
    if known is not None:
        return known
    import difflib

    return next(iter(difflib.get_close_matches(value, choices, 1)), None)


def of_attribute(name: str, names: Iterable[str]) -> str:
    """What to write for a name that the package does not have: the end of a message, or nothing."""
    here = _NAMES.get(name) or (None if name.startswith("_") else meant(name, names))
    return f"; did you mean {here}?" if here else ""


def of_method(name: str) -> str:
    """The same for a name that a network does not have."""
    return f": {_METHODS[name]}" if name in _METHODS else ""


def helpful(family: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a call with arguments that are not taken, or without one that is needed, say what to write instead.

    Parameters
    ----------
    family : str
        Whose words it may be called with, beside those of its class.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except TypeError:
                said = _cure(function, family, args, kwargs)
                if said is None:
                    raise
                raise TypeError(said) from None

        return call

    return decorate


def _cure(function: Callable[..., Any], family: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> str | None:
    """The message for arguments that a callable does not take; None if it takes them, and something else is wrong."""
    parameters = dict(inspect.signature(function).parameters)
    if parameters.pop("common", None):
        parameters |= {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in COMMON}
    elif any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        return None
    owner = type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__
    taken = [name for name in parameters if name != "self"]
    usage = f"expected {owner}({', '.join(taken)})"
    for word in given:
        if word not in taken:
            here = _KEYWORDS.get(owner, {}).get(word) or _KEYWORDS[family].get(word)
            if here is None or (here.isidentifier() and here not in taken):
                here = meant(word, taken)
            cure = f"did you mean {here}?" if here in taken else here or "there is none here"
            return f"{owner}() got an unexpected keyword argument {word!r}, {usage}: {cure}"
    try:
        inspect.Signature([*parameters.values()]).bind(*args, **given)
    except TypeError as error:
        words = [*map(shown, args[1:]), *(f"{name}={shown(value)}" for name, value in given.items())]
        cure = _USAGE.get(owner, "").format(", ".join(words) or "n_out")
        return f"{owner}(): {error}, {usage}{cure and ': '}{cure}"
    return None


def _plain(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())
