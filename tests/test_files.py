"""Model files: what goes in comes out, what is damaged is refused, and a save is all or nothing."""

from __future__ import annotations

import copy
import errno
import gzip
import hashlib
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import backprop as bp
from backprop.errors import BusyError, DivergedError, FormatError
from backprop.io import atomic, safetensors

DTYPES = ["<f8", "<f4", "<i8", "<u8", "|u1"]
AWKWARD = '\x00\x07\b\t\n\f\r\x1f\x7f\u2028\ufeff "\\/{}é漢😀'

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
not_root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() == 0, reason="root may write everywhere")

Arrays = dict[str, np.ndarray[Any, Any]]
Content = tuple[Arrays, dict[str, str]]


def small() -> Content:
    arrays = {
        "layers.0.weight": np.array([[0.0, -1.5, np.nan], [np.inf, 1e-40, 3.0]], np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(0.1),
        "labels": np.array([1, 2, 255], np.uint8),
    }
    return arrays, {"architecture": '{"layers":[]}', "version": "1"}


def assert_same(got: Content, expected: Content) -> None:
    assert got[1] == expected[1]
    assert got[0].keys() == expected[0].keys()
    for name, array in expected[0].items():
        twin = got[0][name]
        assert twin.dtype == array.dtype.newbyteorder("=")
        assert twin.shape == array.shape
        assert twin.tobytes() == array.astype(twin.dtype).tobytes()
        assert twin.dtype.isnative
        assert twin.flags.carray  # contiguous, aligned and writeable


def split(data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """Return the parsed header, the padding and the rest."""
    end = 8 + int.from_bytes(data[:8], "little")
    text = data[8:end].rstrip(b" ")
    return json.loads(text), data[8 + len(text) : end], data[end:]


def with_header(header: str | bytes, rest: bytes = b"") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + rest


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# Round trips


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (7,), (2, 3), (1, 2, 3, 4), (1,) * 64])
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    content = ({"a": np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)}, {"k": "v"})
    assert_same(safetensors.unpack(safetensors.pack(*content), source="m"), content)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
        np.arange(20)[::-3],
        np.arange(6, dtype=">i8"),
        np.broadcast_to(np.float32(2.5), (3, 2)),
    ],
    ids=["transposed", "fortran", "strided", "big-endian", "broadcast"],
)
def test_every_layout(array: np.ndarray[Any, Any]) -> None:
    before = array.copy()
    assert_same(safetensors.unpack(safetensors.pack({"a": array}, {}), source="m"), ({"a": array}, {}))
    np.testing.assert_array_equal(array, before)


def test_odd_names_and_metadata() -> None:
    names = ["", " ", "sha256", "dtype", "a" * 1000, AWKWARD]
    content = ({name: np.array([i], np.uint8) for i, name in enumerate(names)}, dict.fromkeys(names[3:], AWKWARD))
    assert_same(safetensors.unpack(safetensors.pack(*content), source="m"), content)


def test_nothing_at_all() -> None:
    assert safetensors.unpack(safetensors.pack({}, {}), source="m") == ({}, {})


