"""The kernels' manual: what the compiled core offers to Python. See kernels/*.pxi for the arithmetic.

Arrays are C-contiguous and native; float32 or float64, the same in all arguments of a call. Sizes are checked: what
does not fit raises ValueError, and nothing reads or writes outside an array.
"""

from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

_Array = npt.NDArray[Any]
_Labels = npt.NDArray[np.int64]
_Doubles = npt.NDArray[np.float64]

# An optimizer: its code, its own numbers, weight decay, clip_value, clip_norm, average; 0 is none. And, where there are
# groups, a tuple with (factor of the learning rate, factor of the weight decay, numbers) for each.
_Update = tuple[Any, ...]
# Parts of the flat vectors, (begin, end), ascending; in a group, (begin, end, which).
_Ranges = tuple[tuple[int, ...], ...]

__test__: dict[str, str]

# Codes by name.
ACTIVATIONS: dict[str, int]
LOSSES: dict[str, int]
OPTIMIZERS: dict[str, int]
OPERATIONS: dict[str, int]

# Codes of the activations whose derivative is taken from z: they are operations of their own.
NEEDS_Z: set[int]

# Codes of the activations of straight pieces, whose second derivative is zero wherever there is one.
CURVELESS: set[int]

# Numbers that a Plan wants behind the parameters, for what the kernels read beyond the end of a row.
ROOM: int
# Numbers that a loss has at most.
LOSS_NUMBERS: int
# The width of the registers this build was compiled for.
REGISTER_BITS: int
# The builds that this processor runs.
SUPPORTED: set[str]

def cpu_supports(isa: str) -> bool:
    """Whether this processor and its operating system run the build of that name."""

def all_finite(x: _Array) -> bool:
    """Whether x (n,) holds no infinity and no NaN."""

def activate(activation: int, slope: float, y: _Array) -> None:
    """y = f(y) for rows y (B, n), in place; slope is that of leaky_relu below zero, or elu's alpha."""

def activate_backward(activation: int, slope: float, y: _Array, dy: _Array, z: _Array | None = None) -> None:
    """dy = dy f'(z) where y = f(z), in place; all (B, n). z is wanted for NEEDS_Z, and not looked at for the others."""

def loss_target_width(kind: tuple[int, bool, tuple[float, ...]], n: int) -> int:
    """How many targets a row of n outputs has; 0 where the outputs do not come out even."""

def loss(
    kind: tuple[int, bool, tuple[float, ...]],
    y_hat: _Array,
    y: _Array | None,
    labels: _Labels | None,
    weights: _Doubles | None,
    norm: float,
    values: _Doubles,
    dy: _Array,
) -> None:
    """For y_hat (B, n): the unweighted loss of each row into values (B,), and its gradient, times the row's weight and
    norm, into dy (B, n). kind is (code, from_logits, the numbers in its formula); targets are y (B, loss_target_width)
    or, where the loss takes them, labels (B,)."""

def apply_update(
    kind: _Update,
    learning_rate: float,
    step: int,
    p: _Array,
    g: _Array,
    state: tuple[_Array, ...],
    ranges: _Ranges,
) -> bool:
    """Step number `step` (from 1) of an optimizer on p (n,) with gradient g; whether p stayed finite. The state is as
    many vectors (n,) as this kind keeps, the average of the parameters last; the ranges are where p may change."""

def permutation(seed: int, epoch: int, order: _Labels) -> None:
    """The order of the rows in an epoch, into order (n,)."""

@final
class Plan:
    """A network as operations over two flat vectors of n_parameters numbers, each with ROOM more behind them.

    An op is (operation, activation, number, n_in, n_out, offset of the weight, of the bias or -1, source, other, key,
    extra): the number is the activation's slope, a dropout's rate or a norm's epsilon; source and other are the ops
    whose outputs it takes, -1 for the input; a dropout mask depends on the key; extra is (momentum, offset in the
    buffers) of a batch norm, the momentum a number or a function that gives the present one, which each run asks for at
    its beginning (0: the statistics are fixed), and (offset of the table or -1, values, width) for each of the columns.
    The first seven will do where each takes the one before. A penalty is (begin, end, l1, l2)."""

    def __new__(
        cls,
        parameters: _Array,
        gradients: _Array,
        n_parameters: int,
        ops: list[tuple[Any, ...]],
        buffers: _Array | None = None,
        penalties: tuple[tuple[int, int, float, float], ...] = (),
    ) -> Self: ...
    @property
    def work(self) -> float:
        """Multiply-adds for one row on the way forward."""

    def slices(self, rows: int) -> int:
        """Into how many a batch of so many rows is cut for its gradients; 1: they are shared by weights."""

    def penalty(self) -> float:
        """What the penalties add to the loss."""

    def predict(self, x: _Array, out: _Array, logits: bool = False, threads: int = 1) -> bool:
        """The outputs for x (B, n_in) into out (B, n_out); with logits, without the last activation. Whether all of x
        is finite: if not, what is in out is not to be used."""

    def predict_few(self, x: object, out: object = None) -> _Array | None:
        """predict, for a few rows, in a new array or in out; None for whatever needs validation."""

    def forward(
        self,
        x: _Array,
        out: _Array,
        seed: int = 0,
        step: int = 0,
        training: bool = True,
        logits: bool = False,
        first_row: int = 0,
        shards: Any = None,
    ) -> None:
        """As predict, keeping what backward needs. In training mode dropout drops, and batch norms go by their batch,
        which their running statistics follow; else the bits are those of predict. With logits, without the last
        activation, here and in backward.

        With shards, the rows are some of a batch, of which the first is its row first_row; shards has the rows of the
        `batch`, its own between `bounds`, `room(n)` for sums over each, and `total()` of these over all shards."""

    def gradients_of(self, begin: int, end: int, penalties: float = 1.0) -> None:
        """After a backward in shards, the gradients of some rows, those of the penalties so many times included."""

    def backward(self, dy: _Array, dx: _Array | None = None, penalties: float = 1.0, parameters: bool = True) -> None:
        """From dy (B, n_out) of the last forward: the gradients, those of the penalties so many times included, and dx
        (B, n_in) where given. With parameters=False, dx only: the gradients are left as they are."""

    def tape_of(self, op: int, y: _Array, dz: _Array) -> None:
        """What the last forward and its backward left of an op, both (B, n_out): its outputs into y, and the gradient
        with respect to its numbers before the activation into dz."""

