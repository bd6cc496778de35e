"""What a run of the tests covers, said at its head."""

import importlib.util

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
