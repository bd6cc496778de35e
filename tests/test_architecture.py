"""The folder listing of docs/design.md is the architecture: imports only go down it."""

import ast
from pathlib import Path

import backprop as bp

PACKAGE = Path(bp.__file__).parent
DESIGN = Path(__file__).parents[1] / "docs" / "design.md"
#: What is compiled into a wheel, and not in it as a source.
COMPILED = ("_core.pyx", "kernels/")


def listing():
    """The modules and folders of each line, from the top."""
    block = DESIGN.read_text(encoding="utf-8").split("## The folder listing", 1)[1].split("```")[1]
    return [line.split("#")[0].split() for line in block.strip().splitlines()]


def modules():
    return {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module):
    """The entry of the listing that a module belongs to: its own, or that of its folder."""
    entries = [entry for line in listing() for entry in line]
    return module if module in entries else f"{module.split('/')[0]}/"


def imports(module, path):
    """The modules of this package that one imports, wherever it does."""
    known, folder = modules(), module.split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            start = folder[: len(folder) - node.level + 1]
        elif (node.module or "").split(".")[0] == "backprop":
            start, node.module = [], ".".join(node.module.split(".")[1:])
        else:
            continue
        place = start + (node.module.split(".") if node.module else [])
        for alias in node.names:
            options = ([*place, alias.name], place)
            names = ("/".join(option) + end for option in options for end in (".py", "/__init__.py"))
            found = next((name for name in names if name in known), None)
            if found not in (None, "__init__.py"):
                yield found


def test_every_module_is_in_the_listing():
    entries = [entry for line in listing() for entry in line]
    assert len(entries) == len(set(entries))
    for module in set(modules()) - {"__init__.py", "_version.py", "io/__init__.py"}:
        assert room(module) in entries, f"{module} has no place in the listing of docs/design.md"
    for entry in entries:
        assert entry in COMPILED or (PACKAGE / entry).exists(), f"{entry} of the listing in docs/design.md is not there"


def test_imports_go_down():
    level = {entry: i for i, line in enumerate(listing()) for entry in line}
    for module, path in modules().items():
        if module in ("__init__.py", "io/__init__.py"):
            continue
        for other in imports(module, path):
            if other in ("_version.py", "io/__init__.py") or room(module) == room(other):
                continue
            assert level[room(other)] > level[room(module)], f"{module} imports {other}, which is not below it"
