"""The command line: what it prints, what it writes, and how it ends."""

import csv
import errno
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_datasets import MNIST, needs_mnist

import backprop as bp
from backprop import datasets
from backprop import tables as bp_tables
from backprop.__main__ import main
from backprop.commands.models import loaded
from backprop.commands.scores import below

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; its exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def start(*arguments: str, stdin: Any = None, stdout: Any = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    command = [sys.executable, "-m", "backprop", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment)


def flowers(rows: int = 90) -> list[list[str]]:
    """A table that can be learned: the species depends on the size and, between two of them, on the colour."""
    rng = np.random.default_rng(0)
    table = [["size", "colour", "species", "weight"]]
    for i in range(rows):
        size = (i % 3 > 0) + 0.1 * rng.standard_normal()
        colour = "red" if i % 3 == 1 else "blue"
        table.append([f"{size:.3f}", colour, f"species {i % 3}", f"{20 + 10 * size + (colour == 'red'):.3f}"])
    return table


def write(path: str, table: list[list[str]], **options: Any) -> str:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, **options).writerows(table)
    return path


def written() -> set[str]:
    return {path.name for path in Path.cwd().iterdir()}


# Training by name


def test_digits_the_main_job(run: Run) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    status, out, err = run("train", "digits")
    assert status == 0
    assert "digits: 1,438 rows to train on, 359 others to test on" in out and "Dense(64, " in out
    found = re.fullmatch(r"test accuracy: (\d+\.\d) %", out.splitlines()[-1])
    assert found and float(found[1]) >= 97
    assert err  # the progress
    assert written() == {"digits.safetensors", "digits.png"}
    assert Path("digits.png").read_bytes().startswith(b"\x89PNG")
    assert bp.load("digits.safetensors").n_in == 64


def test_the_same_seed_gives_the_same_model(run: Run) -> None:
    for name, seed in ("a", 0), ("b", 0), ("c", 1):
        assert run("train", "moons", "--seed", seed, "--epochs", 2, "--output", f"{name}.safetensors")[0] == 0
    a, b, c = (Path(f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 6), marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "least"), [("xor", 100.0), ("moons", 95.0)])
def test_xor_and_moons_are_learned_whatever_the_seed(run: Run, name: str, least: float, seeds: range) -> None:
    for seed in seeds:
        status, out, _ = run("train", name, "--no-plot", "--seed", seed)
        assert status == 0 and float(out.splitlines()[-1].split()[-2]) >= least
    assert written() == {f"{name}.safetensors"}


def test_the_options_are_heeded(run: Run) -> None:
    command = "train moons --hidden 5,4 --epochs 3 --batch-size 100 --learning-rate 0.01 --threads 1 --no-plot --output"
    status, _, _ = run(*command.split(), "m.safetensors")
    net = bp.load("m.safetensors")
    assert status == 0 and written() == {"m.safetensors"}
    assert [layer.n_out for layer in net.layers] == [5, 4, 2]
    assert net.epochs == 3 and net.steps == 3 * 8


@pytest.mark.slow
@needs_mnist
def test_mnist(run: Run) -> None:
    status, out, _ = run("train", "mnist", "--data", MNIST, "--no-plot")
    assert status == 0 and "60,000 rows to train on, 10,000 others to test on" in out
    assert "Dense(784, 128, 'relu')" in out and bp.load("mnist.safetensors").epochs == 5
    assert float(out.splitlines()[-1].split()[-2]) >= 97.5


def test_without_matplotlib_there_is_a_line_instead_of_a_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "matplotlib", "matplotlib.figure":
        monkeypatch.setitem(sys.modules, name, None)
    status, out, _ = run("train", "xor", "--epochs", 5)
    assert status == 0 and written() == {"xor.safetensors"}
    assert 'no picture: pictures are drawn by matplotlib: pip install "backprop-nn[plot]"' in out.splitlines()


# Tables


def test_classes_of_a_table(run: Run) -> None:
    table = [[row[0], row[1], row[2]] for row in flowers()]
    status, out, _ = run("train", write("flowers.csv", table), "--target", "species")
    assert status == 0 and out.splitlines()[-1] == "test accuracy: 100.0 %"
    assert "flowers.csv: 72 rows to train on, 18 others to test on" in out
    status, out, err = run("predict", "flowers.safetensors", "flowers.csv")
    rows = list(csv.reader(io.StringIO(out)))
    assert (status, err, rows[0]) == (0, "", ["species", "probability"])
    assert [row[0] for row in rows[1:]] == [row[2] for row in table[1:]]
    assert all(0.5 < float(row[1]) <= 1 for row in rows[1:])


