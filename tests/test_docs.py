"""The documents: their Python runs as it stands, their links lead somewhere, and nothing public is left out."""

import doctest
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import backprop as bp
from backprop.__main__ import _parser

ROOT = Path(__file__).parents[1]
PAGES = sorted(str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))


def module(name):
    """One of those that make the site."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


running = module("running")


def blocks(page):
    """Its blocks of Python, each with the line that it begins after."""
    cells = running.cells((ROOT / page).read_text(encoding="utf-8"))
    return [(cell.line, cell.text) for cell in cells if cell.kind == "code"]


def run(page):
    """All its blocks, one after the other, as the site runs them; the names they leave, and what they show."""
    names, shown = {"__name__": "__main__"}, []
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.finditer(r"^```(python|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if block[1] == "console":
            shown.append({"stream": running.transcript(block[2])})
        else:
            shown.append(running.run(block[2], names, str(ROOT / page), text.count("\n", 0, block.start(2))))
    return names, shown


def readme(names):
    assert Path("model.safetensors").exists()
    assert names["history"]["val_accuracy"][-1] > 0.8
    assert names["dx"].shape == names["x"].shape


def users_of_scikit_learn(names):
    assert names["search"].score(names["X_test"], names["y_test"]) > 0.9
    assert names["gradients"].shape == names["X_test"].shape
    inside = (names["low"] < names["middle"]) & (names["middle"] < names["high"])
    assert inside.mean() > 0.9
    assert names["mlp"].stopped_


def one_neuron(names):
    """The neuron by hand is the library's, and Pregibon's."""
    w, b, net = names["w"], names["b"], names["net"]
    fitted = names["gradient"]  # of the library, at the minimum that both have come to
    assert abs(fitted).max() < 1e-7
    np.testing.assert_allclose([b, *w], [-2.875, 5.179, 4.562], atol=1e-3)
    assert names["value"] == pytest.approx(0.3747099395, abs=1e-9)
    assert names["history"]["loss"][-1] > 0.7 and isinstance(net, bp.Sequential)  # the last learning rate is too long


def xor_from_scratch(names):
    """The published outputs, by both; and those that got stuck have two rows on one point of the hidden space."""
    known = [0.06029012, 0.94447222, 0.94436700, 0.05997169]
    np.testing.assert_allclose(names["y_hat"].ravel(), known, atol=1e-8)
    np.testing.assert_allclose(names["snapshots"].networks[9_999].predict(names["x"]).ravel(), known, atol=1e-8)
    stuck = names["stuck"]
    assert 15 <= len(stuck) <= 30
    assert abs(names["errors"][stuck] - 0.5).max() < 0.01
    for seed in stuck[1:]:  # the first was trained on
        hidden, outputs = names["networks"][seed].activations(names["x"])
        same = np.flatnonzero(abs(outputs[:, 0] - 0.5) < 0.01)
        assert len(same) == 2 and abs(hidden[same[0]] - hidden[same[1]]).max() < 0.01
    assert names["history"]["loss"][-1] < 0.1


def digits(names):
    assert names["accuracy"] > 0.94
    assert names["history"]["val_accuracy"][-1] > 0.96 and names["history"]["accuracy"][-1] > 0.99
    assert 0 < len(names["wrong"]) < 25
    assert names["p"].argmax() == names["other"] != names["digit"]


#: What more is to be true after a page; what it shows is looked for too.
THEN = {
    "README.md": readme, "docs/sklearn.md": users_of_scikit_learn, "docs/learn/one_neuron.md": one_neuron,
    "docs/learn/xor.md": xor_from_scratch, "docs/learn/digits.md": digits,
}  # fmt: skip
SHOWS = {
    "docs/sklearn.md": "BatchNorm()", "docs/guide/networks.md": "expected 4 inputs, got the 3 of Dense(2, 3)",
    "docs/learn/one_neuron.md": "0.bias.gradient    different, off by up to 0.641 at [0]",
    "docs/learn/xor.md": "NumPy    0.06029012 0.94447222 0.94436700 0.05997169",
    "docs/command_line.md": "built: number, 30 of 600 cells missing", "docs/tables/dataframes.md": "not known 'year'",
}  # fmt: skip
#: What is imported where a page uses this, beside what it imports itself.
NEEDS = {
    "sklearn": r"datasets\.digits|backprop\.sklearn",
    "matplotlib": r"\bplots\.\w",
    "pandas": "(?!)",
    "polars": "(?!)",
}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # the page on scikit-learn has fits that end early
def test_a_page_runs(page, tmp_path, monkeypatch):
    source = "\n".join(block for _, block in blocks(page))
    for package, use in NEEDS.items():
        if re.search(rf"^(?:from|import) {package}\b|{use}", source, re.MULTILINE):
            pytest.importorskip(package, reason=f"the page needs {package}")
    monkeypatch.chdir(tmp_path)
    names, shown = run(page)
    THEN.get(page, len)(names)
    texts = "\n".join(str(text) for one in shown for text in one.values())
    assert SHOWS.get(page, "") in texts
    assert any(shown)
    assert not re.search(r"\b0x[0-9a-f]{6,}", texts), "an address in memory is another each time"


@pytest.mark.parametrize("page", PAGES)
def test_code_fits_its_box(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.finditer(r"^```(?:python|console|sh|text)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        assert [line for line in block[1].splitlines() if len(line) > 88] == []


def test_what_a_block_shows():
    def shown(code, names=None):
        return running.run(code, {} if names is None else names)

    assert shown("a = 1") == {} == shown("None")
    assert shown("print(1)\n2 * 3") == {"stream": "1\n", "text/plain": "6"}
    net = bp.Sequential([bp.Dense(2, 1)], rng=0)
    assert shown("net", {"net": net})["text/html"] == net._repr_html_()
    with pytest.raises(ZeroDivisionError) as error:
        running.run("\n1 / 0", {}, "page.md", 40)
    assert error.traceback[-1].lineno + 1 == 42 and str(error.traceback[-1].path).endswith("page.md")


def test_a_figure_is_shown_as_the_same_svg_each_time():
    pytest.importorskip("matplotlib")
    code = "import backprop as bp\nbp.plots.weights(bp.Sequential([bp.Dense(2, 3)], rng=0))"
    one, two = (running.run(code, {})["image/svg+xml"] for _ in range(2))
    assert one == two and "<svg" in one


LEARN = [page for page in PAGES if page.startswith("docs/learn/")]


def test_a_page_to_learn_from_is_a_notebook_with_its_outputs():
    page = "# Title\n\nSee [there](../x.md#y) and [home](https://example.org).\n\n```python\nprint(1)\n2\n```\n\nEnd.\n"
    (code,) = [cell for cell in running.cells(page) if cell.kind == "code"]
    made = running.notebook(page, [running.run(code.text, {})])
    first, cell, last = made["cells"]
    assert first["source"] == "# Title\n\nSee there and [home](https://example.org)."
    assert cell["source"] == "print(1)\n2" and last["source"] == "End."
    assert [output["output_type"] for output in cell["outputs"]] == ["stream", "execute_result"]
    assert cell["outputs"][1]["data"] == {"text/plain": "2"}


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page != "docs/learn/one_neuron.md")) for page in LEARN]
)
def test_a_notebook_shows_in_jupyter_what_the_page_shows(page, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="executes notebooks")
    pytest.importorskip("ipykernel", reason="executes notebooks")
    pytest.importorskip("matplotlib", reason="the pages have figures")
    pytest.importorskip("sklearn", reason="has the digits")
    import nbformat

    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    made = json.dumps(running.notebook(text, run(page)[1]))
    offered = nbformat.reads(made, as_version=4)
    nbformat.validate(offered)
    executed = nbclient.NotebookClient(nbformat.reads(made, as_version=4), timeout=900).execute()
    for own, jupyters in zip(offered.cells, executed.cells, strict=True):
        if own.cell_type == "markdown":
            continue
        where = own.source
        assert shown(own, "text") == shown(jupyters, "text"), where
        for kind in ("text/plain", "text/html"):
            assert shown(own, kind) == shown(jupyters, kind), where
        assert bool(shown(own, "image/svg+xml")) == bool(shown(jupyters, "image/png")), where


def shown(cell, kind):
    """What a cell printed, or its value as something of this kind."""
    outputs = [
        output.get("text", "") if kind == "text" else output.get("data", {}).get(kind) for output in cell.outputs
    ]
    return "".join(filter(None, outputs))


def test_most_pages_have_python():
    assert {"README.md", "docs/mathematics.md", "docs/sklearn.md"} < {page for page in PAGES if blocks(page)}
    assert all(blocks(page) for page in PAGES if page.startswith("docs/guide/"))


@pytest.mark.parametrize("module", ["layers.base", "layers.embedding", "network", "targets"])
def test_the_examples_of_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = np.ones((8, 3)), np.zeros(8)
    given = {"bp": bp, "net": bp.Sequential([bp.Dense(3, 1)], rng=0), "x": x, "y": y}
    found = doctest.testmod(importlib.import_module(f"backprop.{module}"), extraglobs=given)
    assert found.attempted
    assert not found.failed


#: What a reader who knows another library types into the search of the site.
WORDS = """
    overfit regularization mini-batch hyperparameter custom inference predictions epoch dropout "early stopping"
    "learning rate schedule" checkpoint feature label embedding categorical logits "gradient clipping" "weight decay"
    "sample weight" "class weight" "transfer learning" "fine-tuning" "data loader" "data augmentation" "training loop"
    "input gradients" classification regression multi-label "drop-in replacement" "pip install backprop-nn"
    overfitting diverges imbalanced outliers skewed "missing values" one-hot dataframe pandas polars columntransformer
    set_output "conformal prediction" coverage calibrated temperature pickle joblib skops containers "c compiler"
    "learning rate" "batch size" pytorch keras "standard input" "feature names"
