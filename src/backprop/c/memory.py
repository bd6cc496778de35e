"""Where what is computed on the way lies in the work buffer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..program.graph import Graph

__all__ = ["Room", "of_graph", "plan"]


class Room(NamedTuple):
    """Numbers by their name, how many they are, and what they are computed from."""

    name: str
    size: int
    inputs: tuple[str, ...]


def plan(rooms: Sequence[Room]) -> tuple[dict[str, int], int]:
    """The place of each, and the numbers in all.

    A place is free again once the last that is computed from what lies there has been computed; what none of these is
    computed from stays.
    """
    last_use = {name: i for i, room in enumerate(rooms) for name in room.inputs}
    places: dict[str, int] = {}
    taken: dict[str, tuple[int, int]] = {}
    size = 0
    for i, room in enumerate(rooms):
        begin = 0
        for low, high in sorted(taken.values()):
            if begin + room.size <= low:
                break
            begin = max(begin, high)
        places[room.name], taken[room.name] = begin, (begin, begin + room.size)
        size = max(size, begin + room.size)
        taken = {name: span for name, span in taken.items() if last_use.get(name, len(rooms)) > i}
    return places, size


def of_graph(graph: Graph) -> tuple[dict[str, int], int]:
    """The outputs of all operations; that of the last is elsewhere, but it is computed from others."""
    return plan([Room(it.name, 0 if it is graph[-1] else it.n_out, it.inputs) for it in graph])