@pytest.mark.parametrize("view", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind(view: Callable[[bytes], Any]) -> None:
    assert_same(safetensors.unpack(view(safetensors.pack(*small())), source="m"), small())


def test_unpacked_arrays_own_their_memory() -> None:
    data = safetensors.pack({"a": np.zeros(3), "b": np.zeros(3)}, {})
    arrays, _ = safetensors.unpack(data, source="m")
    arrays["a"][:] = 1
    assert not arrays["b"].any()
    assert safetensors.pack({"a": np.zeros(3), "b": np.zeros(3)}, {}) == data


def test_equal_content_gives_equal_bytes() -> None:
    arrays, metadata = small()
    data = safetensors.pack(arrays, metadata)
    assert safetensors.pack(dict(reversed(arrays.items())), dict(reversed(metadata.items()))) == data
    assert safetensors.pack(*safetensors.unpack(data, source="m")) == data


def test_every_tensor_is_aligned() -> None:
    for length in range(9):
        arrays: Arrays = {"b" * length: np.zeros(3, np.uint8), "f": np.zeros(1, np.float32), "z": np.zeros(1)}
        header, padding, _ = split(safetensors.pack(arrays, {}))
        begin = 8 + len(compact(header).encode()) + len(padding)
        assert begin % 8 == 0
        assert len(padding) < 8
        for name, array in arrays.items():
            assert (begin + header[name]["data_offsets"][0]) % array.itemsize == 0


def test_format_is_pinned() -> None:
    """Spelled out by hand: files that an older version wrote are read for ever."""
    first, second = bytes.fromhex("0000803f000000c0"), bytes.fromhex("0900000000000000")
    said = '[{"a":"é","z":""},{"w":["F32",[1,2]],"x":["I64",[]]}]'.encode()
    digest = hashlib.sha256(said + first + second).hexdigest()
    header = (
        f'{{"__metadata__":{{"a":"é","sha256":"{digest}","z":""}},'
        '"x":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
        '"w":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}'
    ).encode()
    arrays = {"w": np.array([[1.0, -2.0]], np.float32), "x": np.array(9)}
    expected = with_header(header + b" " * (-len(header) % 8), second + first)
    assert safetensors.pack(arrays, {"z": "", "a": "é"}) == expected


@given(
    arrays=st.dictionaries(
        st.text().filter(lambda name: name != "__metadata__"),
        st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))),
        max_size=4,
    ),
    metadata=st.dictionaries(st.text().filter(lambda key: key != "sha256"), st.text(), max_size=4),
)
@settings(deadline=None)
def test_whatever_goes_in_comes_out(arrays: Arrays, metadata: dict[str, str]) -> None:
    assert_same(safetensors.unpack(safetensors.pack(arrays, metadata), source="m"), (arrays, metadata))


# What cannot be packed


@pytest.mark.parametrize("dtype", ["f2", "i4", "?", "c8", "S3", "U3", "O", "M8[s]", "f4,f4"])  # the last is a structure
def test_unknown_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match=r"dtype of array 'a' to be one of float64, float32, .*, got"):
        safetensors.pack({"a": np.zeros(2, dtype)}, {})


@pytest.mark.parametrize(
    ("arrays", "metadata", "error", "message"),
    [
        ({1: np.zeros(1)}, {}, TypeError, "strings, got 1"),
        ({}, {1: "a"}, TypeError, "strings, got 1"),
        ({}, {"a": 1.5}, TypeError, "strings, got 1.5"),
        ({}, {"a": None}, TypeError, "strings, got None"),
        ({"__metadata__": np.zeros(1)}, {}, ValueError, "reserves"),
        ({}, {"sha256": "0"}, ValueError, "reserved for the digest"),
        ({}, {"a": "\ud800"}, ValueError, "surrogates"),
        ({}, {"a": "x" * safetensors.MAX_HEADER}, ValueError, "header of 1048576 bytes, got 10486"),
    ],
)
def test_bad_arguments_are_refused(arrays: Any, metadata: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        safetensors.pack(arrays, metadata)


def test_longest_header() -> None:
    room = safetensors.MAX_HEADER - len(compact({"__metadata__": {"a": "", "sha256": "0" * 64}}))
    content: Content = ({}, {"a": "x" * room})
    assert_same(safetensors.unpack(safetensors.pack(*content), source="m"), content)
    with pytest.raises(ValueError, match="to fit a header"):
        safetensors.pack({}, {"a": "x" * (room + 1)})


# The safetensors package


def test_safetensors_reads_ours_and_we_read_its_copies(tmp_path: Path) -> None:
    reference = pytest.importorskip("safetensors", reason="the reference implementation is not installed")
    numpy_api = pytest.importorskip("safetensors.numpy", reason="the reference implementation is not installed")
    for length in range(9):  # every number of padding spaces
        arrays, metadata = small()
        arrays |= {AWKWARD: np.arange(4), "n" * length: np.arange(3, dtype=np.uint64)}
        metadata |= {AWKWARD: AWKWARD}
        path = tmp_path / f"{length}.safetensors"
        atomic.write(path, safetensors.pack(arrays, metadata))

        loaded = numpy_api.load(path.read_bytes())
        with reference.safe_open(path, framework="numpy") as file:
            its_metadata = file.metadata()
        assert {key: value for key, value in its_metadata.items() if key != "sha256"} == metadata
        assert loaded.keys() == arrays.keys()
        for name in arrays:
            assert loaded[name].dtype == arrays[name].dtype
            assert loaded[name].shape == arrays[name].shape
            assert loaded[name].tobytes() == arrays[name].tobytes()

        assert_same(safetensors.unpack(numpy_api.save(loaded, its_metadata), source="m"), (arrays, metadata))


def test_our_json_is_that_of_safetensors() -> None:
    numpy_api = pytest.importorskip("safetensors.numpy", reason="the reference implementation is not installed")
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x3000))))
    data = numpy_api.save({everything: np.zeros(1)}, {everything: everything})
    text = data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
    assert text.rstrip(" ") == compact(json.loads(text))


