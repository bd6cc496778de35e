"""Raw files, as spreadsheets and programs write them: all of them train and predict from the command line."""

import copy
import csv
import io
import json
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from signed import mutated

import backprop as bp
from backprop import tables
from backprop.__main__ import main
from backprop.commands.models import loaded
from backprop.commands.options import with_share
from backprop.tables.cells import digits


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def german(value):
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def flats(rows=300, **options):
    """A file such as Excel writes in Germany: a mark at its begin, semicolons, decimal commas, units, gaps."""
    rng = np.random.default_rng(5)
    size, town = rng.normal(80, 25, rows).clip(20), rng.choice(["Aachen", "Bonn", "Köln"], rows)
    day = np.datetime64("2019-01-01") + rng.integers(0, 1500, rows)
    rent = 8 * size + 300 * (town == "Bonn") + 0.3 * (day - np.datetime64("2019-01-01")).astype(int)
    lines = ['Nr;Wohnung;Größe;Ort;Datum;Anteil;Balkon;Land;Text;"Miete, kalt"']
    for i in range(rows):
        d = str(day[i])
        cells = [
            i + 1, f"W-{i:05}", "" if i % 20 == 3 else f"{german(size[i])} m2", town[i], f"{d[8:]}.{d[5:7]}.{d[:4]}",
            f"{german(i % 7)} %", ["ja", "nein"][i % 2], "D", f'"Wohnung in {town[i]}; die Nummer {i} der Liste"',
            "" if i % 30 == 7 else f"{german(rent[i])} €",
        ]  # fmt: skip
        lines.append(";".join(map(str, cells)))
    Path("flats.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    return size, rent


def test_a_raw_file_trains_and_predicts(run):
    _, rent = flats()
    status, out, _ = run("train", "flats.csv", "--target", "Miete, kalt", "--id", "Wohnung", "--no-plot")
    assert status == 0
    lines = out.splitlines()
    assert lines[:12] == [
        "Nr: dropped, identifier, all values differ (--numeric Nr keeps it)",
        "Wohnung: dropped, identifier, as asked",
        "Größe: number, decimal comma, m2 taken off, 15 of 290 cells missing",
        "Ort: category, 3 values",
        "Datum: date, day first",
        "Anteil: number, decimal comma, % taken off",
        "Balkon: category, 2 values",
        "Land: dropped, constant",
        "Text: dropped, free text, 290 different values in 290 rows (--category Text keeps it)",
        "Miete, kalt: target, number, decimal comma, points between thousands, € taken off",
        "10 of 300 rows left out: their Miete, kalt is missing",
        "flats.csv: 232 rows to train on, 58 others to test on",
    ]
    scores = dict(line.split(": ") for line in lines[-5:])
    names = [name.partition(",")[0] for name in scores]
    assert names[0].startswith("rmse of always predicting") and names[1].startswith("mae of always predicting")
    assert names[2:] == ["test rmse", "test mae", "test r2"]
    assert float(scores["test rmse"]) < 0.5 * float(next(iter(scores.values()))) and float(scores["test r2"]) > 0.8
    status, out, err = run("predict", "flats.safetensors", "flats.csv", "--interval", "0.9")
    rows = list(csv.reader(io.StringIO(out)))
    assert (status, err) == (0, "")
    assert rows[0] == ["Wohnung", "Miete, kalt", "Miete, kalt from", "Miete, kalt to"] and len(rows) == 301
    assert [row[0] for row in rows[1:]] == [f"W-{i:05}" for i in range(300)]
    y, low, high = np.array([row[1:] for row in rows[1:]], float).T
    assert ((low < y) & (y < high)).all() and np.mean((low <= rent) & (rent <= high)) > 0.85
    width = np.ptp(high - low)
    assert width < 0.02 * (high - low).mean()


def test_what_is_new_to_a_prediction_is_said(run):
    flats()
    run("train", "flats.csv", "--target", "Miete, kalt", "--id", "Wohnung", "--no-plot", "--epochs", 3)
    Path("new.csv").write_text("Ort;Größe;Datum;Anteil;Balkon\nUlm;;;;\nBonn;80,5 m2;1.2.2023;1,5 %;ja\n", "utf-8")
    status, out, err = run("predict", "flats.safetensors", "new.csv")
    assert status == 0 and len(out.splitlines()) == 3 and out.splitlines()[0] == '"Miete, kalt"'
    assert err.splitlines() == [
        "backprop: Ort: 1 of 2 cells unknown in training, such as 'Ulm'",
        "backprop: Datum: 1 of 2 cells missing, taken as the middle",
        "backprop: Anteil: 1 of 2 cells missing, taken as the median",
        "backprop: Balkon: 1 of 2 cells unknown in training, such as ''",
        "backprop: Wohnung: no such column",
    ]


ROWS = [(f"{i / 7:.3f}", str(i % 5), "uv"[i % 3 > 0], f"{(i % 3 > 0) + i / 1000:.3f}") for i in range(150)]
RAW = {
    "an empty cell in the header": (",a,b,c,y", [f"{i},{','.join(row)}" for i, row in enumerate(ROWS)], "y"),
    "a delimiter behind each line": ("a,b,c,y,", [f"{','.join(row)}," for row in ROWS], "y"),
    "one behind each row": ("a,b,c,y", [f"{','.join(row)}," for row in ROWS], "y"),
    "names of rows": ('"a","b","c","y"', [f'"{i}",{",".join(row)}' for i, row in enumerate(ROWS)], "y"),
    "a name twice": ("a,a,c,y", [",".join(row) for row in ROWS], "y"),
    "empty cells": ("a,b,c,y", [",".join("" if (i + j) % 11 == 0 else cell for j, cell in enumerate(row))
                                for i, row in enumerate(ROWS)], "y"),
    "more than 256 texts": ("a,b,c,y", [f"{row[0]},n{i % 400},{row[2]},{row[3]}" for i, row in enumerate(ROWS * 8)], "y"),
    "a header that counts": ("0,1,2,3", [",".join(row) for row in ROWS], "3"),
    "a header of years": ("2019,2020,2021,2022", [",".join(row) for row in ROWS], "2022"),
    "a header at one distance": ("900.5,901.0,901.5,902.0", [f"{i % 9}.5,{i % 8}.5,{i % 7},{i % 9}.25" for i in range(90)],
                                 "902.0"),
    "no header": (None, [",".join(row) for row in ROWS], "4"),
    "no header, and classes": (None, [",".join(row) for row in ROWS], "3"),
    "a delimiter that is declared": ("sep=;\na;b;c;y", [";".join(row) for row in ROWS], "y"),
    "a column of one text": ("a,b,c,y", [f"{row[0]},{row[1]},same,{row[3]}" for row in ROWS], "y"),
}  # fmt: skip


@pytest.mark.parametrize(("header", "rows", "target"), RAW.values(), ids=RAW)
@pytest.mark.filterwarnings("error")
def test_raw_files_go_through(run, header, rows, target):
    Path("t.csv").write_text("\n".join([*([] if header is None else [header]), *rows, ""]), "utf-8")
    status, out, err = run("train", "t.csv", "--target", target, "--epochs", 2, "--no-plot")
    assert status == 0, err
    assert ("t.csv: no header, the first row looks like data" in out) == (header is None)
    given = sum(1 for cell in tables.read("t.csv", header is not None, True).cells(target) if cell)
    assert f"{round(0.8 * given):,} rows" in out or f"{given - round(0.2 * given):,} rows" in out
    status, out, _ = run("predict", "t.safetensors", "t.csv")
    assert status == 0 and len(out.splitlines()) == 1 + len(rows)


def test_names_that_are_asked_for_make_a_header(run):
    Path("t.csv").write_text("\n".join(["7,5,11", *[f"{i % 9},{i % 13},{i % 17}" for i in range(90)]]), "utf-8")
    assert "no header" in run("train", "t.csv", "--target", 1, "--epochs", 1, "--no-plot")[1]
    assert run("train", "t.csv", "--target", 11, "--epochs", 1, "--no-plot")[0] == 0
    assert tables.read("t.csv", None, True, ["11"]).has_header and not tables.read("t.csv", None, True).has_header


def test_names_of_its_own_for_each_column():
    rows = "1,2,3,4,5\n" * 3
    for header, names in (
        (",a,,a,a.1", ["Unnamed: 0", "a", "Unnamed: 2", "a.2", "a.1"]),
        ("b,b,b,b,b", ["b", "b.1", "b.2", "b.3", "b.4"]),
        ("Unnamed: 1,,c,d,e", ["Unnamed: 1", "Unnamed: 1.1", "c", "d", "e"]),
    ):  # fmt: skip
        Path("t.csv").write_text(f"{header}\n{rows}", "utf-8")
        assert list(tables.read("t.csv", True, True).columns) == names
        with pytest.raises(ValueError, match="expected a name of its own"):
            tables.read("t.csv", True)


def species(rows=200):
    rng = np.random.default_rng(0)
    lines = ["size,colour,kind"]
    for i in range(rows):
        size = (i % 3 > 0) + 0.1 * rng.standard_normal()
        lines.append(f"{size:.3f},{'red' if i % 3 == 1 else 'blue'},kind {i % 3}")
    Path("t.csv").write_text("\n".join(lines), "utf-8")


def test_scores_that_people_expect(run):
    species()
    out = run("train", "t.csv", "--target", "kind", "--no-plot")[1].splitlines()
    at = next(i for i, line in enumerate(out) if line.startswith("confusion matrix of the test rows"))
    assert out[at + 1].split() == ["kind", "0", "kind", "1", "kind", "2"]
    counts = np.array([[int(cell) for cell in line.split()[2:]] for line in out[at + 2 : at + 5]])
    assert counts.sum() == np.trace(counts) == 39
    assert out[at + 5] == "test auc: 1.0000" and float(out[at + 6].removeprefix("test log loss: ")) < 0.2
    assert out[at + 7].startswith("accuracy of always predicting kind 0: 3") and out[-1] == "test accuracy: 100.0 %"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train t.csv --target kind --folds 1", "--folds: expected a whole number from 2"),
        ("train t.csv --target kind --folds 1000", "--folds: expected at most the 48 rows to train on, got 1,000"),
        ("train t.csv --target kind --folds 2 --no-early-stopping", "--folds: expected none with --no-early-stopping"),
        ("train t.csv --target kind --time-limit 0", "--time-limit: expected a finite number above 0, got 0.0"),
        ("train t.csv --target kind --preset slow", "argument --preset: invalid choice: 'slow'"),
        ("train xor --folds 3", "--folds: expected only with a CSV file, got 3 with xor"),
        ("train xor --preset fast", "--preset: expected only with a CSV file, got 'fast' with xor"),
        ("train t.csv --target kind --date colour", "t.csv, row 2, column 'colour': expected a date, got 'blue'"),
        ("train t.csv --target kind --id kind", "--id: expected a column beside the target, got 'kind'"),
        ("predict m.safetensors t.csv --interval", "--interval: expected a model of a number, got one of classes, 'kind'"),
        ("predict n.safetensors t.csv --interval 0.99", "--interval: expected at least 99 held-out rows for 0.99, got"),
        ("predict n.safetensors t.csv --interval 1", "--interval: expected a finite number above 0 and below 1, got 1.0"),
        ("predict old.safetensors t.csv --interval", "--interval: expected at least 9 held-out rows for 0.9, got 0: ask"),
        ("predict edited.safetensors t.csv", "edited.safetensors: residuals: expected them from 0 on, in ascending order"),
        ("predict named.safetensors t.csv", "named.safetensors: id: expected names of columns, got 5"),
    ],
)  # fmt: skip
def test_what_does_not_make_sense_is_refused(run, command, message):
    species(60)
    assert run("train", "t.csv", "--target", "kind", "--output", "m.safetensors", "--epochs", 1, "--no-plot")[0] == 0
    assert run("train", "t.csv", "--target", "size", "--output", "n.safetensors", "--epochs", 1, "--no-plot")[0] == 0
    ensemble = bp.Ensemble.load("n.safetensors")
    told = copy.deepcopy(ensemble[0].metadata)
    for name, part, key, value in (
        ("old", "table", "residuals", None), ("edited", "table", "residuals", [[2.0], [1.0]]), ("named", "file", "id", [5]),
    ):  # fmt: skip
        ensemble[0].metadata[part][key] = value
        ensemble.save(f"{name}.safetensors")
        ensemble[0].metadata = copy.deepcopy(told)
    status, _, err = run(*command.split())
    assert status == 2 and message in err and err.count("\n") == 1


