"""Writing a file: wholly or not at all, whatever fails and whoever is killed."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backprop.io import atomic, safetensors

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
not_root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() == 0, reason="root may write everywhere")


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
@pytest.mark.slow
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
