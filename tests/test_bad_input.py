"""Bad input: one table, walked through door by door. What is refused says why, and leaves the network as it was.

A row of a table is a name, what is wrong, the class of the error, and what its message must say.
"""

import datetime
import re
import sys
from decimal import Decimal

import numpy as np
import pytest
from refusals import ENDS, KINDS, ROWS, Framed, assert_refused, fit, read_only, setup, state

import backprop as bp

# What no array argument takes, made from one that is good.


def changed(value, dtype=np.float64):
    def make(good):
        bad = np.array(good, dtype)
        bad.flat[bad.size - 2] = value
        return bad

    return make


def sparse(kind):
    """A function that makes an array a sparse one of this kind."""

    def made(a):
        return getattr(pytest.importorskip("scipy.sparse", reason="needs SciPy"), kind)(np.atleast_2d(a))

    return made


NOT_FINITE = [
    ("NaN", changed(np.nan), ValueError, "finite numbers", "got nan", "replace or drop"),
    ("infinity", changed(np.inf), ValueError, "finite numbers", "got inf", "replace or drop"),
    ("minus infinity", changed(-np.inf), ValueError, "finite numbers", "got -inf"),
    ("NaN of float32", changed(np.nan, np.float32), ValueError, "finite numbers", "got nan"),
    ("NaN of float16", changed(np.nan, np.float16), ValueError, "finite numbers", "got nan"),
    ("NaN of longdouble", changed(np.nan, np.longdouble), ValueError, "finite numbers", "got nan"),
    ("NaN, Fortran order", lambda a: np.asfortranarray(changed(np.nan)(a)), ValueError, "finite numbers", "got nan"),
    ("NaN, reversed", lambda a: changed(np.nan)(a)[::-1], ValueError, "finite numbers", "got nan"),
    ("NaN, other byte order", lambda a: changed(np.nan, ">f4")(a), ValueError, "finite numbers", "got nan"),
    ("NaN in lists", lambda a: changed(np.nan)(a).tolist(), ValueError, "finite numbers", "got nan"),
]
BEYOND_FLOAT32 = [
    ("1e39", changed(1e39), ValueError, "1e+39", "beyond float32: scale it", 'dtype="float64"'),
    ("-1e39", changed(-1e39), ValueError, "-1e+39", "beyond float32: scale it"),
    ("the largest float64", changed(sys.float_info.max), ValueError, "1.79", "beyond float32"),
    ("1e39 of longdouble", changed(1e39, np.longdouble), ValueError, "beyond float32"),
    ("1e39 in lists", lambda a: changed(1e39)(a).tolist(), ValueError, "1e+39", "beyond float32"),
]
NOT_NUMBERS = [
    ("None", lambda a: None, TypeError, "real numbers", "Python objects"),
    ("None among numbers", changed(None, object), TypeError, "real numbers", "Python objects"),
    ("None in lists", lambda a: changed(None, object)(a).tolist(), TypeError, "Python objects"),
    ("a word among numbers", changed("cat", object), TypeError, "real numbers", "Python objects", "'cat' at row"),
    ("strings", lambda a: a.astype(str), TypeError, "real numbers", "strings"),
    ("strings in lists", lambda a: a.astype(str).tolist(), TypeError, "strings"),
    ("new strings", lambda a: a.astype(str).astype(np.dtypes.StringDType()), TypeError, "strings"),
    ("byte strings", lambda a: a.astype("S8"), TypeError, "byte strings"),
    ("a string", lambda a: "1.0 2.0", TypeError, "strings"),
    ("bytes", lambda a: b"12345", TypeError, "byte strings"),
    ("complex", lambda a: a.astype(complex), TypeError, "complex numbers"),
    ("one complex", lambda a: changed(1j, complex)(a).tolist(), TypeError, "complex numbers"),
    ("masked", lambda a: np.ma.array(a, mask=changed(True, bool)(np.zeros(a.shape))), TypeError, "mask", "x.filled("),
    ("masked nowhere", np.ma.array, TypeError, "without a mask", "x.filled("),
    ("masked rows", lambda a: list(np.ma.array(np.atleast_2d(a), mask=True)), TypeError, "without a mask"),
    ("the masked constant", lambda a: np.ma.masked, TypeError, "without a mask"),
    ("dates", lambda a: np.full(a.shape, "2020-01-01", "datetime64[D]"), TypeError, "dates"),
    ("date objects", lambda a: np.full(a.shape, datetime.date(2020, 1, 1), object).tolist(), TypeError, "objects"),
    ("time differences", lambda a: np.full(a.shape, 1, "timedelta64[s]"), TypeError, "time differences"),
    ("structured", lambda a: np.zeros(a.shape, [("a", "f4"), ("b", "i4")]), TypeError, "a structured array"),
    ("a recarray", lambda a: np.zeros(a.shape, [("a", "f4")]).view(np.recarray), TypeError, "a structured array"),
    ("void", lambda a: np.zeros(a.shape, "V4"), TypeError, "a structured array"),
    ("ragged", lambda a: [[1.0, 2.0, 3.0], [1.0, 2.0]], ValueError, "rows of equal length", "ragged"),
    ("ragged deep down", lambda a: [[[1.0], [1.0, 2.0]]] * 5, ValueError, "rows of equal length", "ragged"),
    ("a CSR matrix", sparse("csr_matrix"), TypeError, "a dense array", "x.toarray()"),
    ("a COO array", sparse("coo_array"), TypeError, "a dense array", "x.toarray()"),
    ("a dictionary", lambda a: {0: a}, TypeError, "Python objects"),
    ("a set", lambda a: {1.0, 2.0, 3.0}, TypeError, "Python objects"),
    ("a generator", lambda a: (row for row in a), TypeError, "Python objects"),
    ("an iterator", lambda a: iter(a.tolist()), TypeError, "Python objects"),
    ("map", lambda a: map(float, a.flat), TypeError, "Python objects"),
    ("a function", lambda a: print, TypeError, "Python objects"),
    ("a class", lambda a: np.ndarray, TypeError, "Python objects"),
    ("an ellipsis", lambda a: ..., TypeError, "Python objects"),
    ("any object", lambda a: object(), TypeError, "Python objects"),
    ("an int of 400 digits", changed(10**400, object), TypeError, "Python objects"),
    ("400 digits in lists", lambda a: changed(10**400, object)(a).tolist(), TypeError, "Python objects"),
    ("a frame of strings", lambda a: Framed(a.astype(str)), TypeError, "strings"),
    ("a list of networks", lambda a: [bp.Sequential([bp.Dense(1, 1)])] * 5, TypeError, "Python objects"),
]
BAD_SHAPES_OF_X = [
    ("one row", lambda x: x[0], ValueError, "(batch, 3)", "got (3,)", "x.reshape(1, -1) is one row"),
    ("one column", lambda x: x[:, 0], ValueError, "(batch, 3)", "got (5,)"),
    ("3 dimensions", lambda x: x[None], ValueError, "(batch, 3)", "got (1, 5, 3)"),
    ("3 dimensions, one last", lambda x: x[:, :, None], ValueError, "(batch, 3)", "got (5, 3, 1)"),
    ("a number", lambda x: 1.5, ValueError, "(batch, 3)", "got ()"),
    ("0 dimensions", lambda x: np.array(1.5), ValueError, "(batch, 3)", "got ()"),
    ("an empty list", lambda x: [], ValueError, "(batch, 3)", "got (0,)"),
    ("an empty row", lambda x: [[]], ValueError, "(batch, 3)", "got (1, 0)"),
    ("too narrow", lambda x: x[:, :2], ValueError, "(batch, 3)", "got (5, 2)"),
    ("too wide", lambda x: np.hstack([x, x]), ValueError, "(batch, 3)", "got (5, 6)"),
    ("transposed", lambda x: x.T, ValueError, "(batch, 3)", "got (3, 5)"),
    ("no columns", lambda x: x[:, :0], ValueError, "(batch, 3)", "got (5, 0)"),
    ("no rows, too wide", lambda x: np.zeros((0, 4)), ValueError, "(batch, 3)", "got (0, 4)"),
    ("64 dimensions", lambda x: np.zeros((1,) * 64), ValueError, "(batch, 3)"),
    ("a range", lambda x: range(5), ValueError, "(batch, 3)", "got (5,)"),
    ("a memoryview", lambda x: memoryview(b"12345"), ValueError, "(batch, 3)", "got (5,)"),
    ("a frame of one column", lambda x: Framed(x[:, :1]), ValueError, "(batch, 3)", "got (5, 1)"),
    ("strings, too narrow", lambda x: x[:, :2].astype(str), TypeError, "strings"),
]
BAD_TARGETS = [
    ("1 dimension for two outputs", lambda y: y[:, 0], ValueError, "(batch, 2)", "got (5,)"),
    ("too wide", lambda y: np.hstack([y, y]), ValueError, "(batch, 2)", "got (5, 4)"),
    ("transposed", lambda y: y.T, ValueError, "(batch, 2)", "got (2, 5)"),
    ("3 dimensions", lambda y: y[:, :, None], ValueError, "(batch, 2)", "got (5, 2, 1)"),
    ("a number", lambda y: 1.0, ValueError, "(batch, 2)", "got ()"),
    ("too few", lambda y: y[:4], ValueError, "expected 5 rows", "got 4"),
    ("too many", lambda y: np.vstack([y, y]), ValueError, "expected 5 rows", "got 10"),
    ("none", lambda y: y[:0], ValueError, "expected 5 rows", "got 0"),
]
BAD_PROBABILITIES = [
    ("below 0", changed(-0.1), ValueError, "from 0 to 1", "got -0.1 at row 3", "BinaryCrossEntropy() takes prob"),
    ("above 1", changed(1.1), ValueError, "from 0 to 1", "got 1.1 at row 3"),
    ("-1 and 1", lambda y: 2 * y - 1, ValueError, "from 0 to 1", "got -1.0"),
    ("1 and 2", lambda y: y + 1, ValueError, "from 0 to 1", "got 2.0"),
    ("255", lambda y: (255 * y).astype(np.uint8), ValueError, "from 0 to 1", "got 255.0"),
    ("the largest uint64", changed(2**64 - 1, np.uint64), ValueError, "from 0 to 1", "got 1.8"),
    ("two columns", lambda y: np.stack([y, y], 1), ValueError, "(batch, 1)", "got (5, 2)"),
    ("3 dimensions", lambda y: y.reshape(5, 1, 1), ValueError, "(batch, 1)", "got (5, 1, 1)"),
    ("a row", lambda y: y.reshape(1, 5), ValueError, "(batch, 1)", "got (1, 5)"),
    ("too few", lambda y: y[:4], ValueError, "expected 5 rows", "got 4"),
    ("a number", lambda y: 1, ValueError, "(batch, 1)", "got ()"),
]
BAD_LABELS = [
    ("negative", changed(-1, int), ValueError, "labels 0 to 2", "got -1 at row 3"),
    ("too large", changed(3, int), ValueError, "labels 0 to 2", "got 3 at row 3"),
    ("from 1 on", lambda y: y + 1, ValueError, "labels 0 to 2", "got 3 at row 2"),
    ("fractional", changed(0.5), ValueError, "labels 0 to 2, whole numbers", "got 0.5 at row 3"),
    ("too large, as floats", changed(3.0), ValueError, "labels 0 to 2", "got 3.0 at row 3"),
    ("the least int64", changed(-(2**63), np.int64), ValueError, "labels 0 to 2", "got -9223372036854775808"),
    ("the largest uint64", changed(2**64 - 1, np.uint64), ValueError, "labels 0 to 2", "got 18446744073709551615"),
    ("the least int8", changed(-128, np.int8), ValueError, "labels 0 to 2", "got -128"),
    ("2^32, which int32 takes for 0", changed(2**32, np.int64), ValueError, "labels 0 to 2", "got 4294967296"),
    ("1e300", changed(1e300), ValueError, "labels 0 to 2", "got 1e+300"),
    ("a column of them, negative", lambda y: changed(-1, int)(y)[:, None], ValueError, "labels 0 to 2", "got -1"),
    ("too few", lambda y: y[:4], ValueError, "expected 5 rows", "got 4"),
    ("too many", lambda y: np.tile(y, 2), ValueError, "expected 5 rows", "got 10"),
    ("none", lambda y: [], ValueError, "expected 5 rows", "got 0"),
    ("a label", lambda y: 1, ValueError, "(batch, 3)", "got ()"),
    ("two columns", lambda y: np.eye(2)[y % 2], ValueError, "(batch, 3)", "got (5, 2)"),
    ("3 dimensions", lambda y: np.eye(3)[y][None], ValueError, "(batch, 3)", "got (1, 5, 3)"),
    ("rows of zeros", lambda y: np.zeros((5, 3)), ValueError, "sum to 1", "got 0.0 in row 0"),
    ("rows of ones", lambda y: np.ones((5, 3)), ValueError, "sum to 1", "got 3.0 in row 0"),
    ("a negative probability", lambda y: np.full((5, 3), [-0.5, 0.5, 1]), ValueError, "from 0 to 1", "got -0.5"),
    ("a probability above 1", lambda y: np.full((5, 3), [-1, 0, 2]), ValueError, "from 0 to 1"),
    ("words", lambda y: np.array(["cat", "dog", "cow"])[y], TypeError, "strings"),
    ("digits", lambda y: y.astype(str), TypeError, "strings"),
]
BAD_WEIGHTS = [
    ("negative", changed(-0.5), ValueError, "no negative weight", "got -0.5 at row 3"),
    ("all zero", np.zeros_like, ValueError, "a positive weight", "got only zeros"),
    ("all minus zero", lambda w: -np.zeros_like(w), ValueError, "a positive weight", "got only zeros"),
    ("a column", lambda w: w[:, None], ValueError, "(5,)", "one weight for each row", "got (5, 1)"),
    ("a number", lambda w: 1.0, ValueError, "(5,)", "got ()"),
    ("too few", lambda w: w[:4], ValueError, "(5,)", "got (4,)"),
    ("too many", lambda w: np.tile(w, 2), ValueError, "(5,)", "got (10,)"),
    ("none", lambda w: [], ValueError, "(5,)", "got (0,)"),
    ("a sum beyond float64", lambda w: np.full(5, 1e308), ValueError, "sum", "inf", "scale them"),
    ("a sum one cannot divide by", lambda w: np.full(5, 1e-320), ValueError, "sum", "scale them"),
]


