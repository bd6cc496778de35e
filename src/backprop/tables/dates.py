"""What cells say of days and hours, and the numbers that a network takes of them.

``03/04/2020`` is a day in March or in April: the other cells of a column decide, else day first where points divide it
and month first where it is something else. What stands behind a time, such as ``+02:00``, is reckoned with.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _validate

__all__ = ["PARTS", "Order", "is_compact", "moments", "order_of", "parts"]

Array = _validate.Array

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_DAYS = (
    r"(?P<y>\d{4})(?P<mark>[-/.])(?P<m>\d{1,2})(?:(?P=mark)(?P<d>\d{1,2}))?",
    r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<y>\d{4}|\d\d)",
    rf"(?P<d>\d{{1,2}})[a-z]{{0,2}}[ -]{_MONTH},?[ -](?P<y>\d{{4}}|\d\d)",
    rf"{_MONTH}[ -](?P<d>\d{{1,2}})[a-z]{{0,2}},? (?P<y>\d{{4}})",
    rf"{_MONTH},?[ -](?P<y>\d{{4}})",
    r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)",
    "",
)
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<seconds>\d{2}(?:[.,]\d+)?))?(?:\s*(?P<half>[ap]m))?"
    r"(?:\s*(?:z|utc|(?P<zone>[-+]\d{2}:?\d{2})))?"
)
_CELLS = [re.compile(rf"{day}(?:[t ,]+{_TIME})?" if day else _TIME, re.IGNORECASE | re.ASCII) for day in _DAYS]
_COMPACT = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", re.ASCII)


def is_compact(cell: str) -> bool:
    """Whether a cell may be a date in eight digits, 20200131."""
    return _COMPACT.fullmatch(cell.removesuffix(".0")) is not None


@dataclass(frozen=True)
class Order:
    """How the dates of a column are written, where that is not plain.

    Attributes
    ----------
    day_first : bool
        Of ``03/04/2020``.
    doubt : str
        A cell that could be read in the other order too, if all could.
    """

    day_first: bool
    doubt: str = ""


def order_of(cells: Iterable[str]) -> Order:
    """The order in which days and months stand in a column."""
    numbered = [(cell, found) for cell in cells if (found := _CELLS[1].fullmatch(cell))]
    if any(int(found["first"]) > 12 for _, found in numbered):
        return Order(day_first=True)
    if not numbered or any(int(found["second"]) > 12 for _, found in numbered):
        return Order(day_first=False)
    by_points = all(found["mark"] == "." for _, found in numbered)
    doubts = [cell for cell, found in numbered if found["first"] != found["second"]]
    return Order(by_points, doubts[0] if doubts and not by_points else "")


def moments(cells: Sequence[str], day_first: bool) -> Array:
    """The moments that cells name, as datetime64; NaT where one is neither date nor time. Of a time: on 1970-01-01."""
    made = np.full(len(cells), np.datetime64("NaT", "us"))
    left = np.arange(len(cells))
    texts = [cell.removesuffix(".0") if is_compact(cell) else cell for cell in cells]
    for pattern in sorted(_CELLS, key=lambda pattern: not (texts and pattern.fullmatch(texts[0]))):
        found = [pattern.fullmatch(texts[row]) for row in left]
        given = [match.groups("") for match in found if match]
        if given:
            said = dict(zip(pattern.groupindex, np.array(given).T, strict=True))
            made[left[[match is not None for match in found]]] = _assembled(said, day_first)
            left = left[[match is None for match in found]]
    return made


def _assembled(said: dict[str, Array], day_first: bool) -> Array:
    """What the parts of dates and times say together; NaT where there is no such day, or no such time."""

    def whole(name: str, default: int) -> Array:
        texts = said.get(name, np.array(""))
        return np.where(texts == "", str(default), texts).astype(np.int64)

    day, month, year = whole("d", 1), whole("m", 1), whole("y", 1970)
    if "first" in said:
        day, month = (whole("first", 1), whole("second", 1))[:: 1 if day_first else -1]
    if "month" in said:
        lower = np.char.lower(said["month"])
        month = 1 + np.array([_MONTHS.index(name) for name in lower.tolist()])
    short = np.char.str_len(said["y"]) == 2 if "y" in said else np.array(False)
    year = year + np.where(short, np.where(year < 69, 2000, 1900), 0)
    first = (year - 1970).astype("M8[Y]").astype("M8[M]") + (np.clip(month, 1, 12) - 1)
    midnight = first.astype("M8[D]") + (day - 1)
    microseconds, on_clock = _since_midnight(said, whole)
    there_is = (midnight.astype("M8[M]") == first) & (month >= 1) & (month <= 12) & on_clock
    return np.where(there_is, midnight.astype("M8[us]") + microseconds, np.datetime64("NaT", "us"))


def _since_midnight(said: dict[str, Array], whole: Callable[[str, int], Array]) -> tuple[Array, Array]:
    """The microseconds, and whether a clock shows that."""
    hour, minute = whole("hour", 0), whole("minute", 0)
    texts = said.get("seconds", np.array(""))
    seconds = np.char.replace(np.where(texts == "", "0", texts), ",", ".").astype(np.float64)
    half = np.char.lower(said.get("half", np.array("")))
    on_clock = (hour <= 24) & (minute < 60) & (seconds < 61) & ((half == "") | ((hour >= 1) & (hour <= 12)))
    hour = np.where(half == "", hour, hour % 12 + 12 * (half == "pm"))
    zones = said.get("zone", np.array(""))
    zone = np.char.replace(np.where(zones == "", "+0000", zones), ":", "").astype(np.int64)
    offset = np.sign(zone) * (abs(zone) // 100 * 60 + abs(zone) % 100)
    microseconds = np.round(seconds * 1e6).astype(np.int64) + (60 * hour + minute - offset) * 60_000_000
    return microseconds.astype("m8[us]"), on_clock


#: What a date may become, in this order.
PARTS = ("year", "month", "day", "weekday", "hour", "elapsed")


def parts(moments: Array) -> dict[str, Array]:
    """The numbers of `PARTS` that say what dates (datetime64) are; NaN where a date is missing.

    The week begins on Monday, as day 0; the hour has decimals; what has elapsed are the days since 1970.
    """
    days, months, years = (moments.astype(f"M8[{unit}]") for unit in "DMY")
    micro = moments.astype("M8[us]")
    found: dict[str, Any] = {
        "year": years.astype(np.int64) + 1970,
        "month": (months - years.astype("M8[M]")).astype(np.int64) + 1,
        "day": (days - months.astype("M8[D]")).astype(np.int64) + 1,
        "weekday": (days.astype(np.int64) + 3) % 7,
        "hour": (micro - days.astype("M8[us]")).astype(np.int64) / 3.6e9,
        "elapsed": micro.astype(np.int64) / 8.64e10,
    }
    missing = np.isnat(moments)
    return {name: np.where(missing, np.nan, numbers) for name, numbers in found.items()}
