"""FlatBuffers without their schema: a table is a list of numbered slots, each somewhere else.

Every offset is checked against the buffer before it is followed.
"""

import struct
from dataclasses import dataclass

from frostline.networks.weights_files.sources import Span

_CODES = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
}


@dataclass(frozen=True)
class Table:
    """A table: where it lies, and where its slots lie.

    Attributes:
        span: The whole buffer.
        at: The table's first byte.
        slots: Each slot's offset from there; 0 where it is absent.
    """

    span: Span
    at: int
    slots: tuple[int, ...]

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """Returns a whole number, `default` where it is absent."""
        at = self._place(slot)
        return default if at is None else int(_scalar(self.span, at, kind))

    def real(self, slot: int, default: float = 0.0) -> float:
        """Returns a 32-bit float."""
        at = self._place(slot)
        return default if at is None else float(_scalar(self.span, at, "float32"))

    def text(self, slot: int) -> str:
        """Returns a text, empty where it is absent."""
        found = self.stretch(slot)
        return found.read().decode("utf-8", "backslashreplace") if found else ""

    def table(self, slot: int) -> "Table | None":
        """Returns the table a slot points to."""
        at = self._place(slot)
        return None if at is None else _table(self.span, _follow(self.span, at))

    def tables(self, slot: int) -> "list[Table]":
        """Returns the tables of a vector."""
        found = self._vector(slot, 4)
        if found is None:
            return []
        at, count = found
        return [_table(self.span, _follow(self.span, at + 4 * i)) for i in range(count)]

    def texts(self, slot: int) -> tuple[str, ...]:
        """Returns the texts of a vector."""
        found = self._vector(slot, 4)
        if found is None:
            return ()
        at, count = found
        places = [_follow(self.span, at + 4 * i) for i in range(count)]
        spans = [_counted(self.span, place, 1) for place in places]
        return tuple(self.span.read(*one).decode("utf-8", "backslashreplace") for one in spans)

    def numbers(self, slot: int, kind: str) -> tuple[int | float, ...]:
        """Returns the numbers of a vector."""
        code = _CODES[kind]
        found = self._vector(slot, struct.calcsize(code))
        if found is None:
            return ()
        at, count = found
        data = self.span.read(at, count * struct.calcsize(code))
        return struct.unpack(f"<{count}{code}", data)

    def stretch(self, slot: int) -> Span | None:
        """Returns where the bytes of a vector lie."""
        found = self._vector(slot, 1)
        return None if found is None else self.span.part(*found)

    def _place(self, slot: int) -> int | None:
        offset = self.slots[slot] if slot < len(self.slots) else 0
        return self.at + offset if offset else None

    def _vector(self, slot: int, width: int) -> tuple[int, int] | None:
        at = self._place(slot)
        return None if at is None else _counted(self.span, _follow(self.span, at), width)


def root(span: Span) -> Table:
    """Returns the table a buffer begins with.

    Raises:
        ValueError: Where this is no FlatBuffer.
    """
    return _table(span, _follow(span, 0))


def _table(span: Span, at: int) -> Table:
    plan = at - int(_scalar(span, at, "int32"))
    length = int(_scalar(span, plan, "uint16"))
    if length < 4 or length % 2:
        raise ValueError(f"a table at byte {at} has a plan of {length} bytes")
    slots = struct.unpack(f"<{length // 2 - 2}H", span.read(plan + 4, length - 4))
    return Table(span, at, slots)


def _follow(span: Span, at: int) -> int:
    return at + int(_scalar(span, at, "uint32"))


def _counted(span: Span, at: int, width: int) -> tuple[int, int]:
    """Returns where a vector's first element lies, and how many there are."""
    count = int(_scalar(span, at, "uint32"))
    if at + 4 + count * width > span.size:
        raise ValueError(f"a vector at byte {at} has {count} elements, beyond the file's end")
    return at + 4, count


def _scalar(span: Span, at: int, kind: str) -> int | float | bool:
    code = _CODES[kind]
    value: int | float | bool = struct.unpack(f"<{code}", span.read(at, struct.calcsize(code)))[0]
    return value
