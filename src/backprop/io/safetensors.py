"""Named arrays and a dictionary of strings: to bytes and back.

The bytes are a safetensors file [1]_, which every safetensors reader can read::

    8 bytes     n, the length of the header, little-endian
    n bytes     the header: compact JSON, padded with spaces until 8 + n is a multiple of 8
    the rest    the tensors in C order, little-endian, one directly after the other

    {"__metadata__": {key: string, ..., "sha256": digest},
     name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}

The digest is the SHA-256 of what the file says, not of how it says it: of the compact JSON text
``[metadata, {name: [dtype, shape]}]`` with sorted keys and without the digest itself, in UTF-8,
followed by the bytes of the tensors sorted by name. So a program that orders keys and tensors in its
own way can copy a file of ours. What the digest leaves open, the reader closes: only one text stands
for each header, and the tensors lie without a hole. No byte of a file can change unnoticed.

References
----------
.. [1] https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from reprlib import repr as shortened
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..errors import FormatError
from .atomic import CHUNK
from .source import Readable, name_of, named, opened, other_format, some
from .strict_json import MAX_HEADER, without_duplicates

__all__ = ["Readable", "name_of", "named", "pack", "read", "unpack"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

CODES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U64": "<u8", "U8": "|u1"}
DTYPES = {name: np.dtype(code) for name, code in CODES.items()}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

MAX_DIMENSIONS = 64  # NumPy's own limit


def pack(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Write arrays and metadata as the bytes of a safetensors file.

    Equal arguments give equal bytes, whatever the order of their keys.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of dtype float64, float32, int64, uint64 or uint8, and any shape, layout and byte order.
    metadata : mapping of str to str
        Anything but the key ``"sha256"``, which is added.

    Returns
    -------
    bytes

    Raises
    ------
    TypeError
        If a name, a key or a value is not a string, or a dtype is not one of the five.
    ValueError
        If a name or a key is reserved, a string is not Unicode (holds half a surrogate pair), or the header
        would be longer than 1 MiB.
    """
    for given in (*arrays, *metadata, *metadata.values()):
        if not isinstance(given, str):
            raise TypeError(f"expected names and metadata to be strings, got {shortened(given)}")
    if "__metadata__" in arrays:
        raise ValueError("expected another name for the array '__metadata__': the format reserves it")
    if "sha256" in metadata:
        raise ValueError("expected another key for the metadata 'sha256': it is reserved for the digest")

    arrays = {name: _little_endian(name, array) for name, array in arrays.items()}
    signed = {**metadata, "sha256": _digest(arrays, metadata)}
    header: dict[str, Any] = {"__metadata__": dict(sorted(signed.items()))}
    in_order = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))  # so all are aligned
    position = 0
    for name, array in in_order:
        offsets = [position, position := position + array.nbytes]
        header[name] = {"dtype": DTYPE_NAMES[array.dtype], "shape": array.shape, "data_offsets": offsets}

    text = _compact_json(header)
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"expected names and metadata to fit a header of {MAX_HEADER} bytes, got {len(text)} bytes")
    file = io.BytesIO()
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in in_order:
        for piece in _pieces(array):
            file.write(piece)
    return file.getvalue()