"""


@pytest.mark.parametrize("word", [quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|(\S+)', WORDS)])
def test_the_words_of_the_field_are_found(word):
    pages = ("README.md", "docs/sklearn.md", "docs/command_line.md", "docs/guide/", "docs/tables/")
    guide = [page for page in PAGES if page.startswith(pages)]
    texts = [" ".join((ROOT / page).read_text(encoding="utf-8").lower().replace('"', "").split()) for page in guide]
    assert any(word in text for text in texts)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = re.sub(
        r"^```.*?^```|`[^`\n]+`", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|#", target):
            continue
        path = ((ROOT / page).parent / target.partition("#")[0]).resolve()
        if path.parent == ROOT / "docs" / "pictures":  # drawn when the site is built
            drawn = "".join(
                (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("pictures.py", "gallery.py")
            )
            assert path.stem in re.findall(
                r"\w+", "".join(re.findall(r"^PICTURES = \(.*?\)", drawn, re.DOTALL | re.MULTILINE))
            )
        elif (ROOT / "src").exists() or not path.is_relative_to(ROOT / "src"):  # beside a wheel there are no sources
            assert path.exists(), target
            assert path.is_relative_to(ROOT)


@pytest.mark.skipif(not (ROOT / "src").exists(), reason="beside a wheel there are no sources")
def test_what_is_to_be_touched_for_something_new_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| an? \w+ \| .+ \|$", text, re.MULTILINE)
    assert len(rows) == 8
    folders = [ROOT, ROOT / "src/backprop", ROOT / "src/backprop/kernels"]
    for row in rows:
        told = re.findall(r"`([\w./]+)`", row)
        paths = [[f / name for f in folders if (f / name).exists()] for name in told if "." in name or "/" in name]
        assert all(paths), told
        files = [
            file for found in paths for path in found for file in ([path] if path.is_file() else path.glob("*.py"))
        ]
        source = "\n".join(file.read_text(encoding="utf-8") for file in files)
        assert [name for name in told if "." not in name and "/" not in name and name not in source] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/guide/")])
def test_a_page_of_the_guide_has_a_picture(page):
    pictures = re.findall(r"!\[([^\]]+)\]\(\.\./pictures/(\w+)\.svg\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [name for _, name in pictures] == [Path(page).stem]
    assert len(pictures[0][0]) > 40  # it says what there is to see


def test_the_command_line_has_every_command_and_option():
    text = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (\w+)$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    (commands,) = (action for action in _parser()._actions if hasattr(action, "choices") and action.choices)
    assert [*parts] == [*commands.choices]
    for name, command in commands.choices.items():
        options = [action.option_strings[-1] for action in command._actions if action.option_strings]
        assert [option for option in options if option != "--help" and f"`{option}" not in parts[name]] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_a_page_begins_with_what_it_is_for(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    if not text.startswith("```{include}"):
        assert re.match(r"# \w[^\n]+\n\n(?:[\w`][^\n]{30}|```{include})", text), text[:200]


def test_the_reference_has_every_public_name_once():
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.rst")]
    found = [
        name for text in pages for name in re.findall(r"^\.\. (?:auto\w+|data):: backprop\.(\w+)$", text, re.MULTILINE)
    ]
    assert [name for name in bp.__all__ if found.count(name) != 1] == []


def test_no_address_is_a_placeholder():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, url in project.get("urls", {}).items():  # the site links to its Repository, where there is one
        assert re.fullmatch(r"https://[\w.-]+/\S+", url) and not re.search("example|owner|todo|your", url), name


def test_every_page_is_in_the_site():
    index, reference = ((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("index.md", "api/index.md"))
    for page in (ROOT / "docs").glob("**/*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert name == "index" or f"\n{name}\n" in index
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        assert f"\n{page.stem}\n" in reference
