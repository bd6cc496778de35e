"""The playground: its server answers its own page and nobody else, and what it trains has the bits of a fit."""

import base64
import contextlib
import http.client
import json
import socket

import numpy as np
import pytest

from backprop.play import Experiment, Feed, Server, Source, running

TOKEN = "0123456789abcdef"


class Client:
    """Asks a server that runs in this process."""

    def __init__(self, server, experiment):
        self.server, self.experiment = server, experiment

    def raw(self, method, path, body=None, **headers):
        """The status, the headers and the bytes of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.raw("GET", f"/{TOKEN}/{path}", **headers)

    def ask(self, **request):
        """What comes of a request; an error is a ValueError."""
        status, _, content = self.raw("POST", f"/{TOKEN}/do", json.dumps(request))
        if status != 200:
            assert status == 400, content
            raise ValueError(json.loads(content)["error"])
        return json.loads(content)

    @contextlib.contextmanager
    def frames(self):
        """The events of a stream, as they come: their name, and what they say."""
        with socket.create_connection(("127.0.0.1", self.server.server_port), timeout=20) as connection:
            connection.sendall(f"GET /{TOKEN}/frames HTTP/1.1\r\nHost: {self.server.hosts[0]}\r\n\r\n".encode())
            with connection.makefile("rb") as file:
                assert b" 200 " in file.readline()
                yield events(file)

    def look(self):
        """State and frame as a page that has just been opened sees them."""
        with self.frames() as found:
            (first, state), (second, frame) = next(found), next(found)
        assert (first, second) == ("state", "frame")
        return state, frame


def events(file):
    name = ""
    for line in file:
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


@pytest.fixture
def play():
    feed = Feed()
    experiment = Experiment(Source(), feed)
    server = Server(0, TOKEN, feed, experiment.do, experiment.download, experiment.look)
    experiment.start()
    with running(server):
        yield Client(server, experiment)
    experiment.stop()
    assert not experiment._thread.is_alive()


def test_the_page_and_what_it_sees(play):
    status, headers, _ = play.raw("GET", f"/{TOKEN}")
    assert (status, headers["Location"]) == (308, f"/{TOKEN}/")
    status, headers, content = play.get("")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8" and b"<!doctype html>" in content
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    state, frame = play.look()
    assert state["data"]["name"] == "xor" and state["runs"][0]["settings"]["optimizer"]["name"] == "Adam"
    (run,) = frame["runs"]
    assert run["step"] == 0 and len(run["weights"]["0.weight"]) == 2 * 4
    assert len(base64.b64decode(run["surface"]["data"])) == state["data"]["side"] ** 2


def test_a_step_changes_the_network_as_a_fit_does(play):
    (learner,) = play.experiment.learners
    twin = learner.settings.built_network(2, 1)
    play.ask(do="step", count=3)
    twin.fit(*np_xor(), loss="binary_cross_entropy", optimizer=learner.settings.built_optimizer(), epochs=3)
    assert learner.steps == 3
    assert np.array_equal(learner.net.parameters, twin.parameters)


def np_xor():
    return np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32"), np.array([0, 1, 1, 0], "float32")
