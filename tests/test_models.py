"""Models in files: a network from whatever holds it, what travels along, and the errors."""

from __future__ import annotations

import copy
import gzip
import io
import os
import pickle
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headers import AWKWARD, signed, tensor, with_header
from hypothesis import given, settings
from hypothesis import strategies as st

import backprop as bp
from backprop.errors import BusyError, DivergedError, FormatError
from backprop.io import safetensors


class Halting(io.RawIOBase):
    """A stream that cannot be wound back, and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), 7, len(self.rest))
        buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        return count


class Bare:
    """Something that can be read, and no more."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def read(self, count: int) -> bytes:
        return self.file.read(count)


def in_the_middle(data: bytes) -> io.BytesIO:
    file = io.BytesIO(b"before" + data)
    file.seek(6)
    return file


def through_a_pipe(data: bytes) -> Any:
    source, drain = os.pipe()
    with os.fdopen(drain, "wb") as file:
        file.write(data)
    return os.fdopen(source, "rb")


SOURCES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes, "bytearray": bytearray, "memoryview": memoryview, "numbers": lambda data: memoryview(data).cast("I"),
    "every other byte": lambda data: memoryview(bytes(b for byte in data for b in (byte, 0)))[::2],
    "BytesIO": io.BytesIO, "BytesIO from its middle": in_the_middle, "a raw stream": Halting, "a bare reader": Bare,
    "a buffered stream": lambda data: io.BufferedReader(Halting(data)), "a pipe": through_a_pipe,
    "a compressed file": lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))),
}  # fmt: skip


def network() -> bp.Sequential:
    net = bp.Sequential([bp.Dense(4, 5, "tanh"), bp.BatchNorm(), bp.Dense(5, 2)], rng=0)
    net.metadata = {"who": ["a", 1, None]}
    return net


def load_from(source: Any) -> bp.Sequential:
    with source if hasattr(source, "fileno") else nullcontext():
        return bp.load(source)


@pytest.mark.parametrize("source", SOURCES)
def test_a_network_is_loaded_from_whatever_holds_it(source: str) -> None:
    net = network()
    data = net.to_bytes()
    assert len(data) % 4 == 0
    same = load_from(SOURCES[source](data))
    assert same == net and same.metadata == net.metadata
    assert same.parameters.tobytes() == net.parameters.tobytes() and same.buffers.tobytes() == net.buffers.tobytes()
    for damaged in (data[:-4], data + bytes(4), data[:40], b"", data[:4], data[:-4] + bytes(4)):
        with pytest.raises(FormatError, match="given: expected"):
            load_from(SOURCES[source](damaged))


def test_an_open_file_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "digits.safetensors"
    network().save(path)
    with path.open("rb") as file:
        assert bp.load(file) == network()
        assert file.read() == b""
    path.write_bytes(path.read_bytes()[:-1])
    with path.open("rb") as file, pytest.raises(FormatError, match=r"digits\.safetensors: expected"):
        bp.load(file)


def test_a_network_is_saved_to_an_open_file(tmp_path: Path) -> None:
    net, memory, path = network(), io.BytesIO(), tmp_path / "m"
    memory.write(b"before")
    net.save(memory)
    assert memory.getvalue() == b"before" + net.to_bytes()
    for buffering in (-1, 0):
        with path.open("wb", buffering=buffering) as file:
            net.save(file)
        assert path.read_bytes() == net.to_bytes()

    class Little(io.RawIOBase):
        taken = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.taken += bytes(data[:5])
            return min(5, len(data))

    net.save(little := Little())
    assert little.taken == net.to_bytes()


@pytest.mark.parametrize("text", [io.StringIO, lambda: Path(__file__).open(encoding="utf-8")])  # noqa: SIM115
def test_files_of_text_are_refused(text: Callable[[], Any]) -> None:
    with text() as file:
        with pytest.raises(TypeError, match=r'a binary file, as of open\(path, "rb"\), got a file of text'):
            bp.load(file)
        with pytest.raises(TypeError, match=r'a binary file, as of open\(path, "wb"\), got a file of text'):
            network().save(file)


@pytest.mark.parametrize("other", [None, 3, 1.5, ["m"], np.zeros(3, np.uint8), object()])
def test_other_sources_are_refused(other: Any) -> None:
    for call in (bp.load, network().save):
        with pytest.raises(TypeError, match=r"a path \(str, bytes or os\.PathLike\) or an open binary file, got"):
            call(other)


