"""HTTP, and nothing else: who may ask, for what, how much, and how long.

Whoever does not know the token finds nothing; whoever comes from another page, or by another name of this machine (DNS
rebinding), is refused. A connection is answered once and closed. No request changes anything before it is whole, and
none is written to the terminal.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BusyError
from ..io import strict_json
from .feed import Feed

__all__ = ["Download", "Server"]

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

#: Connections at once, and how many of them may be streams of frames.
MOST_CLIENTS, MOST_STREAMS = 64, 16
#: Bytes of a request's body; and what is read of a longer one, so that the answer arrives.
MOST_BYTES, MOST_DRAINED = 1 << 20, 1 << 25
#: Seconds until a client that neither reads nor writes is given up, and between two signs of life of a stream.
PATIENCE, PULSE = 10, 5

#: Of what the page is made of, and of a page that brings its style and its script along.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALONE = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


TOO_MANY = (
    b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    b'{"error": "expected at most %d clients at once"}' % MOST_CLIENTS
)


class Download(NamedTuple):
    """Bytes to send, of a type, under a name if they are to be saved."""

    content: bytes
    kind: str
    name: str = ""


class Server(ThreadingHTTPServer):
    """Serves one page on 127.0.0.1.

    Parameters
    ----------
    port : int
        0: any that is free.
    token : str
        What every address begins with.
    feed : Feed
        Of the frames.
    do : callable
        Answers a request; ValueError and TypeError say what was wrong with it.
    download : callable
        What lies under a path, or None.
    look : callable
        Asks for a new frame.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(
        self, port: int, token: str, feed: Feed, do: Callable[[Any], Any],
        download: Callable[[str], Download | None], look: Callable[[], None],
    ) -> None:  # fmt: skip
        self.token, self.feed = token, feed
        self.do, self.download, self.look = do, download, look
        self.clients = threading.BoundedSemaphore(MOST_CLIENTS)
        self.streams = threading.BoundedSemaphore(MOST_STREAMS)
        super().__init__(("127.0.0.1", port), Handler)
        self.hosts = [f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")]

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}"

    def server_bind(self) -> None:
        """Bind, without asking a name server what this machine is called."""
        if os.name == "posix":  # elsewhere that would let two have the same port
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; or say that there are too many."""
        if self.clients.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no thread could be started
                self.clients.release()
                raise
            return
        with contextlib.suppress(OSError):
            request.settimeout(0)
            request.send(TOO_MANY)
            request.recv(1 << 16)  # what is left unread would take the answer with it
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.clients.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing on the terminal: the client has gone."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    timeout = PATIENCE
    server_version, sys_version = "backprop", ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # whatever the method
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is that of the base class
        """Nothing is written to the terminal."""

    def _answer(self) -> None:
        try:
            self._route()
        except (ValueError, TypeError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, " ".join(str(error).split()))
        except BusyError as error:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error), Retry_After="1")
        except OSError:  # the client has gone, or is too slow
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _route(self) -> None:
        if not self._is_known():
            self._fail(HTTPStatus.FORBIDDEN, f"expected a request to {self.server.hosts[0]} from its own page")
            return
        path = self._path()
        if path is None:
            self._fail(HTTPStatus.NOT_FOUND, "expected the address that the command printed")
        elif self.command != (wanted := "POST" if path == "do" else "GET"):
            self._fail(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {wanted}, got {self.command}", Allow=wanted)
        elif path == "do":
            self._do()
        elif path == "frames":
            self._stream()
        else:
            self._get(path)

    def _is_known(self) -> bool:
        """Whether it comes to this server by its own name, and from no other page."""
        hosts, origins = (self.headers.get_all(name, []) for name in ("Host", "Origin"))
        allowed = [f"http://{host}" for host in self.server.hosts]
        return len(hosts) == 1 and hosts[0] in self.server.hosts and all(origin in allowed for origin in origins)

    def _path(self) -> str | None:
        """What comes after the token; None without the token."""
        begin, _, path = self.path.partition("?")[0].removeprefix("/").partition("/")
        known = hmac.compare_digest(begin.encode("utf-8", "replace"), self.server.token.encode())
        return path if known else None

    def _get(self, path: str) -> None:
        if path == "" and not self.path.partition("?")[0].endswith("/"):
            self._send(HTTPStatus.PERMANENT_REDIRECT, b"", "text/plain", Location=f"/{self.server.token}/")
            return
        file = {found.name: found for found in PAGE.iterdir()}.get(path or "index.html")
        if file is not None and file.suffix in TYPES:
            self._send(HTTPStatus.OK, file.read_bytes(), TYPES[file.suffix])
            return
        found = self.server.download(path)
        if found is None:
            self._fail(HTTPStatus.NOT_FOUND, "no such page")
        elif found.name:
            disposition = {"Content-Disposition": f'attachment; filename="{found.name}"'}
            self._send(HTTPStatus.OK, found.content, found.kind, **disposition)
        else:
            self._send(HTTPStatus.OK, found.content, found.kind, ALONE)

    def _do(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdigit() and len(size) < 20) or "Transfer-Encoding" in self.headers:
            self._fail(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        elif int(size) > MOST_BYTES:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MOST_BYTES:,} bytes, got {int(size):,}")
        else:
            body = self.rfile.read(int(size))
            if len(body) == int(size):  # else the client has gone: what it said is not whole
                answer = self.server.do(strict_json.decode(body.decode(), "the request"))
                self._send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _stream(self) -> None:
        if not self.server.streams.acquire(blocking=False):
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, f"expected at most {MOST_STREAMS} pages at once")
            return
        try:
            with self.server.feed.reader() as reader:
                self.server.look()
                self._begin(HTTPStatus.OK, "text/event-stream", POLICY)
                for event in reader.events(PULSE):
                    self.wfile.write(event)
        finally:
            self.server.streams.release()

    # Answers.

    def _fail(self, status: HTTPStatus, message: str, **headers: str) -> None:
        with contextlib.suppress(OSError):
            self._send(status, json.dumps({"error": message}).encode(), "application/json", **headers)
            self._drain()

    def _send(self, status: HTTPStatus, content: bytes, kind: str, policy: str = POLICY, **headers: str) -> None:
        self._begin(status, kind, policy, **{"Content-Length": str(len(content)), **headers})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _begin(self, status: HTTPStatus, kind: str, policy: str, **headers: str) -> None:
        self.close_connection = True
        self.send_response(status)
        always = {
            "Content-Type": f"{kind}; charset=utf-8" if kind.startswith(("text/", "application/json")) else kind,
            "Content-Security-Policy": policy, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Connection": "close",
        }  # fmt: skip
        for name, value in {**always, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _drain(self) -> None:
        """Read what the client is still sending: a connection closed before would take the answer with it."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(0.5)
        end, left = time.monotonic() + 2, MOST_DRAINED
        while left > 0 and time.monotonic() < end and (piece := self.connection.recv(1 << 16)):
            left -= len(piece)


@contextlib.contextmanager
def running(server: Server) -> Iterator[None]:
    """Serve in a thread, as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.feed.close()
        server.shutdown()
        server.server_close()
