"""Whose rows are whose: all rows, in the order of the ranks that brought them, are cut into shards."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .ranks import Ranks

__all__ = ["Partition", "distribute"]

Array = npt.NDArray[Any]


class Partition(NamedTuple):
    """Rows cut into shards, and these handed out to ranks: neighbours to neighbours, as evenly as can be."""

    rows: int
    shards: int
    ranks: int

    def size(self, shard: int) -> int:
        """Rows of a shard: the first may have one more."""
        return self.rows // self.shards + (shard < self.rows % self.shards)

    def begin(self, shard: int) -> int:
        """Where a shard begins, or all end."""
        return shard * (self.rows // self.shards) + min(shard, self.rows % self.shards)

    def of(self, rank: int) -> range:
        """The shards of a rank."""
        return range(rank * self.shards // self.ranks, (rank + 1) * self.shards // self.ranks)

    def rows_of(self, rank: int) -> range:
        """The rows of a rank."""
        own = self.of(rank)
        return range(self.begin(own.start), self.begin(own.stop))

    @property
    def counts(self) -> list[int]:
        """The rows of each rank."""
        return [len(self.rows_of(rank)) for rank in range(self.ranks)]

    def batches(self, size: int) -> int:
        """How many batches of so many rows an epoch has."""
        return -(-self.rows // size)

    def batch(self, shard: int, number: int, size: int) -> slice:
        """Which of its rows, in the order of an epoch, a shard gives to a batch: all shards take turns."""

        def before(position: int) -> int:
            return max(0, -(-(position - shard) // self.shards))

        return slice(before(number * size), before(min(self.rows, (number + 1) * size)))


def distribute(
    ranks: Ranks, arrays: dict[str, Array | None], shards: int, kept: range | None = None
) -> tuple[dict[str, Array | None], Partition]:
    """Hand out rows to the ranks of their shards.

    Parameters
    ----------
    ranks : Ranks
    arrays : dict of str to numpy.ndarray or None
        What this rank has brought, equally long; a rank without rows brings arrays of no rows, or None of all.
    shards : int
    kept : range, optional
        Which of all rows are meant. Default: all.

    Returns
    -------
    dict
        The rows of the shards of this rank: views where it has brought them itself, else copies.
    Partition

    Raises
    ------
    ValueError
        On all ranks alike, if what they have brought does not fit together.
    """
    described = ranks.all({name: _described(array) for name, array in arrays.items()})
    told = {name: _agreed(name, [each[name] for each in described]) for name in arrays}
    counts = [_rows_of(rank, each) for rank, each in enumerate(described)]
    kept = range(sum(counts)) if kept is None else kept
    partition = Partition(len(kept), shards, ranks.size)
    brought = _consecutive(counts)
    wanted = [_shifted(partition.rows_of(rank), kept.start) for rank in range(ranks.size)]
    found = {
        name: None if kind is None else _exchanged(ranks, _present(arrays[name], kind), brought, wanted)
        for name, kind in told.items()
    }
    return found, partition


def _described(array: Array | None) -> tuple[int, tuple[int, ...], str] | None:
    return None if array is None else (len(array), array.shape[1:], array.dtype.str)


def _rows_of(rank: int, described: dict[str, tuple[int, tuple[int, ...], str] | None]) -> int:
    """How many rows a rank has brought."""
    lengths = {name: one[0] for name, one in described.items() if one is not None}
    first = next(iter(lengths), "")
    for name, length in lengths.items():
        if length != lengths[first]:
            raise ValueError(
                f"{name}: expected {lengths[first]} rows on rank {rank}, as many as {first} has, got {length}"
            )
    return lengths.get(first, 0)


def _agreed(name: str, described: Sequence[tuple[int, tuple[int, ...], str] | None]) -> Any:
    """The shape of a row and the type that all ranks have which have rows; None where nobody has the array."""
    found = [(rank, one[1:]) for rank, one in enumerate(described) if one is not None and one[0]]
    if not found:
        return next((one[1:] for one in described if one is not None), None)
    first, wanted = found[0]
    for rank, kind in found:
        if kind != wanted:
            raise ValueError(
                f"{name}: expected rows of one shape and type on all ranks, got {_kind(wanted)} on rank {first} and "
                f"{_kind(kind)} on rank {rank}"
            )
    without = [rank for rank, one in enumerate(described) if one is None]
    if without and len(without) + len(found) == len(described) and name != "sample_weight":
        return wanted
    if without:
        raise ValueError(f"{name}: expected it on all ranks or on none, got none on rank {without[0]}")
    return wanted


def _kind(kind: tuple[tuple[int, ...], str]) -> str:
    return f"{np.dtype(kind[1])} of shape (rows, {', '.join(map(str, kind[0]))})".replace(", )", ",)")


def _present(array: Array | None, kind: tuple[tuple[int, ...], str]) -> Array:
    return np.empty((0, *kind[0]), kind[1]) if array is None or not len(array) else array


def _consecutive(counts: Sequence[int]) -> list[range]:
    ends = np.cumsum([0, *counts]).tolist()
    return [range(begin, end) for begin, end in itertools.pairwise(ends)]


def _shifted(some: range, by: int) -> range:
    return range(some.start + by, some.stop + by)


def _common(a: range, b: range) -> range:
    return range(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))


def _exchanged(ranks: Ranks, array: Array, brought: Sequence[range], wanted: Sequence[range]) -> Array:
    """The rows that this rank wants, of those that each has brought."""
    mine, want = brought[ranks.rank], wanted[ranks.rank]
    if all(not len(need) or _common(have, need) == need for have, need in zip(brought, wanted, strict=True)):
        return array[want.start - mine.start : want.stop - mine.start] if len(want) else array[:0]
    found = np.empty((len(want), *array.shape[1:]), array.dtype)
    sends, receives = {}, {}
    for rank in range(ranks.size):
        give, take = _common(mine, wanted[rank]), _common(brought[rank], want)
        given = array[give.start - mine.start : give.stop - mine.start]
        taken = found[take.start - want.start : take.stop - want.start]
        if rank == ranks.rank:
            taken[...] = given
        else:
            sends[rank], receives[rank] = np.ascontiguousarray(given), taken
    ranks.trade(sends, receives)
    return found
