"""Activations: the functions y = f(z) that a layer ends in, by name or as these objects.

An object is a name and, for `leaky_relu`, a slope; called, it applies its function to an array. To add one, write its
pair of kernels in ``kernels/activations.pxi``, name them in the two choices at that file's end, and give it a line
here.
"""

from dataclasses import dataclass
from typing import Any

from . import _core, _validate

__all__ = ["ActivationFunction", "identity", "leaky_relu", "relu", "sigmoid", "softmax", "tanh"]


@dataclass(frozen=True, slots=True)
class ActivationFunction:
    """An activation: what a layer's ``activation`` accepts beside a name.

    Parameters
    ----------
    name : str
        Which function.
    slope : float
        Of ``leaky_relu`` below zero, 0 to 1; other functions have none.
    """

    name: str
    slope: float = 0.0

    def __post_init__(self) -> None:
        _validate.choice(self.name, "activation", _core.ACTIVATIONS)
        if _validate.number(self.slope, "slope", least=0, below=1) and self.name != "leaky_relu":
            raise ValueError(f"slope: expected leaky_relu, which has one, got {self.name}")

    def __call__(self, z: Any) -> _validate.Array:
        """Apply the function.

        Parameters
        ----------
        z : array_like, shape (batch, n)
            float32 and float64 keep their type, anything else becomes float64.

        Returns
        -------
        numpy.ndarray, shape (batch, n)
        """
        given = _validate.array(z, "z")
        if given.ndim != 2:
            raise ValueError(f"z: expected an array of shape (batch, n), got {given.shape}")
        y = _validate.real(given, "z", "float32" if given.dtype == "float32" else "float64").copy()
        _core.activate(self.code, self.slope, y)
        return y

    @property
    def code(self) -> int:
        """How the compiled core calls it."""
        return _core.ACTIVATIONS[self.name]

    def with_slope(self, slope: float) -> "ActivationFunction":
        """The leaky rectifier of another slope."""
        return ActivationFunction(self.name, slope)

    def __repr__(self) -> str:
        return f"activations.{self.name}" + (f".with_slope({self.slope})" if self != _TABLE[self.name] else "")


identity = ActivationFunction("identity")  #: f(z) = z
sigmoid = ActivationFunction("sigmoid")  #: f(z) = 1 / (1 + e^-z); f' = y (1 - y)
tanh = ActivationFunction("tanh")  #: f(z) = (e^z - e^-z) / (e^z + e^-z); f' = 1 - y^2
relu = ActivationFunction("relu")  #: f(z) = max(z, 0); f' = 1 where z > 0, else 0
leaky_relu = ActivationFunction("leaky_relu", 0.01)  #: f(z) = z where z > 0, else slope z
softmax = ActivationFunction("softmax")  #: f(z)_i = e^z_i / sum_j e^z_j, over a row

_TABLE = {f.name: f for f in (identity, sigmoid, tanh, relu, leaky_relu, softmax)}


def get(activation: str | ActivationFunction) -> ActivationFunction:
    """The activation that a name, or an activation, stands for."""
    if isinstance(activation, ActivationFunction):
        return activation
    return _TABLE[_validate.choice(activation, "activation", _TABLE)]
