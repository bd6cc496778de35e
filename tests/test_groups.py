"""Parameter groups: tensors that step by other numbers, chosen by their names; in PyTorch, by hand, and through files."""

import copy
import json
import pickle
import re

import numpy as np
import pytest
from instances import OPTIMIZERS, optimizer_of
from oracles import InTorch
from runs import DTYPES, big, by_hand, middling, normed, same, small, state, table, three_layers, tiny

import backprop as bp

#: Several patterns for a tensor, and tensors that none matches.
GROUPS = {
    "*.bias": {"weight_decay": 0, "learning_rate": 0.1}, "0.*": {"learning_rate": 6}, "[02].weight": {"epsilon": 50},
    "2.w*": {"weight_decay": 3, "epsilon": 0.2},
}  # fmt: skip
FACTORS = {  # learning rate, weight decay, epsilon
    "0.weight": (6, 1, 50), "0.bias": (0.1 * 6, 0, 1), "1.weight": (1, 1, 1), "1.bias": (0.1, 0, 1),
    "2.weight": (1, 3, 50 * 0.2), "2.bias": (0.1, 0, 1),
}  # fmt: skip
#: What an optimizer has no number for is left out.
TAKES = {
    "SGD": ("learning_rate", "weight_decay"),
    "Lion": ("learning_rate", "weight_decay"),
    "Rprop": ("learning_rate",),
}
EVERY = [text for text in OPTIMIZERS if not text.startswith("RAdam(0.02, beta2=0.5")]


def grouped(text, groups=GROUPS, **more):
    """An optimizer with what it takes of the groups."""
    made = optimizer_of(text)
    takes = TAKES.get(type(made).__name__, ("learning_rate", "weight_decay", "epsilon"))
    left = {pattern: {name: f for name, f in its.items() if name in takes} for pattern, its in groups.items()}
    return type(made)(**made._values() | {"groups": left} | more)


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.05}], ids=["plain", "clipped"])
@pytest.mark.parametrize("text", [text for text in EVERY if OPTIMIZERS[text]])
def test_torch_takes_the_same_60_steps_with_groups(torch, text, clip):
    net, ours = three_layers(), grouped(text, **clip)
    twin, (name, options) = InTorch(torch, net), OPTIMIZERS[text]
    kind = getattr(torch.optim, name)
    given = kind(twin.parameters, **options).defaults
    each = [
        {"params": [p], "lr": given["lr"] * rate}
        | ({"weight_decay": given["weight_decay"] * decay} if "weight_decay" in given and name != "Rprop" else {})
        | ({"eps": given["eps"] * epsilon} if "eps" in given else {})
        for p, (rate, decay, epsilon) in zip(twin.parameters, FACTORS.values(), strict=True)
    ]
    theirs = kind(each, **options)
    x, y, _ = table(20, "float64")
    for start in range(60):
        rows = slice(start % 5 * 4, start % 5 * 4 + 4)
        theirs.zero_grad()
        torch.nn.functional.mse_loss(twin(torch.tensor(x[rows])), torch.tensor(y[rows])).backward()
        for limit in clip.values():  # clip_grad_norm_ would add 1e-6 to the norm
            norm = torch.linalg.vector_norm(torch.cat([p.grad.ravel() for p in twin.parameters])).item()
            for p in twin.parameters:
                p.grad.mul_(min(1, limit / norm))
        theirs.step()
    net.fit(x, y, loss="mse", optimizer=ours, epochs=12, batch_size=4, shuffle=False)
    plain = three_layers()
    plain.fit(x, y, loss="mse", optimizer=type(ours)(**ours._values() | {"groups": None}), epochs=12, batch_size=4,
              shuffle=False)  # fmt: skip
    np.testing.assert_allclose(net.parameters, twin.flat(twin.parameters), rtol=1e-9, atol=1e-9)
    assert abs(net.parameters - plain.parameters).max() > 1e-4  # they do something


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", OPTIMIZERS)
def test_a_fit_is_the_four_lines_bits(text, dtype):
    x, y, weights = table(23, dtype)
    runs = []
    groups = {"*.bias": {"weight_decay": 0, "learning_rate": 0.5}, "2.*": {"learning_rate": 3, "epsilon": 9}}
    for threads in (None, 1, 2):
        net, its = small(dtype), grouped(text, groups, average=0.9, clip_norm=1.0)
        if threads is None:
            by_hand(net, x, y, bp.MeanSquaredError(), its, 3, 5, weights)
        else:
            net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=5, shuffle=False, sample_weight=weights,
                    threads=threads)  # fmt: skip
        runs.append(state(net, its))
    assert same(*runs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "batch"), [(4, 3), (300, 129), (2500, 1025)])
