"""Preprocessing: tables, from wherever they come, as the inputs of a network; fitted once, and kept in model files.

`TableEncoder` does a whole table as it comes: a DataFrame of pandas, Polars or PyArrow, columns by name, or an array,
with numbers, texts, booleans, dates and missing values. The others do columns of one kind. `tables` reads CSV files, by
the same rules. `quantile_edges` and `tree_edges` find bins for a `PiecewiseLinearEmbedding`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bins import quantile_edges, tree_edges
    from .encoder import (
        DateEncoder,
        Encoder,
        OneHotEncoder,
        OrdinalEncoder,
        SimpleImputer,
        TableEncoder,
    )
    from .scalers import QuantileTransformer, RobustScaler, Scaler, StandardScaler

__all__ = [
    "DateEncoder", "Encoder", "OneHotEncoder", "OrdinalEncoder", "QuantileTransformer", "RobustScaler", "Scaler",
    "SimpleImputer", "StandardScaler", "TableEncoder",
    "quantile_edges", "tree_edges",
]  # fmt: skip

_BINS = ("quantile_edges", "tree_edges")
#: What `tables` needs; the encoders need `tables`, so that neither can be imported before somebody asks for it.
_SCALERS = ("QuantileTransformer", "RobustScaler", "Scaler", "StandardScaler")


def __getattr__(name: str) -> Any:
    if name in __all__:
        place = "scalers" if name in _SCALERS else "bins" if name in _BINS else "encoder"
        return getattr(importlib.import_module(f"{__name__}.{place}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
