"""Several members instead of one: which rows each sees, and their fits, side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_random_state

from .. import _pool, _threads, callbacks
from .data import Rows
from .head import Head

__all__ = ["fitted"]


class Part(NamedTuple):
    """What a member sees: rows to fit, by their indices, those left for validation, and its random_state."""

    rows: Any
    others: Any
    seed: int


def parts(mlp: Any, train: Rows) -> Iterator[Part]:
    """Of each member."""
    random = check_random_state(mlp.random_state)
    seeds = random.randint(2**31 - 1, size=mlp.n_members)
    every = np.arange(len(train.X))
    if mlp.bagging == "folds":
        strata = mlp._strata(train.y)
        kind = KFold if strata is None else StratifiedKFold
        split = kind(mlp.n_members, shuffle=True, random_state=random).split(train.X, strata)
        yield from (Part(rows, others, int(seed)) for (rows, others), seed in zip(split, seeds, strict=True))
        return
    for seed in seeds:
        if mlp.bagging == "seeds":
            yield Part(slice(None), None, int(seed))
        else:
            rows = random.randint(len(every), size=len(every))
            yield Part(rows, np.setdiff1d(every, rows), int(seed))


def fitted(mlp: Any, train: Rows, held_out: Rows | None, head: Head) -> list[Any]:
    """The members of an estimator that knows its classes and its categories, each fitted to its rows."""
    chosen = callbacks.for_each(mlp.callbacks, mlp.n_members, "members", "fit members one by one")
    split = [*parts(mlp, train)]
    made = [_member(mlp, part.seed, own) for part, own in zip(split, chosen, strict=True)]
    done: list[int] = []
    with (
        closing(callbacks.Counter(len(made), "member", mlp.progress)) as counter,
        _threads.take(mlp.threads, len(made)) as threads,
    ):
        tasks = [partial(_fit, i, member, split[i], train, held_out, head, done) for i, member in enumerate(made)]
        _pool.run(tasks, min(threads, len(made)), lambda: counter.show(len(done)))
    return made


def _member(mlp: Any, seed: int, own: list[Any]) -> Any:
    """An estimator of one network, which shares with the whole what that has learned of the data."""
    member = copy.copy(mlp)
    for name in ("members_", "network_"):
        vars(member).pop(name, None)
    return member.set_params(n_members=1, random_state=seed, callbacks=own, progress=False, threads=1)


def _fit(i: int, member: Any, part: Part, train: Rows, held_out: Rows | None, head: Head, done: list[int]) -> None:
    if member.early_stopping and held_out is None and part.others is not None and not member._lbfgs:
        held_out = _some(train, part.others)  # rows that it does not see
    try:
        member._fit_rows(_some(train, part.rows), held_out, head)
    except Exception as error:
        error.add_note(f"in the fit of member {i}")
        raise
    finally:
        done.append(i)


def _some(rows: Rows, which: Any) -> Rows:
    return Rows(rows.X[which], rows.y[which], None if rows.weights is None else rows.weights[which])
