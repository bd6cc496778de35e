"""The multi-layer perceptrons of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _validate, activations
from ..network import Sequential
from .assembly import Assembly, refused

__all__ = ["from_sklearn"]

#: scikit-learn's names of activations.
_ACTIVATIONS = {
    "identity": activations.identity, "logistic": activations.sigmoid, "tanh": activations.tanh,
    "relu": activations.relu, "softmax": activations.softmax, "exp": activations.exp,
}  # fmt: skip


def from_sklearn(mlp: Any) -> Sequential:
    """The network inside a fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn.

    Parameters
    ----------
    mlp : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    Sequential
        With the same weights, in their own type: float64, unless it was fitted to float32. It gives what
        ``predict_proba``, or ``predict`` of a regressor, give; of two classes, the probability of the second. The names
        of the columns are its ``feature_names``, the classes stand in ``metadata["classes"]``.

    Raises
    ------
    TypeError
        If it is something else, such as a pipeline.
    ValueError
        If it has not been fitted.

    Examples
    --------
    >>> net = bp.from_sklearn(MLPClassifier((64, 32)).fit(x, y))
    >>> net.export_c("model.c")
    """
    if hasattr(mlp, "network_"):
        got = f"a {type(mlp).__name__} of backprop: it has one, mlp.network_"
        raise TypeError(f"from_sklearn: expected an MLP of scikit-learn, got {got}")
    if hasattr(mlp, "steps") or not hasattr(mlp, "hidden_layer_sizes"):
        cure = ": hand over its last step, pipeline[-1], and scale the rows as the others do"
        raise refused(
            "from_sklearn", type(mlp).__name__, "the top", "an MLPClassifier or MLPRegressor",
            cure if hasattr(mlp, "steps") else "",
        )  # fmt: skip
    if not hasattr(mlp, "coefs_"):
        raise ValueError(f"from_sklearn: expected a fitted estimator, got {mlp!r}: call its fit first")
    assembly = Assembly()
    last = len(mlp.coefs_) - 1
    for i, (weight, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        name = mlp.out_activation_ if i == last else mlp.activation
        if name not in _ACTIVATIONS:
            raise refused("from_sklearn", _validate.shown(name), f"layer {i}", f"one of {', '.join(_ACTIVATIONS)}")
        assembly.dense(np.asarray(weight), np.asarray(bias), f"coefs_[{i}]")
        assembly.activate(_ACTIVATIONS[name], f"layer {i}")
    net = assembly.network()
    if hasattr(mlp, "classes_"):
        net.metadata = {"classes": np.asarray(mlp.classes_).tolist()}
    if hasattr(mlp, "feature_names_in_"):
        net.feature_names = tuple(map(str, mlp.feature_names_in_))
    return net
