"""The steps of a quantized network: each computes whole numbers as the file in C does, and says what to call there.

The scheme is that of 8-bit TensorFlow Lite [1]_: real = scale (q - zero), weights without a zero and with a scale for
each output, everything else with one scale and one zero; sums in 32 bits, which a factor of 31 bits and a shift bring
to the scale of the output.

References
----------
.. [1] Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
   CVPR 2018, sections 2.1 to 2.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _validate

__all__ = ["Add", "Affine", "Dense", "Join", "Quantize", "Scheme", "Step", "Table", "Writer", "in_c"]

Array = _validate.Array


class Scheme(NamedTuple):
    """How real numbers are written as whole ones: real = scale (q - zero)."""

    scale: float
    zero: int

    @classmethod
    def of_range(cls, values: Array) -> Scheme:
        """The one that spans these numbers and zero."""
        low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
        scale = float(np.float32((high - low) / 255))
        if scale == 0:
            return cls(1.0, 0)
        return cls(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))

    def quantized(self, x: Array) -> Array:
        """Whole numbers for real ones, float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            q = x.astype(np.float32) / np.float32(self.scale)
        q = np.clip(np.where(q >= -300, q, np.float32(-300)), np.float32(-300), np.float32(300))
        half = np.where(q < 0, np.float32(-0.5), np.float32(0.5))
        found: Array = np.clip(np.trunc(q + half).astype(np.int64) + self.zero, -128, 127).astype(np.int8)
        return found

    def real(self, q: Array) -> Array:
        """Real numbers, float32, for whole ones."""
        found: Array = np.float32(self.scale) * (q.astype(np.int32) - self.zero).astype(np.float32)
        return found


class Writer(Protocol):
    """What the steps write their calls with."""

    def at(self, name: str, offset: int = 0) -> str:
        """Where numbers lie."""
        ...

    def array(self, name: str, array: Array, dtype: str) -> str:
        """The name of a constant that holds these."""
        ...

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function."""
        ...


class Step(Protocol):
    """One step: what it is computed from, and how."""

    name: str
    inputs: tuple[str, ...]
    out: Scheme

    def run(self, values: Mapping[str, Array]) -> Array:
        """Its numbers, from those before it."""
        ...

    def write(self, to: Writer) -> None:
        """The same in C."""
        ...

    @property
    def size(self) -> int:
        """Numbers of a row of its output."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of its constants."""
        ...


def fixed(factor: float) -> tuple[int, int]:
    """A factor as 31 bits and a shift to the right of 1 to 62."""
    mantissa, exponent = math.frexp(factor)
    bits = round(mantissa * 2**31)
    if bits == 2**31:
        bits, exponent = 2**30, exponent + 1
    shift = 31 - exponent
    return (bits, shift) if 1 <= shift <= 62 else (0, 1)


def common(*factors: Array, most: float = 2.0**30) -> int:
    """The longest shift, 1 to 62, at which none of these is longer than 30 bits."""
    largest = max([float(abs(factor).max(initial=0)) for factor in factors])
    return 62 if largest == 0 else max(1, min(62, math.floor(math.log2(most / largest))))


def at_shift(factor: Array | float, shift: int) -> Array:
    """Whole numbers for factors at a shift."""
    return np.clip(np.rint(np.asarray(factor, np.float64) * 2.0**shift), -(2**31) + 1, 2**31 - 1).astype(np.int64)


def clamped(values: Array) -> Array:
    found: Array = np.clip(values, -128, 127).astype(np.int8)
    return found


def shifted(values: Array, shift: Array | int) -> Array:
    """Divided by a power of two, rounded to the nearest, halves up."""
    shift = np.asarray(shift, np.int64)
    found: Array = (values + (np.int64(1) << (shift - 1))) >> shift
    return found


class Quantize:
    """Real numbers of a row become whole ones."""

    inputs: tuple[str, ...] = ()
    nbytes = 0

    def __init__(self, name: str, source: str, size: int, out: Scheme) -> None:
        self.name, self.source, self.size, self.out = name, source, size, out

    def run(self, values: Mapping[str, Array]) -> Array:
        """See `Step`."""
        return self.out.quantized(values[self.source])

    def write(self, to: Writer) -> None:
        """See `Step`."""
        to.call("quantize", self.size, *in_c(self.out), "x", to.at(self.name))


class Dense:
    """Sums of products, in 32 bits."""

    def __init__(self, name: str, source: str, given: Scheme, out: Scheme, weight: Array, bias: Array) -> None:
        self.name, self.inputs, self.out = name, (source,), out
        weight, bias = weight.astype(np.float64), bias.astype(np.float64)
        # A bias stays below 2^29 units, so that no sum can leave 32 bits.
        scale = np.maximum(abs(weight).max(axis=0, initial=0) / 127, abs(bias) / (given.scale * 2.0**29))
        scale[scale == 0] = 1
        self.weight = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
        whole = np.rint(bias / (given.scale * scale)).astype(np.int64)
        self.bias = whole - given.zero * self.weight.sum(axis=0, dtype=np.int64)
        factors = [fixed(float(factor)) for factor in given.scale * scale / out.scale]
        self.factor, self.shift = (np.array(part, np.int64) for part in zip(*factors, strict=True))

    @property
    def size(self) -> int:
        """See `Step`."""
        return len(self.bias)

    @property
    def nbytes(self) -> int:
        """See `Step`."""
        return int(self.weight.size) + 9 * self.size

    def run(self, values: Mapping[str, Array]) -> Array:
        """See `Step`."""
        x = values[self.inputs[0]].astype(np.float64)  # exact: no sum reaches 2^53
        sums = (x @ self.weight.astype(np.float64)).astype(np.int64) + self.bias
        return clamped(shifted(sums * self.factor, self.shift) + self.out.zero)

    def write(self, to: Writer) -> None:
        """See `Step`."""
        to.call(
            "dense_q", *self.weight.shape, to.at(self.inputs[0]), to.array("weight", self.weight.T, "int8"),
            to.array("bias", self.bias, "int32"), to.array("factor", self.factor, "int32"),
            to.array("shift", self.shift, "uint8"), self.out.zero, to.at(self.name),
        )  # fmt: skip


