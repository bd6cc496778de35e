"""Numeric columns on one scale: learned on some rows, the same for all others. Missing values (NaN) stay missing."""

from __future__ import annotations

import sys
from typing import Any, Self

import numpy as np

from .. import _frames, _validate

__all__ = ["QuantileTransformer", "RobustScaler", "Scaler", "StandardScaler", "smooth_clip"]

Array = _validate.Array

#: What the scale of a column is that becomes 0.
LARGEST = sys.float_info.max


def smooth_clip(u: Array, limit: float) -> Array:
    """``u / sqrt(1 + (u / limit)^2)``: about u near 0, never beyond +-limit."""
    u = np.clip(u, -1e300, 1e300)
    clipped: Array = u / np.hypot(1, u / limit)
    return clipped


class Scaler:
    """What numeric columns pass; a subclass says what it learns of them, and what it makes of them."""

    #: The numbers for each column, which `fit` finds and a file keeps.
    _learned: tuple[str, ...] = ()

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the rows of X (rows, columns); missing values are left out, and y is ignored.

        Returns
        -------
        Scaler
            Itself.
        """
        X = _columns(X, "X")
        if not len(X):
            raise ValueError(f"X: expected at least one row, got shape {X.shape}")
        empty = np.isnan(X).all(axis=0)
        if empty.any():
            raise ValueError(f"X: expected a number in each column, got only missing ones in column {empty.argmax()}")
        with np.errstate(over="ignore", invalid="ignore"):
            self._fit(X)
        beyond = ~np.all(
            [np.isfinite(numbers).reshape(-1, X.shape[1]).all(axis=0) for numbers in self._state().values()], 0
        )
        if beyond.any():
            column = int(beyond.argmax())
            largest = X[np.nanargmax(abs(X[:, column])), column]
            raise ValueError(f"X: expected smaller numbers in column {column}, got {largest}: scale them first")
        return self

    def transform(self, X: Any) -> Array:
        """The rows of X, scaled: float64 (rows, columns)."""
        learned = self._state()
        X = _columns(X, "X")
        n = learned[self._learned[0]].shape[-1]
        if X.shape[1] != n:
            raise ValueError(f"X: expected the {n} columns of the fit, got shape {X.shape}")
        return self._transform(X)

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Learn from the rows of X, and scale them."""
        return self.fit(X).transform(X)

    def to_dict(self) -> dict[str, Any]:
        """What was learned, as JSON can hold it."""
        return {"name": type(self).__name__} | {name: array.tolist() for name, array in self._state().items()}

    @staticmethod
    def from_dict(given: Any) -> Scaler:
        """The scaler that `to_dict` described.

        Raises
        ------
        ValueError
            If the description is not one that `to_dict` writes.
        """
        try:
            scaler = _SCALERS[given["name"]]()
            for name in scaler._learned:
                array = np.array(given[name], np.float64)
                if array.tolist() != given[name] or not np.isfinite(array).all():
                    raise ValueError(f"{name}: expected finite numbers, got {_validate.shown(given[name])}")
                setattr(scaler, name, array)
            scaler._check()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"scaler: it does not make sense: {error}") from error
        if set(given) != {"name", *scaler._learned}:
            raise ValueError(f"scaler: expected nothing beside {', '.join(scaler._learned)}, got {sorted(given)}")
        return scaler

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _state(self) -> dict[str, Array]:
        if not hasattr(self, self._learned[0]):
            raise ValueError(f"{type(self).__name__}: expected to be fitted first, call fit(X)")
        return {name: getattr(self, name) for name in self._learned}

    def _check(self) -> None:
        center, scale = self._state().values()
        if center.ndim != 1 or center.shape != scale.shape or not (scale > 0).all():
            raise ValueError("expected as many centers as scales above 0")

    def _fit(self, X: Array) -> None:
        raise NotImplementedError

    def _transform(self, X: Array) -> Array:
        raise NotImplementedError


class StandardScaler(Scaler):
    """Mean 0 and (population) standard deviation 1; a constant column becomes 0.

    Attributes
    ----------
    mean_, scale_ : numpy.ndarray, shape (columns,)
        Mean and standard deviation; 1 of a constant column.
    """

    _learned = ("mean_", "scale_")
    #: Where `smooth_clip` has its limit; 0: nowhere.
    clip = 0.0
    mean_: Array
    scale_: Array

    def _fit(self, X: Array) -> None:
        self.mean_, deviation = np.nanmean(X, axis=0), np.nanstd(X, axis=0)
        constant = (np.nanmin(X, axis=0) == np.nanmax(X, axis=0)) | (deviation == 0)
        self.scale_ = np.where(constant, 1.0, deviation)

    def _transform(self, X: Array) -> Array:
        with np.errstate(over="ignore"):
            scaled: Array = (X - self.mean_) / self.scale_
        return scaled


