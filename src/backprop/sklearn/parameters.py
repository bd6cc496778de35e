"""The parameters of the estimators: what they may be, and scikit-learn's names for ours."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .. import _validate, activations, optimizers
from ..activations import ActivationFunction

__all__ = ["ALIASES", "NEW", "activation_of", "each", "keep"]

#: scikit-learn's name for an activation of ours.
ALIASES: dict[Any, Any] = {"logistic": "sigmoid"}

#: What the parameters beside scikit-learn's, and those that take more, may be.
NEW: dict[str, list[Any]] = {
    "loss": [str, callable],
    "activation": [str, list, tuple, ActivationFunction],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
    "output_activation": [str, ActivationFunction, None],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "batch_norm": ["boolean"],
    "layer_norm": ["boolean"],
    "optimizer": [optimizers.Optimizer, str, None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "clip_value": [Interval(Real, 0, None, closed="neither"), None],
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "callbacks": [list, tuple],
    "progress": ["boolean"],
    "dtype": [str, type, np.dtype, None],
    "n_members": [Interval(Integral, 1, None, closed="left")],
    "bagging": [StrOptions({"seeds", "bootstrap", "folds"})],
    "threads": [Interval(Integral, 1, None, closed="left"), None],
}


def keep(estimator: Any, arguments: dict[str, Any]) -> None:
    """An estimator's arguments become its attributes, as they are."""
    vars(estimator).update({name: value for name, value in arguments.items() if name not in ("self", "__class__")})


def each(value: Any, sizes: list[int], name: str) -> list[Any]:
    """One for each hidden layer: those given, or the same for all."""
    if not isinstance(value, list | tuple):
        return [value] * len(sizes)
    if len(value) != len(sizes):
        raise ValueError(f"{name}: expected one for each of the {len(sizes)} hidden layers, got {len(value)}")
    return list(value)


def activation_of(given: Any) -> ActivationFunction:
    """The output activation, by a name of ours or scikit-learn's."""
    name = ALIASES.get(given, given)
    if isinstance(name, str):
        _validate.choice(name, "output_activation", activations._TABLE)
    return activations.get(name)