# The doors. x, y and the weights come in through each of these.


def by_hand(it, y, weight=None):
    return ENDS[it.loss]()(it.net.predict(it.x), y, weight)


DOORS_OF_X = {
    "fit": lambda it, x: fit(it, x=x),
    "predict": lambda it, x: it.net.predict(x),
    "predict in batches": lambda it, x: it.net.predict(x, batch_size=2),
    "call": lambda it, x: it.net(x),
    "forward": lambda it, x: it.net.forward(x),
    "evaluate": lambda it, x: it.net.evaluate(x, it.y, loss=it.loss),
    "value_and_gradient": lambda it, x: it.net.value_and_gradient(x, it.y, it.loss),
    "validation_data": lambda it, x: fit(it, validation_data=(x, it.y)),
    "check_gradients": lambda it, x: bp.check_gradients(it.net, it.loss, x, it.y),
}
DOORS_OF_Y = {
    "fit": lambda it, y: fit(it, y=y),
    "evaluate": lambda it, y: it.net.evaluate(it.x, y, loss=it.loss, metrics=["mse"]),
    "value_and_gradient": lambda it, y: it.net.value_and_gradient(it.x, y, it.loss),
    "validation_data": lambda it, y: fit(it, validation_data=(it.x, y)),
    "loss": by_hand,
}
DOORS_OF_WEIGHTS = {
    "fit": lambda it, w: fit(it, sample_weight=w),
    "evaluate": lambda it, w: it.net.evaluate(it.x, it.y, loss=it.loss, sample_weight=w),
    "value_and_gradient": lambda it, w: it.net.value_and_gradient(it.x, it.y, it.loss, sample_weight=w),
    "validation_data": lambda it, w: fit(it, validation_data=(it.x, it.y, w)),
    "loss": lambda it, w: by_hand(it, it.y, w),
}
DOORS_OF_CLASS_WEIGHTS = {
    "fit": lambda it, w: fit(it, class_weight=w),
    "evaluate": lambda it, w: it.net.evaluate(it.x, it.y, loss=it.loss, class_weight=w),
    "by hand": lambda it, w: bp.losses.class_weights(it.y, w, 3),
}
DOORS_OF_Y_UNDER_A_FUNCTION = {
    "fit": lambda it, y: fit(it, y=y, loss=squares),
    "evaluate": lambda it, y: it.net.evaluate(it.x, y, loss=squares),
    "value_and_gradient": lambda it, y: it.net.value_and_gradient(it.x, y, squares),
    "validation_data": lambda it, y: fit(it, loss=squares, validation_data=(it.x, y)),
}


def squares(y_hat, y, weight=None):
    """A loss of the user's own."""
    return np.square(y_hat - y).sum(), 2 * (y_hat - y)


def through(doors, kind, which, table):
    """Every row of a table at every one of these doors."""
    for door, enter in doors.items():
        for name, make, error, *says in table:
            where = {"x": "x: ", "y": "y: ", "weight": "sample_weight: "}[which]
            if which == "y" and name == "None" and door != "loss":
                says = ["expected the targets of x", "got None", "give both"]
            if which == "x" and "(batch, 3)" in says:
                where = "Dense 1 of 3 expected input of shape "
            if door == "validation_data":
                where = "validation_data: " + where

            def call(it, enter=enter, make=make):
                enter(it, make(getattr(it, which)))

            yield f"{door}, {which} of {kind}: {name}", kind, call, error, (where, *says)


NO_ROWS = [("no rows", lambda x: x[:0], ValueError, "at least one row", "got none")]
WITH_Y = {door: DOORS_OF_X[door] for door in ("fit", "evaluate", "value_and_gradient", "validation_data")}
FINITE_AND_NUMBERS = NOT_FINITE + NOT_NUMBERS

ARRAYS = [
    *through(DOORS_OF_X, "regression", "x", FINITE_AND_NUMBERS + BEYOND_FLOAT32 + BAD_SHAPES_OF_X),
    *through(WITH_Y | {"forward": DOORS_OF_X["forward"]}, "classes", "x", NO_ROWS),
    *through(DOORS_OF_Y, "regression", "y", FINITE_AND_NUMBERS + BEYOND_FLOAT32 + BAD_TARGETS),
    *through(DOORS_OF_Y, "binary", "y", NOT_FINITE[:2] + BAD_PROBABILITIES),
    *through(DOORS_OF_Y, "classes", "y", NOT_FINITE[:2] + BAD_LABELS),
    *through(DOORS_OF_WEIGHTS, "regression", "weight", NOT_FINITE + NOT_NUMBERS[1:] + BAD_WEIGHTS),
    *through(DOORS_OF_Y_UNDER_A_FUNCTION, "regression", "y", NOT_NUMBERS + BAD_TARGETS[-3:]),
]


# Words and numbers: what each argument does not take.


class Hooked:
    on_epoch_end = 5


def optimizer_of_another(it):
    other = setup()
    return other.optimizer


def returning(*values):
    return lambda y_hat, y, weight=None: values[0] if len(values) == 1 else values


