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
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from reprlib import repr as shortened
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

from .errors import FormatError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["check_json", "decode", "named", "pack", "read", "unpack", "write"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Readable: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"

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
MAX_DEPTH = 256  # of lists and objects of JSON within one another
MAX_MESSAGE = 400  # characters of what is said of a file
MAX_INTEGER = 1 << 1024  # that of a float; a reader of JSON may stop at 640 digits
CHUNK = 1 << 20  # bytes that are read at a time
AN_HOUR = 3600.0


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


def read(source: Readable, name: str | None = None) -> tuple[dict[str, Array], dict[str, str]]:
    """Read what holds what `pack` wrote.

    The header is checked against the size of the file before memory is taken for the arrays.

    Parameters
    ----------
    source : str, path-like, bytes-like or binary file
        A path; the content of a file; or an open file, which is read from where it stands to its end. One that cannot
        tell its size, such as a pipe, takes memory as the bytes come.
    name : str, optional
        What to call it in an error message.

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
    if isinstance(source, io.TextIOBase):
        raise TypeError('expected a binary file, as of open(path, "rb"), got a file of text')
    with named(name):
        if hasattr(source, "read"):
            return _read(source, _rest(source))
        with open(_path(source), "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FormatError(f"expected a regular file, got one of mode {stat.filemode(status.st_mode)}")
            return _read(file, status.st_size)


def _path(given: Any) -> str:
    try:
        return os.fsdecode(given)
    except TypeError:
        got = f"{shortened(given)} of type {type(given).__name__}"
        raise TypeError(f"expected a path (str, bytes or os.PathLike) or an open binary file, got {got}") from None


def name_of(source: Readable) -> str:
    """What to call it in an error message."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the bytes given"
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return os.fsdecode(name) if name and isinstance(name, (str, bytes)) else f"the {type(source).__name__} given"
    return _path(source)


def decode(text: str, name: str) -> Any:
    """Parse JSON in which each key stands once, all numbers are finite and all text is Unicode.

    Parameters
    ----------
    text : str
    name : str
        What to call it in an error message.

    Raises
    ------
    FormatError
        If it is not that, or its lists and objects are more than 256 deep.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant, parse_float=_finite
        )
        check_json(value, name)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"expected {name} to be JSON, got an error: {error}") from error
    return value


def check_json(value: object, name: str) -> None:
    """Refuse what would not come back as it is from a file that holds it as JSON.

    Parameters
    ----------
    value : object
        None, True, False, a str, an int, a finite float, or a list or a dict of such, with strings for keys.
    name : str
        What to call it in an error message, which goes on with the place: ``name['key'][3]``.

    Raises
    ------
    TypeError, ValueError
        For what is of another type, or not a value that JSON has.
    """
    waiting: list[tuple[Any, _Place, int]] = [(value, (None, None), 1)]
    count = 0
    while waiting:
        value, place, depth = waiting.pop()
        count += 1
        if type(value) is list or type(value) is dict:
            if depth > MAX_DEPTH:
                raise ValueError(f"{name}: expected lists and dicts at most {MAX_DEPTH} deep, got deeper ones")
            entries: list[tuple[Any, Any]] = [*value.items()] if type(value) is dict else [*enumerate(value)]
            for key, _ in entries if type(value) is dict else ():
                fault = _fault(key) if isinstance(key, str) else TypeError(_unlike("strings for keys", key))
                if fault is not None:
                    raise type(fault)(f"{_where(name, place)}: {fault}")
            waiting += [(entry, (place, key), depth + 1) for key, entry in reversed(entries)]
        elif value is not None and type(value) is not bool and (fault := _fault(value)) is not None:
            raise type(fault)(f"{_where(name, place)}: {fault}")
        if count + len(waiting) > MAX_HEADER // 2:  # which some lists within one another, each twice, soon come to
            raise ValueError(f"{name}: expected what fits a header of {MAX_HEADER} bytes as JSON, got more")


#: Where a value lies: in what, and under which key.
_Place: TypeAlias = tuple[Any, Any]


def _where(name: str, place: _Place) -> str:
    keys: list[str] = []
    while place[0] is not None:
        place, key = place
        keys.append(f"[{shortened(key)}]")
    return name + "".join(reversed(keys))


def _fault(value: object) -> TypeError | ValueError | None:
    """What is wrong with a value that is no list and no dict."""
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return ValueError(f"expected text, got half a surrogate pair in {shortened(value)}")
    elif type(value) is int:
        if not -MAX_INTEGER < value < MAX_INTEGER:
            return ValueError(f"expected a whole number below 2**1024, got one of {value.bit_length()} bits")
    elif type(value) is float:
        if not math.isfinite(value):
            return ValueError(f"expected a finite number, got {value}")
    else:
        return TypeError(_unlike("None, a bool, an int, a float, a str, a list or a dict", value))
    return None


def _unlike(expected: str, value: object) -> str:
    cures = {"tuple": "list(...)", "set": "sorted(...)", "frozenset": "sorted(...)", "bytes": "str"}
    kind = type(value).__name__
    cure = (
        "convert it, .tolist()" if hasattr(value, "tolist") else f"convert it, {cures[kind]}" if kind in cures else ""
    )
    return f"expected {expected}, got {shortened(value)} of type {kind}{cure and ': '}{cure}"


def write(path: str | os.PathLike[str] | BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write a file in one step: at any moment a reader finds the old content or the new, whole.

    The data goes to a temporary file in the same folder and on to the disk, which then takes the name of
    the old file. If anything fails before that, the old file stays as it was and the temporary one is
    removed; only a killed process or a power cut can leave a ``.backprop-*.tmp`` behind, and those of
    killed processes of this machine are removed by the next save in the folder. A file that is
    replaced keeps its permission bits, a new one has those that the umask gives. A symbolic link is
    followed; a hard link is parted from its siblings.

    Parameters
    ----------
    path : str, path-like or binary file
        A file that is open gets the data where it stands.
    data : bytes-like

    Raises
    ------
    OSError
        If the file cannot be written, is write-protected, or is no regular file.
    TypeError
        If it is an open file of text.
    """
    if not isinstance(path, (str, os.PathLike)) and hasattr(path, "write"):
        _pour(path, data)
        return
    name = _path(path)
    target = os.path.realpath(name)
    folder = os.path.dirname(target)
    mode = _mode_to_keep(target)
    _remove_orphans(folder)
    while not _replaced(target, folder, mode, data, name):
        pass  # another process took the temporary file for an orphan, before it was locked
    _sync_folder(folder)


def _pour(file: Any, data: bytes | bytearray | memoryview) -> None:
    """Write to an open file; one without a buffer may take less than all at once."""
    if isinstance(file, io.TextIOBase):
        raise TypeError('expected a binary file, as of open(path, "wb"), got a file of text')
    rest = memoryview(data).cast("B")
    while rest:
        taken = file.write(rest)
        rest = rest[len(rest) if taken is None else taken :]


def _replaced(target: str, folder: str, mode: int | None, data: bytes | bytearray | memoryview, path: Any) -> bool:
    """Write by way of a temporary file, and say whether that was still there when it was locked."""
    temporary = os.path.join(folder, f"{_prefix()}{os.urandom(8).hex()}.tmp")

    def create(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else mode)

    try:
        with open(temporary, "xb", opener=create) as file:
            if not _locked(file.fileno()):
                return False
            if mode is not None and mode != stat.S_IMODE(os.fstat(file.fileno()).st_mode):
                os.chmod(temporary, mode)
            whole = memoryview(data).cast("B")
            for start in range(0, len(whole), CHUNK):
                file.write(whole[start : start + CHUNK])
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:  # under the lock; elsewhere an open file cannot be renamed
                os.replace(temporary, target)
        if fcntl is None:
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        raise
    return True


# Temporary files whose process was killed. A process holds a lock on its own as long as it lives: a lock of the kernel,
# which a network file system may not know of elsewhere. So the name says which kernel that is.


@cache
def _prefix() -> str:
    """How the names of the temporary files of this machine begin, until it is started again."""
    from hashlib import sha256
    from pathlib import Path

    node = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    boot = Path("/proc/sys/kernel/random/boot_id")
    with suppress(OSError):
        node += boot.read_text(encoding="ascii")
    return f".backprop-{sha256(node.encode()).hexdigest()[:12]}-"


def _locked(descriptor: int) -> bool:
    """Lock a new temporary file for as long as it is open; whether it has still a name then."""
    if fcntl is None:  # where an open file cannot be removed
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: nobody will find it unlocked
        return True
    return os.fstat(descriptor).st_nlink > 0


def _remove_orphans(folder: str) -> None:
    """Remove the temporary files that killed processes of this machine have left."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name for entry in entries if entry.name.startswith(_prefix()) and entry.name.endswith(".tmp")
            ]
    except OSError:
        return
    for name in names:
        with suppress(OSError):
            _remove_orphan(os.path.join(folder, name))


def _remove_orphan(path: str) -> None:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return
    if fcntl is None:
        if time.time() - status.st_mtime > AN_HOUR:  # between its last byte and its new name it is closed for a moment
            os.unlink(path)
        return
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


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
        temporary = os.path.join(os.path.dirname(target), f"{_prefix()}{os.urandom(8).hex()}.tmp")
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


class _Given:
    """Bytes, read as a file is, without a copy."""

    def __init__(self, rest: memoryview) -> None:
        self.rest = rest

    def read(self, count: int) -> memoryview:
        """The next of them."""
        some, self.rest = self.rest[:count], self.rest[count:]
        return some


def _read(file: Any, size: int | None) -> tuple[dict[str, Array], dict[str, str]]:
    """Read so many bytes, or, where it is not known how many there are, to the end."""
    first = _some(file, 8)
    length = int.from_bytes(first, "little")
    there = size if len(first) == 8 else len(first)
    most = MAX_HEADER if there is None else min(there - 8, MAX_HEADER)
    if length > most and (other := _other_format(first)):
        raise FormatError(f"expected a safetensors file, as Sequential.save writes it, got {other}")
    if there is not None and length > there - 8:
        raise FormatError(f"expected 8 bytes and a header of {length}, got {there} in all: cut off, or another format")
    if length > MAX_HEADER:
        raise FormatError(f"expected a header of at most {MAX_HEADER} bytes, got {length} at byte 0")
    text = _some(file, length)
    if len(text) < length:
        raise FormatError(f"expected a header of {length} bytes, got {len(text)}: cut off, or another format")
    header = _parse(text)
    metadata = _metadata(header.pop("__metadata__", {}))
    digest = metadata.pop("sha256", None)
    if digest is None:
        raise FormatError("expected 'sha256' in '__metadata__', got none: another program has made this file")
    layout = _layout(header, None if size is None else size - 8 - length)

    arrays = {
        name: _numbers(file, tensor.end - tensor.begin, size).view(tensor.dtype).reshape(tensor.shape)
        for name, tensor in layout.items()
    }
    if size is None and _some(file, 1):
        raise FormatError("expected the end of the file, got more: bytes follow the last tensor")
    actual = _digest(arrays, metadata)
    if actual != digest:
        raise FormatError(f"expected SHA-256 {shortened(digest)}, got {shortened(actual)}: damaged, take another copy")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}, metadata


def _other_format(head: bytes) -> str | None:
    """What a file is that begins with these bytes, where that is well known."""
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head.removeprefix(b"\xef\xbb\xbf")):
        return "a text file"
    return next((name for begins, name in OTHER_FORMATS.items() if head.startswith(begins)), None)


def _some(file: Any, count: int) -> bytes:
    """The next bytes, as many as there are but no more than this."""
    parts, missing = [], count
    while missing:
        part = file.read(min(missing, CHUNK))
        if not isinstance(part, (bytes, bytearray, memoryview)):
            got = "a file of text" if isinstance(part, str) else f"one whose read gives {shortened(part)}"
            raise TypeError(f'expected a binary file, as of open(path, "rb"), got {got}')
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _numbers(file: Any, nbytes: int, size: int | None) -> Array:
    """The next bytes of a file; where it is not known how many there are, memory is taken as they come."""
    buffer = np.empty(nbytes if size is not None else min(nbytes, CHUNK), np.uint8)
    at = 0
    while at < nbytes:
        if at == len(buffer):
            buffer.resize(min(2 * at, nbytes), refcheck=False)
        part = _some(file, min(len(buffer) - at, CHUNK))
        if not part:
            fault = "the file is cut off" if size is None else "the file was changed while it was read"
            raise FormatError(f"expected {nbytes} bytes of a tensor, got {at}: {fault}")
        buffer[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    return buffer


def _rest(file: Any) -> int | None:
    """How many bytes there are from where an open file stands; None where it cannot tell."""
    try:
        here = file.tell()
        file.seek(0, os.SEEK_END)
        end = file.tell()
        file.seek(here)
    except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of the latter
        return None
    return max(0, int(end) - int(here))


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


def _no_constant(text: str) -> None:
    raise ValueError(f"{text}, which JSON has not")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {shortened(text)}")
    return value


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


@contextmanager
def named(source: str) -> Iterator[None]:
    """Let a `FormatError` from inside begin with the name of the file, and not go on for ever."""
    try:
        yield
    except FormatError as error:
        said = str(error)
        if len(said) > MAX_MESSAGE:
            said = f"{said[: MAX_MESSAGE // 2]}...{said[-MAX_MESSAGE // 2 :]}"
        error.args = (f"{source}: {said}",)
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