@pytest.mark.parametrize("make", [tiny, small, big, middling, normed])
def test_a_fit_is_the_four_lines_whatever_the_way_of_a_step_bits(make, rows, batch, dtype):
    x, y, _ = table(rows, dtype)
    runs = []
    for threads in (None, 1, 3):
        net = make(dtype)
        net.layers[0].trainable = rows != 300
        its = bp.AdamW(0.01, groups={"*.bias": {"weight_decay": 0}, "0.*": {"learning_rate": 6}})
        if threads is None:
            by_hand(net, x, y, bp.MeanSquaredError(), its, 2, batch)
        else:
            net.fit(x, y, loss="mse", optimizer=its, epochs=2, batch_size=batch, shuffle=False, threads=threads)
        runs.append(state(net, its))
    assert same(*runs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("frozen", [(), (1,)])
@pytest.mark.parametrize("text", ["SGD(0.1, momentum=0.9, weight_decay=0.01)", *(f"{kind}()" for kind in (
    "RMSprop", "Adagrad", "Adadelta", "AdamW", "NAdam", "RAdam", "Lion", "Rprop"))])  # fmt: skip
def test_factors_of_one_change_no_bit(text, frozen, dtype):
    x, y, _ = table(300, dtype)
    ones = {"*": {"learning_rate": 1}, "0.*": {"learning_rate": 4}, "0.[bw]*": {"learning_rate": 0.25}}
    runs = []
    for how in {}, {"clip_norm": 0.3, "clip_value": 0.2, "average": 0.8}:
        for groups in ones, None:
            net, its = three_layers(dtype), optimizer_of(text)
            for i in frozen:
                net.layers[i].trainable = False
            its = type(its)(**its._values() | {"groups": groups} | how)
            net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=32)
            runs.append(state(net, its))
    assert same(*runs[:2]) and same(*runs[2:])


@pytest.mark.parametrize("text", EVERY)
def test_groups_for_all_are_the_same_numbers_without(text):
    x, y, _ = table(40, "float64")
    runs = []
    for factors in ({"*": {"learning_rate": 2, "weight_decay": 4, "epsilon": 0.5}}, None):
        its = grouped(text, factors) if factors else optimizer_of(text)
        if not factors:
            its.learning_rate *= 2
            for name, factor in ("weight_decay", 4), ("epsilon", 0.5):
                if name in its._arguments():
                    setattr(its, name, getattr(its, name) * factor)
        net = three_layers()
        net.fit(x, y, loss="mse", optimizer=its, epochs=3, batch_size=8)
        runs.append(state(net, its))
    assert same(*runs)


def test_a_rate_of_zero_leaves_a_tensor_alone():
    x, y, _ = table(40, "float64")
    net = three_layers()
    before = net.layers[1].weight.copy()
    net.fit(x, y, loss="mse", optimizer=bp.AdamW(0.1, groups={"1.weight": {"learning_rate": 0}}), epochs=3)
    assert np.array_equal(net.layers[1].weight, before) and not np.array_equal(net.layers[1].bias, np.zeros(7))


