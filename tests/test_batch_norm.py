"""Running statistics belong to the weights and the rows they serve: wherever the two could part, they are looked at."""

import pickle

import numpy as np
import pytest
from oracles import InTorch
from runs import shaken

import backprop as bp

DTYPES = ["float32", "float64"]

#: Networks from 4 numbers to 2, with batch norms in every place.
NETWORKS = {
    "hidden": lambda: [bp.Dense(4, 8), bp.BatchNorm(), bp.Activation("tanh"), bp.Dense(8, 2)],
    "at both ends": lambda: [bp.BatchNorm(), bp.Dense(4, 2, "tanh"), bp.BatchNorm(momentum=0.4)],
    "one after the other": lambda: [bp.BatchNorm(), bp.BatchNorm(epsilon=0.1), bp.Dense(4, 2)],
    "in a residual": lambda: [bp.Residual([bp.BatchNorm(), bp.Residual([bp.Dense(4, 4, "gelu"), bp.BatchNorm()])]),
                              bp.Dense(4, 2)],
    "in branches": lambda: [bp.Dense(4, 5, "tanh"), bp.Concatenate([[bp.BatchNorm()], [bp.Dense(5, 3), bp.BatchNorm()]]),
                            bp.Dense(8, 2)],
    "after dropout": lambda: [bp.Dense(4, 8, "relu"), bp.Dropout(0.4), bp.BatchNorm(), bp.Dense(8, 2)],
    "beside a layer in Python": lambda: [bp.Dense(4, 5, "tanh"), bp.BatchNorm(), Twice(), bp.BatchNorm(),
                                         bp.Dense(5, 2)],
}  # fmt: skip
every_network = pytest.mark.parametrize("name", NETWORKS)


class Twice(bp.Layer):
    def forward(self, x, training):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def network(name, dtype="float64", rng=1):
    return shaken(NETWORKS[name](), dtype, rng)


def table(rows, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return (3 * rng.normal(size=(rows, 4)) + 1).astype(dtype), rng.normal(size=(rows, 2)).astype(dtype)


def norms(net):
    return [leaf for leaf in net.leaves.values() if isinstance(leaf, bp.BatchNorm)]


def without_dropout(name):
    """The layers, but that nothing drops: what a norm sees in training is then what it sees in `predict`."""
    return [layer for layer in NETWORKS[name]() if not isinstance(layer, bp.Dropout)]


def of_one_batch(name, net, x):
    """Mean and variance (by n) of what each norm takes, by a pass in training mode that replaces the running ones."""
    twin = bp.Sequential(without_dropout(name), rng=0, dtype="float64")
    twin.parameters = net.parameters
    for norm in norms(twin):
        norm.momentum = 1.0
    twin.forward(x)
    for norm in norms(twin):
        norm.running_variance *= (len(x) - 1) / len(x)
    return twin.buffers


# Statistics of given rows.


@every_network
@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics_are_those_of_all_rows_under_the_present_weights(name, dtype):
    net, (x, _) = network(name, dtype), table(3000, dtype)
    before = net.parameters.copy(), net.gradients.copy(), net.epochs, net.steps
    net.update_statistics(x)
    near = {"float32": 2e-5, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(net.buffers, of_one_batch(name, net, x), rtol=near, atol=near)
    assert np.array_equal(net.parameters, before[0]) and np.array_equal(net.gradients, before[1])
    assert (net.epochs, net.steps) == before[2:]
    found = net.buffers.copy()
    for batch_size in (1, 1000, 1024, 2500, 10**6):
        for threads in (1, 2):
            net.buffers = np.full_like(found, 0.3)
            net.update_statistics(x, batch_size=batch_size, threads=threads)
            assert np.array_equal(net.buffers, found)


def test_statistics_lose_no_digits_far_from_zero():
    net = bp.Sequential([bp.BatchNorm(), bp.Dense(4, 2)], rng=0, dtype="float64")
    x, _ = table(5000)
    net.update_statistics(x + 1e7)
    np.testing.assert_allclose(net.layers[0].running_variance, x.var(axis=0), rtol=1e-7)
    x[:2000] += 1e7  # sorted rows: the first slices know nothing of the last
    net.update_statistics(x)
    np.testing.assert_allclose(net.layers[0].running_variance, x.var(axis=0), rtol=1e-12)


def test_statistics_take_what_predict_takes():
    net, (x, _) = network("hidden", "float32"), table(50)
    net.update_statistics(x.tolist())
    found = net.buffers.copy()
    for other in (x, np.asfortranarray(x), x[::-1].copy()[::-1]):
        net.buffers[:] = 0
        net.update_statistics(other)
        assert np.array_equal(net.buffers, found)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((1, 4)), "x: expected at least 2 rows to take a variance of, got 1"),
        (np.empty((0, 4)), "x: expected at least one row"),
        (np.ones((5, 3)), r"expected input of shape \(batch, 4\)"),
        (np.array([[1, 2, 3, np.nan]] * 3), "x: expected finite numbers"),
        (np.array([[1e30] * 4, [-1e30] * 4]), "finite variance: scale them"),
    ],
)
def test_statistics_are_set_wholly_or_not_at_all(x, message):
    net = bp.Sequential([bp.Dense(4, 3), bp.BatchNorm(), bp.Dense(3, 2), bp.BatchNorm()], rng=0)
    before = net.buffers.copy()
    with pytest.raises(ValueError, match=message):
        net.update_statistics(x)
    assert np.array_equal(net.buffers, before)