def test_numbers_of_a_table(run: Run) -> None:
    table = flowers()
    status, out, _ = run("train", write("flowers.csv", table, delimiter=";"), "--target", "weight", "--no-plot")
    name, score = out.splitlines()[-1].split(": ")
    assert status == 0 and name == "test r2" and 0.9 < float(score) <= 1
    status, out, _ = run("predict", "flowers.safetensors", "flowers.csv")
    head, *values = out.splitlines()
    assert head == "weight"
    np.testing.assert_allclose(np.array(values, float), [float(row[3]) for row in table[1:]], atol=2.5)


def test_the_target_may_be_absent_and_columns_in_any_order(run: Run) -> None:
    table = flowers()
    assert run("train", write("t.csv", table), "--target", "species", "--epochs", 5, "--no-plot")[0] == 0
    expected = run("predict", "t.safetensors", "t.csv")
    write("u.csv", [[row[3], row[1], row[0]] for row in table])
    assert run("predict", "t.safetensors", "u.csv") == expected
    one = run("predict", "t.safetensors", write("one.csv", [table[0], table[5]]))[1]
    assert one.splitlines()[1] == expected[1].splitlines()[5]


def test_a_class_may_be_named_as_it_likes(run: Run) -> None:
    rename = {"species 0": 'a,"b"', "species 1": "漢 字", "species 2": "x\ny"}
    table = [[row[0], row[1], rename.get(row[2], row[2])] for row in flowers()]
    assert run("train", write("t.csv", table), "--target", "species", "--no-plot")[0] == 0
    out = run("predict", "t.safetensors", "t.csv")[1]
    assert [row[0] for row in csv.reader(io.StringIO(out, newline=""))] == [row[2] for row in table]


def test_how_columns_are_read_is_said(run: Run) -> None:
    table = [["id", *flowers()[0]], *[[str(i), *row] for i, row in enumerate(flowers()[1:])]]
    table[5][3] = table[6][3] = ""
    table[7][1] = "NA"
    command = "--target species --epochs 2 --no-plot"
    status, out, _ = run("train", write("t.csv", table), *command.split())
    assert status == 0 and out.splitlines()[:7] == [
        "id: dropped, identifier, all values differ (--numeric id keeps it)",
        "size: number, 1 of 88 cells missing",
        "colour: category, 2 values",
        "species: target, 3 classes (species 0, species 1, species 2)",
        "weight: number",
        "2 of 90 rows left out: their species is missing",
        "t.csv: 70 rows to train on, 18 others to test on",
    ]
    status, out, _ = run("predict", "t.safetensors", "t.csv")
    assert status == 0 and len(out.splitlines()) == 91  # an answer for every row


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--numeric id", "id: number"),
        ("--category size,id", "id: category, 90 values"),
        ("--category size --category id", "size: category, "),
        ("--drop size,id", "size: dropped, as asked"),
        ("--drop a,b", "a,b: dropped, as asked"),
        ("--drop a,b --drop id,size", "id: dropped, as asked"),
        ("--task classification --target a,b", "a,b: target, 5 classes (0, 1, 2, 3, 4)"),
        ("--task regression --target a,b", "a,b: target, number"),
    ],
)
def test_options_say_how_columns_are_read(run: Run, options: str, said: str) -> None:
    table = [["id", "a,b", *row] if i == 0 else [str(i), str(i % 5), *row] for i, row in enumerate(flowers())]
    command = "--target weight --epochs 1 --no-plot"
    status, out, _ = run("train", write("t.csv", table), *command.split(), *options.split())
    assert status == 0 and any(line.startswith(said) for line in out.splitlines())
    status, _, err = run("predict", "t.safetensors", "t.csv")
    assert status == 0 and ("cells unknown in training" in err) == ("--category" in options)  # ids of the test rows


def test_a_target_of_a_few_whole_numbers_is_classes_and_that_is_said(run: Run) -> None:
    table = [["x", "grade"], *[[f"{i % 9}.5", str(1 + i % 9)] for i in range(90)]]
    out = run("train", write("t.csv", table), "--target", "grade", "--epochs", 1, "--no-plot")[1]
    said = "grade: target, 9 classes (1, 2, 3, 4, 5, 6, 7, 8, 9), --task regression would predict a number"
    assert out.splitlines()[1] == said
    assert run("predict", "t.safetensors", "t.csv")[1].splitlines()[0] == "grade,probability"
    out = run("train", "t.csv", "--target", "grade", "--task", "regression", "--epochs", 1, "--no-plot")[1]
    assert out.splitlines()[1] == "grade: target, number"
    assert run("predict", "t.safetensors", "t.csv")[1].splitlines()[0] == "grade"


def test_a_table_without_a_header(run: Run) -> None:
    table = flowers()[1:]
    status, out, _ = run("train", write("t.csv", table), "--no-header", "--target", 3, "--no-plot")
    assert status == 0 and "t.csv: 72 rows to train on" in out and "3: target, 3 classes" in out
    expected = run("predict", "t.safetensors", "t.csv")
    assert expected[0] == 0 and len(expected[1].splitlines()) == 91
    write("u.csv", [[row[0], row[1], row[3]] for row in table])
    assert run("predict", "t.safetensors", "u.csv") == expected


