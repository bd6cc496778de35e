"""CSV files, read strictly: from a path, a pipe or the standard input, to a table of texts.

Nothing is read without end or waited for without end: a device is refused, and so is a pipe that nobody writes to.
"""

import csv
import errno
import io
import math
import os
import re
import select
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from reprlib import repr as shortened
from typing import Any

import numpy as np

from .. import _validate, _words
from .cells import PLAIN, Style, Survey, is_missing

__all__ = ["MOST_CATEGORIES", "STDIN", "Table", "read"]

Array = _validate.Array

#: More different texts than this are names rather than categories.
MOST_CATEGORIES = 256
#: More different whole numbers than this are amounts rather than classes.
MOST_WHOLE_NUMBERS = 10
#: What stands for the standard input.
STDIN = ("-", "/dev/stdin", "/dev/fd/0")
#: As texts the cells take ten times as much memory as the file.
MOST_BYTES = 2**30
#: How many seconds to wait for somebody to write to a pipe.
PATIENCE = 5.0


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file.

    Attributes
    ----------
    path : str
        For the error messages.
    columns : dict of str to sequence of str
        The cells of each column, without the white space around them.
    lines : list of int
        The line of the file on which each row begins: the header is on line 1.
    delimiter : str
        What divides the cells.
    has_header : bool
        False where the columns are called "1", "2" and so on, as the file does not name them.
    """

    path: str
    columns: dict[str, tuple[str, ...]]
    lines: list[int]
    delimiter: str = ","
    has_header: bool = True

    def __len__(self) -> int:
        return len(self.lines)

    def error(self, row: int, name: str, message: str) -> ValueError:
        """An error that says where it is."""
        return ValueError(f"{self.path}, row {self.lines[row]}, column {name!r}: {message}")

    def cells(self, name: str) -> tuple[str, ...]:
        """The cells of a column, as they stand."""
        return self.columns[self.named(name)]

    def named(self, name: str) -> str:
        """The name of a column; a word that is none is refused."""
        if name not in self.columns:
            near = _words.meant(name, self.columns)
            names = [*self.columns]
            has = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"no column {name!r} in {self.path}: it has {has}{hint}")
        return name

    def rows(self, rows: Sequence[int]) -> "Table":
        """Some of the rows."""
        columns = {name: tuple(cells[row] for row in rows) for name, cells in self.columns.items()}
        return Table(self.path, columns, [self.lines[row] for row in rows], self.delimiter, self.has_header)

    def texts(self, name: str) -> tuple[str, ...]:
        """The cells of a column, none of them empty."""
        cells = self.cells(name)
        if "" in cells:
            raise self.error(cells.index(""), name, "expected a value, got an empty cell: fill it, or drop the row")
        return cells

    def is_numeric(self, name: str) -> bool:
        """Whether most of the cells of a column that are not missing are numbers, however written."""
        return Survey(self.cells(name)).is_numeric

    def where_given(self, name: str) -> "Table":
        """The rows in which the cell of a column is not missing."""
        cells, number = self.cells(name), self.is_numeric(name)
        rows = [row for row, cell in enumerate(cells) if not is_missing(cell, number)]
        if not rows:
            raise ValueError(f"{self.path}, column {name!r}: expected a value in some rows, got none")
        return self if len(rows) == len(self) else self.rows(rows)

    def style(self, survey: Survey, decimal: str | None = None) -> Style:
        """How the numbers of a column are read.

        Where there are two ways, "1.234" is 1.234 and "1,234" is 1234, or 1.234 where semicolons divide the cells; if
        the decimal mark of the file is known, that decides.
        """
        if decimal is None:
            decimal = "," if survey.style().decimal == "," and self.delimiter == ";" else "."
        return survey.style(decimal)

    def numbers(self, name: str, style: Style | None = None, missing: bool = False, cure: str = "") -> Array:
        """The cells of a column as float64 (rows,), all of them finite; NaN where they are missing, if they may be.

        Parameters
        ----------
        name : str
        style : Style, optional
            How they are written. Default: as most of them are.
        missing : bool, default False
            Whether cells may be empty, or say "NA" or the like.
        cure : str, default ""
            What to do about a cell that is no number.
        """
        style = self.style(Survey(self.cells(name))) if style is None else style
        numbers = np.empty(len(self))
        for row, cell in enumerate(self.cells(name) if missing else self.texts(name)):
            number = style.number(cell)
            if number is None and missing and is_missing(cell, number=True):
                number = math.nan
            elif number is None or not math.isfinite(number):
                like = f" ({style})" if style != PLAIN else ""
                raise self.error(row, name, f"expected a finite number{like}, got {shortened(cell)}{cure}")
            numbers[row] = number
        return numbers

    def categories(self, name: str) -> list[str]:
        """The different texts of a column, sorted."""
        found = sorted(set(self.texts(name)))
        if len(found) > MOST_CATEGORIES:
            limit = f"expected numbers, or at most {MOST_CATEGORIES} different texts, got {len(found)}"
            raise ValueError(f"{self.path}, column {name!r}: {limit}: leave the column out")
        return found

    def target(self, name: str, task: str | None = None, style: Style | None = None) -> tuple[list[str] | None, Array]:
        """The classes of a target in order, and the label of each row; or None, and its numbers.

        Parameters
        ----------
        name : str
        task : {"classification", "regression"}, optional
            Default: numbers are predicted as numbers, unless they are at most ten whole ones, each twice or more on
            average.
        style : Style, optional
            How numbers are written. Default: as most of them are.
        """
        if task == "regression" or (task is None and self.is_numeric(name)):
            values = self.numbers(name, style, cure=": mend it, or predict classes (--task classification)")
            found = np.unique(values)
            amounts = len(found) > min(MOST_WHOLE_NUMBERS, len(self) / 2) or (found != np.floor(found)).any()
            if (amounts or task) and len(found) > 1:
                return None, values
        classes, labels = self._classes(name)
        if not 1 < len(classes) < len(self):
            limit = f"expected at least 2 classes, and fewer than the {len(self)} rows, got {len(classes)}"
            raise ValueError(f"{self.path}, column {name!r}: {limit}")
        return classes, labels

    def _classes(self, name: str) -> tuple[list[str], Array]:
        """The classes in order, and the label of each row: numbers of one value are one class, however spelled."""
        spelled = self.texts(name)
        values: dict[str, Any] = {cell: _value(cell) for cell in set(spelled)}
        if None in values.values():
            values = {cell: cell for cell in values}
        names: dict[Any, str] = {}
        for cell in sorted(values, key=lambda cell: (len(cell), cell)):
            names.setdefault(values[cell], cell)
        if len(names) > MOST_CATEGORIES:
            limit = f"expected at most {MOST_CATEGORIES} classes, got {len(names):,}"
            raise ValueError(f"{self.path}, column {name!r}: {limit}")
        order = {value: i for i, value in enumerate(sorted(names))}
        return [names[value] for value in order], np.array([order[values[cell]] for cell in spelled])


def _value(cell: str) -> int | float | None:
    """The finite number that a cell is, exactly where it is whole."""
    try:
        return int(cell) if "_" not in cell else None
    except ValueError:
        number = PLAIN.number(cell)
        return number if number is not None and math.isfinite(number) else None


def read(path: str | os.PathLike[str], header: bool | None = None) -> Table:
    """Read a CSV file.

    Parameters
    ----------
    path : str or path-like
        UTF-8; cells are divided by commas, semicolons or tabs, whichever divide the first lines evenly. ``"-"`` is the
        standard input.
    header : bool, optional
        Whether the first row names the columns; where it does not, they are called "1", "2" and so on. Default: it
        does, but a file whose first row looks like data is refused.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        With the file and, where there is one, the row and the column.
    OSError
        If it cannot be read, as a folder, a device, or a pipe that nobody writes to.
    """
    given = os.fsdecode(path)
    source = "stdin" if given in STDIN else given
    text = _text(_bytes(given), source)
    delimiter = _delimiter(text)
    records = list(_records(text, delimiter, source))
    if not records:
        raise ValueError(f"{source}: expected a header and rows, got an empty file")
    line, names = records[0]
    if header is None and looks_like_data(names, [cells for _, cells in records[1:]]):
        numbers = all(PLAIN.number(name) is not None for name in names)
        got = "only numbers" if numbers else f"what looks like data, {shortened(names)}"
        cure = "if it is data, read the file without a header (--no-header), if names, with one (--header)"
        raise ValueError(f"{source}, row {line}: expected a header of column names, got {got}: {cure}")
    if header is False:
        names = [str(i + 1) for i in range(len(names))]
    else:
        del records[0]
        _check_names(names, source, line)
    for line, cells in records:
        if len(cells) != len(names):
            where = "in the first row" if header is False else "in the header"
            raise ValueError(f"{source}, row {line}: expected {len(names)} cells, as {where}, got {len(cells)}")
    if not records:
        raise ValueError(f"{source}: expected rows beneath the header, got none")
    columns = dict(zip(names, zip(*(cells for _, cells in records), strict=True), strict=True))
    return Table(source, columns, [line for line, _ in records], delimiter, header is not False)


def _check_names(names: list[str], source: str, line: int) -> None:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if not name or name in seen:
            got = f"{name!r} a second time" if name else "an empty cell"
            raise ValueError(f"{source}, row {line}, column {i + 1}: expected a name of its own, got {got}")
        seen.add(name)


def looks_like_data(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row of a file is one of data rather than names.

    It is where every column of numbers begins with one, unless those are years in a row, or whole numbers far from all
    beneath them; and where, if there is no such column, most cells of the row stand beneath again.
    """
    columns = list(zip(first, *(cells for cells in rows if len(cells) == len(first)), strict=True))
    surveys = [Survey(cells[1:1000]) for cells in columns]
    styles = [survey.style() if survey.is_numeric else None for survey in surveys]
    heads = [(cells, style) for cells, style in zip(columns, styles, strict=True) if style]
    if not heads:
        again = sum(cells[0] in survey.texts for cells, survey in zip(columns, surveys, strict=True))
        return len(first) > 1 and 2 * again > len(first)
    if not all(style.number(cells[0]) is not None or is_missing(cells[0]) for cells, style in heads):
        return False
    years = [int(cells[0]) if re.fullmatch("[12][0-9]{3}", cells[0]) else 0 for cells, _ in heads]
    in_a_row = len(years) > 1 and years[0] > 0 and years == [*range(years[0], years[0] + len(years))]
    return not (in_a_row or all(_is_far(cells, style) for cells, style in heads))