BAD_COUNTS = [
    (0, ValueError), (-1, ValueError), (10**30, ValueError), (10**400, ValueError), (10**5000, ValueError),
    (-(10**5000), ValueError), (2**63, ValueError), (2.5, TypeError), (2.0, TypeError), (np.float64(2), TypeError),
    ("2", TypeError), (True, TypeError), (np.True_, TypeError), (float("nan"), TypeError), ([2], TypeError),
    (np.array([2]), TypeError), (Decimal(2), TypeError), (2j, TypeError), (object(), TypeError), (int, TypeError),
]  # fmt: skip
BAD_RATES = [
    (-1, ValueError), (-1e-300, ValueError), (float("nan"), ValueError), (float("inf"), ValueError),
    (float("-inf"), ValueError), (10**400, ValueError), (10**5000, ValueError), (np.float32("nan"), ValueError),
    ("0.1", TypeError), (True, TypeError), (np.True_, TypeError), (None, TypeError), (1j, TypeError), ([0.1], TypeError),
    (np.array(0.1), TypeError), (np.array([0.1, 0.2]), TypeError), (Decimal("0.1"), TypeError), ({}, TypeError),
]  # fmt: skip
BAD_SHARES = [
    *BAD_RATES, (1, ValueError), (1.0, ValueError), (1.5, ValueError), (1e300, ValueError), (print, TypeError),
]  # fmt: skip
BAD_FLAGS = [1, 0, None, "yes", 1.0, [], np.array(True), np.array([True, False])]
BAD_SEEDS = [
    (-1, ValueError), (2**128, ValueError), (10**5000, ValueError), (1.5, TypeError), ("a", TypeError), (True, TypeError),
    ([1, 2], TypeError), (np.random, TypeError), (np.random.MT19937(0), TypeError), (np.random.Generator, TypeError),
    (np.random.SeedSequence(0), TypeError), (np.array([1]), TypeError),
]  # fmt: skip
BAD_THREADS = [*BAD_COUNTS, (1025, ValueError)]
BAD_EPOCHS = [*BAD_COUNTS[1:], (None, TypeError)]
BAD_SIZES = [*BAD_COUNTS, (None, TypeError)]


def shown(value):
    many = isinstance(value, int) and abs(value) > 10**50
    if many:
        return f"about 2^{value.bit_length()}"
    return f"{type(value).__name__} " + re.sub(r"0x[0-9a-f]+", "somewhere", repr(value))[:30]


def values_of(name, table, call, *says):
    """Each of these values as one argument."""
    for value, error in table:
        yield f"{name}: {shown(value)}", lambda it, value=value: call(it, value), error, f"{name}: expected", *says


FIT = [
    *values_of("batch_size", BAD_COUNTS, lambda it, v: fit(it, batch_size=v), "a whole number"),
    *values_of("epochs", BAD_EPOCHS, lambda it, v: fit(it, epochs=v), "a whole number"),
    *values_of("threads", BAD_THREADS, lambda it, v: fit(it, threads=v), "a whole number"),
    *values_of("rng", BAD_SEEDS, lambda it, v: fit(it, rng=v)),
    *values_of("rng", [(np.random.RandomState(0), TypeError)], lambda it, v: fit(it, rng=v), "default_rng("),
    *values_of("validation_split", BAD_SHARES, lambda it, v: fit(it, validation_split=v), "number"),
    *values_of("validation_split", [(0.01, ValueError), (0.99, ValueError)], lambda it, v: fit(it, validation_split=v),
               "rows on both sides", "of 5 rows"),
    *values_of("shuffle", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: fit(it, shuffle=v), "True or False"),
    *values_of("progress", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: fit(it, progress=v), "True or False"),
    *values_of("learning_rate", BAD_RATES, lambda it, v: fit(it, optimizer=bp.SGD(lambda step: v)), "number"),
    *values_of("learning_rate", BAD_RATES, lambda it, v: fit(it, optimizer=altered(bp.Adam(), learning_rate=v)), "number"),
    ("a loss called None", lambda it: fit(it, loss=None), TypeError, "loss: expected one of", "mse", "None"),
    ("a loss called 5", lambda it: fit(it, loss=5), TypeError, "loss: expected one of", "got 5"),
    ("a loss in a list", lambda it: fit(it, loss=["mse"]), TypeError, "loss: expected one of", "['mse']"),
    ("a loss mistyped", lambda it: fit(it, loss="mes"), ValueError, "loss: expected", "did you mean 'mse'?"),
    ("another", lambda it: fit(it, loss="crossentropy"), ValueError, "loss: expected",
     "did you mean 'cross_entropy'?"),
    ("a loss that is a metric", lambda it: fit(it, loss="accuracy"), ValueError, "loss: expected one of"),
    ("an empty loss", lambda it: fit(it, loss=""), ValueError, "loss: expected one of", "got ''"),
    ("a class of loss", lambda it: fit(it, loss=bp.MeanSquaredError), TypeError, "the class MeanSquaredError", "call it"),
    ("a module as the loss", lambda it: fit(it, loss=bp.losses), TypeError, "loss: expected one of"),
    ("a loss without a formula", lambda it: fit(it, loss=bp.Loss()), TypeError, "loss: expected", "got Loss()"),
    ("a loss for each row", lambda it: fit(it, loss=bp.MeanSquaredError(reduction="none")), ValueError, "a single number",
     'reduction="none"'),
    ("cross-entropy under identity", lambda it: fit(it, loss="cross_entropy"), ValueError, "a last layer that ends in",
     "'softmax', got 'identity'", "from_logits=True"),
    ("binary cross-entropy there", lambda it: fit(it, loss="binary_cross_entropy"), ValueError, "'sigmoid'",
     "'identity'", "BinaryCrossEntropy(from_logits=True)"),
    ("no optimizer", lambda it: fit(it, optimizer=None), TypeError, "optimizer: expected an object", "got None"),
    ("an optimizer's name in capitals", lambda it: fit(it, optimizer="Adam"), ValueError, "optimizer: expected one of",
     "did you mean 'adam'?"),
    ("an optimizer's class", lambda it: fit(it, optimizer=bp.Adam), TypeError, "such as Adam(1e-3)", "Adam"),
    ("a rate for an optimizer", lambda it: fit(it, optimizer=0.1), TypeError, "such as Adam(1e-3)", "got 0.1"),
    ("an optimizer without formula", lambda it: fit(it, optimizer=bp.Optimizer(0.1)), TypeError, "that defines step(net)"),
    ("an optimizer of another network", lambda it: fit(it, optimizer=optimizer_of_another(it)), ValueError,
     "optimizer: expected one for this network", "bound to another network: create a new one"),
    ("a metric beside a list", lambda it: fit(it, metrics="mse"), TypeError, "metrics: expected a list", "got 'mse'"),
    ("metrics None", lambda it: fit(it, metrics=None), TypeError, "metrics: expected a list", "got None"),
    ("metrics in an array", lambda it: fit(it, metrics=np.array("mse")), TypeError, "metrics: expected a list", "array("),
    ("metrics in a dictionary", lambda it: fit(it, metrics={"mse": 1}), TypeError, "metrics: expected a list", "{'mse': 1}"),
    ("metrics 5", lambda it: fit(it, metrics=5), TypeError, "metrics: expected a list", "got 5"),
    ("a function beside a list", lambda it: fit(it, metrics=bp.metrics.mse), TypeError, "metrics: expected a list"),
    ("a metric mistyped", lambda it: fit(it, metrics=["acuracy"]), ValueError, "metrics: ", "did you mean 'accuracy'?"),
    ("a metric called 5", lambda it: fit(it, metrics=["mse", 5]), TypeError, "metrics: expected one of", "got 5"),
    ("a metric called None", lambda it: fit(it, metrics=[None]), TypeError, "metrics: expected one of", "got None"),
    ("metrics in a list in a list", lambda it: fit(it, metrics=[["mse"]]), TypeError, "metrics: expected one of"),
    ("a class of metric", lambda it: fit(it, metrics=[Framed]), TypeError, "metrics: expected", "the class Framed"),
    ("a metric twice", lambda it: fit(it, metrics=["mse", "mse"]), ValueError, "metrics: expected each name once", "'mse'"),
    ("two nameless metrics", lambda it: fit(it, metrics=[lambda a, b: 1.0, lambda a, b: 2.0]), ValueError,
     "metrics: expected each name once", "'<lambda>'"),
    ("callbacks None", lambda it: fit(it, callbacks=None), TypeError, "callbacks: expected a list", "got None"),
    ("callbacks 5", lambda it: fit(it, callbacks=5), TypeError, "callbacks: expected a list", "got 5"),
    ("a callback beside a list", lambda it: fit(it, callbacks=bp.Callback()), TypeError, "callbacks: expected a list"),
    ("callbacks in words", lambda it: fit(it, callbacks="abc"), TypeError, "callbacks: expected a list", "got 'abc'"),
    ("callbacks in an array", lambda it: fit(it, callbacks=np.array(1)), TypeError, "callbacks: expected a list", "array(1)"),
    ("callbacks without an order", lambda it: fit(it, callbacks={bp.Callback()}), TypeError, "callbacks: expected a list"),
    ("a class of callback", lambda it: fit(it, callbacks=[bp.Callback]), TypeError, "callbacks: ", "on_epoch_end"),
    ("a function as a callback", lambda it: fit(it, callbacks=[print]), TypeError, "on_epoch_end", "print"),
    ("None as a callback", lambda it: fit(it, callbacks=[bp.Callback(), None]), TypeError, "on_epoch_end", "None"),
    ("a hook that is a number", lambda it: fit(it, callbacks=[Hooked()]), TypeError, "on_epoch_end", "Hooked"),
    ("validation data: only x", lambda it: fit(it, validation_data=it.x), TypeError, "validation_data: expected (x, y)"),
    ("validation data: a tuple of x", lambda it: fit(it, validation_data=(it.x,)), TypeError, "expected (x, y) or"),
    ("validation data: four", lambda it: fit(it, validation_data=(it.x, it.y, None, None)), TypeError, "(x, y) or"),
    ("validation data: none", lambda it: fit(it, validation_data=()), TypeError, "expected (x, y) or", "got ()"),
    ("validation data: a dict", lambda it: fit(it, validation_data={"x": it.x}), TypeError, "expected (x, y) or"),
    ("validation data: a generator", lambda it: fit(it, validation_data=(a for a in (it.x, it.y))), TypeError, "(x, y)"),
    ("validation data: words", lambda it: fit(it, validation_data="xy"), TypeError, "expected (x, y) or", "'xy'"),
    ("validation data: a number", lambda it: fit(it, validation_data=0.2), TypeError, "expected (x, y) or", "0.2"),
    ("validation data: y, x", lambda it: fit(it, validation_data=(it.y, it.x)), ValueError, "validation_data: Dense 1"),
    ("validation data and a split", lambda it: fit(it, validation_data=(it.x, it.y), validation_split=0.2), ValueError,
     "validation_split: expected 0 beside validation_data", "got both"),
    ("no weight left to train on", lambda it: fit(it, sample_weight=[0, 0, 0, 0, 1], validation_split=0.2), ValueError,
     "sample_weight, split for validation", "only zeros"),
    ("no weight left to validate", lambda it: fit(it, sample_weight=[1, 1, 1, 1, 0], validation_split=0.2), ValueError,
     "sample_weight, split for validation", "only zeros"),
    ("class weights for numbers", lambda it: fit(it, class_weight="balanced"), ValueError, "targets that are classes"),
    ("class weights for two of them", lambda it: fit(it, y=np.ones((5, 2)), class_weight=[1, 1]), ValueError, "classes"),
    ("class weights under a function", lambda it: fit(it, loss=squares, class_weight=[1, 1]), ValueError, "classes"),
]  # fmt: skip


