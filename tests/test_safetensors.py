"""Model files as bytes: what goes in comes out, and what is damaged is refused."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headers import AWKWARD, compact, signed, split, tensor, with_header
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backprop.errors import FormatError
from backprop.io import atomic, safetensors

DTYPES = ["<f8", "<f4", "<i8", "<u8", "|u1"]


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


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(FormatError, match=f"^{path}: expected a regular file, got one of mode [pc]"):
            safetensors.read(path)
        with pytest.raises(OSError, match="expected a regular file or none"):
            atomic.write(path, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
