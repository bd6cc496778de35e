"""A run that was stopped and goes on from its checkpoint gives, bit for bit, what the uninterrupted run gives."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import backprop as bp
from backprop import schedules
from backprop.io import atomic, safetensors

EPOCHS = 7
DTYPES = ["float32", "float64"]
OPTIMIZERS = {
    "momentum": lambda: bp.SGD(0.05, momentum=0.9),
    "Adam": lambda: bp.Adam(0.01),
    "a schedule": lambda: bp.Adam(schedules.Cosine(0.02, 30, warmup=3)),
    "a function": lambda: bp.SGD(lambda step: 0.1 / (1 + step)),
}


def network(dtype="float32", rng=1):
    layers = [bp.Dense(4, 7, "tanh"), bp.Dropout(0.3), bp.Dense(7, 3)]
    return bp.Sequential(layers, rng=rng, dtype=dtype)


def table(rows=23, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    return x, np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2], x.sum(axis=1)], axis=1), rng.random(rows)


def own_mse(y_hat, y, weights=None):
    return float(np.square(y_hat - y).mean()), 2 * (y_hat - y) / y.size


class Mean(bp.Callback):
    """A callback of one's own that remembers something."""

    def __init__(self):
        self.state = {}

    def on_fit_begin(self, run):
        if run.epoch == 0:
            self.state = {"sum": np.zeros(run.network.parameters.size), "epochs": 0}

    def on_epoch_end(self, run):
        self.state = {"sum": self.state["sum"] + run.network.parameters, "epochs": self.state["epochs"] + 1}


def watchers(optimizer, folder):
    chosen = [bp.EarlyStopping(patience=20), Mean(), bp.CSVLogger(folder / "log.csv")]
    if not callable(optimizer.learning_rate):
        chosen.insert(1, bp.ReduceOnPlateau("loss", 0.5, 1, min_delta=0.05))
    return chosen


def asked(what, optimizer, folder):
    """The arguments of a fit, as new."""
    x, y, weights = table()
    how = {"x": x, "y": y, "optimizer": optimizer, "loss": "mse", "batch_size": 5, "callbacks": []}
    if what == "weights":
        how |= {"sample_weight": weights, "rng": 5, "loss": bp.MeanSquaredError(reduction="sum")}
    elif what == "everything":
        how |= {"validation_data": table(9, 1), "metrics": ["r2", "mae"], "callbacks": watchers(optimizer, folder)}
    elif what == "in order, all rows at once":
        how |= {"shuffle": False, "batch_size": None, "validation_split": 0.2}
    elif what == "a loss of one's own":
        how |= {"loss": own_mse, "metrics": ["mse"]}
    elif what == "batches":
        how |= {"x": [(x[i : i + 4], y[i : i + 4], weights[i : i + 4]) for i in range(0, 20, 4)], "y": None}
    return how


def outcome(net, history, how, folder):
    """All that a run comes to: arrays, and what else there is to say."""
    optimizer, remembered = how["optimizer"], [its.state for its in how["callbacks"][1:] if hasattr(its, "state")]
    arrays = [value for state in remembered for _, value in sorted(state.items()) if isinstance(value, np.ndarray)]
    said = [{k: v for k, v in state.items() if not isinstance(v, np.ndarray)} for state in remembered]
    rate = None if callable(optimizer.learning_rate) else optimizer.learning_rate
    counters = net.seed, net.steps, net.epochs, optimizer.steps, rate
    log = [path.read_text() for path in folder.glob("log.csv")]
    return [net.parameters, *optimizer.state.values(), *arrays], [said, list(history.items()), counters, log]


def assert_same(one, other):
    assert one[1] == other[1]
    assert [array.tobytes() for array in one[0]] == [array.tobytes() for array in other[0]]


WHAT = ["plain", "weights", "everything", "in order, all rows at once", "a loss of one's own", "batches"]


@pytest.mark.parametrize(
    ("what", "optimizer", "dtype"),
    [
        pytest.param(
            *case,
            marks=() if case[2] == "float32" and ("Adam" in case or case[0] == "everything") else pytest.mark.slow,
        )
        for case in itertools.product(WHAT, OPTIMIZERS, ["float32", "float64"])
    ],
)
def test_it_goes_on_to_the_same_bits(what, optimizer, dtype, tmp_path):
    def setup(folder):
        how = asked(what, OPTIMIZERS[optimizer](), folder)
        how["callbacks"].insert(0, bp.Checkpoint(folder / "run-{epoch}.safetensors", keep=EPOCHS))  # it comes last
        return how

    def run(folder, epochs):
        folder.mkdir()
        how, net = setup(folder), network(dtype)
        return outcome(net, net.fit(epochs=epochs, **how), how, folder)

    whole = run(tmp_path / "whole", EPOCHS)
    for k in 1, 3, EPOCHS - 1, EPOCHS:
        folder = tmp_path / f"{k}"
        path = folder / f"run-{k}.safetensors"
        run(folder, k)
        for way in "resume", "fit":
            how = setup(folder)
            if way == "fit":
                net = network(dtype, rng=99)  # weights and seed come from the file
                history = net.fit(epochs=EPOCHS, resume=path, **how)
            else:
                net, history = bp.resume(path, epochs=EPOCHS, **how)
            assert_same(outcome(net, history, how, folder), whole)


