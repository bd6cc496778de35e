"""The errors of this library that are more than a `ValueError` or a `TypeError`."""

from __future__ import annotations

from functools import partial
from typing import Any

__all__ = ["BusyError", "DivergedError", "FormatError", "RankError"]


class FormatError(ValueError):
    """A model file is damaged, or is not one of ours."""


class DivergedError(ArithmeticError):
    """The loss stopped being finite; the network keeps the last weights that were.

    Parameters
    ----------
    message : str
        What happened, and what to try.
    epoch, batch : int
        Where it happened; also attributes of the error.
    """

    def __init__(self, message: str, *, epoch: int, batch: int) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.batch = batch

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), epoch=self.epoch, batch=self.batch), self.args, self.__dict__


class BusyError(RuntimeError):
    """A network that is being trained was asked to train again."""


class RankError(RuntimeError):
    """Another process of a fit over several has failed; what it says has happened.

    Parameters
    ----------
    message : str
    rank : int
        Which of the processes it was; also an attribute.
    """

    def __init__(self, message: str, *, rank: int) -> None:
        super().__init__(message)
        self.rank = rank

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), rank=self.rank), self.args, self.__dict__
