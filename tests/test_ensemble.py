"""An ensemble predicts what its members do, put together, and goes through a file to the last bit."""

import copy
import io
import json
import pickle

import numpy as np
import pytest
from headers import compact, split, with_header
from runs import classifier, small, table

import backprop as bp
from backprop import ensemble as module
from backprop.io import safetensors


def members(count=5, make=small, dtype="float32"):
    return [make(dtype, rng=seed) for seed in range(count)]


def softmaxes(count=4):
    return [bp.Sequential([bp.Dense(4, 5, "tanh"), bp.Dense(5, 3, "softmax")], rng=seed) for seed in range(count)]


def outputs(nets, x):
    return np.stack([net.predict(x) for net in nets])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [0, 1, 7, 5000])
def test_it_predicts_what_its_members_do(dtype, rows):
    x = table(rows, dtype)[0]
    nets = members(dtype=dtype)
    it, found = bp.Ensemble(nets), outputs(nets, x)
    assert it.predict_all(x).dtype == dtype and np.array_equal(it.predict_all(x), found)
    places = 1e-6 if dtype == "float32" else 1e-15
    assert np.allclose(it.predict(x), found.mean(axis=0), rtol=places, atol=places)
    assert np.array_equal(it.predict(x), found.mean(axis=0, dtype="float64").astype(dtype)) or rows == 1
    assert np.allclose(it.std(x), found.astype("float64").std(axis=0), rtol=places, atol=places)
    assert it(x).dtype == it.std(x).dtype == dtype and it.std(x).shape == (rows, 3)


def test_the_bits_depend_neither_on_threads_nor_on_the_rows_beside(monkeypatch):
    x = table(3000)[0]
    it = bp.Ensemble(members(9))
    looks = (it.predict, it.std, it.predict_all)
    whole = [look(x, threads=1) for look in looks]
    monkeypatch.setattr(module, "ROWS", 100)
    for threads in (2, 3, None):
        assert all(np.array_equal(look(x, threads=threads), found) for look, found in zip(looks, whole, strict=True))
    for rows in (slice(0, 1), slice(5, 8), slice(0, 2999)):  # sums of many numbers are made in another way
        assert all(np.array_equal(look(x[rows]), found[..., rows, :]) for look, found in zip(looks, whole, strict=True))


def test_the_mixture_of_normal_distributions():
    x = table(50, "float64")[0]
    nets = [bp.Sequential([bp.Dense(4, 8, "tanh"), bp.Dense(8, 4)], rng=seed, dtype="float64") for seed in range(5)]
    m, v = (part for part in (outputs(nets, x)[:, :, 0::2], np.exp(outputs(nets, x)[:, :, 1::2])))
    mean, variance = bp.Ensemble(nets).mixture(x)
    assert np.allclose(mean, m.mean(axis=0)) and mean.shape == (50, 2)
    assert np.allclose(variance, (v + m**2).mean(axis=0) - mean**2)  # as the paper writes it
    with pytest.raises(ValueError, match="a mean and a log-variance for each target, as GaussianNLL trains, got 3"):
        bp.Ensemble(members()).mixture(x)


def test_evaluate_is_of_the_mean():
    (x, _, weights), labels = table(90), np.arange(90) % 3
    it = bp.Ensemble(softmaxes())
    p = it.predict(x).astype("float64")[np.arange(90), labels]
    found = it.evaluate(x, labels, loss="cross_entropy", metrics=["accuracy"], sample_weight=weights)
    assert np.isclose(found["loss"], -np.average(np.log(p), weights=weights), rtol=1e-5)
    assert found["accuracy"] == (it.predict(x).argmax(axis=1) == labels).mean()
    # Of one member it is that of the member; the loss of a batch of probabilities is computed otherwise than of logits.
    one, net = bp.Ensemble(it.members[:1]), it[0]
    assert np.isclose(
        one.evaluate(x, labels, loss="cross_entropy", class_weight="balanced")["loss"],
        net.evaluate(x, labels, loss="cross_entropy", class_weight="balanced")["loss"],
    )
    single = [net.evaluate(x, labels, loss="cross_entropy")["loss"] for net in it]
    assert it.evaluate(x, labels, loss="cross_entropy")["loss"] < np.mean(single)  # by Jensen's inequality


