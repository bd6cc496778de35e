#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""What there is to check, each in an environment of its own: `nox` does all, `nox -s lint` one, `nox -l` lists them."""

import platform
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"

DIST = Path("dist")
TORCH = "torch==2.13.0"
#: A wheel has no names of functions; what is built in place keeps them, for profilers and for reading its instructions.
STRIPPED = {"LDFLAGS": "-Wl,-s"} if sys.platform == "linux" else {}
#: What tests read beside themselves.
READ = ["examples", "tools", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"]
#: What looks at the kernels one by one, in each build of the core by itself.
KERNELS = ["products", "activations", "accuracy", "loss_kernels", "updates", "random", "layouts"]
#: What computes: run again on the other builds of the core. The rest is the same Python on all of them.
COMPUTES = [
    "gradients", "layers", "norms", "passes", "four_lines", "same_seed", "prediction", "going_on", "sample_weights",
    "value_and_gradient", "subnormals",
]  # fmt: skip


def group(name: str) -> list[str]:
    """The requirements of a group in pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name)


def made(session: nox.Session, kind: str) -> str:
    """The distribution of this kind that the session `wheel` has made."""
    found = sorted(DIST.glob(f"backprop_nn-{kind}"))
    if len(found) != 1:
        session.error(f"expected one {kind} in {DIST}, got {len(found)}: run nox -s wheel first")
    return str(found[0].resolve())


def files(*names: str) -> list[str]:
    """The files of tests of these names."""
    return [f"tests/test_{name}.py" for name in names]


def pytest(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Run tests on a copy of them, beside which there is no source: they see what is installed."""
    copy = Path(session.create_tmp(), "copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree("tests", copy / "tests")
    for name in READ:
        shutil.copytree(name, copy / name) if Path(name).is_dir() else shutil.copy(name, copy)
    with session.chdir(copy):
        session.run("pytest", "-q", "-m", "", *arguments, env=environment)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, the workflows, and the conventions of the scientific Python world."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("cython-lint", "src/backprop/_core.pyx", *map(str, sorted(Path("src/backprop/kernels").glob("*.pxi"))))
    session.run("rumdl", "check", ".")
    session.run("codespell")
    session.run("python", "tools/check_versions.py")
    session.run("validate-pyproject", "pyproject.toml")
    session.run("zizmor", "--offline", "--quiet", ".github")
    workflows = [str(path) for path in Path(".github/workflows").iterdir()]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.citation-file-format", "CITATION.cff")
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("repo-review", ".")


@nox.session
def wheel(session: nox.Session) -> None:
    """The source distribution, the wheel that is built from it, and what they hold."""
    session.install(*group("wheel"))
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", silent=True, env=STRIPPED)
    both = [made(session, "*.whl"), made(session, "*.tar.gz")]
    session.run("python", "tools/check_wheel.py", *both)
    session.run("twine", "check", "--strict", *both)
    session.run("check-wheel-contents", both[0])
    if sys.platform == "linux":
        policy = f"manylinux_2_28_{platform.machine()}"
        session.run("auditwheel", "repair", "--plat", policy, "--wheel-dir", session.create_tmp(), both[0])


@nox.session
def types(session: nox.Session) -> None:
    """Annotations, and the stub of the compiled core beside the core itself; after `wheel`."""
    session.install(f"{made(session, '*.whl')}[all]", *group("types"))
    session.run("mypy")
    session.run("pyright")
    session.run("stubtest", "backprop._core", "--mypy-config-file", "pyproject.toml")


@nox.session
def suite(session: nox.Session) -> None:
    """All tests against the wheel, with all that they compare with; what computes on every build; after `wheel`."""
    session.install(f"{made(session, '*.whl')}[test]", *group("oracles"))
    # An oracle of which there is not a build for every machine: without it, its tests say so and are skipped.
    session.run("python", "-m", "pip", "install", "-q", TORCH, success_codes=[0, 1], silent=True)
    two = ["-n2", "--dist=worksteal"]
    pytest(session, *two, *session.posargs)
    session.run("pytest", "-q", "-m", "", *files("docs", "export_c"))  # what is read of the sources, too
    code = "import backprop; print(*sorted(backprop._core.SUPPORTED - {backprop.show_config()['isa']}))"
    for isa in str(session.run("python", "-c", code, silent=True)).split():
        pytest(session, *two, *files(*COMPUTES), BACKPROP_ISA=isa)
    # Without vector extensions: what compilers other than GCC and Clang get.
    again = ["--force-reinstall", "--no-deps", "--no-cache-dir"]
    session.install(*again, made(session, "*.tar.gz"), env={"BACKPROP_SCALAR": "1"})
    pytest(session, *two, *files(*KERNELS, *COMPUTES))


@nox.session
def docs(session: nox.Session) -> None:
    """The site, in out/docs; after `wheel`."""
    session.install(f"{made(session, '*.whl')}[docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-q", "docs", "out/docs")


@nox.session(default=False)
def test(session: nox.Session) -> None:
    """The suite, from the tree, on any Python: with -P another than this."""
    session.env["PIP_PREFER_BINARY"] = "1"
    session.install(".", "pytest>=8", "hypothesis>=6.100")
    for optional in ("scikit-learn>=1.6", "matplotlib>=3.9", "tqdm>=4.60", "safetensors>=0.4", "mpmath>=1.3"):
        session.run("python", "-m", "pip", "install", "-q", "--only-binary=:all:", optional, success_codes=[0, 1])
    pytest(session, *session.posargs)


@nox.session(python="3.11", default=False)
def oldest(session: nox.Session) -> None:
    """The suite with the oldest versions that are promised to do.

    scikit-learn 1.6.1 mended two faults of 1.6.0, and Matplotlib 3.9.2 one of 3.9.0: pickles with pictures.
    """
    session.install(
        "setuptools==77.0.1", "Cython==3.1.0", "numpy==2.0.0", "scikit-learn==1.6.1", "scipy<1.15", "matplotlib==3.9.2",
        "tqdm==4.60.0", "safetensors==0.4.0", "pyparsing<3.3", "pytest", "hypothesis", "mpmath",
    )  # fmt: skip
    session.install("--no-build-isolation", "--no-deps", ".")
    pytest(session, *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """How long things take beside the peers."""
    session.install(".[all]", TORCH, "jax", "onnx", "onnxruntime")
    session.run("python", "benchmarks/run.py", *session.posargs)


if __name__ == "__main__":
    nox.main()
