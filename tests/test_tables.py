"""Tables: what is read is what stands in the file, what is wrong with it is said with row and column."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backprop import tables
from backprop.tables import Number, Recipe, Style, Table, Text

PEOPLE = "age,city,income\n30,Oslo,3\n40,Rome,5\n50,Oslo,7\n60,Bern,9.5\n"

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "t.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def learn(table: Table, target: str) -> Recipe:
    return Recipe.learn(table, target, np.arange(len(table)))


# Reading


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\n1,x\n2,y",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y\r",
        "\ufeffa,b\n1,x\n2,y\n",
        '"a","b"\n"1","x"\n"2","y"\n',
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        " a , b\n 1,x \n2, y\n",
        "\na,b\n\n1,x\n\n2,y\n\n",
    ],
    ids=["plain", "no-end", "crlf", "cr", "bom", "quotes", "semicolons", "tabs", "white-space", "blank-lines"],
)
def test_one_table_in_many_spellings(write: Write, content: str) -> None:
    assert tables.read(write(content)).columns == {"a": ("1", "2"), "b": ("x", "y")}


def test_cells_may_hold_delimiters_quotes_lines_and_any_script(write: Write) -> None:
    table = tables.read(write('"a;b;c",größe\n"x,\ny""z",漢\nlast,1\n'))
    assert table.columns == {"a;b;c": ('x,\ny"z', "last"), "größe": ("漢", "1")}
    assert table.lines == [2, 4]  # the first row has two lines


NO_TABLES = [
    ("", "t.csv: expected a header and rows, got an empty file"),
    ("\n\r\n", "t.csv: expected a header and rows, got an empty file"),
    ("\ufeff", "t.csv: expected a header and rows, got an empty file"),
    ("a,b\n", "t.csv: expected rows beneath the header, got none"),
    ("1,2.5\n3,4\n", "t.csv, row 1: expected a header of column names, got only numbers: if it is data, read the file"),
    ("1,x\n2,y\n3,x\n", "t.csv, row 1: expected a header of column names, got what looks like data, ['1', 'x']"),
    ("u,x\nu,y\nv,x\n", "t.csv, row 1: expected a header of column names, got what looks like data, ['u', 'x']"),
    ("a,,c\n1,2,3\n", "t.csv, row 1, column 2: expected a name of its own, got an empty cell"),
    ("\na,b, a\n1,2,3\n", "t.csv, row 2, column 3: expected a name of its own, got 'a' a second time"),
    ("a,b\n1,2\n3\n", "t.csv, row 3: expected 2 cells, as in the header, got 1"),
    ("a,b\n1,2\n\n3,4,\n", "t.csv, row 4: expected 2 cells, as in the header, got 3"),
    ('a,b\n1,"2\n', "t.csv, row 2: expected CSV: unexpected end of data"),
    ('a,b\n1,"2"3\n', "t.csv, row 2: expected CSV: ',' expected after '\"'"),
    ("a,b\n1,2\n3," + "9" * 200_000, "t.csv, row 3: expected CSV: field larger than field limit (131072)"),
    ("a" * 200_000, "t.csv, row 1: expected CSV: field larger than field limit (131072)"),
    (b"a,b\n1,\xe9\n", "t.csv, row 2: expected UTF-8, got the byte 0xe9"),
    (b"\xef\xbb\xbfa,b\n1,2\n3,\xe9\n", "t.csv, row 3: expected UTF-8, got the byte 0xe9"),
    ("a,b\n1,2\n".encode("utf-16"), "t.csv, row 1: expected UTF-8, got the byte 0xff"),
    ("a,b\n1,2\n3,\0\n", "t.csv, row 3: expected text, got a NUL byte"),
    (gzip.compress(b"a,b\n1,2\n"), "t.csv: expected a CSV file, got one packed by gzip: unpack it first"),
    (b"PK\x03\x04\x14\0", "t.csv: expected a CSV file, got a spreadsheet or an archive: save the table as CSV,"),
]


@pytest.mark.parametrize(("content", "message"), NO_TABLES, ids=range(len(NO_TABLES)))
def test_files_that_are_no_table(write: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        tables.read(write(content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Learning a recipe


def test_numbers_are_standardised_and_texts_one_hot(write: Write) -> None:
    table = tables.read(write(PEOPLE))
    recipe = learn(table, "income")
    ages = (np.array([30, 40, 50, 60]) - 45) / np.sqrt(125)
    cities = [[0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]  # Bern, Oslo, Rome
    x = recipe.x(table)
    assert x.dtype == np.float32 and x.shape == (4, recipe.n_in)
    np.testing.assert_allclose(x, np.column_stack([ages, cities]), rtol=1e-6)
    assert isinstance(recipe.target, Number)
    encoded = recipe.target.encode(table)
    np.testing.assert_allclose([encoded.mean(), encoded.std()], [0, 1], atol=1e-6)
    np.testing.assert_allclose(recipe.target.decode(encoded[:, 0]), [3, 5, 7, 9.5], rtol=1e-6)


def test_scales_are_those_of_the_rows_given_and_categories_those_of_all(write: Write) -> None:
    recipe = Recipe.learn(tables.read(write(PEOPLE)), "income", np.array([0, 1]))
    assert recipe.inputs == [Number("age", 35.0, 5.0), Text("city", ["Bern", "Oslo", "Rome"])]
    assert recipe.target == Number("income", 4.0, 1.0)


@pytest.mark.parametrize("cells", [["0.1"] * 3, ["7"] * 3, ["0", "0", "5e-324"]])
def test_a_constant_column_is_not_divided_by_zero(write: Write, cells: list[str]) -> None:
    table = tables.read(write("a,y\n" + "".join(f"{cell},{i}.5\n" for i, cell in enumerate(cells))))
    recipe = learn(table, "y")
    assert recipe.inputs[0].deviation == 1.0  # type: ignore[union-attr]
    assert abs(recipe.x(table)).max() < 1e-9


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        ("b a b a", ["a", "b"]),
        ("10 9 10 9", ["9", "10"]),  # in the order of numbers
        ("1.0 0 1 -0", ["0", "1"]),  # by value, not by spelling
        ("1 2 3 1 2 3", ["1", "2", "3"]),
        ("x 1 x 1", ["1", "x"]),
        ("1 2 3 4", None),  # each once: amounts
        ("1.5 2 1.5 2", None),
        (" ".join(map(str, [*range(10)] * 2)), [str(i) for i in range(10)]),
        (" ".join(map(str, [*range(11)] * 2)), None),
    ],
)
def test_which_targets_are_classes(write: Write, cells: str, classes: list[str] | None) -> None:
    table = tables.read(write("a,y\n" + "".join(f"1,{cell}\n" for cell in cells.split())))
    found, y = table.target("y")
    assert found == classes
    assert (learn(table, "y").target == Text("y", classes)) if classes else isinstance(learn(table, "y").target, Number)
    if classes and classes[0] == "0" and len(classes) == 2:
        assert y.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        (PEOPLE, "incme", "t.csv: it has age, city, income; did you mean 'income'?"),
        ("y\n1\n2\n", "y", "t.csv: expected at least one column beside the target 'y'"),
        ("a,y\n1,1\nx,2\n3,3\n", "y", "t.csv, row 3, column 'a': expected a finite number, got 'x'"),
        ("a,y\n1,1\n2,\n3,3\n", "y", "t.csv, row 3, column 'y': expected a value, got an empty cell"),
        ("a,y\n1,1\n2,nan\n3,3\n", "y", "t.csv, row 3, column 'y': expected a finite number, got 'nan'"),
        (
            "a,y\n,1\n,2\n?,3\n",
            "y",
            "t.csv: expected at least one column beside the target 'y', got 'a: dropped, empty'",
        ),
        ("a,y\n12,1\n13,2\n9%,3\n", "y", "t.csv, row 4, column 'a': expected a finite number, got '9%'"),
        ("a,y\n$1,1\n$2,2\n€3,3\n", "y", "t.csv, row 4, column 'a': expected a finite number ($ taken off), got '€3'"),
        ("a,y\n1%,1\n2%,2\n0.3,3\n", "y", "row 4, column 'a': expected a finite number (% taken off), got '0.3'"),
        ("a;y\n1,5;1\n2,5;2\n0.3;3\n", "y", "row 4, column 'a': expected a finite number (decimal comma), got '0.3'"),
        (
            "a,y\n" + "".join(f"1,n{i}\n" for i in range(10)),
            "y",
            "expected numbers or classes to predict, got 10 different",
        ),
        (
            "a,y\n1,2020-01-01\n2,2020-01-01\n",
            "y",
            "t.csv, column 'y': expected numbers or classes to predict, got dates",
        ),
        ("a,y\n1,1\n2,-inf\n3,3\n", "y", "t.csv, row 3, column 'y': expected a finite number, got '-inf'"),
        ("a,y\n1,1\n2,2\n1e999,3\n", "y", "t.csv, row 4, column 'a': expected a finite number, got '1e999'"),
        ("a,y\n1,1\n2,2\n1_0,3\n", "y", "t.csv, row 4, column 'a': expected a finite number, got '1_0'"),
        ('a,y\n"1\n",1\n2,2\nx,3\n', "y", "t.csv, row 5, column 'a': expected a finite number, got 'x'"),
        ("a,y\n1,1\n2,2\n-1e200,3\n", "y", "t.csv, row 4, column 'a': expected a smaller number, got -1e+200"),
        ("a,y\n1,u\n2,u\n", "y", "t.csv, column 'y': expected at least 2 classes, and fewer than the 2 rows, got 1"),
        ("a,y\n1,u\n2,v\n", "y", "t.csv, column 'y': expected at least 2 classes, and fewer than the 2 rows, got 2"),
        (
            "a,y\n1,0.5\n2,0.5\n",
            "y",
            "t.csv, column 'y': expected at least 2 classes, and fewer than the 2 rows, got 1",
        ),
        (
            "a,y\n" + "".join(f"n{i},{i}\n" for i in range(257)),
            "y",
            "t.csv: expected at least one column beside the target 'y', got 'a: dropped",
        ),
    ],
)
def test_tables_that_teach_nothing(write: Write, content: str, target: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        learn(tables.read(write(content)), target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Using it on another table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age\n30\n", "t.csv: expected the columns of the training, got no ['city'] in ['age']"),
        ("city,age\nOslo,old\n", "row 2, column 'age': expected a finite number, got 'old'"),
        ("city,age\nOslo,1\nOslo,1e300\n", "row 3, column 'age': expected a number near 45, got 1e+300"),
    ],
)
def test_tables_that_do_not_fit(write: Write, content: str, message: str) -> None:
    recipe = learn(tables.read(write(PEOPLE)), "income")
    with pytest.raises(ValueError) as caught:
        recipe.x(tables.read(write(content)))
    assert message in str(caught.value)


def test_columns_are_found_by_name(write: Write) -> None:
    table = tables.read(write(PEOPLE))
    recipe = learn(table, "income")
    other = tables.read(write("more;city;age\nx;Oslo;30\nx;Rome;40\nx;Oslo;50\nx;Bern;60\n"))
    np.testing.assert_array_equal(recipe.x(other), recipe.x(table))


def test_an_unknown_word_is_none_of_the_categories_and_is_said(write: Write) -> None:
    recipe = learn(tables.read(write(PEOPLE)), "income")
    table = tables.read(write("city,age\nOslo,45\nParis,45\n,45\nRome,\n"))
    np.testing.assert_array_equal(recipe.x(table), [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert recipe.remarks(table) == [
        "age: 1 of 4 cells missing, taken as the mean",
        "city: 2 of 4 cells unknown in training, such as 'Paris'",
    ]


def test_missing_cells_have_the_mean_and_a_flag_or_a_category(write: Write) -> None:
    content = "age,city,y\n1,a,1\n3,b,2\nNA,?,3\n,,4.5\n"
    table = tables.read(write(content))
    recipe = learn(table, "y")
    assert recipe.inputs == [Number("age", 2.0, 1.0, missing=True), Text("city", ["a", "b"], missing=True)]
    assert recipe.features == ["age", "age=missing", "city=a", "city=b", "city=missing"]
    assert len(recipe.features) == recipe.n_in
    assert recipe.n_in == 5 and recipe.remarks(table) == []
    np.testing.assert_array_equal(
        recipe.x(table), [[-1, 0, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1], [0, 1, 0, 0, 1]]
    )
    others = Recipe.learn(table, "y", np.array([0, 1]))  # where none is missing, there is no flag to learn
    np.testing.assert_array_equal(others.x(table), [[-1, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]])
    assert Recipe.learn(table, "y", np.array([2, 3])).inputs[0] == Number("age", 2.0, 1.0, missing=True)


def test_the_most_frequent_categories_where_there_are_too_many(write: Write) -> None:
    rows = [f"n{i % 300},{i}.5\n" for i in range(900)] + ["n299,1.5\n"]
    table = tables.read(write("a,y\n" + "".join(rows)))
    assert str(tables.readings(table, "y")["a"]) == "a: category, 300 values, all but the 256 most frequent as one"
    column = learn(table, "y").inputs[0]
    assert isinstance(column, Text) and column.width == 256 and "n299" in column.categories
    assert column.encode(table).sum(axis=1).min() == 0


def test_numbers_as_categories_are_known_with_and_without_decimals(write: Write) -> None:
    recipe = Text("a", ["1", "2.0", "v1"])
    table = tables.read(write("a,b\n1.0,0\n1,0\n2,0\n3,0\nv1.0,0\n"))
    assert recipe.encode(table).argmax(axis=1)[:3].tolist() == [0, 0, 1] and not recipe.encode(table)[3:].any()


# How columns are read


VALUES = np.random.default_rng(3).uniform(1, 5000, 40).round(2)


def comma(text: str) -> str:
    return text.translate(str.maketrans(",.", ".,"))


COLUMNS: dict[str, tuple[Callable[[float], str], str]] = {
    "plain": (str, "number"),
    "decimal comma": (lambda v: comma(str(v)), "number, decimal comma"),
    "German": (lambda v: comma(f"{v:,.2f}"), "number, decimal comma, points between thousands"),
    "American": (lambda v: f"{v:,.2f}", "number, commas between thousands"),
    "French": (lambda v: comma(f"{v:,.2f}").replace(".", "\u202f"), "number, decimal comma, spaces between thousands"),
    "Swiss": (lambda v: f"{v:,.2f}".replace(",", "’"), "number, apostrophes between thousands"),
    "dollars": (lambda v: f"${v:,.2f}", "number, commas between thousands, $ taken off"),
    "euros": (lambda v: comma(f"{v:,.2f} €"), "number, decimal comma, points between thousands, € taken off"),
    "code of a currency": (lambda v: f"{v} CHF", "number, CHF taken off"),
    "percent": (lambda v: f"{v}%", "number, % taken off"),
    "unit": (lambda v: f"{v} kg", "number, kg taken off"),
    "plus": (lambda v: f"+{v}", "number"),
    "books": (lambda v: f"({v})", "number, parentheses as minus"),
    "exponent": (lambda v: f"{v:.6e}", "number"),
    "full width": (lambda v: str(v).translate(str.maketrans("0123456789", "０１２３４５６７８９")), "number"),
}  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("kind", COLUMNS)
def test_numbers_as_people_write_them_in_training_and_after(write: Write, kind: str, delimiter: str) -> None:
    spell, said = COLUMNS[kind]
    sign = -1 if kind == "books" else 1

    def table_of(header: str, values: np.ndarray[Any, Any]) -> Table:
        lines = [f'"{spell(value)}"{delimiter}"{spell(value)}"{delimiter}u' for value in values.tolist()]
        return tables.read(write("\n".join([delimiter.join(header), *lines])))

    table = table_of("xyu", VALUES)
    assert str(tables.readings(table, "y")["x"]) == f"x: {said}"
    recipe = Recipe.from_dict(json.loads(json.dumps(learn(table, "y").to_dict())))
    few = table_of("xyu", VALUES[:3])  # which alone could be read in another way
    expected = sign * (VALUES[:3] - VALUES.mean()) / VALUES.std()
    np.testing.assert_allclose(recipe.x(few)[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert isinstance(recipe.target, Number)
    np.testing.assert_allclose(recipe.target.decode(recipe.target.encode(few))[:, 0], sign * VALUES[:3], rtol=1e-6)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([f"A{i}" for i in range(20)], "dropped, identifier, 20 different values in 20 rows (--category c keeps it)"),
        ([f"A{i % 18}" for i in range(20)], "dropped, identifier, 18 different values in 20 rows (--category c keeps it)"),
        ([f"A{i % 10}" for i in range(20)], "category, 10 values"),
        ([f"2020-01-{1 + i % 4:02}" for i in range(20)], "date"),
        ([f"{i % 12}:30" for i in range(20)], "date"),
        ([f"{1 + i % 4:02}.{1 + i % 12:02}.2020" for i in range(20)], "date, day first"),
        ([f"{1 + i % 4}/{1 + i % 12}/2020" for i in range(20)], "date, 1/5/2020 taken as month first"),
        ([f"{13 + i % 4}/{1 + i % 12}/2020" for i in range(20)], "date, day first"),
        ([f"2020010{1 + i % 8}" for i in range(20)], "date"),
        (["7"] * 20, "dropped, constant"),
        (["u"] * 20, "dropped, constant"),
        (["u"] * 19 + [""], "category, 1 values, 1 of 20 cells missing"),
        ([f"one of {i} kinds of text" for i in range(20)], "dropped, free text, 20 different values in 20 rows (--category c keeps it)"),
        (["true", "False"] * 10, "category, 2 values"),
        (["yes", "no", "", "no"] * 5, "category, 2 values, 5 of 20 cells missing"),
        (["1", "2", "", "?"] * 5, "number, 10 of 20 cells missing"),
        (["1", "2", "-", "None"] * 5, "number, 10 of 20 cells missing"),
        ([""] * 20, "dropped, empty"),
        ([f"{i % 3:03}" for i in range(20)], "category, 3 values, with leading zeros (--numeric c reads numbers)"),
        ([f"{i:03}" for i in range(20)], "number, with leading zeros (--category c, if it is a code)"),
        ([str(2**60 + i) for i in range(20)], "dropped, identifier, 20 different values in 20 rows (--category c keeps it)"),
        ([str(2**60 + i % 3) for i in range(20)], "category, 3 values"),
        (["1,234", "5,678"] * 10, "number, commas between thousands, 1,234 could be two numbers: taken as 1234, "
                                  "with --decimal , as 1.234"),
        (["1.234", "5.678"] * 10, "number, 1.234 could be two numbers: taken as 1.234, with --decimal , as 1234"),
        (["1st", "2nd"] * 10, "category, 2 values"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_column(write: Write, cells: list[str], said: str) -> None:
    table = tables.read(write("c,d,y\n" + "".join(f'"{cell}",{"uvw"[i % 3]},{i}\n' for i, cell in enumerate(cells))))
    assert str(tables.readings(table, "y")["c"]) == f"c: {said}"


@pytest.mark.parametrize(
    "name", ["id", "ID", "Id", "row_id", "PassengerId", "customerID", "index", "uuid", "Unnamed: 0"]
)
def test_a_column_that_numbers_the_rows_is_dropped(write: Write, name: str) -> None:
    table = tables.read(write(f"{name},y\n" + "".join(f"{i},{i}.5\n" for i in range(20))))
    assert tables.readings(table, "y")[name].kind == "dropped"
    assert tables.readings(table, "y", numeric=[name])[name].kind == "number"
    table = tables.read(write(f"{name},y\n" + "".join(f"{i // 2},{i}.5\n" for i in range(20))))
    assert tables.readings(table, "y")[name].kind == "number"


@pytest.mark.parametrize("name", ["x", "grid", "humid", "valid", "idea", "uv index value", "paid"])
def test_a_column_of_different_whole_numbers_is_none(write: Write, name: str) -> None:
    table = tables.read(write(f"{name},y\n" + "".join(f"{i},{i}.5\n" for i in range(20))))
    assert tables.readings(table, "y")[name].kind == "number"


@pytest.mark.parametrize(
    ("delimiter", "others", "comma", "point"),
    [(",", "x", 1234, 1.234), (";", "x", 1.234, 1.234), ("\t", "x", 1234, 1.234), (",", "0,5", 1.234, 1234),
     (";", "0.5", 1234, 1.234), (";", "1.234,5", 1.234, 1234), (",", "1,234.5", 1234, 1.234)],
)  # fmt: skip
def test_the_other_columns_end_a_doubt(write: Write, delimiter: str, others: str, comma: float, point: float) -> None:
    rows = [["a", "b", "c", "y"], *[["1,234", "1.234", others, f"{i}"] for i in range(20)]]
    table = tables.read(write("\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)))
    how = tables.readings(table, "y")
    assert [how["a"].style.number("1,234"), how["b"].style.number("1.234")] == [comma, point]
    assert ("could be" in str(how["a"])) == (others == "x")
    for mark, expected in (".", [1234, 1.234]), (",", [1.234, 1234]):
        how = tables.readings(table, "y", decimal=mark)
        assert [how["a"].style.number("1,234"), how["b"].style.number("1.234")] == expected


OPTIONS = "n,t,y,z\n1,u,1,1.5\n2,v,2,2.5\n1,u,1,3\n2,v,2,4\n"


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("y", {}, "y: target, 2 classes (1, 2), --task regression would predict a number"),
        ("y", {"task": "classification"}, "y: target, 2 classes (1, 2)"),
        ("y", {"category": ["y"]}, "y: target, 2 classes (1, 2)"),
        ("y", {"task": "regression"}, "y: target, number"),
        ("y", {"numeric": ["y"]}, "y: target, number"),
        ("y", {"category": ["n"]}, "n: category, 2 values"),
        ("y", {"drop": ["n", "t"]}, "t: dropped, as asked"),
        ("z", {}, "z: target, number"),
        ("t", {}, "t: target, 2 classes (u, v)"),
    ],
)
def test_options_for_columns(write: Write, target: str, options: dict[str, Any], said: str) -> None:
    how = tables.readings(tables.read(write(OPTIONS)), target, **options)
    assert str(how[said.partition(":")[0]]) == said


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("y", {"numeric": ["m"]}, "--numeric: expected one of n, t, y, z, got 'm'"),
        ("y", {"drop": ["y"]}, "--drop: expected a column beside the target, got 'y'"),
        ("y", {"drop": ["n"], "numeric": ["n"]}, "--drop: expected a column in one option, got 'n' in --numeric too"),
        ("y", {"numeric": ["y"], "task": "classification"}, "got 'y' with --task classification"),
        ("t", {"task": "regression"}, "row 2, column 't': expected a finite number, got 'u'"),
        ("z", {"task": "classification"}, "expected at least 2 classes, and fewer than the 4 rows, got 4"),
    ],
)
def test_options_that_do_not_fit(write: Write, target: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        tables.readings(tables.read(write(OPTIONS)), target, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        ("1.0 2.0 1.0 2.0", ["1.0", "2.0"]),
        ("01 02 01 02", ["01", "02"]),
        ("01 1 2 02", ["1", "2"]),
        ("1e22 2e22 1e22 2e22", ["1e22", "2e22"]),
        ("9007199254740993 9007199254740992 9007199254740993 7", ["7", "9007199254740992", "9007199254740993"]),
        ("-1 1 -1 1", ["-1", "1"]),
    ],
)
def test_classes_are_called_as_in_the_file(write: Write, cells: str, classes: list[str]) -> None:
    table = tables.read(write("a,y\n" + "".join(f"1,{cell}\n" for cell in cells.split())))
    found, labels = table.target("y")
    assert found == classes
    assert [int(float(found[label])) for label in labels[:2]] == [int(float(cell)) for cell in cells.split()[:2]]


# A header, or none


HEADERS = [
    ("2019,2020,y\n1.5,2.5,u\n2.5,3.5,v\n", True),
    ("2019,2020\n1.5,2.5\n2.5,3.5\n", True),
    ("2019,2020,2021\n1995,2000,2010\n2021,2020,2019\n", True),
    ("100,200\n1.5,2.5\n2.5,3.5\n", True),
    ("name,2019,2020\nu,1900,2000\nv,2018,2021\n", True),
    ("id,100\n1,99\n2,101\n", True),
    ("yes,no\n1,2\n3,4\n", True),
    ("a,b\nu,v\nv,u\n", True),
    ("3,4\n1,2\n5,6\n", False),
    ("0,0\n0,1\n1,1\n", False),
    ("1.5,2019\n2.5,2020\n3.5,2018\n", False),
    ("u,1,2019\nv,2,2020\nu,3,2018\n", False),
    ("?,1\n2,3\n4,5\n", False),
    ("p,x\np,x\ne,y\n", False),
    ("1 kg,x\n2 kg,y\n", False),
    ('"1,5";u\n"2,5";v\n', False),
]


@pytest.mark.parametrize(("content", "header"), HEADERS)
def test_a_row_of_data_is_not_taken_for_a_header(write: Write, content: str, header: bool) -> None:
    path = write(content)
    if header:
        assert tables.read(path) == tables.read(path, header=True)
    else:
        with pytest.raises(ValueError, match=r"expected a header of column names, got .*--no-header"):
            tables.read(path)
    table = tables.read(path, header=False)
    assert list(table.columns) == [str(i + 1) for i in range(len(table.columns))] and table.lines[0] == 1
    assert len(table) == content.count("\n")


def test_a_recipe_without_a_header_reads_files_without_one(write: Write) -> None:
    rows = "".join(f"{i},{'uv'[i % 2]},{i}.5,{i % 3}\n" for i in range(20))
    table = tables.read(write(rows), header=False)
    recipe = Recipe.from_dict(learn(table, "3").to_dict())
    assert recipe.columns == 4
    again = recipe.read(write(rows))
    np.testing.assert_array_equal(recipe.x(again), recipe.x(table))
    without = recipe.read(write("".join(f"{i},{'uv'[i % 2]},{i % 3}\n" for i in range(20))))
    np.testing.assert_array_equal(recipe.x(without), recipe.x(table))
    for wrong in "1,u\n", "1,u,2,3,4\n":
        with pytest.raises(ValueError, match="expected 4 columns, or 3 without the target, and no header, got"):
            recipe.read(write(wrong))


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("1,5;2,5\n3,5;4,5\n", {"1": ("1,5", "3,5"), "2": ("2,5", "4,5")}),
        ("1,5\t2\n3,5\t4\n", {"1": ("1,5", "3,5"), "2": ("2", "4")}),
        ('"u\n;v",1\nw,2\n', {"1": ("u\n;v", "w"), "2": ("1", "2")}),
        ("u;v,1\nw,2\nx,3\n", {"1": ("u;v", "w", "x"), "2": ("1", "2", "3")}),
    ],
)
def test_decimal_commas_divide_no_cells(write: Write, content: str, columns: dict[str, tuple[str, ...]]) -> None:
    assert tables.read(write(content), header=False).columns == columns


def test_one_column_is_not_divided_by_decimal_commas(write: Write) -> None:
    assert tables.read(write("size\n1,5\n2,5\n3\n")).columns == {"size": ("1,5", "2,5", "3")}


def test_commas_in_names_divide_no_cells(write: Write) -> None:
    table = tables.read(write("size, in m;price, in EUR\n1,5;2\n2,5;3\n"))
    assert table.columns == {"size, in m": ("1,5", "2,5"), "price, in EUR": ("2", "3")}


def test_rows_without_a_target_are_left_out(write: Write) -> None:
    table = tables.read(write("a,y\n1,2\n2,\n3,NA\n4,5\n5,none\n"))
    assert table.where_given("y").columns == {"a": ("1", "4"), "y": ("2", "5")}
    assert table.where_given("y").lines == [2, 5] and table.where_given("a") is table
    words = tables.read(write("a,y\n1,u\n2,?\n3,None\n"))
    assert words.where_given("y").columns["y"] == ("u", "None")
    with pytest.raises(ValueError, match="column 'y': expected a value in some rows, got none"):
        tables.read(write("a,y\n1,\n2,?\n")).where_given("y")


# Digits


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [(0.0, 1.0), (250e6, 5.0), (250e6, 1e-3), (1e-9, 1e-10), (-3.0, 1e6), (1e15, 1.0), (1e300, 1e299), (45.0, 1e-30)],
)
def test_predictions_have_the_digits_that_tell_them_apart(mean: float, deviation: float) -> None:
    column = Number("y", mean, deviation)
    rng = np.random.default_rng(0)
    outputs = np.concatenate([rng.normal(size=300), [0, 1, -1, 1e-6], np.nextafter(np.float32(1), np.float32([0, 2]))])
    encoded = np.unique(outputs.astype(np.float32))
    texts = column.written(encoded)
    numbers = np.array(texts, float)
    exact = column.decode(encoded)
    back = ((numbers - mean) / deviation).astype(np.float32) == encoded
    np.testing.assert_array_equal(numbers[~back], exact[~back])  # float64 has no more digits so far from zero
    assert len(set(texts)) == len(np.unique(exact)) and (back.mean() > 0.95 or mean / deviation > 1e10)
    assert all(len(text) <= len(repr(number)) for text, number in zip(texts, exact.tolist(), strict=True))


def test_predictions_have_no_more_digits_than_that() -> None:
    encoded = np.random.default_rng(0).normal(size=300).astype(np.float32)
    for mean, deviation in (0.0, 1.0), (3.0, 1e-3), (1e-5, 1e5), (250e6, 5e3):
        column = Number("y", mean, deviation)
        for text, output in zip(column.written(encoded), encoded, strict=True):
            value, places = float(column.decode(output)), len(text.partition("e")[0].replace(".", "").strip("-0"))
            shorter = float(f"{value:.{max(places - 1, 1)}g}")
            assert places == 1 or np.float32((shorter - mean) / deviation) != output
    assert Number("y", 0.0, 1.0).written(np.float32([0.1, 3, 0.25, -1e-8, 1e20])) == [
        "0.1",
        "3",
        "0.25",
        "-1e-08",
        "1e+20",
    ]
    assert Number("y", 10.0, 10.0).written(np.float32([-1, -0.9, 0.12])) == ["0", "1", "11.2"]


# As JSON

NUMBER = {"name": "a", "mean": 1.5, "deviation": 2.0}
TEXT = {"name": "b", "categories": ["u", "v"]}


def test_a_recipe_survives_json(write: Write) -> None:
    for target in "income", "city":
        recipe = learn(tables.read(write(PEOPLE)), target)
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "inputs",
        {},
        {"inputs": [NUMBER]},
        {"inputs": [], "target": TEXT},
        {"inputs": NUMBER, "target": TEXT},
        {"inputs": [NUMBER], "target": [TEXT]},
        {"inputs": [NUMBER], "target": NUMBER},
        {"inputs": [NUMBER, NUMBER], "target": TEXT},
        {"inputs": [NUMBER], "target": TEXT, "more": 1},
        *({"inputs": [NUMBER], "target": TEXT, "columns": n} for n in (0, -1, 1, 2, "2", True, 1.5, 2**70, None)),
        *(
            {"inputs": [entry], "target": TEXT}
            for entry in (
                None,
                "a",
                ["name", "mean", "deviation"],
                {"name": "a"},
                {"name": "a", "mean": 0.0},
                {**NUMBER, "more": 1},
                {**NUMBER, "categories": ["x"]},
                {**NUMBER, "name": ""},
                {**NUMBER, "name": 7},
                {**NUMBER, "mean": "0"},
                {**NUMBER, "mean": True},
                {**NUMBER, "mean": float("nan")},
                {**NUMBER, "mean": 10**400},
                {**NUMBER, "deviation": 0},
                {**NUMBER, "deviation": -1.0},
                {**NUMBER, "deviation": float("inf")},
                {**NUMBER, "decimal": "."},
                {**NUMBER, "decimal": ";"},
                {**NUMBER, "decimal": ["."]},
                {**NUMBER, "decimal": None},
                {**NUMBER, "thousands": "."},
                {**NUMBER, "thousands": "_"},
                {**NUMBER, "decimal": ",", "thousands": ","},
                {**NUMBER, "unit": ""},
                {**NUMBER, "unit": 5},
                {**NUMBER, "unit": "a b"},
                {**NUMBER, "unit": "k" * 1000},
                {**NUMBER, "missing": False},
                {**NUMBER, "missing": 1},
                {"name": "c", "categories": ["u", "v"], "missing": False},
                {"name": "c", "categories": ["u", "v"], "missing": "yes"},
                {"name": "c", "categories": []},
                {"name": "c", "categories": "uv"},
                {"name": "c", "categories": 3},
                {"name": "c", "categories": ["u", "u"]},
                {"name": "c", "categories": ["u", 1]},
                {"name": "c", "categories": ["u", ["v"]]},
                {"name": "c", "categories": {"u": 1}},
            )
        ),
    ],
)
def test_a_recipe_edited_by_hand_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^recipe: it does not make sense: "):
        Recipe.from_dict(given)


def test_the_recipe_those_edits_start_from_is_accepted() -> None:
    assert Recipe.from_dict({"inputs": [NUMBER], "target": TEXT}).n_in == 1
    more = {**NUMBER, "decimal": ",", "thousands": ".", "unit": "EUR", "missing": True}
    recipe = Recipe.from_dict({"inputs": [more, {**TEXT, "missing": True}], "target": {**NUMBER, "name": "c"}})
    assert recipe.n_in == 5 and recipe.inputs[0] == Number("a", 1.5, 2.0, Style(",", ".", "EUR"), True)


def test_a_plain_recipe_is_written_as_the_first_version_wrote_it(write: Write) -> None:
    recipe = learn(tables.read(write(PEOPLE)), "income")
    assert recipe.to_dict() == {
        "inputs": [
            {"name": "age", "mean": 45.0, "deviation": float(np.sqrt(125))},
            {"name": "city", "categories": ["Bern", "Oslo", "Rome"]},
        ],
        "target": {"name": "income", "mean": 6.125, "deviation": recipe.target.deviation},  # type: ignore[union-attr]
    }