def test_an_interval_has_a_share_or_the_usual_one():
    assert with_share(["predict", "--interval", "m", "t"]) == ["predict", "--interval=0.9", "m", "t"]
    assert with_share(["predict", "m", "t", "--interval"]) == ["predict", "m", "t", "--interval=0.9"]
    assert with_share(["--interval", "0.8", "m"]) == ["--interval", "0.8", "m"]


def test_a_table_from_a_pipe_to_a_pipe(run, monkeypatch):
    species()
    content = Path("t.csv").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run("train", "-", "--target", "kind", "--epochs", 3, "--no-plot")[0] == 0
    expected = run("predict", "stdin.safetensors", "t.csv")[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run("predict", "stdin.safetensors", "-")[1] == expected


def test_folds_are_an_ensemble(run):
    species()
    status, out, _ = run(
        "train", "t.csv", "--target", "kind", "--folds", 3, "--epochs", 30, "--no-plot", "--threads", 1
    )
    assert status == 0 and "best epochs: " in out and out.splitlines()[-1] == "test accuracy: 100.0 %"
    ensemble = bp.Ensemble.load("t.safetensors")
    assert len(ensemble) == 3
    status, said, _ = run("predict", "t.safetensors", "t.csv", "--proba")
    p = np.array([row[1:] for row in csv.reader(io.StringIO(said))][1:], np.float32)
    np.testing.assert_array_equal(p, loaded("t.safetensors").table.predict(tables.read("t.csv")))
    status, said, _ = run("trace", "t.safetensors", "t.csv", "--member", 2)
    assert status == 0 and said.startswith("t.safetensors: network 2 of 3 (--member N traces another)\n")


def test_presets_and_the_time_limit(run):
    species(60)
    counts = []
    for preset in "fast", "default", "best":
        assert run("train", "t.csv", "--target", "kind", "--preset", preset, "--epochs", 2, "--no-plot")[0] == 0
        counts.append(len(loaded("t.safetensors").table.ensemble))
        assert len(run("predict", "t.safetensors", "t.csv")[1].splitlines()) == 61
    assert counts[0] == 1 < counts[1] < counts[2]
    assert run("train", "t.csv", "--target", "kind", "--time-limit", 0.5, "--no-plot", "--epochs", 100_000)[0] == 0
    assert loaded("t.safetensors").table.ensemble[0].epochs < 100_000


@pytest.mark.parametrize(
    ("target", "options", "parameters"),
    [
        ("rent", "", {}),
        ("rent", "--preset fast --seed 7", {"preset": "fast", "random_state": 7}),
        ("rent", "--preset best --folds 3", {"preset": "best", "cv": 3}),
        ("town", "--preset default --members 2", {"n_members": 2}),
        ("town", "--folds 2 --members 2 --hidden 8,8", {"cv": 2, "n_members": 2, "hidden_layer_sizes": (8, 8)}),
    ],
)
def test_the_command_line_and_a_frame_are_one(run, target, options, parameters):
    """The same table, preset, seed and members: the same predictions, to the last bit."""
    pandas, ours = pytest.importorskip("pandas"), pytest.importorskip("backprop.sklearn")
    _, rent = flats(200)
    given = np.arange(200) % 30 != 7
    frame, y = pandas.read_csv("flats.csv", sep=";"), np.array([float(f"{value:.2f}") for value in rent])[given]
    estimator = ours.RealMLPRegressor
    if target == "town":
        estimator, y, given = ours.RealMLPClassifier, frame.Ort, slice(None)
    column = {"rent": "Miete, kalt", "town": "Ort"}[target]
    command = ["train", "flats.csv", "--target", column, "--epochs", 3, "--no-plot", "--test-fraction", 0]
    assert run(*command, *options.split())[0] == 0
    model = estimator(epochs=3, **{"random_state": 0, **parameters})
    with pytest.warns(UserWarning, match="text is left out"):
        model.fit(frame.drop(columns=column)[given], y)
    expected = model.model_.predict(frame)
    np.testing.assert_array_equal(loaded("flats.safetensors").table.predict(tables.read("flats.csv")), expected)
    said = [
        *csv.reader(io.StringIO(run("predict", "flats.safetensors", "flats.csv", *["--proba"] * (target == "town"))[1]))
    ]
    if target == "town":
        np.testing.assert_array_equal(np.array([row[1:] for row in said[1:]], np.float32), expected)
    else:
        np.testing.assert_allclose(np.array(said[1:], float), expected, rtol=1e-6)


def test_the_command_line_and_a_frame_reach_the_same_score(run):
    pandas, realmlp = pytest.importorskip("pandas"), pytest.importorskip("backprop.sklearn").RealMLPRegressor
    _, rent = flats(900)
    out = run("train", "flats.csv", "--target", "Miete, kalt", "--no-plot", "--epochs", 5)[1]
    given = np.arange(900) % 30 != 7
    rent = np.array([float(f"{value:.2f}") for value in rent])[given]
    frame = pandas.read_csv("flats.csv", sep=";").drop(columns="Miete, kalt")[given]
    train, test = bp.datasets.hold_out(np.zeros(given.sum()), np.random.default_rng(0))
    with pytest.warns(UserWarning, match="text is left out"):
        estimator = realmlp(random_state=0, epochs=5).fit(frame.iloc[train], rent[train])
    other = np.sqrt(np.mean((estimator.predict(frame.iloc[test]) - rent[test]) ** 2))
    assert f"test rmse: {digits(float(f'{other:.4g}'))}" in out.splitlines()


def lines(rows=60):
    """Cells of a column of numbers, and of one of classes that they tell."""
    x = np.random.default_rng(0).normal(size=rows)
    return [(f"{value:.3f}", "red" if value > 0 else "blue") for value in x]


def test_columns_of_one_name_are_told_apart_and_that_is_said(run):
    Path("t.csv").write_text("a,b,a,y\n" + "\n".join(f"{i % 7},{x},{x},{y}" for i, (x, y) in enumerate(lines())))
    status, out, _ = run("train", "t.csv", "--target", "y", "--preset", "fast", "--epochs", 1, "--no-plot")
    assert status == 0 and out.startswith(
        "t.csv: several columns are called a: the others a.1 and so on, in their order\n"
    )
    assert [feature.name for feature in loaded("t.safetensors").table.encoding.encoder.features_] == ["a", "b", "a.1"]
    status, _, err = run("train", "t.csv", "--target", "a", "--no-plot")
    assert status == 2 and "t.csv: expected one column 'a' to predict, got several: rename the others" in err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("delimiter", ["|", ";", "\t"])
def test_excel_writes_it_so(run, encoding, delimiter):
    head, *rest = [("Größe", "Wort"), *lines()]
    Path("t.csv").write_bytes("\r\n".join(delimiter.join(cells) for cells in (head, *rest)).encode(encoding))
    status, out, _ = run("train", "t.csv", "--target", "Wort", "--preset", "fast", "--epochs", 1, "--no-plot")
    assert status == 0 and out.startswith("Größe: number\nWort: target, 2 classes (blue, red)\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,y\n1,2", "column 'y': expected at least 2 classes, and fewer than the 1 rows, got 1: there is but one row"),
        ("a,y\n1,5\n2,5\n3,5", "rows, got 1: all are '5', which leaves nothing to learn"),
        ("a,y\n1,\n2,NA\n3,", "column 'y': expected a value in some rows, got none: all 3 cells are missing"),
        ("a y\n1 2\n3 4", "no column 'y' in t.csv: it has a y: expected commas, semicolons, tabs or | between cells"),
        ("ä,y\n1,2", 'expected UTF-8, got the byte 0xe4: save it as "CSV UTF-8", or convert it'),
    ],
)
def test_what_cannot_be_learned_is_said(run, content, said):
    Path("t.csv").write_bytes(content.encode("latin-1"))
    status, out, err = run("train", "t.csv", "--target", "y", "--no-plot")
    assert (status, out) == (2, "") and said in err and err.count("\n") == 1


