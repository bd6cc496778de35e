"""What the streams send: the newest state, the newest frame, and what is new in the histories.

A reader that is slow misses frames. Nothing waits for it, and nothing piles up.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["Feed", "Reader"]

#: Points of a learning curve: step, loss, validation loss. A curve that begins anew, or is thinned, is another list.
Curve = list[list[Any]]


class Feed:
    """One writes it, many read it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state, self._frame = "", ""
        self._states = self._frames = 0
        self._curves: Sequence[Curve] = ()
        self._closed = False
        #: How many read: without any, nothing needs to be drawn.
        self.readers = 0

    def publish(self, state: dict[str, Any] | None, frame: dict[str, Any] | None, curves: Sequence[Curve]) -> None:
        """Put something in the place of what was there; None leaves that."""
        texts = [None if given is None else json.dumps(given, separators=(",", ":")) for given in (state, frame)]
        with self._changed:
            if texts[0] is not None:
                self._state, self._states = texts[0], self._states + 1
            if texts[1] is not None:
                self._frame, self._frames, self._curves = texts[1], self._frames + 1, tuple(curves)
            self._changed.notify_all()

    def close(self) -> None:
        """Let all streams end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """One that has seen nothing yet."""
        with self._changed:
            self.readers += 1
        try:
            yield Reader(self)
        finally:
            with self._changed:
                self.readers -= 1


class Reader:
    """What one stream has seen."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._states = self._frames = 0
        self._curves: list[tuple[Curve, int]] = []

    def events(self, pulse: float) -> Iterator[bytes]:
        """Server-sent events, as things change; a comment where nothing does for so many seconds."""
        feed = self._feed
        while True:
            with feed._changed:
                feed._changed.wait_for(self._is_behind, pulse)
                if feed._closed:
                    return
                state = feed._state if feed._states > self._states else ""
                frame, curves = (feed._frame if feed._frames > self._frames else ""), feed._curves
                self._states, self._frames = feed._states, feed._frames
            if state:
                yield f"event: state\ndata: {state}\n\n".encode()
            if frame:
                yield f'event: frame\ndata: {frame[:-1]},"history":{self._news(curves)}}}\n\n'.encode()
            if not state and not frame:
                yield b":\n\n"

    def _is_behind(self) -> bool:
        feed = self._feed
        return feed._closed or (feed._states, feed._frames) != (self._states, self._frames)

    def _news(self, curves: Sequence[Curve]) -> str:
        """What this reader has not seen of each curve, and after how many points it comes."""
        news, seen = [], self._curves
        self._curves = []
        for i, curve in enumerate(curves):
            begin = seen[i][1] if i < len(seen) and seen[i][0] is curve else 0
            points = curve[begin:]
            news.append({"from": begin, "points": points})
            self._curves.append((curve, begin + len(points)))
        return json.dumps(news, separators=(",", ":"))