def test_a_header_of_numbers(run: Run) -> None:
    table = [["2019", "2020", "2021"], *[[f"{i}.5", f"{i}", f"{2 * i}.5"] for i in range(60)]]
    assert run("train", write("t.csv", table), "--target", 2021, "--epochs", 1, "--no-plot")[0] == 0
    assert run("predict", "t.safetensors", "t.csv")[1].splitlines()[0] == "2021"
    table[0] = ["7", "5", "8"]
    out = run("train", write("t.csv", table), "--target", 3, "--epochs", 1, "--no-plot")[1]
    assert "t.csv: no header, the first row looks like data (--header, if it names the columns)" in out
    assert "t.csv: 49 rows to train on, 12 others" in out
    status, out, _ = run("train", "t.csv", "--header", "--target", 8, "--epochs", 1, "--no-plot")
    assert status == 0 and "t.csv: 48 rows to train on, 12 others" in out and "no header" not in out


def test_a_model_of_the_first_version(run: Run) -> None:
    net = bp.Sequential([bp.Dense(3, 1)], rng=0)
    net.metadata["recipe"] = {
        "inputs": [
            {"name": "size", "mean": 0.5, "deviation": 0.25},
            {"name": "colour", "categories": ["blue", "red"]},
        ],
        "target": {"name": "weight", "mean": 20.0, "deviation": 10.0},
    }
    net.save("old.safetensors")
    table = flowers()
    x = np.float32([[(float(row[0]) - 0.5) / 0.25, row[1] == "blue", row[1] == "red"] for row in table[1:]])
    status, out, err = run("predict", "old.safetensors", write("t.csv", table))
    assert (status, err) == (0, "")
    np.testing.assert_allclose(np.array(out.splitlines()[1:], float), 20 + 10 * net.predict(x)[:, 0], rtol=1e-6)
    assert run("trace", "old.safetensors", "t.csv")[0] == 0
    assert run("export", "old.safetensors", "--c", "old.c", "--onnx", "old.onnx")[0] == 0
    assert "x[1]: colour=blue, 1 where it is so, else 0" in Path("old.h").read_text()


# Digits


def test_large_numbers_that_differ_a_little_are_printed_so(run: Run) -> None:
    table = [["x", "y"], *[[f"{i % 10}", f"{250_000_000 + i % 10 - 5}"] for i in range(200)]]
    write("t.csv", table)
    assert run("train", "t.csv", "--target", "y", "--task", "regression", "--no-plot")[0] == 0
    values = run("predict", "t.safetensors", "t.csv")[1].splitlines()[1:11]
    assert len(set(values)) == 10
    assert np.allclose(np.array(values, float), 250_000_000 + np.arange(10) - 5, rtol=0, atol=1)
    model = loaded("t.safetensors")
    z = model.table.ensemble.predict(model.table.encoding(model.read("t.csv").rows(range(10))))[:, 0]
    back = (np.array(values, float) - model.target.mean) / model.target.deviation
    np.testing.assert_allclose(back, z, rtol=0, atol=6e-8)


def test_probabilities_are_printed_as_they_are(run: Run) -> None:
    assert run("train", write("t.csv", flowers()), "--target", "species", "--no-plot")[0] == 0
    one = list(csv.reader(io.StringIO(run("predict", "t.safetensors", "t.csv")[1])))
    all_of_them = list(csv.reader(io.StringIO(run("predict", "t.safetensors", "t.csv", "--proba")[1])))
    assert all_of_them[0] == ["species", "species 0", "species 1", "species 2"]
    p = np.array([row[1:] for row in all_of_them[1:]], np.float32)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert [row[0] for row in one] == [row[0] for row in all_of_them]
    np.testing.assert_array_equal(np.array([row[1] for row in one[1:]], np.float32), p.max(axis=1))
    assert len({row[1] for row in one[1:]}) == len(np.unique(p.max(axis=1))) > 30
    np.testing.assert_array_equal(loaded("t.safetensors").table.predict(bp_tables.read("t.csv")), p)  # to the last bit


# What training says of itself


def test_scores_are_those_of_the_rows_held_out(run: Run) -> None:
    table = [["x", "y"], *[[f"{i / 10}", f"{1000 + 100 * np.sin(i / 10):.3f}"] for i in range(100)]]
    out = run("train", write("t.csv", table), "--target", "y", "--no-plot", "--epochs", 20)[1].splitlines()
    test = datasets.hold_out(np.zeros(100), np.random.default_rng(0))[1]
    said = np.array(run("predict", "t.safetensors", "t.csv")[1].splitlines()[1:], float)[test]
    true = np.array([row[1] for row in table[1:]], float)[test]
    scores = dict(line.split(": ") for line in out[-3:])
    assert list(scores) == ["test rmse", "test mae", "test r2"]
    assert float(scores["test rmse"]) == pytest.approx(np.sqrt(np.mean((said - true) ** 2)), rel=1e-3)
    assert float(scores["test mae"]) == pytest.approx(np.mean(abs(said - true)), rel=1e-3)
    r2 = 1 - np.sum((said - true) ** 2) / np.sum((true - true.mean()) ** 2)
    assert float(scores["test r2"]) == pytest.approx(r2, abs=1.1e-4)