def test_its_members():
    nets = members(4)
    it = bp.Ensemble(nets)
    assert len(it) == 4 and list(it) == nets and it[1] is nets[1] is it.members[1] and it[-1] is nets[3]
    assert isinstance(it[1:3], bp.Ensemble) and it[1:3].members == tuple(nets[1:3])
    assert (it.n_in, it.n_out, it.dtype) == (4, 3, "float32")
    assert repr(it) == f"Ensemble([{', '.join(map(repr, nets))}])"
    shown = it._repr_html_()
    assert shown.count("<tr>") == 5 and repr(nets[0]).split("(")[0] in shown
    x, y, _ = table(40)
    before = it.predict(x)
    bp.fit_many(it, x, y, loss="mse", optimizer="adam")
    assert not np.array_equal(it.predict(x), before)  # they are the same networks
    assert it.evaluate(x, y, loss="mse")["loss"] > 0


def test_what_is_refused():
    x, y, _ = table(40)
    with pytest.raises(ValueError, match="at least one, got none"):
        bp.Ensemble([])
    with pytest.raises(TypeError, match="expected Sequential networks, got 'a' in place 1"):
        bp.Ensemble([small(), "a"])
    with pytest.raises(TypeError, match="expected Sequential networks, got Dense"):
        bp.Ensemble(small())
    for other, word in [
        (small("float64"), "float64"), (classifier(), "softmax"), (bp.Sequential([bp.Dense(4, 2)]), "2 outputs"),
        (bp.Sequential([bp.Dense(3, 3)]), "3 inputs"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=f"networks: expected all to be networks of 4 inputs.*got.*{word}"):
            bp.Ensemble([small(), other])
    it = bp.Ensemble(members())
    with pytest.raises(ValueError, match="input of shape"):
        it.predict(x[:, :3])
    holed = x.copy()
    holed[7, 2] = np.nan
    with pytest.raises(ValueError, match="row, column 7, 2"):
        it.predict(holed)
    with pytest.raises(ValueError, match="loss: expected a single number"):
        it.evaluate(x, y, loss=bp.losses.MeanSquaredError(reduction="none"))
    with pytest.raises(IndexError):
        it[5]


def test_columns_in_other_orders():
    pandas = pytest.importorskip("pandas")
    x, y, _ = table(40)
    frame = pandas.DataFrame(x, columns=list("abcd"))
    nets = members(3)
    for net, order in zip(nets, ("abcd", "dcba", "abcd"), strict=True):
        net.fit(frame[list(order)], y, loss="mse", optimizer="adam")
    assert np.array_equal(bp.Ensemble(nets).predict_all(frame), outputs(nets, frame))


def test_names_of_tables_are_looked_at_for_each_member():
    nets = [
        bp.Sequential([bp.Columns(3, {0: bp.Embedding(count, 2)}), bp.Dense(4, 2)], rng=0) for count in (9, 9, 5)
    ]  # fmt: skip
    it, x = bp.Ensemble(nets), np.zeros((4, 3))
    assert it.predict(x).shape == (4, 2)
    x[2, 0] = 6
    with pytest.raises(ValueError, match=r"x, column 0: expected .* got 6"):
        it.predict(x)


# Files.


def various():
    normed = bp.Sequential([bp.Dense(4, 6), bp.BatchNorm(), bp.Activation("relu"), bp.Dense(6, 3)], rng=4)
    x, y, _ = table(40)
    nets = [small(), normed, small(rng=3)]
    for net in nets:
        net.fit(x, y, loss="mse", optimizer="adam")
    nets[1].metadata = {"note": ["second", 2]}
    nets[2].feature_names = list("abcd")
    return nets


@pytest.mark.parametrize("way", ["path", "bytes", "open file", "pickle", "deepcopy"])
def test_it_comes_back_to_the_last_bit(way, tmp_path):
    it, x = bp.Ensemble(various()), table(20)[0]
    if way == "path":
        it.save(tmp_path / "it.safetensors")
        again = bp.Ensemble.load(tmp_path / "it.safetensors")
        assert [path.name for path in tmp_path.iterdir()] == ["it.safetensors"]
    elif way == "bytes":
        again = bp.Ensemble.load(it.to_bytes())
    elif way == "open file":
        it.save(file := io.BytesIO())
        again = bp.Ensemble.load(io.BytesIO(file.getvalue()))
    else:
        again = copy.deepcopy(it) if way == "deepcopy" else pickle.loads(pickle.dumps(it))
    assert again.to_bytes() == it.to_bytes()
    assert np.array_equal(again.predict_all(x), it.predict_all(x))
    for one, other in zip(again, it, strict=True):
        assert one.to_bytes() == other.to_bytes() and one is not other
    assert again[1].metadata == {"note": ["second", 2]} and again[2].feature_names == tuple("abcd")


def test_each_kind_of_file_names_what_reads_it(tmp_path):
    bp.Ensemble(members()).save(tmp_path / "many")
    small().save(tmp_path / "one")
    with pytest.raises(bp.FormatError, match=r"expected a single network, got an ensemble, which backprop\.Ensemble"):
        bp.load(tmp_path / "many")
    with pytest.raises(bp.FormatError, match=r"expected an ensemble, got a single network, which backprop\.load reads"):
        bp.Ensemble.load(tmp_path / "one")
    with pytest.raises(bp.FormatError, match="one: expected"):  # with the name of the file
        bp.Ensemble.load(tmp_path / "one")


def test_other_readers_read_it():
    safe = pytest.importorskip("safetensors.numpy")
    it = bp.Ensemble(various())
    found = safe.load(it.to_bytes())
    assert np.array_equal(found["1/0.weight"], it[1].layers[0].weight)
    assert len(found) == sum(len(net.arrays()) for net in it)


def changed(data, change):
    """A file whose content was changed, and signed again."""
    arrays, metadata = safetensors.unpack(data, source="it")
    listed = json.loads(metadata["members"])
    other = change(arrays, metadata, listed)
    listed = listed if other is None else other
    return safetensors.pack(arrays, metadata | {"members": json.dumps(listed)})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a, m, them: a.__delitem__("1/0.weight"), "expected the tensor 1/0.weight, got none"),
        (lambda a, m, them: a.update({"7/0.weight": a["1/0.weight"]}), "got '7/0.weight', which none of them has"),
        (lambda a, m, them: a.update({"0.weight": a["1/0.weight"]}), "got '0.weight', which none of them has"),
        (lambda a, m, them: a.update({"1/0.weight": a["1/0.weight"].T.copy()}), "0.weight: expected float32"),
        (lambda a, m, them: a["1/0.bias"].fill(np.inf), "expected finite numbers"),
        (lambda a, m, them: [], "a list of them, got \\[\\]"),
        (lambda a, m, them: {"a": 1}, "a list of them"),
        (lambda a, m, them: [*them, 3], "an architecture and metadata of each"),
        (lambda a, m, them: them[0].update(more=1), "an architecture and metadata of each"),
        (lambda a, m, them: them[0].__delitem__("metadata"), "an architecture and metadata of each"),
        (lambda a, m, them: them[0]["architecture"].update(layers=[]), "does not make sense"),
        (lambda a, m, them: them[0]["architecture"].update(layers=[["Popen", {}]]), "does not make sense"),
        (lambda a, m, them: them[0]["architecture"].update(dtype="float16"), "does not make sense"),
        (lambda a, m, them: them[0]["architecture"].update(steps=-1), "does not make sense"),
        (lambda a, m, them: them[0].update(metadata=[]), "does not make sense"),
        (lambda a, m, them: m.update(format_version="4"), "expected format version 2, got '4': a later version"),
        (lambda a, m, them: m.update(architecture="{}"), r"unknown metadata \['architecture'\]"),
        (lambda a, m, them: m.update(format="other"), "of something else"),
    ],
)  # fmt: skip
def test_a_file_that_lies(change, match):
    with pytest.raises(bp.FormatError, match=match):
        bp.Ensemble.load(changed(bp.Ensemble(various()).to_bytes(), change))


