"""Tables of other libraries: every kind of number gives the bits of the same numbers in an array; names count."""

import datetime
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import backprop as bp

pd = pytest.importorskip("pandas", reason="needs pandas")

ROWS = 6
WHOLE = np.array([3, 0, 1, 2, 2, 1])
FLAGS = np.array([True, False, True, True, False, False])
HALVES = WHOLE / 2  # what every kind of float holds


def optional(name):
    """A library that not every environment has."""
    return pytest.importorskip(name, reason=f"needs {name}")


#: One column of each kind of number that libraries know, and the plain numbers in it.
COLUMNS = {
    **{f"{kind}": (lambda kind=kind: pd.Series(WHOLE.astype(kind)), WHOLE)
       for kind in ("int8", "int64", "uint8", "uint64", "float16", "float32", "float64", "longdouble")},
    "bool": (lambda: pd.Series(FLAGS), FLAGS),
    **{kind: (lambda kind=kind: pd.Series(WHOLE, dtype=kind), WHOLE)
       for kind in ("Int8", "Int64", "UInt32", "Float32", "Float64", "category")},
    "boolean": (lambda: pd.Series(FLAGS, dtype="boolean"), FLAGS),
    "sparse": (lambda: pd.Series(pd.arrays.SparseArray(WHOLE)), WHOLE),
    "bfloat16": (lambda: pd.Series(HALVES.astype(optional("ml_dtypes").bfloat16)), HALVES),
    "int4": (lambda: pd.Series(WHOLE.astype(optional("ml_dtypes").int4)), WHOLE),
    "objects": (lambda: pd.Series(list(HALVES.tolist()), dtype=object), HALVES),
    "flags as objects": (lambda: pd.Series(FLAGS.tolist(), dtype=object), FLAGS),
    "Decimal": (lambda: pd.Series([Decimal(int(v)) / 2 for v in WHOLE], dtype=object), HALVES),
    "Fraction": (lambda: pd.Series([Fraction(int(v), 2) for v in WHOLE], dtype=object), HALVES),
    "one object and another": (
        lambda: pd.Series([True, 0, np.float32(1), Decimal(2), Fraction(2), np.int8(1)], dtype=object),
        [1, 0, 1, 2, 2, 1],
    ),
    "int64[pyarrow]": (lambda: optional("pyarrow") and pd.Series(WHOLE, dtype="int64[pyarrow]"), WHOLE),
    "bool[pyarrow]": (lambda: optional("pyarrow") and pd.Series(FLAGS, dtype="bool[pyarrow]"), FLAGS),
}  # fmt: skip
#: What makes a table of a frame of pandas.
LIBRARIES = {
    "pandas": lambda frame: frame,
    "Polars": lambda frame: optional("polars").DataFrame({name: frame[name].to_numpy() for name in frame}),
    "PyArrow": lambda frame: optional("pyarrow").table({name: frame[name].to_numpy() for name in frame}),
    "a batch of PyArrow": lambda frame: optional("pyarrow").record_batch(
        {name: frame[name].to_numpy() for name in frame}
    ),
    "an array of objects": lambda frame: frame.to_numpy(dtype=object),
    "lists": lambda frame: frame.to_numpy(dtype=object).tolist(),
}


def network(loss="mse", n_in=3):
    ends = {"mse": (1, "identity"), "cross_entropy": (4, "softmax")}[loss]
    return bp.Sequential([bp.Dense(n_in, 4, "tanh"), bp.Dense(4, *ends)], rng=0)


def fit(net, x, y, **how):
    return net.fit(x, y, **({"loss": "mse", "optimizer": "adam", "batch_size": 2, "epochs": 2, "rng": 1} | how))


#: Every way in for rows; what comes out shows which numbers went in.
DOORS = {
    "predict": lambda net, x, y: net.predict(x),
    "a call": lambda net, x, y: net(x),
    "predict in batches": lambda net, x, y: net.predict(x, batch_size=4),
    "forward": lambda net, x, y: net.forward(x),
    "evaluate": lambda net, x, y: net.evaluate(x, y, loss="mse", metrics=["r2"])["loss"],
    "value_and_gradient": lambda net, x, y: net.value_and_gradient(x, y, "mse")[1],
    "check_gradients": lambda net, x, y: bp.check_gradients(net, "mse", x, y).error,
    "fit": lambda net, x, y: [fit(net, x, y)["loss"], net.parameters],
    "fit on batches": lambda net, x, y: [
        net.fit([(x, y), (x, y)], loss="mse", optimizer="adam")["loss"],
        net.parameters,
    ],
    "validation_data": lambda net, x, y: fit(net, plain(x), y, validation_data=(x, y))["val_loss"],
}


def plain(x):
    return np.arange(3.0 * ROWS).reshape(ROWS, 3) / 9


