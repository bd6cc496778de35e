"""What a run of the tests covers, said at its head."""

import importlib.util

import pytest
from instances import every_build
from plans import BUILDS

#: What tests compare with, where it is installed.
ORACLES = ("torch", "sklearn", "scipy", "mpmath", "safetensors", "pandas", "matplotlib")


def pytest_report_header(config):
    found = {name: importlib.util.find_spec(name) is not None for name in ORACLES}
    compared = ", ".join(name for name in ORACLES if found[name]) or "nothing"
    missing = ", ".join(name for name in ORACLES if not found[name])
    covers = (
        "every test"
        if config.getoption("markexpr") != "not slow"
        else (
            "gradients against finite differences, kernels against NumPy, layers, losses, optimizers, training, files, bad "
            "input, estimators, documents; not what is marked slow: pytest -m '' runs all, as CI does"
        )
    )
    return [f"covers: {covers}", f"compares with: {compared}" + (f"; not installed: {missing}" if missing else "")]


@pytest.fixture(params=every_build())
def core(request):
    """A build of the compiled core: the one in use and, among the slow tests, the others."""
    return BUILDS[request.param]


@pytest.fixture(scope="module")
def torch():
    """PyTorch on one thread, whose numbers are double where nothing is said, as NAdam's product of momenta is."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    torch.set_num_threads(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.fixture
def mpmath():
    """Numbers of 60 digits."""
    found = pytest.importorskip("mpmath", reason="mpmath is not installed: nothing to compare with")
    with found.workdps(60):
        yield found
