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
# GCC makes the translated source fast or small, from each of these places on: what is called once for a whole run has
# as much text as all kernels, and half of it at -Os, at the same speed. Predicting a row is fast.
PLACES = {
    "/* #### Code section: module_code": "small",
    '/* "src/backprop/kernels/': "fast",
    '/* "src/backprop/kernels/memory.pxi"': "small",
    '/* "src/backprop/kernels/predict.pxi"': "fast",
    '/* "src/backprop/kernels/tape.pxi"': "small",
}
PRAGMAS = {"small": 'optimize ("Os")', "fast": "reset_options"}
SIZED = "#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)\n#define SIZED\n#endif\n"


def flags(gnu: bool = GNU) -> list[str]:
    """No flag may change the result of an operation: no -ffast-math, here or at the link."""
    if not gnu:
        return ["/O2"]
    optimize = ["-O3", "-fno-math-errno", "-fno-trapping-math"]
    # C has no exceptions; loops stay aligned, what is jumped to once need not be.
    smaller = ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
    smaller += [f"-fno-align-{kind}" for kind in ("functions", "jumps", "labels")]
    sanitize = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    if DEBUG or SANITIZE:
        return [*(["-O0"] if DEBUG else optimize), *(sanitize if SANITIZE else []), "-g"]
    return [*optimize, *smaller, "-g0"]


def sized(translated: str) -> str:
    """The translated source with these pragmas; other compilers than GCC do not see them."""
    at, parts = 0, []
    for place, size in PLACES.items():
        begin = translated.find(f"\n{place}", at) + 1
        if begin == 0:
            raise SystemExit(f"setup.py: expected {place} in the source that Cython made, after {at} characters of it")
        parts += [translated[at:begin], f"#ifdef SIZED\n#pragma GCC {PRAGMAS[size]}\n#endif\n"]
        at = begin
    return "".join([*parts, translated[at:]])


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


def write(path: Path, text: str) -> Path:
    """A file with this text, not newer than it must be: what is newer than its module is compiled again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


class BuildOnce(build_ext):
    """Translate the source once; each module includes the result under the name of its own entry point."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        translated = cythonize([Extension("backprop._core", [SOURCE])], build_dir=self.build_temp)[0].sources[0]
        text = sized(Path(translated).read_text(encoding="utf-8"))
        source = write(Path(self.build_temp, "_core_sized.c"), text)
        for module in self.extensions:
            name = module.name.rpartition(".")[2]
            unit = Path(self.build_temp, f"{name}_module.c")
            how = [os.environ.get("CC"), *module.define_macros, *module.extra_compile_args]
            text = f'#define PyInit__core PyInit_{name} /* {how} */\n{SIZED}#include "{source.resolve().as_posix()}"\n'
            module.sources = [str(write(unit, text))]
            module.depends.append(str(source))
        super().build_extensions()


if __name__ == "__main__":
    setup(ext_modules=modules(), cmdclass={"build_ext": BuildOnce})