def table(kind):
    made, numbers = COLUMNS[kind]
    frame = pd.DataFrame({"a": np.linspace(0, 1, ROWS), "b": made(), "c": FLAGS})
    return frame, np.column_stack([np.linspace(0, 1, ROWS), np.asarray(numbers, float), FLAGS])


def same(found, wanted):
    for a, b in zip(
        found if isinstance(found, list) else [found], wanted if isinstance(wanted, list) else [wanted], strict=True
    ):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("kind", COLUMNS)
def test_numbers_of_every_kind(kind):
    """With a float and a flag beside it; and alone, as inputs, as targets and as weights."""
    frame, numbers = table(kind)
    y = np.arange(ROWS)
    for enter in DOORS.values():
        same(enter(network(), frame, y), enter(network(), numbers, y))
    alone, column = frame[["b"]], numbers[:, 1:2]
    same(network(n_in=1).predict(alone), network(n_in=1).predict(column))
    for made in (frame["b"], alone):
        same(fit(network(), numbers, made)["loss"], fit(network(), numbers, column)["loss"])
    same(fit(network(), numbers, y, sample_weight=frame["b"])["loss"], fit(network(), numbers, y, sample_weight=column[:, 0])["loss"])  # fmt: skip
    if (column == np.floor(column)).all():
        net, twin = network("cross_entropy"), network("cross_entropy")
        how = {"loss": "cross_entropy", "metrics": ["accuracy"]}
        assert dict(fit(net, frame, frame["b"], **how)) == dict(fit(twin, numbers, column[:, 0].astype(int), **how))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("door", DOORS)
def test_tables_of_every_library(library, door):
    frame, numbers = table("int64")
    given, y = LIBRARIES[library](frame), np.arange(ROWS)
    same(DOORS[door](network(), given, y), DOORS[door](network(), numbers, y))


def test_tensors():
    torch = optional("torch")
    numbers = HALVES.reshape(2, 3)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        tensor = torch.tensor(numbers, dtype=dtype, requires_grad=True)
        same(network().predict(tensor), network().predict(numbers))
        same(network().predict(list(tensor)), network().predict(numbers))
    for bad, says in ((torch.ones(2, 3, device="meta"), "meta"), (torch.eye(3).to_sparse(), "to_dense")):
        with pytest.raises(TypeError, match=f"x: expected an array, got Tensor.*{says}"):
            network().predict(bad)


def test_arrays_of_narrow_types():
    types = optional("ml_dtypes")
    numbers = HALVES.reshape(2, 3)
    for kind in (types.bfloat16, types.float8_e4m3fn, types.float8_e5m2):
        same(network().predict(numbers.astype(kind)), network().predict(numbers))


# What is refused says which column, and why.