def altered(thing, **attributes):
    vars(thing).update(attributes)
    return thing


FIT_ON_CLASSES = [
    ("mse of labels", lambda it: fit(it, metrics=["mse"]), ValueError, "y: expected targets of shape (1, 3)", "got (1,)"),
    ("r2 of labels", lambda it: fit(it, metrics=["accuracy", "r2"]), ValueError, "y: expected targets of shape (1, 3)"),
    ("mae of labels for validation", lambda it: fit(it, y=np.eye(3)[it.y], metrics=["mae"],
                                                    validation_data=(it.x, it.y)), ValueError, "y: expected targets"),
    ("from_logits on a softmax", lambda it: fit(it, loss=bp.CrossEntropy(from_logits=True)), ValueError,
     "a last layer that ends in 'identity'", "got 'softmax'"),
    ("a sigmoid's loss", lambda it: fit(it, loss="binary_cross_entropy"), ValueError, "'sigmoid', got 'softmax'"),
    *((f"class_weight, {door}: {name}", lambda it, v=value, enter=enter: enter(it, v), error, "class_weight: ", *says)
      for door, enter in DOORS_OF_CLASS_WEIGHTS.items() for name, value, error, *says in [
          ("mistyped", "balance", ValueError, "did you mean 'balanced'?"),
          ("a number", 5, ValueError, "(3,)", "one weight for each class", "got ()"),
          ("two for three", [1, 2], ValueError, "(3,)", "one weight for each class", "got (2,)"),
          ("one for each row", [1, 2, 3, 4, 5], ValueError, "one weight for each class", "got (5,)"),
          ("negative", [1, -1, 1], ValueError, "no negative weight", "got -1.0 at class 1"),
          ("NaN", [1, 1, np.nan], ValueError, "finite numbers", "got nan"),
          ("all zero", [0, 0, 0], ValueError, "a positive weight", "only zeros"),
          ("a set", {0, 1}, TypeError, "Python objects"),
          ("strings", ["a", "b", "c"], TypeError, "strings"),
          ("an unknown class", {3: 1.0}, ValueError, "labels 0 to 2", "got 3"),
          ("class -1", {-1: 1.0}, ValueError, "labels 0 to 2", "got -1"),
          ("a word for a class", {"cat": 1.0}, ValueError, "labels 0 to 2", "got 'cat'"),
          ("None for a class", {None: 1.0}, ValueError, "labels 0 to 2", "got None"),
          ("a negative one", {0: -1.0}, ValueError, "at least 0", "got -1.0"),
          ("a NaN", {0: float("nan")}, ValueError, "finite", "got nan"),
          ("an infinite one", {0: float("inf")}, ValueError, "finite", "got inf"),
          ("a word for a weight", {0: "a"}, TypeError, "expected a number", "got 'a'"),
          ("True", {0: True}, TypeError, "expected a number", "got True"),
          ("zeros for all", {0: 0, 1: 0, 2: 0}, ValueError, "a positive weight", "only zeros"),
      ]),
    ("class_weight 0 where sample_weight is not", lambda it: fit(it, class_weight=[0, 1, 1],
                                                                 sample_weight=[1, 0, 0, 1, 0]), ValueError, "only zeros"),
    ("their product beyond float64", lambda it: fit(it, class_weight=[1e200] * 3, sample_weight=np.full(5, 1e200)),
     ValueError, "weight: expected finite numbers, got inf"),
]  # fmt: skip

# What a loss that is any callable returns.
RETURNED = [
    ("nothing", returning(None), TypeError, "to return (value, dy)", "got None"),
    ("a number", returning(1.0), TypeError, "to return (value, dy)", "got 1.0"),
    ("one of two", returning((1.0,)), TypeError, "to return (value, dy)", "got (1.0,)"),
    ("three", returning(1.0, 2.0, 3.0), TypeError, "to return (value, dy)"),
    ("a dictionary", returning({"value": 1.0, "dy": 2.0}), TypeError, "to return (value, dy)"),
    ("a word for the value", returning("ab"), TypeError, "to return (value, dy)", "got 'ab'"),
    ("None for the value", returning(None, np.zeros((ROWS, 2))), TypeError, "to return (value, dy)"),
    ("an array for the value", returning(np.zeros(ROWS), np.zeros((ROWS, 2))), TypeError, "to return (value, dy)"),
    ("a complex value", returning(1j, np.zeros((ROWS, 2))), TypeError, "to return (value, dy)"),
]
RETURNED_DY = [
    ("None for dy", returning(1.0, None), TypeError, "dy: expected real numbers", "Python objects"),
    ("a number for dy", returning(1.0, 1.0), ValueError, "dy: expected an array of shape (batch, 2)", "got ()"),
    ("one row of dy", returning(1.0, np.zeros(2)), ValueError, "dy: expected an array of shape (batch, 2)", "got (2,)"),
    ("a wide dy", returning(1.0, np.zeros((ROWS, 3))), ValueError, "(batch, 2)", "got (5, 3)"),
    ("too few rows of dy", returning(1.0, np.zeros((ROWS - 1, 2))), ValueError, "expected the 5 rows", "got 4"),
    ("a NaN in dy", returning(1.0, np.full((ROWS, 2), np.nan)), ValueError, "dy: expected finite numbers", "got nan"),
    ("strings for dy", returning(1.0, [["a", "b"]] * ROWS), TypeError, "dy: expected real numbers", "strings"),
]
CALLABLES = [
    *((f"fit: the loss returns {name}", lambda it, f=f: fit(it, loss=f, batch_size=None), *rest)
      for name, f, *rest in RETURNED + RETURNED_DY),
    *((f"value_and_gradient: the loss returns {name}", lambda it, f=f: it.net.value_and_gradient(it.x, it.y, f), *rest)
      for name, f, *rest in RETURNED + RETURNED_DY),
    *((f"evaluate: the loss returns {name}", lambda it, f=f: it.net.evaluate(it.x, it.y, loss=f), *rest)
      for name, f, *rest in RETURNED),
    *((f"validation: the loss returns {name}", lambda it, f=f: it.net.evaluate(it.x, it.y, loss=f), *rest)
      for name, f, *rest in RETURNED),
]  # fmt: skip


def predict_overlapping(net):
    memory = np.zeros(40, np.float32)
    net.predict(memory[:15].reshape(5, 3), out=memory[12:27].reshape(5, 3))


def unaligned(shape):
    return np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)[1:].view(np.float32).reshape(shape)


# On the classifier, whose rows are 3 numbers before and after.
PREDICT = [
    *values_of("threads", BAD_THREADS, lambda it, v: it.net.predict(it.x, threads=v), "a whole number"),
    *values_of("threads", BAD_THREADS, lambda it, v: it.net.predict(it.x, threads=v, batch_size=2), "a whole number"),
    *values_of("threads", BAD_THREADS, lambda it, v: it.net.predict(it.x[:0], threads=v, batch_size=2), "a whole number"),
    *values_of("threads", BAD_THREADS, lambda it, v: it.net.evaluate(it.x, it.y, loss=it.loss, threads=v), "whole number"),
    *values_of("batch_size", BAD_COUNTS, lambda it, v: it.net.predict(it.x, batch_size=v), "a whole number"),
    *((f"{door}, out: {name}", lambda it, make=make, how=how: it.net.predict(it.x, out=make(it), **how), error,
       "out: expected", *says)
      for door, how in {"predict": {}, "predict in batches": {"batch_size": 2}}.items()
      for name, make, error, *says in [
          ("a list", lambda it: [[0.0] * 3] * 5, TypeError, "a NumPy array", "got list"),
          ("a string", lambda it: "abc", TypeError, "a NumPy array", "got str"),
          ("True", lambda it: True, TypeError, "a NumPy array", "got bool"),
          ("a class", lambda it: np.ndarray, TypeError, "a NumPy array", "got type"),
          ("a memoryview", lambda it: memoryview(bytearray(60)), TypeError, "a NumPy array", "got memoryview"),
          ("masked", lambda it: np.ma.zeros((5, 3), np.float32), TypeError, "a NumPy array", "got MaskedArray"),
          ("too few rows", lambda it: np.zeros((4, 3), np.float32), ValueError, "float32 (5, 3)", "got float32 (4, 3)"),
          ("too many rows", lambda it: np.zeros((6, 3), np.float32), ValueError, "float32 (5, 3)", "got float32 (6, 3)"),
          ("no rows", lambda it: np.zeros((0, 3), np.float32), ValueError, "float32 (5, 3)", "(0, 3)"),
          ("transposed", lambda it: np.zeros((3, 5), np.float32), ValueError, "float32 (5, 3)", "(3, 5)"),
          ("1 dimension", lambda it: np.zeros(15, np.float32), ValueError, "float32 (5, 3)", "(15,)"),
          ("3 dimensions", lambda it: np.zeros((1, 5, 3), np.float32), ValueError, "float32 (5, 3)", "(1, 5, 3)"),
          ("0 dimensions", lambda it: np.array(1, np.float32), ValueError, "float32 (5, 3)", "()"),
          ("float64", lambda it: np.zeros((5, 3)), ValueError, "float32 (5, 3)", "got float64"),
          ("int32", lambda it: np.zeros((5, 3), np.int32), ValueError, "float32 (5, 3)", "got int32"),
          ("objects", lambda it: np.zeros((5, 3), object), ValueError, "float32 (5, 3)", "got object"),
          ("other byte order", lambda it: np.zeros((5, 3), ">f4"), ValueError, "float32 (5, 3)", "got >f4"),
          ("structured", lambda it: np.zeros((5, 3), "f4,f4"), ValueError, "float32 (5, 3)", "f0"),
          ("Fortran order", lambda it: np.zeros((3, 5), np.float32).T, ValueError, "contiguous, aligned, writable"),
          ("strided", lambda it: np.zeros((10, 3), np.float32)[::2], ValueError, "contiguous, aligned, writable"),
          ("reversed", lambda it: np.zeros((5, 3), np.float32)[::-1], ValueError, "contiguous, aligned, writable"),
          ("broadcast", lambda it: np.broadcast_to(np.float32(0), (5, 3)), ValueError, "contiguous, aligned, writable"),
          ("read-only", lambda it: read_only(np.zeros((5, 3), np.float32)), ValueError, "contiguous, aligned, writable"),
          ("unaligned", lambda it: unaligned((5, 3)), ValueError, "contiguous, aligned, writable"),
          ("x itself", lambda it: it.x, ValueError, "apart from x", "overlaps"),
          ("a view of x", lambda it: it.x[:].view(), ValueError, "apart from x", "overlaps"),
      ]),
    ("out overlaps x", lambda it: predict_overlapping(it.net), ValueError, "apart from x", "overlaps"),
    ("out is a weight", lambda it: it.net.predict(it.x[:4], out=it.net.layers[-1].weight), ValueError, "apart from"),
    ("out is a gradient", lambda it: it.net.predict(it.x[:4], out=it.net.layers[-1].weight_grad), ValueError, "apart"),
]  # fmt: skip


