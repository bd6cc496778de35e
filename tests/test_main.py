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
from backprop.__main__ import main

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


def start(*arguments: str, stdout: Any = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    command = [sys.executable, "-m", "backprop", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment)


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
    assert "digits: 1,438 rows to learn from, 359 others to test on" in out and "Dense(64, " in out
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


@pytest.mark.parametrize(("name", "least"), [("xor", 100.0), ("moons", 95.0)])
def test_xor_and_moons_are_learned_whatever_the_seed(run: Run, name: str, least: float) -> None:
    for seed in range(5):
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
    assert status == 0 and "60,000 rows to learn from, 10,000 others to test on" in out
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
    assert "flowers.csv: 72 rows to learn from, 18 others to test on" in out
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
            "good.csv: column: expected one of size, colour, species, weight, got 'specie'",
        ),
        ("train cell.csv --target species", "cell.csv, row 6, column 'size': expected a finite number, got 'big'"),
        ("train empty.csv --target a", "empty.csv: expected a header and rows, got an empty file"),
        ("train header.csv --target a", "header.csv: expected rows beneath the header, got none"),
        ("train latin.csv --target a", "latin.csv, row 2: expected UTF-8, got the byte 0xe9"),
        ("train lines.csv --target a", "lines.csv: column: expected one of size of it, b, got 'a'"),
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
    assert run("predict", "good.safetensors", "other.csv") == (
        2, "", "backprop: error: other.csv, row 2, column 'colour': expected one of ['blue', 'red'], got 'green'\n"
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
