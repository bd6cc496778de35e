"""Check that each tool has one version: the hooks of pre-commit are the oldest that pyproject.toml allows.

python tools/check_versions.py
"""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version


def required(path: Path) -> dict[str, Requirement]:
    """The tools in the dependency groups, by name."""
    groups = tomllib.loads(path.read_text(encoding="utf-8"))["dependency-groups"].values()
    found = [Requirement(entry) for group in groups for entry in group if isinstance(entry, str)]
    return {requirement.name: requirement for requirement in found}


def hooks(path: Path) -> dict[str, Version]:
    """The versions of the hooks, by the name of their tool: of `mirrors-mypy` and of `ruff-pre-commit`."""
    found = re.findall(r"- repo: \S+/([\w-]+)\n\s+rev: v?(\S+)", path.read_text(encoding="utf-8"))
    return {name.removeprefix("mirrors-").removesuffix("-pre-commit"): Version(version) for name, version in found}


def faults(requirements: dict[str, Requirement], versions: dict[str, Version]) -> list[str]:
    """What the two say differently."""
    wrong = []
    for name in requirements.keys() & versions.keys():
        wanted = f">={versions[name]}"
        if str(requirements[name].specifier) != wanted:
            wrong.append(f"{name}: expected {wanted} in pyproject.toml, as in the hook, got {requirements[name]}")
    return sorted(wrong) if wrong or requirements.keys() & versions.keys() else ["expected hooks, got none"]


if __name__ == "__main__":
    found = faults(required(Path("pyproject.toml")), hooks(Path(".pre-commit-config.yaml")))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
