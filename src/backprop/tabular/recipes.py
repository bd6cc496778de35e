"""How networks for tables are built and trained: the published recipes, and those that were chosen by measuring."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from .. import _validate

__all__ = ["PRESETS", "Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """What a network for a table is built of, and how it is trained; the defaults are what the published ones share.

    Attributes
    ----------
    scaled_one_hot : bool
        Whether one-hot columns are scaled and clipped as numbers are.
    numbers : {"pbld", "piecewise_linear"} or None
        The embedding of numeric columns.
    numbers_again : bool
        Whether these columns themselves stand beside it.
    bins : int
        Of the piecewise-linear encoding, for each column.
    bins_width : int
        How many numbers a small dense layer makes of the bins of each column; 0: there is none.
    most_one_hot : int
        How many categories a one-hot encoded column has at most; those of more are embedded.
    embedding : int
        Length of the vectors that those are embedded as; 0: they are one-hot encoded, too.
    hidden_layer_sizes : tuple of int
    activation : str
    parametric : bool
        Whether each unit has a trainable share of its activation.
    initial : {"data_driven", "normal"}
        Initial weights, in the neural-tangent form: weights of unit scale, and 1 / sqrt(n_in) in front. Of the last,
        weights and biases are N(0, 1), and the last layer is zero.
    dropout, weight_decay, label_smoothing : float
    flat_cosine : bool
        Whether dropout and weight decay follow `FlatCosine`; else they are constant.
    learning_rate : float
        The peak of `CosLog4`.
    beta2, epsilon : float
        Of Adam.
    scale_factor, bias_factor, activation_factor, numbers_factor : float
        What the learning rate is multiplied by for the scaling layer, biases, shares of activations, and embeddings of
        numbers.
    epochs, batch_size : int
    whole_batches : bool
        Whether rows are dealt out evenly to as many batches as could be full. So no step is one of a few rows; the
        published recipe has as many steps, and leaves out the rows of a last short batch instead.
    least_steps : int
        With few rows there are more epochs, until there are so many steps.
    judged_every : int
        Which epochs may be the best: those whose number it divides.
    metric : str
        By which the best epoch is chosen.
    clamped : bool
        Whether predicted numbers stay in the range of the training.
    n_members : int
        How many networks there are, where nobody says otherwise.
    """

    scaled_one_hot: bool = True
    numbers: str | None = None
    numbers_again: bool = False
    bins: int = 24
    bins_width: int = 0
    most_one_hot: int = 8
    embedding: int = 8
    hidden_layer_sizes: tuple[int, ...] = (256, 256, 256)
    activation: str = "selu"
    parametric: bool = False
    initial: str = "normal"
    dropout: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    flat_cosine: bool = True
    learning_rate: float = 0.04
    beta2: float = 0.95
    epsilon: float = 1e-8
    scale_factor: float = 6.0
    bias_factor: float = 0.1
    activation_factor: float = 0.1
    numbers_factor: float = 0.1
    epochs: int = 256
    batch_size: int = 256
    whole_batches: bool = True
    least_steps: int = 0
    judged_every: int = 1
    metric: str = "accuracy"
    clamped: bool = False
    n_members: int = 1

    def batch(self, rows: int) -> int:
        """How many rows a batch has."""
        if self.whole_batches:
            return math.ceil(rows / max(1, rows // self.batch_size))
        return min(self.batch_size, rows)

    def steps(self, rows: int) -> int:
        """How many steps all epochs have."""
        return self.epochs * math.ceil(rows / self.batch(rows))

    def sized(self, rows: int) -> Recipe:
        """The same, with as many epochs as so many rows need."""
        needed = math.ceil(self.least_steps / math.ceil(rows / self.batch(rows)))
        return replace(self, epochs=max(self.epochs, needed), judged_every=max(1, needed // self.epochs))

    def patience(self, early_stopping: bool | int) -> int | None:
        """After how many epochs without a better one to stop."""
        return max(1, self.epochs // 5) if early_stopping is True else int(early_stopping) or None


_TD = Recipe(numbers="pbld", parametric=True, initial="data_driven", dropout=0.15, weight_decay=0.02)
_TD_S = Recipe(embedding=0)
_NUMBERS: dict[str, Any] = {"activation": "mish", "metric": "rmse"}
_OURS = Recipe(
    scaled_one_hot=False, numbers="piecewise_linear", numbers_again=True, bins_width=4, numbers_factor=3.0,
    most_one_hot=64, hidden_layer_sizes=(128, 128), activation="mish", dropout=0.15, weight_decay=0.02,
    flat_cosine=False, batch_size=128, whole_batches=False, least_steps=250,
)  # fmt: skip
_CLASSES = replace(_OURS, label_smoothing=0.1, epochs=100, metric="log_loss")
_REGRESSION = replace(_OURS, bins=32, epochs=50, metric="rmse")
_LARGE: dict[str, Any] = {"n_members": 8, "hidden_layer_sizes": (256, 256)}

#: By name, for classes and for numbers. "td" and "td_s" are the published ones, RealMLP-TD and -TD-S.
PRESETS: dict[str, tuple[Recipe, Recipe]] = {
    "td": (
        replace(_TD, label_smoothing=0.1),
        replace(_TD, **_NUMBERS, learning_rate=0.2, clamped=True),
    ),
    "td_s": (
        replace(_TD_S, label_smoothing=0.1),
        replace(_TD_S, **_NUMBERS, learning_rate=0.07),
    ),
    "fast": (replace(_CLASSES, epochs=50), replace(_REGRESSION, epochs=30)),
    "default": (replace(_CLASSES, n_members=4), replace(_REGRESSION, n_members=4)),
    "best": (replace(_CLASSES, **_LARGE), replace(_REGRESSION, **_LARGE)),
}


def recipe(preset: str, *, classes: bool, **changes: Any) -> Recipe:
    """That of a preset, for classes or for numbers, with what is asked instead, if it is not None.

    Epochs that are asked for are as many with few rows, too. Where something else than right classes is the aim, labels
    are smoothed only if that is asked for.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("metric") == "auto":
        del given["metric"]
    elif given.get("metric", "accuracy") != "accuracy":
        given.setdefault("label_smoothing", 0.0)
    if "epochs" in given:
        given["least_steps"] = 0
    return replace(PRESETS[_validate.choice(preset, "preset", PRESETS)][0 if classes else 1], **given)
