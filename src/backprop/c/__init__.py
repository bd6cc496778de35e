"""Networks as C files."""

from .export import export

__all__ = ["export"]
