"""Which wheels are built: seen without building them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHONS = ["cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]


@pytest.mark.parametrize(
    ("system", "processor", "tags"),
    [
        ("linux", "x86_64", ["manylinux_x86_64", "musllinux_x86_64"]),
        ("linux", "aarch64", ["manylinux_aarch64", "musllinux_aarch64"]),
        ("macos", "x86_64", ["macosx_x86_64"]),
        ("macos", "arm64", ["macosx_arm64"]),
        ("windows", "AMD64", ["win_amd64"]),
        ("windows", "ARM64", ["win_arm64"]),
    ],
)
def test_the_wheels_that_are_built(system, processor, tags):
    pytest.importorskip("cibuildwheel", reason="cibuildwheel is not installed")
    asked = ["--print-build-identifiers", "--platform", system, "--archs", processor]
    printed = subprocess.run(
        [sys.executable, "-m", "cibuildwheel", *asked, str(ROOT)], capture_output=True, text=True, check=True
    ).stdout
    assert sorted(printed.split()) == sorted(f"{python}-{tag}" for python in PYTHONS for tag in tags)