# Damage


def test_every_truncation_is_noticed() -> None:
    data = safetensors.pack(*small())
    for length in range(len(data)):
        with pytest.raises(FormatError, match=r"^m: expected"):
            safetensors.unpack(data[:length], source="m")


@pytest.mark.parametrize(
    "changes", [[1 << bit for bit in range(8)], pytest.param(range(1, 256), marks=pytest.mark.slow)]
)
def test_every_changed_byte_is_noticed(changes: Iterable[int]) -> None:
    data = safetensors.pack(*small())
    for position in range(len(data)):
        for change in changes:
            damaged = bytearray(data)
            damaged[position] ^= change
            with pytest.raises(FormatError, match=r"^m: expected"):
                safetensors.unpack(damaged, source="m")


def test_bytes_before_and_after_are_noticed() -> None:
    data = safetensors.pack(*small())
    for damaged in (data + b"\0", b"\0" + data, data + data):
        with pytest.raises(FormatError, match=r"^m: expected"):
            safetensors.unpack(damaged, source="m")


def signed(tensors: str, digest: str = "0" * 64) -> str:
    """Return a header with metadata that pass all checks but the last."""
    return f'{{"__metadata__":{{"sha256":"{digest}"}}{tensors and ","}{tensors}}}'


def tensor(name: str = "a", dtype: str = '"F32"', shape: str = "[2]", offsets: str = "[0,8]") -> str:
    return f'"{name}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


