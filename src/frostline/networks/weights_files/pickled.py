"""Pickles taken apart as data: nothing is imported, called or built, by construction.

A pickle is a program for a small stack machine. This machine knows plain values and containers;
whatever names a class or calls it becomes a `Name` or a `Call`, a record for the reader to judge.
Names that a reader does not admit are refused where they stand. Long strings stay on disk.
"""

import codecs
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from frostline.networks.weights_files.sources import Span

# Longer byte strings and texts are left in the file.
_LONG_BYTES = 4096
# Arrays of protocol 0 are one line.
_MOST_LINE = 1 << 24
_MOST_STEPS = 20_000_000


class ForeignName(ValueError):  # noqa: N818 (it is caught and told as what it is: a name)
    """A pickle needs something that its reader does not admit."""


@dataclass(frozen=True)
class Name:
    """A class or function, by name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Call:
    """What a pickle would have called, and what it would have put into the result."""

    what: Name
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, eq=False)
class Outside:
    """Something the pickle takes from outside, by its key."""

    key: Any


@dataclass(frozen=True)
class LongText:
    """A text that is left in the file, in UTF-8."""

    span: Span


Construct = Callable[[Name, tuple[Any, ...]], Any]


def take_apart(
    span: Span, admitted: Collection[str], construct: Construct = Call
) -> tuple[Any, int]:
    """Returns what a pickle holds, and where it ends within `span`.

    Args:
        span: Begins with the pickle.
        admitted: The full names that it may name.
        construct: Makes a value of an admitted name and its arguments; a `Call` if not given.

    Raises:
        ForeignName: Where it names anything else.
        ValueError: Where it is no pickle.
    """
    machine = _Machine(span, frozenset(admitted), construct)
    for _ in range(_MOST_STEPS):
        code = machine.take(1)[0]
        if code == ord("."):
            return machine.pop(), machine.at
        step = _STEPS.get(code)
        if step is None:
            raise ValueError(f"opcode {code:#04x}")
        step(machine)
    raise ValueError("a pickle of too many steps")


class _Machine:
    """The stack, the memo and the place in the file."""

    def __init__(self, span: Span, admitted: frozenset[str], construct: Construct) -> None:
        self._span, self._admitted, self._construct = span, admitted, construct
        self.at = 0
        self._page, self._page_at = b"", 0
        self.stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def take(self, length: int) -> bytes:
        """Returns the next bytes; small reads come from a page in memory."""
        begin = self.at - self._page_at
        if begin < 0 or begin + length > len(self._page):
            left = self._span.size - self.at
            if length > left:
                raise ValueError("the pickle is cut short")
            self._page = self._span.read(self.at, min(left, max(length, 1 << 14)))
            self._page_at, begin = self.at, 0
        self.at += length
        return self._page[begin : begin + length]

    def number(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0])

    def raw_line(self) -> bytes:
        """Returns the bytes up to the next line's beginning, page by page."""
        found, begin = b"", self.at
        while True:
            page = self._span.read(self.at, min(1 << 14, self._span.size - self.at))
            end = page.find(b"\n")
            found += page if end < 0 else page[:end]
            self.at += len(page) if end < 0 else end + 1
            if end >= 0:
                return found.removesuffix(b"\r")
            if not page or self.at - begin > _MOST_LINE:
                raise ValueError("a line without end")

    def line(self) -> str:
        return self.raw_line().decode("utf-8", "backslashreplace")

    def long_bytes(self, length: int) -> "bytes | Span":
        if length <= _LONG_BYTES:
            return self.take(length)
        found = self._span.part(self.at, length)
        self.at += length
        return found

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("the stack is empty")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise ValueError("the stack is empty")
        return self.stack[-1]

    def mark(self) -> None:
        self._marks.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        if not self._marks:
            raise ValueError("no mark")
        found, self.stack = self.stack, self._marks.pop()
        return found

    def name(self, module: Any, name: Any) -> Name:
        found = Name(str(module), str(name))
        if str(found) not in self._admitted:
            raise ForeignName(str(found))
        return found

    def call(self, what: Any, arguments: Any) -> None:
        if not isinstance(what, Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of what is no name")
        self.push(self._construct(what, arguments))

    def build(self) -> None:
        state, built = self.pop(), self.top()
        if isinstance(built, Call):
            built.state = state

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise ValueError("an append to what is no list")
        target.extend(values)

    def fill(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise ValueError("an entry in what is no table")
        target.update(_table(values))

    def fetch(self, key: int) -> None:
        if key not in self.memo:
            raise ValueError("a value that was not kept")
        self.push(self.memo[key])


def _table(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    keys = values[0::2]
    if any(isinstance(key, (list, dict)) or not _hashable(key) for key in keys):
        raise ValueError("a key that is no key")
    return dict(zip(keys, values[1::2], strict=True))


def _hashable(key: Any) -> bool:
    try:
        hash(key)
    except (TypeError, RecursionError):
        return False
    return True


def _whole(text: str) -> int | bool:
    """A number in digits; `00` and `01` are how old protocols write False and True."""
    if text in ("00", "01"):
        return text == "01"
    if len(text) > 1000:
        raise ValueError("a whole number of too many digits")
    return int(text.removesuffix("L"))


def _signed(machine: _Machine, length: int) -> int:
    if length > 1024:
        raise ValueError("a whole number of too many digits")
    return int.from_bytes(machine.take(length), "little", signed=True)


def _text(machine: _Machine, length: int) -> "str | LongText":
    found = machine.long_bytes(length)
    if isinstance(found, Span):
        return LongText(found)
    return found.decode("utf-8", "surrogatepass")


def _old_text(machine: _Machine, length: int) -> "str | Span":
    """A `str` of Python 2: a text or bytes, nobody knows."""
    found = machine.long_bytes(length)
    return found if isinstance(found, Span) else found.decode("latin-1")


def _quoted(machine: _Machine) -> None:
    line = machine.raw_line()
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise ValueError("a text without quotes")
    machine.push(codecs.escape_decode(line[1:-1])[0].decode("latin-1"))


def _instance(machine: _Machine) -> None:
    what = machine.name(machine.line(), machine.line())
    machine.call(what, tuple(machine.to_mark()))


def _object(machine: _Machine) -> None:
    values = machine.to_mark()
    machine.call(values[0] if values else None, tuple(values[1:]))


def _reduce(machine: _Machine) -> None:
    arguments = machine.pop()
    machine.call(machine.pop(), arguments)


def _stack_name(machine: _Machine) -> None:
    name = machine.pop()
    machine.push(machine.name(machine.pop(), name))


def _new_with_keywords(machine: _Machine) -> None:
    if machine.pop():
        raise ValueError("a call with keywords")
    _reduce(machine)


def _set_item(machine: _Machine) -> None:
    value = machine.pop()
    key = machine.pop()
    machine.fill([key, value])


def _keep(machine: _Machine, key: int) -> None:
    machine.memo[key] = machine.top()


def _tuple(machine: _Machine, length: int) -> None:
    values = [machine.pop() for _ in range(length)]
    machine.push(tuple(reversed(values)))


def _frozen(machine: _Machine) -> None:
    machine.push(tuple(machine.to_mark()))


_CODES: Mapping[str, Callable[[_Machine], Any]] = {
    "(": _Machine.mark,
    "0": _Machine.pop,
    "1": _Machine.to_mark,
    "2": lambda m: m.push(m.top()),
    "F": lambda m: m.push(float(m.line())),
    "I": lambda m: m.push(_whole(m.line())),
    "J": lambda m: m.push(m.number("i")),
    "K": lambda m: m.push(m.number("B")),
    "L": lambda m: m.push(_whole(m.line())),
    "M": lambda m: m.push(m.number("H")),
    "N": lambda m: m.push(None),
    "P": lambda m: m.push(Outside(m.line())),
    "Q": lambda m: m.push(Outside(m.pop())),
    "R": _reduce,
    "S": _quoted,
    "T": lambda m: m.push(_old_text(m, m.number("I"))),
    "U": lambda m: m.push(_old_text(m, m.number("B"))),
    "V": lambda m: m.push(m.raw_line().decode("raw_unicode_escape")),
    "X": lambda m: m.push(_text(m, m.number("I"))),
    "a": lambda m: m.extend([m.pop()]),
    "b": _Machine.build,
    "c": lambda m: m.push(m.name(m.line(), m.line())),
    "d": lambda m: m.push(_table(m.to_mark())),
    "}": lambda m: m.push({}),
    "e": lambda m: m.extend(m.to_mark()),
    "g": lambda m: m.fetch(_whole(m.line())),
    "h": lambda m: m.fetch(m.number("B")),
    "i": _instance,
    "j": lambda m: m.fetch(m.number("I")),
    "l": lambda m: m.push(m.to_mark()),
    "]": lambda m: m.push([]),
    "o": _object,
    "p": lambda m: _keep(m, _whole(m.line())),
    "q": lambda m: _keep(m, m.number("B")),
    "r": lambda m: _keep(m, m.number("I")),
    "s": _set_item,
    "t": _frozen,
    ")": lambda m: m.push(()),
    "u": lambda m: m.fill(m.to_mark()),
    "G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    "B": lambda m: m.push(m.long_bytes(m.number("I"))),
    "C": lambda m: m.push(m.long_bytes(m.number("B"))),
    "\x80": lambda m: m.take(1),
    "\x81": _reduce,
    "\x85": lambda m: _tuple(m, 1),
    "\x86": lambda m: _tuple(m, 2),
    "\x87": lambda m: _tuple(m, 3),
    "\x88": lambda m: m.push(True),
    "\x89": lambda m: m.push(False),
    "\x8a": lambda m: m.push(_signed(m, m.number("B"))),
    "\x8b": lambda m: m.push(_signed(m, m.number("I"))),
    "\x8c": lambda m: m.push(_text(m, m.number("B"))),
    "\x8d": lambda m: m.push(_text(m, m.number("Q"))),
    "\x8e": lambda m: m.push(m.long_bytes(m.number("Q"))),
    "\x8f": lambda m: m.push([]),
    "\x90": lambda m: m.extend(m.to_mark()),
    "\x91": _frozen,
    "\x92": _new_with_keywords,
    "\x93": _stack_name,
    "\x94": lambda m: _keep(m, len(m.memo)),
    "\x95": lambda m: m.take(8),
    "\x96": lambda m: m.push(m.long_bytes(m.number("Q"))),
}
_STEPS = {ord(code): step for code, step in _CODES.items()}
