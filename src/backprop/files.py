"""Named arrays and a dictionary of strings: to bytes and back, and safely to disk.

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

import errno
import io
import json
import math
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from reprlib import repr as shortened
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .errors import FormatError

__all__ = ["pack", "read", "unpack", "write"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

CODES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U64": "<u8", "U8": "|u1"}
DTYPES = {name: np.dtype(code) for name, code in CODES.items()}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER = 1 << 20
MAX_DIMENSIONS = 64  # NumPy's own limit
#: How files of other kinds begin.
OTHER_FORMATS = {
    **{bytes([0x80, protocol]): "a pickle, which is never loaded" for protocol in range(2, 6)},
    b"PK\x03\x04": "a zip archive, as PyTorch, Keras and np.savez write",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "an array of NumPy, which np.load reads",
    **{bytes([0x08, version, 0x12]): "an ONNX model" for version in range(1, 32)},
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"GGUF": "a GGUF model", b"PAR1": "a Parquet table",
}  # fmt: skip


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
    return b"".join([len(text).to_bytes(8, "little"), text, *(array.data for _, array in in_order)])


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
    with _named(source):
        return _read(io.BytesIO(data), memoryview(data).nbytes)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a file that holds what `pack` wrote.

    The header is checked against the size of the file before memory is taken for the arrays.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    arrays, metadata
        As from `unpack`.

    Raises
    ------
    FormatError
        As from `unpack`, and for a pipe or a device.
    OSError
        If the file cannot be opened or read.
    """
    source = os.fsdecode(path)
    with _named(source), open(source, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"expected a regular file, got one of mode {stat.filemode(status.st_mode)}")
        return _read(file, status.st_size)


def write(path: str | os.PathLike[str], data: bytes | bytearray | memoryview) -> None:
    """Write a file in one step: at any moment a reader finds the old content or the new, whole.

    The data goes to a temporary file in the same folder and on to the disk, which then takes the name of
    the old file. If anything fails before that, the old file stays as it was and the temporary one is
    removed; only a killed process or a power cut can leave a ``.backprop-*.tmp`` behind. A file that is
    replaced keeps its permission bits, a new one has those that the umask gives. A symbolic link is
    followed; a hard link is parted from its siblings.

    Parameters
    ----------
    path : str or path-like
    data : bytes-like

    Raises
    ------
    OSError
        If the file cannot be written, is write-protected, or is no regular file.
    """
    target = os.path.realpath(os.fsdecode(path))
    folder = os.path.dirname(target)
    mode = _mode_to_keep(target)
    temporary = os.path.join(folder, f".backprop-{os.urandom(8).hex()}.tmp")

    def create(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else mode)

    try:
        with open(temporary, "xb", opener=create) as file:
            if mode is not None and mode != stat.S_IMODE(os.fstat(file.fileno()).st_mode):
                os.chmod(temporary, mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)
        raise
    _sync_folder(folder)


