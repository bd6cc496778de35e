"""Files that are signed, and lie: content changed at random, and signed again."""

import copy
import json
import random

import numpy as np
import pytest

import backprop as bp
from backprop import schedules
from backprop.io import safetensors

#: What stands in a file where something else should.
NONSENSE = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**15, 2**27, 2**31, 2**40, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30,
    10**320, 0.0, -0.0, 0.5, 1.5, 1.0, 1e-320, 1e300, -1e300, "", "0", "1", "a", "name", "loss", "softmax", "relu", "zeros",
    "float32", "<f4", "(2,)f4", "float64", "Dense", "Layer", "Columns", "Popen", "x" * 3000, "\u00e9", [], {}, [[]], [{}],
    [None], [0, 0], ["elu", 1e29], ["leaky_relu", 0.5], ["relu", 1], [["Dense", {}]], {"a": 1}, {"name": "Adam"},
    [1, 2, 3], {"name": "Cosine", "learning_rate": 0.1, "steps": 3},
]  # fmt: skip
#: What JSON has no word for, or two for.
TEXTS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1E400", '"\\ud800"', '{"a":1,"a":2}', "[" * 400 + "]" * 400,
         "[" * 3000 + "]" * 3000, "1" * 5000, "01", "'a'", "undefined", "{", "", "[1,]"]  # fmt: skip


def rows(n_in, names=False):
    x = np.random.default_rng(0).normal(size=(12, n_in))
    return np.zeros_like(x) if names else x


def models():
    """Networks of every layer there is, as bytes."""
    nets = [
        bp.Sequential([bp.Dense(3, 4, bp.activations.elu.with_alpha(0.5), l2=0.1), bp.BatchNorm(), bp.Dropout(0.1),
                       bp.Residual([bp.Dense(4, 4, "gelu", use_bias=False), bp.LayerNorm()]),
                       bp.Concatenate([[], [bp.PReLU()], [bp.Dense(4, 2)]]), bp.Activation("tanh"), bp.Dense(10, 2)], rng=0),
        bp.Sequential([bp.Columns(3, {1: bp.Embedding(3, 2)}), bp.Dense(4, 2, "softmax")], rng=1, dtype="float64"),
        bp.Sequential([bp.Embedding(3, 2, columns=3), bp.Dense(6, 1)], rng=2),
    ]  # fmt: skip
    nets[0].metadata = {"classes": ["a", "b"], "number": 1.5, "more": {"deep": [1, [2, {"x": None}]]}}
    nets[0].leaves["1"].trainable = False
    return [net.to_bytes() for net in nets]


def run_of(kind):
    """What a fit was given: the network, and the arguments; callbacks and optimizer as new."""
    x = rows(3)
    how = {"x": x, "y": np.sin(x[:, :2]), "loss": "mse", "batch_size": 5, "epochs": 4}
    if kind == "SGD":
        how |= {
            "optimizer": bp.SGD(0.05, 0.9, nesterov=True, average=0.9, clip_norm=1.0), "metrics": ["r2"],
            "callbacks": [bp.EarlyStopping("loss"), bp.ReduceOnPlateau("loss", patience=1, cooldown=2)],
        }  # fmt: skip
    elif kind == "schedule":
        how |= {"optimizer": bp.AdamW(schedules.Cosine(0.02, 30, warmup=3, growth=2), amsgrad=True), "callbacks": []}
    else:
        how |= {"optimizer": bp.LBFGS(history_size=3), "callbacks": [bp.EarlyStopping("loss")]}
    layers = [bp.Dense(3, 4, "tanh"), bp.Dropout(0.2), bp.BatchNorm(), bp.Dense(4, 2)]
    return bp.Sequential(layers if kind == "SGD" else [layers[0], layers[-1]], rng=1), how


RUNS = ("SGD", "schedule", "LBFGS")


def checkpoint(kind, folder):
    """The bytes of one that was written in the middle of a run, and how to go on."""
    path = folder / f"{kind}-{{epoch}}.safetensors"

    def how():
        given = run_of(kind)[1]
        return {**given, "callbacks": [*given["callbacks"], bp.Checkpoint(path, keep=9)]}

    run_of(kind)[0].fit(**how())
    return (folder / f"{kind}-2.safetensors").read_bytes(), how


