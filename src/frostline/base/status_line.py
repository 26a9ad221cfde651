"""The last line of a terminal: what is being done, redrawn while it is."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from frostline.base.ahead import Ahead, duration

REDRAW_S = 0.25
_BAR_CHARACTERS = 20
_FALLBACK_COLUMNS = 80


@contextmanager
def unheard() -> Iterator[None]:
    """Lets a job go on where its words can no longer be written: the log has them.

    Raises:
        BrokenPipeError: Where a reader went away, which ends a job as other tools end.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, ValueError):  # The terminal or the disk is gone, or the stream is closed.
        return


class StatusLine:
    """Draws the innermost of the steps that are under way, below all that is said.

    A thread redraws it, so that it shows that time passes while a step has nothing to count.
    """

    def __init__(self, stream: TextIO) -> None:
        """Takes the terminal; nothing is drawn before a step begins."""
        self._stream = stream
        self._steps: list[Callable[[], str]] = []
        self._lock = threading.RLock()
        self._drawn = 0

    def columns(self) -> int:
        """Returns the width of the terminal, in characters."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _FALLBACK_COLUMNS
        except (OSError, ValueError):
            return _FALLBACK_COLUMNS

    def write(self, text: str) -> None:
        """Writes lines that stay, above the status."""
        with self._lock:
            self._erase()
            self._stream.write(text)
            self._draw()

    @contextmanager
    def showing(self, render: Callable[[], str]) -> Iterator[None]:
        """Shows what `render` returns, again and again, until the block ends."""
        over = threading.Event()
        self._steps.append(render)
        drawer = threading.Thread(target=self._redraw, args=(over,), daemon=True)
        try:
            with self._lock, unheard():
                self._erase()
                self._draw()
            with suppress(RuntimeError):  # There may be no memory for a thread.
                drawer.start()
            yield
        finally:
            over.set()
            with self._lock, unheard():
                self._steps.remove(render)
                self._erase()
                self._draw()
            if drawer.ident is not None:
                drawer.join()

    def _redraw(self, over: threading.Event) -> None:
        while not over.wait(REDRAW_S):
            with self._lock, unheard():
                self._erase()
                self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _draw(self) -> None:
        if self._steps:
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            shown = self._steps[-1]().encode(encoding, "replace").decode(encoding)
            text = shown[: self.columns() - 1]
            # First, so that it is erased whenever a signal comes.
            self._drawn = len(text)
            self._stream.write(text)
        self._stream.flush()


class Waiting:
    """A step that has nothing to count."""

    def __init__(self, what: str, expects: Ahead, step: str) -> None:
        """Begins now."""
        self._what, self._ahead, self._step = what, expects, step
        self._begun = time.monotonic()

    def render(self) -> str:
        """Returns the status line."""
        spent = time.monotonic() - self._begun
        left = self._ahead.left_s(self._step, spent, 0.0)
        told = f", about {duration(left)} left" if left >= 1 else ""
        return f"{self._what} … {spent:.0f} s{told}"


class TerminalBar:
    """A step whose parts are counted."""

    def __init__(self, total: int, what: str, expects: Ahead, step: str, plain: bool) -> None:
        """Begins now.

        Args:
            total: How many parts there are.
            what: What is being done.
            expects: What else is to come.
            step: The step's name there.
            plain: Whether the terminal shows no more than ASCII.
        """
        self._total, self._what, self._ahead, self._step = max(total, 1), what, expects, step
        self._full, self._empty = ("#", ".") if plain else ("█", "░")
        self._done = 0
        self._begun = self._counted = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts; the thread draws. The note is for those who want all."""
        self._done += count
        self._counted = time.monotonic()

    def render(self) -> str:
        """Returns the status line."""
        done, now = min(self._done, self._total), time.monotonic()
        spent = now - self._begun
        share = done / self._total
        full = round(_BAR_CHARACTERS * share)
        bar = self._full * full + self._empty * (_BAR_CHARACTERS - full)
        # By the rate until the last one counted, so that the time left falls in between too.
        rest = (self._counted - self._begun) * (1 - share) / share if share else 0.0
        own_left = max(0.0, rest - (now - self._counted))
        left = self._ahead.left_s(self._step, spent, own_left)
        told = f", about {duration(left)} left" if left >= 1 and (share or own_left < left) else ""
        return f"{self._what}  {bar}  {done:,}/{self._total:,}{told}"