EVALUATE = [
    ("evaluate: a loss mistyped", lambda it: it.net.evaluate(it.x, it.y, loss="mes"), ValueError, "did you mean 'mse'?"),
    ("evaluate: a class of loss", lambda it: it.net.evaluate(it.x, it.y, loss=bp.CrossEntropy), TypeError, "call it"),
    ("evaluate: a loss for each row", lambda it: it.net.evaluate(it.x, it.y, loss=bp.CrossEntropy(reduction="none")),
     ValueError, "loss: expected a single number", 'reduction="none"'),
    ("evaluate: a metric mistyped", lambda it: it.net.evaluate(it.x, it.y, loss=it.loss, metrics=["acc"]), ValueError,
     "metrics: expected one of accuracy, precision, ", "mae, top_3, top_5, got 'acc'"),
    ("evaluate: metrics None", lambda it: it.net.evaluate(it.x, it.y, loss=it.loss, metrics=None), TypeError, "a list"),
    ("evaluate: a metric called loss", lambda it: it.net.evaluate(it.x, it.y, loss=it.loss, metrics=[named("loss")]),
     ValueError, "metrics: expected each name once", "'loss'"),
    ("value_and_gradient: a loss mistyped", lambda it: it.net.value_and_gradient(it.x, it.y, "crossentropy"), ValueError,
     "did you mean 'cross_entropy'?"),
    ("value_and_gradient: loss None", lambda it: it.net.value_and_gradient(it.x, it.y, None), TypeError, "loss: expected"),
    ("check_gradients: a loss mistyped", lambda it: bp.check_gradients(it.net, "mes", it.x, it.y), ValueError,
     "did you mean 'mse'?"),
]  # fmt: skip


def named(name):
    def metric(y_hat, y):
        return 1.0

    metric.__name__ = name
    return metric


# A step by hand, and writing into the network.


def dy_of(it):
    return np.ones((ROWS, 2), np.float32)


BY_HAND = [
    *((f"backward: {name}", lambda it, make=make: it.net.backward(make(dy_of(it))), error, "dy", *says)
      for name, make, error, *says in FINITE_AND_NUMBERS + BEYOND_FLOAT32),
    ("backward: too few rows", lambda it: it.net.backward(dy_of(it)[:4]), ValueError, "5 rows of the last forward", "got 4"),
    ("backward: too many rows", lambda it: it.net.backward(np.ones((6, 2))), ValueError, "5 rows", "got 6"),
    ("backward: no rows", lambda it: it.net.backward(np.ones((0, 2))), ValueError, "5 rows", "got 0"),
    ("backward: too wide", lambda it: it.net.backward(np.ones((5, 3))), ValueError, "dy: expected", "(batch, 2)", "(5, 3)"),
    ("backward: one row", lambda it: it.net.backward(np.ones(2)), ValueError, "dy.reshape(1, -1) is one row"),
    ("backward: 3 dimensions", lambda it: it.net.backward(np.ones((5, 2, 1))), ValueError, "(batch, 2)", "(5, 2, 1)"),
    ("step: no network", lambda it: it.optimizer.step(None), TypeError, "net: expected a network", "got None"),
    ("step: parameters", lambda it: it.optimizer.step(it.net.parameters), TypeError, "net: expected a network"),
    ("step: a network's class", lambda it: it.optimizer.step(bp.Sequential(KINDS["binary"][0]())), ValueError,
     "optimizer: expected one for this network"),
    ("step: one like it", lambda it: it.optimizer.step(bp.Sequential(KINDS["regression"][0]())), ValueError,
     "optimizer: expected one for this network", "bound to another network: create a new one"),
    ("step: of another", lambda it: optimizer_of_another(it).step(it.net), ValueError, "expected one for this network"),
    ("step: a schedule gives NaN", lambda it: bp.SGD(lambda step: float("nan")).step(it.net), ValueError, "learning_rate"),
    *((f"{place} = {name}", lambda it, place=place, make=make: assign(it, place, make), error, *says)
      for place in ("net.parameters", "net.gradients", "net.layers[0].weight", "net.layers[0].bias_grad")
      for name, make, error, *says in FINITE_AND_NUMBERS + BEYOND_FLOAT32 + [
          ("a number", lambda a: 1.0, ValueError, "expected shape", "got ()"),
          ("too short", lambda a: a[:-1], ValueError, "expected shape"),
          ("a column more", lambda a: a[..., None], ValueError, "expected shape"),
      ]),
]  # fmt: skip


def assign(it, place, make):
    *path, last = place.replace("[0]", ".0").split(".")[1:]
    owner = it.net
    for name in path:
        owner = owner[int(name)] if name.isdigit() else getattr(owner, name)
    setattr(owner, last, make(getattr(owner, last).copy()))


# Construction. The network beside it is not touched either.
OPTIMIZERS = {name: getattr(bp, name) for name in bp.optimizers.__all__ if name != "LevenbergMarquardt"}
ABOVE_ZERO = [*BAD_RATES, (0, ValueError), (0.0, ValueError)]
OPTIONS_OF_OPTIMIZERS = {
    "alpha": ("RMSprop", BAD_SHARES), "rho": ("Adadelta", BAD_SHARES), "eta_minus": ("Rprop", [*ABOVE_ZERO, *BAD_SHARES]),
    "eta_plus": ("Rprop", [*BAD_RATES, (1, ValueError), (0.5, ValueError)]), "step_min": ("Rprop", ABOVE_ZERO),
    "step_max": ("Rprop", ABOVE_ZERO), "momentum_decay": ("NAdam", BAD_RATES), "initial_sum": ("Adagrad", BAD_RATES),
    "tolerance": ("LBFGS", BAD_RATES),
}  # fmt: skip
LOSSES = {name: getattr(bp, name) for name in bp.losses.__all__ if name not in ("Loss", "class_weights", "GaussianNLL")}
WITH_LOGITS = ("BinaryCrossEntropy", "CrossEntropy", "Focal", "KLDivergence")
BAD_NAMES = [None, 5, True, b"relu", ["relu"], object(), str]
BAD_FACTORS = [*BAD_RATES, (0, ValueError), (0.0, ValueError)]
BAD_KEEPS = [(value, error) for value, error in BAD_SIZES if not isinstance(value, str)]
SCHEDULES = {
    "Constant": bp.schedules.Constant, "Step": lambda rate: bp.schedules.Step(rate, 5),
    "Exponential": lambda rate: bp.schedules.Exponential(rate, 0.9), "Cosine": lambda rate: bp.schedules.Cosine(rate, 9),
    "Polynomial": lambda rate: bp.schedules.Polynomial(rate, 9), "OneCycle": lambda rate: bp.schedules.OneCycle(rate, 9),
}  # fmt: skip
DTYPE = "dtype: expected"


def dense(*args, **words):
    return lambda it: bp.Dense(*args, **words)


def network(*layers, **words):
    return lambda it: bp.Sequential(list(layers), **words)