MALFORMED = [
    (b"", "8 bytes and a header of 0, got 0 in all"),
    (b"\2\0\0", "got 3 in all"),
    (b"\x89PNG\r\n\x1a\n" + bytes(100), "header of 727905341920923785, got 108 in all"),
    (bytes(8), "'{' at byte 8"),
    ((3).to_bytes(8, "little") + b"{}", "header of 3, got 10 in all"),
    ((2**64 - 1).to_bytes(8, "little") + b"{}", "header of 18446744073709551615"),
    (with_header("{}" + " " * safetensors.MAX_HEADER), "at most 1048576 bytes, got 1048578 at byte 0"),
    (with_header("[]"), r"'{' at byte 8.*got b'\['"),
    (with_header(" {}"), "got b' '"),
    (with_header("\ufeff{}"), r"got b'\\xef'"),
    (with_header(b'{"\xff":1}'), "JSON in UTF-8.*invalid start byte"),
    (with_header(b'{"\xed\xa0\x80":1}'), "JSON in UTF-8.*invalid continuation byte"),
    (with_header("{"), "JSON in UTF-8"),
    (with_header('{"a":1}}'), "JSON in UTF-8.*Extra data"),
    (with_header('{"a":"\n"}'), "JSON in UTF-8.*Invalid control character"),
    (with_header('{"a":' + "[" * 200_000 + "]" * 200_000 + "}"), "JSON in UTF-8.*recursion"),
    (with_header('{"a":' * 200_000 + "1" + "}" * 200_000), "header of at most"),
    (with_header('{"a":' * 100_000 + "1" + "}" * 100_000), "JSON in UTF-8.*recursion"),
    (with_header('{"a":1' + "0" * 5000 + "}"), "JSON in UTF-8.*integer string"),
    (with_header('{"a":1,"a":1}'), "duplicate key 'a'"),
    (with_header('{"__metadata__":{"k":"1","k":"1"}}'), "duplicate key 'k'"),
    (with_header('{"a": 1}'), "compact JSON, got b' 1}' at byte 13"),
    (with_header("{}\n"), r"compact JSON, got b'\\n' at byte 10"),
    (with_header("{} \0"), "JSON in UTF-8.*Extra data"),
    (with_header('{"\\u0041":1}'), "compact JSON"),
    (with_header('{"\\ud800":1}'), "JSON in UTF-8.*surrogates"),
    (with_header('{"a":"\\/"}'), "compact JSON"),
    (with_header('{"a":"\\u001F"}'), "compact JSON"),
    (with_header('{"a":-0}'), "compact JSON"),
    (with_header('{"a":1E5}'), "compact JSON"),
    (with_header("{}"), "'sha256' in '__metadata__'"),
    (with_header('{"__metadata__":{}}'), "'sha256' in '__metadata__'"),
    (with_header('{"__metadata__":{"SHA256":"0"}}'), "'sha256' in '__metadata__'"),
    (with_header('{"__metadata__":[]}'), r"'__metadata__' to be an object, got \[\]"),
    (with_header('{"__metadata__":null}'), "'__metadata__' to be an object, got None"),
    (with_header('{"__metadata__":{"sha256":0}}'), "to hold strings, got 0 for 'sha256'"),
    (with_header('{"__metadata__":{"k":{"x":"y"}}}'), "to hold strings, got {'x': 'y'} for 'k'"),
    (with_header('{"__metadata__":{"k":NaN}}'), "to hold strings, got nan for 'k'"),
    (with_header(signed("")), "SHA-256 '00000.*', got '"),
    (with_header(signed("", "")), "SHA-256 ''"),
    (with_header(signed(tensor()), bytes(8)), "SHA-256 '0000.*damaged"),
    (with_header(signed('"a":1')), "tensor 'a' to have a dtype, a shape and data_offsets, got 1"),
    (with_header(signed('"a":{}')), "tensor 'a' to have a dtype, a shape and data_offsets, got {}"),
    (with_header(signed(tensor()[:-1] + ',"x":1}'), bytes(8)), "tensor 'a' to have a dtype.*'x'"),
    (with_header(signed(tensor(dtype='"F16"'))), "dtype of tensor 'a' to be one of F64, F32, .*, got 'F16'"),
    (with_header(signed(tensor(dtype='"f32"'))), "dtype of tensor 'a'"),
    (with_header(signed(tensor(dtype="[]"))), r"dtype of tensor 'a'.*got \[\]"),
    (with_header(signed(tensor(shape="2"))), "shape of tensor 'a' to be up to 64 sizes, got 2"),
    (with_header(signed(tensor(shape="[2.0]"))), r"shape of tensor 'a'.*got \[2.0\]"),
    (with_header(signed(tensor(shape="[NaN]"))), r"shape of tensor 'a'.*got \[nan\]"),
    (with_header(signed(tensor(shape="[-Infinity]"))), r"shape of tensor 'a'.*got \[-inf\]"),
    (with_header(signed(tensor(shape="[true,2]"))), r"shape of tensor 'a'.*got \[True, 2\]"),
    (with_header(signed(tensor(shape="[-2]"))), r"shape of tensor 'a'.*got \[-2\]"),
    (with_header(signed(tensor(shape='["2"]'))), r"shape of tensor 'a'.*got \['2'\]"),
    (with_header(signed(tensor(shape=f"[{2**64}]"))), "shape of tensor 'a'"),
    (with_header(signed(tensor(shape=compact([1] * 65)))), "shape of tensor 'a' to be up to 64 sizes"),
    (with_header(signed(tensor(shape=compact([9] * 300_000)))), "shape of tensor 'a' to be up to 64 sizes"),
    (with_header(signed(tensor(shape=compact([2**62] * 64)))), "tensor 'a' of dtype F32 .* to span"),
    (with_header(signed(tensor(shape=f"[0,{2**62}]", offsets="[0,0]"))), "tensor 'a' to have a shape that NumPy"),
    (with_header(signed(tensor(offsets="[0]")), bytes(8)), r"data_offsets of tensor 'a'.*got \[0\]"),
    (with_header(signed(tensor(offsets="[0,8,8]")), bytes(8)), "data_offsets of tensor 'a'"),
    (with_header(signed(tensor(offsets="[0,8.0]")), bytes(8)), "data_offsets of tensor 'a'"),
    (with_header(signed(tensor(offsets="[false,8]")), bytes(8)), "data_offsets of tensor 'a'"),
    (with_header(signed(tensor(offsets="[-8,0]")), bytes(8)), "data_offsets of tensor 'a'"),
    (with_header(signed(tensor(offsets="[8,0]")), bytes(8)), r"to span 8 bytes, got data_offsets \[8, 0\]"),
    (with_header(signed(tensor(offsets="[0,4]")), bytes(8)), r"shape \[2\] to span 8 bytes, got data_offsets"),
    (with_header(signed(tensor(shape="[3]")), bytes(8)), r"shape \[3\] to span 12 bytes"),
    (with_header(signed(tensor(dtype='"F64"')), bytes(8)), "dtype F64 .* to span 16 bytes"),
    (with_header(signed(tensor(offsets="[8,16]")), bytes(16)), "'a' to begin at byte 0 of the data, got 8: a hole"),
    (
        with_header(signed(tensor("a") + "," + tensor("b", offsets="[4,12]")), bytes(12)),
        "'b' to begin at byte 8 of the data, got 4: an overlap",
    ),
    (
        with_header(signed(tensor("a") + "," + tensor("b", offsets="[0,8]")), bytes(8)),
        "'b' to begin at byte 8 of the data, got 0: an overlap",
    ),
    (
        with_header(signed(tensor("a") + "," + tensor("b", offsets="[12,20]")), bytes(20)),
        "'b' to begin at byte 8 of the data, got 12: a hole",
    ),
    (with_header(signed(tensor()), bytes(7)), "8 bytes of data after the header, got 7: the file is cut off"),
    (with_header(signed(tensor()), bytes(9)), "got 9: bytes follow the last tensor"),
    (with_header(signed(""), b"\0"), "0 bytes of data after the header, got 1"),
]


