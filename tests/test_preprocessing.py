"""Preprocessing: the published constants, scikit-learn's transformers beside ours, and tables as they come."""

import datetime
import decimal
import json
import time
import uuid

import numpy as np
import pytest

import backprop as bp
from backprop import preprocessing
from backprop.preprocessing import (
    DateEncoder,
    Encoder,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    Scaler,
    SimpleImputer,
    StandardScaler,
    TableEncoder,
)
from backprop.tables import Recipe, Table, of, read

RNG = np.random.default_rng(0)
COLUMNS = np.column_stack([
    RNG.normal(3, 5, 400), RNG.exponential(100, 400), RNG.integers(0, 5, 400), np.where(RNG.random(400) < 0.9, 0, 7),
])  # fmt: skip


def with_gaps(x):
    x = x.copy()
    x[RNG.random(x.shape) < 0.1] = np.nan
    return x


# Scalers


def test_the_robust_scaler_is_the_published_one():
    """Median, distance of quartiles, else half the range, else 0; then x / sqrt(1 + (x / 3)^2)."""
    x = np.column_stack([COLUMNS, np.full(400, 2.5)])
    scaled = RobustScaler().fit_transform(x)
    for column, ours in zip(x.T, scaled.T, strict=True):
        q1, q3 = np.quantile(column, [0.25, 0.75])
        low, high = column.min(), column.max()
        s = 1 / (q3 - q1) if q3 > q1 else 2 / (high - low) if high > low else 0
        u = s * (column - np.median(column))
        np.testing.assert_allclose(ours, u / np.sqrt(1 + (u / 3) ** 2), rtol=1e-12, atol=1e-15)
    assert not scaled[:, 4].any() and scaled[:, 3].max() == pytest.approx(2 / np.sqrt(1 + 4 / 9))


def test_outliers_stay_within_the_clip_and_huge_ones_are_no_zero():
    scaler = RobustScaler().fit(COLUMNS)
    far = scaler.transform(np.array([[1e300] * 4, [-1e300] * 4, [1.7e308] * 4]))
    np.testing.assert_allclose(abs(far), 3)
    assert (far[0] > 0).all() and (far[1] < 0).all()