def test_accuracy_stands_beside_the_share_of_the_largest_class(run: Run) -> None:
    table = [["x", "y"], *[[f"{i % 7}.5", "rare" if i % 10 == 0 else "common"] for i in range(200)]]
    out = run("train", write("t.csv", table), "--target", "y", "--no-plot", "--epochs", 5)[1].splitlines()
    assert out[-2:] == ["accuracy of always predicting common: 90.0 %", "test accuracy: 90.0 %"]


@pytest.mark.parametrize(
    ("share", "said"), [(1, "100.0"), (0.99999, "99.9"), (0.57, "57.0"), (0, "0.0"), (1 / 3, "33.3")]
)
def test_only_what_is_perfect_looks_so(share: float, said: str) -> None:
    assert below(100 * share, 1) == said


def test_training_stops_early_with_the_best_weights(run: Run) -> None:
    rng = np.random.default_rng(0)
    table = [["a", "b", "c", "y"], *[[f"{v:.3f}" for v in row] for row in rng.normal(size=(200, 4))]]
    for row in table[1:]:
        row[3] = f"{float(row[0]) + float(row[3]):.3f}"  # half of it noise
    options = "--target y --no-plot --members 1 --epochs 200 --hidden 128,128 --learning-rate 0.01"
    command = ["train", write("t.csv", table), *options.split()]
    out = run(*command)[1]
    found = re.search(r"^best epoch: (\d+) of (\d+), by the loss on (\d+) training rows held out$", out, re.M)
    assert found and int(found[3]) == 32
    best, epochs = int(found[1]), int(found[2])
    assert best + 100 == epochs < 200
    without = run(*command, "--no-early-stopping")[1]
    assert "best epoch" not in without

    def rmse(out: str) -> float:
        return float(out.splitlines()[-3].split(": ")[1])

    assert rmse(out) < 0.9 * rmse(without)


def test_a_single_network_of_all_rows(run: Run) -> None:
    command = ["train", write("t.csv", flowers(30)), "--target", "species", "--no-plot", "--epochs", 20, "--members", 1]
    out = run(*command)[1]
    assert "of 20, by the loss on 6 training rows held out" in out
    out = run(*command, "--no-early-stopping")[1]
    assert "best epoch" not in out and bp.load("t.safetensors").epochs == 20


def test_the_rows_to_test_on(run: Run) -> None:
    said = "--test-fraction 0.99: expected some rows of each class to train on, got none: ask for less"
    status, out, err = run("train", write("t.csv", flowers(9)), "--target", "species", "--test-fraction", 0.99)
    assert (status, out) == (2, "") and said in err
    command = ["train", write("t.csv", flowers()), "--target", "species", "--no-plot", "--epochs", 2]
    for share, train in (0, 90), (0.1, 81), (0.5, 45):
        status, out, _ = run(*command, "--test-fraction", share)
        assert status == 0 and f"t.csv: {train} rows to train on, {90 - train} others" in out
        assert ("test accuracy" in out) == (share > 0)


def test_a_step_on_xor_is_traced(run: Run) -> None:
    status, printed, _ = run("trace", "xor", "--seed", 3, "--learning-rate", 0.5)
    net = bp.Sequential([bp.Dense(2, 2, "sigmoid"), bp.Dense(2, 1, "sigmoid")], rng=3, dtype="float64")
    x, y = datasets.xor()
    assert (status, printed) == (0, f"{net.trace(x, y, 'mse', optimizer=bp.SGD(0.5))}\n")
    status, printed, _ = run("trace", "xor", "--seed", 3, "--row", 2, "--explain", "0.weight[1,0]")
    assert printed == f"{net.trace(x[1:2], y[1:2], 'mse', optimizer='sgd').explain('0.weight[1,0]')}\n"


def test_a_trace_is_written_as_a_page(run: Run) -> None:
    status, printed, _ = run("trace", "xor", "--html", "trace.html")
    assert (status, printed) == (0, "page: trace.html\n")
    assert "0.weight[1,0] = " in Path("trace.html").read_text(encoding="utf-8")
    assert run("trace", "xor", "--html", "nowhere/trace.html")[0] == 2


