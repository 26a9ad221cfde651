"""Protocol buffers without their schema: a message is a list of numbered fields.

Only the wire format is known here (varints, 64 and 32 bits, lengths); what a number means is said
by those who read. Long values stay on disk as stretches. Every step goes forward, so a message
takes as many steps as it has bytes at the most.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from frostline.networks.weights_files.sources import MemorySource, Span, whole

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# A field's number and length take ten bytes each at the most.
_HEADER_BYTES = 20
# Messages up to this size are read whole, larger ones field by field.
_SMALL_BYTES = 1 << 18
MOST_DEPTH = 64


@dataclass(frozen=True)
class Message:
    """A message: its bytes, and how deep it lies in others. It is taken apart once, when asked."""

    span: Span
    depth: int = 0

    @cached_property
    def _by_number(self) -> "dict[int, list[int | Span]]":
        found: dict[int, list[int | Span]] = {}
        for number, value in self.fields:
            found.setdefault(number, []).append(value)
        return found

    @cached_property
    def fields(self) -> "tuple[tuple[int, int | Span], ...]":
        """Each field's number and value, in order: a whole number, or a stretch of bytes.

        Numbers of 32 and 64 bits come as their bits; see `as_float`.

        Raises:
            ValueError: Where this is no message.
        """
        if self.depth > MOST_DEPTH:
            raise ValueError(f"messages within messages, more than {MOST_DEPTH} deep")
        return tuple(_near(self.span) if self.span.size <= _SMALL_BYTES else _far(self.span))

    def values(self, number: int) -> "list[int | Span]":
        """Returns the values of a repeated field."""
        return self._by_number.get(number, [])

    def below(self, value: "int | Span") -> "Message":
        """Returns the message that a field's value is."""
        return Message(_stretch(value), self.depth + 1)

    def one(self, number: int) -> "Message | None":
        """Returns the last message in a field, or None where there is none."""
        found = self.values(number)
        return self.below(found[-1]) if found else None

    def many(self, number: int) -> "list[Message]":
        """Returns the messages of a repeated field."""
        return [self.below(value) for value in self.values(number)]

    def text(self, number: int) -> str:
        """Returns a text, empty where it is absent."""
        found = self.values(number)
        return as_text(found[-1]) if found else ""

    def texts(self, number: int) -> tuple[str, ...]:
        """Returns the texts of a repeated field."""
        return tuple(map(as_text, self.values(number)))

    def number(self, number: int, default: int = 0) -> int:
        """Returns a whole number, signed."""
        found = self.values(number)
        return as_signed(found[-1]) if found else default

    def numbers(self, number: int) -> tuple[int, ...]:
        """Returns the numbers of a repeated field, packed or not, signed."""
        return tuple(
            as_signed(one)
            for value in self.values(number)
            for one in (varints(value) if isinstance(value, Span) else (value,))
        )

    def table(self, number: int) -> "dict[str, Message]":
        """Returns a map from texts to messages."""
        found = {}
        for entry in self.many(number):
            value = entry.one(2)
            found[entry.text(1)] = value if value is not None else empty(entry.depth + 1)
        return found


def empty(depth: int = 0) -> Message:
    """Returns a message without fields, which is what an absent one means."""
    return Message(whole(MemorySource(b"")), depth)


def as_text(value: "int | Span") -> str:
    """Returns a field's value as text; bytes that are none are escaped."""
    return _stretch(value).read().decode("utf-8", "backslashreplace")


def as_bytes(value: "int | Span") -> bytes:
    """Returns a field's value as bytes."""
    return _stretch(value).read()


def as_signed(value: "int | Span") -> int:
    """Returns a varint as a signed number of 64 bits."""
    if isinstance(value, Span):
        raise ValueError("bytes, where a number must be")
    return value - (1 << 64) if value >= 1 << 63 else value


def as_float(value: "int | Span") -> float:
    """Returns the bits of a 32-bit field as a number."""
    if isinstance(value, Span) or value >= 1 << 32:
        raise ValueError("another type, where a float must be")
    return float(struct.unpack("<f", struct.pack("<I", value))[0])


def packed(values: "Sequence[int | Span]", width: int) -> bytes:
    """Returns numbers of fixed width, packed or one a field, as their bytes."""
    parts = [
        one.read()
        if isinstance(one, Span)
        else (one & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        for one in values
    ]
    return b"".join(parts)


def varints(span: Span) -> list[int]:
    """Returns the varints that fill a stretch."""
    data, at, found = span.read(), 0, []
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _stretch(value: "int | Span") -> Span:
    if not isinstance(value, Span):
        raise ValueError("a number, where bytes must be")
    return value


def _near(span: Span) -> Iterator[tuple[int, "int | Span"]]:
    # Stretches within point to the bytes in memory: nothing below is read from disk again.
    if not isinstance(span.source, MemorySource):
        span = whole(MemorySource(span.read()))
    data, at, stop = span.source.data, span.start, span.stop  # type: ignore[attr-defined]
    while at < stop:
        number, value, at = _field(data, at, stop)
        yield number, Span(span.source, *value) if isinstance(value, tuple) else value


def _far(span: Span) -> Iterator[tuple[int, "int | Span"]]:
    at = 0
    while at < span.size:
        head = span.read(at, min(_HEADER_BYTES, span.size - at))
        number, value, step = _field(head, 0, span.size - at)
        yield (
            number,
            span.part(at + value[0], value[1] - value[0]) if isinstance(value, tuple) else value,
        )
        at += step


def _field(data: bytes, at: int, stop: int) -> tuple[int, int | tuple[int, int], int]:
    """Returns a field's number, its value or where that lies, and where the next field begins."""
    key, at = _varint(data, at)
    number, wire = key >> 3, key & 7
    if number == 0:
        raise ValueError("field number 0")
    if wire == _VARINT:
        value, at = _varint(data, at)
        ends, found = at, value
    elif wire in (_FIXED64, _FIXED32):
        width = 8 if wire == _FIXED64 else 4
        ends, found = at + width, int.from_bytes(data[at : at + width], "little")
    elif wire == _BYTES:
        length, at = _varint(data, at)
        ends = at + length
        if ends > stop:
            raise ValueError(f"field {number} is {length} bytes long, and {stop - at} are left")
        return number, (at, ends), ends
    else:
        raise ValueError(f"wire type {wire}")
    if ends > stop:
        raise ValueError(f"field {number} is cut short")
    return number, found, ends


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << 64) - 1), at
        shift += 7
    raise ValueError("a number is cut short or longer than ten bytes")
