"""Words and progress for the person who waits: a bar on a terminal, plain lines elsewhere."""

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
    """A step under way, counted."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Says that `count` more are done, and how it stands."""


@dataclass(frozen=True)
class Console:
    """Where words go. `Console(None)` says nothing.

    Attributes:
        stream: Where to write; standard error by default, so that output can be piped.
    """

    stream: TextIO | None = field(default_factory=lambda: sys.stderr)

    def say(self, text: str) -> None:
        """Writes one line; control characters and what the stream cannot show are escaped."""
        if self.stream is not None:
            coding = getattr(self.stream, "encoding", None) or "utf-8"
            shown = printable(text).encode(coding, "backslashreplace").decode(coding)
            self.stream.write(shown + "\n")
            self.stream.flush()

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Writes rows of words in columns."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.say("  " + "  ".join(cells).rstrip())

    @contextmanager
    def bar(self, total: int, what: str, unit: str = "image") -> Iterator[Bar]:
        """Shows a step of `total` units with its rate and the time left."""
        if self.stream is not None and self.stream.isatty():
            from tqdm import tqdm

            with tqdm(total=total, desc=what, unit=unit, file=self.stream, leave=False) as shown:
                yield _TerminalBar(shown)
        else:
            yield _PlainBar(self, total, what, unit)


QUIET = Console(None)


class _TerminalBar:
    def __init__(self, shown: object) -> None:
        self._shown = shown

    def advance(self, count: int = 1, note: str = "") -> None:
        if note:
            self._shown.set_postfix_str(note, refresh=False)  # type: ignore[attr-defined]
        self._shown.update(count)  # type: ignore[attr-defined]


class _PlainBar:
    def __init__(self, console: Console, total: int, what: str, unit: str) -> None:
        self._console, self._total, self._what, self._unit = console, total, what, unit
        self._done = 0
        self._begun = self._said = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        now = time.monotonic()
        # What is counted in steps has its say after each epoch.
        ends = self._done >= self._total > 0 and not note
        if now - self._said >= PLAIN_EVERY_S or ends:
            self._said = now
            rate = self._done / max(now - self._begun, 1e-9)
            left_s = max(self._total - self._done, 0) / rate if rate else 0.0
            ending = "done" if left_s == 0 else f"{left_s:.0f} s left"
            self._console.say(
                f"{self._what}: {self._done}/{self._total} {self._unit}s, {rate:.0f}/s, {ending}"
                + (f"; {note}" if note else "")
            )