def test_without_a_batch_norm_there_is_nothing_to_set():
    net = bp.Sequential([bp.Dense(4, 3), bp.LayerNorm()], rng=0)
    before = net.parameters.copy()
    net.update_statistics(np.ones((1, 4)))
    assert np.array_equal(net.parameters, before)


# Averaged weights.


def averaged_fit(name):
    net, optimizer, (x, y) = network(name), bp.Adam(0.05, average=0.9), table(300)
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=3)
    return net, optimizer, x, y


@every_network
def test_averaged_weights_have_statistics_of_their_own(name):
    net, optimizer, x, y = averaged_fit(name)
    own = net.parameters.copy(), net.buffers.copy(), net.predict(x)
    twin = bp.Sequential(NETWORKS[name](), rng=0, dtype="float64")
    twin.parameters = optimizer.state["average"]
    twin.update_statistics(x)
    with optimizer.averaged(net, x):
        assert np.array_equal(net.parameters, twin.parameters) and np.array_equal(net.buffers, twin.buffers)
        assert net.evaluate(x, y, loss="mse") == twin.evaluate(x, y, loss="mse")
        net.forward(x)  # moves the statistics
    with optimizer.averaged(net):
        net.update_statistics(x)
        assert np.array_equal(net.predict(x), twin.predict(x))
    with pytest.raises(LookupError, match="mine"), optimizer.averaged(net, x):
        raise LookupError("mine")
    with pytest.raises(ValueError, match="at least 2 rows"), optimizer.averaged(net, x[:1]):
        pass
    assert np.array_equal(net.parameters, own[0]) and np.array_equal(net.buffers, own[1])
    assert np.array_equal(net.predict(x), own[2])


USES = {
    "one row": lambda net, x, y: net.predict(x[:1]),
    "rows": lambda net, x, y: net(x, batch_size=7),
    "evaluate": lambda net, x, y: net.evaluate(x, y, loss="mse"),
    "save": lambda net, x, y: net.to_bytes(),
    "copy": lambda net, x, y: net.copy(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_averaged_weights_are_not_used_with_the_statistics_of_others(use):
    net, optimizer, x, y = averaged_fit("hidden")
    with (
        optimizer.averaged(net),
        pytest.raises(ValueError, match=r"averaged\(net, x\).* or call net.update_statistics"),
    ):
        use(net, x, y)
    use(net, x, y)


def test_where_nothing_is_normalised_averaged_weights_need_no_rows():
    x, y = table(50)
    net, optimizer = bp.Sequential([bp.Dense(4, 2)], rng=0, dtype="float64"), bp.SGD(0.01, average=0.5)
    net.fit(x, y, loss="mse", optimizer=optimizer, epochs=2)
    with optimizer.averaged(net):
        net.copy().predict(x)


# Batches of one row.


def trained(net, epochs=2, rows=60, **how):
    x, y = table(rows, net.dtype)
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.02), epochs=epochs, batch_size=8, **how)
    return net


