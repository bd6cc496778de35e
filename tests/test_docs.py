"""The Python in the documents runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(document):
    """All its blocks of Python, one after the other; the names they leave."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 2
    names = {}
    for block in blocks:
        exec(compile(block, document, "exec"), names)
    return names


@pytest.mark.filterwarnings("error")
def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("README.md")
    assert (tmp_path / "model.safetensors").exists()
    assert names["history"]["val_accuracy"][-1] > 0.8
    assert names["dx"].shape == names["x"].shape


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_page_for_users_of_scikit_learn_runs(capsys):
    pytest.importorskip("sklearn", minversion="1.6", reason="needs scikit-learn")
    names = run("docs/sklearn.md")
    assert names["search"].score(names["X_test"], names["y_test"]) > 0.9
    assert names["gradients"].shape == names["X_test"].shape
    inside = (names["low"] < names["middle"]) & (names["middle"] < names["high"])
    assert inside.mean() > 0.9
    assert names["mlp"].stopped_
    assert "BatchNorm()" in capsys.readouterr().out
