"""How each column of a table is read: as a numeric feature, as a categorical one, or not at all, and why.

A column is numeric if more than half of its cells are numbers; then one that is not is an error, and no text. Columns
that surely teach nothing are dropped: identifiers, dates, and empty ones. A reading says all of that in a line, and
whoever knows better says so with an option.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .. import _validate
from .cells import PLAIN, Style, Survey, digits
from .table import MOST_CATEGORIES, Table

__all__ = ["Reading", "readings"]

#: Names of identifiers.
_IDENTIFIER = re.compile(r"(?i:(?:.*[_ .-])?(?:id|uuid|guid|index)|row(?:names?)?|unnamed: 0)|.*[a-z](?:Id|ID)")


@dataclass(frozen=True)
class Reading:
    """How a column is read.

    Attributes
    ----------
    name : str
    kind : {"number", "category", "dropped"}
    style : Style
        Of numbers: how they are written.
    note : str
        What else there is to say about it.
    is_target : bool
    classes : list of str, optional
        Of a target that is one of so many classes.
    """

    name: str
    kind: str
    style: Style = PLAIN
    note: str = ""
    is_target: bool = False
    classes: list[str] | None = None

    def __str__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else self.kind
        style = str(self.style) if self.kind == "number" else ""
        said = _joined("target" if self.is_target else "", kind, style, self.note).replace(", (", " (")
        return " ".join(f"{self.name}: {said}".split())


def readings(
    table: Table,
    target: str,
    *,
    task: str | None = None,
    numeric: Iterable[str] = (),
    category: Iterable[str] = (),
    drop: Iterable[str] = (),
    decimal: str | None = None,
) -> dict[str, Reading]:
    """How each column of a table is read, the target among them.

    Parameters
    ----------
    table : Table
    target : str
        The column to predict.
    task : {"classification", "regression"}, optional
        Default: as `Table.target` has it.
    numeric, category, drop : iterable of str
        Columns that are to be read so, whatever they look like.
    decimal : {".", ","}, optional
        The decimal mark, for numbers that can be read in two ways. Default: that of the columns that leave no doubt.

    Raises
    ------
    ValueError
        Where a name is not a column, or the target cannot be predicted.
    """
    asked = _asked(table, {"numeric": numeric, "category": category, "drop": drop})
    task = _task(task, asked.pop(table.named(target), None), target)
    surveys = {name: Survey(cells) for name, cells in table.columns.items()}
    marks = {mark for survey in surveys.values() if (mark := survey.decimal)}
    known = decimal or (marks.pop() if len(marks) == 1 else None)
    return {
        name: _target(table, name, survey, task, known)
        if name == target
        else _input(table, name, survey, asked.get(name), known)
        for name, survey in surveys.items()
    }


def _asked(table: Table, options: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The option in which a column is named."""
    asked: dict[str, str] = {}
    for option, names in options.items():
        for name in names:
            _validate.choice(name, f"--{option}", table.columns)
            if asked.setdefault(name, option) != option:
                raise ValueError(f"--{option}: expected a column in one option, got {name!r} in --{asked[name]} too")
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
    if asked == "drop":
        return Reading(name, "dropped", note="as asked")
    if survey.of_texts == 0:
        return Reading(name, "dropped", note="empty")
    is_code = survey.has_leading_zeros and not survey.are_names and len(survey.texts) <= MOST_CATEGORIES
    if asked == "numeric" or (asked is None and survey.is_numeric and not is_code):
        if asked is None and survey.are_numbered and _IDENTIFIER.fullmatch(name):
            return Reading(name, "dropped", note=f"identifier, all values differ (--numeric {name} keeps it)")
        return _number(table, name, survey, decimal)
    if asked is None and survey.are_dates:
        return Reading(name, "dropped", note=f"dates (--category {name} takes each as a category)")
    if asked is None and survey.are_names:
        differ = f"{len(survey.texts):,} different values in {survey.of_texts:,} rows"
        return Reading(name, "dropped", note=f"identifier, {differ} (--category {name} keeps it)")
    n = len(survey.texts)
    rest = f"all but the {MOST_CATEGORIES} most frequent as one" if n > MOST_CATEGORIES else ""
    code = f"with leading zeros (--numeric {name} reads numbers)" if is_code and asked is None else ""
    return Reading(name, "category", note=_joined(f"{n:,} values", rest, code, _missing(table, survey.of_texts)))


def _number(table: Table, name: str, survey: Survey, decimal: str | None) -> Reading:
    style = table.style(survey, decimal)
    doubt = _doubt(survey, style) if survey.doubtful and decimal is None else ""
    zeros = f"with leading zeros (--category {name}, if it is a code)" if survey.has_leading_zeros else ""
    minus = "parentheses as minus" if any(cell[0] == "(" for cell in survey.numbers) else ""
    return Reading(name, "number", style, _joined(minus, doubt, zeros, _missing(table, survey.of_numbers)))


def _missing(table: Table, present: int) -> str:
    return f"{len(table) - present:,} of {len(table):,} cells missing" if present < len(table) else ""


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _doubt(survey: Survey, style: Style) -> str:
    """That there was another way, and how to take it."""
    cell = next(cell for cell in survey.numbers if style.number(cell) is not None and {".", ","} & set(cell))
    other = "," if style.decimal == "." else "."
    got, instead = (digits(reading.number(cell) or 0.0) for reading in (style, survey.style(other)))
    return f"{cell} could be two numbers: taken as {got}, with --decimal {other} as {instead}"


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