@disjoint_base
class Predictor:
    """What a network inherits: predict, by a short way for a few rows that need no conversion, else by _predict."""

    _plan: Plan | None
    _stale: bool

    def predict(
        self, x: Any, *, batch_size: int | None = None, threads: int | None = None, out: _Array | None = None
    ) -> _Array:
        """The outputs of the network."""

@final
class Training:
    """A run of training: run() it. To losses (epochs, 2) each epoch's sum of the losses, and of the weights, is added;
    outputs (B, n_out) are written. Rates, and decays in place of the update's weight decay, are one, or one for each
    batch. Without an update, gradients are what remains; running statistics of batch norms follow each batch where
    there is an update, or with update_statistics."""

    def __new__(
        cls,
        plan: Plan,
        x: _Array,
        y: _Array | None,
        labels: _Labels | None,
        weights: _Doubles | None,
        *,
        loss: tuple[int, bool, tuple[float, ...]],
        logits: bool,
        mean: bool,
        update: _Update | None,
        state: tuple[_Array, ...],
        ranges: _Ranges,
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
        share_penalties: bool = False,
        update_statistics: bool = False,
        decays: _Doubles | None = None,
    ) -> Self: ...
    def run(self) -> bool:
        """Train; whether loss and parameters stayed finite. What a signal handler raised is raised; where stop() ended
        it, KeyboardInterrupt."""

    def stop(self) -> None:
        """From whichever thread: end run(), under way or yet to come, as Ctrl-C does; not if it is about to end."""

    @property
    def steps(self) -> int:
        """Batches finished."""

@final
class Pullback:
    """Gradients of rows x (B, n_in) in evaluation mode, along cotangents dy (B, count, n_out) or, where that is None,
    of each output. run() writes those that are asked for: with respect to the inputs into dx (B, count, n_in), to the
    parameters into dp (B, count, n_parameters), and the squares of their norms into squares (B, count). With drops,
    (seed, step, first row), dropout drops."""

    def __new__(
        cls,
        plan: Plan,
        x: _Array,
        dy: _Array | None = None,
        dx: _Array | None = None,
        dp: _Array | None = None,
        squares: _Doubles | None = None,
        *,
        logits: bool = False,
        drops: tuple[int, int, int] | None = None,
        threads: int = 1,
    ) -> Self: ...
    def run(self) -> None:
        """Compute them; what a signal handler raised is raised."""

@final
class Derivatives:
    """Derivatives of the outputs for rows x (B, n_in) in evaluation mode: along directions (k, n_in), of order 2 where
    second is given and 0 where first is not either, or, of order 1, along tangents (n_parameters + ROOM,) of the
    parameters. run() writes those that are asked for, into value (B, n_out), first and second (B, n_out, k). With
    drops, (seed, step, first row), dropout drops."""

    def __new__(
        cls,
        plan: Plan,
        x: _Array,
        directions: _Array | None = None,
        tangents: _Array | None = None,
        value: _Array | None = None,
        first: _Array | None = None,
        second: _Array | None = None,
        *,
        logits: bool = False,
        drops: tuple[int, int, int] | None = None,
        threads: int = 1,
    ) -> Self: ...
    def run(self) -> None:
        """Go through the network, there or back; what a signal handler raised is raised."""

    def forward(self, x: _Array, value: _Array | None, first: _Array | None, second: _Array | None = None) -> None:
        """The same for other rows, as many, with these results; to run()."""

    def backward(self, value: _Array | None, first: _Array | None, second: _Array | None, sums: _Doubles) -> None:
        """Take adjoints of the results; run() adds the gradients of the parameters to sums (slices, n_parameters), of
        which each has the next of the rows."""

@final
class Gram:
    """c (n, n) += a^T b of rows a and b (rows, n), in double: of the upper triangle, once run() has come to its end."""

    def __new__(cls, a: _Array, b: _Array, c: _Doubles, threads: int = 1) -> Self: ...
    def run(self) -> None:
        """Compute it; what a signal handler raised is raised."""

@final
class Cholesky:
    """The lower triangle of c (n, n) becomes that of l, c = l l^T."""

    def __new__(cls, c: _Doubles) -> Self: ...
    @property
    def positive(self) -> bool:
        """Whether c is positive definite, to rounding; if not, there is no l."""

    def solve(self, b: _Doubles) -> None:
        """b (n,) becomes x with c x = b."""

    def inverse_trace(self) -> float:
        """The trace of the inverse of c."""
