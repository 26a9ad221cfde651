"""Messages and progress on the screen: a bar on a terminal, plain lines elsewhere."""

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TextIO

PLAIN_EVERY_S = 10.0
# What makes a terminal act: C0 but for tab and line feed, delete, C1, and marks that turn the
# direction of text or begin a line.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


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
    """

    stream: TextIO | None = field(default_factory=lambda: sys.stderr)

    def say(self, text: str) -> None:
        """Writes one line; control characters and what the stream cannot encode are escaped."""
        if self.stream is not None:
            encoding = getattr(self.stream, "encoding", None) or "utf-8"
            line = printable(text).encode(encoding, "backslashreplace").decode(encoding)
            self.stream.write(line + "\n")
            self.stream.flush()

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Writes rows of cells in aligned columns."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.say("  " + "  ".join(cells).rstrip())

    @contextmanager
    def bar(self, total: int, what: str, unit: str = "image") -> Iterator[Bar]:
        """Shows the progress of a step of `total` units, its rate, and the time left."""
        if self.stream is not None and self.stream.isatty():
            from tqdm import tqdm

            with tqdm(total=total, desc=what, unit=unit, file=self.stream, leave=False) as bar:
                yield _TerminalBar(bar)
        else:
            yield _PlainBar(self, total, what, unit)


QUIET = Console(None)


class _TerminalBar:
    def __init__(self, bar: object) -> None:
        self._bar = bar

    def advance(self, count: int = 1, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)  # type: ignore[attr-defined]
        self._bar.update(count)  # type: ignore[attr-defined]


class _PlainBar:
    def __init__(self, console: Console, total: int, what: str, unit: str) -> None:
        self._console, self._total, self._what, self._unit = console, total, what, unit
        self._done = 0
        self._started = self._last_shown = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        now = time.monotonic()
        # Training, which passes notes, writes a line of its own after each epoch.
        is_complete = self._done >= self._total > 0 and not note
        if now - self._last_shown >= PLAIN_EVERY_S or is_complete:
            self._last_shown = now
            rate = self._done / max(now - self._started, 1e-9)
            left_s = max(self._total - self._done, 0) / rate if rate else 0.0
            ending = "done" if left_s == 0 else f"{left_s:.0f} s left"
            self._console.say(
                f"{self._what}: {self._done}/{self._total} {self._unit}s, {rate:.0f}/s, {ending}"
                + (f"; {note}" if note else "")
            )
