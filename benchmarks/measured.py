"""`load()`: the extension of _measure.pyx, built with the flags of setup.py for the build of the core in use."""

import functools
import importlib
import runpy
import sys
from pathlib import Path
from types import ModuleType

from Cython.Build import cythonize
from setuptools import Distribution, Extension

import backprop

HERE = Path(__file__).parent
KERNELS = HERE.parent / "src/backprop/kernels"


@functools.cache
def load() -> ModuleType:
    """The module; it is compiled again where it, a kernel or the build in use has changed."""
    setup, isa = runpy.run_path(str(HERE.parent / "setup.py")), backprop.show_config()["isa"]
    folder = HERE.parent / "build" / f"measure-{isa}"
    extension = Extension(
        "_measure", [str(HERE / "_measure.pyx")], include_dirs=[str(KERNELS)],
        depends=[str(path) for path in KERNELS.glob("*")], extra_compile_args=setup["flags"]() + setup["BUILDS"][isa],
    )  # fmt: skip
    made = Distribution({"ext_modules": cythonize([extension], build_dir=str(folder), quiet=True)})
    build = made.get_command_obj("build_ext")
    build.build_lib = build.build_temp = str(folder)
    build.ensure_finalized()
    build.run()
    sys.path.insert(0, str(folder))
    return importlib.import_module("_measure")