MAKING = [
    *values_of("n_in", BAD_SIZES, lambda it, v: bp.Dense(v, 2), "a whole number"),
    *values_of("n_out", BAD_SIZES, lambda it, v: bp.Dense(2, v), "a whole number"),
    *values_of("activation", [(v, TypeError) for v in [*BAD_NAMES, np.tanh, bp.Activation]],
               lambda it, v: bp.Dense(2, 2, v), "sigmoid", "relu"),
    *values_of("activation", [(v, TypeError) for v in [*BAD_NAMES, np.tanh]], lambda it, v: bp.Activation(v), "sigmoid"),
    *values_of("activation", [(v, TypeError) for v in BAD_NAMES],
               lambda it, v: bp.activations.ActivationFunction(v), "sigmoid"),
    *values_of("use_bias", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.Dense(2, 2, use_bias=v), "True or False"),
    *values_of("weight_init", [(v, TypeError) for v in BAD_NAMES], lambda it, v: bp.Dense(2, 2, weight_init=v), "zeros"),
    *values_of("bias_init", [(v, TypeError) for v in BAD_NAMES], lambda it, v: bp.Dense(2, 2, bias_init=v), "zeros"),
    ("an activation mistyped", dense(2, 2, "rleu"), ValueError, "activation: expected", "did you mean 'relu'?"),
    ("another", lambda it: bp.Activation("sigmiod"), ValueError, "did you mean 'sigmoid'?"),
    ("an activation in capitals", dense(2, 2, "RELU"), ValueError, "expected one of", "relu", "got 'RELU'"),
    ("an initialiser mistyped", dense(2, 2, weight_init="glorot_unform"), ValueError, "did you mean 'glorot_uniform'?"),
    ("a bias's", dense(2, 2, bias_init="zeroes"), ValueError, "bias_init: expected", "did you mean 'zeros'?"),
    ("a very long name", dense(2, 2, "relu" * 10**6), ValueError, "activation: expected one of", "..."),
    *values_of("rate", BAD_SHARES, lambda it, v: bp.Dropout(v), "number"),
    *values_of("slope", BAD_SHARES, lambda it, v: bp.activations.leaky_relu.with_slope(v), "number"),
    *values_of("slope", BAD_SHARES, lambda it, v: bp.activations.ActivationFunction("leaky_relu", v), "number"),
    ("a slope of relu", lambda it: bp.activations.relu.with_slope(0.1), ValueError, "expected leaky_relu", "got relu"),
    *values_of("alpha", BAD_RATES, lambda it, v: bp.activations.elu.with_alpha(v), "number"),
    ("a slope of elu", lambda it: bp.activations.elu.with_slope(0.1), ValueError, "slope: expected leaky_relu", "got elu"),
    ("an alpha of leaky_relu", lambda it: bp.activations.leaky_relu.with_alpha(0.1), ValueError, "alpha: expected elu"),
    ("an alpha of selu", lambda it: bp.activations.ActivationFunction("selu", 0.1), ValueError, "leaky_relu or elu"),
    ("an alpha out of float32", lambda it: bp.activations.elu.with_alpha(1e40), ValueError, "below 1e+30"),
    ("an activation made up", lambda it: bp.activations.ActivationFunction("sely"), ValueError, "did you mean"),
    *((f"activation of {name}", lambda it, make=make: bp.activations.sigmoid(make(it.x)), error, "z: expected", *says)
      for name, make, error, *says in FINITE_AND_NUMBERS),
    *((f"softmax of {name}", lambda it, v=value: bp.activations.softmax(v), ValueError, "(batch, n)", *says)
      for name, value, *says in [("a row", np.zeros(3), "got (3,)"), ("a number", 1.0, "got ()"),
                                 ("3 dimensions", np.zeros((1, 2, 3)), "got (1, 2, 3)")]),
    *(row for name, make in LOSSES.items() for row in (
        *values_of("reduction", [(v, TypeError) for v in BAD_NAMES], lambda it, v, make=make: make(reduction=v), "mean"),
        (f"{name}: a reduction mistyped", lambda it, make=make: make(reduction="means"), ValueError, "mean 'mean'?"),
        (f"{name}: an unknown reduction", lambda it, make=make: make(reduction="max"), ValueError, "mean, sum, none"),
        (f"{name}: no y_hat", lambda it, make=make: make()(None, it.y), TypeError, "y_hat: expected real numbers"),
        (f"{name}: a row", lambda it, make=make: make()(np.ones(3), [1]), ValueError, "y_hat: ", "(batch, n_out)", "(3,)"),
        (f"{name}: no outputs", lambda it, make=make: make()(np.ones((2, 0)), np.ones((2, 0))), ValueError, "got (2, 0)"),
        (f"{name}: no rows", lambda it, make=make: make()(np.ones((0, 2)), np.ones((0, 2))), ValueError, "y_hat: ",
         "at least one row"),
        (f"{name}: NaN", lambda it, make=make: make()([[0.5, np.nan]], [[0, 1]]), ValueError, "y_hat: ", "got nan"),
        (f"{name}: strings", lambda it, make=make: make()([["a", "b"]], [[0, 1]]), TypeError, "y_hat: ", "strings"),
        (f"{name}: lengths differ", lambda it, make=make: make()(np.full((2, 2), 0.5), np.eye(3)[:, :2] + [[0, 0], [0, 0],
         [1, 0]]), ValueError, "y: expected 2 rows", "got 3"),
    )),
    *(row for name in WITH_LOGITS for row in (
        *values_of("from_logits", [(v, TypeError) for v in BAD_FLAGS], lambda it, v, name=name: LOSSES[name](from_logits=v)),
        (f"{name}: above 1", lambda it, name=name: LOSSES[name]()([[0.5, 1.5]], [[0, 1]]), ValueError, "y_hat: ",
         "expected numbers from 0 to 1", "got 1.5", "for logits, from_logits=True"),
        (f"{name}: below 0", lambda it, name=name: LOSSES[name]()([[-0.1, 0.5]], [[0, 1]]), ValueError, "got -0.1"),
    )),
    *values_of("label_smoothing", BAD_SHARES, lambda it, v: bp.CrossEntropy(label_smoothing=v), "number"),
    *values_of("delta", [*BAD_RATES, (0, ValueError)], lambda it, v: bp.Huber(v), "number"),
    *values_of("gamma", BAD_RATES, lambda it, v: bp.Focal(v), "number"),
    *values_of("alpha", [row for row in BAD_SHARES if row[0] is not None] + [(0, ValueError)],
               lambda it, v: bp.Focal(alpha=v), "number"),
    *values_of("multi_label", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.Focal(multi_label=v),
               "True or False"),
    *values_of("log_input", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.Poisson(log_input=v),
               "True or False"),
    *values_of("q", [
        (0, ValueError), (1, ValueError), (1.5, ValueError), (-0.1, ValueError), (float("nan"), ValueError),
        ("median", TypeError), (None, TypeError), (True, TypeError), ({0.1, 0.9}, TypeError), ([], ValueError),
        ([0.5, 1], ValueError), ([0.5, "a"], TypeError), ([[0.5]], TypeError), (np.array(0.5), TypeError),
        (np.linspace(0.1, 0.9, 33), ValueError)], lambda it, v: bp.Quantile(v)),
    ("three levels of four outputs", lambda it: bp.Quantile([0.1, 0.5, 0.9])(np.ones((2, 4)), np.ones((2, 2))),
     ValueError, "Quantile((0.1, 0.5, 0.9)) expected an output for each level of each target", "got 4 outputs"),
    ("a target for each level", lambda it: bp.Quantile([0.1, 0.9])(np.ones((2, 2)), np.ones((2, 2))), ValueError,
     "y: expected targets of shape (batch, 1)", "got (2, 2)"),
    ("a Gaussian of three outputs", lambda it: bp.GaussianNLL()(np.ones((2, 3)), np.ones((2, 1))), ValueError,
     "GaussianNLL() expected a mean and a log-variance for each target", "got 3 outputs"),
    ("a target for its variance", lambda it: bp.GaussianNLL()(np.ones((2, 2)), np.ones((2, 2))), ValueError,
     "y: expected targets of shape (batch, 1)", "got (2, 2)"),
    ("a fit of three levels of two outputs", lambda it: fit(it, y=it.y[:, :1], loss=bp.Quantile([0.1, 0.5, 0.9])),
     ValueError, "an output for each level of each target", "got 2 outputs"),
    ("a divergence from labels", lambda it: bp.KLDivergence()(np.full((2, 2), 0.5), [0, 1]), ValueError,
     "y: expected targets of shape (batch, 2)", "got (2,)"),
    ("a divergence from rows of ones", lambda it: bp.KLDivergence()(np.full((2, 2), 0.5), np.ones((2, 2))), ValueError,
     "y: expected rows that sum to 1", "got 2.0"),
    ("alpha for classes", lambda it: bp.Focal(alpha=0.25)(np.full((2, 2), 0.5), [0, 1]), ValueError,
     "alpha: expected None for the 2 classes", "got 0.25", "class_weight"),
    ("questions as classes", lambda it: bp.Focal()(np.full((2, 2), 0.5), np.ones((2, 2))), ValueError, "sum to 1",
     "got 2.0"),
    ("labels for questions", lambda it: bp.Focal(multi_label=True)(np.full((2, 2), 0.5), [0, 1]), ValueError,
     "y: expected targets of shape (batch, 2)", "got (2,)"),
    *((f"{name} of {what}", lambda it, make=make, y=y: make()(np.ones((3, 1)), y), ValueError,
       "y: expected -1 and 1, or 0 and 1", says)
      for name, make in (("hinge", bp.Hinge), ("squared hinge", bp.SquaredHinge))
      for what, y, says in (("a half", [0, 1, 0.5], "got 0.5 at row 2"), ("2", [1, 2, 1], "got 2.0 at row 1"),
                            ("three signs", [-1, 0, 1], "got 0.0 at row 1"))),
    ("hinge of a label too many", lambda it: bp.Hinge()(np.ones((3, 2)), [0, 1, 2]), ValueError, "labels 0 to 1",
     "got 2"),
    ("hinge of signs for labels", lambda it: bp.Hinge()(np.ones((3, 2)), [-1, 1, 1]), ValueError, "labels 0 to 1",
     "got -1"),
    ("a count below 0", lambda it: bp.Poisson()(np.ones((2, 1)), [1, -1]), ValueError, "y: expected numbers from 0",
     "got -1.0"),
    ("a rate below 0", lambda it: bp.Poisson()([[1.0], [-1.0]], [1, 1]), ValueError, "y_hat: expected numbers from 0",
     "got -1.0", "log_input=True"),
    ("a rate that may be below 0", lambda it: fit(it, y=abs(it.y), loss="poisson"), ValueError,
     "loss: Poisson() expected rates", "got 'identity'", "Poisson(log_input=True)"),
    ("the focal loss under identity", lambda it: fit(it, loss="focal"), ValueError, "'softmax', got 'identity'",
     "Focal(from_logits=True)"),
    ("mse of a Gaussian", lambda it: fit(it, y=it.y[:, :1], loss="gaussian_nll", metrics=["mse"]), ValueError,
     "y: expected targets of shape (1, 2)", "got (1, 1)"),
    *values_of("n_out", BAD_SIZES, lambda it, v: bp.losses.class_weights([0, 1], "balanced", v)),
    *((f"class weights for {name}", lambda it, y=y, n=n: bp.losses.class_weights(y, "balanced", n), ValueError, *says)
      for name, y, n, *says in (
          ("a half", [0.5, 1], 1, "class_weight: expected", "targets that are classes", "got others"),
          ("three signs", [-1, 0, 1], 1, "targets that are classes", "got others"),
          ("two classes in a row", [[1, 1]], 2, "targets that are classes", "got others"),
          ("no rows", [], 3, "y: expected at least one row", "got none"))),
    ("cross-entropy of one output", lambda it: bp.CrossEntropy()([[1.0]], [0]), ValueError, "at least 2 outputs",
     "BinaryCrossEntropy"),
    *(row for name, make in OPTIMIZERS.items()
      for row in values_of("learning_rate", BAD_RATES, lambda it, v, make=make: make(v), "number")),
    *values_of("momentum", BAD_SHARES, lambda it, v: bp.SGD(0.1, v), "number"),
    *values_of("nesterov", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.SGD(0.1, 0.9, v), "True or False"),
    ("nesterov without momentum", lambda it: bp.SGD(0.1, nesterov=True), ValueError, "a momentum above 0"),
    *values_of("beta1", BAD_SHARES, lambda it, v: bp.Adam(beta1=v), "number"),
    *values_of("beta2", BAD_SHARES, lambda it, v: bp.Adam(beta2=v), "number"),
    *(row for make in SCHEDULES.values() for row in (
        *values_of("learning_rate", BAD_RATES, lambda it, v, make=make: make(v), "number"),
        *values_of("step", BAD_COUNTS[1:], lambda it, v, make=make: make(0.1)(v), "a whole number"),
    )),
    *values_of("every", BAD_SIZES, lambda it, v: bp.schedules.Step(0.1, v), "a whole number"),
    *values_of("every", BAD_SIZES, lambda it, v: bp.schedules.Exponential(0.1, 0.9, v), "a whole number"),
    *values_of("factor", BAD_FACTORS, lambda it, v: bp.schedules.Step(0.1, 5, v), "number"),
    *values_of("factor", BAD_FACTORS, lambda it, v: bp.schedules.Exponential(0.1, v), "number"),
    *values_of("steps", BAD_SIZES, lambda it, v: bp.schedules.Cosine(0.1, v), "a whole number"),
    *values_of("steps", BAD_SIZES, lambda it, v: bp.schedules.Polynomial(0.1, v), "a whole number"),
    *values_of("steps", BAD_SIZES, lambda it, v: bp.schedules.OneCycle(0.1, v), "a whole number"),
    *values_of("final", BAD_RATES, lambda it, v: bp.schedules.Cosine(0.1, 9, final=v), "number"),
    *values_of("final", BAD_RATES, lambda it, v: bp.schedules.Polynomial(0.1, 9, final=v), "number"),
    *values_of("power", BAD_FACTORS, lambda it, v: bp.schedules.Polynomial(0.1, 9, power=v), "number"),
    *values_of("warmup", [*BAD_EPOCHS, (9, ValueError)], lambda it, v: bp.schedules.Cosine(0.1, 9, warmup=v), "whole"),
    *values_of("growth", BAD_COUNTS, lambda it, v: bp.schedules.Cosine(0.1, 9, growth=v), "a whole number"),
    *values_of("pct_start", BAD_SHARES, lambda it, v: bp.schedules.OneCycle(0.1, 9, pct_start=v), "number"),
    *values_of("div_factor", BAD_FACTORS, lambda it, v: bp.schedules.OneCycle(0.1, 9, div_factor=v), "number"),
    *values_of("final_div_factor", BAD_FACTORS, lambda it, v: bp.schedules.OneCycle(0.1, 9, final_div_factor=v), "number"),
    *values_of("name", [({}, TypeError), ({"name": "Cosinus"}, ValueError), ({"name": "Schedule"}, ValueError),
                        ({"name": 5}, TypeError), ({"name": ["Step"]}, TypeError)],
               lambda it, v: bp.schedules.from_config(v), "one of Constant, Cosine"),
    *values_of("name", [({}, TypeError), ({"name": "SDG"}, ValueError), ({"name": "Optimizer"}, ValueError)],
               lambda it, v: bp.optimizers.from_config(v), "one of", "Adam"),
    *values_of("learning_rate", [({"name": "SGD", "learning_rate": None}, TypeError)],
               lambda it, v: bp.optimizers.from_config(v), "a number, got None"),
    *values_of("monitor", [(v, TypeError) for v in [None, 5, ["loss"], len]], lambda it, v: bp.EarlyStopping(v), "'val_loss'"),
    *values_of("mode", [(v, TypeError) for v in BAD_NAMES], lambda it, v: bp.EarlyStopping(mode=v), "auto, min, max"),
    *values_of("patience", BAD_COUNTS, lambda it, v: bp.EarlyStopping(patience=v), "a whole number"),
    *values_of("restore", [(v, TypeError) for v in BAD_NAMES], lambda it, v: bp.EarlyStopping(restore=v), "best, last_best"),
    *values_of("patience", BAD_SIZES, lambda it, v: bp.ReduceOnPlateau(patience=v), "a whole number"),
    *values_of("min_delta", BAD_RATES, lambda it, v: bp.EarlyStopping(min_delta=v), "number"),
    *values_of("min_delta", BAD_RATES, lambda it, v: bp.ReduceOnPlateau(min_delta=v), "number"),
    *values_of("minimum", BAD_RATES, lambda it, v: bp.ReduceOnPlateau(minimum=v), "number"),
    *values_of("cooldown", BAD_EPOCHS, lambda it, v: bp.ReduceOnPlateau(cooldown=v), "a whole number"),
    *values_of("factor", [*BAD_SHARES, (0, ValueError)], lambda it, v: bp.ReduceOnPlateau(factor=v), "number"),
    *values_of("restore_best", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.EarlyStopping(restore_best=v), "False"),
    *values_of("keep", [*BAD_KEEPS, ("first", ValueError), ("", ValueError)],
               lambda it, v: bp.Checkpoint("run-{epoch}", keep=v)),
    *values_of("every", BAD_SIZES, lambda it, v: bp.Checkpoint("run", every=v), "a whole number"),
    *values_of("low", BAD_FACTORS, lambda it, v: bp.LearningRateFinder(v), "number"),
    *values_of("high", [*BAD_FACTORS, (1e-3, ValueError)], lambda it, v: bp.LearningRateFinder(1e-3, v), "number"),
    *values_of("steps", [*BAD_SIZES, (1, ValueError)], lambda it, v: bp.LearningRateFinder(steps=v), "a whole number"),
    *values_of("k", BAD_SIZES, lambda it, v: bp.metrics.top_k(v), "a whole number"),
    *(row for name in ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta") for row in values_of(
        "epsilon", ABOVE_ZERO, lambda it, v, make=OPTIMIZERS[name]: make(epsilon=v), "number")),
    *(row for name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Lion") for row in values_of(
        "weight_decay", BAD_RATES, lambda it, v, make=OPTIMIZERS[name]: make(0.1, weight_decay=v), "number")),
    *(row for name, make in OPTIMIZERS.items() if name != "LBFGS" for option in ("clip_value", "clip_norm", "average")
      for row in values_of(option, [pair for pair in (BAD_SHARES if option == "average" else ABOVE_ZERO) if pair[0] is not None],
                           lambda it, v, make=make, option=option: make(0.1, **{option: v}), "number")),
    *(row for option, (name, table) in OPTIONS_OF_OPTIMIZERS.items() for row in values_of(
        option, table, lambda it, v, make=OPTIMIZERS[name], option=option: make(**{option: v}), "number")),
    *values_of("momentum", BAD_SHARES, lambda it, v: bp.RMSprop(momentum=v), "number"),
    *values_of("amsgrad", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.AdamW(amsgrad=v), "True or False"),
    *values_of("centered", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.RMSprop(centered=v), "True or False"),
    *values_of("history_size", [*BAD_SIZES, (1001, ValueError)], lambda it, v: bp.LBFGS(history_size=v), "a whole number"),
    *values_of("max_evaluations", BAD_SIZES, lambda it, v: bp.LBFGS(max_evaluations=v), "a whole number"),
    *values_of("iterations", BAD_EPOCHS, lambda it, v: bp.LBFGS().minimize(it.net, lambda: None, v), "a whole number"),
    *(row for option in ("mu_max", "mu_inc") for row in values_of(
        option, ABOVE_ZERO, lambda it, v, option=option: bp.LevenbergMarquardt(**{option: v}), "number")),
    *values_of("mu", [pair for pair in ABOVE_ZERO if pair[0] is not None], lambda it, v: bp.LevenbergMarquardt(mu=v), "number"),
    *values_of("mu_dec", BAD_SHARES, lambda it, v: bp.LevenbergMarquardt(mu_dec=v), "number"),
    *(row for option in ("goal", "min_grad") for row in values_of(
        option, BAD_RATES, lambda it, v, option=option: bp.LevenbergMarquardt(**{option: v}), "number")),
    *values_of("max_fail", BAD_SIZES, lambda it, v: bp.LevenbergMarquardt(max_fail=v), "a whole number"),
    *values_of("bayesian", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: bp.LevenbergMarquardt(bayesian=v), "True or False"),
    ("a longest step below the shortest", lambda it: bp.Rprop(step_min=0.1, step_max=0.01), ValueError,
     "step_max: expected at least step_min, 0.1, got 0.01"),
    ("L-BFGS with one gradient", lambda it: bp.LBFGS().step(it.net), TypeError, "step: expected", "got LBFGS(1.0)", "minimize("),
    ("the average of an optimizer without", lambda it: it.optimizer.averaged(it.net).__enter__(), ValueError,
     "averaged: expected", "got Adam(0.01)"),
    ("the average before a step", lambda it: bp.SGD(0.1, average=0.5).averaged(it.net).__enter__(), ValueError,
     "averaged: expected", "after a step"),
    ("a function in a config", lambda it: bp.SGD(lambda step: 0.1).config(), TypeError, "learning_rate: expected a number",
     "config()", "got <function"),
    ("a config of nothing", lambda it: bp.optimizers.from_config({}), TypeError, "name: expected one of", "SGD", "None"),
    ("a config of an unknown optimizer", lambda it: bp.optimizers.from_config({"name": "Adamm"}), ValueError,
     "name: expected one of", "did you mean 'Adam'?"),
    ("a config of a base class", lambda it: bp.optimizers.from_config({"name": "Optimizer", "learning_rate": 1}), ValueError,
     "name: expected one of"),
    ("a schedule in a config", lambda it: bp.optimizers.from_config({"name": "SGD", "learning_rate": {"a": 1}}), TypeError,
     "learning_rate: expected a number", "{'a': 1}"),
    *values_of("l1", BAD_RATES, lambda it, v: bp.Dense(2, 2, l1=v), "number"),
    *values_of("l2", BAD_RATES, lambda it, v: bp.Dense(2, 2, l2=v), "number"),
    *values_of("trainable", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: setattr(it.net.layers[0], "trainable", v),
               "True or False"),
    *values_of("trainable", [(v, TypeError) for v in BAD_FLAGS], lambda it, v: setattr(bp.Dense(2, 2), "trainable", v),
               "True or False"),
    *values_of("threads", BAD_THREADS, lambda it, v: bp.set_num_threads(v), "a whole number"),
    *values_of("layers", [(v, TypeError) for v in [None, 5, True, "relu", {}, {"a": 1}, set(), frozenset([bp.Dense(1, 1)]),
                                                   bp.Dense(1, 1), bp.Dense]], lambda it, v: bp.Sequential(v), "a list"),
    *values_of("layers", [(v, TypeError) for v in [[None], ["dense"], [5], [[bp.Dense(1, 1)]], [bp.activations.relu],
                                                   [bp.Sequential([bp.Dense(1, 1)])], [bp.Layer()]]],
               lambda it, v: bp.Sequential(v), "in place 1"),
    ("a class of layer", network(bp.Dense(2, 2), bp.Activation), TypeError, "in place 2", "call it, Activation(...)"),
    ("no layers", network(), ValueError, "layers: expected at least one layer", "got none"),
    ("no sizes", network(bp.Activation("relu"), bp.Dropout(0.5)), ValueError, "with sizes, such as Dense", "Dropout"),
    ("layers that do not fit", network(bp.Dense(2, 3), bp.Dense(4, 1)), ValueError,
     "layers: Dense(4, 1), 2 of 2, expected 4 inputs, got the 3 of Dense(2, 3)"),
    ("nor here", network(bp.Dense(2, 3), bp.Activation("relu"), bp.Dense(2, 1)), ValueError, "3 of 3, expected 2 inputs"),
    ("of another network", lambda it: bp.Sequential(it.net.layers), ValueError, "expected new layers", "in place 1"),
    ("of another network, in the middle", lambda it: bp.Sequential([bp.Dense(3, 3), it.net.layers[0]]), ValueError,
     "expected new layers", "in place 2"),
    ("dropout of another network", lambda it: bp.Sequential([bp.Dense(3, 4), it.net.layers[1]]), ValueError,
     "expected new layers, got Dropout(0.2) in place 2, which belongs to another network"),
    *values_of("dtype", [(v, ValueError) for v in [
        None, "float16", "abc", "", ",", "f4,f4", "longdouble", ">f4", ">f8", "int32", "complex64", "object", int,
        bool, str, object, 5, 10**400, [], {}, (), [("a",)], {"names": 1}, np.zeros(2), np.float16, object(), "float3"]],
        lambda it, v: bp.Sequential([bp.Dense(1, 1)], dtype=v), '"float32" or "float64"'),
    *values_of("rng", BAD_SEEDS, lambda it, v: bp.Sequential([bp.Dense(1, 1)], rng=v)),
    ("terabytes", network(bp.Dense(2**20, 2**20)), ValueError, "1.1e+12 parameters", "this machine's memory", "8.8e+12 bytes"),
    ("a yottabyte", network(bp.Dense(2**40, 2**40)), ValueError, "this machine's memory", "9.67e+24 bytes"),
    ("one wide layer", network(bp.Dense(1, 2**40)), ValueError, "this machine's memory"),
    ("a thousand gigabytes", network(*(bp.Dense(2**14, 2**14) for _ in range(1000))), ValueError, "this machine's memory"),
]  # fmt: skip

