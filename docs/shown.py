"""An extension of Sphinx: beneath each block of Python on a page stands what it shows, run when the site is built.

A page of the folder ``learn`` is a notebook too, with all of that in it, which the page offers to download.
"""

import ast
import contextlib
import json
import tempfile
import traceback
from pathlib import Path

from docutils import nodes
from running import notebook, run, transcript
from sphinx import addnodes
from sphinx.util import logging

#: Where figures and notebooks are put, for Sphinx to find them.
MADE = "pictures"

logger = logging.getLogger(__name__)


def run_page(app, doctree):
    """Run the blocks of a page in a folder of its own; what fails is a warning with its place."""
    page, path = app.env.docname, Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".md":
        return
    names, shown = {"__name__": "__main__"}, []
    blocks = [block for block in doctree.findall(nodes.literal_block) if block.get("language") in ("python", "console")]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for place, block in enumerate(blocks):
            try:
                if block["language"] == "console":
                    block.rawsource = transcript(block.astext())
                    block.children = [nodes.Text(block.rawsource)]
                    continue
                shown.append(run(block.astext(), names, block.source, block.line))
            except Exception:  # noqa: BLE001  # whatever it is, it is told with its place
                logger.warning("a block fails:\n%s", traceback.format_exc(), location=block)
                return
            beneath = _nodes(app, shown[-1], f"{page}-{place}", block.astext())
            block.parent.insert(block.parent.index(block) + 1, [*beneath])
    if page.startswith("learn/"):
        made = notebook(path.read_text(encoding="utf-8"), shown)
        doctree[0].insert(1, _offer(app, made, f"{path.stem}.ipynb"))


def _nodes(app, shown, name, code):
    """What is shown, for the page: of a value that is more than text, that."""
    if "stream" in shown:
        yield _text(shown["stream"])
    if "image/svg+xml" in shown:
        path = _put(app, f"{name.replace('/', '-')}.svg", shown["image/svg+xml"])
        yield nodes.image(uri=path, alt=f"figure: {ast.unparse(ast.parse(code).body[-1])}", classes=["output"])
    elif "text/html" in shown:
        yield nodes.container("", nodes.raw("", shown["text/html"], format="html"), classes=["output"])
    elif "text/plain" in shown:
        yield _text(shown["text/plain"])


def _text(text):
    return nodes.literal_block("", text.rstrip("\n"), classes=["output"])


def _offer(app, made, name):
    """A line that leads to the notebook."""
    path = _put(app, name, json.dumps(made, indent=1) + "\n")
    link = addnodes.download_reference("", "", nodes.Text(f"Download it as a notebook, {name}"), reftarget=path)
    return nodes.paragraph("", "", link, nodes.Text(". Everything on this page was computed when the page was made."))


def _put(app, name, text):
    """Write a file; where Sphinx finds it."""
    Path(app.srcdir, MADE, name).write_text(text, encoding="utf-8")
    return f"/{MADE}/{name}"


def setup(app):
    """Before the images and the downloads of a page are looked for, at 500."""
    app.connect("doctree-read", run_page, priority=400)
    return {"parallel_read_safe": True}