@pytest.mark.parametrize("optimizer", ["momentum", "Adam", "a schedule"])
def test_the_optimizer_and_the_number_of_epochs_are_in_the_file(optimizer, tmp_path):
    x, y, _ = table()
    path, how = tmp_path / "run.safetensors", {"loss": "mse", "batch_size": 5}

    class Stop(bp.Callback):
        def on_epoch_end(self, run):
            run.stop = run.epoch == 3

    net, its = network(), OPTIMIZERS[optimizer]()
    whole = net.fit(x, y, optimizer=its, epochs=EPOCHS, **how)
    first = network().fit(
        x, y, optimizer=OPTIMIZERS[optimizer](), epochs=EPOCHS, callbacks=[bp.Checkpoint(path), Stop()], **how
    )
    again, history = bp.resume(path, x, y, callbacks=[bp.Checkpoint(path)], **how)
    assert len(first["loss"]) == 3 and dict(history) == dict(whole)
    assert again.parameters.tobytes() == net.parameters.tobytes()
    # The last checkpoint is of the end: nothing is left to do, or more epochs are.
    end, history = bp.resume(path, x, y, callbacks=[bp.Checkpoint(path)], **how)
    assert end.parameters.tobytes() == net.parameters.tobytes() and dict(history) == dict(whole)
    longer, history = bp.resume(path, x, y, epochs=EPOCHS + 2, callbacks=[bp.Checkpoint(path)], **how)
    more = net.fit(x, y, optimizer=its, epochs=2, **how)
    assert longer.parameters.tobytes() == net.parameters.tobytes()
    assert history["loss"] == whole["loss"] + more["loss"]


def test_a_network_that_was_trained_before(tmp_path):
    x, y, _ = table()
    path, how, runs = tmp_path / "run.safetensors", {"loss": "mse", "batch_size": 5}, []
    for stopped in False, True:
        net, its = network(), bp.Adam(0.01)
        net.fit(x, y, optimizer=its, epochs=2, **how)
        net.fit(x, y, optimizer=its, epochs=2 if stopped else 5, rng=8, callbacks=[bp.Checkpoint(path)], **how)
        if stopped:
            net, history = bp.resume(path, x, y, epochs=5, callbacks=[bp.Checkpoint(path)], **how)
            assert len(history["loss"]) == 5
        runs.append((net.parameters.tobytes(), net.epochs, net.steps))
    assert runs[0] == runs[1] and net.epochs == 7


def test_rows_that_are_converted_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(bp.program.data, "LARGE", 0)
    monkeypatch.setattr(bp.program.data, "PIECE", 150)
    x, y, _ = table()
    path, how = tmp_path / "run-{epoch}.safetensors", {"loss": "mse", "batch_size": 5, "metrics": ["r2"]}
    keep = lambda: [bp.Checkpoint(path, keep=9)]  # noqa: E731
    net = network()
    whole = net.fit(x, y, optimizer=bp.Adam(), epochs=5, callbacks=keep(), **how)
    again, history = bp.resume(str(path).format(epoch=2), x, y, callbacks=keep(), **how)
    assert again.parameters.tobytes() == net.parameters.tobytes() and dict(history) == dict(whole)


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import numpy as np
    import test_resume as t
    import backprop as bp

    class Kill(bp.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 5:
                os.kill(os.getpid(), signal.SIGKILL)

    x, y, _ = t.table()
    t.network().fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=9, batch_size=5,
                    callbacks=[Kill(), bp.Checkpoint("run.safetensors")])
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")
def test_a_process_that_was_killed(tmp_path):
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (x, y, _), net = table(), network()
    whole = net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=9, batch_size=5)
    callbacks = [bp.Checkpoint(tmp_path / "run.safetensors")]
    again, history = bp.resume(tmp_path / "run.safetensors", x, y, loss="mse", batch_size=5, callbacks=callbacks)
    assert again.parameters.tobytes() == net.parameters.tobytes() and dict(history) == dict(whole)


