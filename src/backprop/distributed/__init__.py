"""A fit over several processes: who they are, whose rows are whose, and sums that do not depend on how many there are."""

from .ranks import Ranks, together
from .rows import Partition, distribute
from .tree import Tree, blocks, grown

__all__ = ["Partition", "Ranks", "Tree", "blocks", "distribute", "grown", "together"]
