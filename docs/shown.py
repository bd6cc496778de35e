"""An extension of Sphinx: beneath each block of Python on a page stands what it shows, run when the site is built."""

import contextlib
import tempfile
import traceback
from pathlib import Path

from docutils import nodes
from running import run, transcript
from sphinx.util import logging

PICTURES = "pictures"

logger = logging.getLogger(__name__)


def run_page(app, doctree):
    """Run the blocks of a page in a folder of its own; what fails is a warning with its place."""
    page = app.env.docname
    names = {"__name__": "__main__"}
    blocks = [block for block in doctree.findall(nodes.literal_block) if block.get("language") in ("python", "console")]
    if Path(app.env.doc2path(page)).suffix != ".md":
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for place, block in enumerate(blocks):
            try:
                if block["language"] == "console":
                    block.rawsource = transcript(block.astext())
                    block.children = [nodes.Text(block.rawsource)]
                    continue
                shown = run(block.astext(), names, block.source, block.line)
            except Exception:  # noqa: BLE001  # whatever it is, it is told with its place
                logger.warning("a block fails:\n%s", traceback.format_exc(), location=block)
                return
            block.parent.insert(block.parent.index(block) + 1, [*_nodes(app, shown, f"{page}-{place}")])


def _nodes(app, shown, name):
    """What is shown, for the page: of a value that is more than text, that."""
    if "stream" in shown:
        yield _text(shown["stream"])
    if "image/svg+xml" in shown:
        path = f"{PICTURES}/{name.replace('/', '-')}.svg"
        Path(app.srcdir, path).write_text(shown["image/svg+xml"], encoding="utf-8")
        yield nodes.image(uri=f"/{path}", alt="the figure that the code above draws", classes=["output"])
    elif "text/html" in shown:
        yield nodes.container("", nodes.raw("", shown["text/html"], format="html"), classes=["output"])
    elif "text/plain" in shown:
        yield _text(shown["text/plain"])


def _text(text):
    return nodes.literal_block("", text.rstrip("\n"), classes=["output"])


def setup(app):
    """Before the images of a page are looked for, at 500."""
    app.connect("doctree-read", run_page, priority=400)
    return {"parallel_read_safe": True}
