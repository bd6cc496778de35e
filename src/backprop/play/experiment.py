"""The experiment: one or two networks on the same points, in a thread that trains them and answers in between.

Whatever is asked is done by that thread, between two chunks of training; so nothing needs a lock, and nobody sees half
of a step. A request that cannot be answered changes nothing.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np

from .. import _validate, tracing
from ..errors import BusyError
from ..optimizers import FullBatch
from ..tracing import page
from .feed import Feed
from .frames import Artist
from .learner import Learner, number
from .points import Points, Source
from .script import script
from .server import Download
from .settings import Settings, choices, only

__all__ = ["Experiment"]

#: Seconds of training between two looks at what was asked, and between two frames.
CHUNK, FRAME = 0.008, 1 / 30
#: Steps a second to begin with; then, in a second, so many times as many as were made before. So the first steps, in
#: which most is learned, can be watched, and the film goes on evenly along a logarithmic axis.
SLOWEST, FASTER = 30, 3
#: Seconds until an answer is given up.
LONGEST = 30
#: Seconds of training that nobody looks at, until it stands.
ALONE = 60
#: Steps that can be asked for; and those of a chunk.
MOST_STEPS, MOST_AT_ONCE = 1000, 10**6
#: What can be asked, with its arguments: each is a method of the experiment.
REQUESTS: dict[str, tuple[str, ...]] = {
    "play": (), "pause": (), "reset": (), "step": ("count",), "forward": (), "backward": (), "update": (),
    "settings": ("run", "settings"), "data": ("data",), "axes": ("axes",), "compare": ("on",),
    "explain": ("run", "name"), "python": ("run",),
}  # fmt: skip


class Experiment:
    """Learners, and who asks for what.

    Parameters
    ----------
    source : Source
    feed : Feed
        Where states and frames go.
    """

    def __init__(self, source: Source, feed: Feed) -> None:
        self.source, self.feed = source, feed
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="experiment", daemon=True)
        self.playing, self.phase = False, ""
        self._begin(source.first(), None)

    def _begin(self, points: Points, settings: list[Settings] | None) -> None:
        """Begin anew, on these points; nothing has changed if that cannot be."""
        chosen = settings or [Settings.default(points.goal)]
        learners = [Learner(each.of(points.goal), points) for each in chosen]
        self.points, self.artist, self.learners = points, Artist(points), learners
        self._restart()

    def _restart(self) -> None:
        """What belongs to the drawing of networks that are new."""
        self.phase = ""
        self._before = [learner.net.parameters.copy() for learner in self.learners]
        self._chunk, self._speed = 0, [0.0] * len(self.learners)
        self._told = [(time.monotonic(), learner.steps) for learner in self.learners]
        self._next, self._due, self._looked = 0.0, 0.0, time.monotonic()

    # The thread.

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Train and answer, as long as the block lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._asked.put(None)
            self._thread.join(2)

    def ask(self, do: Callable[[], Any]) -> Any:
        """Have the thread do something, and wait for what comes of it."""
        answer: Future[Any] = Future()
        self._asked.put((do, answer))
        try:
            return answer.result(LONGEST)
        except TimeoutError:
            answer.cancel()
            raise BusyError(f"expected an answer within {LONGEST} seconds, got none: ask again") from None

    def _run(self) -> None:
        with np.errstate(all="ignore"):  # what is not finite is drawn as such
            while True:
                rest = self._due - time.monotonic()
                try:
                    asked = self._asked.get(not self.playing or rest > 0, rest if self.playing else None)
                except queue.Empty:
                    self._go_on()
                    continue
                if asked is None:
                    return
                self._answer(*asked)

    def _answer(self, do: Callable[[], Any], answer: Future[Any]) -> None:
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(do())
            except BaseException as error:  # noqa: BLE001 - it is for who asked
                answer.set_exception(error)

    def _go_on(self) -> None:
        """Train, and draw when it is time; stop where nothing can be trained any more, or nobody looks."""
        try:
            self._train()
            now = time.monotonic()
            if self.feed.readers:
                self._looked = now
            if now - self._looked > ALONE or not self._going():
                self._stand()
            elif self.feed.readers and now >= self._next:
                self._publish(state=False)
                took = time.monotonic() - now
                self._next = max(max(self._next, now - FRAME) + FRAME, now + 3 * took)  # training has most of the time
        except Exception as error:  # noqa: BLE001 - the thread lives, to say so
            for learner in self.learners:
                learner.diverged = learner.diverged or f"{type(error).__name__}: {error}"
            with contextlib.suppress(Exception):
                self._stand()
            self.playing = False

    def _going(self) -> list[Learner]:
        return [learner for learner in self.learners if learner.diverged is None]

    def _train(self) -> None:
        """About as much as takes so many seconds, for each network as many rows."""
        n, going, begun = len(self.points.train), self._going(), time.monotonic()
        least, seen = min(learner.rows for learner in going), max(learner.seen for learner in going)
        pace = max(SLOWEST * least, FASTER * seen)  # rows a second
        self._chunk = min(max(self._chunk, least), MOST_AT_ONCE * least, max(int(CHUNK * pace), least))
        aim = seen + self._chunk
        for learner in going:
            learner.go_to(aim // n * n if self._chunk >= n else aim)
        took, self._due = time.monotonic() - begun, begun + self._chunk / pace
        self._chunk = int(self._chunk * min(2.0, 0.9 * CHUNK / max(took, 1e-9)))
        for learner in going:
            if learner.steps > 1.1 * learner.curve[-1][0]:  # at first, the curve falls between two frames
                learner.note()

    def _publish(self, state: bool) -> None:
        """Give the streams what there is to see."""
        self.feed.publish(self.state() if state else None, self.frame(), [learner.curve for learner in self.learners])

    # What there is to see.

    def state(self) -> dict[str, Any]:
        """All that changes when somebody changes it."""
        return {
            "data": self.points.to_dict(), "choices": {**choices(), **self.source.choices()},
            "runs": [
                {
                    "settings": learner.settings.to_dict(), "full_batch": isinstance(learner.optimizer, FullBatch),
                    "operations": [
                        {
                            "name": operation.name, "kind": operation.kind, "n_in": operation.n_in,
                            "n_out": operation.n_out, "activation": operation.activation.name,
                        }
                        for operation in learner.net.graph
                    ],
                }
                for learner in self.learners
            ],
            "playing": self.playing, "phase": self.phase, "exports": ["safetensors"],
        }  # fmt: skip

    def frame(self) -> dict[str, Any]:
        """The networks as they are now."""
        runs = []
        for i, learner in enumerate(self.learners):
            found = self.artist.drawn(learner, self._before[i], self.phase)
            self._before[i] = learner.net.parameters.copy()
            runs.append({**found, "steps_per_second": self._steps_per_second(i)})
        return {"runs": runs, "playing": self.playing, "phase": self.phase}

    def _steps_per_second(self, i: int) -> float:
        """Over the last second or so."""
        (then, steps), now = self._told[i], time.monotonic()
        if now - then > 0.5:
            self._speed[i] = (self.learners[i].steps - steps) / (now - then) if self.playing else 0.0
            self._told[i] = now, self.learners[i].steps
        return float(f"{self._speed[i]:.3g}")

    # What can be asked.

    def do(self, request: Any) -> dict[str, Any]:
        """Answer a request of the page.

        Raises
        ------
        TypeError, ValueError
            If it is none; then nothing has changed.
        """
        if not isinstance(request, dict):
            raise TypeError(f"request: expected an object, got {_validate.shown(request)}")
        kind = _validate.choice(request.get("do"), "do", REQUESTS)
        given = {name: value for name, value in request.items() if name != "do"}
        only(given, REQUESTS[kind], kind)
        answer = self.ask(lambda: getattr(self, f"_{kind}")(**given))
        return answer if isinstance(answer, dict) else {}

    def look(self) -> None:
        """Let whoever has come see state and frame."""
        self.ask(lambda: self._publish(state=True))

    def download(self, path: str) -> Download | None:
        """A model, or the trace of the coming step."""
        folder, _, name = path.partition("/")
        run, _, kind = name.partition(".")
        if run not in ("0", "1") or int(run) >= len(self.learners):
            return None
        if (folder, kind) == ("model", "safetensors"):
            content = self.ask(lambda: self._learner(int(run)).net.to_bytes())
            return Download(content, "application/octet-stream", "model.safetensors")
        if (folder, kind) == ("trace", ""):
            content = self.ask(lambda: page.page(self._learner(int(run)).trace(tracing.MOST_ROWS)).encode())
            return Download(content, "text/html")
        return None

    def _play(self) -> None:
        self.playing, self.phase = bool(self._going()), ""
        self._looked = time.monotonic()
        self._told = [(self._looked, learner.steps) for learner in self.learners]
        self._publish(state=True)

    def _pause(self) -> None:
        self._stand()

    def _stand(self, phase: str = "") -> None:
        """Train no more until somebody asks for it."""
        self.playing, self.phase = False, phase
        self._publish(state=True)

    def _reset(self) -> None:
        self.playing = False
        self._begin(self.points, [learner.settings for learner in self.learners])
        self._publish(state=True)

    def _step(self, count: Any = 1) -> dict[str, Any]:
        count, end = _validate.integer(count, "count", 1, MOST_STEPS), time.monotonic() + LONGEST / 3
        self._before = [learner.net.parameters.copy() for learner in self.learners]
        made = 0
        while made < count and time.monotonic() < end:
            for learner in self.learners:
                learner.make_steps(1)
            made += 1
        self._stand()
        return {"steps": made}

    def _forward(self) -> None:
        self._stand("forward")

    def _backward(self) -> None:
        self._stand("backward")

    def _update(self) -> None:
        self._step()

    def _settings(self, run: Any = 0, settings: Any = None) -> None:
        i = self._which(run)
        learner = self.learners[i]
        changed = learner.settings.changed(settings)
        if changed.structure != learner.settings.structure:  # all begin anew, to stay beside one another
            chosen = [each.settings for each in self.learners]
            self._begin(self.points, [*chosen[:i], changed, *chosen[i + 1 :]])
        else:
            learner.set(changed)
        self.phase = ""
        self._publish(state=True)

    def _data(self, data: Any = None) -> None:
        points = self.source.made(data, self.points.settings)
        self._begin(points, [learner.settings for learner in self.learners])
        self._publish(state=True)

    def _axes(self, axes: Any = None) -> None:
        points = self.points.seen_along(axes)
        self.points, self.artist = points, Artist(points)
        for learner in self.learners:
            learner.points = points
        self._publish(state=True)

    def _compare(self, on: Any = True) -> None:
        on, first = _validate.flag(on, "on"), self.learners[0].settings
        self._begin(self.points, [first, first] if on else [first])
        self._publish(state=True)

    def _explain(self, run: Any = 0, name: Any = None) -> dict[str, Any]:
        learner = self._learner(run)
        if not isinstance(name, str):
            raise TypeError(f"name: expected a name such as '0.weight[0,1]', got {_validate.shown(name)}")
        trace = learner.trace()
        found: dict[str, Any] = {
            "name": name, "text": trace.explain(name), "value": number(float(trace.at(name))),
            "rows": len(trace.data), "batch": len(learner.coming()), "step": learner.steps + 1,
        }  # fmt: skip
        if trace.update is None:
            found["text"] += "\n\nupdate: it would make a parameter infinite or NaN: lower the learning rate"
        plain, _, place = name.partition("[")
        for word, key in ("gradient", "gradient"), ("step", "update"), ("new", "new"):
            is_parameter = f"{plain}.{word}" in trace.values
            found[key] = number(float(trace.at(f"{plain}.{word}[{place}"))) if is_parameter else None
        return found

    def _python(self, run: Any = 0) -> dict[str, Any]:
        return {"text": script(self._learner(run))}

    def _which(self, run: Any) -> int:
        return _validate.integer(run, "run", 0, len(self.learners) - 1)

    def _learner(self, run: Any) -> Learner:
        return self.learners[self._which(run)]
