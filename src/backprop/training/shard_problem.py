"""What Levenberg-Marquardt asks for of rows in shards: sums of what each shard gives."""

from __future__ import annotations

from .. import _validate
from ..derivatives.problem import Problem
from ..distributed import Partition, Ranks, Tree
from .run import Run
from .shard_gradients import Batch, share_of, total_of

__all__ = ["ShardProblem"]

Array = _validate.Array


class ShardProblem:
    """A loss on all rows, as a `Problem` on those of each shard has it.

    Parameters
    ----------
    run : Run
    batch : Batch
        All rows.
    ranks : Ranks
    places : Partition
    """

    def __init__(self, run: Run, batch: Batch, ranks: Ranks, places: Partition) -> None:
        net, settings = run.network, run.settings
        self._ranks, self._sharing = ranks, [places.of(rank) for rank in range(ranks.size)]
        self._parts = [
            (share_of(run, data, batch), Problem(net, data, settings.objective, settings.threads, settings.optimizer))
            for _, data, _ in batch.parts if data is not None
        ]  # fmt: skip
        first = self._parts[0][1]
        self.squared, self.n_residuals = first.squared, places.rows * net.n_out
        weight = batch.weight if settings.objective.mean else 1.0
        self.scale = weight * (net.n_out / 2 if first.squared else 1.0)
        self._penalty = first.penalty

    def value(self) -> float:
        """The loss."""
        return total_of(self._ranks, self._sharing, [share * one.value() for share, one in self._parts])

    def value_and_gradient(self) -> tuple[float, Array]:
        """And its gradient."""
        found = [(share, *one.value_and_gradient()) for share, one in self._parts]
        value = total_of(self._ranks, self._sharing, [share * value for share, value, _ in found])
        return value, self._added([share * gradient for share, _, gradient in found])

    def curvature(self) -> Array:
        """Its Gauss-Newton matrix."""
        tree = Tree(self._sharing[self._ranks.rank].start)
        for share, one in self._parts:
            matrix = one.curvature()
            tree.add((share * matrix).reshape(-1))
        self._ranks.meet()
        n = round(tree.held[0].size ** 0.5)
        return self._ranks.total(tree.held, self._sharing).reshape(n, n)

    def squares(self) -> float:
        """The sum of the squared errors, each times the weight of its row."""
        return 2 * self.scale * (self.value() - self._penalty())

    def _added(self, vectors: list[Array]) -> Array:
        tree = Tree(self._sharing[self._ranks.rank].start)
        for vector in vectors:
            tree.add(vector)
        return self._ranks.total(tree.held, self._sharing)
