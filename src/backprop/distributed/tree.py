"""A sum of vectors in one fixed tree, whoever adds which of its branches.

Shards are its leaves, in their order. Two neighbours that begin at an even place are added, then two such pairs, and so
on; what is left in the end is added from the right. A *block* is a branch of 2^level leaves that begins at a multiple
of 2^level: of some neighbouring leaves, whoever has them adds their largest blocks; whoever has all blocks adds those.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["Tree", "blocks", "grown"]

Array = npt.NDArray[np.floating]


def blocks(begin: int, end: int) -> list[int]:
    """The levels of the largest blocks that the leaves from `begin` to before `end` are made of, in their order."""
    found = []
    while begin < end:
        level = 0
        while begin % (2 << level) == 0 and begin + (2 << level) <= end:
            level += 1
        found.append(level)
        begin += 1 << level
    return found


class Tree:
    """Some neighbouring leaves, which are added as they come.

    Parameters
    ----------
    first : int
        The place of the first of them.
    """

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._levels: list[int] = []
        self._vectors: list[Array] = []

    def add(self, vector: Array, level: int = 0) -> None:
        """The next leaf, or block of leaves. The vector becomes the tree's own, which writes into it."""
        self._next += 1 << level
        while self._levels and self._levels[-1] == level and self._next % (2 << level) == 0:
            left = self._vectors.pop()
            self._levels.pop()
            left += vector
            vector, level = left, level + 1
        self._levels.append(level)
        self._vectors.append(vector)

    @property
    def held(self) -> list[Array]:
        """The blocks so far."""
        return self._vectors

    def total(self) -> Array:
        """Of all leaves, which are all there are: what is left is added from the right."""
        total = self._vectors.pop()
        while self._vectors:
            left = self._vectors.pop()
            left += total
            total = left
        return total


def grown(held: Iterable[tuple[int, Array]]) -> Array:
    """The sum of all leaves, from their blocks in order: each its level and its vector, which is written into."""
    tree = Tree()
    for level, vector in held:
        tree.add(vector, level)
    return tree.total()
