"""Whether the activations that rise in exact arithmetic never fall from one float32 to the next, over all there are.

    python benchmarks/monotone.py [--only tanh]

In the build in use (BACKPROP_ISA chooses); some seconds for each function.
"""

import argparse

import numpy as np

import backprop as bp
from backprop import _isa

NAMES = [
    "exp", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "softsign", "hard_sigmoid", "hard_tanh",
]  # fmt: skip
STEP = 1 << 22
INFINITE = 0x7F800000


def falls(name: str) -> int:
    """How many outputs are below that of the number before."""
    f, count = bp.activations.get(name), 0
    for sign in 1, -1:
        for start in range(0, INFINITE, STEP):
            bits = np.arange(start, min(start + STEP + 1, INFINITE), dtype=np.int32)
            y = bits.view(np.float32) * np.float32(sign)
            bp._core.activate(f.code, f.slope, y.reshape(1, -1))
            count += int(np.count_nonzero(sign * y[1:] < sign * y[:-1]))
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=NAMES)
    chosen = parser.parse_args()
    for name in [chosen.only] if chosen.only else NAMES:
        print(f"{name:<12} {_isa.ISA}: falls {falls(name)} times", flush=True)