@pytest.mark.parametrize(("data", "message"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_headers(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"^m: expected.*{message}"):
        safetensors.unpack(data, source="m")
    path = tmp_path / "m"
    path.write_bytes(data)
    with pytest.raises(FormatError) as error:
        safetensors.read(path)
    assert str(error.value).startswith(f"{path}: expected")
    assert len(str(error.value)) < len(str(path)) + 300


def test_padding_may_have_any_length() -> None:
    header, _, rest = split(safetensors.pack(*small()))
    for spaces in (0, 1, 7, 8, 100):
        assert_same(safetensors.unpack(with_header(compact(header) + " " * spaces, rest), source="m"), small())


def test_tensors_may_be_declared_in_any_order() -> None:
    header, padding, rest = split(safetensors.pack(*small()))
    text = compact(dict(reversed(header.items()))).encode() + padding
    assert_same(safetensors.unpack(with_header(text, rest), source="m"), small())


def test_swapped_tensors_are_noticed() -> None:
    content: Content = ({"a": np.zeros(2), "b": np.ones(2)}, {})
    header, padding, rest = split(safetensors.pack(*content))
    header["a"], header["b"] = header["b"], header["a"]
    with pytest.raises(FormatError, match="SHA-256"):
        safetensors.unpack(with_header(compact(header).encode() + padding, rest), source="m")


def refuse_or_read(data: bytes) -> None:
    with suppress(FormatError):
        safetensors.unpack(data, source="m")


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes(data: bytes) -> None:
    refuse_or_read(data)
    refuse_or_read(with_header(data))
    refuse_or_read(with_header(b"{" + data))


@given(st.data())
@settings(deadline=None)
def test_random_damage(draw: st.DataObject) -> None:
    data = bytearray(safetensors.pack(*small()))
    for _ in range(draw.draw(st.integers(1, 4))):
        start = draw.draw(st.integers(0, len(data)))
        data[start : start + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    try:
        content = safetensors.unpack(data, source="m")
    except FormatError:
        return
    assert_same(content, small())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["F32", "U8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
sizes = st.lists(st.integers(-1, 9) | st.integers(2**60, 2**65), max_size=3)
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "U8"]) | values, "shape": sizes | values, "data_offsets": sizes | values}
)