def unpack(data: bytes | bytearray | memoryview, *, source: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Read what `pack` wrote, and nothing else.

    Parameters
    ----------
    data : bytes-like
        A whole file.
    source : str
        What to call it in an error message.

    Returns
    -------
    arrays : dict of str to ndarray
        Writable copies in native byte order, in the order of the file.
    metadata : dict of str to str
        Without the digest: ``pack(*unpack(data, source="..."))`` works.

    Raises
    ------
    FormatError
        If a single byte is not what `pack`, or a faithful copy by another safetensors writer, would have
        written.
    """
    view = memoryview(data)
    whole = view.cast("B") if view.contiguous else memoryview(bytes(view))
    with named(source):
        return _read(_Given(whole), whole.nbytes)


def read(source: Readable, name: str | None = None, *, signed: bool = True) -> tuple[dict[str, Array], dict[str, str]]:
    """Read what holds what `pack` wrote.

    The header is checked against the size of the file before memory is taken for the arrays.

    Parameters
    ----------
    source : str, path-like, bytes-like or binary file
        A path; the content of a file; or an open file, which is read from where it stands to its end. One that cannot
        tell its size, such as a pipe, takes memory as the bytes come.
    name : str, optional
        What to call it in an error message.
    signed : bool, default True
        False takes a path to a file of another program too, which has no digest.

    Returns
    -------
    arrays, metadata
        As from `unpack`.

    Raises
    ------
    FormatError
        As from `unpack`, and for a path that leads to a pipe or a device.
    OSError
        If the file cannot be opened or read.
    TypeError
        If it is an open file of text.
    """
    name = name_of(source) if name is None else name
    if isinstance(source, (bytes, bytearray, memoryview)):
        return unpack(source, source=name)
    with named(name), opened(source) as (file, size):
        return _read(file, size, signed)


class _Tensor(NamedTuple):
    dtype: np.dtype[Any]
    shape: list[int]
    begin: int
    end: int


class _Given:
    """Bytes, read as a file is, without a copy."""

    def __init__(self, rest: memoryview) -> None:
        self.rest = rest

    def read(self, count: int) -> memoryview:
        """The next of them."""
        some, self.rest = self.rest[:count], self.rest[count:]
        return some


def _read(file: Any, size: int | None, signed: bool = True) -> tuple[dict[str, Array], dict[str, str]]:
    """Read so many bytes, or, where it is not known how many there are, to the end."""
    first = some(file, 8)
    length = int.from_bytes(first, "little")
    there = size if len(first) == 8 else len(first)
    most = MAX_HEADER if there is None else min(there - 8, MAX_HEADER)
    if length > most and (other := other_format(first)):
        raise FormatError(f"expected a safetensors file, as Sequential.save writes it, got {other}")
    if there is not None and length > there - 8:
        raise FormatError(f"expected 8 bytes and a header of {length}, got {there} in all: cut off, or another format")
    if length > MAX_HEADER:
        raise FormatError(f"expected a header of at most {MAX_HEADER} bytes, got {length} at byte 0")
    text = some(file, length)
    if len(text) < length:
        raise FormatError(f"expected a header of {length} bytes, got {len(text)}: cut off, or another format")
    header = _parse(text)
    metadata = _metadata(header.pop("__metadata__", {}))
    digest = metadata.pop("sha256", None)
    if digest is None and signed:
        raise FormatError("expected 'sha256' in '__metadata__', got none: another program has made this file")
    layout = _layout(header, None if size is None else size - 8 - length)

    arrays = {
        name: _numbers(file, tensor.end - tensor.begin, size).view(tensor.dtype).reshape(tensor.shape)
        for name, tensor in layout.items()
    }
    if size is None and some(file, 1):
        raise FormatError("expected the end of the file, got more: bytes follow the last tensor")
    actual = _digest(arrays, metadata) if digest is not None else None
    if actual != digest:
        raise FormatError(f"expected SHA-256 {shortened(digest)}, got {shortened(actual)}: damaged, take another copy")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}, metadata


def _numbers(file: Any, nbytes: int, size: int | None) -> Array:
    """The next bytes of a file; where it is not known how many there are, memory is taken as they come."""
    buffer = np.empty(nbytes if size is not None else min(nbytes, CHUNK), np.uint8)
    at = 0
    while at < nbytes:
        if at == len(buffer):
            buffer.resize(min(2 * at, nbytes), refcheck=False)
        part = some(file, min(len(buffer) - at, CHUNK))
        if not part:
            fault = "the file is cut off" if size is None else "the file was changed while it was read"
            raise FormatError(f"expected {nbytes} bytes of a tensor, got {at}: {fault}")
        buffer[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    return buffer


def _parse(text: bytes) -> dict[str, Any]:
    """Parse a header, of which there is one permitted spelling."""
    if text[:1] != b"{":
        raise FormatError(f"expected '{{' at byte 8, where the header begins, got {text[:1]!r}")
    text = text.rstrip(b" ")
    try:
        header: dict[str, Any] = json.loads(text.decode(), object_pairs_hook=without_duplicates)
        canonical = _compact_json(header)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected a header of JSON in UTF-8, got an error: {error}") from error
    if text != canonical:
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, canonical, strict=False)))
        raise FormatError(f"expected compact JSON, got {text[alike:][:16]!r} at byte {8 + alike}")
    return header


def _metadata(entry: object) -> dict[str, str]:
    """Check that the metadata is strings."""
    if not isinstance(entry, dict):
        raise FormatError(f"expected '__metadata__' to be an object, got {shortened(entry)}")
    for key, value in entry.items():
        if not isinstance(value, str):
            raise FormatError(f"expected '__metadata__' to hold strings, got {shortened(value)} for {shortened(key)}")
    return entry


def _layout(header: dict[str, Any], size: int | None) -> dict[str, _Tensor]:
    """Check the tensors of a header, and that together they are all of `size` bytes if that is known, in order."""
    tensors = {name: _tensor(entry, f"tensor {shortened(name)}") for name, entry in header.items()}
    layout = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    position = 0
    for name, tensor in layout.items():
        if tensor.begin != position:
            fault = "a hole" if tensor.begin > position else "an overlap"
            where = f"tensor {shortened(name)}"
            raise FormatError(f"expected {where} to begin at byte {position} of the data, got {tensor.begin}: {fault}")
        position = tensor.end
    if size is not None and position != size:
        fault = "the file is cut off" if size < position else "bytes follow the last tensor"
        raise FormatError(f"expected {position} bytes of data after the header, got {size}: {fault}")
    return layout


def _tensor(entry: object, where: str) -> _Tensor:
    """Check the entry of one tensor by itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"expected {where} to have a dtype, a shape and data_offsets, got {shortened(entry)}")
    name, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(name, str) or name not in DTYPES:
        raise FormatError(f"expected the dtype of {where} to be one of {', '.join(DTYPES)}, got {shortened(name)}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise FormatError(f"expected the shape of {where} to be up to {MAX_DIMENSIONS} sizes, got {shortened(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise FormatError(f"expected the data_offsets of {where} to be its begin and end, got {shortened(offsets)}")
    tensor = _Tensor(DTYPES[name], shape, *offsets)
    nbytes = math.prod(shape) * tensor.dtype.itemsize
    if tensor.end - tensor.begin != nbytes:
        kind = f"{where} of dtype {name} and shape {shortened(shape)}"
        raise FormatError(f"expected {kind} to span {shortened(nbytes)} bytes, got data_offsets {offsets}")
    if math.prod(max(count, 1) for count in shape) * tensor.dtype.itemsize > sys.maxsize:
        raise FormatError(f"expected {where} to have a shape that NumPy can hold, got {shortened(shape)}")
    return tensor


def _are_sizes(value: object) -> bool:
    """Whether a value is a list of plain integers that can count bytes (a bool is not one)."""
    return isinstance(value, list) and all(type(count) is int and 0 <= count <= sys.maxsize for count in value)


def _digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of little-endian, C-contiguous arrays and metadata without a digest."""
    names = sorted(arrays)
    tensors = {name: [DTYPE_NAMES[arrays[name].dtype], arrays[name].shape] for name in names}
    from hashlib import sha256

    sha = sha256(_compact_json([dict(sorted(metadata.items())), tensors]))
    for name in names:
        for piece in _pieces(arrays[name]):
            sha.update(piece)
    return sha.hexdigest()


def _pieces(array: Array) -> Iterator[memoryview]:
    """The bytes of a contiguous array, some at a time: between them Python notices Ctrl-C."""
    whole = array.reshape(-1).view(np.uint8)
    for start in range(0, whole.size, CHUNK):
        yield whole[start : start + CHUNK].data


def _little_endian(name: str, array: Array) -> Array:
    """Return an array as it lies in the file."""
    dtype = array.dtype.newbyteorder("<")
    if dtype not in DTYPE_NAMES:
        known = ", ".join(dtype.name for dtype in DTYPE_NAMES)
        raise TypeError(f"expected the dtype of array {shortened(name)} to be one of {known}, got {array.dtype}")
    return np.asarray(array, dtype, order="C")


def _compact_json(value: object) -> bytes:
    """Write JSON as the safetensors package does."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