@pytest.mark.parametrize("ours", [StandardScaler(), QuantileTransformer(), QuantileTransformer(50)])
def test_scalers_are_scikit_learns(ours):
    theirs = pytest.importorskip("sklearn.preprocessing")
    x, other = with_gaps(COLUMNS), with_gaps(COLUMNS[::-1] * 1.1)
    if isinstance(ours, StandardScaler):
        twin = theirs.StandardScaler()
    else:
        n = min(ours.n_quantiles, len(x))
        twin = theirs.QuantileTransformer(n_quantiles=n, output_distribution="normal", subsample=None)
    np.testing.assert_allclose(ours.fit_transform(x), twin.fit_transform(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.transform(other), twin.transform(other), rtol=1e-9, atol=1e-9)


def test_the_normal_quantile_function_is_scipys():
    special = pytest.importorskip("scipy.special")
    p = np.concatenate([10.0 ** -np.arange(1.0, 300), np.linspace(0.001, 0.999, 999), 1 - 10.0 ** -np.arange(1.0, 15)])
    np.testing.assert_allclose(preprocessing.scalers.normal_quantile(p), special.ndtri(p), rtol=2e-15, atol=1e-16)


@pytest.mark.parametrize("kind", [StandardScaler, RobustScaler, QuantileTransformer])
def test_scalers_survive_json_and_refuse_what_is_edited(kind):
    scaler = kind().fit(COLUMNS)
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert type(again) is kind and (again.transform(COLUMNS) == scaler.transform(COLUMNS)).all()
    good = scaler.to_dict()
    first = next(iter(good.keys() - {"name"}))
    for bad in (
        None, {}, {**good, "more": 1}, {**good, "name": "Scaler"}, {**good, first: [1, 2]}, {**good, first: "x"},
        {**good, first: [float("nan")] * 4}, {**good, first: [[[1.0]]]}, {**good, "scale_": [0.0] * 4},
        {**good, "quantiles_": [[1.0], [0.0]]},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^scaler: "):
            Scaler.from_dict(bad)


def test_scalers_refuse_what_they_cannot_scale():
    for x, message in (
        (np.zeros((0, 2)), "at least one row"),
        (np.zeros(3), r"shape \(rows, columns\), got \(3,\): X.reshape"),
        (np.array([[1.0, np.nan]]), "only missing ones in column 1"),
        (np.array([[np.inf]]), "got inf at row, column 0, 0"),
    ):
        with pytest.raises(ValueError, match=message):
            RobustScaler().fit(x)
    with pytest.raises(ValueError, match="expected to be fitted first"):
        RobustScaler().transform(COLUMNS)
    with pytest.raises(ValueError, match="the 4 columns of the fit"):
        RobustScaler().fit(COLUMNS).transform(COLUMNS[:, :2])
    with pytest.raises(TypeError, match="expected real numbers, got"):
        RobustScaler().fit([["a"]])


def test_scalers_keep_missing_values():
    x = with_gaps(COLUMNS)
    for scaler in StandardScaler(), RobustScaler(), QuantileTransformer():
        np.testing.assert_array_equal(np.isnan(scaler.fit_transform(x)), np.isnan(x))


# Columns of one kind


def test_two_categories_are_minus_one_and_one_and_more_a_column_each():
    x = {"two": ["u", "v", "u", None], "three": ["a", "b", "c", "b"]}
    encoder = OneHotEncoder(flag_missing=False).fit(x)
    made = encoder.transform({"two": ["u", "v", "", "w"], "three": ["a", "b", "d", None]})
    np.testing.assert_array_equal(made, [[-1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert [output.kind for output in encoder.outputs] == ["sign", "onehot", "onehot", "onehot"]
    assert encoder.get_feature_names_out().tolist() == ["two=v", "three=a", "three=b", "three=c"]
    flagged = OneHotEncoder().fit(x)
    assert flagged.transform(x)[3].tolist() == [0, 1, 0, 1, 0]
    assert len(encoder.remarks({"two": ["w"], "three": ["a"]})) == 1


def test_categories_are_scikit_learns():
    theirs = pytest.importorskip("sklearn.preprocessing")
    x = {"a": list("xyzzyx"), "b": list("ppqrqs")}
    rows = np.array([*zip(*x.values(), strict=True)], object)
    unknown = np.array([["w", "p"], ["x", "t"]], object)
    twin = theirs.OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(rows)
    ours = OneHotEncoder(binary="onehot").fit(x)
    np.testing.assert_array_equal(ours.transform(x), twin.transform(rows))
    np.testing.assert_array_equal(ours.transform(unknown), twin.transform(unknown))
    twin = theirs.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(rows)
    ours = OrdinalEncoder().fit(x)
    np.testing.assert_array_equal(ours.transform(x), twin.transform(rows) + 1)
    np.testing.assert_array_equal(ours.transform(unknown), twin.transform(unknown) + 1)
    assert [output.cardinality for output in ours.outputs] == [4, 5]


def test_indices_are_those_of_an_embedding():
    x = {"town": ["a", "b", None, "c"], "size": [1.0, 2.0, 3.0, 5.0]}
    encoder = TableEncoder(categories="index", max_onehot=2).fit(x)
    (index,) = [i for i, output in enumerate(encoder.outputs) if output.kind == "index"]
    values = encoder.outputs[index].cardinality
    net = bp.Sequential([bp.Columns(len(encoder.outputs), {index: bp.Embedding(values, 2)}), bp.Dense(3, 1)], rng=0)
    assert net.predict(encoder.transform({"town": ["c", "zzz", ""], "size": [1, 2, 3]})).shape == (3, 1)


def test_dates_are_what_the_calendar_says():
    pandas = pytest.importorskip("pandas")
    moments = pandas.Series(pandas.date_range("1965-02-27 03:15", periods=400, freq="1013h"))
    encoder = DateEncoder(dtype="float64").fit({"when": moments})
    names = [output.name for output in encoder.outputs]
    found = dict(zip(names, encoder.transform({"when": moments}).T, strict=True))
    for part, theirs in ("year", "year"), ("month", "month"), ("day", "day"), ("weekday", "day_of_week"):
        np.testing.assert_array_equal(found[f"when.{part}"], getattr(moments.dt, theirs))
    np.testing.assert_allclose(found["when.hour"], moments.dt.hour + moments.dt.minute / 60)
    np.testing.assert_allclose(found["when.elapsed"], (moments - pandas.Timestamp(0)) / pandas.Timedelta("1D"))


DATES = {
    "iso": "%Y-%m-%d", "german": "%d.%m.%Y", "american": "%m/%d/%Y", "british": "%d/%m/%Y", "short": "%d/%m/%y",
    "compact": "%Y%m%d", "month": "%d %b %Y", "english": "%B %d, %Y", "hyphens": "%d-%b-%y", "time": "%Y-%m-%d %H:%M",
    "stamp": "%Y-%m-%dT%H:%M:%SZ", "pm": "%m/%d/%Y %I:%M %p",
}  # fmt: skip


@pytest.mark.parametrize("spelled", DATES.values(), ids=DATES)
def test_dates_however_they_are_written(spelled):
    days = [datetime.datetime(2021, 1, 7, 15, 30) + datetime.timedelta(days=11 * i) for i in range(40)]
    texts = {"when": [day.strftime(spelled) for day in days], "n": list(range(40))}
    encoder = TableEncoder(scaler=None, dtype="float64").fit(texts)
    assert encoder.readings_["when"].kind == "date"
    names = encoder.get_feature_names_out().tolist()
    found = dict(zip(names, encoder.transform(texts).T, strict=True))
    for part in "year", "month", "day":
        assert found[f"when.{part}"].tolist() == [getattr(day, part) for day in days], part
    assert ("when.hour" in found) is False  # the same in all rows
    assert encoder.transform({"when": [texts["when"][3]], "n": [3]}).tolist() == encoder.transform(texts)[3:4].tolist()


def test_what_dates_cannot_be():
    for cells, message in (
        (["2020-02-30", *["2020-02-01"] * 5], "X, row 0, column 'd': expected a date, got '2020-02-30'"),
        (["2020-02-01"] * 5 + ["soon"], "X, row 5, column 'd': expected a date, got 'soon'"),
        (["31.01.2020", "01.31.2020"] * 5, r"X, row 1, column 'd': expected a date \(day first\), got '01.31.2020'"),
        ([""] * 3, "only missing ones in 'd'"),
    ):
        with pytest.raises(ValueError, match=message):
            DateEncoder().fit({"d": cells})
    assert np.isnan(DateEncoder().fit({"d": ["2020-01-01", "NA", "2020-03-01"]}).transform({"d": ["-"]})).sum() == 0


def test_a_day_of_which_the_order_is_unknown_is_said():
    how = TableEncoder().fit({"d": ["1/2/2020", "3/4/2020"], "n": [1, 2]}).readings_
    assert str(how["d"]) == "d: date, 1/2/2020 taken as month first"
    how = TableEncoder().fit({"d": ["1/2/2020", "13/4/2020"], "n": [1, 2]}).readings_
    assert str(how["d"]) == "d: date, day first"


def test_numbers_are_filled_with_the_median_and_flagged():
    encoder = SimpleImputer().fit({"a": [1.0, None, 2.0, 9.0], "b": [1, 2, 3, 4]})
    np.testing.assert_array_equal(encoder.transform({"a": [None, 5], "b": [None, 6]}), [[2, 1, 2.5], [5, 0, 6]])
    assert [output.kind for output in encoder.outputs] == ["number", "missing", "number"]
    assert encoder.remarks({"a": [1], "b": [None]}) == ["b: 1 of 1 cells missing, taken as the median"]
    assert SimpleImputer(flag_missing=False).fit_transform({"a": [1.0, None]}).tolist() == [[1], [1]]


# Whole tables


def mixed(rows=60):
    rng = np.random.default_rng(2)
    return {
        "size": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(50, 9, rows)).tolist(),
        "rooms": rng.integers(1, 6, rows).tolist(),
        "town": rng.choice(["Aachen", "Bonn", "Köln"], rows).tolist(),
        "balcony": [bool(i % 3) for i in range(rows)],
        "price": [f"{1000 + 37 * i},50 €" for i in range(rows)],
        "built": [f"{1 + i % 28:02}.{1 + i % 12:02}.{1950 + i}" for i in range(rows)],
        "flat_id": list(range(rows)),
        "note": [f"a few words on flat {i} of them" for i in range(rows)],
        "country": ["D"] * rows,
        "nothing": [None] * rows,
    }


SAID = """size: number, 3 of 60 cells missing
rooms: number
town: category, 3 values
balcony: category, 2 values
price: number, decimal comma, € taken off
built: date, day first
flat_id: dropped, identifier, all values differ (numeric=['flat_id'] keeps it)
note: dropped, free text, 60 different values in 60 rows (category=['note'] keeps it)
country: dropped, constant
nothing: dropped, empty"""


def fitted(X, **options):
    with pytest.warns(UserWarning, match="X: text is left out: note: dropped, free text"):
        return TableEncoder(**options).fit(X)


def test_each_column_is_read_as_what_it_is():
    encoder = fitted(mixed())
    assert "\n".join(map(str, encoder.readings_.values())) == SAID
    x = encoder.transform(mixed())
    assert x.dtype == np.float32 and np.isfinite(x).all() and x.shape == (60, len(encoder.outputs))
    assert {output.column for output in encoder.outputs} == {"size", "rooms", "town", "balcony", "price", "built"}
    kinds = {output.name: output.kind for output in encoder.outputs}
    assert kinds["size"] == kinds["built.year"] == "number" and kinds["size=missing"] == "missing"
    assert kinds["town=Bonn"] == "onehot" and kinds["balcony=True"] == "sign"
    assert fitted(mixed(), dtype="float64").transform(mixed()).dtype == np.float64


def frames():
    given = mixed()
    made = {"dict": given}
    pandas = pytest.importorskip("pandas")
    made["pandas"] = pandas.DataFrame(given)
    made["categories"] = made["pandas"].astype({"town": "category", "size": "Float64", "rooms": "Int16"})
    polars = pytest.importorskip("polars")
    made["polars"] = polars.DataFrame(given)
    made["enum"] = made["polars"].with_columns(polars.col("town").cast(polars.Categorical))
    pyarrow = pytest.importorskip("pyarrow")
    made["pyarrow"] = pyarrow.table(given)
    made["dictionary"] = made["pyarrow"].set_column(2, "town", made["pyarrow"]["town"].dictionary_encode())
    made["rows"] = np.array([*zip(*given.values(), strict=True)], object)
    made["lists"] = [list(row) for row in made["rows"]]
    return made


def test_tables_of_all_libraries_are_one_table():
    given = frames()
    encoder = fitted(given.pop("dict"))
    x = encoder.transform(mixed())
    for name, frame in given.items():
        np.testing.assert_array_equal(encoder.transform(frame), x, err_msg=name)
        if name in ("rows", "lists"):  # without names there is no identifier
            continue
        own = TableEncoder()
        with pytest.warns(UserWarning, match="text is left out"):
            np.testing.assert_array_equal(own.fit_transform(frame), x, err_msg=name)


def test_a_csv_file_and_a_frame_of_it_are_one_table(tmp_path):
    path = tmp_path / "t.csv"
    columns = mixed()
    spelled = [[("" if cell is None or cell != cell else str(cell)) for cell in column] for column in columns.values()]
    lines = [";".join(columns), *(";".join(row) for row in zip(*spelled, strict=True))]
    path.write_text("\n".join(lines), encoding="utf-8")
    encoder = fitted(mixed())
    table = read(path)
    np.testing.assert_array_equal(encoder.transform(table), encoder.transform(mixed()))
    recipe = Recipe.learn(table, "price", np.arange(60), scaler="robust", binary="sign")
    names = [name for name in encoder.get_feature_names_out() if name != "price"]
    assert recipe.features == names
    at = encoder.get_feature_names_out() != "price"
    np.testing.assert_array_equal(recipe.x(table), encoder.transform(mixed())[:, at])


def test_typed_dates_of_all_libraries():
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=17 * i) for i in range(20)]
    times = [datetime.datetime(2020, 1, 1, 7) + datetime.timedelta(hours=1000 * i) for i in range(20)]
    zone = datetime.timezone(datetime.timedelta(hours=2))
    aware = [(time + datetime.timedelta(hours=2)).replace(tzinfo=zone) for time in times]
    given = {"day": days, "time": times, "aware": aware}
    encoder = DateEncoder(dtype="float64")
    x = encoder.fit_transform(given)
    assert (x[:, [i for i, o in enumerate(encoder.outputs) if o.column == "time"]]
            == x[:, [i for i, o in enumerate(encoder.outputs) if o.column == "aware"]]).all()  # fmt: skip
    for frame in pandas.DataFrame(given), polars.DataFrame(given), pyarrow.table(given):
        np.testing.assert_array_equal(encoder.transform(frame), x)
    gaps = pandas.DataFrame({"day": [pandas.NaT, days[0]], "time": [times[0], None], "aware": [None, aware[0]]})
    assert np.isfinite(encoder.transform(gaps)).all()


def test_columns_are_found_by_name_and_others_ignored():
    encoder = fitted(mixed())
    x = encoder.transform(mixed())
    turned = dict(reversed(mixed().items())) | {"more": [None] * 60}
    np.testing.assert_array_equal(encoder.transform(turned), x)
    fewer = {name: column for name, column in mixed().items() if name not in ("note", "country", "flat_id")}
    np.testing.assert_array_equal(encoder.transform(fewer), x)
    with pytest.raises(ValueError, match=r"X: expected the columns of the training, got no \['town'\] in"):
        encoder.transform({name: column for name, column in mixed().items() if name != "town"})
    with pytest.raises(ValueError, match="expected the 10 columns of the fit, got 9"):
        encoder.transform(np.array([*zip(*mixed().values(), strict=True)], object)[:, 1:])
    assert encoder.transform({name: column[:0] for name, column in mixed().items()}).shape == (0, x.shape[1])


def test_what_is_unknown_is_none_of_the_categories_and_is_said():
    encoder = fitted(mixed())
    row = {name: column[:1] for name, column in mixed().items()} | {"town": ["Ulm"], "size": [None], "rooms": [None]}
    x = dict(zip(encoder.get_feature_names_out(), encoder.transform(row)[0], strict=True))
    assert [x[f"town={town}"] for town in ("Aachen", "Bonn", "Köln")] == [0, 0, 0]
    assert x["size"] == 0 and x["size=missing"] == 1 and x["rooms"] == 0
    assert encoder.remarks(row) == [
        "rooms: 1 of 1 cells missing, taken as the median", "town: 1 of 1 cells unknown in training, such as 'Ulm'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("X", "kind", "message"),
    [
        ({"a": [1, [2], 3]}, TypeError, r"X: expected a number, a text or a date at row 1, column 'a', got \[2\]"),
        ({"a": ["x", {"y": 1}]}, TypeError, "at row 1, column 'a', got {'y': 1}"),
        ({"a": ["x", b"y"]}, TypeError, "at row 1, column 'a', got b'y', a bytes"),
        ({"a": [1 + 2j]}, TypeError, "in column 'a', got dtype complex128"),
        ({"a": [1.0, float("inf")]}, ValueError, "X, row 1, column 'a': expected a finite number, got inf"),
        ({"a": ["1", "2", "three"]}, ValueError, r"X, row 2, column 'a': expected a finite number, got 'three': mend it, or "
                                                 r"read the column as words \(category=\['a'\]\)"),
        ({"a": [1, 2], "b": [1]}, ValueError, "expected columns of one length, got 2 rows, and 1 in 'b'"),
        ({"a": [datetime.date(2020, 1, 1), "soon"]}, TypeError, "X: expected a date at row 1, column 'a'"),
        ({}, ValueError, "X: expected at least one column, got none"),
        ({"a": []}, ValueError, "X: expected at least one row, got none"),
        ({"a": [None, None]}, ValueError, "expected at least one column to learn from, got 'a: dropped, empty'"),
        ([1, 2, 3], ValueError, r"X: expected an array of shape \(rows, columns\), got \(3,\)"),
        ([["a", 1], ["b"]], ValueError, "X: expected rows of equal length, got a ragged sequence"),
        (np.ma.masked_array([[1.0]], [[True]]), TypeError, "mask"),
        ({"a": [10**5000]}, TypeError, "expected a number, a text or a date at row 0, column 'a', got a int too long"),
        (None, ValueError, "X: expected an array of shape"),
        ("table.csv", (TypeError, ValueError), "X: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_column_and_row(X, kind, message):
    with pytest.raises(kind, match=message):
        TableEncoder().fit(X)


def test_objects_that_are_numbers_or_have_a_text():
    x = {
        "a": [decimal.Decimal("1.5"), None, 2], "u": [uuid.UUID(int=i % 2) for i in range(3)],
        "m": ["a", 1, "b"], "s": np.array(["x", "y", "x"]),
    }  # fmt: skip
    encoder = TableEncoder(scaler=None).fit(x)
    assert encoder.transform(x)[:, 0].tolist() == [1.5, 1.75, 2]
    assert [reading.kind for reading in encoder.readings_.values()] == ["number", *["category"] * 3]
    assert encoder.features_[1].categories == [str(uuid.UUID(int=0)), str(uuid.UUID(int=1))]


def test_numbers_that_pandas_calls_categories_are_categories():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"zip": pandas.Categorical([52062, 53111, 50667, 52062] * 5), "n": range(20)})
    encoder = TableEncoder().fit(frame)
    assert str(encoder.readings_["zip"]) == "zip: category, 3 values"
    np.testing.assert_array_equal(encoder.transform(frame.astype({"zip": "int64"})), encoder.transform(frame))
    assert encoder.transform(of(frame).rows([0]))[0, :3].tolist() == [0, 1, 0]


def test_truth_is_one_however_it_is_spelled():
    encoder = TableEncoder().fit({"balcony": [True, False, None, True], "n": [1, 2, 3, 4]})
    assert [output.name for output in encoder.outputs][:2] == ["balcony=True", "balcony=missing"]
    for given in [True, False, None, False], ["TRUE", "false", "", "0"], [1, 0, None, 0], [1.0, 0.0, np.nan, 0.0]:
        assert encoder.transform({"balcony": given, "n": [0] * 4})[:, :2].tolist() == [[1, 0], [-1, 0], [0, 1], [-1, 0]]
    numbers = SimpleImputer().fit({"a": [0, 1, 2]})
    assert numbers.transform({"a": [True, False]})[:, 0].tolist() == [1, 0]


def test_whole_numbers_beyond_float64_are_names():
    ids = np.arange(20) % 4 + 2**60
    encoder = TableEncoder().fit({"id": ids, "n": np.arange(20.0)})
    assert str(encoder.readings_["id"]) == "id: category, 4 values"


def test_columns_may_be_asked_to_be_something():
    x = mixed() | {"code": [f"{i % 4}" for i in range(60)]}
    encoder = fitted(x, category=["code", "rooms"], drop=["price"], id=["built"], numeric=["flat_id"])
    kinds = {name: reading.kind for name, reading in encoder.readings_.items()}
    assert kinds["code"] == kinds["rooms"] == "category" and kinds["flat_id"] == "number"
    assert kinds["price"] == kinds["built"] == "dropped"
    with pytest.raises(ValueError, match=r"date: expected one of size, rooms, .* got 'bilt'; did you mean 'built'"):
        TableEncoder(date=["bilt"]).fit(mixed())
    with pytest.raises(ValueError, match="drop: expected a column in one option, got 'size' in numeric too"):
        TableEncoder(numeric=["size"], drop=["size"]).fit(mixed())


def test_text_of_many_values_is_left_out_with_a_warning_or_its_most_frequent_values_kept():
    rng = np.random.default_rng(0)
    even = {"a": [f"n{i % 900}" for i in range(2700)], "b": rng.normal(size=2700)}
    with pytest.warns(UserWarning, match="a: dropped, text with too many values, 900, the 256 most frequent in 768 of"):
        TableEncoder().fit(even)
    few = {"a": ["n0"] * 2000 + [f"n{i}" for i in range(700)], "b": rng.normal(size=2700)}
    encoder = TableEncoder(max_categories=300).fit(few)
    assert encoder.features_[0].width == 300


@pytest.mark.parametrize("options", [{}, {"scaler": None, "dtype": "float64"}, {"categories": "index", "max_onehot": 2},
                                     {"scaler": "standard"}])  # fmt: skip
def test_an_encoder_travels_in_a_model_file(options, tmp_path):
    with pytest.warns(UserWarning, match="text is left out"):
        encoder = TableEncoder(**options).fit(mixed(), np.arange(60.0))
    net = bp.Sequential([bp.Dense(len(encoder.outputs), 1)], rng=0)
    net.metadata["preprocessing"] = encoder.to_dict()
    net.save(tmp_path / "m.safetensors")
    again = Encoder.from_dict(bp.load(tmp_path / "m.safetensors").metadata["preprocessing"])
    assert again == encoder and again.outputs == encoder.outputs
    for given in frames().values():
        np.testing.assert_array_equal(again.transform(given), encoder.transform(mixed()))


def test_an_encoder_edited_by_hand_is_refused():
    good = TableEncoder().fit({"a": [1, 2, 3], "b": ["u", "v", "w"], "c": ["2020-01-01", "2020-02-03", ""]}).to_dict()
    assert Encoder.from_dict(good).to_dict() == good
    a, b, c = good["features"]
    edits = [
        {"name": "Table"}, {"more": 1}, {"columns": []}, {"columns": ["a", "b"]}, {"columns": ["a", "b", "c", "a"]},
        {"columns": "abc"}, {"features": []}, {"features": [a, a]}, {"features": "a"}, {"dtype": "float16"},
        {"dtype": "float32"}, *({"features": [{**a, key: value}]} for key, value in (
            ("deviation", 0), ("clip", -1.0), ("clip", float("inf")), ("fill", "x"), ("mean", None))),
        *({"features": [{**b, key: value}]} for key, value in (
            ("coding", "sign"), ("coding", "twohot"), ("coding", "target"), ("categories", ["u", "u"]))),
        *({"features": [{**c, key: value}]} for key, value in (
            ("parts", {}), ("parts", {"century": a}), ("parts", []), ("day_first", 1), ("day_first", False))),
    ]  # fmt: skip
    for edit in edits:
        with pytest.raises(ValueError, match=r"^encoder: it does not make sense: "):
            Encoder.from_dict({**good, **edit})
    for bad in None, [], "x", {}, {key: value for key, value in good.items() if key != "columns"}:
        with pytest.raises(ValueError, match=r"^encoder: it does not make sense: "):
            Encoder.from_dict(bad)


def test_options_are_looked_at():
    for options in (
        {"scaler": "minmax"}, {"binary": "two"}, {"categories": "hash"}, {"decimal": ";"}, {"max_onehot": 1},
        {"max_categories": 0}, {"flag_missing": 1}, {"dtype": "int8"}, {"numeric": "size"},
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=rf"^{next(iter(options))}: expected"):
            TableEncoder(**options)
    with pytest.raises(ValueError, match="TableEncoder: expected to be fitted first"):
        TableEncoder().transform(mixed())


def test_a_large_table_is_encoded_within_a_second():
    rng, n = np.random.default_rng(0), 50_000
    x = {f"n{i}": rng.normal(size=n) for i in range(8)} | {
        "rooms": rng.integers(1, 9, n), "town": rng.choice(["Aachen", "Bonn", "Köln"], n),
        "heating": rng.choice([f"kind {i}" for i in range(40)], n).astype(object),
        "balcony": rng.random(n) < 0.3, "sold": np.datetime64("2020-01-01") + rng.integers(0, 900, n),
        "built": (np.datetime64("1950-01-01") + rng.integers(0, 9000, n)).astype(str), "flat_id": np.arange(n),
    }  # fmt: skip
    assert len(x) == 15
    began = time.process_time()
    TableEncoder().fit_transform(x)
    assert time.process_time() - began < 1


def test_a_table_is_a_table():
    table = of({"a": [1, 2]})
    assert isinstance(table, Table) and of(table) is table and table.rows([1]).cells("a")[0] == "2"


def test_a_column_that_was_constant_becomes_0():
    scaler = RobustScaler().fit([[5.0], [5.0]])
    np.testing.assert_array_equal(scaler.transform([[5.0], [6.0], [-1e300], [np.nan]])[:, 0], [0, 0, 0, np.nan])


def test_periods_and_times_are_dates():
    pandas = pytest.importorskip("pandas")
    times = [datetime.time(hour % 24) for hour in range(30)]
    table = {"month": pandas.period_range("2020-01", periods=30, freq="M"), "time": times}
    encoder = TableEncoder().fit(pandas.DataFrame(table))
    assert [str(reading) for reading in encoder.readings_.values()] == ["month: date", "time: date"]