def plain(name, dtype="float64"):
    """A network that has been trained some steps, and drops nothing."""
    net = bp.Sequential(without_dropout(name), rng=1, dtype=dtype)
    return trained(net)


@every_network
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_row_is_normalised_by_the_running_statistics(name, dtype):
    net, (x, y) = plain(name, dtype), table(1, dtype, seed=3)
    kept = net.buffers.copy()
    assert np.array_equal(net.forward(x), net.predict(x))
    assert np.array_equal(net.buffers, kept)
    if dtype == "float64":
        assert bp.check_gradients(net, "mse", x, y).error < 1e-6
    assert np.array_equal(net.buffers, kept)


@every_network
def test_the_gradient_of_one_row_is_that_of_a_fixed_map(name):
    net, (x, _) = plain(name), table(1, seed=3)
    net.forward(x)
    dx = net.backward(np.array([[1.0, -2.0]]))[0]
    for i in range(4):
        step = np.zeros((1, 4))
        step[0, i] = 1e-6
        change = (net.predict(x + step) - net.predict(x - step))[0] @ [1, -2] / 2e-6
        assert dx[i] == pytest.approx(change, rel=1e-6, abs=1e-8)


@every_network
@pytest.mark.parametrize("how", ["arrays", "weights", "batches", "two threads", "three threads"])
def test_a_fit_whose_last_batch_is_one_row_is_the_four_lines(name, how):
    x, y = table(25)
    weights = np.arange(1.0, 26) if how == "weights" else None
    fitted, by_hand = network(name), network(name)
    optimizer = bp.Adam(0.01)
    if how == "batches":
        batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 25, 8)]
        fitted.fit(batches, loss="mse", optimizer=optimizer, epochs=3)
    else:
        threads = {"two threads": 2, "three threads": 3}.get(how)
        fitted.fit(x, y, loss="mse", optimizer=optimizer, epochs=3, batch_size=8, shuffle=False, threads=threads,
                   sample_weight=weights)  # fmt: skip
    loss, optimizer = bp.MeanSquaredError(), bp.Adam(0.01)
    for i in [*range(0, 25, 8)] * 3:
        y_hat = by_hand.forward(x[i : i + 8])
        _, dy = loss(y_hat, y[i : i + 8], None if weights is None else weights[i : i + 8])
        by_hand.backward(dy)
        optimizer.step(by_hand)
    assert np.array_equal(fitted.parameters, by_hand.parameters)
    assert np.array_equal(fitted.buffers, by_hand.buffers)


@pytest.mark.parametrize("rows", [200, 201, 2])
def test_the_running_statistics_become_those_of_the_rows(rows):
    x, y = table(rows)
    net = bp.Sequential([bp.BatchNorm(), bp.Dense(4, 2)], rng=0, dtype="float64")
    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.01), epochs=200, batch_size=100)
    norm = net.layers[0]
    near = 0.05 if rows > 2 else 1e-6
    np.testing.assert_allclose(norm.running_variance, x.var(axis=0, ddof=1), rtol=near)
    np.testing.assert_allclose(norm.running_mean, x.mean(axis=0), atol=near)


def test_an_estimator_fits_one_row_more_as_well():
    sk = pytest.importorskip("backprop.sklearn")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(201, 5))
    y = x @ [1.0, -2, 0.5, 0, 3]
    settings = {
        "hidden_layer_sizes": (50,),
        "batch_norm": True,
        "random_state": 0,
        "max_iter": 300,
        "n_iter_no_change": 300,
    }
    for rows in 200, 201:
        with pytest.warns(UserWarning, match="Maximum iterations"):
            mlp = sk.MLPRegressor(**settings).fit(x[:rows], y[:rows])
        assert mlp.score(x, y) > 0.97


ROWS = table(9)
SINGLE = [(ROWS[0][i : i + 1], ROWS[1][i : i + 1]) for i in range(9)]
REFUSED = {
    "batch_size=1": lambda net, fit: fit(*ROWS, batch_size=1),
    "a single row": lambda net, fit: fit(ROWS[0][:1], ROWS[1][:1]),
    "a single row, all at once": lambda net, fit: fit(ROWS[0][:1], ROWS[1][:1], batch_size=None),
    "a single row, L-BFGS": lambda net, fit: fit(ROWS[0][:1], ROWS[1][:1], optimizer=bp.LBFGS()),
    "one row left by the split": lambda net, fit: fit(ROWS[0][:2], ROWS[1][:2], validation_split=0.5),
    "batches of one row": lambda net, fit: fit(SINGLE),
}


