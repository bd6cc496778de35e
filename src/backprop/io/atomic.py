"""Files that are written whole, or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from reprlib import repr as shortened
from typing import Any, BinaryIO

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["expect_folder", "expect_writable", "path_of", "write"]

CHUNK = 1 << 20  # bytes that are read or written at a time
AN_HOUR = 3600.0


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
    name = path_of(path)
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


def path_of(given: Any) -> str:
    """A path as text; anything that is no path is refused."""
    try:
        return os.fsdecode(given)
    except TypeError:
        got = f"{shortened(given)} of type {type(given).__name__}"
        raise TypeError(f"expected a path (str, bytes or os.PathLike) or an open binary file, got {got}") from None
