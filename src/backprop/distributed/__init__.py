"""A fit over several processes: who they are, whose rows are whose, and one tree of sums."""

from .ranks import Ranks, together
from .rows import Partition, distribute
from .tree import Tree, blocks, grown
from .world import current, launched, over

__all__ = ["Partition", "Ranks", "Tree", "blocks", "current", "distribute", "grown", "launched", "over", "together"]
