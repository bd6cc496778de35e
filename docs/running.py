"""Run the Python of a page, block by block in one namespace, and say what each block shows; make a notebook of it.

The site, the notebooks that it offers and ``tests/test_docs.py`` read pages here. A block shows what a notebook would
show of it: what it prints, then its last expression, unless that is None.
"""

import ast
import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A block of Python, or the text between two."""

    kind: str
    #: The line of the page that it begins after.
    line: int
    text: str


def cells(page: str) -> Iterator[Cell]:
    """What a page is made of."""
    at = 0
    for block in re.finditer(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        yield Cell("markdown", page.count("\n", 0, at), page[at : block.start()].strip())
        yield Cell("code", page.count("\n", 0, block.start(1)), block[1])
        at = block.end()
    yield Cell("markdown", page.count("\n", 0, at), page[at:].strip())


def run(code: str, names: dict[str, Any], page: str = "<page>", line: int = 0) -> dict[str, Any]:
    """Run a block; what it shows by its type, "stream" for what it printed. Errors name the line of the page."""
    tree = ast.parse("\n" * line + code, page)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, page, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), page, "eval"), names)
    shown = {"stream": printed.getvalue()} if printed.getvalue() else {}
    return shown if value is None else {**shown, **_display(value)}


def _display(value: Any) -> dict[str, Any]:
    """A value as text, and as what else it knows to be."""
    shown = {"text/plain": repr(value)}
    html = getattr(value, "_repr_html_", lambda: None)()
    if html is not None:
        shown["text/html"] = html
    if hasattr(value, "savefig"):
        shown["image/svg+xml"] = _drawn(value)
    return shown


def _drawn(figure: Any) -> str:
    """A figure, the same bytes each time."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "backprop"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue().decode()


def transcript(commands: str) -> str:
    """Run commands of the command line, each on a line of its own after a "$", and set beneath each what it prints."""
    from backprop.__main__ import main

    lines = []
    for command in commands.splitlines():
        out, remarks = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(remarks):
            status = main(shlex.split(command.removeprefix("$ python -m backprop ")))
        if status:
            raise RuntimeError(f"{command}: {remarks.getvalue()}")
        lines += [command, out.getvalue().rstrip()]
    return "\n".join(lines)


def notebook(page: str, shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make a Jupyter notebook (nbformat 4.5) of a page and of what its blocks show; links lead nowhere from there."""
    remaining, made = iter(shown), []
    for place, (kind, _, text) in enumerate(cells(page)):
        cell = {"cell_type": kind, "id": f"cell-{place}", "metadata": {}, "source": text.rstrip("\n")}
        if kind == "markdown":
            cell["source"] = re.sub(r"(?<!!)\[([^\]]+)\]\([^):]+\)", r"\1", text)
        else:
            number = 1 + place // 2
            cell |= {"execution_count": number, "outputs": [*_outputs(next(remaining), number)]}
        made.append(cell)
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _outputs(shown: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    if "stream" in shown:
        yield {"output_type": "stream", "name": "stdout", "text": shown["stream"]}
    data = {kind: value for kind, value in shown.items() if kind != "stream"}
    if data:
        yield {"output_type": "execute_result", "execution_count": number, "data": data, "metadata": {}}