WORDS = ["cat", "dog", "cow", "cat", "dog", "ant"]
DATES = pd.to_datetime(["2020-01-01"] * ROWS)
NOT_NUMBERS = {
    "strings": (lambda: WORDS, TypeError, "strings in column 'b'", "(dtype ", "bp.Embedding", "one-hot"),
    "strings as objects": (lambda: pd.Series(WORDS, dtype=object), TypeError, "strings in column 'b'", "(dtype object)",
                           "'cat' at row 0"),
    "a category": (lambda: pd.Categorical(WORDS), TypeError, "strings in column 'b'", "(dtype category)"),
    "numbers in quotes": (lambda: ["1", "2"] * 3, TypeError, "strings in column 'b'", "astype(float)"),
    "a word among numbers": (lambda: [1, 2, 3, "?", 5, 6], TypeError, "strings in column 'b'", "'?' at row 3"),
    "dates": (lambda: DATES, TypeError, "dates in column 'b'", "(dtype datetime64", "days since"),
    "dates of a zone": (lambda: DATES.tz_localize("UTC"), TypeError, "dates in column 'b'", "UTC"),
    "date objects": (lambda: [datetime.date(2020, 1, 1)] * ROWS, TypeError, "dates in column 'b'", "(dtype object)"),
    "durations": (lambda: DATES - DATES[0], TypeError, "time differences in column 'b'", "timedelta64"),
    "periods": (lambda: pd.period_range("2020", periods=ROWS), TypeError, "in column 'b'", "(dtype period"),
    "complex": (lambda: WHOLE * 1j, TypeError, "complex numbers in column 'b'", "(dtype complex128)"),
    "lists": (lambda: [[1, 2]] * ROWS, TypeError, "in column 'b'", "[1, 2] at row 0"),
    "NaN": (lambda: [1, 2, np.nan, 4, 5, 6], ValueError, "nan, a missing value, at row 2, column 'b'", "replace or drop"),
    "infinity": (lambda: [1, 2, 3, np.inf, 5, 6], ValueError, "got inf at row 3, column 'b'"),
    "None": (lambda: [1, 2, None, 4, 5, 6], ValueError, "a missing value, at row 2, column 'b'"),
    "None among objects": (lambda: pd.Series([True, None, 1, 2, 3, 4], dtype=object), ValueError,
                           "None, a missing value, at row 1 in column 'b'"),
    **{f"a gap in {kind}": (lambda kind=kind: pd.Series([1, 0, None, 1, 0, 1], dtype=kind), ValueError,
                            "a missing value, at row 2", "column 'b'") for kind in ("Int64", "Float64", "boolean")},
    "NaT": (lambda: pd.Series([pd.NaT, 1, 2, 3, 4, 5], dtype=object), ValueError, "a missing value, at row 0 in column 'b'"),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", NOT_NUMBERS)
def test_the_column_that_is_no_number_is_named(kind, door):
    make, error, *says = NOT_NUMBERS[kind]
    frame = pd.DataFrame({"a": np.linspace(0, 1, ROWS), "b": make(), "c": FLAGS})
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(error) as caught:
        DOORS[door](net, frame, np.arange(ROWS))
    message = str(caught.value)
    assert [part for part in ("x: expected", *says) if part not in message] == [], message
    assert caught.type is error and len(message) < 400 and "\n" not in message
    assert net.feature_names is None
    if door != "validation_data":
        assert net.parameters.tobytes() == before


@pytest.mark.parametrize("library", ["Polars", "PyArrow"])
def test_columns_of_other_libraries_are_named_too(library):
    make = LIBRARIES[library]
    for column, error, says in (
        (pd.Series(WORDS, dtype=object), TypeError, "strings in column 'b'"),
        (pd.Series([True, None] * 3, dtype=object), ValueError, "a missing value, at row 1 in column 'b'"),
        (pd.Series([1.0, np.nan] * 3), ValueError, "a missing value, at row 1, column 'b'"),
        (pd.Series(DATES), TypeError, "dates in column 'b'"),
    ):
        frame = make(pd.DataFrame({"a": HALVES, "b": column, "c": FLAGS}))
        with pytest.raises(error, match=f"x: expected .*{says}"):
            network().predict(frame)


def test_what_is_beyond_float32_is_named():
    frame = table("float64")[0]
    frame.loc[4, "b"] = -1e39
    with pytest.raises(ValueError, match="-1e\\+39 at row 4, column 'b': a number beyond float32: scale it"):
        network().predict(frame)


@pytest.mark.parametrize(
    "make", [np.array, pd.Series, pd.Categorical, lambda words: pd.DataFrame({"kind": words}), list]
)
def test_words_for_classes(make):
    with pytest.raises(TypeError, match=r"y: expected real numbers, got .*np.unique\(y, return_inverse=True\)"):
        fit(network("cross_entropy"), plain(None), make(WORDS), loss="cross_entropy")


# Names.

FRAME = table("int64")[0]
NUMBERS = FRAME.to_numpy(dtype=float)
OTHER_ORDER = FRAME[["c", "a", "b"]]
OTHERS = {
    "one less": (FRAME[["a", "b"]], "missing 'c'"),
    "one more": (FRAME.assign(d=1), "not known 'd'"),
    "one renamed": (FRAME.rename(columns={"b": "z"}), "missing 'b', not known 'z'"),
    "one twice": (FRAME[["a", "b", "b"]], "missing 'c', twice 'b'"),
    "all, and one twice": (FRAME[["a", "b", "c", "b"]], "twice 'b'"),
    "in capitals": (FRAME.rename(columns=str.upper), "missing 'a', 'b', 'c', not known 'A', 'B', 'C'"),
}
ON_NAMED = {door: enter for door, enter in DOORS.items() if not door.startswith("fit")} | {
    "validation_data": lambda net, x, y: fit(net, FRAME, y, validation_data=(x, y))["val_loss"],
    "validation of batches": lambda net, x, y: net.fit(
        [(FRAME, y)], loss="mse", optimizer="adam", validation_data=(x, y))["val_loss"],
    "the second batch": lambda net, x, y: net.fit([(FRAME, y), (x, y)], loss="mse", optimizer="adam")["loss"],
}  # fmt: skip


def fitted():
    net = network()
    fit(net, FRAME, np.arange(ROWS))
    assert net.feature_names == ("a", "b", "c")
    return net


@pytest.mark.parametrize("library", ["pandas", "Polars", "PyArrow"])
@pytest.mark.parametrize("door", [*ON_NAMED, "fit", "fit on batches"])
def test_columns_are_found_by_name(door, library):
    """Also in a further fit, and in a network that was saved, pickled or copied."""
    enter, y = (DOORS | ON_NAMED)[door], np.arange(ROWS)
    wanted = enter(fitted(), FRAME, y)
    same(enter(fitted(), LIBRARIES[library](OTHER_ORDER), y), wanted)
    net = fitted()
    enter(net, OTHER_ORDER, y)
    assert net.feature_names == ("a", "b", "c")


@pytest.mark.parametrize("door", ON_NAMED)
@pytest.mark.parametrize("other", OTHERS)
def test_other_columns_are_refused(door, other):
    frame, says = OTHERS[other]
    net = fitted()
    with pytest.raises(ValueError, match="expected") as caught:
        ON_NAMED[door](net, frame, np.arange(ROWS))
    if door != "validation of batches":  # whose names are known before those of the batches
        wanted = f"x: expected the 3 columns of the fit, ['a', 'b', 'c'], got others: {says}"
        assert str(caught.value).endswith(wanted)
    assert net.feature_names == ("a", "b", "c")


def test_names_travel(tmp_path):
    net = fitted()
    net.save(tmp_path / "net.safetensors")
    for other in (bp.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)), net.copy()):
        assert other.feature_names == ("a", "b", "c")
        same(other.predict(OTHER_ORDER), net.predict(NUMBERS))
        with pytest.raises(ValueError, match="missing 'c'"):
            other.predict(FRAME[["a", "b"]])
    assert "feature_names" not in str(network().to_bytes())