@every_network
@pytest.mark.parametrize("how", REFUSED)
def test_a_batch_norm_refuses_to_learn_from_single_rows(name, how):
    net = network(name)

    def fit(x, y=None, optimizer=None, **how):
        net.fit(x, y, loss="mse", optimizer=optimizer or bp.SGD(0.01), **how)

    place = next(at for at, leaf in net.leaves.items() if isinstance(leaf, bp.BatchNorm)).replace(".", r"\]\[")
    with pytest.raises(ValueError, match=rf"batch_size: expected .* at least 2 rows for layers\[{place}\], BatchNorm"):
        REFUSED[how](net, fit)
    for norm in norms(net):
        norm.momentum = 0
    REFUSED[how](net, fit)


def test_single_rows_are_no_matter_where_none_is_learned_from():
    net = network("hidden")
    net.fit(*ROWS, loss="mse", optimizer=bp.LBFGS(), batch_size=1)  # takes all rows at once
    net.fit([*SINGLE, ROWS], loss="mse", optimizer=bp.SGD(0.01))
    net.fit(*ROWS, loss="mse", optimizer=bp.SGD(0.01), validation_data=SINGLE[0])
    bp.Sequential([bp.Dense(4, 2), bp.LayerNorm()]).fit(*ROWS, loss="mse", optimizer=bp.SGD(0.01), batch_size=1)


def test_estimators_refuse_single_rows_with_batch_norm():
    sk = pytest.importorskip("backprop.sklearn")
    x, y = ROWS
    with pytest.raises(ValueError, match=r"batch_size: expected .* for layers\[1\], BatchNorm\(\)"):
        sk.MLPRegressor(hidden_layer_sizes=(5,), batch_norm=True, batch_size=1).fit(x, y)
    with pytest.raises(ValueError, match=r"batch_size: expected .* for layers\[1\], BatchNorm\(\)"):
        sk.MLPRegressor(hidden_layer_sizes=(5,), batch_norm=True).partial_fit(x[:1], y[:1])
    with pytest.raises(ValueError, match=r"batch_size: expected .* for layers\[1\], BatchNorm\(\)"):
        sk.MLPClassifier(hidden_layer_sizes=(5,), batch_norm=True, batch_size=1).fit(x, np.arange(9) % 2)
    mlp = sk.MLPRegressor(
        hidden_layer_sizes=(5,), layer_norm=True, batch_size=1, max_iter=9, n_iter_no_change=1, tol=1e9
    )
    mlp.fit(x, y)


# Optimizers that change the weights and take no steps.


def settled(name, net, x):
    """The statistics that belong to the weights of a network and to these rows."""
    twin = bp.Sequential(NETWORKS[name](), rng=0, dtype="float64")
    twin.parameters = net.parameters
    twin.update_statistics(x)
    return twin.buffers


class Stop(bp.Callback):
    def on_epoch_end(self, run):
        self.seen = run.network.buffers.copy(), run.network.parameters.copy()
        if run.epoch == 3:
            raise KeyboardInterrupt


@every_network
def test_lbfgs_leaves_the_statistics_of_the_weights_it_found(name):
    x, y = table(80)
    held_out = table(40, seed=5)
    net, seen = network(name), []

    class See(bp.Callback):
        def on_epoch_end(self, run):
            seen.append(settled(name, run.network, x))
            assert np.array_equal(run.network.buffers, seen[-1])
            assert run.history["val_loss"][-1] == run.network.evaluate(*held_out, loss="mse")["loss"]

    history = net.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=6, validation_data=held_out, callbacks=[See()],
                      metrics=["mae"])  # fmt: skip
    assert np.array_equal(net.buffers, settled(name, net, x)) and len(seen) == 6
    if name != "after dropout":  # the loss that was minimised is that of `predict`
        again = net.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=1, metrics=["mse"])
        assert again["mse"][0] == pytest.approx(again["loss"][0], rel=1e-9)
        first = network(name).fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=1, metrics=["mse"])
        assert first["mse"][0] == pytest.approx(first["loss"][0], rel=1e-9)
    unseen = network(name)  # with all its iterations in one go: the line search is not disturbed
    assert unseen.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=6)["loss"] == history["loss"]
    assert np.array_equal(unseen.buffers, seen[5])


