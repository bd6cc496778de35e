"""``python -m backprop export``: a model as a C file, with the scaling of its columns inside."""

import ctypes

import numpy as np
import pytest
from in_c import compiled, needs_a_compiler, rows

import backprop as bp
from backprop.__main__ import main
from backprop.commands.models import loaded


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of a number, a category and two targets."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    size, town = rng.normal(80, 20, 300).round(1), rng.choice(["A", "B", "C"], 300)
    rent = (8 * size + 100 * (town == "B")).round(2)
    lines = [f"{s},{t},{r},{'dear' if r > 700 else 'cheap'}" for s, t, r in zip(size, town, rent, strict=True)]
    (tmp_path / "flats.csv").write_text("size,town,rent,class\n" + "\n".join(lines) + "\n")
    return size, town, rent


def trained(*options):
    assert main(["train", "flats.csv", "--no-plot", "--epochs", "20", *options]) == 0


@needs_a_compiler
def test_a_model_of_a_number_gives_it_in_its_unit(table, tmp_path, capsys):
    size, town, _ = table
    trained("--target", "rent", "--drop", "class")
    model = loaded("flats.safetensors")
    x = np.column_stack([size, *(town == name for name in "ABC")]).astype(np.float32)
    expected = model.table.predict(model.read("flats.csv"))
    for how, tolerance in ([], 1e-3), (["--int8", "--calibration", "flats.csv"], 20):
        assert main(["export", "flats.safetensors", "--c", f"f{len(how)}.c", "--name", "flats", *how]) == 0
        library = compiled(tmp_path / f"f{len(how)}.c", tmp_path / f"f{len(how)}.so", "-shared", "-fPIC")
        np.testing.assert_allclose(rows(library, "flats", x, 1), expected, atol=tolerance)
    header = (tmp_path / "f0.h").read_text()
    assert "x[0]: size, as in the table, or NaN" in header and "x[2]: town=B, 1 where it is so, else 0" in header
    assert "f0.c: " in capsys.readouterr().out


@needs_a_compiler
def test_a_model_of_classes_classifies(table, tmp_path):
    size, town, rent = table
    trained("--target", "class", "--drop", "rent")
    assert main(["export", "flats.safetensors", "--c", "flats.c"]) == 0
    assert '#define flats_CLASSES {"cheap", "dear"}' in (tmp_path / "flats.h").read_text()
    library = ctypes.CDLL(str(compiled(tmp_path / "flats.c", tmp_path / "flats.so", "-shared", "-fPIC")))
    x = np.column_stack([size, *(town == name for name in "ABC")]).astype(np.float32)
    found = [library.flats_classify(row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))) for row in x]
    assert np.mean((rent > 700) == np.array(found)) > 0.9


def test_a_network_without_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bp.Sequential([bp.Dense(2, 1)], rng=0).save("net.safetensors")
    np.savetxt("rows.csv", np.random.default_rng(0).normal(size=(9, 2)), delimiter=",", header="a,b", comments="")
    assert main(["export", "net.safetensors", "--c", "net.c", "--int8", "--calibration", "rows.csv"]) == 0
    bp.Ensemble([bp.Sequential([bp.Dense(2, 1)], rng=i) for i in range(2)]).save("both.safetensors")
    assert main(["export", "both.safetensors", "--c", "both.c"]) == 0
    capsys.readouterr()
    (tmp_path / "words.csv").write_text("a,b\nx,y\n")
    for given, said in [
        (["net.safetensors", "--c", "net.txt"], "path: expected a name that ends in .c"),
        (["net.safetensors", "--c", "net.c", "--int8"], "--int8: expected --calibration FILE.csv"),
        (["net.safetensors", "--c", "net.c", "--calibration", "rows.csv"], "--calibration: expected it with --int8"),
        (["net.safetensors", "--c", "n.c", "--int8", "--calibration", "words.csv"], "words.csv: expected numbers"),
        (["none.safetensors", "--c", "net.c"], "none.safetensors"),
        (["net.safetensors"], "--c"),
    ]:
        assert main(["export", *given]) == 2
        assert said in capsys.readouterr().err