@given(st.dictionaries(st.text(), entries | values, max_size=3), st.binary(max_size=20))
@settings(deadline=None)
def test_random_headers(tensors: dict[str, Any], rest: bytes) -> None:
    refuse_or_read(with_header(compact({"__metadata__": {"sha256": "0" * 64}} | tensors), rest))


# Reading


def test_read_says_which_file(tmp_path: Path) -> None:
    path = tmp_path / "digits.safetensors"
    path.write_bytes(safetensors.pack(*small())[:-1])
    with pytest.raises(FormatError, match=r"digits\.safetensors: expected"):
        safetensors.read(path)


def test_read_takes_str_and_path(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    atomic.write(str(path), safetensors.pack(*small()))
    assert_same(safetensors.read(path), small())
    assert_same(safetensors.read(str(path)), small())


@pytest.mark.parametrize("path", [0, None, 1.5])
def test_other_paths_are_refused(path: Any) -> None:
    with pytest.raises(TypeError, match=r"str, bytes or os\.PathLike"):
        safetensors.read(path)
    with pytest.raises(TypeError, match=r"str, bytes or os\.PathLike"):
        atomic.write(path, b"")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        safetensors.read(tmp_path / "missing")
    with pytest.raises(OSError, match=r"directory|denied"):
        safetensors.read(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        atomic.write(tmp_path / "missing" / "m", b"new")
    assert Path(error.value.filename) == tmp_path.resolve() / "missing"
    with pytest.raises(IsADirectoryError):
        atomic.write(tmp_path, b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_promised_size_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(*_: object) -> None:
        raise AssertionError("allocated before the sizes were checked")

    monkeypatch.setattr(np, "empty", empty)
    path = tmp_path / "m"
    path.write_bytes(with_header(signed(tensor(shape=f"[{2**40}]", offsets=f"[0,{2**42}]"))))
    with pytest.raises(FormatError, match="cut off"):
        safetensors.read(path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    atomic.write(path, safetensors.pack({"a": np.ones(100_000)}, {}))
    empty = np.empty

    def shrink(*arguments: Any) -> Any:
        os.truncate(path, 8)
        return empty(*arguments)

    monkeypatch.setattr(np, "empty", shrink)
    with pytest.raises(FormatError, match="changed while it was read"):
        safetensors.read(path)


@posix
def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(FormatError, match=f"^{path}: expected a regular file, got one of mode [pc]"):
            safetensors.read(path)
        with pytest.raises(OSError, match="expected a regular file or none"):
            atomic.write(path, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# Writing


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    return path


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_write_replaces(saved: Path) -> None:
    atomic.write(saved, b"new")
    assert saved.read_bytes() == b"new"
    assert list(saved.parent.iterdir()) == [saved]


def test_write_in_the_current_folder(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved.parent)
    atomic.write(saved.name, memoryview(b"new"))
    assert saved.read_bytes() == b"new"


@posix
def test_write_to_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("m" * 255)
    atomic.write(path, b"new")
    assert path.read_bytes() == b"new"


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("fail", "error"), [(no_space, OSError), (interrupt, KeyboardInterrupt)])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failure_leaves_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, function: str, fail: Callable[..., None], error: type[BaseException]
) -> None:
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(error):
        atomic.write(saved, b"new")
    assert_untouched(saved)


@pytest.mark.parametrize(("fail", "error"), [(no_space, OSError), (interrupt, KeyboardInterrupt)])
def test_failing_write_leaves_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., None], error: type[BaseException]
) -> None:
    class Failing(io.BufferedWriter):
        def write(self, data: Any) -> int:
            super().write(data[:2])
            fail()
            return 2

    def failing_open(path: str, mode: str, opener: Callable[[str, int], int]) -> Failing:
        return Failing(io.FileIO(path, mode, opener=opener))

    monkeypatch.setattr(atomic, "open", failing_open, raising=False)
    with pytest.raises(error):
        atomic.write(saved, b"new")
    assert_untouched(saved)


def test_data_of_a_wrong_type_leaves_the_old_file(saved: Path) -> None:
    with pytest.raises(TypeError):
        atomic.write(saved, "new")
    assert_untouched(saved)


@posix
def test_full_disk_leaves_the_old_file(saved: Path) -> None:
    """A limit on the size of files stands in for the disk: the kernel itself cuts the write short."""
    script = """
import resource, sys
from backprop.io import atomic, safetensors
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    atomic.write(sys.argv[1], bytes(1_000_000))
except OSError as error:
    print(type(error).__name__, error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script, saved], capture_output=True, text=True, check=True)
    assert done.stdout == f"OSError {errno.EFBIG}\n"
    assert_untouched(saved)


def test_a_folder_that_cannot_be_synced(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    atomic.write(saved, b"new")
    assert saved.read_bytes() == b"new"


@posix
def test_synced_before_and_after_the_rename(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        calls.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        fsync(descriptor)

    def recording_replace(source: str, target: str) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    atomic.write(saved, b"new")
    assert calls == ["3 bytes", "rename", "folder"]


@posix
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o000])
def test_permissions(saved: Path, umask: int) -> None:
    saved.chmod(0o664)
    before = os.umask(umask)
    try:
        atomic.write(saved.with_name("new"), b"new")
        atomic.write(saved, b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(saved.with_name("new").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE(saved.stat().st_mode) == 0o664


@posix
def test_a_private_file_is_never_public(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved.chmod(0o600)
    modes: list[int] = []
    os_open = os.open

    def recording_open(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = os_open(path, flags, mode)
        if flags & os.O_CREAT:
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", recording_open)
    atomic.write(saved, b"new")
    assert [*modes, stat.S_IMODE(saved.stat().st_mode)] == [0o600, 0o600]


@posix
@not_root
def test_a_write_protected_file_stays(saved: Path) -> None:
    saved.chmod(0o444)
    with pytest.raises(PermissionError):
        atomic.write(saved, b"new")
    assert_untouched(saved)


@posix
def test_symbolic_links_are_followed(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    link, dangling = folder / "link", folder / "dangling"
    link.symlink_to(saved)
    dangling.symlink_to(tmp_path / "born")
    atomic.write(link, b"new")
    atomic.write(dangling, b"new")
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert saved.read_bytes() == (tmp_path / "born").read_bytes() == b"new"
    assert sorted(path.name for path in folder.iterdir()) == ["dangling", "link"]


@posix
def test_threads_that_save_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    contents = [safetensors.pack({"a": np.full(1000 * (i + 1), i, np.uint8)}, {}) for i in range(4)]

    def save_often(data: bytes) -> None:
        for _ in range(10):
            atomic.write(path, data)

    threads = [threading.Thread(target=save_often, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


KILLING = """
import os, random, signal, sys, time
import numpy as np
from backprop.io import atomic, safetensors

path, rng = sys.argv[1], random.Random(0)
contents = [safetensors.pack({"a": np.full(n, n % 251, np.uint8)}, {"n": str(n)}) for n in (300_000, 500_000)]
atomic.write(path, contents[0])
seen, left = set(), 0
for _ in range(200):
    child = os.fork()
    if child == 0:
        while True:
            for content in contents[::-1]:
                atomic.write(path, content)
    time.sleep(rng.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    arrays, metadata = safetensors.read(path)
    assert arrays["a"].size == int(metadata["n"])
    seen.add(metadata["n"])
    left = max(left, sum(name.endswith(".tmp") for name in os.listdir(os.path.dirname(path))))
atomic.write(path, contents[0])
print(*sorted(seen), left)
"""


@posix
def test_a_killed_save_leaves_a_whole_file(tmp_path: Path) -> None:
    """After each of 200 kills the file is one of the two that were saved in turn, whole.

    A killed process cannot tidy up; the next save removes the temporary file that it left.
    """
    path = tmp_path / "m.safetensors"
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # a process without threads may fork
    done = subprocess.run([sys.executable, "-c", KILLING, path], capture_output=True, text=True, env=environment)
    assert done.stdout != "300000 500000 0\n", "no kill came in the middle of a save: the test proves nothing"
    assert (done.returncode, done.stdout) == (0, "300000 500000 1\n"), done.stderr
    assert list(tmp_path.iterdir()) == [path]


HOLDING = """
import os, sys, time
from backprop.io import atomic, safetensors

def wait(*_):
    print("writing", flush=True)
    time.sleep(600)

os.fsync = wait
atomic.write(sys.argv[1], b"slow")
"""


@posix
def test_only_what_the_dead_have_left_is_removed(tmp_path: Path) -> None:
    path, others = tmp_path / "m", tmp_path / "others"
    others.mkdir()
    writers = [
        subprocess.Popen([sys.executable, "-c", HOLDING, path], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        before = {writer.pid: set() for writer in writers}
        temporary = set(tmp_path.glob(".backprop-*.tmp"))
        assert len(temporary) == 3 and before
        atomic.write(path, b"new")
        assert set(tmp_path.glob(".backprop-*.tmp")) == temporary  # all of them live
        writers[0].kill()
        writers[0].wait()
        atomic.write(others / "m", b"new")
        assert set(tmp_path.glob(".backprop-*.tmp")) == temporary  # another folder
        atomic.write(path, b"newer")
        left = set(tmp_path.glob(".backprop-*.tmp"))
        assert len(left) == 2 and left < temporary
        assert path.read_bytes() == b"newer"
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    atomic.write(path, b"last")
    assert sorted(tmp_path.iterdir()) == [path, others]


@posix
def test_what_is_not_known_to_be_dead_stays(tmp_path: Path) -> None:
    """Files of version 0.1, of other machines, of other programs, and what is no file."""
    prefix = atomic._prefix()
    names = [".backprop-0123456789abcdef.tmp", ".backprop-000000000000-0123456789abcdef.tmp", f"{prefix}0.txt",
             f"a{prefix}0.tmp", ".backprop-.tmp"]  # fmt: skip
    for name in names:
        (tmp_path / name).write_bytes(b"theirs")
    (tmp_path / f"{prefix}folder.tmp").mkdir()
    (tmp_path / f"{prefix}link.tmp").symlink_to(tmp_path / names[0])
    os.mkfifo(tmp_path / f"{prefix}pipe.tmp")
    (tmp_path / f"{prefix}dead.tmp").write_bytes(b"ours")
    atomic.write(tmp_path / "m", b"new")
    kept = sorted([*names, "m", f"{prefix}folder.tmp", f"{prefix}link.tmp", f"{prefix}pipe.tmp"])
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@posix
def test_a_temporary_file_that_was_taken_for_dead(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its birth and its lock another process removes it: the save begins again."""
    locks: list[int] = []
    flock = atomic.fcntl.flock

    def removing(descriptor: int, how: int) -> None:
        if not locks:
            for path in saved.parent.glob(".backprop-*.tmp"):
                path.unlink()
        locks.append(descriptor)
        flock(descriptor, how)

    monkeypatch.setattr(atomic.fcntl, "flock", removing)
    atomic.write(saved, b"new")
    assert len(locks) == 2 and saved.read_bytes() == b"new" and list(saved.parent.iterdir()) == [saved]


@posix
def test_a_file_system_without_locks(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of others then, so nothing of theirs is removed."""

    def unsupported(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(atomic.fcntl, "flock", unsupported)
    orphan = saved.with_name(f"{atomic._prefix()}0.tmp")
    orphan.write_bytes(b"whose?")
    atomic.write(saved, b"new")
    assert saved.read_bytes() == b"new" and sorted(saved.parent.iterdir()) == sorted([orphan, saved])


def test_a_system_whose_open_files_cannot_be_removed(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows: there are no locks, and what is not open any more is dead after an hour."""
    monkeypatch.setattr(atomic, "fcntl", None)
    old, young = (saved.with_name(f"{atomic._prefix()}{name}.tmp") for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"theirs")
    os.utime(old, (1e9, 1e9))
    atomic.write(saved, b"new")
    assert saved.read_bytes() == b"new" and sorted(saved.parent.iterdir()) == sorted([young, saved])


# A network, from whatever holds it


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


# What travels along


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


# The errors


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
