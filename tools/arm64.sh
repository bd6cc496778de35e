#!/usr/bin/env bash
# Build the package for arm64 on another processor, and run its tests there, emulated: by hand, as root, on Debian.
#
#   apt-get install debootstrap qemu-user-static && pip install ziglang Cython setuptools
#   bash tools/arm64.sh FOLDER [what pytest is to run and how; by default the kernels and the gradients]
#
# FOLDER gets a Debian for arm64, unpacked and not configured, and packages of PyPI for it; what is there is used
# again. No program is started by another, so the kernel need not know of the emulator; tests that start sys.executable
# cannot run so. The build is setup.py's, told by the environment what it is for.
#
# Result of 2026-11-25, with QEMU 7.2.22, Debian 12, its Python 3.11.2, NumPy 2.4.6, pytest 9.2.0, and Clang of ziglang
# 0.17.1: kernels and gradients whole, 5646 tests passed and none failed; 1330 that compare with PyTorch were skipped. They took 16
# minutes of a processor's time, and 30 by the clock of a busy machine.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:?a folder for the arm64 system}"
folder=$(cd "$1" && pwd)
shift
root=$folder/root
host=${PYTHON:-python3}

if [ ! -e "$root/usr/bin/python3.11" ]; then
  echo "== Debian for arm64"
  debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,python3-dev bookworm "$root" \
    >"$folder/debootstrap.log"
  for package in "$root"/var/cache/apt/archives/*.deb; do
    dpkg --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root"
  done
fi

if [ ! -e "$folder/packages/numpy" ]; then
  echo "== NumPy and what the tests want"
  "$host" -m pip install -q --target "$folder/packages" --python-version 3.11 --implementation cp --only-binary=:all: \
    --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
    "numpy>=2.0" "pytest>=8" "hypothesis>=6.100" mpmath
fi

echo "== the package"
compiler="$host -m ziglang cc -target aarch64-linux-gnu"
rm -rf "$folder/backprop" "$folder/build"
_PYTHON_HOST_PLATFORM=linux-aarch64 SETUPTOOLS_EXT_SUFFIX=.cpython-311-aarch64-linux-gnu.so \
  CC="$compiler" LDSHARED="$compiler -shared" \
  CPPFLAGS="-I$root/usr/include/python3.11 -idirafter $root/usr/include" \
  "$host" setup.py -q build --build-lib "$folder/backprop" --build-temp "$folder/build"

echo "== the tests, emulated"
[ $# -gt 0 ] || set -- -q test_{products,activations,accuracy,loss_kernels,updates,random,layouts,gradients}.py
python() { qemu-aarch64-static -L "$root" "$root/usr/bin/python3.11" "$@"; }
unset OPENBLAS_CORETYPE # which names a processor of this machine's kind
export OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$folder/packages:$folder/backprop"
cd tests
python -c "
import platform, numpy, backprop
print(platform.machine(), 'Python', platform.python_version(), 'NumPy', numpy.__version__, backprop._core.__file__)"
time python -m pytest -p no:cacheprovider "$@"
