"""What the cells of a table say: numbers, in the many ways people write them; dates; or nothing.

One cell may be read in several ways ("1,234"), a column seldom: `Survey` looks at all of its cells, and `Style` is how
they are then read, in training and ever after.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from .dates import is_compact

__all__ = ["PLAIN", "Style", "Survey", "digits", "is_missing"]

#: Missing values, in whatever case; where numbers are expected, there are more.
MISSING = frozenset({"", "?", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "null"})
NO_NUMBER = MISSING | {"none", "nil", "missing", "unknown", "-", "--", "–", "—", "."}

#: Characters that are typed for others: spaces that do not break, a minus, an apostrophe, all of ASCII in full width.
_TYPED = {
    **dict.fromkeys([0xA0, 0x2007, 0x2009, 0x202F], " "),
    0x2212: "-",
    0x2019: "'",
    0x02BC: "'",
    **{0xFEE0 + code: chr(code) for code in range(0x21, 0x7F)},
}

_CURRENCY = (
    r"[A-Z]{0,3}[$€£¥¢₹₽₩₪₫₴₺₦₱฿₡₲₵₸₼₾₿]|kr\.?|zł|Kč|Ft|lei|Rs\.?|Fr\.|"
    "AED|ARS|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|ISK|JPY|KRW|MXN|MYR|NGN|NOK|NZD|"
    "PEN|PHP|PKR|PLN|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
_MONEY = re.compile(_CURRENCY)
_WRITTEN = re.compile(
    rf"(?:(?P<open>\()\s*)?(?:(?P<sign>[-+])\s*)?(?:(?P<before>{_CURRENCY})\s*)?(?:(?P<late>[-+])\s*)?"
    r"(?P<core>[0-9.,](?:[0-9.,' ]*[0-9.,])?(?:[eE][-+]?[0-9]+)?)"
    rf"(?:\s*(?P<after>{_CURRENCY}|(?:[^\W0-9_]|[%‰°])[^\s0-9]{{0,9}}[23]?))?(?(open)\s*\))"
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[ap]m)?(?:\s*(?:z|utc|[-+]\d{2}:?\d{2}))?"
_DATE = re.compile(
    rf"(?:(?:\d{{4}}([-/.])\d{{1,2}}(?:\1\d{{1,2}})?|\d{{1,2}}([-/.])\d{{1,2}}\2\d{{4}}|\d{{1,2}}([-/])\d{{1,2}}\3\d{{2}}|"
    rf"\d{{1,2}}[a-z]{{0,2}}[ -]{_MONTH},?[ -]\d{{2,4}}|{_MONTH}[ -]\d{{1,2}}[a-z]{{0,2}},? \d{{4}}|"
    rf"{_MONTH},?[ -]\d{{4}})(?:[t ,]+{_TIME})?|{_TIME})",
    re.IGNORECASE | re.ASCII,
)


def is_missing(cell: str, number: bool = False) -> bool:
    """Whether a cell is a missing value; where a number is expected, "none" and a dash are."""
    return cell.casefold() in (NO_NUMBER if number else MISSING)


def digits(number: float) -> str:
    """A number with as many digits as tell it from every other one."""
    return repr(float(number)).removesuffix(".0")


def is_date(cell: str) -> bool:
    """Whether a cell is a date, a time, or both."""
    return _DATE.fullmatch(cell) is not None


def is_money(unit: str) -> bool:
    """Whether a unit is a currency."""
    return _MONEY.fullmatch(unit) is not None


@dataclass(frozen=True)
class Style:
    """How the numbers of a column are written; of the defaults, as Python writes them.

    Attributes
    ----------
    decimal : str
        The mark before the decimals: ``"."`` or ``","``.
    thousands : str
        The mark between thousands, where they are parted: ``","``, ``"."``, ``" "`` or ``"'"``.
    unit : str
        What is taken off: a currency, where it stands, ``"%"`` or a word, which must stand in every cell.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.decimal, self.thousands) not in _CORES:
            raise ValueError(f"expected marks for decimals and thousands, got {self.decimal!r} and {self.thousands!r}")
        written = _WRITTEN.fullmatch(f"1{self.unit}")
        if self.unit and not is_money(self.unit) and not (written and written["after"] == self.unit):
            raise ValueError(f"expected a unit such as '%', got {self.unit!r}")

    def said(self) -> dict[str, str]:
        """What of it is not the default, as JSON can hold it."""
        return {key: value for key, value in vars(self).items() if value != getattr(PLAIN, key)}

    def number(self, cell: str) -> float | None:
        """The number that a cell holds; None where it is written in another way."""
        is_plain = self.decimal == "." and not self.thousands and not self.unit
        if is_plain and (number := _plain(cell)) is not None:
            return number
        written = _written(cell)
        if written is None or not self._takes(written[0]) or not self._core.fullmatch(written[1]):
            return None
        _, core, negative = written
        number = float(core.replace(self.thousands or " ", "").replace(self.decimal, "."))
        return -number if negative else number

    def numbers(self, cells: Iterable[str]) -> dict[str, float | None]:
        """What `number` makes of each cell."""
        return {cell: number if (number := self._quickly(cell)) is not None else self.number(cell) for cell in cells}

    def _quickly(self, cell: str) -> float | None:
        """The number of a cell, if that is written in the simplest way."""
        core = cell
        if self.unit and cell.endswith(self.unit):
            core = cell[: -len(self.unit)].rstrip()
        elif self.unit and is_money(self.unit):
            core = cell.removeprefix(self.unit).lstrip()
        elif self.unit:
            return None
        if not self._core.fullmatch(core, core.startswith("-")):
            return None
        return float(core.replace(self.thousands or " ", "").replace(self.decimal, "."))

    def _takes(self, unit: str) -> bool:
        return unit == self.unit or (not unit and is_money(self.unit))

    @property
    def _core(self) -> re.Pattern[str]:
        return _CORES[self.decimal, self.thousands]

    def __str__(self) -> str:
        marks = {" ": "spaces", "'": "apostrophes", ",": "commas", ".": "points"}
        parts = [
            "decimal comma" if self.decimal == "," else "",
            f"{marks[self.thousands]} between thousands" if self.thousands else "",
            f"{self.unit} taken off" if self.unit else "",
        ]
        return ", ".join(filter(None, parts))


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """What may stand between sign and unit."""
    d, t = re.escape(decimal), re.escape(thousands)
    if not thousands:
        return re.compile(rf"(?:\d+(?:{d}\d*)?|{d}\d+)(?:[eE][-+]?\d+)?", re.ASCII)
    lakhs = rf"|[1-9]\d?(?:{t}\d\d)+{t}\d{{3}}" if thousands == "," else ""
    return re.compile(rf"(?:[1-9]\d{{0,2}}(?:{t}\d{{3}})+{lakhs}|\d+)(?:{d}\d*)?", re.ASCII)