def test_what_has_no_names_goes_by_place():
    net = fitted()
    wanted = net.predict(NUMBERS)
    for given in (NUMBERS, NUMBERS.tolist(), pd.DataFrame(NUMBERS), pd.DataFrame(NUMBERS, columns=[("a", 1), 2, "c"])):
        same(net.predict(given), wanted)
    assert fit(net, NUMBERS, np.arange(ROWS)) and net.feature_names == ("a", "b", "c")
    nameless = network()
    fit(nameless, NUMBERS, np.arange(ROWS))
    assert nameless.feature_names is None
    same(nameless.predict(OTHER_ORDER), nameless.predict(OTHER_ORDER.to_numpy(dtype=float)))


def test_a_fit_on_others_takes_their_names():
    net, renamed = fitted(), OTHER_ORDER.rename(columns=str.upper)
    fit(net, renamed, np.arange(ROWS), validation_data=(renamed[["A", "B", "C"]], np.arange(ROWS)))
    assert net.feature_names == ("C", "A", "B")
    net.fit([(FRAME, np.arange(ROWS)), (OTHER_ORDER, np.arange(ROWS))], loss="mse", optimizer="adam")
    assert net.feature_names == ("a", "b", "c")


def test_a_fit_that_is_refused_leaves_the_names():
    net, y = fitted(), np.arange(ROWS)
    renamed = FRAME.rename(columns=str.upper)
    for how in (
        {"loss": "mes"},
        {"validation_data": (FRAME, y)},
        {"epochs": -1},
        {"sample_weight": -y},
        {"metrics": ["?"]},
    ):
        with pytest.raises(ValueError, match="expected"):
            fit(net, renamed, y, **how)
        assert net.feature_names == ("a", "b", "c")


def test_names_are_checked_where_they_are_assigned():
    net = network()
    net.feature_names = FRAME.columns
    assert net.feature_names == ("a", "b", "c")
    same(net.predict(OTHER_ORDER), net.predict(NUMBERS))
    for bad, error in ((["a", "b"], ValueError), (["a", "b", 3], ValueError), ("abc", TypeError), (5, TypeError)):
        with pytest.raises(error, match="feature_names: expected"):
            net.feature_names = bad
    net.feature_names = None
    net.predict(FRAME.rename(columns=str.upper))


def test_a_resumed_fit_goes_by_the_names_of_its_checkpoint(tmp_path):
    path, y = tmp_path / "run.safetensors", np.arange(ROWS)
    keep = bp.Checkpoint(path)
    whole, net = network(), network()
    fit(whole, FRAME, y, epochs=4, rng=None)
    fit(net, FRAME, y, epochs=2, rng=None, callbacks=[keep])
    resumed, _ = bp.resume(path, OTHER_ORDER, y, loss="mse", batch_size=2, epochs=4, callbacks=[keep])
    same(resumed.parameters, whole.parameters)
    with pytest.raises(ValueError, match="resume: expected the columns of the checkpoint in their order"):
        fit(network(), OTHER_ORDER, y, epochs=5, rng=None, resume=path, callbacks=[keep])


@pytest.mark.parametrize("library", ["pandas", "Polars", "PyArrow"])
def test_targets_that_were_forgotten(library):
    """A frame can be gone through too, by the names of its columns: it is no list of batches."""
    with pytest.raises(TypeError, match="y: expected the targets of x, got None"):
        network().fit(LIBRARIES[library](FRAME), loss="mse", optimizer="adam")
    with pytest.raises(TypeError, match="y: expected the targets of x, got None"):
        network().fit(FRAME["a"], loss="mse", optimizer="adam")