def test_members_of_a_file_that_do_not_belong_together():
    one, other = bp.Ensemble(members(1)).to_bytes(), bp.Ensemble([classifier()]).to_bytes()
    a, metadata = safetensors.unpack(one, source="it")
    b, more = safetensors.unpack(other, source="it")
    arrays = a | {name.replace("0/", "1/"): array for name, array in b.items()}
    listed = json.loads(metadata["members"]) + json.loads(more["members"])
    with pytest.raises(bp.FormatError, match=r"networks: expected all to be .* in place 1"):
        bp.Ensemble.load(safetensors.pack(arrays, metadata | {"members": json.dumps(listed)}))


def test_no_byte_changes_unnoticed():
    data = bp.Ensemble(members(2)).to_bytes()
    for place in range(0, len(data), max(1, len(data) // 200)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(bp.FormatError):
            bp.Ensemble.load(damaged)
    header, padding, rest = split(data)
    with pytest.raises(bp.FormatError):
        bp.Ensemble.load(with_header(compact(header).encode() + padding, rest[:-4]))


def test_what_no_file_holds_is_refused(tmp_path):
    class Mine(bp.Layer):
        def forward(self, x, training):
            return x

        def backward(self, dy):
            return dy

    it = bp.Ensemble([bp.Sequential([bp.Dense(4, 3), Mine()])])
    assert it.predict(table(3)[0]).shape == (3, 3)
    with pytest.raises(TypeError, match="save: expected built-in layers"):
        it.save(tmp_path / "it")
    assert not list(tmp_path.iterdir())
