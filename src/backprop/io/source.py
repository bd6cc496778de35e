"""Where bytes come from: a path, a file that is open, or bytes themselves."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from reprlib import repr as shortened
from typing import Any, BinaryIO, TypeAlias

from ..errors import FormatError
from .atomic import CHUNK, path_of

__all__ = ["Readable", "name_of", "named", "opened", "other_format", "some", "whole"]

Readable: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"

MAX_MESSAGE = 400  # characters of what is said of a file
#: How files of other kinds begin.
OTHER_FORMATS = {
    **{bytes([0x80, protocol]): "a pickle, which is never loaded" for protocol in range(2, 6)},
    b"PK\x03\x04": "a zip archive, as PyTorch, Keras and np.savez write",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "an array of NumPy, which np.load reads",
    **{bytes([0x08, version, 0x12]): "an ONNX model, which backprop.from_onnx reads" for version in range(1, 32)},
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"GGUF": "a GGUF model", b"PAR1": "a Parquet table",
}  # fmt: skip


def name_of(source: Readable) -> str:
    """What to call it in an error message."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the bytes given"
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return os.fsdecode(name) if name and isinstance(name, (str, bytes)) else f"the {type(source).__name__} given"
    return path_of(source)


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


@contextmanager
def opened(source: Any) -> Iterator[tuple[Any, int | None]]:
    """A file to read from, and how many bytes there are, where that is known.

    Parameters
    ----------
    source : str, path-like or binary file
    """
    if isinstance(source, io.TextIOBase):
        raise TypeError('expected a binary file, as of open(path, "rb"), got a file of text')
    if hasattr(source, "read"):
        yield source, _rest(source)
        return
    with open(path_of(source), "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"expected a regular file, got one of mode {stat.filemode(status.st_mode)}")
        yield file, status.st_size


def whole(source: Readable) -> memoryview:
    """All bytes there are."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source)
        return view.cast("B") if view.contiguous else memoryview(bytes(view))
    with opened(source) as (file, size):
        if size is not None:
            return memoryview(some(file, size))
        parts = []
        while part := some(file, CHUNK):
            parts.append(part)
        return memoryview(b"".join(parts))


def other_format(head: bytes) -> str | None:
    """What a file is that begins with these bytes, where that is well known."""
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head.removeprefix(b"\xef\xbb\xbf")):
        return "a text file"
    return next((name for begins, name in OTHER_FORMATS.items() if head.startswith(begins)), None)


def some(file: Any, count: int) -> bytes:
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


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file even if it is a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
