"""The estimators as C files and as ONNX models, with what they do before and after their network."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import _validate, activations, c, losses, onnx
from ..io import atomic

__all__ = ["export_c", "export_onnx"]

Array = _validate.Array


def export_c(
    mlp: Any, path: str | os.PathLike[str], *, name: str | None, dtype: str, calibration: Any, fold: bool
) -> None:
    """See `MLP.export_c`."""
    check_is_fitted(mlp)
    rows = None if calibration is None else mlp._check(calibration)[0]
    c.export_model(path, _model(mlp), name=name, dtype=dtype, calibration=rows, fold=fold)


def export_onnx(mlp: Any, file: Any, *, opset: Any) -> None:
    """See `MLP.export_onnx`."""
    check_is_fitted(mlp)
    model, names = _model(mlp), getattr(mlp, "feature_names_in_", None)
    data = onnx.estimator(
        [net._exported() for net in model.nets], _columns(mlp), opset, link=model.link, each=model.each,
        both=bool(model.whole), classes=None if model.classes is None else mlp.classes_,
        labels=hasattr(mlp, "classes_") and model.classes is None,
        feature_names=None if names is None else [*map(str, names)],
    )  # fmt: skip
    atomic.write(file, data)


def _columns(mlp: Any) -> list[tuple[Any, ...]] | None:
    """How each column is encoded, where some are categories; 0 is one that was not seen, or is missing."""
    if mlp._encoder is None:
        return None
    names = getattr(mlp, "feature_names_in_", [f"x{i}" for i in range(mlp.n_features_in_)])
    columns: list[tuple[Any, ...]] = []
    for column, labels in zip(mlp._categorical, mlp._encoder.transformers_[0][1].categories_, strict=True):
        known = [(label, i + 1.0) for i, label in enumerate(labels.tolist()) if label is not None and label == label]
        if not (all(isinstance(label, str) for label, _ in known) or _are_numbers(known)):
            got = _validate.shown([label for label, _ in known])
            raise TypeError(f"export_onnx: expected categories that are all text or all numbers, got {got}")
        codes = np.array([[code] for _, code in known])
        columns.append(("category", str(names[column]), [label for label, _ in known], codes))
    _, scaler, others = mlp._encoder.transformers_[1]
    for i, column in enumerate(np.arange(mlp.n_features_in_)[others] if len(others) else ()):
        columns.append(("number", str(names[column]), float(scaler.mean_[i]), float(scaler.scale_[i])))
    return columns


def _are_numbers(known: list[tuple[Any, float]]) -> bool:
    return all(isinstance(label, (bool, int, float)) for label, _ in known)


def _model(mlp: Any) -> c.Model:
    """What an estimator computes."""
    nets, loss = mlp._networks(), mlp._loss
    prepared, notes = _prepared(mlp)
    n, link, each, whole, classes = nets[0].n_out, None, "", "", None
    if isinstance(loss, losses.Loss) and getattr(loss, "from_logits", False) and loss.link_of(n) is not None:
        link = activations.get(str(loss.link_of(n)))
    elif getattr(loss, "log_input", False):
        link = activations.exp
    if hasattr(mlp, "classes_") and not mlp._labels.several:
        classes = [*mlp.classes_]
        ends = nets[0].layers[-1].activation if link is None else link
        whole = "both_classes" if n == 1 else ""
        each = "proportions" if n > 1 and ends != activations.softmax else ""
    elif isinstance(loss, losses.GaussianNLL):
        n, each = n // 2, "every_other"

    def outputs(x: Array) -> Array:
        inside = x if prepared is None else prepared.rows(x)
        found = [net.predict(inside) for net in nets]
        said = mlp._of_members(found)
        return np.asarray(said).reshape(len(x), -1)

    return c.Model(nets, mlp.n_features_in_, 2 if whole else n, outputs, prepared, link, each, whole, classes, notes)


def _prepared(mlp: Any) -> tuple[c.Prepared | None, list[str]]:
    """Categories come as their places in the header's list, numbers are scaled."""
    if mlp._encoder is None:
        return None, []
    names = mlp._encoder.transformers_[0][1].categories_
    others = np.setdiff1d(np.arange(mlp.n_features_in_), mlp._categorical)
    _, scaler, _ = mlp._encoder.transformers_[1]
    shift, scale = -np.ones(len(names)), np.ones(len(names))
    if len(others):
        shift, scale = np.append(shift, scaler.mean_), np.append(scale, scaler.scale_)
    notes = [
        f"column {column}: " + ", ".join(f"{i} is {label}" for i, label in enumerate(labels)) + "; -1 is another"
        for column, labels in zip(mlp._categorical, names, strict=True)
    ]
    return c.Prepared(np.array([*mlp._categorical, *others]), shift, scale), notes
