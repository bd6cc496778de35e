"""How each column of a table is read: as a numeric feature, a categorical one, a date, or not at all, and why.

A column is numeric if more than half of its cells are numbers; then one that is not is an error, and no text. Columns
that surely teach nothing are dropped: identifiers, constants, free text, and empty ones. A reading says all of that in
a line, and whoever knows better says so with an option.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .. import _validate
from .cells import PLAIN, Style, Survey, digits
from .dates import Order, order_of
from .table import MOST_CATEGORIES, Table
from .typed import Categories, Typed

__all__ = ["OPTIONS", "Reading", "readings"]

#: Names of identifiers.
_IDENTIFIER = re.compile(
    r"(?i:(?:.*[_ .-])?(?:id|uuid|guid|index|nr\.?|no\.?)|row(?:names?)?|#|unnamed: 0)|.*[a-z](?:Id|ID)"
)

#: What columns may be asked to be.
OPTIONS = ("numeric", "category", "drop", "date", "id")


@dataclass(frozen=True)
class Reading:
    """How a column is read.

    Attributes
    ----------
    name : str
    kind : {"number", "category", "date", "dropped"}
    style : Style
        Of numbers: how they are written.
    note : str
        What else there is to say about it.
    is_target : bool
    classes : list of str, optional
        Of a target that is one of so many classes.
    day_first : bool
        Of dates: whether 03/04/2020 is in April.
    is_lost : bool
        Whether the column is dropped although it may teach something: text of too many different values.
    """

    name: str
    kind: str
    style: Style = PLAIN
    note: str = ""
    is_target: bool = False
    classes: list[str] | None = None
    day_first: bool = False
    is_lost: bool = False

    def __str__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else self.kind
        style = str(self.style) if self.kind == "number" else ""
        said = _joined("target" if self.is_target else "", kind, style, self.note).replace(", (", " (")
        return " ".join(f"{self.name}: {said}".split())


def readings(
    table: Table,
    target: str | None,
    *,
    task: str | None = None,
    decimal: str | None = None,
    options: Mapping[str, Iterable[str]] | None = None,
    **more: Iterable[str],
) -> dict[str, Reading]:
    """How each column of a table is read, the target among them.

    Parameters
    ----------
    table : Table
    target : str or None
        The column to predict; None of a table that has none.
    task : {"classification", "regression"}, optional
        Default: as `Table.target` has it.
    decimal : {".", ","}, optional
        The decimal mark, for numbers that can be read in two ways. Default: that of the columns that leave no doubt.
    options : mapping of str to iterable of str, optional
        By "numeric", "category", "date", "drop" and "id": columns that are to be read so, whatever they look like;
        identifiers are dropped too. Each may be an argument of its own.

    Raises
    ------
    ValueError
        Where a name is not a column, or the target cannot be predicted.
    """
    asked = _asked(table, {**(options or {}), **more})
    if target is not None:
        task = _task(task, asked.pop(table.named(target), None), target)
    surveys = {name: table.survey(name) for name in table.columns}
    marks = {mark for survey in surveys.values() if (mark := survey.decimal)}
    known = decimal or (marks.pop() if len(marks) == 1 else None)
    how = {
        name: _target(table, name, survey, task, known)
        if name == target
        else _input(table, name, survey, asked.get(name), known)
        for name, survey in surveys.items()
    }
    kept = {name for name, reading in how.items() if reading.kind != "dropped" and name != target}
    constant = {name for name in kept - asked.keys() if surveys[name].different == 1 and _is_full(table, surveys[name])}
    if constant < kept:
        how |= {name: replace(how[name], kind="dropped", note="constant") for name in constant}
    return how


def _is_full(table: Table, survey: Survey) -> bool:
    return survey.of_texts == len(table)


def _asked(table: Table, options: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The option in which a column is named."""
    asked: dict[str, str] = {}
    for option in options:
        _validate.choice(option, "options", OPTIONS)
    for option in OPTIONS:
        for name in options.get(option, ()):
            dashes = "--" if table.is_file else ""
            _validate.choice(name, f"{dashes}{option}", table.columns)
            if asked.setdefault(name, option) != option:
                got = f"got {name!r} in {dashes}{asked[name]} too"
                raise ValueError(f"{dashes}{option}: expected a column in one option, {got}")
    return asked


def _task(task: str | None, asked: str | None, target: str) -> str | None:
    """What is asked of the target."""
    if asked is None:
        return task
    wanted = {"numeric": "regression", "category": "classification"}.get(asked)
    if wanted is None or task not in (None, wanted):
        with_task = f" with --task {task}" if wanted else ""
        raise ValueError(f"--{asked}: expected a column beside the target, got {target!r}{with_task}")
    return wanted