def test_what_is_trained_far_down_is_evaluated_far_down():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    y = np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=1)
    net = bp.Sequential(
        [bp.Dense(4, 40), bp.BatchNorm(), bp.Activation("tanh"), bp.Dense(40, 2)], rng=0, dtype="float64"
    )
    history = net.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=300)
    assert net.evaluate(x, y, loss="mse")["loss"] <= history["loss"][-1] < 1e-4


def test_lbfgs_that_is_interrupted_or_stopped_early():
    (x, y), held_out = table(80), table(40, seed=5)
    net, stop = network("hidden"), Stop()
    with pytest.raises(KeyboardInterrupt):
        net.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=20, callbacks=[stop])
    assert np.array_equal(net.buffers, settled("hidden", net, x))
    looks = iter(range(12))

    def evaluate():
        if next(looks) == 11:
            raise KeyboardInterrupt
        return net.value_and_gradient(x, y, "mse")

    before = net.parameters.copy()
    with pytest.raises(KeyboardInterrupt):
        bp.LBFGS().minimize(net, evaluate, 20)
    assert not np.array_equal(net.parameters, before)
    assert np.array_equal(net.buffers, settled("hidden", net, x))
    stopping = bp.EarlyStopping(patience=2)
    net.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=60, validation_data=held_out, callbacks=[stopping])
    assert np.array_equal(net.buffers, settled("hidden", net, x))
    assert net.evaluate(*held_out, loss="mse")["loss"] == stopping.state["best"]


def test_lbfgs_that_finds_no_loss_to_begin_with_changes_nothing():
    x, y = table(20)
    net = trained(network("hidden"))
    net.parameters[:] = 1e200
    kept = net.buffers.copy()
    for fit in (
        lambda: net.fit(x, y, loss="mse", optimizer=bp.LBFGS()),
        lambda: bp.LBFGS().minimize(net, lambda: net.value_and_gradient(x, y, "mse")),
    ):
        with pytest.raises(bp.DivergedError):
            fit()
        assert np.array_equal(net.buffers, kept)


@every_network
def test_minimising_by_hand(name):
    x, y = table(80)
    net = network(name)
    bp.LBFGS().minimize(net, lambda: net.value_and_gradient(x, y, "mse"), 5)
    assert np.array_equal(net.buffers, settled(name, net, x))
    in_parts = network("hidden")

    def evaluate():
        found = [in_parts.value_and_gradient(x[part], y[part], "mse") for part in (slice(0, 30), slice(30, 80))]
        return sum(value for value, _ in found), sum(gradient for _, gradient in found)

    bp.LBFGS().minimize(in_parts, evaluate, 5)
    assert np.array_equal(in_parts.buffers, settled("hidden", in_parts, x))
    kept = in_parts.buffers.copy()
    in_parts.value_and_gradient(x[:5], y[:5], "mse")  # a look changes nothing
    assert np.array_equal(in_parts.buffers, kept)


def test_scipy_minimises_and_the_statistics_follow_by_a_call():
    optimize = pytest.importorskip("scipy.optimize")
    x, y = table(80)
    net = network("hidden")

    def objective(p):
        net.parameters = p
        return net.value_and_gradient(x, y, "mse")

    found = optimize.minimize(objective, net.parameters.copy(), jac=True, method="L-BFGS-B", options={"maxiter": 30})
    net.parameters = found.x
    net.update_statistics(x)
    assert net.evaluate(x, y, loss="mse")["loss"] == pytest.approx(found.fun, rel=1e-9)


