"""Messages as a newcomer reads them: what was written in another library's words is answered in the words here.

A row of a table is a call, the class of the error, and what its message must say.
"""

import copy
import gzip
import inspect
import io
import pickle

import numpy as np
import pytest

import backprop as bp

X, Y = np.ones((4, 3)), np.ones((4, 2))
LABELS = np.array([0, 1, 2, 1])


def network(*last, n_in=3):
    return bp.Sequential([bp.Dense(n_in, *(last or (2,)))], rng=0)


def fit(**words):
    return network().fit(X, Y, **({"loss": "mse", "optimizer": "adam"} | words))


def evaluate(**words):
    return network().evaluate(X, Y, **({"loss": "mse"} | words))


s = bp.schedules
#: A keyword of another library, and what its answer names.
KEYWORDS = [
    (bp.Adam, {"lr": 1e-3}, "learning_rate"), (bp.Adam, {"betas": (0.9, 0.99)}, "beta1 and beta2"),
    (bp.Adam, {"beta_1": 0.9}, "beta1"), (bp.Adam, {"eps": 1e-8}, "epsilon"), (bp.AdamW, {"lr": 1e-3}, "learning_rate"),
    (bp.Adam, {"clipnorm": 1.0}, "clip_norm"), (bp.Adam, {"decay": 1e-4}, "schedule"), (bp.Adam, {"foreach": True}, "none"),
    (bp.Adam, {"momentum": 0.9}, "beta1"), (bp.SGD, {"lr": 0.1, "nesterov": True}, "learning_rate"),
    (bp.SGD, {"learning_rate": 0.1, "dampening": 0}, "none"), (bp.RMSprop, {"rho": 0.9}, "alpha"),
    (bp.Adagrad, {"initial_accumulator_value": 0.1}, "initial_sum"), (bp.Rprop, {"etas": (0.5, 1.2)}, "eta_minus and eta_plus"),
    (bp.Rprop, {"weight_decay": 0.1}, "l2"), (bp.LBFGS, {"max_iter": 20}, "epochs"), (bp.LBFGS, {"tolerance_grad": 1}, "tolerance"),
    (bp.LBFGS, {"weight_decay": 0.1}, "layers take l2"), (bp.Lion, {"lr": 0.1}, "learning_rate"),
    (bp.Dense, {"units": 64}, "Dense(n_in, n_out)"), (bp.Dense, {"in_features": 3, "out_features": 2}, "n_in"),
    (bp.Dense, {"n_in": 3, "n_out": 2, "bias": False}, "use_bias"),
    (bp.Dense, {"n_in": 3, "n_out": 2, "kernel_initializer": "he_normal"}, "weight_init"),
    (bp.Dense, {"n_in": 3, "n_out": 2, "kernel_regularizer": 0.1}, "l1 and l2"),
    (bp.Dense, {"n_in": 3, "n_out": 2, "activaton": "relu"}, "did you mean activation?"),
    (bp.Dropout, {"p": 0.5}, "rate"), (bp.Dropout, {"rate": 0.5, "seed": 1}, "rng"), (bp.BatchNorm, {"eps": 1e-5}, "epsilon"),
    (bp.BatchNorm, {"num_features": 9}, "learns its size"), (bp.LayerNorm, {"normalized_shape": 9}, "learns its size"),
    (bp.PReLU, {"init": 0.2}, "slope"), (bp.PeriodicEmbedding, {"n_in": 2, "d_embedding": 9}, "width"),
    (bp.PiecewiseLinearEmbedding, {"bins": [3]}, "edges"), (bp.Embedding, {"num_embeddings": 9, "embedding_dim": 2}, "values"),
    (bp.CrossEntropy, {"weight": [1, 2]}, "class_weight"), (bp.CrossEntropy, {"ignore_index": 0}, "sample_weight"),
    (bp.MeanSquaredError, {"size_average": True}, "reduction"), (bp.Huber, {"beta": 1}, "delta"),
    (bp.Quantile, {"quantile": 0.1}, "q"), (bp.BinaryCrossEntropy, {"logits": True}, "from_logits"),
    (bp.EarlyStopping, {"restore_best_weights": True}, "restore_best"), (bp.EarlyStopping, {"verbose": 1}, "progress=True"),
    (bp.ReduceOnPlateau, {"min_lr": 1e-5}, "minimum"), (bp.ReduceOnPlateau, {"threshold": 1e-5}, "min_delta"),
    (bp.Checkpoint, {"filepath": "a"}, "path"), (bp.Checkpoint, {"path": "a", "save_best_only": True}, 'keep="best"'),
    (bp.CSVLogger, {"filename": "a"}, "path"), (bp.LearningRateFinder, {"num_iter": 9}, "steps"),
    (s.Step, {"learning_rate": 0.1, "step_size": 9}, "every"), (s.Exponential, {"learning_rate": 0.1, "gamma": 0.9}, "factor"),
    (s.Cosine, {"learning_rate": 0.1, "T_max": 9}, "steps"), (s.OneCycle, {"max_lr": 0.1, "steps": 9}, "learning_rate"),
    (bp.Sequential, {"layers": [bp.Dense(2, 1)], "seed": 0}, "rng"), (fit, {"verbose": 0}, "progress=True"),
    (fit, {"batch": 32}, "batch_size"), (fit, {"lr": 0.1}, "optimizer=Adam(learning_rate)"), (fit, {"n_epochs": 3}, "epochs"),
    (fit, {"num_epochs": 3}, "epochs"), (fit, {"criterion": "mse"}, "loss"), (fit, {"random_state": 0}, "rng"),
    (fit, {"eval_set": (X, Y)}, "validation_data"), (fit, {"class_weights": [1, 2]}, "class_weight"),
    (fit, {"early_stopping": True}, "callbacks=[EarlyStopping()]"), (fit, {"patience": 3}, "EarlyStopping(patience=...)"),
    (fit, {"n_jobs": 3}, "threads"), (fit, {"metric": "mse"}, "metrics"), (fit, {"epoch": 3}, "epochs"),
    (evaluate, {"verbose": 0}, "progress"), (evaluate, {"n_jobs": 2}, "threads"), (evaluate, {"metric": "mse"}, "metrics"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "words", "here"), KEYWORDS, ids=lambda part: None)
