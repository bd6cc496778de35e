from .base import *
from .base import (
    INPUT as INPUT, Program as Program, __all__ as __all__, __doc__ as __doc__, chain as chain, chain_takes as chain_takes,
    connect_chain as connect_chain, from_description as from_description, lower_chain as lower_chain,
)  # fmt: skip