def test_a_rare_category_is_not_called_unknown(run):
    rng = np.random.default_rng(0)
    rows = [f"word{i if i < 300 else rng.integers(200)},{rng.normal():.2f},{'ab'[i % 2]}" for i in range(900)]
    Path("t.csv").write_text("w,x,y\n" + "\n".join(rows))
    assert run("train", "t.csv", "--target", "y", "--preset", "fast", "--epochs", 1, "--no-plot")[0] == 0
    assert " cells rare or unknown in training, such as " in run("predict", "t.safetensors", "t.csv")[2]


def test_what_a_file_says_around_its_networks_is_not_believed(run):
    """Edited anywhere, a model is refused or predicts; nothing else happens."""
    flats(60)
    assert run("train", "flats.csv", "--target", "Miete, kalt", "--preset", "fast", "--epochs", 1, "--no-plot")[0] == 0
    net, rng, refused = bp.load("flats.safetensors"), random.Random(0), 0
    good = json.dumps(net.metadata)
    for _ in range(150):
        with suppress(ValueError, TypeError, RecursionError):  # what no file can hold
            net.metadata = json.loads(mutated(json.loads(good), rng))
            net.save("edited.safetensors")
        status, _, err = run("predict", "edited.safetensors", "flats.csv")
        refused += status == 2
        assert status in (0, 2) and (status == 0 or err.startswith("backprop: error: "))
    assert refused > 75
