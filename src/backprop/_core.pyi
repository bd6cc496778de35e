"""The kernels' manual: what the compiled core offers to Python. See kernels/*.pxi for the arithmetic.

Arrays are C-contiguous and native; float32 or float64, the same in all arguments of a call. Sizes are checked: what
does not fit raises ValueError, and nothing reads or writes outside an array.
"""

from typing import Any, final

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[Any]
_Labels = npt.NDArray[np.int64]
_Doubles = npt.NDArray[np.float64]

# Codes by name.
ACTIVATIONS: dict[str, int]
LOSSES: dict[str, int]
OPTIMIZERS: dict[str, int]
OPERATIONS: dict[str, int]

# Numbers that a Plan wants behind the parameters, for what the kernels read beyond the end of a row.
ROOM: int
# The width of the registers this build was compiled for.
REGISTER_BITS: int
# The builds that this processor runs.
SUPPORTED: set[str]

def cpu_supports(isa: str) -> bool:
    """Whether this processor and its operating system run the build of that name."""

def all_finite(x: _Array) -> bool:
    """Whether x (n,) holds no infinity and no NaN."""

def exponentiate(y: _Array) -> None:
    """y = e^y for y (n,), in place: what the activations and losses are made of, for the tests."""

def activate(activation: int, slope: float, y: _Array) -> None:
    """y = f(y) for rows y (B, n), in place."""

def activate_backward(activation: int, slope: float, y: _Array, dy: _Array) -> None:
    """dy = dy f'(z) where y = f(z), in place; both (B, n)."""

def loss(
    kind: tuple[int, bool, float],
    y_hat: _Array,
    y: _Array | None,
    labels: _Labels | None,
    weights: _Doubles | None,
    norm: float,
    values: _Doubles,
    dy: _Array,
) -> None:
    """For y_hat (B, n): the unweighted loss of each row into values (B,), and its gradient, times the row's weight and
    norm, into dy (B, n). kind is (code, from_logits, label smoothing); targets are y (B, n) or labels (B,)."""

def apply_update(
    kind: tuple[int, float, float, float, bool],
    learning_rate: float,
    step: int,
    p: _Array,
    g: _Array,
    m: _Array | None,
    v: _Array | None,
) -> bool:
    """Step number `step` (from 1) of an optimizer on p (n,) with gradient g and state m, v; whether p stayed finite.
    kind is (code, momentum or beta 1, beta 2, epsilon, nesterov)."""

def permutation(seed: int, epoch: int, order: _Labels) -> None:
    """The order of the rows in an epoch, into order (n,)."""

def peak_flops(memory: _Array, repeat: int) -> float:
    """Floating-point operations a second of one thread that only multiplies and adds in registers, in memory's type."""

def product_flops(product: int, x: _Array, w: _Array, y: _Array, repeat: int) -> float:
    """Floating-point operations a second of one product of a layer, again and again, for x (B, I), w (I, O), y (B, O):
    0 is y = x w, 1 is x = y w^T, 2 is w = x^T y. I and O are multiples of a register's numbers."""

@final
class Plan:
    """A network as steps (operation, activation, slope or rate, n_in, n_out, offset of the weight, of the bias or -1)
    over two flat vectors of n_parameters numbers, each with ROOM more behind them."""

    def __init__(
        self,
        parameters: _Array,
        gradients: _Array,
        n_parameters: int,
        steps: list[tuple[int, int, float, int, int, int, int]],
    ) -> None: ...
    @property
    def work(self) -> float:
        """Multiply-adds for one row on the way forward."""

    def predict(self, x: _Array, out: _Array, logits: bool = False, threads: int = 1) -> bool:
        """The outputs for x (B, n_in) into out (B, n_out); with logits, without the last activation. Whether all of x
        is finite: if not, what is in out is not to be used."""

    def answer(self, x: object) -> _Array | None:
        """predict, for a few rows that need no conversion, in a new array; None for anything else."""

    def forward(self, x: _Array, out: _Array, seed: int = 0, step: int = 0) -> None:
        """As predict, in training mode, keeping what backward needs."""

    def backward(self, dy: _Array, dx: _Array | None = None) -> None:
        """From dy (B, n_out) of the last forward: the gradients, and dx (B, n_in) where it is given."""

class Predictor:
    """What a network inherits: predict, by a short way for a few rows that need no conversion, else by _predict."""

    plan: Plan

    def predict(
        self, x: Any, *, batch_size: int | None = None, threads: int | None = None, out: _Array | None = None
    ) -> _Array:
        """What the network answers."""

@final
class Training:
    """A run of training: run() it. To losses (epochs, 2) each epoch's sum of the losses, and of the weights, is added;
    outputs (B, n_out) are written."""

    def __init__(
        self,
        plan: Plan,
        x: _Array,
        y: _Array | None,
        labels: _Labels | None,
        weights: _Doubles | None,
        *,
        loss: tuple[int, bool, float],
        logits: bool,
        mean: bool,
        update: tuple[int, float, float, float, bool] | None,
        m: _Array | None,
        v: _Array | None,
        update_step: int,
        rates: _Doubles,
        batch_size: int,
        losses: _Doubles,
        outputs: _Array | None,
        shuffle: bool,
        seed: int,
        first_epoch: int,
        first_step: int,
        threads: int,
    ) -> None: ...
    def run(self) -> bool:
        """Train; whether loss and parameters stayed finite. What a signal handler raised is raised."""

    @property
    def steps(self) -> int:
        """Batches finished."""
