"""A fit over the ranks of an MPI communicator: the bits of one process, and an end to whatever fails."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpi4py", reason="mpi4py is not installed: no ranks")
HERE = Path(__file__).parent / "ranks"
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec")
RANKS = (1, 2, 3, 4)
LAUNCHER = [MPIEXEC, "-n", "3"]


def run(*command, timeout=60, cwd=None):
    path = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "error"}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=cwd)


def mpi(ranks, script, *arguments, timeout=60):
    return run(MPIEXEC, "-n", str(ranks), sys.executable, HERE / script, *arguments, timeout=timeout)


def told(process):
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def alone():
    return told(run(sys.executable, HERE / "bits.py", "all"))


@pytest.mark.parametrize("ranks", RANKS)
def test_any_number_of_ranks_has_the_bits_of_one_process(ranks, alone):
    found = told(mpi(ranks, "bits.py", "mpi", "all"))
    assert found.keys() == alone.keys()
    for name, (digest, history) in alone.items():
        assert found[name] == [digest, history], name


@pytest.mark.parametrize("rows", ["uneven", "empty", "none"])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_it_does_not_matter_who_brings_which_rows(ranks, rows, alone):
    found = told(mpi(ranks, "bits.py", "mpi", rows))
    assert found == {name: alone[name] for name in ("plain", "validated")}


def test_a_fit_goes_on_with_another_number_of_ranks(tmp_path):
    whole = told(run(sys.executable, HERE / "bits.py", "resume", tmp_path / "missing.safetensors"))
    stopped, ended = tmp_path / "three.safetensors", tmp_path / "one.safetensors"
    told(mpi(3, "bits.py", "mpi", "resume", stopped))
    shutil.copy(stopped, ended)
    assert told(mpi(2, "bits.py", "mpi", "resume", stopped)) == told(
        run(sys.executable, HERE / "bits.py", "resume", ended)
    )
    assert whole[1]["loss"] == told(mpi(1, "bits.py", "mpi", "resume", tmp_path / "other.safetensors"))[1]["loss"]


#: What each rank ends with; of None, it is said that rank 1 failed, and how.
FAILING = {
    "loss": ["ValueError: loss: expected the same on all ranks, got 'mse' on rank 0 and 'mae' on rank 1"] * 3,
    "batch_size": ["ValueError: batch_size: expected the same on all ranks"] * 3,
    "optimizer": ["ValueError: optimizer: expected the same on all ranks"] * 3,
    "network": ["ValueError: network: expected the same on all ranks"] * 3,
    "parameters": ["ValueError: parameters: expected the same on all ranks"] * 3,
    "width": [r"ValueError: x: expected rows of one shape and type on all ranks, .* \(rows, 6\) on rank 1"] * 3,
    "type": ["ValueError: x: expected rows of one shape and type on all ranks, .*float32"] * 3,
    "text": [None, "TypeError: x: expected real numbers", None],
    "nan": [None, "ValueError: x: expected finite numbers, got nan at row, column 3, 3", None],
    "rows": ["ValueError: y: expected 100 rows on rank 1, as many as x has, got 99"] * 3,
    "batches": ["RankError: rank .* ValueError: batch 0: x: expected finite numbers|ValueError: batch 0: x"] * 3,
    "interrupt": ["RankError: rank 1 of 3 failed: KeyboardInterrupt", "KeyboardInterrupt: ", "RankError: rank 1"],
    "callback": [
        "RuntimeError: no room",
        "RankError: rank 0 of 3 failed: RuntimeError: no room on the disk",
        "RankError",
    ],
    "loss fails": [None, "ZeroDivisionError: in a loss", None],
    "diverges": ["DivergedError: the loss stopped being finite"] * 3,
}


@pytest.mark.parametrize("what", FAILING)
def test_what_fails_on_one_rank_ends_all_of_them(what):
    process = mpi(3, "failing.py", what, timeout=30)
    ends = sorted(line.split("|") for line in re.findall(r"^\d\|.*$", process.stdout, re.MULTILINE))
    assert [end[0] for end in ends] == ["0", "1", "2"], process.stdout + process.stderr
    own = FAILING[what][1]
    for wanted, (_, kind, message, seconds) in zip(FAILING[what], ends, strict=True):
        assert re.match(wanted or f"RankError: rank 1 of 3 failed: {own}", f"{kind}: {message}")
        assert float(seconds) < 10


def test_a_rank_that_is_killed_ends_all_of_them():
    process = mpi(3, "failing.py", "kill", timeout=30)
    assert process.returncode != 0
    assert "none" not in process.stdout


def test_the_command_line_over_ranks_writes_the_model_of_one_process(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{a:.4f},{b},{'yes' if a > 0 else 'no'}"
        for a, b in zip(rng.normal(size=90), rng.choice(["x", "y, z", "w"], 90), strict=True)
    ]
    rows = [row if "y, z" not in row else row.replace("y, z", '"y,\nz"') for row in rows]  # cells of two lines
    header = "number,word,answer"
    (tmp_path / "all.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    for rank, some in enumerate((rows[:20], rows[20:25], rows[25:])):
        (tmp_path / f"part-{rank}.csv").write_text("\n".join([header, *some]), encoding="utf-8")
    command = [sys.executable, "-m", "backprop", "train"]
    names = {
        "one": [*command, "all.csv"],
        "three": [*LAUNCHER, *command, "all.csv"],
        "parts": [*LAUNCHER, *command, "part-{rank}.csv"],
    }
    outputs = {}
    for name, call in names.items():
        done = run(*call, "--target", "answer", "--output", f"{name}.safetensors", "--epochs", "3", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        outputs[name] = done.stdout.replace(f"{name}.", "NAME.").replace("part-{rank}.csv", "all.csv")
    assert outputs["one"] == outputs["three"] == outputs["parts"]
    models = {(tmp_path / f"{name}.safetensors").read_bytes() for name in names}
    assert len(models) == 1


def test_the_command_line_over_ranks_says_what_is_wrong(tmp_path):
    (tmp_path / "all.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    done = run(*LAUNCHER, sys.executable, "-m", "backprop", "train", "all.csv", "--target", "c", cwd=tmp_path)
    assert done.returncode != 0
    assert "no column 'c'" in done.stderr
    assert "Traceback" not in done.stderr


def test_networks_are_trained_each_by_a_rank(tmp_path):
    script = tmp_path / "many.py"
    script.write_text(
        "import hashlib, sys, numpy as np, backprop as bp\n"
        "from backprop.distributed import launched, over\n"
        "x = np.random.default_rng(0).standard_normal((50, 3)); y = x[:, 0]\n"
        "nets = [bp.Sequential([bp.Dense(3, 4, 'tanh'), bp.Dense(4, 1)], rng=i) for i in range(5)]\n"
        "with over(launched()) as ranks:\n"
        "    found = bp.fit_many(nets, x, y, loss='mse', optimizer=bp.Adam(0.01), epochs=[1, 2, 3, 4, 5])\n"
        "said = [hashlib.sha256(net.parameters).hexdigest() for net in nets], [len(one['loss']) for one in found]\n"
        "if ranks.rank == ranks.size - 1: print(said)\n",
        encoding="utf-8",
    )
    one, three = run(sys.executable, script), run(*LAUNCHER, sys.executable, script)
    assert one.returncode == three.returncode == 0, three.stderr
    assert one.stdout == three.stdout
