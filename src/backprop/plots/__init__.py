"""Figures: learning curves, what a network divides a plane into, its units and weights, what flows through it, the loss
around it, predictions beside the truth.

Each function returns a ``matplotlib.figure.Figure``, which belongs to no window and no global state; a notebook shows
it, and `png` makes a file of it. With ``ax=`` they draw in axes that are there. Matplotlib is imported when a figure is
asked for. The colours are blue and orange, and others after them that the colour-blind tell apart.
"""

from .classes import decision_surface, digits, regions
from .figures import png
from .flow import activations, gradient_flow
from .inside import network, weights
from .landscape import loss_landscape
from .pixels import images
from .scores import calibration, confusion, predictions
from .training import curves, history, range_test

__all__ = [
    "activations", "calibration", "confusion", "curves", "decision_surface", "digits", "gradient_flow", "history",
    "images", "loss_landscape", "network", "png", "predictions", "range_test", "regions", "weights",
]  # fmt: skip
