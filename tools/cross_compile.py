"""Compile the core for other processors and systems, every warning an error: is what Cython makes C for them too?

By hand, with the compiler in the package ziglang (Clang, and the headers of every system it names):

    pip install ziglang Cython setuptools
    python tools/cross_compile.py --windows-headers Python-3.13.5

The folder is the unpacked source of some CPython, whose Include and PC are what an installed Python for Windows has as
headers; without it, the targets of Windows are skipped. The others get the headers of the Python that runs this, whose
pyconfig.h has nothing wherein they differ that Cython looks at. Nothing is linked. Flags and instruction sets are those
of setup.py; `plain` is BACKPROP_SCALAR=1, what a compiler without vector extensions gets, such as Microsoft's. That one
is not tried here, but in `plain` whatever Clang knows to be GNU's, and any array of variable length, is a warning too.

Result of 2026-11-25, with ziglang 0.17.1, Cython 3.3.1, the headers of Python 3.11.7 and, for Windows, of 3.13.5: the
20 builds of the 7 targets compile without a warning, in 5 minutes of a processor's time.
"""

import argparse
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
TARGETS = [
    "aarch64-linux-gnu",
    "aarch64-linux-musl",
    "x86_64-linux-musl",
    "aarch64-macos",
    "x86_64-macos",
    "aarch64-windows-gnu",
    "x86_64-windows-gnu",
]
# Some flags of setup.py are GCC's alone.
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-ignored-optimization-argument", "-ferror-limit=0"]
PLAIN = ["-DBACKPROP_SCALAR=1", "-Wgnu", "-Wvla"]


def windows_headers(source: Path, work: Path) -> list[Path]:
    """The folders of headers in a source tree of CPython, whose pyconfig.h is a template since 3.13."""
    config = source / "PC" / "pyconfig.h"
    shutil.copy(config if config.exists() else config.with_suffix(".h.in"), work / "pyconfig.h")
    return [work, source / "Include"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows-headers", type=Path, metavar="FOLDER", help="the source tree of a CPython")
    parser.add_argument("--target", action="append", choices=TARGETS, help="this one only; may be repeated")
    arguments = parser.parse_args()
    setup = SimpleNamespace(**runpy.run_path(str(ROOT / "setup.py")))
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        translated = work / "_core.c"
        subprocess.run([sys.executable, "-m", "cython", "-o", translated, ROOT / setup.SOURCE], check=True)
        # A cache of its own, since what lies in the compiler's is not compiled again.
        environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": f"{work}/zig", "ZIG_LOCAL_CACHE_DIR": f"{work}/zig"}
        print(f"{'target':22}{'build':12}{'seconds':>8}{'warnings':>10}")
        for target in arguments.target or TARGETS:
            windows = "windows" in target
            if windows and arguments.windows_headers is None:
                print(f"{target:22}skipped: no --windows-headers")
                continue
            headers = [Path(sysconfig.get_path("include"))]
            if windows:
                headers = windows_headers(arguments.windows_headers, work)
            # For Windows setup.py has the flags of Microsoft's compiler: /O2 and no more.
            flags = ["-O2"] if windows else ["-fPIC", *setup.flags(gnu=True)]
            builds = setup.BUILDS if target.startswith("x86_64") else {"baseline": []}
            for build, own in {**builds, "plain": PLAIN}.items():
                command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-c", *WARNINGS, *flags, *own]
                command += [option for header in headers for option in ("-isystem", header)]
                command += [f"-I{ROOT}/src/backprop/kernels", translated, "-o", work / "_core.o"]
                start = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True, env=environment)
                seconds = time.perf_counter() - start
                print(f"{target:22}{build:12}{seconds:8.1f}{done.stderr.count('[-W'):10}", flush=True)
                if done.returncode or done.stderr:
                    print(done.stderr)
                    failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