class RobustScaler(Scaler):
    """Median 0, distance of the quartiles 1, and a smooth clip at +-3: outliers move nothing, and go nowhere.

    With u the number of these distances from the median, a column becomes ``u / sqrt(1 + (u / 3)^2)``. Where the
    quartiles are equal, half of the range takes the place of their distance; a constant column becomes 0.

    Attributes
    ----------
    center_, scale_ : numpy.ndarray, shape (columns,)

    References
    ----------
    Holzmüller, Grinsztajn, Steinwart: "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data",
    NeurIPS 2024.
    """

    _learned = ("center_", "scale_")
    clip = 3.0
    center_: Array
    scale_: Array

    def _fit(self, X: Array) -> None:
        low, first, self.center_, third, high = np.nanquantile(X, [0, 0.25, 0.5, 0.75, 1], axis=0)
        between, half = third - first, high / 2 - low / 2
        scale = np.minimum(np.where(between > 0, between, half), LARGEST / 2)
        self.scale_ = np.where(scale > 0, scale, LARGEST)

    def _transform(self, X: Array) -> Array:
        with np.errstate(over="ignore"):
            scaled = smooth_clip((X - self.center_) / self.scale_, self.clip)
        return np.where((self.scale_ == LARGEST) & ~np.isnan(X), 0.0, scaled)


class QuantileTransformer(Scaler):
    """Normally distributed: a value becomes the quantile of the normal distribution that it is of its column.

    Between the quantiles of the fit it is interpolated; what lies beyond them becomes +-5.2, as in scikit-learn's class
    of that name with ``output_distribution="normal"``.

    Parameters
    ----------
    n_quantiles : int, default 1000
        How many quantiles are learned, at most; no more than rows.

    Attributes
    ----------
    quantiles_ : numpy.ndarray, shape (n_quantiles, columns)
    """

    _learned = ("quantiles_",)
    quantiles_: Array

    def __init__(self, n_quantiles: int = 1000) -> None:
        self.n_quantiles = _validate.integer(n_quantiles, "n_quantiles", 2)

    def _fit(self, X: Array) -> None:
        shares = np.linspace(0, 1, max(2, min(self.n_quantiles, len(X))))
        self.quantiles_ = np.maximum.accumulate(np.nanquantile(X, shares, axis=0))

    def _transform(self, X: Array) -> Array:
        return np.column_stack([self._column(x, known) for x, known in zip(X.T, self.quantiles_.T, strict=True)])

    def _column(self, x: Array, known: Array) -> Array:
        shares = np.linspace(0, 1, len(known))
        # from both sides, so that a value that many rows have gets the middle of its quantiles
        share = (np.interp(x, known, shares) - np.interp(-x, -known[::-1], -shares[::-1])) / 2
        share = np.where(x < known[0] + _BOUND, 0, np.where(x > known[-1] - _BOUND, 1, share))
        share = np.where(np.isnan(x), np.nan, np.clip(share, _BOUND, 1 - _BOUND))
        return normal_quantile(share)

    def _check(self) -> None:
        if self.quantiles_.ndim != 2 or len(self.quantiles_) < 2 or (np.diff(self.quantiles_, axis=0) < 0).any():
            raise ValueError("quantiles_: expected two rows or more, each column ascending")

    def __repr__(self) -> str:
        given = "" if self.n_quantiles == 1000 else f"n_quantiles={self.n_quantiles}"
        return f"QuantileTransformer({given})"


#: Shares nearer to 0 or 1 are taken for this one.
_BOUND = 1e-7
_SCALERS = {kind.__name__: kind for kind in (StandardScaler, RobustScaler, QuantileTransformer)}


def normal_quantile(p: Array) -> Array:
    """The quantile function of the normal distribution, to 1e-15.

    References
    ----------
    Wichura: "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics 37, 1988.
    """
    q = p - 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.sqrt(-np.log(np.minimum(p, 1 - p)))
        middle = q * _ratio(0.180625 - q * q, _MIDDLE)
        tail = np.where(r <= 5, _ratio(r - 1.6, _TAIL), _ratio(r - 5, _FAR))
    found: Array = np.where(abs(q) <= 0.425, middle, np.copysign(tail, q))
    return found


def _ratio(x: Array, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    above, below = (np.polynomial.polynomial.polyval(x, some) for some in coefficients)
    ratio: Array = above / below
    return ratio


_MIDDLE = (
    (3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def _columns(X: Any, name: str) -> Array:
    """Columns of numbers (rows, columns), as float64; NaN where they are missing."""
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got a masked array: fill it with NaN first")
    is_plain = isinstance(X, np.ndarray) and X.dtype.kind in "fiub"
    given: Array = np.asarray(X) if is_plain else _frames.array(X, name, gaps=True)
    if given.ndim != 2:
        cure = f": {name}.reshape(-1, 1) is one column" if given.ndim == 1 else ""
        raise ValueError(f"{name}: expected an array of shape (rows, columns), got {given.shape}{cure}")
    numbers = given.astype(np.float64, copy=False)
    if np.isinf(numbers).any():
        row, column = np.argwhere(np.isinf(numbers))[0].tolist()
        raise ValueError(f"{name}: expected numbers, got {numbers[row, column]} at row, column {row}, {column}")
    return numbers
