"""The site: ``python -m sphinx -W --keep-going docs out/docs``."""

import logging
import re
import sys
import tomllib
import warnings
from pathlib import Path

import backprop

sys.path.insert(0, str(Path(__file__).parent))

import gallery
import pictures

# The fits of the pages are not part of the build's log.
logging.getLogger("backprop").setLevel("WARNING")
warnings.filterwarnings("ignore", "Stochastic Optimizer")

project = "backprop"
author = "The backprop developers"
project_copyright = "the backprop developers"
version = release = backprop.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "shown",
    "formulas",
]
exclude_patterns = ["pictures"]
nitpicky = True
nitpick_ignore = [
    ("py:obj", "numpy.memmap"),
    ("py:obj", "io.BytesIO"),
    # Attributes that a docstring lists, and that are properties.
    *(("py:obj", name) for name in ("temperature_", "best_epochs_", "validation_scores_", "edges", "fit_transform")),
]  # the site is built without a network, so other projects are not linked

html_theme = "furo"
html_title = f"backprop {version}"
#: Where the source is, as [project.urls] of pyproject.toml says; where it says nothing, there is no link.
metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
repository = metadata["project"].get("urls", {}).get("Repository")
if repository:
    html_theme_options = {"footer_icons": [{"name": "Source", "url": repository, "html": "Source", "class": ""}]}
html_static_path = ["_static"]
html_css_files = ["shown.css", "site.css"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2

# What docstrings name in single backticks is a link where it is something of ours, and else emphasised.
default_role = "autolink"
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

copybutton_prompt_text = r">>> |\$ "
copybutton_prompt_is_regexp = True


def read_docstring(app, what, name, obj, options, lines):
    """Let docstrings be written for people.

    |d| is an absolute value, not a substitution. What the comments of a module's constants refer to, by number, is in
    the docstring of the module, which is another document to numpydoc: there it is a list. And a formula such as
    f(z) = y (1 - y) is to numpydoc a signature, unless something stands before its first bracket.
    """
    lines[:] = [line.replace("|", r"\|") for line in lines]
    if what in ("module", "data"):
        lines[:] = [re.sub(r"^\.\. \[(\d+)\] ", r"\1. ", line) for line in lines]
        lines[:] = [re.sub(r"\[(\d+)\]_", r"[\1]", line) for line in lines]
    if what == "data":
        lines[:1] = [line.replace("(", r"\(", 1) for line in lines[:1]]


def find(app, env, node, text):
    """Find what the package re-exports: `Adam` is documented as backprop.Adam, in whatever module it is written."""
    name = f"backprop.{node.get('reftarget')}"
    return env.domains.python_domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, text)


def setup(app):
    """Draw the pictures, and read the docstrings."""
    app.connect("missing-reference", find)
    app.connect("builder-inited", lambda _: pictures.draw(pictures=pictures.PICTURES + gallery.PICTURES))
    # `predict` is compiled: there is no page of its source to link to.
    app.connect("viewcode-follow-imported", lambda _, module, name: "backprop.network" * (name == "Sequential.predict"))
    app.connect("autodoc-process-docstring", read_docstring, priority=400)  # before numpydoc, at 500
