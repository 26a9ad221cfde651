"""Messages and progress on the screen: one status line on a terminal, plain lines elsewhere."""

import re
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from frostline.base.ahead import Ahead, duration
from frostline.base.log import Log
from frostline.base.status_line import StatusLine, TerminalBar, Waiting, unheard

PLAIN_EVERY_S = 10.0
# What makes a terminal act: C0 but for tab and line feed, delete, C1, and marks that turn the
# direction of text or begin a line.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_INDENT = "  "


def printable(text: str) -> str:
    """Returns text with its control characters escaped: names of files may hold any."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Bar(Protocol):
    """The progress of one step."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts `count` more units as done, and shows `note` beside them."""


@dataclass(frozen=True)
class Console:
    """Where messages go. `Console(None)` is silent.

    Attributes:
        stream: The stream to write to: standard error by default, so that output can be piped.
        verbose: Whether details are shown too; they are always in the log.
        log: Keeps all that is said, shown or not; None where nobody will read it.
        ahead: What the job is expected to take yet.
    """

    stream: TextIO | None = field(default_factory=lambda: sys.stderr)
    verbose: bool = False
    log: Log | None = None
    ahead: Ahead = field(default_factory=Ahead)
    _status: list[StatusLine] = field(default_factory=list, repr=False, compare=False)

    def say(self, text: str) -> None:
        """Writes one line; control characters and what the stream cannot encode are escaped."""
        self._keep(text)
        self._write(text)

    def detail(self, text: str) -> None:
        """Writes one line for those who want to know all; see `say`."""
        self._keep(text)
        if self.verbose:
            self._write(text)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Writes rows of cells in aligned columns, as details."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.detail("  " + "  ".join(cells).rstrip())

    @contextmanager
    def step(self, what: str, step: str = "") -> Iterator[None]:
        """Shows on a terminal that something is being done that has nothing to count.

        Args:
            what: What is being done.
            step: Its name in `ahead`.
        """
        begun = time.monotonic()
        if self._is_terminal():
            with self._line().showing(Waiting(what, self.ahead, step).render):
                yield
        else:
            yield
        self.ahead.took(step, time.monotonic() - begun)

    @contextmanager
    def bar(self, total: int, what: str, unit: str = "image", step: str = "") -> Iterator[Bar]:
        """Shows how far a step of `total` units is, and the time left of all that is to come.

        Args:
            total: How many units there are.
            what: What is being done.
            unit: What is counted.
            step: Its name in `ahead`.
        """
        begun = time.monotonic()
        if self._is_terminal():
            assert self.stream is not None
            plain = not _encodes(self.stream, "█░…")
            shown = TerminalBar(total, _capital(what), self.ahead, step, plain)
            with self._line().showing(shown.render):
                yield shown
        else:
            yield _PlainBar(self, total, what, unit, step)
        self.ahead.took(step, time.monotonic() - begun)

    def _keep(self, text: str) -> None:
        if self.log is not None:
            self.log.add(printable(text))

    def _write(self, text: str) -> None:
        if self.stream is None:
            return
        line = _encodable(printable(text), self.stream)
        with unheard():
            if self._is_terminal():
                self._line().write(_wrapped(line, self._line().columns()) + "\n")
            else:
                self.stream.write(line + "\n")
                self.stream.flush()

    def _is_terminal(self) -> bool:
        return is_terminal(self.stream)

    def _line(self) -> StatusLine:
        if not self._status:
            assert self.stream is not None
            self._status.append(StatusLine(self.stream))
        return self._status[0]


QUIET = Console(None)


def is_terminal(stream: TextIO | None) -> bool:
    """Says whether a stream is a terminal; one that is closed, or no real one, is none."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):
        return False


def _wrapped(text: str, columns: int) -> str:
    """Breaks lines between words: a terminal would break them anywhere."""
    lines = []
    for line in text.split("\n"):
        hanging = " " * (len(line) - len(line.lstrip())) + _INDENT
        lines += textwrap.wrap(
            *(line, columns - 1),
            subsequent_indent=hanging,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            drop_whitespace=True,
        ) or [""]
    return "\n".join(lines)


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _PlainBar:
    """Says every ten seconds how far a step is; its end is a detail."""

    def __init__(self, console: Console, total: int, what: str, unit: str, step: str) -> None:
        self._console, self._total, self._what, self._unit = console, total, what, unit
        self._step = step
        self._done = 0
        self._started = self._last_shown = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        now = time.monotonic()
        # Training, which passes notes, writes a line of its own after each epoch.
        is_complete = self._done >= self._total > 0 and not note
        if now - self._last_shown < PLAIN_EVERY_S and not is_complete:
            return
        self._last_shown = now
        spent = now - self._started
        rate = self._done / max(spent, 1e-9)
        far = f"{self._what}: {self._done}/{self._total} {self._unit}s"
        if is_complete:
            self._console.detail(f"{far}, {rate:.0f}/s, done")
            return
        own_left = max(self._total - self._done, 0) / rate if rate else 0.0
        note = f"; {note}" if note and self._console.verbose else ""
        left = duration(self._console.ahead.left_s(self._step, spent, own_left))
        self._console.say(f"{far}, about {left} left{note}")