#: The plainest first.
_CORES = {
    (decimal, thousands): _pattern(decimal, thousands)
    for thousands, decimal in product(("", ",", ".", " ", "'"), (".", ","))
    if decimal != thousands
}
PLAIN = Style()


def _plain(cell: str) -> float | None:
    """The number as Python writes it; 1_000 is none, and the words are no numbers of a table."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return None if "_" in cell or math.isnan(number) else number


def _written(cell: str) -> tuple[str, str, bool] | None:
    """The unit, the number and whether it is negative; None where a cell is no number, however written."""
    found = _WRITTEN.fullmatch(cell if cell.isascii() else cell.translate(_TYPED))
    if not found or not any(map(str.isdigit, found["core"])) or (found["before"] and found["after"]):
        return None
    if found["after"] and not (found["after"][0].isalpha() or found["after"][0] in "%‰°" or is_money(found["after"])):
        return None  # as 5²
    if found["sign"] and (found["late"] or found["open"]):
        return None
    negative = "-" in (found["sign"], found["late"]) or found["open"] is not None
    return found["before"] or found["after"] or "", found["core"], negative


@dataclass(frozen=True)
class _Kind:
    """What cells may have in common: the unit, and how they can be read."""

    unit: str
    readings: frozenset[tuple[str, str]]
    marks: frozenset[str]


class Survey:
    """What the cells of a column are, all of them looked at.

    Parameters
    ----------
    cells : iterable of str

    Attributes
    ----------
    of_texts, of_numbers : int
        How many cells say something, as a text, and where a number is expected.
    """

    def __init__(self, cells: Iterable[str]) -> None:
        self._counts = Counter(cells)
        self.of_numbers, self.of_texts = self.numbers.total(), self.texts.total()

    @cached_property
    def texts(self) -> Counter[str]:
        """The different cells that say something, as a text."""
        return Counter({cell: n for cell, n in self._counts.items() if not is_missing(cell)})

    @cached_property
    def numbers(self) -> Counter[str]:
        """Those that say something where a number is expected."""
        return Counter({cell: n for cell, n in self.texts.items() if not is_missing(cell, number=True)})

    @cached_property
    def _kinds(self) -> Counter["_Kind"]:
        """The cells that are numbers, however written."""
        kinds: Counter[_Kind] = Counter()
        known: dict[str, _Kind | None] = {}
        for cell, n in self.numbers.items():
            shape = _shape(cell)
            if shape not in known:
                known[shape] = _kind(cell)
            if kind := known[shape]:
                kinds[kind] += n
        return kinds

    @property
    def different(self) -> int:
        """How many different cells there are that say something."""
        return len(self.texts)

    @cached_property
    def is_numeric(self) -> bool:
        """Whether more than half of the cells are numbers; those with a word behind them, if all have that word."""
        return 2 * self._own.total() > self.of_numbers and not self._too_long

    @cached_property
    def are_dates(self) -> bool:
        """Whether more than half of the cells are dates."""
        shapes: Counter[str] = Counter()
        for cell, n in self.texts.items():
            shapes[cell.translate(_DIGITS)] += n
        return 2 * sum(n for shape, n in shapes.items() if is_date(shape)) > self.of_texts

    @cached_property
    def are_names(self) -> bool:
        """Whether nearly all cells are different, so that they name the rows and are no categories."""
        return self.of_texts >= 10 and self.different > 0.8 * self.of_texts

    @cached_property
    def are_phrases(self) -> bool:
        """Whether most cells are several words, or long: text that somebody wrote."""
        return 2 * sum(n for cell, n in self.texts.items() if cell.count(" ") > 2 or len(cell) > 40) > self.of_texts

    @cached_property
    def are_compact_dates(self) -> bool:
        """Whether the cells are dates in eight digits, 20200131."""
        return len(self.numbers) > 4 and all(map(is_compact, self.numbers))

    @cached_property
    def are_numbered(self) -> bool:
        """Whether the cells are whole numbers, and all of them different."""
        return len(self.numbers) == self.of_numbers >= 10 and all(
            (number := PLAIN.number(cell)) is not None and number.is_integer() for cell in self.numbers
        )

    @cached_property
    def has_leading_zeros(self) -> bool:
        """Whether cells begin with a zero that numbers do not need, as codes have."""
        return any(len(cell) > 1 and cell[0] == "0" and cell.isdigit() for cell in self.numbers)

    @cached_property
    def has_parentheses(self) -> bool:
        """Whether some cells are in parentheses, as books have negative numbers."""
        return any(cell[0] == "(" for cell in self.numbers)

    @cached_property
    def decimal(self) -> str | None:
        """The decimal mark that the cells leave no doubt about; None where they do, or say nothing of it."""
        if not self.is_numeric or len(readings := self._readings) != 1:
            return None
        marked = any({".", ","} & kind.marks for kind in self._taken)
        return readings[0].decimal if marked else None

    @property
    def doubtful(self) -> bool:
        """Whether there are two ways to read the numbers."""
        return len(self._readings) > 1

    def style(self, decimal: str | None = None) -> Style:
        """How the numbers are to be read; where there are two ways, the one with this decimal mark."""
        return next((style for style in self._readings if style.decimal == decimal), self._readings[0])

    @cached_property
    def _unit(self) -> str:
        """The unit that most numbers have."""
        units: Counter[str] = Counter()
        for kind, n in self._own.items():
            units[kind.unit] += n
        money = max(filter(is_money, units), key=units.__getitem__, default=None)
        if money and "" in units:
            units[money] += units.pop("")
        return max(units, key=units.__getitem__, default="")

    @cached_property
    def _own(self) -> Counter[_Kind]:
        """The kinds that are numbers: a word behind them is a unit only where every cell has it."""
        common = len({kind.unit for kind in self._kinds}) == 1 and self._kinds.total() == self.of_numbers
        return Counter({kind: n for kind, n in self._kinds.items() if common or _is_usual(kind.unit)})

    @cached_property
    def _taken(self) -> Counter[_Kind]:
        """Those of them that have the unit of most."""
        units = (self._unit, "") if is_money(self._unit) else (self._unit,)
        return Counter({kind: n for kind, n in self._own.items() if kind.unit in units})

    @cached_property
    def _readings(self) -> list[Style]:
        """The ways to read most cells, each of which makes other numbers of the same cells, the plainest first."""
        read = {reading: [kind for kind in self._taken if reading in kind.readings] for reading in _CORES}
        most = max(read, key=lambda reading: sum(self._taken[kind] for kind in read[reading]))
        marks = {mark for kind in read[most] for mark in kind.marks}
        different: dict[tuple[bool, ...], Style] = {}
        for decimal, thousands in _CORES:
            if read[decimal, thousands] == read[most]:
                roles = tuple(mark in marks and mark == role for mark in ".,' " for role in (decimal, thousands))
                different.setdefault(roles, Style(decimal, thousands if thousands in marks else "", self._unit))
        return list(different.values())

    @cached_property
    def _too_long(self) -> bool:
        """Whether there are whole numbers that a float64 cannot tell from their neighbours."""
        long = (cell for cell in self.numbers if len(cell) > 15 and cell.lstrip("+-").isdecimal())
        return any(int(float(cell)) != int(cell) for cell in long if len(cell) < 300)


def _is_usual(unit: str) -> bool:
    """Whether some cells may have another one, or none, and be numbers still."""
    return unit in ("", "%") or is_money(unit)


def _shape(cell: str) -> str:
    """A cell of the same kind, for many others too: which digits there are is of no matter, but for leading zeros."""
    if (cell[-1].isdigit() and not cell.isascii()) or (cell[-1:] in "23" and any(map(str.isalpha, cell))):
        return cell  # as of m2, which is a unit, while m4 is none
    shape = cell.translate(_ONES)
    return _OTHER_ZEROS.sub("9", shape) if "0" in shape else shape


def _kind(cell: str) -> _Kind | None:
    if cell.isdecimal() and cell.isascii():
        return _WHOLE
    if _POINT.fullmatch(cell):
        return _THOUSANDTHS if _POINT_OR_THOUSANDS.fullmatch(cell) else _DECIMALS
    return _kind_of_any(cell)


def _kind_of_any(cell: str) -> _Kind | None:
    written = _written(cell)
    if written is None:
        return _WHOLE if _plain(cell) is not None else None
    unit, core, _ = written
    readings = frozenset(reading for reading, pattern in _CORES.items() if pattern.fullmatch(core))
    return _Kind(unit, readings, frozenset(core) & {".", ",", " ", "'"}) if readings else None


_ONES, _DIGITS = (str.maketrans(digits, "9" * len(digits)) for digits in ("123456789", "0123456789"))
_OTHER_ZEROS = re.compile(r"(?<=[09.,'])0|(?<=[09] )0")
# What most cells are, for speed.
_WHOLE = _Kind("", frozenset(_CORES), frozenset())
_POINT, _DECIMALS = re.compile(r"-?[0-9]+\.[0-9]+"), _kind_of_any("0.5")
_POINT_OR_THOUSANDS, _THOUSANDTHS = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}"), _kind_of_any("1.234")
