"""The estimators as C files, with what they do before and after their network."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import _validate, activations, c, losses

__all__ = ["export_c"]

Array = _validate.Array


def export_c(
    mlp: Any, path: str | os.PathLike[str], *, name: str | None, dtype: str, calibration: Any, fold: bool
) -> None:
    """See `MLP.export_c`."""
    check_is_fitted(mlp)
    rows = None if calibration is None else mlp._check(calibration)[0]
    c.export_model(path, _model(mlp), name=name, dtype=dtype, calibration=rows, fold=fold)


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