@pytest.mark.parametrize(("target", "loss"), [("species", "cross_entropy"), ("weight", "mse")])
def test_a_step_on_a_row_of_a_table_is_traced(run: Run, target: str, loss: str) -> None:
    write("flowers.csv", flowers())
    run("train", "flowers.csv", "--target", target, "--epochs", 2, "--no-plot")
    model = loaded("flowers.safetensors")
    table = model.read("flowers.csv").rows([3])
    x = model.table.encoding(table)
    y = model.target.labels(table) if isinstance(model.target, bp_tables.Text) else model.target.encode(table)
    nets = model.table.ensemble
    for net in nets:
        net.feature_names = model.table.encoding.names
    which = "flowers.safetensors: network {} of 4 (--member N traces another)\n"
    status, printed, _ = run("trace", "flowers.safetensors", "flowers.csv", "--row", 5, "--optimizer", "adam")
    assert (status, printed) == (0, f"{which.format(1)}{nets[0].trace(x, y, loss, optimizer='adam')}\n")
    assert f"    input[0,0] = {x[0, 0]:.6g}, size\n" in printed
    command = ["trace", "flowers.safetensors", "flowers.csv", "--row", 5, "--evaluation", "--member", 3]
    status, printed, _ = run(*command)
    assert (status, printed) == (0, f"{which.format(3)}{nets[2].trace(x, y, loss, training=False)}\n")
    for arguments, message in (
        (["flowers.safetensors"], "trace: expected xor, or a model and a table, got 'flowers.safetensors' alone"),
        (["flowers.safetensors", "flowers.csv", "--row", 1], "--row: expected one from 2 to 91, got 1"),
        (["flowers.safetensors", "flowers.csv", "--member", 5], "--member: expected a whole number from 1 to 4, got 5"),
        (["xor", "flowers.csv"], "trace: expected no table after xor, got 'flowers.csv'"),
        (
            ["flowers.safetensors", "flowers.csv", "--html", "flowers.csv"],
            "flowers.csv: expected another file than the model and the table, flowers.csv, to write to: use --html",
        ),
        (["xor", "--evaluation", "--optimizer", "adam"], "--optimizer: expected none with --evaluation"),
        (["xor", "--evaluation", "--learning-rate", 1], "--learning-rate: expected none with --evaluation"),
        (["xor", "--row", 5], "--row: expected a whole number from 1 to 4, got 5"),
        (["xor", "--explain", "2.z"], "name: expected one of input, 0.z, "),
        (["xor", "--learning-rate", 0], "--learning-rate: expected a finite number above 0, got 0.0"),
        (["xor", "--optimizer", "best"], "optimizer: expected one of "),
    ):
        status, _, said = run("trace", *arguments)
        assert status == 2
        assert said.startswith(f"backprop: error: {message}")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"backprop {bp.__version__}\n"


def test_info(run: Run) -> None:
    status, out, err = run("info")
    assert (status, err) == (0, "")
    assert out.splitlines() == [f"{name}: {value}" for name, value in bp.show_config().items()]


# What goes wrong: one line, status 2, and nothing written