def _input(table: Table, name: str, survey: Survey, asked: str | None, decimal: str | None) -> Reading:
    if asked in ("drop", "id"):
        return Reading(name, "dropped", note="as asked" if asked == "drop" else "identifier, as asked")
    if survey.of_texts == 0:
        return Reading(name, "dropped", note="empty")
    if asked is None and isinstance(table.columns[name], Categories):
        asked = "category"
    is_code = survey.has_leading_zeros and not survey.are_names and survey.different <= MOST_CATEGORIES
    if asked == "date" or (asked is None and _are_dates(survey)):
        return _date(table, name, survey)
    if asked == "numeric" or (asked is None and survey.is_numeric and not is_code):
        if asked is None and survey.are_numbered and _IDENTIFIER.fullmatch(name):
            keeps = table.option("numeric", name)
            return Reading(name, "dropped", note=f"identifier, all values differ ({keeps} keeps it)")
        return _number(table, name, survey, decimal)
    n, keeps = survey.different, f"({table.option('category', name)} keeps it)"
    if asked is None and survey.are_names:
        kind = "free text" if survey.are_phrases else "identifier"
        differ = f"{n:,} different values in {survey.of_texts:,} rows"
        return Reading(name, "dropped", note=f"{kind}, {differ} {keeps}", is_lost=survey.are_phrases)
    frequent = sum(count for _, count in survey.texts.most_common(MOST_CATEGORIES)) if n > MOST_CATEGORIES else 0
    if asked is None and n > MOST_CATEGORIES and 2 * frequent < survey.of_texts:
        few = f"the {MOST_CATEGORIES} most frequent in {frequent:,} of {survey.of_texts:,} rows"
        return Reading(name, "dropped", note=f"text with too many values, {n:,}, {few} {keeps}", is_lost=True)
    rest = f"all but the {MOST_CATEGORIES} most frequent as one" if frequent else ""
    reads = table.option("numeric", name)
    code = f"with leading zeros ({reads} reads numbers)" if is_code and asked is None else ""
    return Reading(name, "category", note=_joined(f"{n:,} values", rest, code, _missing(table, survey.of_texts)))


def _are_dates(survey: Survey) -> bool:
    return survey.are_compact_dates or (survey.are_dates and not survey.is_numeric)


def _date(table: Table, name: str, survey: Survey) -> Reading:
    order = order_of(survey.texts) if not isinstance(table.columns[name], Typed) else Order(False)
    doubt = f"{order.doubt} taken as month first" if order.doubt else ""
    day_first = "day first" if order.day_first else ""
    note = _joined(day_first, doubt, _missing(table, survey.of_numbers))
    return Reading(name, "date", note=note, day_first=order.day_first)


def _number(table: Table, name: str, survey: Survey, decimal: str | None) -> Reading:
    style = table.style(survey, decimal)
    doubt = _doubt(table, survey, style) if survey.doubtful and decimal is None else ""
    zeros = (
        f"with leading zeros ({table.option('category', name)}, if it is a code)" if survey.has_leading_zeros else ""
    )
    minus = "parentheses as minus" if survey.has_parentheses else ""
    return Reading(name, "number", style, _joined(minus, doubt, zeros, _missing(table, survey.of_numbers)))


def _missing(table: Table, present: int) -> str:
    return f"{len(table) - present:,} of {len(table):,} cells missing" if present < len(table) else ""


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _doubt(table: Table, survey: Survey, style: Style) -> str:
    """That there was another way, and how to take it."""
    cell = next(cell for cell in survey.numbers if style.number(cell) is not None and {".", ","} & set(cell))
    other = "," if style.decimal == "." else "."
    got, instead = (digits(reading.number(cell) or 0.0) for reading in (style, survey.style(other)))
    option = f"--decimal {other}" if table.is_file else f"decimal={other!r}"
    return f"{cell} could be two numbers: taken as {got}, with {option} as {instead}"


def _target(table: Table, name: str, survey: Survey, task: str | None, decimal: str | None) -> Reading:
    number = _number(table, name, survey, decimal)
    texts = not survey.is_numeric and task != "regression"
    if texts and survey.are_dates:
        raise ValueError(f"{table.path}, column {name!r}: expected numbers or classes to predict, got dates")
    if texts and survey.are_names:
        got = f"{len(survey.texts):,} different texts in {survey.of_texts:,} rows"
        raise ValueError(f"{table.path}, column {name!r}: expected numbers or classes to predict, got {got}")
    classes, _ = table.target(name, task, number.style)
    if classes is None:
        few = not task and len(survey.numbers) <= min(MOST_CATEGORIES, survey.of_numbers / 2)
        cure = "--task classification would predict classes" if few else ""
        return replace(number, note=_joined(number.note, cure), is_target=True)
    shown = ", ".join(classes if len(classes) <= 10 else [*classes[:4], "...", classes[-1]])
    cure = "--task regression would predict a number" if survey.is_numeric and not task else ""
    return Reading(name, "category", number.style, _joined(f"({shown})", cure), is_target=True, classes=classes)