def test_a_stream_without_an_end_takes_no_memory() -> None:
    """It promises more than there is, or goes on and on: it is read as far as a header goes, and as the bytes come."""

    class Endless:
        def __init__(self, data: bytes) -> None:
            self.data, self.given = data, 0

        def read(self, count: int) -> bytes:
            some, self.data = self.data[:count], self.data[count:]
            self.given += count
            assert self.given < 5 * safetensors.MAX_HEADER
            return some.ljust(count, b"\0") if self.given < 3 * safetensors.MAX_HEADER else some

    data = network().to_bytes()
    for start in (b"", b"\xff" * 8, data, with_header("{}" + " " * 100)):
        with pytest.raises(FormatError):
            bp.load(Endless(start))
    promise = with_header(signed(tensor(shape=f"[{2**40}]", offsets=f"[0,{2**42}]")))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="the file is cut off"):
            bp.load(Endless(promise))
        assert tracemalloc.get_traced_memory()[1] < 20 * safetensors.MAX_HEADER
    finally:
        tracemalloc.stop()


class Number(int):
    pass


def deep(levels: int) -> Any:
    inner: Any = 1
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


def twice(levels: int) -> Any:
    inner: Any = ["x"]
    for _ in range(levels):
        inner = [inner, inner]
    return inner


WITHIN: dict[str, Any] = {}
WITHIN["a"] = [WITHIN]

#: What no file gives back as it was, and where the fault is.
UNLIKE: dict[str, tuple[Any, str]] = {
    "a number for a key": ({1: "a"}, "metadata"), "null for a key": ({"a": {None: 1}}, r"metadata\['a'\]"),
    "a flag for a key": ({"a": [{True: 1}]}, r"metadata\['a'\]\[0\]"), "a pair for a key": ({(1, 2): 1}, "metadata"),
    "a number that is another key": ({1: "a", "1": "b"}, "metadata"), "bytes for a key": ({b"a": 1}, "metadata"),
    "NumPy's text for a key": ({np.str_("a"): 1}, "metadata"), "a tuple": ({"a": (1, 2)}, r"metadata\['a'\]"),
    "a tuple deep within": ({"a": [0, {"b": [(1,)]}]}, r"metadata\['a'\]\[1\]\['b'\]\[0\]"),
    "a set": ({"a": {1}}, r"metadata\['a'\]"), "a frozen set": ({"a": frozenset()}, r"metadata\['a'\]"),
    "NaN": ({"a": float("nan")}, r"metadata\['a'\]"), "infinity": ({"a": [1.0, -float("inf")]}, r"metadata\['a'\]\[1\]"),
    "an array": ({"a": np.arange(3)}, r"metadata\['a'\]"), "a float of NumPy's": ({"a": np.float64(1)}, r"metadata\['a'\]"),
    "a short one": ({"a": np.float32(1)}, r"metadata\['a'\]"), "an int of NumPy's": ({"a": np.int64(1)}, r"metadata\['a'\]"),
    "a flag of NumPy's": ({"a": np.True_}, r"metadata\['a'\]"), "text of NumPy's": ({"a": np.str_("x")}, r"metadata\['a'\]"),
    "a kind of int": ({"a": Number(1)}, r"metadata\['a'\]"), "a kind of dict": ({"a": OrderedDict(b=1)}, r"metadata\['a'\]"),
    "bytes": ({"a": b"x"}, r"metadata\['a'\]"), "a complex number": ({"a": 1j}, r"metadata\['a'\]"),
    "an object": ({"a": object()}, r"metadata\['a'\]"), "a class": ({"a": int}, r"metadata\['a'\]"),
    "a path": ({"a": Path("x")}, r"metadata\['a'\]"), "half a pair": ({"a": "x\ud800"}, r"metadata\['a'\]"),
    "half a pair for a key": ({"a": {"\udfff": 1}}, r"metadata\['a'\]"), "an enormous number": ({"a": 2**1024}, r"metadata\['a'\]"),
    "one that Python does not write": ({"a": 10**5000}, r"metadata\['a'\]"), "too deep": (deep(257), "metadata"),
    "within itself": (WITHIN, "metadata"), "again and again": ({"a": twice(200)}, "metadata"),
    "too long": ({"a": "x" * safetensors.MAX_HEADER}, "metadata"), "a list": ([1], "metadata"), "null": (None, "metadata"),
    "text": ("a", "metadata"), "another mapping": (OrderedDict(a=1), "metadata"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNLIKE)
def test_metadata_that_no_file_gives_back(what: str, tmp_path: Path) -> None:
    """Where it is assigned; and, if it is put into the dict later, where it would travel."""
    net, (value, place) = network(), UNLIKE[what]
    with pytest.raises((TypeError, ValueError), match=f"^{place}: expected") as error:
        net.metadata = value
    assert len(str(error.value)) < 250
    assert net.metadata == {"who": ["a", 1, None]}
    net.metadata["later"] = {"x": [value]}
    inside = place.replace("metadata", r"metadata(\['later'\]\['x'\]\[0\])?")
    for call in (
        net.to_bytes,
        net.copy,
        lambda: pickle.dumps(net),
        lambda: copy.deepcopy(net),
        lambda: net.save(tmp_path / "m"),
    ):
        if type(value) in (list, type(None), str):
            call()
        else:
            with pytest.raises((TypeError, ValueError), match=f"^{inside}: expected"):
                call()


ALIKE: list[dict[str, Any]] = [
    {}, {"": ""}, {"a": None, "b": True, "c": False, "d": 0, "e": -0.0, "f": 1.0, "g": 1, "h": 0.1, "i": 5e-324, "j": 1.7e308},
    {"a": 2**1024 - 1, "b": -(2**1024) + 1, "c": 2**53 + 1}, {AWKWARD: AWKWARD}, {"sha256": "x", "__metadata__": {}},
    {"a": [], "b": {}, "c": [[], {}, [[{"d": []}]]]}, deep(255), {"z": 1, "a": 2}, {"a": "x" * 100_000}, {"a": twice(10)},
    {"1": "a", "True": True, "null": None, "NaN": "NaN"},
]  # fmt: skip


@pytest.mark.parametrize("metadata", ALIKE, ids=range(len(ALIKE)))
def test_metadata_comes_back_as_it_is(metadata: dict[str, Any], tmp_path: Path) -> None:
    net = network()
    net.metadata = metadata
    assert net.metadata is metadata
    net.save(tmp_path / "m")
    for same in (
        bp.load(tmp_path / "m"),
        bp.load(net.to_bytes()),
        net.copy(),
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net),
    ):
        assert repr(same.metadata) == repr(metadata)  # the same types, in the same order
        assert same.metadata is not metadata