METRICS = [
    (f"metrics.{name}: {what}", lambda it, name=name, args=args: getattr(bp.metrics, name)(*args), error, *says)
    for name in bp.metrics.__all__
    if name != "top_k"
    for what, args, error, *says in [
        ("no rows", (np.zeros((0, 2)), np.zeros((0, 2))), ValueError, "y_hat: expected at least one row"),
        ("a number", (1.5, 1.5), ValueError, "y_hat: expected at least one row", "got a single number"),
        ("lengths differ", (np.zeros((3, 2)), np.zeros((2, 2))), ValueError, "y: expected", "got (2, 2)"),
        ("one target for all", (np.zeros((3, 2)), [0]), ValueError, "y: expected", "got (1,)"),
        ("transposed", (np.zeros((3, 2)), np.zeros((2, 3))), ValueError, "y: expected", "got (2, 3)"),
        ("strings", (np.zeros((3, 2)), ["a", "b", "c"]), TypeError, "y: expected real numbers", "strings"),
        ("complex", (np.full((3, 2), 1j), np.zeros((3, 2))), TypeError, "y_hat: expected real", "complex"),
        ("masked", (np.zeros((3, 2)), np.ma.zeros((3, 2))), TypeError, "y: expected an array without a mask"),
        ("None", (None, np.zeros((3, 2))), TypeError, "y_hat: expected real numbers", "Python objects"),
        ("ragged", ([[1, 2], [3]], np.zeros((3, 2))), ValueError, "y_hat: expected rows of equal length"),
    ]
]
METRICS += [
    (f"{name}: {what}", lambda it, name=name, args=args: getattr(bp.metrics, name)(*args), error, *says)
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")
    for what, args, error, *says in [
        ("a row", ([0.1], [0]), ValueError, "y_hat: expected scores of shape (batch, n_out)", "(1,)"),
        *([] if name == "accuracy" else [
            ("a label too large", (np.eye(3), [0, 1, 3]), ValueError, "y: expected labels 0 to 2", "got 3 at row 2"),
            ("a negative label", (np.eye(3), [0, -1, 2]), ValueError, "y: expected labels 0 to 2", "got -1 at row 1"),
            ("half a label", (np.eye(3), [0, 0.5, 2]), ValueError, "whole numbers", "got 0.5 at row 1"),
        ]),
        *([] if name in ("accuracy", "log_loss") else [
            ("NaN", ([[0.1], [np.nan]], [0, 1]), ValueError, "y_hat: expected finite numbers", "got nan"),
            ("a third class of one column", ([[0.1], [0.2]], [0, 2]), ValueError, "y: expected labels 0 to 1", "got 2"),
        ]),
    ]
]  # fmt: skip
METRICS += [
    ("log_loss: no probabilities", lambda it: bp.metrics.log_loss([[0.5, 1.5]], [0]), ValueError, "y_hat: expected numbers "
     "from 0 to 1", "got 1.5", "log_loss takes probabilities"),
    ("log_loss: targets beyond", lambda it: bp.metrics.log_loss([[0.5]], [2]), ValueError, "y: expected numbers from 0 to 1",
     "got 2.0"),
    ("top_3: one column", lambda it: bp.metrics.top_k(3)([[0.5]], [1]), ValueError, "top_3: expected a column of scores for "
     "each class", "got one"),
    ("top_0", lambda it: it.net.evaluate(it.x, it.y, loss="mse", metrics=["top_0"]), ValueError, "metrics: expected one of",
     "got 'top_0'", "did you mean 'top_"),
    ("top_k", lambda it: it.net.evaluate(it.x, it.y, loss="mse", metrics=["top_k"]), ValueError, "got 'top_k'", "top_3"),
    ("top_3 twice", lambda it: it.net.evaluate(it.x, it.y, loss="mse", metrics=["top_3", bp.metrics.top_k(3)]), ValueError,
     "metrics: expected each name once", "'top_3'"),
    ("top_2 of one output", lambda it: setup("binary").net.evaluate(it.x, np.ones(5), loss="binary_cross_entropy",
                                                                    metrics=["top_2"]), ValueError, "top_2: expected a column",
     "got one"),
]  # fmt: skip

