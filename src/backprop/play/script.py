"""The Python of what there is to see: a script that comes to the same network, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..optimizers import FullBatch
from .learner import Learner, Part
from .settings import Settings

__all__ = ["script"]

#: Letters to a line.
WIDE = 76
#: What ends an epoch before its end, where a part of one was trained.
STOP = '''\
class After(bp.Callback):
    """Ends a fit within an epoch."""

    def __init__(self, steps):
        self.left = steps

    def on_batch_end(self, run):
        self.left -= 1
        if self.left == 0:
            raise StopIteration
'''


def script(learner: Learner) -> str:
    """All that was done since the network was new, in the order in which it was done.

    Parameters
    ----------
    learner : Learner

    Returns
    -------
    str
    """
    points, settings = learner.points, learner.parts[0].settings
    imports = [line for line in points.code if "import" in line]
    stops = any(part.steps for part in learner.parts)
    lines = [*sorted(["import backprop as bp", *imports], key=_order)]
    lines[:0] = ["from contextlib import suppress", ""] if stops else []
    lines += ["", "", *STOP.splitlines(), ""] if stops else []
    lines += ["", *(line for line in points.code if "import" not in line)]
    if points.goal == "classes" and settings.loss == "mse":
        names = ("y", "y_test") if points.tested else ("y",)
        lines += [f"{name} = np.eye({points.n_out}, dtype=np.float32)[{name}]" for name in names]
    lines += ["", *_network(learner, settings)]
    lines += [f"optimizer = {_built(settings)}", *_fits(learner.parts), "", *_look(learner)]
    return "\n".join(lines) + "\n"


def _order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line


def _network(learner: Learner, settings: Settings) -> Iterator[str]:
    points = learner.points
    yield "net = bp.Sequential(["
    for layer in settings.built_layers(points.x.shape[1], points.n_out):
        yield f"    bp.{_written(layer)},"
    yield f"], rng={settings.seed})"
    if points.recipe is not None:
        yield 'net.metadata["recipe"] = rows.recipe.to_dict()'


def _fits(parts: list[Part]) -> Iterator[str]:
    for i, part in enumerate(parts):
        if i:
            yield from _changes(parts[i - 1], part.settings)
        if part.epochs or (not part.steps and len(parts) == 1):
            yield from _fit(part.settings, f"epochs={part.epochs}")
        if part.steps:
            yield "with suppress(StopIteration):"
            yield from (f"    {line}" for line in _fit(part.settings, f"callbacks=[After({part.steps})]"))


def _changes(before: Part, settings: Settings) -> Iterator[str]:
    """What is done to the optimizer between two fits; and a part of an epoch is left behind."""
    if before.steps:
        yield "net.epochs += 1"
    changes = settings.changes(before.settings)
    if changes is None:
        yield f"optimizer = {_built(settings)}"
    for name, value in changes or ():
        yield f"optimizer.{name} = {_written(value)}"


def _look(learner: Learner) -> Iterator[str]:
    measured = "" if learner.points.goal == "number" else ', metrics=["accuracy"]'
    rows = "x_test, y_test" if learner.points.tested else "x, y"
    yield f'print(net.evaluate({rows}, loss="{learner.settings.loss}"{measured}))'


def _fit(settings: Settings, more: str) -> list[str]:
    """A call, on three lines where it is long."""
    size = "" if isinstance(settings.built_optimizer(), FullBatch) else f"batch_size={settings.batch_size}, "
    given = f'x, y, loss="{settings.loss}", optimizer=optimizer, {size}{more}'
    return [f"net.fit({given})"] if len(given) < WIDE else ["net.fit(", f"    {given}", ")"]


def _built(settings: Settings) -> str:
    return f"bp.{_written(settings.built_optimizer())}"


def _written(value: Any) -> str:
    """As a script has it, which imports the package as bp."""
    return repr(value).replace("schedules.", "bp.schedules.").replace("'", '"')