def test_the_first_step_sizes_of_rprop_have_the_factors_of_their_tensors():
    net, its = three_layers(), bp.Rprop(0.25, groups={"1.*": {"learning_rate": 3}, "*.bias": {"learning_rate": 0.5}})
    net.layers[1].trainable = False
    net.gradients[:] = 1
    before = {name: array.copy() for name, array in net.arrays().items()}
    its.step(net)
    steps = {name: before[name] - array for name, array in net.arrays().items()}
    for name, size in ("0.weight", 0.25), ("0.bias", 0.125), ("1.weight", 0), ("1.bias", 0), ("2.bias", 0.125):
        np.testing.assert_allclose(steps[name], size, atol=1e-15)
    net.layers[1].trainable = True
    its.step(net)
    np.testing.assert_allclose(before["1.weight"] - net.layers[1].weight, 0.75, atol=1e-15)


def test_a_slice_has_names_of_its_own():
    net = three_layers()
    part = net[1:]
    its = bp.SGD(0.5, groups={"0.bias": {"learning_rate": 0}})
    part.gradients[:] = 1
    its.step(part)
    assert not net.layers[1].bias.any() and (net.layers[2].bias == -0.5).all()


@pytest.mark.parametrize("text", ["SGD(0.1)", "AdamW()", "Rprop()"])
def test_groups_travel(text, tmp_path):
    its = grouped(text, average=0.9)
    config = json.loads(json.dumps(its.config()))
    for other in (
        bp.optimizers.from_config(config), eval(repr(its), vars(bp)), copy.deepcopy(its), pickle.loads(pickle.dumps(its)),
    ):  # fmt: skip
        assert other.groups == its.groups and repr(other) == repr(its)
    x, y, _ = table(40, "float64")
    whole, path = three_layers(), tmp_path / "run.safetensors"
    whole.fit(x, y, loss="mse", optimizer=its, epochs=6, callbacks=[bp.Checkpoint(tmp_path / "whole")])
    part = three_layers()
    part.fit(x, y, loss="mse", optimizer=bp.optimizers.from_config(config), epochs=3, callbacks=[bp.Checkpoint(path)])
    net, _ = bp.resume(path, x, y, loss="mse", epochs=6, callbacks=[bp.Checkpoint(path)])
    assert np.array_equal(net.parameters, whole.parameters)
    with pytest.raises(ValueError, match="resume: expected the optimizer "):
        bp.resume(path, x, y, loss="mse", epochs=7, optimizer=optimizer_of(text), callbacks=[bp.Checkpoint(path)])


def test_a_checkpoint_of_before_there_were_groups_goes_on(tmp_path, monkeypatch):
    x, y, _ = table(40, "float64")
    path, config = tmp_path / "run.safetensors", bp.Optimizer.config
    monkeypatch.setattr(bp.Optimizer, "config", lambda self: {k: v for k, v in config(self).items() if k != "groups"})
    net = three_layers()
    net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=3, callbacks=[bp.Checkpoint(path)])
    monkeypatch.undo()
    other = three_layers()
    other.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=5, callbacks=[bp.Checkpoint(path)], resume=path)
    net.fit(x, y, loss="mse", optimizer=bp.Adam(), epochs=0)
    assert other.epochs == 5


def test_many_networks_with_groups_train_as_each_alone():
    x, y, _ = table(60)
    groups = [{"*.bias": {"learning_rate": 2}}, None, {"0.*": {"learning_rate": 0.5, "weight_decay": 0}}]
    together, alone = [tiny(rng=i) for i in range(3)], [tiny(rng=i) for i in range(3)]
    bp.fit_many(together, x, y, loss="mse", optimizer=[bp.AdamW(0.01, groups=it) for it in groups], epochs=3, threads=2)
    for net, it in zip(alone, groups, strict=True):
        net.fit(x, y, loss="mse", optimizer=bp.AdamW(0.01, groups=it), epochs=3)
    assert all(np.array_equal(a.parameters, b.parameters) for a, b in zip(together, alone, strict=True))
    assert not np.array_equal(together[0].parameters, tiny(rng=0).parameters)


