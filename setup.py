"""The extension modules: one source, compiled once for each instruction set that the package chooses from at import.

Switches, from the environment:
    BACKPROP_DEBUG=1                      for a debugger: -O0 -g, of the baseline where BACKPROP_BUILDS names no other
    BACKPROP_SANITIZE=address,undefined   these sanitizers, which check bounds: the kernels work on pointers
    BACKPROP_SCALAR=1                     no vector extensions: what compilers other than GCC and Clang get
    BACKPROP_BUILDS=baseline,avx2         these instruction sets only
"""

import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = "src/backprop/_core.pyx"
HEADERS = sorted(Path("src/backprop/kernels").glob("*"))
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mprefer-vector-width=512"]
BUILDS = {"baseline": [], "avx2": AVX2, "avx512": AVX512}

DEBUG = os.environ.get("BACKPROP_DEBUG") == "1"
SCALAR = os.environ.get("BACKPROP_SCALAR") == "1"
SANITIZE = os.environ.get("BACKPROP_SANITIZE")
GNU = os.name == "posix"
# What is built for, which is not always what builds: so a Python for two processors gets what both of them run.
X86 = sysconfig.get_platform().lower().endswith(("x86_64", "amd64")) and sys.maxsize > 2**32


def flags(gnu: bool = GNU) -> list[str]:
    """No flag may change the result of an operation: no -ffast-math, here or at the link."""
    if not gnu:
        return ["/O2"]
    optimize = ["-O0"] if DEBUG else ["-O3", "-fno-math-errno", "-fno-trapping-math"]
    sanitize = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    return [*optimize, *(sanitize if SANITIZE else []), "-g" if DEBUG or SANITIZE else "-g0"]


def modules() -> list[Extension]:
    """One module for each instruction set; the baseline's is plainly `_core`."""
    several = GNU and X86 and not SCALAR
    names = (
        os.environ.get("BACKPROP_BUILDS", "baseline" if DEBUG else ",".join(BUILDS)).split(",")
        if several
        else ["baseline"]
    )
    return [
        Extension(
            "backprop._core" if name == "baseline" else f"backprop._core_{name}",
            [SOURCE],
            depends=[str(header) for header in HEADERS],
            include_dirs=["src/backprop/kernels"],
            define_macros=[("BACKPROP_SCALAR", "1")] if SCALAR else [],
            extra_compile_args=flags() + BUILDS[name],
            extra_link_args=[f"-fsanitize={SANITIZE}"] if GNU and SANITIZE else [],
        )
        for name in names
    ]


class BuildOnce(build_ext):
    """Translate the source once; each module includes the result under the name of its own entry point."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        translated = cythonize([Extension("backprop._core", [SOURCE])], build_dir=self.build_temp)[0].sources[0]
        for module in self.extensions:
            name = module.name.rpartition(".")[2]
            unit = Path(self.build_temp, f"{name}_module.c")
            how = [os.environ.get("CC"), *module.define_macros, *module.extra_compile_args]
            text = (
                f'#define PyInit__core PyInit_{name} /* {how} */\n#include "{Path(translated).resolve().as_posix()}"\n'
            )
            if not unit.exists() or unit.read_text() != text:  # what is newer than its module is compiled again
                unit.write_text(text)
            module.sources = [str(unit)]
            module.depends.append(translated)
        super().build_extensions()


if __name__ == "__main__":
    setup(ext_modules=modules(), cmdclass={"build_ext": BuildOnce})