def test_a_keyword_of_another_library(call, words, here):
    with pytest.raises(TypeError, match=r"unexpected keyword argument .*, expected ") as caught:
        call(**words)
    message = str(caught.value)
    assert here in message.split("): ")[-1], message
    assert len(message) < 400 and "\n" not in message


ARGUMENTS = [
    (lambda: bp.Dense(64, activation="relu"), "missing", "'n_out'", "Dense(n_in, 64, activation='relu')"),
    (lambda: bp.Dense(64), "'n_out'", "sizes are given", "Dense(n_in, 64)"),
    (lambda: bp.Dense(64, "relu"), "n_out: expected a whole number, got 'relu'", "Dense(n_in, 64, 'relu')"),
    (lambda: bp.BatchNorm(64), "too many", "learns its size from the network, BatchNorm()"),
    (lambda: bp.LayerNorm(64), "too many", "LayerNorm()"),
    (lambda: bp.Dropout(0.5, True), "too many", "expected Dropout(rate)"),
    (lambda: bp.SGD(), "'learning_rate'", "SGD(0.01)"),
    (lambda: bp.Sequential(bp.Dense(3, 2), bp.Dense(2, 1)), "too many", "a list of layers, Sequential([...])"),
    (lambda: network().fit(X, Y), "'loss'", 'fit(x, y, loss="mse", optimizer="adam")'),
    (lambda: network().fit(X, Y, "mse", "adam"), "too many", 'fit(x, y, loss="mse", optimizer="adam")'),
    (lambda: network().evaluate(X, Y), "'loss'", 'evaluate(x, y, loss="mse")'),
    (lambda: fit(optimizer=bp.Adam), "optimizer: expected", "call it, Adam(...)"),
    (lambda: fit(optimizer=1e-3), "optimizer: expected", 'a name such as "adam"'),
    (lambda: bp.Adam("1e-3"), "learning_rate: expected a number, got '1e-3'"),
    *((lambda x=x: network().fit(x, loss="mse", optimizer="adam"), "y: expected the targets of x, got None", "both, x and y")
      for x in (X, X.tolist(), list(X), tuple(X.tolist()), (X, Y), [X, Y], [1.0, 2.0], memoryview(X).tolist())),
    (lambda: network().evaluate(X, None, loss="mse"), "y: expected the targets of x, got None"),
    (lambda: fit(validation_data=(X, None)), "validation_data: y: expected the targets of x, got None"),
    (lambda: network().fit(iter(X), loss="mse", optimizer="adam"), "batch 0: expected (x, y)", "was y forgotten?"),
    (lambda: network().fit(iter(X.tolist()), loss="mse", optimizer="adam"), "batch 0: expected (x, y)", "was y forgotten?"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "says"), [(row[0], row[1:]) for row in ARGUMENTS])
