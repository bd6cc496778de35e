"""Activations: the functions y = f(z) that a layer ends in, by name or as these objects.

An object is a name and, for `leaky_relu` and `elu`, a parameter; called, it applies its function to an array. To add
one, write its pair of kernels in ``kernels/activations.pxi``, name them in the two choices at that file's end, and give
it a line here.

Notes
-----
Definitions, constants, and the derivatives at kinks are PyTorch's, of the modules of torch.nn named here: at a kink,
the derivative is the one from the left for ELU, SELU, ReLU and LeakyReLU, and 0 for Hardsigmoid and Hardtanh. Softplus
is the logarithm everywhere; PyTorch's becomes z above 20, where they differ by 2e-9. `exp` is torch.exp. The smooth
ones are within 4 units in the last place, from the largest number to the smallest; `sin` and `cos` too, also far out.

References
----------
.. [1] Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential linear units (ELUs)",
   ICLR 2016.
.. [2] Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural networks", NeurIPS 2017, eq. 2.
.. [3] Hendrycks, Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415, 2016, section 2.
.. [4] Elfwing, Uchibe, Doya, "Sigmoid-weighted linear units for neural network function approximation in reinforcement
   learning", Neural Networks 107, 2018.
.. [5] Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
.. [6] Dugas et al., "Incorporating second-order functional knowledge for better option pricing", NIPS 2000.
.. [7] Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
.. [8] Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.
.. [9] Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.
.. [10] Sitzmann et al., "Implicit neural representations with periodic activation functions", NeurIPS 2020.
"""

from dataclasses import dataclass
from typing import Any

from . import _core, _validate

#: The functions with a parameter, its name, and what it stays below.
_PARAMETERS = {"leaky_relu": ("slope", 1.0), "elu": ("alpha", 1e30)}


@dataclass(frozen=True, slots=True)
class ActivationFunction:
    """An activation: what a layer's ``activation`` accepts beside a name.

    Parameters
    ----------
    name : str
        Which function.
    slope : float, default 0
        The parameter of ``leaky_relu``, at least 0, below 1, or of ``elu``, its alpha, at least 0. Other functions
        have none.
    """

    name: str
    slope: float = 0.0

    def __post_init__(self) -> None:
        _validate.choice(self.name, "activation", _core.ACTIVATIONS)
        word, below = _PARAMETERS.get(self.name, ("slope", 1.0))
        if _validate.number(self.slope, word, least=0, below=below) and self.name not in _PARAMETERS:
            raise ValueError(f"slope: expected {' or '.join(_PARAMETERS)}, which have one, got {self.name}")

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
        self.apply(y)
        return y

    def apply(self, y: _validate.Array) -> None:
        """Apply it in place, to a contiguous array (batch, n)."""
        _core.activate(self.code, self.slope, y)

    @property
    def code(self) -> int:
        """How the compiled core calls it."""
        return _core.ACTIVATIONS[self.name]

    def with_slope(self, slope: float) -> "ActivationFunction":
        """A leaky ReLU with another slope, at least 0, below 1."""
        return self._with("slope", slope)

    def with_alpha(self, alpha: float) -> "ActivationFunction":
        """An ELU with another alpha, at least 0."""
        return self._with("alpha", alpha)

    def _with(self, word: str, number: float) -> "ActivationFunction":
        for name, (own, _) in _PARAMETERS.items():
            if own == word and name != self.name:
                raise ValueError(f"{word}: expected {name}, which has one, got {self.name}")
        return ActivationFunction(self.name, number)

    def __repr__(self) -> str:
        other = f".with_{_PARAMETERS[self.name][0]}({self.slope})" if self != _TABLE[self.name] else ""
        return f"activations.{self.name}{other}"


identity = ActivationFunction("identity")  #: f(z) = z
sigmoid = ActivationFunction("sigmoid")  #: f(z) = 1 / (1 + e^-z); f' = y (1 - y)
tanh = ActivationFunction("tanh")  #: f(z) = (e^z - e^-z) / (e^z + e^-z); f' = 1 - y^2
relu = ActivationFunction("relu")  #: f(z) = max(z, 0); f' = 1 where z > 0, else 0
leaky_relu = ActivationFunction("leaky_relu", 0.01)  #: f(z) = z where z > 0, else slope z; LeakyReLU [9]_
elu = ActivationFunction("elu", 1.0)  #: f(z) = z where z > 0, else alpha (e^z - 1); f' = 1, else y + alpha; ELU [1]_
selu = ActivationFunction("selu")  #: f(z) = 1.0507... elu(z) with alpha 1.6732...; SELU [2]_
gelu = ActivationFunction("gelu")  #: f(z) = z Phi(z) = z (1 + erf(z / sqrt 2)) / 2; f' = Phi + z phi; GELU [3]_
gelu_tanh = ActivationFunction("gelu_tanh")  #: f(z) = z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2 [3]_
silu = ActivationFunction("silu")  #: f(z) = z s, s = sigmoid(z); f' = s (1 + z (1 - s)); SiLU, also called swish [4]_
mish = ActivationFunction("mish")  #: f(z) = z t, t = tanh(softplus(z)); f' = t + z sigmoid(z) (1 - t^2); Mish [5]_
softplus = ActivationFunction("softplus")  #: f(z) = log(1 + e^z); f' = 1 - e^-y; Softplus [6]_
softsign = ActivationFunction("softsign")  #: f(z) = z / (1 + |z|); f' = (1 - |y|)^2; Softsign [7]_
hard_sigmoid = ActivationFunction("hard_sigmoid")  #: f(z) = (z + 3) / 6, at least 0, at most 1; Hardsigmoid [8]_
hard_tanh = ActivationFunction("hard_tanh")  #: f(z) = z, at least -1, at most 1; Hardtanh
exp = ActivationFunction("exp")  #: f(z) = e^z; f' = y
softmax = ActivationFunction("softmax")  #: f(z)_i = e^z_i / sum_j e^z_j, over a row
sin = ActivationFunction("sin")  #: f(z) = sin z; f' = cos z; of networks for differential equations and images [10]_
cos = ActivationFunction("cos")  #: f(z) = cos z; f' = -sin z
log_softmax = ActivationFunction("log_softmax")  #: f(z)_i = z_i - log sum_j e^z_j, over a row; LogSoftmax

_TABLE = {name: f for name, f in dict(globals()).items() if isinstance(f, ActivationFunction)}
__all__ = ["ActivationFunction", *_TABLE]  # pyright: ignore[reportUnsupportedDunderAll]


def get(activation: str | ActivationFunction) -> ActivationFunction:
    """The activation that a name, or an activation, stands for."""
    if isinstance(activation, ActivationFunction):
        if type(activation) is not ActivationFunction:
            kind = type(activation).__name__
            raise TypeError(f"activation: expected one of backprop.activations, got a {kind}: bring it as a Layer")
        return activation
    return _TABLE[_validate.choice(activation, "activation", _TABLE)]