values_of_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values_of_json, max_size=4))
@settings(deadline=None)
def test_all_that_json_holds_comes_back(metadata: dict[str, Any]) -> None:
    net = bp.Sequential([bp.Dense(1, 1)], rng=0)
    net.metadata = metadata
    assert repr(net.copy().metadata) == repr(metadata)


class Remembering(bp.Callback):
    """A callback of one's own."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.state: dict[str, Any] = {}

    def on_epoch_end(self, run: Any) -> None:
        self.state = {"value": self.value}


@pytest.mark.parametrize(
    "value", [{1: 2}, (1, 2), [{"a": {3}}], float("nan"), "\ud800", 2**1024, [np.arange(3)], object], ids=repr
)
def test_what_a_callback_remembers_comes_back_or_is_refused(value: Any, tmp_path: Path) -> None:
    how = {"loss": "mse", "epochs": 1, "callbacks": [Remembering(value), bp.Checkpoint(tmp_path / "run")]}
    with pytest.raises((TypeError, ValueError), match=r"the state of Remembering\['value'\].*: expected"):
        network().fit(np.ones((4, 4)), np.ones((4, 2)), optimizer=bp.Adam(), **how)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.int32(3), np.True_, [np.float32(0.1), {"a": np.int8(1)}], np.arange(3)], ids=repr
)
def test_numbers_of_numpy_s_that_a_callback_remembers(value: Any, tmp_path: Path) -> None:
    how = {"loss": "mse", "epochs": 2, "x": np.ones((4, 4)), "y": np.ones((4, 2))}
    network().fit(optimizer=bp.Adam(), **how, callbacks=[Remembering(value), bp.Checkpoint(tmp_path / "run")])
    again = Remembering(value)
    bp.resume(tmp_path / "run", **how, callbacks=[again, bp.Checkpoint(tmp_path / "run")])
    np.testing.assert_equal(again.state["value"], value)


def test_errors_are_what_they_extend() -> None:
    assert issubclass(FormatError, ValueError)
    assert issubclass(DivergedError, ArithmeticError)
    assert issubclass(BusyError, RuntimeError)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_diverged_error_travels(duplicate: Callable[[DivergedError], DivergedError]) -> None:
    error = DivergedError("loss is nan", epoch=3, batch=17)
    error.add_note("try a smaller learning rate")
    twin = duplicate(error)
    assert type(twin) is DivergedError
    assert (str(twin), twin.epoch, twin.batch) == ("loss is nan", 3, 17)
    assert twin.__notes__ == ["try a smaller learning rate"]