def test_a_run_that_had_come_to_its_end_stays_there(tmp_path):
    x, y, _ = table()
    path = tmp_path / "run.safetensors"
    for restore in True, False:
        how = {"loss": "mse", "validation_data": (x[:4], -y[:4]), "epochs": 50}
        callbacks = lambda: [bp.EarlyStopping(patience=2, restore_best=restore), bp.Checkpoint(path)]  # noqa: B023, E731
        net = network()
        whole = net.fit(x, y, optimizer=bp.Adam(0.1), callbacks=callbacks(), **how)
        assert len(whole["loss"]) < 50
        again, history = bp.resume(path, x, y, callbacks=callbacks(), **how)
        assert again.parameters.tobytes() == net.parameters.tobytes() and dict(history) == dict(whole)


# The file.


def checkpoint(tmp_path, **how):
    x, y, _ = table()
    path = tmp_path / "run.safetensors"
    net, its = network(), bp.SGD(0.05, momentum=0.9)
    callbacks = [bp.EarlyStopping("loss"), bp.Checkpoint(path)]
    net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=5, callbacks=callbacks, **how)
    return path, net, its


def test_a_checkpoint_is_a_model_file(tmp_path):
    path, net, its = checkpoint(tmp_path)
    again = bp.load(path)
    x = table()[0]
    best = np.argmin(its.steps)  # the last epoch was the best
    assert again == net and best == 0
    assert again.predict(x).tobytes() == net.predict(x).tobytes()
    arrays, metadata = safetensors.read(path)
    names = {"optimizer.momentum", "history.loss", "0.weight", "callback.0.best.0.weight"}
    assert names <= arrays.keys() and arrays["history.loss"].shape == (3,)
    assert json.loads(metadata["training"])["epoch"] == 3
    again.save(path)  # without the training
    with pytest.raises(ValueError, match="resume: expected a file that Checkpoint wrote, got a model alone"):
        bp.resume(path, x, table()[1], loss="mse")


def test_what_any_safetensors_reader_sees(tmp_path):
    reader = pytest.importorskip("safetensors.numpy", reason="the reference implementation is not installed")
    path, net, its = checkpoint(tmp_path)
    arrays = reader.load_file(path)
    assert arrays["0.weight"].tobytes() == net.layers[0].weight.tobytes()
    assert arrays["optimizer.momentum"].tobytes() == its.state["momentum"].tobytes()


