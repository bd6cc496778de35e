"""Cells: numbers are read as they were meant, whoever wrote them; what is none is not taken for one."""

import time
from itertools import product

import numpy as np
import pytest

from backprop.tables.cells import PLAIN, Style, Survey, digits, is_date, is_missing

MARKS = [(".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'")]
UNITS = ["{}", "${}", "$ {}", "{} €", "{}€", "{} EUR", "USD {}", "US${}", "{}%", "{} %", "{} kg", "{}km/h", "{} m²"]


def spelled(value: float, decimal: str, thousands: str, places: int) -> str:
    marks = str.maketrans({",": thousands, ".": decimal})
    return f"{value:,.{places}f}".translate(marks)


@pytest.mark.parametrize(("marks", "unit"), list(product(MARKS, UNITS)))
@pytest.mark.parametrize("places", [0, 2])
def test_numbers_of_any_country_and_unit(marks: tuple[str, str], unit: str, places: int) -> None:
    values = np.random.default_rng(0).uniform(-2e6, 2e6, 50).round(places)
    values[:2] = 0, 12_345_678
    cells = [unit.format(spelled(value, *marks, places)) for value in values]
    survey = Survey(cells)
    assert survey.is_numeric and not survey.doubtful
    assert [survey.style().number(cell) for cell in cells] == values.tolist()
    if marks[1] or places:
        assert survey.style().decimal == marks[0] or not places
        assert str(survey.style()) or marks == (".", "")


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        ("1", "1"), ("+1", "1"), ("-1", "-1"), ("\u22121", "-1"), ("(1)", "-1"), ("1e3", "1000"), ("1E-3", "0.001"),
        (".5", "0.5"), ("5.", "5"), ("1\u00a0234", "1234"), ("1\u202f234,5", "1234.5"), ("1\u2019234", "1234"),
        ("12,34,567", "1234567"), ("1,00,000.5", "100000.5"), ("-$5", "-5"), ("$-5", "-5"), ("($5)", "-5"),
        ("\uff11\uff12", "12"), ("\u0661\u0662", "12"), ("2.5e-3", "0.0025"), ("0,001", "0.001"), ("3 %", "3"),
        ("9007199254740991", "9007199254740991"), ("007", "7"),
    ],
)  # fmt: skip
def test_one_number(cell: str, plain: str) -> None:
    survey = Survey([cell])
    number = survey.style().number(cell)
    assert survey.is_numeric and number is not None and digits(number) == plain


@pytest.mark.parametrize(
    "cell",
    ["", "a", "1_000", "1,23,4", "1.2.3", "12 34", "--1", "+-1", "-(1)", "0x10", "1/2", "1-2", "$", "%", "A1", "Q3",
     "1;2", "1,2,3", "..", "2020-01-31", "12:30", "$5%", "1 2 3", "\u00bd", "TRUE", "9007199254740993", "1st floor", "5\u00b2", "10\u00b2", "\u2167"],
)  # fmt: skip
def test_no_number(cell: str) -> None:
    assert not Survey([cell, cell]).is_numeric


@pytest.mark.parametrize(
    ("cells", "other"),
    [("1.234 5.678", [1234.0, 5678.0]), ("1,234 5,678", [1234.0, 5678.0]), ("12.345 7", [12345.0, 7.0])],
)
def test_doubt_is_known_and_the_decimal_mark_ends_it(cells: str, other: list[float]) -> None:
    survey = Survey(cells.split())
    first = survey.style()
    assert survey.doubtful and survey.decimal is None and first.decimal == ("," if "," in cells else ".")
    second = survey.style("," if first.decimal == "." else ".")
    assert [second.number(cell) for cell in cells.split()] == other
    assert [first.number(cell) for cell in cells.split()] == [
        number / 1000 if number > 999 else number for number in other
    ]


@pytest.mark.parametrize(
    ("cells", "decimal"),
    [("1.234 0.5", "."), ("1,234 0,5", ","), ("1.234 1.234.567", ","), ("1,234 1,234,567", "."), ("0.123 1.234", "."),
     ("1.234,5 1.234", ","), ("1.2345 1.234", "."), ("1234.567 1.234", "."), ("1 2", None), ("a b", None)],
)  # fmt: skip
def test_all_cells_of_a_column_decide(cells: str, decimal: str | None) -> None:
    survey = Survey(cells.split())
    assert survey.decimal == decimal and not survey.doubtful