def test_arguments_that_are_missing_or_too_many(call, says):
    with pytest.raises(TypeError) as caught:
        call()
    assert [part for part in says if part not in str(caught.value)] == [], str(caught.value)


NAMES = {
    "activation": (lambda name: bp.Dense(2, 2, name), {
        "swish": "silu", "Sigmoid": "sigmoid", "logistic": "sigmoid", "linear": "identity", "LeakyReLU": "leaky_relu",
        "ReLU": "relu", "HardSigmoid": "hard_sigmoid", "none": "identity", "leaky-relu": "leaky_relu", "rleu": "relu",
    }),
    "weight_init": (lambda name: bp.Dense(2, 2, weight_init=name), {
        "xavier_uniform": "glorot_uniform", "xavier_normal": "glorot_normal", "kaiming_uniform": "he_uniform",
        "he": "he_normal", "GlorotUniform": "glorot_uniform", "zero": "zeros",
    }),
    "loss": (lambda name: fit(loss=name), {
        "categorical_crossentropy": "cross_entropy", "sparse_categorical_crossentropy": "cross_entropy",
        "binary_crossentropy": "binary_cross_entropy", "bce": "binary_cross_entropy", "nll": "cross_entropy",
        "BCELoss": "binary_cross_entropy", "CrossEntropyLoss": "cross_entropy", "MSELoss": "mse", "MSE": "mse", "l1": "mae",
        "squared_error": "mse", "log_loss": "cross_entropy", "kl": "kl_divergence", "smooth_l1": "huber",
        "MeanSquaredError": "mean_squared_error", "crossentropy": "cross_entropy",
    }),
    "metrics": (lambda name: fit(metrics=[name]), {
        "acc": "accuracy", "auc": "roc_auc", "f1_score": "f1", "r2_score": "r2", "MAE": "mae", "mean_squared_error": "mse",
        "sparse_categorical_accuracy": "accuracy", "Accuracy": "accuracy", "sensitivity": "recall",
    }),
    "optimizer": (lambda name: fit(optimizer=name), {
        "Adam": "adam", "ADAMW": "adamw", "RMSProp": "rmsprop", "l-bfgs": "lbfgs", "momentum": "sgd", "adamm": "adam",
    }),
    "reduction": (lambda name: bp.Huber(reduction=name), {"batchmean": "mean", "sum_over_batch_size": "mean"}),
    "mode": (lambda name: bp.EarlyStopping(mode=name), {"minimize": "min", "maximize": "max"}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "name", "here"),
    [(option, name, here) for option, (_, names) in NAMES.items() for name, here in names.items()],
)
def test_a_name_of_another_library(option, name, here):
    with pytest.raises(ValueError, match=f"{option}: expected one of .*; did you mean {here!r}\\?$"):
        NAMES[option][0](name)


@pytest.mark.parametrize("kind", [name for name in bp.optimizers.__all__ if name != "Optimizer"])
def test_optimizers_by_name(kind):
    """Each name is the class with its defaults, and a new one each time."""
    made = bp.optimizers.get(kind.lower())
    assert type(made) is getattr(bp, kind)
    assert repr(made) == repr(bp.SGD(0.01) if kind == "SGD" else getattr(bp, kind)())
    assert bp.optimizers.get(made) is made
    net, twin = network(), network()
    for _ in range(2):
        net.fit(X, Y, loss="mse", optimizer=kind.lower(), epochs=3)
        twin.fit(X, Y, loss="mse", optimizer=bp.optimizers.get(kind.lower()), epochs=3)
    assert net.parameters.tobytes() == twin.parameters.tobytes()


