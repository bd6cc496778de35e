"""The site: ``python -m sphinx -W --keep-going docs out/docs``."""

import re
import sys
from pathlib import Path

import backprop

sys.path.insert(0, str(Path(__file__).parent))

import pictures  # noqa: E402 - it lies beside this file

project = "backprop"
author = "The backprop developers"
project_copyright = "the backprop developers"
version = release = backprop.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["pictures"]
nitpicky = True

html_theme = "furo"
html_title = f"backprop {version}"

myst_enable_extensions = ["dollarmath"]

# What docstrings name in single backticks is a link where it is something of ours, and else emphasised.
default_role = "autolink"
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

copybutton_prompt_text = ">>> "


def escape_bars(app, what, name, obj, options, lines):
    """Docstrings write |d| for an absolute value, as people do; reStructuredText takes that for a substitution."""
    lines[:] = [re.sub(r"(?<!\\)\|", r"\\|", line) for line in lines]


def setup(app):
    """Draw the pictures, and read the docstrings."""
    app.connect("builder-inited", lambda _: pictures.draw())
    app.connect("autodoc-process-docstring", escape_bars)