def expect_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is a folder, or in none: before there is anything to write."""
    target = os.path.realpath(os.fsdecode(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "path: expected a file, got a folder", os.fsdecode(path))
    if not os.path.isdir(os.path.dirname(target)):
        raise FileNotFoundError(
            errno.ENOENT, "path: expected a folder that is there, got none: make it first", os.fsdecode(path)
        )


def expect_writable(paths: Sequence[str]) -> None:
    """Raise now what `write` would raise later for want of a folder or of permission; nothing is left behind."""
    folders = {os.path.dirname(path): path for path in reversed(paths)}
    for path in [*filter(os.path.isdir, paths), *folders.values()]:
        expect_folder(path)
        target = os.path.realpath(path)
        _mode_to_keep(target)
        temporary = os.path.join(os.path.dirname(target), f".backprop-{os.urandom(8).hex()}.tmp")
        try:
            with open(temporary, "xb"):
                pass
        finally:
            with suppress(OSError):
                os.unlink(temporary)


class _Tensor(NamedTuple):
    dtype: np.dtype[Any]
    shape: list[int]
    begin: int
    end: int


def _read(file: io.BufferedIOBase, size: int) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a file of `size` bytes from its start."""
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if length > min(size - 8, MAX_HEADER) and (other := _other_format(head)):
        raise FormatError(f"expected a safetensors file, as Sequential.save writes it, got {other}")
    if length > size - 8:
        raise FormatError(f"expected 8 bytes and a header of {length}, got {size} in all: cut off, or another format")
    if length > MAX_HEADER:
        raise FormatError(f"expected a header of at most {MAX_HEADER} bytes, got {length} at byte 0")
    header = _parse(file.read(length))
    metadata = _metadata(header.pop("__metadata__", {}))
    digest = metadata.pop("sha256", None)
    if digest is None:
        raise FormatError("expected 'sha256' in '__metadata__', got none: another program has made this file")
    layout = _layout(header, size - 8 - length)

    arrays = {}
    for name, tensor in layout.items():
        arrays[name] = np.empty(tensor.shape, tensor.dtype)
        if file.readinto(arrays[name].data) != arrays[name].nbytes:
            raise FormatError(f"expected {size} bytes, got fewer: the file was changed while it was read")
    actual = _digest(arrays, metadata)
    if actual != digest:
        raise FormatError(f"expected SHA-256 {shortened(digest)}, got {shortened(actual)}: damaged, take another copy")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}, metadata


def _other_format(head: bytes) -> str | None:
    """What a file is that begins with these bytes, where that is well known."""
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head.removeprefix(b"\xef\xbb\xbf")):
        return "a text file"
    return next((name for begins, name in OTHER_FORMATS.items() if head.startswith(begins)), None)


def _parse(text: bytes) -> dict[str, Any]:
    """Parse a header, of which there is one permitted spelling."""
    if text[:1] != b"{":
        raise FormatError(f"expected '{{' at byte 8, where the header begins, got {text[:1]!r}")
    text = text.rstrip(b" ")
    try:
        header: dict[str, Any] = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
        canonical = _compact_json(header)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected a header of JSON in UTF-8, got an error: {error}") from error
    if text != canonical:
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, canonical, strict=False)))
        raise FormatError(f"expected compact JSON, got {text[alike:][:16]!r} at byte {8 + alike}")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its keys and values, each key once."""
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"duplicate key {shortened(key)}")
        unique[key] = value
    return unique


def _metadata(entry: object) -> dict[str, str]:
    """Check that the metadata is strings."""
    if not isinstance(entry, dict):
        raise FormatError(f"expected '__metadata__' to be an object, got {shortened(entry)}")
    for key, value in entry.items():
        if not isinstance(value, str):
            raise FormatError(f"expected '__metadata__' to hold strings, got {shortened(value)} for {shortened(key)}")
    return entry


def _layout(header: dict[str, Any], size: int) -> dict[str, _Tensor]:
    """Check the tensors of a header, and that together they are all of `size` bytes, in the order of the file."""
    tensors = {name: _tensor(entry, f"tensor {shortened(name)}") for name, entry in header.items()}
    layout = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    position = 0
    for name, tensor in layout.items():
        if tensor.begin != position:
            fault = "a hole" if tensor.begin > position else "an overlap"
            where = f"tensor {shortened(name)}"
            raise FormatError(f"expected {where} to begin at byte {position} of the data, got {tensor.begin}: {fault}")
        position = tensor.end
    if position != size:
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
        sha.update(arrays[name].data)
    return sha.hexdigest()


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


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Let a `FormatError` from inside begin with the name of the file."""
    try:
        yield
    except FormatError as error:
        error.args = (f"{source}: {error}",)
        raise


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file even if it is a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _mode_to_keep(target: str) -> int | None:
    """Return the permission bits of a file that may be replaced, or None where there is no file yet."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        os.stat(os.path.dirname(target))  # a missing folder is reported under its own name
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "expected a regular file or none", target)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
    return stat.S_IMODE(mode)


def _sync_folder(folder: str) -> None:
    """Let a rename survive a power cut, where the platform can.

    An error is passed over, as SQLite does: the file is in its place, whole, and on several file systems a
    folder cannot be synced at all.
    """
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