def test_a_custom_step_that_calls_the_built_in_one_has_groups():
    class Halves(bp.SGD):
        def step(self, net):
            net.gradients *= 0.5
            super().step(net)

    net = three_layers()
    net.gradients[:] = 1
    before = net.parameters.copy()
    Halves(0.1, groups={"0.weight": {"learning_rate": 4}}).step(net)
    steps = before - net.parameters
    np.testing.assert_allclose(steps[:36], 0.2)
    np.testing.assert_allclose(steps[36:], 0.05)


# What is refused.


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (3, TypeError, r"groups: expected factors by pattern, {\"\*.bias\": {\"weight_decay\": 0}}, say, got 3"),
        ({1: {}}, TypeError, "groups: expected factors by pattern"),
        ([{"params": "0.*", "lr": 1}], TypeError, "groups: expected factors by pattern"),
        ({"0.*": 6}, TypeError, r"groups\['0\.\*'\]: expected factors by name, of learning_rate, weight_decay, epsilon, got 6"),
        ({"0.*": {"rate": 6}}, ValueError, r"groups\['0\.\*'\]: expected one of learning_rate, weight_decay, epsilon, got 'rate'"),
        ({"0.*": {"lr": 6}}, ValueError, "got 'lr'; did you mean 'learning_rate'?"),
        ({"0.*": {"learning_rate": -1}}, ValueError, r"groups\['0\.\*'\]: learning_rate: expected a finite number at least 0"),
        ({"0.*": {"learning_rate": np.inf}}, ValueError, "learning_rate: expected a finite number"),
        ({"0.*": {"weight_decay": "0"}}, TypeError, "weight_decay: expected a number, got '0'"),
        ({"0.*": {"epsilon": 0}}, ValueError, "epsilon: expected a finite number above 0"),
    ],
)  # fmt: skip
def test_groups_that_are_none(groups, error, message):
    with pytest.raises(error, match=message):
        bp.Adam(groups=groups)
    optimizer = bp.Adam()
    with pytest.raises(error, match=message):
        optimizer.groups = groups
    assert optimizer.groups is None


def test_what_has_no_meaning_is_refused():
    for make in bp.SGD, bp.Lion:
        with pytest.raises(ValueError, match="expected one of learning_rate, weight_decay, got 'epsilon'"):
            make(0.1, groups={"*": {"epsilon": 2}})
    for name in "weight_decay", "epsilon":
        with pytest.raises(ValueError, match=f"expected one of learning_rate, got '{name}'"):
            bp.Rprop(groups={"*": {name: 2}})
    with pytest.raises(TypeError, match="groups"):
        bp.LBFGS(groups={"*": {"learning_rate": 2}})
    with pytest.raises(ValueError, match=r"groups: expected None, got .*LBFGS.* does not support it"):
        bp.LBFGS().groups = {"*": {"learning_rate": 2}}

    class Own(bp.Optimizer):
        def step(self, net):
            net.parameters -= net.gradients

    x, y, _ = table(8)
    with pytest.raises(ValueError, match=r"groups: expected None, got .*Own.* does not support it"):
        tiny().fit(x, y, loss="mse", optimizer=Own(0.1, groups={"*": {"learning_rate": 2}}))


def test_a_pattern_that_matches_nothing_is_refused_with_the_names():
    x, y, _ = table(8)
    wrong = "groups: expected patterns that match some of 0.weight, 0.bias, 1.weight, 1.bias, got '2.*'"
    net = tiny()
    before = net.parameters.copy()
    groups = {"0.*": {"learning_rate": 2}, "2.*": {"learning_rate": 2}}
    with pytest.raises(ValueError, match=re.escape(wrong)):
        net.fit(x, y, loss="mse", optimizer=bp.Adam(groups=groups))
    with pytest.raises(ValueError, match=re.escape(wrong)):
        bp.Adam(groups=groups).step(net)
    with pytest.raises(ValueError, match="network 1: groups: expected patterns that match"):
        bp.fit_many([three_layers(), tiny()], x, y, loss="mse", optimizer=bp.Adam(groups=groups))
    assert np.array_equal(net.parameters, before)
    # An upper-case letter is another one, and buffers are no parameters.
    for pattern in "*.Weight", "1.running_mean":
        with pytest.raises(ValueError, match="it matches none"):
            normed().fit(x, y, loss="mse", optimizer=bp.Adam(groups={pattern: {"learning_rate": 2}}))


