"""Networks trained side by side have the bits of the same networks trained alone, whatever the number of threads."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from runs import Notes, alarm, big, interrupted, same, small, state, table, tiny

import backprop as bp
from backprop import many
from backprop.program import data as gate

#: Networks, and what each is asked for, that have nothing in common but 4 columns and 3 targets.
ASKED = {
    "optimizer": [
        lambda: bp.Adam(1e-2, average=0.9), lambda: bp.SGD(bp.schedules.Exponential(0.1, 0.99), momentum=0.9),
        lambda: bp.LBFGS(), lambda: bp.AdamW(1e-3), lambda: bp.Rprop(), lambda: bp.SGD(0.05),
    ],
    "loss": ["mse", bp.Huber(0.5), "mse", "mae", "log_cosh", lambda *given: bp.losses.get("mse")(*given)],
    "epochs": [3, 5, 4, 2, 6, 2],
    "batch_size": [16, 7, None, 500, None, 32],
    "metrics": [["r2"], [], ["mae"], [], (), ["mse"]],
    "shuffle": [True, True, False, False, True, True],
    "rng": [None, 3, None, 5, None, 7],
}  # fmt: skip


def networks():
    normed = bp.Sequential([bp.Dense(4, 6), bp.BatchNorm(), bp.Activation("relu"), bp.Dense(6, 3)], rng=4)
    return [small(), tiny("float64"), big(), normed, small("float64", rng=5), tiny(rng=6)]


def asked(callbacks=lambda i: []):
    count = len(networks())
    made = {name: list(values) for name, values in ASKED.items()}
    made["optimizer"] = [make() for make in made["optimizer"]]
    return made | {"callbacks": [callbacks(i) for i in range(count)]}


def of(wanted, i):
    return {name: values[i] for name, values in wanted.items()}


def outcome(nets, wanted):
    return [array for net, optimizer in zip(nets, wanted["optimizer"], strict=True) for array in state(net, optimizer)]


def alone(x, y, wanted, rows, weights, **more):
    nets = networks()
    histories = []
    for i, (net, some) in enumerate(zip(nets, rows, strict=True)):
        own = {name: value[i] if isinstance(value, list) else value for name, value in more.items()}
        some = np.arange(len(x)) if some is None else some
        histories.append(net.fit(x[some], y[some], sample_weight=weights[some], **of(wanted, i), **own))
    return nets, histories


def some_rows(count, rows):
    rng = np.random.default_rng(1)
    found = [rng.integers(0, rows, rows) for _ in range(count)]  # bootstraps,
    found[1], found[3] = None, np.arange(10, 70)  # all, and what lies in one piece
    return found


@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_each_has_its_own_bits(threads):
    x, y, weights = table(120)
    rows = some_rows(6, 120)
    alike = asked()
    twins, expected = alone(x, y, alike, rows, weights)
    wanted, nets = asked(), networks()
    histories = bp.fit_many(nets, x, y, rows=rows, sample_weight=weights, threads=threads, **wanted)
    assert same(outcome(nets, wanted), outcome(twins, alike))
    assert histories == expected
    assert all(isinstance(history, bp.History) and history.error is None for history in histories)


def test_early_stopping_on_data_held_out():
    def callbacks(i):
        return [bp.EarlyStopping(patience=1 + i % 2)]

    x, y, weights = table(120)
    rows = some_rows(6, 120)
    held_out = [(x[:20], y[:20]), (x[20:30], y[20:30], weights[20:30])] * 3
    alike, wanted, nets = asked(callbacks), asked(callbacks), networks()
    alike["epochs"] = wanted["epochs"] = [12] * 6
    twins, expected = alone(x, y, alike, rows, weights, validation_data=held_out)
    assert len({len(history["loss"]) for history in expected}) > 1  # they stop apart
    histories = bp.fit_many(nets, x, y, rows=rows, sample_weight=weights, validation_data=held_out, threads=2, **wanted)
    assert histories == expected and same(outcome(nets, wanted), outcome(twins, alike))
    for mine, its in zip(wanted["callbacks"], alike["callbacks"], strict=True):
        assert mine[0].state == its[0].state


@pytest.mark.parametrize("kind", ["rows are gathered as they come", "and converted"])
def test_the_same_bits_in_parts(kind, monkeypatch):
    x, y, weights = table(120)
    rows = some_rows(6, 120)
    alike = asked()
    twins, expected = alone(x, y, alike, rows, weights, validation_split=0.2)
    monkeypatch.setattr(gate, "LARGE", 512)
    monkeypatch.setattr(gate, "PIECE", 128)
    if kind == "and converted":
        x, y = x.astype("float64"), y.astype("float64")[:, ::-1].copy()[:, ::-1]
    wanted, nets = asked(), networks()
    histories = bp.fit_many(
        nets, x, y, rows=rows, sample_weight=weights, validation_split=0.2, threads=2, **wanted
    )  # fmt: skip
    assert same(outcome(nets, wanted), outcome(twins, alike))
    assert histories == expected


def test_many_rows_are_never_copied_as_a_whole(monkeypatch):
    monkeypatch.setattr(gate, "LARGE", 1 << 12)
    monkeypatch.setattr(gate, "PIECE", 1 << 10)
    taken = []
    chosen = gate.Chosen.__getitem__
    monkeypatch.setattr(gate.Chosen, "__getitem__", lambda self, rows: taken.append(len(rows)) or chosen(self, rows))
    x, y, _ = table(2000)
    rows = [np.random.default_rng(seed).permutation(2000)[:1500] for seed in range(3)]
    nets, twins = [[small(rng=seed) for seed in range(3)] for _ in range(2)]
    bp.fit_many(nets, x, y, loss="mse", optimizer="adam", rows=rows, batch_size=10)
    assert max(taken) == 60 and sum(taken) == 2 * 3 * 1500  # of x and of y: whole batches in 1 KiB
    for net, some in zip(twins, rows, strict=True):
        net.fit(x[some], y[some], loss="mse", optimizer="adam", batch_size=10)
    assert same(*[[net.parameters for net in some] for some in (nets, twins)])


def test_one_value_is_for_all():
    (x, y, _), optimizer, stopping = table(60), bp.Adam(1e-2), bp.EarlyStopping("loss", patience=2)
    nets, twins = [[small(rng=seed) for seed in range(4)] for _ in range(2)]
    how = {"loss": "mse", "epochs": 3, "batch_size": 8, "rng": 3}
    histories = bp.fit_many(nets, x, y, optimizer=optimizer, callbacks=[stopping], rows=range(50), **how)
    assert optimizer.steps == 0 and not stopping.state  # each had a copy
    expected = [net.fit(x[:50], y[:50], optimizer=bp.Adam(1e-2), **how) for net in twins]
    assert histories == expected and same(*[[net.parameters for net in some] for some in (nets, twins)])


def test_a_generator_is_drawn_from_in_order():
    x, y, _ = table(60)
    nets, twins = [[small(rng=seed) for seed in range(4)] for _ in range(2)]
    how = {"loss": "mse", "optimizer": "adam", "batch_size": 8}
    bp.fit_many(nets, x, y, rng=np.random.default_rng(2), threads=3, **how)
    rng = np.random.default_rng(2)
    for net in twins:
        net.fit(x, y, rng=rng, **how)
    assert same(*[[net.parameters for net in some] for some in (nets, twins)])


def test_data_for_each():
    (x, y, weights), how = table(90), {"loss": "mse", "optimizer": "adam", "batch_size": 8}
    nets, twins = [[small(rng=seed) for seed in range(3)] for _ in range(2)]
    parts = [slice(0, 30), slice(30, 50), slice(50, 90)]
    xs, ys, ws = ([array[part] for part in parts] for array in (x, y, weights))
    bp.fit_many(nets, xs, ys, sample_weight=ws, **how)
    for net, *some in zip(twins, xs, ys, ws, strict=True):
        net.fit(*some[:2], sample_weight=some[2], **how)
    assert same(*[[net.parameters for net in some] for some in (nets, twins)])


def test_tables_name_their_columns():
    pandas = pytest.importorskip("pandas")
    x, y, _ = table(60)
    frame = pandas.DataFrame(x, columns=list("abcd"))
    nets = [small(rng=seed) for seed in range(3)]
    bp.fit_many(nets, frame, y, loss="mse", optimizer="adam", rows=[range(40), range(20, 60), None])
    assert all(net.feature_names == tuple("abcd") for net in nets)
    assert np.array_equal(nets[0].predict(frame[list("dcba")]), nets[0].predict(frame))


def test_x_passes_the_gate_once(monkeypatch):
    found, rows = [], gate.rows
    monkeypatch.setattr(gate, "rows", lambda *given, **more: found.append(given[2]) or rows(*given, **more))
    x, y, _ = table(60, "float64")
    bp.fit_many([small(rng=i) for i in range(5)], x, y, loss=[bp.Huber() for _ in range(5)], optimizer="adam")
    assert len(found) == 1 and found[0] is x
    nets = [small(), small("float64"), tiny()]
    bp.fit_many(nets, x, y, loss=["mse", "mse", "mae"], optimizer="adam")
    assert [given is x for given in found[1:]] == [True, True, False]  # the last takes what the first has converted
    bp.fit_many(
        [small(rng=i) for i in range(5)], x, y, loss=lambda *given: bp.losses.get("mse")(*given), optimizer="adam"
    )
    assert len(found) == 5


def test_the_longest_begin_first():
    began = []

    class Began:
        __slots__ = ()

        def on_fit_begin(self, run):
            began.append(run.epochs)

    x, y, _ = table(30)
    bp.fit_many(
        [small(rng=i) for i in range(4)], x, y, loss="mse", optimizer="adam", epochs=[2, 9, 4, 9], callbacks=[Began()],
        threads=1,
    )  # fmt: skip
    assert began == [9, 9, 4, 2]


# What goes wrong.


def test_a_divergence_does_not_stop_the_others():
    (x, y, _), how = table(60), {"loss": "mse", "epochs": 4, "batch_size": 8}
    nets, twins = [[small(rng=seed) for seed in range(4)] for _ in range(2)]
    rates = [0.01, 1e20, 0.02, 0.03]
    with pytest.warns(
        RuntimeWarning, match=r"1 of 4 fits ended early: network 1: DivergedError: the loss stopped"
    ) as said:
        histories = bp.fit_many(nets, x, y, optimizer=[bp.SGD(rate) for rate in rates], **how)
    assert said[0].filename == __file__
    for i in (0, 2, 3):
        expected = twins[i].fit(x, y, optimizer=bp.SGD(rates[i]), **how)
        assert histories[i] == expected and histories[i].error is None
        assert np.array_equal(nets[i].parameters, twins[i].parameters)
    assert isinstance(histories[1].error, bp.DivergedError)
    assert histories[1].error.__notes__ == ["in the fit of network 1"]
    assert np.isfinite(nets[1].parameters).all()


def test_errors_raise_where_that_is_asked_for():
    x, y, _ = table(60)
    nets = [small(rng=seed) for seed in range(3)]
    rates = [0.01, 1e20, 0.02]
    begun = time.monotonic()
    with pytest.raises(bp.DivergedError, match="stopped being finite") as caught:
        bp.fit_many(
            nets, x, y, loss="mse", optimizer=[bp.SGD(rate) for rate in rates], epochs=[10**7, 1, 10**7],
            errors="raise", threads=3,
        )  # fmt: skip
    assert time.monotonic() - begun < 5 and caught.value.__notes__ == ["in the fit of network 1"]
    usable(nets[::2], x, y)


def usable(nets, x, y):
    assert all(np.isfinite(net.parameters).all() for net in nets)
    bp.fit_many(nets, x, y, loss="mse", optimizer="adam")


def test_where_none_comes_to_its_end_the_first_error_is_raised():
    def loss(y_hat, y):
        raise LookupError("no")

    x, y, _ = table(60)
    nets = [small(rng=seed) for seed in range(3)]
    with pytest.raises(LookupError, match="no"):
        bp.fit_many(nets, x, y, loss=loss, optimizer="adam")
    usable(nets, x, y)


def refused(match, kind=ValueError, nets=None, **more):
    x, y, _ = table(60)
    nets = [small(rng=seed) for seed in range(3)] if nets is None else nets
    before = [net.parameters.copy() for net in nets if isinstance(net, bp.Sequential)]
    how = {"loss": "mse", "optimizer": "adam"} | more
    with pytest.raises(kind, match=match):
        bp.fit_many(nets, how.pop("x", x), how.pop("y", y), **how)
    after = [net.parameters for net in nets if isinstance(net, bp.Sequential)]
    assert same(before, after)  # before anything is trained


def test_what_is_refused():
    net, used, stopping = small(), bp.Adam(), bp.EarlyStopping("loss")
    x, y, _ = table(60)
    net.fit(x, y, loss="mse", optimizer=used)
    refused("at least one, got none", nets=[])
    refused("expected a list of networks, got Sequential", TypeError, nets=net)
    refused(r"expected Sequential networks, got 3 in place 1", TypeError, nets=[net, 3])
    refused("expected each once, got network 0 again in place 2", nets=[net, small(), net])
    refused("or on the same memory", nets=[net, net[:3]])
    refused(r"got Adam\(0.001\) after 2 steps: give a list", optimizer=used)
    refused(r"got Adam\(0.001\) for 0 and for 1", optimizer=[shared := bp.Adam(), shared, bp.Adam()])
    refused(r"got EarlyStopping\('loss', mode='min'\) for 0 and for 2", callbacks=[[stopping], [], [stopping]])
    refused("give a list with a list for each network", callbacks=[bp.CSVLogger("history.csv")])
    refused("give a list with a list for each network", callbacks=[Notes()])
    refused("expected one, or a list with one for each of 3 networks, got 2", epochs=[1, 2])
    refused("expected one, or a list with one for each of 3 networks, got 4", rows=[[1]] * 4)
    refused("network 1: epochs: expected a whole number", epochs=[1, -1, 2])
    refused("network 2: rows: expected indices of rows from 0 to 59, got 60", rows=[[1], [2], [60]])
    refused("network 0: rows: expected indices of rows from 0 to 59, got -1", rows=[3, -1])
    refused(r"take np.flatnonzero\(mask\)", TypeError, rows=np.ones(60, bool))
    refused("whole numbers, got float64", TypeError, rows=[0.5])
    refused(r"at least one, got shape \(0,\)", rows=[])
    refused("sample_weight of these rows: expected a positive weight", rows=[0], sample_weight=[0] + [1] * 59)
    refused("errors: expected one of warn, raise, got 'ignore'", errors="ignore")
    refused("threads: expected a whole number", TypeError, threads=1.5)
    refused("progress: expected True or False", TypeError, progress=1)
    refused("network 0: loss: expected", loss="none of these")
    refused("y: expected the targets of x, got None: batches", TypeError, y=None)
    refused("y: expected the targets of x, got None: batches", TypeError, x=[(x, y)], y=None)
    refused("network 0: y: expected 60 rows", y=np.zeros((5, 3)))


def test_a_network_that_is_trained_elsewhere_is_refused():
    net, inside, over = small(), threading.Event(), threading.Event()

    class Waits:
        def on_epoch_end(self, run):
            inside.set()
            assert over.wait(20)

    x, y, _ = table(60)
    how = {"loss": "mse", "optimizer": "adam"}
    thread = threading.Thread(target=lambda: net.fit(x, y, callbacks=[Waits()], **how))
    thread.start()
    try:
        assert inside.wait(20)
        refused("network 1: this network is being trained", bp.BusyError, nets=[small(), net])
    finally:
        over.set()
        thread.join()


def test_progress_says_how_many_are_done(capsys, caplog):
    x, y, _ = table(60)
    how = {"loss": "mse", "optimizer": "adam"}
    bp.fit_many([small(rng=i) for i in range(3)], x, y, **how)
    assert capsys.readouterr() == ("", "")
    with caplog.at_level("INFO", "backprop"):
        bp.fit_many([small(rng=i) for i in range(3)], x, y, progress=True, **how)
    assert capsys.readouterr().err.splitlines()[-1] == "network 3/3"
    assert caplog.messages[-1] == "network 3/3" and all("epoch" not in line for line in caplog.messages)


def test_what_a_caller_has_set_holds_in_the_threads():
    def loss(y_hat, y):
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(3))
        return bp.losses.get("mse")(y_hat, y)

    x, y, _ = table(60)
    with np.errstate(divide="raise"):
        bp.fit_many([small(), small()], x, y, loss=loss, optimizer="adam", threads=2)


INTERRUPTED = """
    import signal, sys, time
    import numpy as np
    import backprop as bp

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    layers, rows, batch, threads = {scenario}
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(rows, n)).astype("float32") for n in (layers[0], layers[-1]))
    nets = [bp.Sequential([bp.Dense(i, o, "tanh") for i, o in zip(layers, layers[1:])], rng=i) for i in range(5)]
    optimizers = [bp.Adam(1e-4) for _ in nets]
    how = dict(loss="mse", batch_size=batch, shuffle=False)
    print("ready", flush=True)
    try:
        bp.fit_many(nets, x, y, optimizer=optimizers, epochs=10**8, threads=threads, **how)
    except KeyboardInterrupt:
        stopped = time.monotonic()
    else:
        sys.exit("the fits came to their end")
    begun = [i for i, net in enumerate(nets) if net.steps]
    assert begun and set(begun) <= set(range(threads)), begun  # all are of a size
    for i in begun:  # the weights are those of the last whole batch
        whole, rest = divmod(nets[i].steps, -(-rows // batch))
        twin = bp.Sequential([bp.Dense(n, o, "tanh") for n, o in zip(layers, layers[1:])], rng=i)
        twin.fit(x, y, optimizer=(other := bp.Adam(1e-4)), epochs=whole, **how)
        if rest:
            twin.fit(x[:rest * batch], y[:rest * batch], optimizer=other, **how)
        assert np.array_equal(nets[i].parameters, twin.parameters)
        assert optimizers[i].steps == nets[i].steps
    bp.fit_many(nets, x[:batch], y[:batch], optimizer=optimizers, **how)
    print(stopped)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")
@pytest.mark.parametrize(
    "scenario",
    [((20, 64, 32, 1), 10_000, 32, 2), *(pytest.param(given, marks=pytest.mark.slow) for given in [
        ((2, 2, 1), 4, 4, 1), ((784, 128, 10), 20_000, 128, 3), ((20, 64, 1), 1000, 1, 2),
    ])],
)  # fmt: skip
def test_ctrl_c_stops_all(scenario):
    late = []
    while not late or (late[-1] > 1 and len(late) < 3):  # again, if the machine was busy with other things
        sent, stopped = interrupted(textwrap.dedent(INTERRUPTED).format(scenario=scenario))
        late.append(float(stopped) - sent)
        print(f"Ctrl-C, {scenario}: {late[-1] * 1000:.0f} ms")
    assert late[-1] < 1  # 0.2 s is what is promised; the rest is for other things too


@pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")
def test_one_long_batch_is_stopped_within():
    # Signals do not reach the threads: whoever waits for them stops what they are at.
    nets = [bp.Sequential([bp.Dense(64, 2048), bp.Dense(2048, 2048), bp.Dense(2048, 1)], rng=i) for i in range(2)]
    x, late = np.ones((6000, 64), "float32"), []
    while not late or (late[-1] > 1 and len(late) < 3):  # again, if the machine was busy with other things
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt), alarm(KeyboardInterrupt, 0.2):
            bp.fit_many(nets, x, x[:, :1], loss="mse", optimizer="adam", batch_size=None, epochs=10, threads=2)
        late.append(time.monotonic() - begun - 0.2)
        print(f"Ctrl-C within a long batch: {late[-1] * 1000:.0f} ms")
    assert late[-1] < 1  # as above


class EnoughError(Exception):
    pass


@pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")
@pytest.mark.parametrize("how", ["compiled", "custom loss", "L-BFGS", "callback of batches", "validation"])
def test_whatever_a_handler_raises_stops_all(how):
    more = {
        "compiled": {}, "custom loss": {"loss": lambda *given: bp.losses.get("mse")(*given)},
        "L-BFGS": {"optimizer": bp.LBFGS(tolerance=0.0)}, "callback of batches": {"callbacks": [Batches()]},
        "validation": {"validation_split": 0.5},
    }[how]  # fmt: skip
    x, y, _ = table(400)
    nets = [small(rng=seed) for seed in range(3)]
    begun = time.monotonic()
    with alarm(EnoughError, 0.3), pytest.raises(EnoughError):
        bp.fit_many(nets, x, y, epochs=10**8, threads=2, **{"loss": "mse", "optimizer": bp.Adam(1e-4)} | more)
    assert time.monotonic() - begun < 5
    assert [net.steps > 0 or net.epochs > 0 for net in nets] == [True, True, False]
    usable(nets, x, y)


class Batches:
    __slots__ = ()

    def on_batch_end(self, run):
        assert run.batch >= 0


def test_each_has_its_own_checkpoint(tmp_path):
    x, y, _ = table(60)
    nets, how = [small(rng=seed) for seed in range(3)], {"loss": "mse", "batch_size": 8}
    keep = [[bp.Checkpoint(tmp_path / f"{i}.safetensors")] for i in range(3)]
    bp.fit_many(nets, x, y, optimizer=bp.Adam(0.01), epochs=3, callbacks=keep, **how)
    for i in range(3):
        net, history = bp.resume(tmp_path / f"{i}.safetensors", x, y, epochs=5, callbacks=keep[i], **how)
        twin = small(rng=i)
        assert history == twin.fit(x, y, optimizer=bp.Adam(0.01), epochs=5, **how)
        assert np.array_equal(net.parameters, twin.parameters)


def test_words_of_other_libraries_are_understood():
    x, y, _ = table(60)
    with pytest.raises(
        TypeError, match=r"fit_many\(\) got an unexpected keyword argument 'lr', expected fit_many\(net"
    ):
        bp.fit_many([small()], x, y, loss="mse", optimizer="adam", lr=0.1)


def test_the_module_is_imported_when_it_is_asked_for():
    code = "import sys, backprop; assert 'backprop.many' not in sys.modules; backprop.fit_many"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert many.fit_many is bp.fit_many
