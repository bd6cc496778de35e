"""Where the outputs of operations lie in the work buffer."""

from __future__ import annotations

from ..program.graph import Graph

__all__ = ["plan"]


def plan(graph: Graph) -> tuple[dict[str, int], int]:
    """The place of each operation's output but the last's, and the numbers in all.

    A place is free again once the last operation that takes what lies there has been computed.
    """
    last_use = {name: i for i, operation in enumerate(graph) for name in operation.inputs}
    places: dict[str, int] = {}
    taken: dict[str, tuple[int, int]] = {}
    size = 0
    for i, operation in enumerate(graph[:-1]):
        begin = 0
        for low, high in sorted(taken.values()):
            if begin + operation.n_out <= low:
                break
            begin = max(begin, high)
        places[operation.name] = begin
        taken[operation.name] = begin, begin + operation.n_out
        size = max(size, begin + operation.n_out)
        taken = {name: span for name, span in taken.items() if last_use.get(name, i) > i}
    return places, size