def places(value, path=()):
    """The places in JSON, from the outermost."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*path, key))


def mutated(value, rng):
    """JSON, changed in a place or two; as text."""
    value, texts = copy.deepcopy(value), {}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice([*places(value)][1:] or [()])
        if not path:
            return rng.choice(TEXTS)
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        key, what = path[-1], rng.randrange(8)
        if what == 0:
            del holder[key]
        elif what == 1:
            other = value
            for step in rng.choice([*places(value)]):
                other = other[step]
            holder[key] = copy.deepcopy(other)
        elif what == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(rng.choice([holder[key], *NONSENSE])))
        elif what == 2:
            holder[rng.choice(["more", "name", "trainable", "best.0.weight", key + "x"])] = rng.choice(NONSENSE)
        elif what == 3 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
            holder[key] = rng.choice([-1, 0, 2, 1000, 2**33]) * holder[key] + rng.choice([0, 1, -1])
        elif what == 4:
            texts[f"@{len(texts)}@"] = rng.choice(TEXTS)
            holder[key] = f"@{len(texts) - 1}@"
        else:
            holder[key] = copy.deepcopy(rng.choice(NONSENSE))
    text = json.dumps(value)
    for mark, said in texts.items():
        text = text.replace(f'"{mark}"', said)
    return text


def changed_arrays(arrays, rng):
    """Tensors, of which one is another."""
    arrays = dict(arrays)
    name = rng.choice([*arrays])
    array, what = arrays.pop(name), rng.randrange(9)
    if what == 1:
        arrays[
            rng.choice(
                ["more", name + "x", "callback.0.best.9.weight", "optimizer.square", "optimizer.s1", "history.r2"]
            )
        ] = array
    elif what == 2:
        arrays[name] = array.reshape(-1)[: rng.randrange(array.size + 1)]
    elif what == 3:
        arrays[name] = array.reshape((*array.shape, 1))
    elif what == 4:
        arrays[name] = array.astype(rng.choice(["<f4", "<f8", "<i8", "<u8", "|u1"]), casting="unsafe")
    elif what >= 5:
        array = array.copy()
        array.reshape(-1)[rng.randrange(array.size) if array.size else slice(0)] = rng.choice(
            [np.nan, np.inf, -np.inf, -1.0, 1e30, 0.0]
        )
        arrays[name] = array
    return arrays


def mutation(content, rng):
    """The content of a file, changed and signed again; None where it cannot be signed."""
    arrays, metadata = content
    metadata = dict(metadata)
    parts = [name for name in ("architecture", "metadata", "training", "training") if name in metadata]
    part = rng.choice([*parts, *parts, "arrays", "words"])
    with np.errstate(all="ignore"):
        if part == "arrays":
            arrays = changed_arrays(arrays, rng)
    if part == "words":
        word = rng.choice([*metadata, "more"])
        metadata[word] = rng.choice(["", "1", "2", "{}", "[]", "null", "backprop", *TEXTS])
        if rng.random() < 0.3:
            del metadata[word]
    elif part != "arrays":
        metadata[part] = mutated(json.loads(metadata[part]), rng)
    try:
        return safetensors.pack(arrays, metadata)
    except ValueError:
        return None


#: What is said of a file that is right, and of another run than the one that was asked for.
OF_ANOTHER_RUN = (
    "resume: expected", "learning_rate: expected a number, got None", "name: expected one of", "epochs: expected",
    "ReduceOnPlateau: expected a learning rate above 0",
)  # fmt: skip


def brief(error, most):
    return len(str(error)) < most or pytest.fail(f"a message of {len(str(error))} characters")


def check_model(data):
    """Load it: it is refused, or a network that answers, and can be saved; whether it was refused."""
    try:
        net = bp.load(data)
    except bp.FormatError as error:
        return brief(error, 600)
    assert bp.load(net.to_bytes()).to_bytes() == net.to_bytes()
    if net.n_in < 100 and net.n_out < 1000:
        answer = net.predict(np.zeros((2, net.n_in)))
        assert answer.shape == (2, net.n_out)
    return False


def check_checkpoint(data, how, folder):
    """The same, and go on from it: it may be refused as that of another run too."""
    refused = check_model(data)
    path = folder / "mutated.safetensors"
    path.write_bytes(data)
    given = how()
    for optimizer in ({}, {"optimizer": given.pop("optimizer")}):
        try:
            net, history = bp.resume(path, **how() | given | {"optimizer": None} | optimizer)
        except bp.FormatError as error:
            brief(error, 800)
            continue
        except (bp.DivergedError, TypeError, ValueError) as error:
            diverged = isinstance(error, bp.DivergedError) or str(error).endswith(": expected finite numbers")
            if refused or not (diverged or str(error).startswith(OF_ANOTHER_RUN)):
                raise
            brief(error, 1200)
            continue
        assert not refused
        assert np.isfinite(net.parameters).all() and np.isfinite(net.buffers).all()
        assert {len(values) for values in history.values()} <= {4, 2}
        net.to_bytes()
    return refused


def fuzz(count, seed, folder):
    """How many of so many mutations were refused."""
    rng, refused = random.Random(seed), 0
    corpus = [(safetensors.unpack(data, source="m"), check_model) for data in models()]
    for kind in RUNS:
        data, how = checkpoint(kind, folder)
        corpus.append((safetensors.unpack(data, source="m"), lambda data, how=how: check_checkpoint(data, how, folder)))
    for i in range(count):
        content, check = corpus[rng.randrange(len(corpus))]
        data = mutation(content, rng)
        if data is None:
            continue
        try:
            refused += check(data)
        except BaseException as error:
            (folder / "offender.safetensors").write_bytes(data)
            error.add_note(f"mutation {i} of seed {seed}: {safetensors.unpack(data, source='m')[1]}"[:3000])
            raise
    return refused
