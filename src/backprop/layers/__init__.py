"""Layers: declarations of sizes and parameters. The arithmetic is in the compiled core, which runs them as one plan.

A layer's arrays are views into the flat vectors of the network it belongs to; before that it has none. Most layers are
lowered to steps of the compiled plan; one that brings ``forward`` and ``backward`` of its own is run in Python.
"""

from .base import INPUT as INPUT
from .base import KINDS, Layer
from .base import chain as chain
from .base import chain_inputs as chain_inputs
from .base import connect_chain as connect_chain
from .base import from_description as from_description
from .composite import Concatenate, Ordered, Residual
from .dense import Dense
from .elementwise import Activation, Clip, Dropout, ParametricActivation, PReLU, Scale
from .embedding import Columns, Embedding
from .norms import BatchNorm, LayerNorm
from .numeric import PeriodicEmbedding, PiecewiseLinearEmbedding

__all__ = [
    "Activation", "BatchNorm", "Clip", "Columns", "Concatenate", "Dense", "Dropout", "Embedding", "Layer",
    "LayerNorm", "Ordered", "PReLU", "ParametricActivation", "PeriodicEmbedding", "PiecewiseLinearEmbedding",
    "Residual", "Scale",
]  # fmt: skip

KINDS |= {name: globals()[name] for name in __all__ if name != "Layer"}