def test_classes_of_other_libraries():
    for name, here in {"Linear": "Dense", "ReLU": "Activation", "CrossEntropyLoss": "CrossEntropy", "sequential": "Sequential",
                       "BatchNorm1d": "BatchNorm", "ModelCheckpoint": "Checkpoint"}.items():  # fmt: skip
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; did you mean {here}"):
            getattr(bp, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'zzz'$"):
        _ = bp.zzz
    assert not hasattr(bp, "__wrapped__")


def softmax(y, **words):
    return network(3, "softmax").fit(X, y, **({"loss": "cross_entropy", "optimizer": "adam"} | words))


SHAPES = [
    (lambda: network().fit(Y, X, loss="mse", optimizer="adam"), "input of shape (batch, 3), got (4, 2)", "x and y swapped?"),
    (lambda: fit(validation_data=(Y, X)), "validation_data: Dense 1 of 1", "x and y swapped?"),
    (lambda: network().predict(np.ones((3, 5))), "got (3, 5)", "x.T"),
    (lambda: network().predict(np.ones(3)), "got (3,)", "x.reshape(1, -1) is one row"),
    (lambda: network(n_in=1).predict(np.ones(4)), "got (4,)", "x.reshape(-1, 1) is one column"),
    (lambda: network(n_in=6).predict(np.ones((4, 2, 3))), "got (4, 2, 3)", "x.reshape(len(x), -1)"),
    (lambda: softmax(LABELS + 1), "labels 0 to 2", "got 3 at row 2", "y - 1"),
    (lambda: softmax([1.0, 2.0, 3.0, 3.0]), "labels 0 to 2", "got 3.0 at row 2", "y - 1"),
    (lambda: softmax(LABELS * 10), "got 10 at row 1", "np.unique(y, return_inverse=True)"),
    (lambda: softmax([-1, 1, 1, -1]), "got -1 at row 0", "np.unique(y, return_inverse=True)"),
    (lambda: softmax(np.arange(4)), "got 3 at row 3", "4 classes need as many outputs"),
    (lambda: softmax(LABELS, loss="mse"), "shape (batch, 3), got (4,)", 'loss="cross_entropy"', "np.eye(3)[y]"),
    (lambda: fit(loss="cross_entropy"), "a last layer that ends in 'softmax'", "got 'identity'", "end it so"),
    (lambda: network(1, "sigmoid").fit(X, np.eye(3)[[0, 1, 2, 0]], loss="binary_cross_entropy", optimizer="adam"),
     "(batch, 1), got (4, 3)", "a last layer of 3 outputs"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "says"), [(row[0], row[1:]) for row in SHAPES])
def test_shapes_and_labels_that_do_not_fit(call, says):
    with pytest.raises(ValueError, match="expected") as caught:
        call()
    assert [part for part in says if part not in str(caught.value)] == [], str(caught.value)
    assert len(str(caught.value)) < 400


METHODS = {
    "compile": "fit takes the loss", "add": "Sequential([...])", "eval": "without dropout", "state_dict": "arrays()",
    "weights": "parameters", "zero_grad": "overwrites", "load_weights": "bp.load", "predict_proba": "predict",
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_what_a_network_has_in_other_libraries(name):
    with pytest.raises(AttributeError, match=f"'Sequential' object has no attribute '{name}': ") as caught:
        getattr(network(), name)
    assert METHODS[name] in str(caught.value)
    assert not any(hasattr(network(), other) for other in ("__array__", "iloc", "zzz", "__wrapped__"))


BESIDE_A_LIST = [
    (lambda: fit(metrics="mse"), "metrics: expected a list, got 'mse'", "metrics=[...]"),
    (lambda: fit(callbacks=bp.EarlyStopping()), "callbacks: expected a list", "callbacks=[...]"),
    (lambda: bp.Sequential(bp.Dense(3, 2)), "layers: expected a list, got Dense(3, 2)", "layers=[...]"),
    (lambda: bp.Sequential([bp.Dense(3, 2), "relu"]), "got 'relu' in place 2", "Activation('relu')"),
    (lambda: bp.Sequential([bp.Dense]), "in place 1", "call it, Dense(...)"),
]


@pytest.mark.parametrize(("call", "says"), [(row[0], row[1:]) for row in BESIDE_A_LIST])
def test_what_belongs_into_a_list(call, says):
    with pytest.raises(TypeError) as caught:
        call()
    assert [part for part in says if part not in str(caught.value)] == [], str(caught.value)


def test_other_names_to_monitor():
    for name, here in {"val_acc": "accuracy", "acc": "accuracy", "val_auc": "roc_auc", "val_lossy": "loss"}.items():
        with pytest.raises(ValueError, match=f"mode: expected .*; did you mean '{here}'"):
            bp.EarlyStopping(monitor=name)
    for words, says in (
        ({}, "give the fit validation data"),
        ({"monitor": "loss_", "mode": "min"}, "did you mean 'loss'"),
    ):
        with pytest.raises(ValueError, match=f"monitor: expected one of loss, got .*{says}"):
            fit(callbacks=[bp.EarlyStopping(**words)])


@pytest.mark.parametrize("make", [lambda: bp.Dense(3, 3), bp.LayerNorm, lambda: bp.Residual([bp.Dense(3, 3)])])
def test_a_layer_by_itself_says_what_to_do(make):
    layer = make()
    net = bp.Sequential([layer, bp.Dense(3, 2)], rng=0)
    for name in ("forward", "backward"):
        with pytest.raises(NotImplementedError, match=f"{name}: expected a network, got its layer .* call net.{name}"):
            getattr(net.layers[0], name)(X)
    own = type("Own", (bp.Layer,), {"forward": lambda self, x, training: x})()
    with pytest.raises(NotImplementedError, match="backward: expected Own to implement backward, got no such method"):
        own.backward(X)


def test_signatures_stay():
    """What adds to the messages is not seen by who looks at a class, and an error from inside stays what it is."""
    assert list(inspect.signature(bp.Dense).parameters)[:3] == ["n_in", "n_out", "activation"]
    assert "optimizer" in inspect.signature(bp.Sequential.fit).parameters
    assert copy.deepcopy(pickle.loads(pickle.dumps(bp.Adam(0.1)))).learning_rate == 0.1

    class Own(bp.Layer):
        def __init__(self, width, **anything):
            self.width = width
            if width < 0:
                raise TypeError("mine")

    assert Own(3, lr=1).width == 3
    with pytest.raises(TypeError, match=r"^mine$"):
        Own(-1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        Own()

    def metric(y_hat, y):
        raise TypeError("mine too")

    with pytest.raises(TypeError, match=r"^mine too$"):
        fit(metrics=[metric])


def others():
    """What files of other kinds hold, and what they are called."""
    text, saved, zipped = io.StringIO(), io.BytesIO(), io.BytesIO()
    np.save(saved, X)
    np.savez(zipped, X)
    text.write("layers: 3")
    return {
        "a text file": [text.getvalue().encode(), b"{}", b'{"a": 1}', b"\xef\xbb\xbfa,b\r\n1,2\r\n", b"# Model\nx"],
        "a pickle": [pickle.dumps(X, protocol) for protocol in range(2, 6)],
        "a zip archive, as PyTorch": [zipped.getvalue()],
        "an array of NumPy": [saved.getvalue()],
        "a gzip file": [gzip.compress(b"a,b\n" * 9, mtime=when) for when in (0, 2**31)],
        "an HDF5 file, as Keras": [b"\x89HDF\r\n\x1a\n" + bytes(99)],
        "an ONNX model": [b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(99)],
        "a Parquet table": [b"PAR1\x15\x04\x15\x90" + bytes(99)],
    }


@pytest.mark.parametrize("kind", others())
def test_files_of_other_kinds_are_named(kind, tmp_path):
    for i, content in enumerate(others()[kind]):
        path = tmp_path / f"{i}.bin"
        path.write_bytes(content)
        with pytest.raises(bp.FormatError, match=f"{i}.bin: expected a safetensors file, .* got {kind}"):
            bp.load(path)
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    torch.save({"weight": torch.ones(3)}, tmp_path / "model.pt")
    with pytest.raises(bp.FormatError, match="got a zip archive, as PyTorch"):
        bp.load(tmp_path / "model.pt")