def test_an_estimator_with_lbfgs():
    sk = pytest.importorskip("backprop.sklearn")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 3))
    y = np.sin(x[:, 0]) + x[:, 1]
    settings = {
        "batch_norm": True,
        "optimizer": bp.LBFGS(),
        "random_state": 0,
        "max_iter": 60,
        "n_iter_no_change": 1000,
    }
    mlp = sk.MLPRegressor(hidden_layer_sizes=(20,), alpha=0, **settings)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        mlp.fit(x, y)
    assert mlp.score(x, y) > 0.99
    with pytest.warns(UserWarning, match="Maximum iterations"):
        mlp = sk.MLPRegressor(hidden_layer_sizes=(20,), early_stopping=True, **settings).fit(x, y)
    assert mlp.score(x, y) > 0.9


@pytest.mark.parametrize("early", [False, True])
def test_an_estimator_with_averaged_weights(early):
    sk = pytest.importorskip("backprop.sklearn")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = np.sin(x[:, 0]) + x[:, 1]
    mlp = sk.MLPRegressor(
        hidden_layer_sizes=(20,), batch_norm=True, optimizer=bp.Adam(0.02, average=0.98), early_stopping=early,
        random_state=0, max_iter=60, n_iter_no_change=1000, batch_size=40, dtype="float64",
    )  # fmt: skip
    with pytest.warns(UserWarning, match="Maximum iterations"):
        mlp.fit(x, y)
    assert mlp.score(x, y) > 0.95
    if not early:
        twin = mlp.network_.copy()
        twin.update_statistics(x)
        assert np.array_equal(mlp.network_.buffers, twin.buffers)


# Frozen statistics.

FROZEN = {
    "trainable": lambda net: [setattr(layer, "trainable", False) for layer in net.layers],
    "trainable, each": lambda net: [setattr(norm, "trainable", False) for norm in norms(net)],
    "momentum": lambda net: [setattr(norm, "momentum", 0) for norm in norms(net)],
}
THAWED = {
    "trainable": lambda net: [setattr(layer, "trainable", True) for layer in net.layers],
    "trainable, each": lambda net: [setattr(norm, "trainable", True) for norm in norms(net)],
    "momentum": lambda net: [setattr(norm, "momentum", 0.1) for norm in norms(net)],
}


@every_network
@pytest.mark.parametrize("how", FROZEN)
@pytest.mark.parametrize("threads", [1, 2])
def test_frozen_statistics_normalise_training_and_stay(name, how, threads):
    net, (x, y) = plain(name), table(40, seed=3)
    moving = net.forward(x)
    FROZEN[how](net)
    kept, weights = net.buffers.copy(), net.parameters.copy()
    assert np.array_equal(net.forward(x), net.predict(x)) and not np.allclose(moving, net.predict(x))
    assert bp.check_gradients(net, "mse", x[:6], y[:6]).error < 1e-6
    net.update_statistics(x)
    net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=3, threads=threads)
    assert np.array_equal(net.buffers, kept)
    assert np.array_equal(net.parameters, weights) == (how == "trainable")
    net.fit(x, y, loss="mse", optimizer=bp.LBFGS(), epochs=2)
    assert np.array_equal(net.buffers, kept)
    with_average = bp.Adam(0.01, average=0.9)
    net.fit(x, y, loss="mse", optimizer=with_average, epochs=2)
    with with_average.averaged(net):
        net.predict(x)  # frozen statistics serve any weights
    THAWED[how](net)
    net.fit(x, y, loss="mse", optimizer=bp.Adam(0.01), epochs=1)
    assert not np.array_equal(net.buffers, kept)


