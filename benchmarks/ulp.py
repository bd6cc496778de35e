"""How far the smooth activations are from the exact value, for every float32 there is.

    python benchmarks/ulp.py [--every 1] [--only gelu]

In units of the last place of the correctly rounded result, in the build in use (BACKPROP_ISA chooses). The oracle is
NumPy's float64 (for gelu, SciPy's erfc), whose own error is 10^-8 of such a unit, in the tails 10^-6. All 2^32 bit
patterns take some minutes for each function; --every 101 takes one in so many. (float64 is sampled against 50 digits by
tests/test_accuracy.py.)
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import erfc

import backprop as bp
from backprop import _isa

STEP = 1 << 22
NEXT_TO_MOST = np.nextafter(np.finfo(np.float32).max, np.float32(0))  # beyond the largest number is infinity


def exp(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.exp(x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x: np.ndarray) -> np.ndarray:
    return 1.0507009873554804934193349852946 * np.where(x > 0, x, 1.6732632423543772848170429916717 * elu(x))


def gelu(x: np.ndarray) -> np.ndarray:
    return x * erfc(-x / np.sqrt(2)) / 2


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(softplus(x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def softsign(x: np.ndarray) -> np.ndarray:
    return x / (1 + abs(x))


ORACLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    f.__name__: f for f in (exp, sigmoid, np.tanh, elu, selu, gelu, gelu_tanh, silu, mish, softplus, softsign)
}


def floats(every: int) -> Iterator[np.ndarray]:
    """All finite float32, in the order of their bits, some millions at a time."""
    for start in range(0, 1 << 32, STEP * every):
        bits = np.arange(start, min(start + STEP * every, 1 << 32), every, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        yield np.ascontiguousarray(x[np.isfinite(x)])


def measure(core: object, name: str, every: int) -> tuple[float, float, int]:
    """The worst error, where it is, and of how many."""
    f, worst, where, count = bp.activations.get(name), 0.0, 0.0, 0
    for x in floats(every):
        if not x.size:
            continue
        exact = ORACLES[name](x.astype(np.float64))
        y = x.copy()
        core.activate(f.code, f.slope, y.reshape(1, -1))
        rounded = exact.astype(np.float32)
        finite = np.isfinite(rounded)
        assert np.array_equal(y[~finite], rounded[~finite]), "an overflow that should not be, or none that should"
        error = abs(y[finite] - exact[finite]) / np.spacing(np.minimum(abs(rounded[finite]), NEXT_TO_MOST)).astype(
            float
        )
        at = int(error.argmax()) if error.size else 0
        if error.size and error[at] > worst:
            worst, where = float(error[at]), float(x[finite][at])
        count += x.size
    return worst, where, count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", choices=ORACLES)
    chosen = parser.parse_args()
    np.seterr(over="ignore", under="ignore")
    for name in [chosen.only] if chosen.only else ORACLES:
        worst, where, count = measure(bp._core, name, chosen.every)
        print(f"{name:<9} {_isa.ISA}: at most {worst:.3f} ulp, at {where!r}, of {count:,} numbers", flush=True)
