"""Check what a wheel and a source distribution hold: python tools/check_wheel.py dist/*."""

import sys
import tarfile
import zipfile
from pathlib import Path

LARGEST = 2_000_000


def names(path: Path) -> list[str]:
    if path.suffix == ".whl":
        return zipfile.ZipFile(path).namelist()
    return ["/".join(name.split("/")[1:]) for name in tarfile.open(path).getnames()]


def faults(path: Path) -> list[str]:
    found = names(path)
    if path.suffix == ".whl":
        wanted = ["backprop/py.typed", "backprop/_core.pyi", "backprop/__main__.py", "backprop/play/page/index.html"]
        unwanted = (".c", ".pyx", ".pxi", ".h", ".gz", ".npy")
        wrong = [] if path.stat().st_size <= LARGEST else [f"{path.stat().st_size} bytes, more than {LARGEST}"]
    else:
        wanted = ["src/backprop/_core.pyx", "src/backprop/kernels/simd.h", "tests/reference.py", "LICENSE", "README.md"]
        unwanted = (".c", ".so", ".gz", ".npy", ".pyc")
        wrong = []
    wrong += [f"{name} is missing" for name in wanted if name not in found]
    return wrong + [f"{name} does not belong" for name in found if name.endswith(unwanted)]


if __name__ == "__main__":
    wrong = [f"{path}: {fault}" for path in map(Path, sys.argv[1:]) for fault in faults(path)]
    sys.exit("\n".join(wrong) or None)
