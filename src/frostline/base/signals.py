"""Ctrl-C and SIGTERM: at once where nothing is lost by it, at the next safe moment elsewhere."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        """Takes the signal's number."""
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class Request:
    """Whether a signal has come while it was held back.

    Attributes:
        number: Of the signal; 0 for none.
    """

    number: int = 0

    def obey(self) -> None:
        """Raises `Interrupted` where a signal has come."""
        if self.number:
            raise Interrupted(self.number)


@contextmanager
def at_once() -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl-C does: by an exception, so that all is put in order."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handlers(raise_it):
        yield


@contextmanager
def held_back() -> Iterator[Request]:
    """Holds Ctrl-C and SIGTERM back, so that the block can end where it loses nothing.

    A second one ends it at once. Outside of the main thread signals are left alone.
    """
    request = Request()

    def note(number: int, frame: FrameType | None) -> None:
        request.obey()
        request.number = number

    with _handlers(note):
        yield request


@contextmanager
def _handlers(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # What was not set from Python could not be put back, and is left alone.
    ours = [number for number in SIGNALS if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, handler) for number in ours}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