def test_a_great_network_does_not_fill_the_screen():
    net = bp.Sequential([bp.Dense(2, 2) for _ in range(300)])
    with pytest.raises(ValueError, match="it matches none") as caught:
        bp.Adam(groups={"x": {}}).step(net)
    assert len(str(caught.value)) < 700


def test_ranges_of_groups_that_there_are_not(core):
    kind = core.OPTIMIZERS["sgd"], (0.0, 0.0), 0.0, 0.0, 0.0, 0.0
    p = np.zeros(4)
    for group in (((1.0, 1.0, (0.0, 0.0)),), 1), ((), 0):
        with pytest.raises(ValueError, match="ranges of parameters"):
            core.apply_update((*kind, group[0]), 0.1, 1, p, p + 1, (), ((0, 4, group[1]),))
    assert not p.any()
    with pytest.raises(ValueError, match="an unknown optimizer"):
        core.apply_update((*kind, ((1.0, 1.0, (0.0,) * 9),)), 0.1, 1, p, p + 1, (), ((0, 4),))


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_neural_tangent_groups_are_that_parametrization(torch, decay):
    """z = x w / sqrt(n_in) + b, with weights of 1, trained by PyTorch's AdamW."""
    net = bp.Sequential([
        bp.Dense(5, 7, "tanh", weight_init="lecun_normal", bias_init="normal"),
        bp.Residual([bp.Dense(7, 3, "tanh"), bp.Dense(3, 7)]), bp.Dense(7, 2),
    ], rng=0, dtype="float64")  # fmt: skip
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    theirs = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in net.arrays().items()}
    for name, array in net.arrays().items():
        if name.endswith("weight"):
            theirs[name].data *= len(array) ** 0.5

    def dense(name, x):
        return x @ theirs[f"{name}.weight"] / x.shape[1] ** 0.5 + theirs[f"{name}.bias"]

    its = torch.optim.AdamW([
        {"params": [p for name, p in theirs.items() if name.endswith("weight")], "weight_decay": decay},
        {"params": [p for name, p in theirs.items() if name.endswith("bias")], "weight_decay": 0, "lr": 0.001},
    ], lr=0.01, betas=(0.9, 0.95), eps=1e-3)  # fmt: skip
    biases = {"*.bias": {"weight_decay": 0, "learning_rate": 0.1}}
    groups = {**bp.optimizers.neural_tangent(net), **biases}
    assert [*groups] == ["0.weight", "1.0.weight", "1.1.weight", "2.weight", "*.bias"]
    optimizer = bp.AdamW(0.01, beta2=0.95, epsilon=1e-3, weight_decay=decay, groups=groups)
    for _ in range(5):
        its.zero_grad()
        h = torch.tanh(dense("0", torch.tensor(x)))
        h = h + dense("1.1", torch.tanh(dense("1.0", h)))
        torch.nn.functional.mse_loss(dense("2", h), torch.tensor(y)).backward()
        its.step()
        net.fit(x, y, loss="mse", optimizer=optimizer, batch_size=None)
    for name, array in net.arrays().items():
        expected = theirs[name].detach().numpy() / (len(array) ** 0.5 if name.endswith("weight") else 1)
        np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-12, err_msg=name)
    with pytest.raises(TypeError, match="net: expected a network, a Sequential, got 3"):
        bp.optimizers.neural_tangent(3)
    with pytest.raises(AttributeError, match="has no attribute 'neural'"):
        bp.optimizers.neural  # noqa: B018