class Table:
    """A function of one number, looked up."""

    nbytes = 256

    def __init__(self, name: str, source: str, size: int, given: Scheme, out: Scheme, function: Any) -> None:
        self.name, self.inputs, self.out, self.size = name, (source,), out, size
        real = given.scale * (np.arange(-128, 128, dtype=np.float64) - given.zero)
        self.table = clamped(np.rint(function(real[None])[0] / out.scale) + out.zero)

    def run(self, values: Mapping[str, Array]) -> Array:
        """See `Step`."""
        return self.table[values[self.inputs[0]].astype(np.int64) + 128]

    def write(self, to: Writer) -> None:
        """See `Step`."""
        to.call("table_q", self.size, to.array("table", self.table, "int8"), to.at(self.inputs[0]), to.at(self.name))


class Affine:
    """y = factor x + offset, with other factors for negative x, column by column."""

    def __init__(
        self, name: str, source: str, given: Scheme, out: Scheme, right: Array, left: Array, offset: Array
    ) -> None:
        self.name, self.inputs, self.out, self.given = name, (source,), out, given
        right, left, offset = (np.asarray(part, np.float64) / out.scale for part in (right, left, offset))
        right, left = right * given.scale, left * given.scale
        self.shift = common(right, left, offset)
        self.right, self.left, self.offset = (at_shift(part, self.shift) for part in (right, left, offset))

    @property
    def size(self) -> int:
        """See `Step`."""
        return len(self.right)

    @property
    def nbytes(self) -> int:
        """See `Step`."""
        return 12 * self.size

    def run(self, values: Mapping[str, Array]) -> Array:
        """See `Step`."""
        d = values[self.inputs[0]].astype(np.int64) - self.given.zero
        products = d * np.where(d > 0, self.right, self.left) + self.offset
        return clamped(shifted(products, self.shift) + self.out.zero)

    def write(self, to: Writer) -> None:
        """See `Step`."""
        arrays = [to.array(name, getattr(self, name), "int32") for name in ("right", "left", "offset")]
        to.call(
            "affine_q", self.size, self.given.zero, *arrays, self.shift, self.out.zero, to.at(self.inputs[0]),
            to.at(self.name),
        )  # fmt: skip


class Add:
    """The sum of two."""

    nbytes = 0

    def __init__(self, name: str, sources: tuple[str, str], size: int, given: list[Scheme], out: Scheme) -> None:
        self.name, self.inputs, self.size, self.given, self.out = name, sources, size, given, out
        factors = [np.float64(scheme.scale) / out.scale for scheme in given]
        self.shift = common(*map(np.asarray, factors))
        self.factors = [int(at_shift(factor, self.shift)) for factor in factors]

    def run(self, values: Mapping[str, Array]) -> Array:
        """See `Step`."""
        total: Array = np.zeros(1, np.int64)
        for name, scheme, factor in zip(self.inputs, self.given, self.factors, strict=True):
            total = total + (values[name].astype(np.int64) - scheme.zero) * factor
        return clamped(shifted(total, self.shift) + self.out.zero)

    def write(self, to: Writer) -> None:
        """See `Step`."""
        pairs = [number for pair in zip(self.given, self.factors, strict=True) for number in (pair[0].zero, pair[1])]
        to.call(
            "add_q", self.size, *pairs, self.shift, self.out.zero, *map(to.at, self.inputs), to.at(self.name)
        )  # fmt: skip


class Join:
    """Several side by side."""

    nbytes = 0

    def __init__(self, name: str, sources: tuple[str, ...], sizes: list[int], given: list[Scheme], out: Scheme) -> None:
        self.name, self.inputs, self.sizes, self.given, self.out = name, sources, sizes, given, out
        self.factors = [fixed(scheme.scale / out.scale) for scheme in given]

    @property
    def size(self) -> int:
        """See `Step`."""
        return sum(self.sizes)

    def run(self, values: Mapping[str, Array]) -> Array:
        """See `Step`."""
        parts = []
        for name, scheme, (factor, shift) in zip(self.inputs, self.given, self.factors, strict=True):
            d = values[name].astype(np.int64) - scheme.zero
            parts.append(clamped(shifted(d * factor, shift) + self.out.zero))
        return np.concatenate(parts, axis=1)

    def write(self, to: Writer) -> None:
        """See `Step`."""
        offset = 0
        for name, size, scheme, factor in zip(self.inputs, self.sizes, self.given, self.factors, strict=True):
            to.call("rescale_q", size, scheme.zero, *factor, self.out.zero, to.at(name), to.at(self.name, offset))
            offset += size


def in_c(scheme: Scheme) -> tuple[str, int]:
    """A scheme as arguments in C."""
    return f"{np.float32(scheme.scale)!s}f", scheme.zero