@pytest.mark.parametrize(
    ("cells", "unread"),
    [
        ("5% 3% 0.5", "0.5"), ("5 3 50%", "50%"), ("$5 $6 €7", "€7"), ("5 6 12 kg", "12 kg"), ("1.5 2.5 3,5", "3,5"),
        ("1.5 2.5 inf", ""), ("5 6 n", "n"),
    ],
)  # fmt: skip
def test_a_cell_of_another_kind_is_not_read(cells: str, unread: str) -> None:
    kept = cells.replace("12 kg", "12_kg").split()
    column = [cell.replace("_", " ") for cell in kept]
    survey = Survey(column)
    style = survey.style()
    assert survey.is_numeric and [cell for cell in column if style.number(cell) is None] == ([unread] if unread else [])


@pytest.mark.parametrize("cells", ["1st 2nd 3rd", "4wd 2wd awd", "12kg 13lb", "3d 2d x", "1a 2b"])
def test_a_word_behind_a_number_is_a_unit_only_if_all_have_it(cells: str) -> None:
    assert not Survey(cells.split()).is_numeric


@pytest.mark.parametrize(
    "piece", ["(", " ", "1", "1 ", "1,", ",123", "- ", "$", "1$", "a", "1a", "1e", "2020-", "jan ", "0", "%"]
)
@pytest.mark.parametrize(
    "end", ["", pytest.param("x", marks=pytest.mark.slow), "!", pytest.param(")", marks=pytest.mark.slow)]
)
def test_a_long_cell_is_looked_at_in_no_time(piece: str, end: str) -> None:
    for start in "", "(", "1", "$":
        begin = time.process_time()
        survey = Survey([start + piece * (20_000 // len(piece)) + end] * 2)
        assert survey.is_numeric in (True, False) and survey.are_dates in (True, False) and survey.style()
        assert time.process_time() - begin < 1  # some hundredths


def test_whole_numbers_that_a_float_cannot_tell_apart_are_texts() -> None:
    first = 2**53
    assert not Survey([str(first + i) for i in range(20)]).is_numeric
    assert Survey([str(first + i) for i in range(20)]).are_names
    assert Survey([str(first - i) for i in range(20)]).is_numeric
    assert Survey([str(10**22)] * 2).is_numeric  # a float64 is that very number


MISSES = ["", "?", "NA", "na", "N/A", "n/a", "n.a.", "#N/A", "<NA>", "NaN", "nan", "null", "NULL"]


@pytest.mark.parametrize("cell", MISSES)
def test_missing(cell: str) -> None:
    assert is_missing(cell) and is_missing(cell, number=True)
    assert Survey([cell, "1"]).is_numeric and PLAIN.number(cell) is None


@pytest.mark.parametrize("cell", ["None", "none", "unknown", "Missing", "-", "--", "–", "."])
def test_missing_where_numbers_are_expected(cell: str) -> None:
    assert not is_missing(cell) and is_missing(cell, number=True)


@pytest.mark.parametrize(
    "cell",
    ["2020-01-31", "2020/01/31", "2020-01-31 12:30", "2020-01-31T12:30:00Z", "2020-01-31T12:30:00.123+02:00", "31.12.2020",
     "12/31/2020", "1/2/20", "2020-01", "31 Jan 2020", "31-Jan-20", "Jan 31, 2020", "January 2020", "12:30", "12:30:59",
     "1:30 pm"],
)  # fmt: skip
def test_dates(cell: str) -> None:
    assert is_date(cell) and not Survey([cell]).is_numeric


@pytest.mark.parametrize("cell", ["2020", "1.5", "may", "1-2", "192.168.1.1", "12:3", "2020-1-31-5", "a 2020-01-31"])
def test_no_dates(cell: str) -> None:
    assert not is_date(cell)


@pytest.mark.parametrize(
    "given",
    [("", ""), (".", "."), (",", ","), (";", ""), (".", "_"), (".", "", "1"), (".", "", "a b"), (".", "", " kg"),
     (".", "", "x" * 20), (".", "", "-"), (".", "", 7), (None, "")],
)  # fmt: skip
def test_a_style_that_is_none(given: tuple[str, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Style(*given)


@pytest.mark.parametrize(("number", "text"), [(1.0, "1"), (250000000.0, "250000000"), (0.1, "0.1"), (1e22, "1e+22")])
def test_digits(number: float, text: str) -> None:
    assert digits(number) == text and float(text) == number
