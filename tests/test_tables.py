"""Tables: what is read is what stands in the file, what is wrong with it is said with row and column."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backprop import tables
from backprop.tables import Number, Recipe, Table, Text

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
    ("1,2.5\n3,4\n", "t.csv, row 1: expected a header of column names, got only numbers"),
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
        (PEOPLE, "incme", "t.csv: column: expected one of age, city, income, got 'incme'; did you mean 'income'?"),
        ("y\n1\n2\n", "y", "t.csv: expected at least one column beside the target 'y'"),
        ("a,y\n1,1\nx,2\n3,3\n", "y", "t.csv, row 3, column 'a': expected a finite number, got 'x'"),
        ("a,y\n1,1\n2,\n3,3\n", "y", "t.csv, row 3, column 'y': expected a value, got an empty cell"),
        ("a,y\n1,1\n  ,2\n3,3\n", "y", "t.csv, row 3, column 'a': expected a value, got an empty cell"),
        ("a,y\nu,1\n,2\nv,3\n", "y", "t.csv, row 3, column 'a': expected a value, got an empty cell"),
        ("a,y\n1,1\n2,2\nnan,3\n", "y", "t.csv, row 4, column 'a': expected a finite number, got 'nan'"),
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
            "t.csv, column 'a': expected numbers, or at most 256",
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
        ("age\n30\n", "t.csv: column: expected one of age, got 'city'"),
        (
            "city,age\nOslo,30\nParis,30\n",
            "row 3, column 'city': expected one of ['Bern', 'Oslo', 'Rome'], got 'Paris'",
        ),
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
