"""The wire format of protocol buffers: messages as bytes, and back, by a table of their fields.

A message is fields, one after the other: a key, number << 3 | wire type, and a value [1]_. Wire type 0 is a varint,
seven bits a byte, the lowest first; 1 and 5 are 64 and 32 bits; 2 is a length and so many bytes: text, another message,
or the numbers of a list, packed. Such lists are read packed or not, and written one by one, as ONNX has them.

A class of messages lists its fields by number, ``1: ("name", "text")``. Kinds are those of `KINDS`, or another class; a
list of them is ``[kind]``. What is `IGNORED` is skipped, what is `REFUSED` is an error that names it, and so is every
field that is not in the table.

References
----------
.. [1] https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..errors import FormatError

__all__ = ["IGNORED", "REFUSED", "Message"]

M = TypeVar("M", bound="Message")

IGNORED, REFUSED = "ignored", "refused"
#: The wire type of each kind of value, and the code of its numbers in an array.
KINDS = {"int": (0, "q"), "float": (5, "f"), "double": (1, "d"), "text": (2, ""), "bytes": (2, "")}
#: Fields, and objects that stand for some, that a file may have: they take more memory than the file does.
MOST_FIELDS, MOST_OBJECTS = 1 << 20, 1 << 16
#: Levels of messages within messages; those of ONNX have six without subgraphs.
DEEPEST = 16


class Message:
    """A message; a subclass lists its fields, which are attributes. What is not there is empty, or None."""

    FIELDS: ClassVar[dict[int, tuple[str, Any]]] = {}

    if TYPE_CHECKING:  # the fields of the table are attributes

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, **values: Any) -> None:
        for name, kind in self.FIELDS.values():
            if kind not in (IGNORED, REFUSED):
                setattr(self, name, values.pop(name) if name in values else _absent(kind))
        assert not values, values

    def pack(self) -> bytes:
        """The bytes of the message, in the order of the table."""
        parts: list[bytes] = []
        for number, (name, kind) in self.FIELDS.items():
            value = getattr(self, name, None)
            if value is None or (isinstance(value, (list, str, bytes, memoryview)) and not len(value)):
                continue
            for one in value if isinstance(kind, list) else [value]:
                parts += _field(number, kind[0] if isinstance(kind, list) else kind, one)
        return b"".join(parts)

    @classmethod
    def unpack(cls: type[M], data: memoryview) -> M:
        """Read what another program has written.

        Raises
        ------
        FormatError
            If there is anything but what the table lists, or more of it than a model has.
        """
        return _Reader().message(cls, data, cls.__name__, 0)


def _absent(kind: Any) -> Any:
    return [] if isinstance(kind, list) else {"text": "", "bytes": b""}.get(kind) if isinstance(kind, str) else None


# Writing.


def _varint(number: int) -> bytes:
    number &= 2**64 - 1  # negative ones in two's complement
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _written(kind: str, value: Any) -> bytes:
    if kind == "int":
        return _varint(value)
    return struct.pack("<f" if kind == "float" else "<d", value)


def _field(number: int, kind: Any, value: Any) -> list[bytes]:
    wire = KINDS[kind][0] if isinstance(kind, str) else 2
    key = _varint(number << 3 | wire)
    if wire != 2:
        return [key, _written(kind, value)]
    content = value.encode() if kind == "text" else value.pack() if isinstance(value, Message) else value
    return [key, _varint(len(content)), content]


# Reading.


class _Reader:
    """Reads messages, and counts what they take."""

    def __init__(self) -> None:
        self.fields = self.objects = 0

    def message(self, cls: type[M], data: memoryview, where: str, depth: int) -> M:
        if depth > DEEPEST:
            raise FormatError(f"{where}: expected at most {DEEPEST} messages within one another")
        found = cls()
        seen = set()
        for number, wire, value in self._pieces(data, where):
            name, kind = cls.FIELDS.get(number, (f"field {number}", REFUSED))
            if kind == REFUSED:
                raise FormatError(f"{where}: expected no {name}, which is not read here, got one")
            if kind == IGNORED:
                continue
            place = f"{where}.{name}"
            if isinstance(kind, list):
                self._append(getattr(found, name), kind[0], wire, value, place, depth)
                continue
            if name in seen:
                raise FormatError(f"{place}: expected one, got two")
            seen.add(name)
            setattr(found, name, self._value(kind, wire, value, place, depth))
        return found

    def _append(self, values: Any, kind: Any, wire: int, value: Any, place: str, depth: int) -> None:
        code = KINDS[kind][1] if isinstance(kind, str) else ""
        if code and wire == 2:
            values.extend(self._packed(kind, code, value, place))
        else:
            values.append(self._value(kind, wire, value, place, depth))

    def _value(self, kind: Any, wire: int, value: Any, place: str, depth: int) -> Any:
        expected = KINDS[kind][0] if isinstance(kind, str) else 2
        if wire != expected:
            raise FormatError(f"{place}: expected wire type {expected}, got {wire}")
        if kind == "int":
            return value
        if wire != 2:
            return struct.unpack("<f" if kind == "float" else "<d", value)[0]
        if kind == "bytes":
            return value
        self.objects += 1
        if self.objects > MOST_OBJECTS:
            raise FormatError(f"{place}: expected at most {MOST_OBJECTS} nodes, attributes, tensors and texts")
        if kind == "text":
            try:
                return str(value, "utf-8")
            except UnicodeDecodeError as error:
                raise FormatError(f"{place}: expected text in UTF-8, got an error: {error}") from error
        of: Any = kind
        return self.message(of, value, place, depth + 1)

    def _packed(self, kind: str, code: str, data: memoryview, place: str) -> Sequence[float]:
        """The numbers of a list."""
        if kind == "int":
            numbers, at = array("q"), 0
            while at < len(data):
                number, at = self._number(data, at, place)
                numbers.append(number)
            return numbers
        size = struct.calcsize(f"<{code}")
        self.fields += len(data) // size
        if len(data) % size or self.fields > MOST_FIELDS:
            raise FormatError(f"{place}: expected numbers of {size} bytes each, got {len(data)} bytes")
        return struct.unpack(f"<{len(data) // size}{code}", data)

    def _pieces(self, data: memoryview, where: str) -> Iterator[tuple[int, int, Any]]:
        """Number, wire type and value of each field."""
        at = 0
        while at < len(data):
            key, at = self._number(data, at, where)
            number, wire = key >> 3, key & 7
            if not 0 < number < 1 << 29 or wire in (3, 4, 6, 7):
                raise FormatError(f"{where}: expected a field, got the key {key}: damaged, or another format")
            if wire == 0:
                value, at = self._number(data, at, where)
                yield number, wire, value
                continue
            size = {1: 8, 5: 4}.get(wire, 0)
            if wire == 2:
                size, at = self._number(data, at, where)
            if not 0 <= size <= len(data) - at:
                raise FormatError(f"{where}: expected {size} bytes of field {number}, got {len(data) - at}: cut off")
            yield number, wire, data[at : at + size]
            at += size

    def _number(self, data: memoryview, at: int, where: str) -> tuple[int, int]:
        """A varint, as a number of 64 bits with a sign; and where it ends."""
        self.fields += 1
        if self.fields > MOST_FIELDS:
            raise FormatError(f"{where}: expected at most {MOST_FIELDS} fields and numbers in lists")
        found = 0
        for i, byte in enumerate(data[at : at + 10]):
            found |= (byte & 127) << 7 * i
            if byte < 128:
                if found >= 1 << 64:
                    break
                return found - (found >> 63 << 64), at + i + 1
        raise FormatError(f"{where}: expected a varint of 64 bits, got another, or the end: damaged, or another format")
