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
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from reprlib import repr as shortened

from ..distributed import current
from .cells import PLAIN, Style, Survey, is_missing
from .table import Table

__all__ = ["STDIN", "read"]

#: What stands for the standard input.
STDIN = ("-", "/dev/stdin", "/dev/fd/0")
#: What stands for the number of a process in the name of a file, where each has its own.
OF_RANK = "{rank}"
#: As texts the cells take ten times as much memory as the file.
MOST_BYTES = 2**30
#: How files begin that hold something else, and what it is.
PACKED = (
    (b"\x1f\x8b", "one packed by gzip", "unpack it first"),
    (b"PK\x03\x04", "a spreadsheet or an archive", "save the table as CSV, or unpack it, first"),
)
#: How many seconds to wait for somebody to write to a pipe.
PATIENCE = 5.0


def read(
    path: str | os.PathLike[str], header: bool | None = None, lenient: bool = False, names: Collection[str] = ()
) -> Table:
    """Read a CSV file.

    Parameters
    ----------
    path : str or path-like
        UTF-8; cells are divided by commas, semicolons, tabs or bars (``|``), whichever divide the first lines evenly.
        ``"-"`` is the standard input.
    header : bool, optional
        Whether the first row names the columns; where it does not, they are called "1", "2" and so on. Default: it
        does, but a file whose first row looks like data is refused.
    lenient : bool, default False
        Whether to take what is refused otherwise, as raw files have it: a first row that looks like data is data, and
        columns without a name of their own get one, "Unnamed: 0" or "name.1".
    names : collection of str
        Columns that somebody knows: a first row with one of them names the columns.

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
    declared = text[4] if re.match(r"sep=[^\w\s][\r\n]", text) else ""  # as Excel writes it, in a line of its own
    delimiter = declared or _delimiter(text)
    records = list(_records(text, delimiter, source))[bool(declared) :]
    if not records:
        raise ValueError(f"{source}: expected a header and rows, got an empty file")
    if header is None:
        header = _has_header(records, source, lenient, names)
    line, first = records[0]
    repeated = [name for name in dict.fromkeys(first) if name and first.count(name) > 1] if header else []
    if header:
        del records[0]
        first = _own_names(_beside_row_names(first, records)) if lenient else first
        _check_names(first, source, line)
    else:
        first = [str(i + 1) for i in range(len(first))]
    for line, cells in records:
        if len(cells) != len(first):
            where = "in the header" if header else "in the first row"
            raise ValueError(f"{source}, row {line}: expected {len(first)} cells, as {where}, got {len(cells)}")
    if not records:
        raise ValueError(f"{source}: expected rows beneath the header, got none")
    columns = dict(zip(first, zip(*(cells for _, cells in records), strict=True), strict=True))
    return Table(source, columns, [line for line, _ in records], delimiter, header, repeated=repeated)


def _has_header(records: list[tuple[int, list[str]]], source: str, lenient: bool, known: Collection[str]) -> bool:
    """Whether the first record names the columns."""
    line, first = records[0]
    places = {str(i + 1) for i in range(len(first))}
    if lenient and any(name in first and name not in places for name in known):
        return True
    if not looks_like_data(first, [cells for _, cells in records[1:]]):
        return True
    if lenient:
        return False
    numbers = all(PLAIN.number(name) is not None for name in first)
    got = "only numbers" if numbers else f"what looks like data, {shortened(first)}"
    cure = "if it is data, read the file without a header (--no-header), if names, with one (--header)"
    raise ValueError(f"{source}, row {line}: expected a header of column names, got {got}: {cure}")


def _beside_row_names(names: list[str], records: list[tuple[int, list[str]]]) -> list[str]:
    """The names, with an empty one where all records have a cell more: in front of them, where a row has its name."""
    if not records or any(len(cells) != len(names) + 1 for _, cells in records):
        return names
    return [*names, ""] if not any(cells[-1] for _, cells in records) else ["", *names]


def _own_names(names: list[str]) -> list[str]:
    """Names, each of which there is once."""
    made: list[str] = []
    for i, name in enumerate(names):
        own, n = name or f"Unnamed: {i}", 0
        while own in made or (own != name and own in names):
            n += 1
            own = f"{name or f'Unnamed: {i}'}.{n}"
        made.append(own)
    return made


def _check_names(names: list[str], source: str, line: int) -> None:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if not name or name in seen:
            got = f"{name!r} a second time" if name else "an empty cell"
            raise ValueError(f"{source}, row {line}, column {i + 1}: expected a name of its own, got {got}")
        seen.add(name)


def looks_like_data(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row of a file is one of data rather than names.

    It is where every column of numbers begins with one, unless those count, as years in a row or 0, 1, 2, or stand at
    one distance, or are whole numbers far from all beneath them; and where, if there is no such column, most cells of
    the row stand beneath again.
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
    return not (
        _count(first)
        or _count([cells[0] for cells, _ in heads])
        or all(_is_far(cells, style) for cells, style in heads)
    )


def _count(heads: Sequence[str]) -> bool:
    """Whether these are years in a row, or 0, 1, 2 and so on, or four numbers and more at one distance."""
    whole = [int(cell) if cell.isdecimal() and len(cell) < 10 else -1 for cell in heads]
    in_a_row = whole == [*range(whole[0], whole[0] + len(whole))]
    if in_a_row and ((999 < whole[0] < 3000 and len(whole) > 1) or (whole[0] in (0, 1) and len(whole) > 2)):
        return True
    numbers = [number for cell in heads if (number := PLAIN.number(cell)) is not None]
    steps = [after - before for before, after in pairwise(numbers)]
    return len(heads) > 3 and len(numbers) == len(heads) and steps[0] > 0 and max(steps) - min(steps) < 1e-6 * steps[0]


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
    """All that a file, a pipe or the standard input holds; where several processes read it, each a part."""
    ranks = current()
    if ranks is None:
        return _all_bytes(path)
    if OF_RANK in path:
        return _below_one_header(ranks.all(_all_bytes(path.replace(OF_RANK, str(ranks.rank)))))
    if path in STDIN or not Path(path).is_file():
        return bytes(ranks.from_first(_all_bytes(path) if ranks.rank == 0 else None))
    size = Path(path).stat().st_size
    if size > MOST_BYTES:
        raise _too_large(path)
    begin, end = (size * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1))
    with Path(path).open("rb") as file:
        file.seek(begin)
        return b"".join(ranks.all(file.read(end - begin)))


def _below_one_header(files: list[bytes]) -> bytes:
    """Files one below the other, of which those that begin as the first does begin with the header."""
    header, _, _ = files[0].partition(b"\n")
    header = header.rstrip(b"\r")
    found = files[0]
    for data in files[1:]:
        if not found.endswith(b"\n"):
            found += b"\n"
        first, _, rest = data.partition(b"\n")
        found += rest if first.rstrip(b"\r") == header else data
    return found


def _all_bytes(path: str) -> bytes:
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
    for begin, kind, cure in PACKED:
        if data.startswith(begin):
            raise ValueError(f"{source}: expected a CSV file, got {kind}: {cure}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        cure = 'save it as "CSV UTF-8", or convert it with iconv'
        raise ValueError(f"{source}, row {line}: expected UTF-8, got the byte {byte:#04x}: {cure}") from error
    if "\0" in text:  # the csv module of Python 3.11 and later lets it pass
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{source}, row {line}: expected text, got a NUL byte")
    return text


def _delimiter(text: str) -> str:
    """What divides the first records evenly, commas last since there are decimal commas; else the first record most."""
    widths = {delimiter: _widths(text[: 2**20], delimiter) for delimiter in "\t;|,"}
    even = [delimiter for delimiter, counts in widths.items() if len(set(counts)) == 1]
    most = max(",;\t|", key=lambda delimiter: widths[delimiter][0])
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
