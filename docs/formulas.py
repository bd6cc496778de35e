"""An extension of Sphinx: formulas as MathML, which browsers draw without a script and without a network.

The translator is docutils' own. What it leaves to the defaults of browsers, and looks bad in them, is said here.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)

#: Bars have no room beside them; log p has some, log(p) has none.
SPACES = (
    (r"<mo[^>]*>([|‖])</mo>", r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>'),
    (r"<mo>&ApplyFunction;</mo>(?=\s*<mo[^>]*>\()", ""),
    (r"<mo>&ApplyFunction;</mo>", '<mspace width="0.17em"/>'),
    (r"<mo>(max|min)</mo>(?=\s*<mo[^>]*>\()", r"<mi>\1</mi>"),
    (r"<mo>(max|min)</mo>", r'<mi>\1</mi><mspace width="0.17em"/>'),
)


def mathml(formula: str, block: bool = False) -> str:
    """A formula of LaTeX."""
    written = tex2mathml(re.sub(r"\\[bB]ig+(?![a-z])", "", formula), as_block=block)
    for pattern, better in SPACES:
        written = re.sub(pattern, better, written)
    return written


def write(self, node):
    """Write a formula, inline or a block of its own, which scrolls where there is no room for it."""
    block = isinstance(node, nodes.math_block)
    try:
        written = mathml(node.astext(), block)
        self.body.append(f'<div class="formula">{written}</div>' if block else written)
    except MathError as error:
        logger.warning("a formula fails: %s", error, location=node)
    raise nodes.SkipNode


def setup(app):
    """Take the place of MathJax."""
    app.add_html_math_renderer("mathml", (write, None), (write, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