GOOD = {"loss": "mse", "batch_size": 5, "epochs": 5}
DIFFERENT = {
    "another batch size": ({"batch_size": 4}, "expected batch_size 5, as the run began with, got 4"),
    "rows in order": ({"shuffle": False}, "expected shuffle True"),
    "another loss": ({"loss": bp.MeanSquaredError(reduction="sum")}, "expected loss MeanSquaredError(), .* got Mean"),
    "a function as the loss": ({"loss": own_mse}, "expected loss MeanSquaredError(), .* got a function"),
    "another metric": ({"metrics": ["r2"]}, r"expected history \['loss'\], .* got \['loss', 'r2'\]"),
    "validation": ({"validation_split": 0.1}, "expected rows 23, as the run began with, got 21"),
    "fewer rows": ({"x": table()[0][:9], "y": table()[1][:9]}, "expected rows 23"),
    "batches": ({"x": [table()[:2]], "y": None}, "expected rows 23, .* got in batches"),
    "no callbacks": ({"callbacks": []}, r"expected callbacks \['EarlyStopping', 'Checkpoint'\], .* got \[\]"),
    "the best instead of the last": (
        {"callbacks": [bp.EarlyStopping("loss"), bp.Checkpoint("run", keep="best", monitor="loss")]},
        "expected a Checkpoint that keeps the last, as the run began with, got keep='best'",
    ),
    "another optimizer": ({"optimizer": bp.Adam()}, "expected the optimizer .*'SGD'.* got .*'Adam'"),
    "another momentum": ({"optimizer": bp.SGD(0.1, 0.8)}, "expected the optimizer .* 0.9.* got .* 0.8"),
    "a schedule": ({"optimizer": bp.SGD(schedules.Constant(0.05), 0.9)}, "expected the optimizer .*, got .*Constant"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_another_run_is_refused(what, tmp_path, monkeypatch):
    path, _, _ = checkpoint(tmp_path)
    changes, says = DIFFERENT[what]
    callbacks = [bp.EarlyStopping("loss"), bp.Checkpoint(path)]
    net, its = network(rng=4), changes.get("optimizer", bp.SGD(0.05, momentum=0.9))
    how = {"x": table()[0], "y": table()[1], "callbacks": callbacks, **GOOD, **changes, "optimizer": its}
    before, file = net.parameters.tobytes(), path.read_bytes()
    for call in (lambda: net.fit(resume=path, **how)), (lambda: bp.resume(path, **how)):
        with pytest.raises(ValueError, match=f"^resume: {says.replace('()', '[(][)]')}"):
            call()
    assert (net.parameters.tobytes(), net.steps, its.steps, its.state, path.read_bytes()) == (before, 0, 0, {}, file)
    monkeypatch.chdir(tmp_path)
    net.fit(**how)  # nothing is in the way of a run of its own


def test_another_network_is_refused(tmp_path):
    path, _, _ = checkpoint(tmp_path)
    (x, y, _), callbacks = table(), [bp.EarlyStopping("loss"), bp.Checkpoint(path)]
    for net in network("float64"), bp.Sequential([bp.Dense(4, 3)]):
        with pytest.raises(ValueError, match="resume: expected the network of the checkpoint, Sequential"):
            net.fit(x, y, optimizer=bp.SGD(0.05, 0.9), callbacks=callbacks, resume=path, **GOOD)
    with pytest.raises(FileNotFoundError):
        bp.resume(tmp_path / "none", x, y, **GOOD)


def test_a_learning_rate_that_no_file_holds(tmp_path):
    (x, y, _), path = table(), tmp_path / "run.safetensors"
    network().fit(x, y, optimizer=bp.Adam(lambda step: 0.1), callbacks=[bp.Checkpoint(path)], **GOOD)
    with pytest.raises(TypeError, match="learning_rate: expected a number, got None"):
        bp.resume(path, x, y, callbacks=[bp.Checkpoint(path)], **GOOD)


def damaged(path, change):
    arrays, metadata = safetensors.read(path)
    said = json.loads(metadata["training"])
    change(arrays, said)
    atomic.write(path, safetensors.pack(arrays, metadata | {"training": json.dumps(said)}))


DAMAGE = {
    "no epoch": lambda a, s: s.pop("epoch"),
    "an epoch too many": lambda a, s: s.update(epoch=4),
    "a negative seed": lambda a, s: s.update(seed=-1),
    "an unknown entry": lambda a, s: s.update(more=1),
    "words for the optimizer": lambda a, s: s.update(optimizer="SGD"),
    "no callbacks": lambda a, s: s.update(callbacks=[]),
    "words for the callbacks": lambda a, s: s.update(callbacks=["a", "b"]),
    "a number of callbacks": lambda a, s: s.update(callbacks=2),
    "a tensor of nobody": lambda a, s: a.update(more=np.zeros(3)),
    "a tensor of an unknown callback": lambda a, s: a.update({"callback.7.x": np.zeros(3)}),
    "history in float32": lambda a, s: a.update({"history.loss": np.zeros(3, np.float32)}),
    "NaN in the state": lambda a, s: a["optimizer.momentum"].fill(np.nan),
    "a state of words": lambda a, s: s.update(steps="many"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_makes_no_sense_is_refused(what, tmp_path):
    path, _, _ = checkpoint(tmp_path)
    damaged(path, DAMAGE[what])
    for call in (lambda: bp.load(path)), (lambda: bp.resume(path, *table()[:2], loss="mse")):
        with pytest.raises(bp.FormatError, match=r"run\.safetensors: expected a checkpoint, got one that"):
            call()


@pytest.mark.parametrize("what", ["missing", "too short", "another name"])
def test_a_state_that_does_not_fit_is_refused(what, tmp_path):
    path, _, _ = checkpoint(tmp_path)

    def change(arrays, said):
        vector = arrays.pop("optimizer.momentum")
        if what != "missing":
            arrays["optimizer.momentum" if what == "too short" else "optimizer.mean"] = vector[
                : 3 if what == "too short" else None
            ]

    damaged(path, change)
    with pytest.raises(bp.FormatError, match="resume: expected a state for SGD"):
        bp.resume(path, *table()[:2], callbacks=[bp.EarlyStopping("loss"), bp.Checkpoint(path)], **GOOD)


def test_a_checkpoint_names_no_class_and_no_file(tmp_path):
    path, _, _ = checkpoint(tmp_path)
    damaged(path, lambda a, s: s["optimizer"].update(name="Popen"))
    with pytest.raises((ValueError, TypeError), match="name: expected one of"):
        bp.resume(path, *table()[:2], loss="mse")
    other = tmp_path / "precious"
    other.write_text("kept")
    pattern = tmp_path / "run-{epoch}.safetensors"
    network().fit(*table()[:2], optimizer=bp.SGD(0.1), callbacks=[bp.Checkpoint(pattern, keep=1)], **GOOD)
    end = str(pattern).format(epoch=5)
    damaged(end, lambda a, s: s["callbacks"][0].update(written=[str(other), "../precious"]))
    with pytest.raises(bp.FormatError, match="the state of Checkpoint: written: expected a whole number, got"):
        bp.resume(end, *table()[:2], **{**GOOD, "epochs": 6}, callbacks=[bp.Checkpoint(pattern, keep=1)])
    assert other.read_text() == "kept"