def test_a_frozen_trunk_answers_as_before_under_a_new_head():
    x, y = table(64)
    trunk = [bp.Residual([bp.BatchNorm(), bp.Dense(4, 4, "tanh")]),
             bp.Concatenate([[], [bp.Dense(4, 5), bp.BatchNorm(), bp.Activation("relu")]])]  # fmt: skip
    net = bp.Sequential([*trunk, bp.Dense(9, 2)], rng=0, dtype="float64")
    trained(net)
    for layer in trunk:
        layer.trainable = False
    head = net.layers[-1]

    def features(rows):
        head_weight, head_bias = head.weight.copy(), head.bias.copy()
        head.weight, head.bias = np.eye(9)[:, :2], np.zeros(2)
        found = net.predict(rows)
        head.weight, head.bias = head_weight, head_bias
        return found

    before = features(x)
    net.fit(3 * x + 7, y, loss="mse", optimizer=bp.Adam(0.01), epochs=5)
    assert np.array_equal(features(x), before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_frozen_norm_is_that_of_pytorch_in_eval_mode(torch, dtype):
    net = plain("hidden", dtype)
    net.layers[1].momentum = 0
    twin, (x, _), dy = InTorch(torch, net), table(20, dtype, seed=3), table(20, dtype)[1]
    given = torch.tensor(x, requires_grad=True)
    y_hat = twin(given)
    near = {"float32": 2e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(net.forward(x), y_hat.detach().numpy(), rtol=near, atol=near)
    y_hat.backward(torch.tensor(dy))
    np.testing.assert_allclose(net.backward(dy), given.grad.numpy(), rtol=near, atol=near)
    gradients = twin.flat([parameter.grad for parameter in twin.parameters])
    np.testing.assert_allclose(net.gradients, gradients, rtol=10 * near, atol=10 * near)


@pytest.mark.parametrize("then", [True, False])
def test_a_backward_is_that_of_its_forward(then):
    """Whatever becomes of the layer, or of other passes, in between."""
    x, y = table(20)
    dy = np.random.default_rng(0).normal(size=(20, 2))
    net, twin = plain("hidden"), plain("hidden")
    for one in (net, twin):
        one.layers[1].trainable = not then
        one.forward(x)
    net.layers[1].trainable = then
    net.value_and_gradient(x, y, "mse")
    assert np.array_equal(net.backward(dy), twin.backward(dy))
    assert np.array_equal(net.gradients, twin.gradients)


def test_what_is_set_in_a_network_counts_at_once():
    x, y = table(40)
    net, seen = plain("hidden"), []

    class Freeze(bp.Callback):
        def on_epoch_end(self, run):
            seen.append(net.buffers.copy())
            net.layers[1].momentum = 0.1 if run.epoch == 4 else 0.0

    net.fit(x, y, loss="mse", optimizer=bp.SGD(0.01), epochs=6, callbacks=[Freeze()])
    same = [np.array_equal(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    assert same == [True, True, True, False, True]
    net.layers[1].momentum = 1.0
    net.forward(x)
    z = x @ net.layers[0].weight + net.layers[0].bias
    np.testing.assert_allclose(net.layers[1].running_mean, z.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(net.layers[1].running_variance, z.var(axis=0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize(
    ("momentum", "error"),
    [(-0.1, ValueError), (1.5, ValueError), (np.nan, ValueError), ("0", TypeError), (True, TypeError)],
)
def test_a_momentum_is_looked_at_wherever_it_is_set(momentum, error):
    net = network("hidden")
    with pytest.raises(error, match="momentum: expected"):
        bp.BatchNorm(momentum=momentum)
    with pytest.raises(error, match="momentum: expected"):
        net.layers[1].momentum = momentum
    assert net.layers[1].momentum == 0.1
    with pytest.raises(AttributeError, match="epsilon"):
        net.layers[1].epsilon = 0.1


@every_network
@pytest.mark.parametrize("how", FROZEN)
def test_a_frozen_norm_stays_frozen_in_a_file(name, how):
    if "Python" in name:
        return  # no file holds it
    net, (x, _) = plain(name), table(10)
    FROZEN[how](net)
    for twin in (net.copy(), pickle.loads(pickle.dumps(net))):
        assert twin == net and [norm.frozen for norm in norms(twin)] == [True] * len(norms(net))
        assert [norm.config() for norm in norms(twin)] == [norm.config() for norm in norms(net)]
        assert np.array_equal(twin.forward(x), net.predict(x))
    assert ("momentum=0.0" in repr(net)) == (how == "momentum")
    THAWED[how](net)
    assert twin != net or how == "trainable, each"


def test_a_warm_start_keeps_what_is_frozen():
    sk = pytest.importorskip("backprop.sklearn")
    x, y = table(60)
    mlp = sk.MLPRegressor(
        hidden_layer_sizes=(5,), batch_norm=True, warm_start=True, max_iter=3, n_iter_no_change=1, tol=9
    )
    norm = mlp.fit(x, y).network_.layers[1]
    norm.momentum, kept = 0, norm.running_mean.copy()
    norm = mlp.set_params(alpha=0.1).fit(x, y).network_.layers[1]  # another network with the same weights
    assert norm.frozen and np.array_equal(norm.running_mean, kept)


# What puts weights back puts their statistics back.


@pytest.mark.parametrize("name", ["hidden", "in a residual", "beside a layer in Python"])
@pytest.mark.parametrize("loss", ["mse", "own"])
def test_weights_that_are_given_back_have_their_statistics(name, loss):
    def own(y_hat, y):
        return np.mean((y_hat - y) ** 2), 2 * (y_hat - y) / y.size

    (x, y), held_out = table(60), table(40, seed=5)
    loss = own if loss == "own" else loss
    net, best = network(name), {}

    class See(bp.Callback):
        def on_epoch_end(self, run):
            best[run.epoch] = run.network.parameters.copy(), run.network.buffers.copy()

    stopping = bp.EarlyStopping(patience=3)
    net.fit(x, y, loss=loss, optimizer=bp.Adam(0.1), epochs=30, validation_data=held_out, callbacks=[See(), stopping])
    weights, statistics = best[stopping.state["best_epoch"]]
    assert np.array_equal(net.parameters, weights) and np.array_equal(net.buffers, statistics)
    assert net.evaluate(*held_out, loss=loss)["loss"] == stopping.state["best"]
    net.fit(x, y, loss=loss, optimizer=bp.SGD(0.1), callbacks=[bp.LearningRateFinder(steps=10)])
    assert np.array_equal(net.parameters, weights) and np.array_equal(net.buffers, statistics)


@pytest.mark.parametrize("name", ["hidden", "beside a layer in Python"])
@pytest.mark.parametrize("loss", ["mse", "own"])
def test_a_batch_that_is_abandoned_leaves_the_statistics_alone(name, loss):
    def own(y_hat, y):
        if y[0, 0] == 7:
            raise LookupError("mine")
        with np.errstate(over="ignore"):
            return np.mean((y_hat - y) ** 2), 2 * (y_hat - y) / y.size

    x, y = table(16)
    loss = own if loss == "own" else loss
    for far in (1e200, 7.0) if loss is own else (1e200,):
        net, twin = network(name), network(name)
        y[8:] = far
        for one, rows in ((twin, 8), (net, 16)):
            try:
                one.fit(x[:rows], y[:rows], loss=loss, optimizer=bp.SGD(0.01), batch_size=8, shuffle=False)
            except (bp.DivergedError, LookupError):
                assert rows == 16
        assert np.array_equal(net.parameters, twin.parameters) and np.array_equal(net.buffers, twin.buffers)
    if loss is own:
        with pytest.raises(LookupError, match="mine"):
            net.value_and_gradient(x[8:], y[8:], loss)
        assert np.array_equal(net.buffers, twin.buffers)


@pytest.mark.parametrize("threads", [1, 2])
def test_statistics_stay_finite(threads):
    net = bp.Sequential([bp.BatchNorm(), bp.Dense(4, 2)], rng=0)
    x, y = table(40, "float32")
    x[0] = 1e25  # its square is no float32
    with pytest.raises(bp.DivergedError):
        net.fit(x, y, loss="mse", optimizer=bp.SGD(0.01), threads=threads)
    assert np.isfinite(net.buffers).all()
    net.forward(x)
    assert np.isfinite(net.buffers).all()
    net.copy()


@pytest.mark.parametrize("optimizer", ["Adam(0.01, average=0.9)", "LBFGS()"])
def test_a_fit_that_goes_on_has_its_statistics(optimizer, tmp_path):
    x, y = table(41)

    def make():
        return getattr(bp, optimizer.split("(")[0])(*((0.01,) if "Adam" in optimizer else ()),
                                                    **({"average": 0.9} if "Adam" in optimizer else {}))  # fmt: skip

    how = {"loss": "mse", "batch_size": 8, "callbacks": [bp.Checkpoint(tmp_path / "run.safetensors")]}
    whole, part = network("in branches"), network("in branches")
    whole.fit(x, y, optimizer=make(), epochs=6, **how)
    part.fit(x, y, optimizer=make(), epochs=3, **how)
    again, _ = bp.resume(tmp_path / "run.safetensors", x, y, epochs=6, **how)
    assert np.array_equal(again.parameters, whole.parameters) and np.array_equal(again.buffers, whole.buffers)