CASES = [
    *ARRAYS,
    *((f"fit, {name}", "regression", call, error, says) for name, call, error, *says in FIT + CALLABLES),
    *((f"fit on classes, {name}", "classes", call, error, says) for name, call, error, *says in FIT_ON_CLASSES),
    *((name, "classes", call, error, says) for name, call, error, *says in PREDICT + EVALUATE),
    *((name, "regression", call, error, says) for name, call, error, *says in BY_HAND),
    *((f"making, {name}", "regression", call, error, says) for name, call, error, *says in MAKING + METRICS),
]


def by_argument(cases):
    """The rows of the table, by what stands before the colon in their names, or before the first comma."""
    found = {}
    for name, *rest in cases:
        place = name.partition(": ")[0] if ": " in name else name.partition(", ")[0]
        found.setdefault(place, []).append((name, *rest))
    return found


ARGUMENTS = by_argument(CASES)


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_refused(argument):
    nets, absent = {kind: setup(kind) for kind in KINDS}, None
    for name, kind, call, error, says in ARGUMENTS[argument]:
        try:
            assert_refused(nets[kind], call, error, says, name)
        except pytest.skip.Exception as without:
            absent = without
    if absent:
        raise absent


def test_the_table_is_long():
    assert len(CASES) >= 5700
    assert {error for *_, error, _ in CASES} == {ValueError, TypeError}


@pytest.mark.parametrize("door", DOORS_OF_X)
def test_beyond_float64_too(door):
    it = setup(dtype="float64")
    bad = it.x.astype(np.longdouble)
    bad[1, 2] = np.longdouble("1e400") if np.finfo(np.longdouble).max > 1e400 else np.inf
    assert_refused(it, lambda it: DOORS_OF_X[door](it, bad), ValueError, ("finite numbers", "at row, column 1, 2"))
    it.x[0, 0] = 1e39  # no fault here
    it.net.predict(it.x)


def test_a_row_is_counted_from_the_first_of_all():
    it = setup()
    it.x[4, 1] = np.nan
    for batch_size in (None, 1, 2, 3, 100):
        with pytest.raises(ValueError, match="at row, column 4, 1"):
            it.net.predict(it.x, batch_size=batch_size)


def test_backward_before_forward():
    net = bp.Sequential([bp.Dense(3, 2)], rng=0)
    for rows in (0, 1, 5):
        with pytest.raises(ValueError, match="last forward"):
            net.backward(np.zeros((rows, 2)))
    assert not net.gradients.any()
    net.backward(np.ones_like(net.forward(np.ones((5, 3)))))
    assert net.gradients.any()


def test_no_rows_give_no_answers():
    for kind in KINDS:
        it = setup(kind)
        before = state(it)
        for how in ({}, {"batch_size": 2}, {"threads": 2}, {"out": np.empty((0, it.net.n_out), np.float32)}):
            for empty in (it.x[:0], np.zeros((0, 3)), np.zeros((0, 3), int)):
                answer = it.net.predict(empty, **how)
                assert answer.shape == (0, it.net.n_out)
                assert answer.dtype == np.float32
        assert state(it) == before