@pytest.fixture
def bad(folder: Path) -> None:
    """Files to go wrong with."""
    table = flowers(12)
    write("good.csv", table)
    write("cell.csv", [*table[:5], ["big", *table[5][1:]], *table[6:]])
    write("other.csv", [["size", "colour", "weight"], ["1", "green", "1"]])
    write("lines.csv", [["size\nof it", "b"], ["1", "2"]])
    write("headless.csv", [row[:3] for row in table[1:]])
    for name, content in ("empty.csv", b""), ("header.csv", b"a,b\n"), ("latin.csv", b"a,b\n\xe9,1\n"):
        Path(name).write_bytes(content)
    net = bp.Sequential([bp.Dense(3, 3, "softmax")], rng=0)
    net.save("plain.safetensors")
    Path("cut.safetensors").write_bytes(Path("plain.safetensors").read_bytes()[:-1])
    recipe = {
        "inputs": [{"name": "size", "mean": 0, "deviation": 1}],
        "target": {"name": "y", "categories": ["a", "b"]},
    }
    for name, given in ("misfit", recipe), ("edited", {**recipe, "inputs": "all"}):
        net.metadata["recipe"] = given
        net.save(f"{name}.safetensors")
    net = bp.Sequential([bp.Dense(1, 1)], rng=0)
    net.metadata["recipe"] = {**recipe, "target": {"name": "y", "mean": 0, "deviation": 1}}
    net.save("number.safetensors")
    Path("idx").mkdir()
    Path("idx/train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    Path("idx/train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\1\0")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("fly", "argument COMMAND: invalid choice: 'fly'"),
        ("train", "the following arguments are required: DATA"),
        (
            "train digts",
            "train: expected one of digits, mnist, moons, xor, FILE.csv, got 'digts'; did you mean 'digits'?",
        ),
        ("train digits --target a", "--target: expected only with a CSV file, got 'a' with digits"),
        ("train digits --epochs 0", "--epochs: expected a whole number from 1"),
        ("train digits --epochs -1", "--epochs: expected a whole number from 1"),
        ("train digits --epochs 2.5", "argument --epochs: invalid int value: '2.5'"),
        ("train digits --batch-size 0", "--batch-size: expected a whole number from 1"),
        ("train digits --learning-rate 0", "--learning-rate: expected a finite number above 0"),
        ("train digits --learning-rate nan", "--learning-rate: expected a finite number above 0"),
        ("train digits --learning-rate x", "argument --learning-rate: invalid float value: 'x'"),
        ("train digits --seed -1", "--seed: expected a whole number from 0"),
        ("train digits --threads 0", "--threads: expected a whole number from 1"),
        ("train digits --hidden 8,x", "argument --hidden: expected sizes such as 64,32, got '8,x'"),
        ("train digits --hidden 0", "argument --hidden: expected sizes such as 64,32, got '0'"),
        ("train xor --hidden 9999999999", "parameters and their gradients: expected at most the"),
        ("train xor --output model.png", "--output: expected a name that ends in .safetensors, got 'model.png'"),
        ("train xor --output no/m.safetensors", "no: no such folder"),
        ("train mnist", "mnist: expected --data FOLDER"),
        ("train mnist --data nowhere", "nowhere: expected train-images-idx3-ubyte in it"),
        ("train mnist --data idx", f"{Path('idx/train-images-idx3-ubyte')}: expected an idx header of 16 bytes"),
        ("train nowhere.csv --target y", "nowhere.csv: No such file or directory"),
        ("train good.csv", "good.csv: expected --target COLUMN, one of size, colour, species, weight"),
        (
            "train good.csv --target specie",
            "no column 'specie' in good.csv: it has size, colour, species, weight; did you mean 'species'?",
        ),
        ("train cell.csv --target species", "cell.csv, row 6, column 'size': expected a finite number, got 'big'"),
        (
            "train good.csv --target weight --drop colr",
            "--drop: expected one of size, colour, species, weight, got 'colr'",
        ),
        (
            "train good.csv --target weight --numeric colour",
            "row 2, column 'colour': expected a finite number, got 'blue': mend it, or read the column as words (--category",
        ),
        ("train good.csv --target weight --category size --drop size", "--drop: expected a column in one option"),
        ("train good.csv --target species --task regression", "column 'species': expected a finite number"),
        ("train good.csv --target weight --task clustering", "argument --task: invalid choice: 'clustering'"),
        ("train good.csv --target weight --decimal ;", "argument --decimal: invalid choice: ';'"),
        ("train xor --task regression", "--task: expected only with a CSV file, got 'regression' with xor"),
        ("train xor --drop a", "--drop: expected only with a CSV file, got ['a'] with xor"),
        ("train xor --no-header", "--header: expected only with a CSV file, got False with xor"),
        ("train headless.csv --target species", "no column 'species' in headless.csv: it has 1, 2, 3"),
        ("train . --target y --output m.safetensors", ".: Is a directory"),
        ("predict number.safetensors good.csv --proba", "--proba: expected a model of classes, got one that predicts"),
        ("predict plain.safetensors good.csv --target y", "unrecognized arguments: --target y"),
        ("train empty.csv --target a", "empty.csv: expected a header and rows, got an empty file"),
        ("train header.csv --target a", "header.csv: expected rows beneath the header, got none"),
        ("train latin.csv --target a", "latin.csv, row 2: expected UTF-8, got the byte 0xe9"),
        ("train lines.csv --target a", "no column 'a' in lines.csv: it has size of it, b"),
        ("predict plain.safetensors", "the following arguments are required: FILE.csv"),
        ("predict nowhere.safetensors good.csv", "nowhere.safetensors: No such file or directory"),
        ("predict good.csv good.csv", "good.csv: expected"),
        ("predict cut.safetensors good.csv", "cut.safetensors: expected"),
        ("predict plain.safetensors good.csv", "plain.safetensors: expected a model trained on a CSV file"),
        (
            "predict misfit.safetensors good.csv",
            "misfit.safetensors: the recipe makes 1 numbers of a row and expects 2",
        ),
        ("predict edited.safetensors good.csv", "edited.safetensors: recipe: it does not make sense"),
    ],
)
@pytest.mark.usefixtures("bad")
def test_bad_input_gets_one_line(run: Run, command: str, message: str) -> None:
    before = written()
    status, out, err = run(*command.split())
    assert (status, out) == (2, "") and written() == before
    assert err.startswith("backprop: error: ") and message in err
    assert err.endswith("\n") and err.count("\n") == 1


@pytest.mark.usefixtures("bad")
def test_a_table_that_does_not_fit_its_model(run: Run) -> None:
    assert run("train", "good.csv", "--target", "species", "--epochs", 1, "--no-plot")[0] == 0
    status, out, err = run("predict", "good.safetensors", "other.csv")  # a word that nobody knows is no reason to stop
    assert (status, len(out.splitlines())) == (0, 2)
    assert err == "backprop: colour: 1 of 1 cells unknown in training, such as 'green'\n"
    write("fewer.csv", [["size", "colour"], ["1", "red"]])
    assert run("predict", "good.safetensors", "fewer.csv")[::2] == (
        2, "backprop: error: fewer.csv: expected the columns of the training, got no ['weight'] in ['size', 'colour']\n"
    )  # fmt: skip
    assert run("predict", "good.safetensors", "header.csv")[::2] == (
        2, "backprop: error: header.csv: expected rows beneath the header, got none\n"
    )  # fmt: skip


