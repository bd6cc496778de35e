"""Choose, of the builds of the compiled core, the widest that this processor runs; `_core` then names that one."""

import importlib
import os
import sys

from . import _core as _baseline

#: The build that runs on every processor.
BASELINE = _baseline
#: From the plainest to the widest.
BUILDS = ("baseline", "avx2", "avx512")


def _load(build: str) -> bool:
    """Put this build in the place of `backprop._core`; whether there is one that runs here."""
    if not _baseline.cpu_supports(build):
        return False
    if build != "baseline":
        try:
            core = importlib.import_module(f"{__package__}._core_{build}")
        except ModuleNotFoundError:
            return False
        sys.modules[f"{__package__}._core"] = sys.modules[__package__]._core = core  # type: ignore[attr-defined]  # a module's name
    return True


def _choose() -> str:
    wanted = os.environ.get("BACKPROP_ISA")
    if not wanted:
        return next(build for build in reversed(BUILDS) if _load(build))
    if wanted not in BUILDS:
        raise ImportError(f"BACKPROP_ISA: expected one of {', '.join(BUILDS)}, got {wanted!r}")
    if not _load(wanted):
        raise ImportError(f"BACKPROP_ISA={wanted}: this processor or this installation has no such build")
    return wanted


#: The build in use.
ISA = _choose()