def _is_far(cells: Sequence[str], style: Style) -> bool:
    """Whether the first cell is a whole number further from all others than they are from one another."""
    numbers = (style.number(cell) for cell in cells[1:])
    others = [number for number in numbers if number is not None and math.isfinite(number)]
    spread = max(others, default=0.0) - min(others, default=0.0)
    return (
        cells[0].isdecimal() and len(others) > 1 and not min(others) - spread <= float(cells[0]) <= max(others) + spread
    )


# From a file to text.


def _bytes(path: str) -> bytes:
    """All that a file, a pipe or the standard input holds."""
    if path in STDIN:
        return _from_stdin()
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if stat.S_ISFIFO(status.st_mode):
            return _joined(_from_pipe(descriptor, path), path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: expected a file, got a device")
        if status.st_size > MOST_BYTES:
            raise _too_large(path)
        return _joined(iter(lambda: os.read(descriptor, 2**20), b""), path)
    finally:
        os.close(descriptor)


def _from_stdin() -> bytes:
    if sys.stdin is None:
        raise ValueError("stdin: expected a file or a pipe, got none")
    stream = sys.stdin.buffer
    with suppress(io.UnsupportedOperation):  # a stream of the program's own
        descriptor = stream.fileno()
        if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
            raise ValueError("stdin: expected a file or a pipe, got a device")
    try:
        return _joined(iter(lambda: stream.read(2**20), b""), "stdin")
    except OSError as error:
        error.filename = "stdin"
        raise


def _from_pipe(descriptor: int, path: str) -> Iterator[bytes]:
    """What is written to a pipe that was opened without waiting for somebody to write."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    latest, written_to = time.monotonic() + PATIENCE, False
    while written_to or time.monotonic() < latest:
        ended = any(events & select.POLLHUP for _, events in poll.poll(50))
        try:
            piece = os.read(descriptor, 2**20)
        except BlockingIOError:  # somebody has it open, and nothing to say yet
            written_to = True
            continue
        if piece:
            written_to = True
            yield piece
        elif ended or written_to:
            return
    raise ValueError(f"{path}: expected a file, got a pipe that nobody writes to")


def _joined(pieces: Iterator[bytes], source: str) -> bytes:
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > MOST_BYTES:
            raise _too_large(source)
    return bytes(data)


def _too_large(source: str) -> ValueError:
    return ValueError(f"{source}: expected at most {MOST_BYTES:,} bytes, got more: train on a part of the rows")


def _text(data: bytes, source: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise ValueError(f"{source}, row {line}: expected UTF-8, got the byte {byte:#04x}") from error
    if "\0" in text:  # the csv module of Python 3.11 and later lets it pass
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{source}, row {line}: expected text, got a NUL byte")
    return text


def _delimiter(text: str) -> str:
    """What divides the first records evenly, commas last since there are decimal commas; else the first record most."""
    widths = {delimiter: _widths(text[: 2**20], delimiter) for delimiter in "\t;,"}
    even = [delimiter for delimiter, counts in widths.items() if len(set(counts)) == 1]
    most = max(",;\t", key=lambda delimiter: widths[delimiter][0])
    if widths[most][0] == 1:  # one column, which nothing is to divide
        return even[-1] if even else most
    return next((delimiter for delimiter in even if widths[delimiter][0] > 1), most)


def _widths(text: str, delimiter: str) -> list[int]:
    """How many cells the first records have."""
    widths = []
    with suppress(csv.Error):
        for cells in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 20):
            widths += [len(cells)] if cells else []
    return widths or [0]


def _records(text: str, delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each after the line on which it begins."""
    begin = 1
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for cells in reader:
            if cells:
                yield begin, [cell.strip() for cell in cells]
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{source}, row {begin}: expected CSV: {error}") from error