def test_training_that_diverges(run: Run) -> None:
    status, _, err = run("train", "xor", "--learning-rate", "1e38")
    assert status == 2 and written() == set()
    assert re.search(
        r"^backprop: error: the loss stopped being finite in epoch \d+: lower --learning-rate\n\Z", err, re.M
    )


def test_a_missing_package_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    status, out, err = run("train", "digits")
    assert (status, out) == (2, "") and err.endswith('pip install "backprop-nn[sklearn]"\n') and err.count("\n") == 1


def test_too_little_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("backprop.tables.read", fail)
    assert run("train", "t.csv") == (2, "", "backprop: error: not enough memory\n")


def test_nothing_is_written_where_the_picture_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "not allowed", "font.ttf")

    pytest.importorskip("matplotlib")
    monkeypatch.setattr("backprop.plots.png", fail)
    status, _, err = run("train", "xor", "--epochs", 1)
    assert status == 2 and err.endswith("backprop: error: font.ttf: not allowed\n") and written() == set()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in (["--help"], "predict"), (["train", "--help"], "--learning-rate"):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0 and word in capsys.readouterr().out


# Where tables come from, and what is written over


@pytest.fixture
def trained(run: Run) -> list[str]:
    """A table and its model; what it predicts."""
    assert run("train", write("t.csv", flowers()), "--target", "species", "--epochs", 1, "--no-plot")[0] == 0
    return run("predict", "t.safetensors", "t.csv")[1].splitlines()


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input(run: Run, trained: list[str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def given() -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("t.csv").read_bytes())))

    given()
    assert run("predict", "t.safetensors", name)[1].splitlines() == trained
    given()
    status, out, _ = run("train", name, "--target", "species", "--epochs", 1, "--no-plot")
    assert status == 0 and "stdin: 72 rows to train on" in out and "model: stdin.safetensors" in out
    assert Path("stdin.safetensors").read_bytes() == Path("t.safetensors").read_bytes()
    given()
    assert run("train", name, "--target", "species", "--epochs", 1, "--no-plot", "--output", "a.safetensors")[0] == 0
    assert written() == {"t.csv", "t.safetensors", "stdin.safetensors", "a.safetensors"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert run("predict", "t.safetensors", name)[2] == (
        "backprop: error: stdin: expected a header and rows, got an empty file\n"
    )
    monkeypatch.setattr(sys, "stdin", None)
    assert run("predict", "t.safetensors", name)[2] == "backprop: error: stdin: expected a file or a pipe, got none\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_a_pipe(run: Run, trained: list[str], pause: float) -> None:
    os.mkfifo("pipe")
    code = "import sys, time; time.sleep({0}); f = open('pipe', 'wb'); time.sleep({0}); f.write(open('t.csv', 'rb').read())"
    with subprocess.Popen([sys.executable, "-c", code.format(pause)]):
        assert run("predict", "t.safetensors", "pipe")[1].splitlines() == trained


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_that_nobody_writes_to(run: Run, trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backprop.tables.reader.PATIENCE", 0.2)
    os.mkfifo("pipe.csv")
    refused = 2, "", "backprop: error: pipe.csv: expected a file, got a pipe that nobody writes to\n"
    assert run("predict", "t.safetensors", "pipe.csv") == refused
    assert run("train", "pipe.csv", "--target", "y") == refused
    with subprocess.Popen([sys.executable, "-c", "open('pipe.csv', 'wb')"]):
        assert run("predict", "t.safetensors", "pipe.csv")[2].endswith("got an empty file\n")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs devices")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_devices(run: Run, trained: list[str], device: str) -> None:
    assert run("predict", "t.safetensors", device) == (
        2, "", f"backprop: error: {device}: expected a file, got a device\n"
    )  # fmt: skip
    with Path(device).open() as stdin, start("predict", "t.safetensors", "-", stdin=stdin) as process:
        assert process.communicate(timeout=120) == (
            "", "backprop: error: stdin: expected a file or a pipe, got a device\n"
        )  # fmt: skip


def test_more_than_can_be_read(run: Run, trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backprop.tables.reader.MOST_BYTES", 1000)
    message = "expected at most 1,000 bytes, got more: train on a part of the rows\n"
    assert run("predict", "t.safetensors", "t.csv") == (2, "", f"backprop: error: t.csv: {message}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("t.csv").read_bytes())))
    assert run("predict", "t.safetensors", "-") == (2, "", f"backprop: error: stdin: {message}")


def link(name: str, target: str) -> None:
    try:
        Path(name).symlink_to(target)
    except OSError:
        pytest.skip("needs symbolic links")


OUTPUTS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "the data itself": (lambda: Path("t.csv").rename("t.safetensors"), "t.safetensors", "expected another file than"),
    "the data by its name": (lambda: None, "u.csv --output u.safetensors", "expected another file than the data, u.csv"),
    "the data as its picture": (lambda: Path("t.csv").rename("t.png"), "t.png", "expected another file than the data"),
    "a hard link": (lambda: os.link("t.csv", "h.safetensors"), "t.csv --output h.safetensors", "another file than the d"),
    "a symbolic link": (lambda: link("s.safetensors", "t.csv"), "t.csv --output s.safetensors", "another file than the d"),
    "a link to the data as picture": (lambda: link("m.png", "t.csv"), "t.csv --output m.safetensors", "another file than"),
    "a link from the data": (lambda: link("l.csv", "v.safetensors"), "l.csv --output v.safetensors", "another file than"),
    "the model as its picture": (lambda: link("v.png", "v.safetensors"), "t.csv --output v.safetensors", "than the model"),
    "a folder": (lambda: Path("d.safetensors").mkdir(), "t.csv --output d.safetensors", "d.safetensors: "),
    "a folder for a picture": (lambda: Path("d.png").mkdir(), "t.csv --output d.safetensors", "d.png: "),
    "a pipe": (lambda: os.mkfifo("p.safetensors"), "t.csv --output p.safetensors", "p.safetensors: expected a regular"),
    "a pipe for a picture": (lambda: os.mkfifo("p.png"), "t.csv --output p.safetensors", "p.png: expected a regular"),
    "no folder": (lambda: None, "t.csv --output n/m.safetensors", "n: no such folder"),
    "a file for a folder": (lambda: None, "t.csv --output t.csv/m.safetensors", "t.csv: no such folder"),
    "too long a name": (lambda: None, f"t.csv --output {'m' * 250}.safetensors", "too long"),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_are_looked_at_before_training(run: Run, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    if os.name == "nt" and ("pipe" in case or "long" in case):
        pytest.skip("needs POSIX files")
    write("t.csv", flowers())
    write("u.safetensors", flowers())
    link("u.csv", "u.safetensors")
    write("v.safetensors", flowers())
    prepare, command, message = OUTPUTS[case]
    prepare()
    monkeypatch.setattr("backprop.Sequential.fit", lambda *_, **__: pytest.fail("it trains"))
    before = {path: path.is_file() and path.read_bytes() for path in Path.cwd().iterdir()}
    status, out, err = run("train", *command.split(), "--target", "species")
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1
    assert {path: path.is_file() and path.read_bytes() for path in Path.cwd().iterdir()} == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs permissions that bind")
def test_a_folder_that_cannot_be_written_to(run: Run) -> None:
    write("t.csv", flowers())
    Path("locked").mkdir(mode=0o500)
    status, out, err = run("train", "t.csv", "--target", "species", "--output", "locked/m.safetensors")
    assert (status, out) == (2, "") and "ermission denied" in err


def test_a_name_that_has_been_used_is_used_again(run: Run, trained: list[str]) -> None:
    assert run("train", "t.csv", "--target", "species", "--epochs", 1)[0] == 0
    assert run("train", "t.csv", "--target", "species", "--epochs", 1)[0] == 0


# Processes


def test_a_process(folder: Path) -> None:
    with start("train", "xor", "--no-plot") as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and out.endswith("test accuracy: 100.0 %\n")
    with start("predict", "nowhere.safetensors", "t.csv") as process:
        assert process.communicate(timeout=120) == (
            "",
            "backprop: error: nowhere.safetensors: No such file or directory\n",
        )
    assert process.returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c(folder: Path) -> None:
    # The test may run where Ctrl-C is ignored, as in the background of a shell; the process must not inherit that.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from backprop.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", "moons", "--epochs", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = ""
        while "loss" not in seen:  # until the first epochs are done
            seen += (piece := process.stderr.read(1))
            assert piece, seen
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 130 and written() == set()
    assert err.endswith("backprop: interrupted\n") and "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
@pytest.mark.parametrize("arguments", [["info"], ["predict", "t.safetensors", "long.csv"]])
def test_a_reader_that_goes_away(run: Run, arguments: list[str]) -> None:
    table = flowers()
    run("train", write("t.csv", table), "--target", "species", "--epochs", 1, "--no-plot")
    write("long.csv", [*table, *(table[1:] * 100)])
    with start(*arguments) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_an_output_that_is_full(folder: Path) -> None:
    with Path("/dev/full").open("w") as full, start("info", stdout=full) as process:
        assert process.communicate(timeout=120)[1] == "backprop: error: No space left on device\n"
    assert process.returncode == 2
