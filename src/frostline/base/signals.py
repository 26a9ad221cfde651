"""Handling Ctrl-C and SIGTERM: at once, or deferred to a point where no work is lost."""

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
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        """Takes the signal's number."""
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class Request:
    """A deferred signal, if one has arrived.

    Attributes:
        number: The signal's number; 0 for none.
    """

    number: int = 0

    def obey(self) -> None:
        """Raises `Interrupted` if a signal has arrived."""
        if self.number:
            raise Interrupted(self.number)


@contextmanager
def at_once() -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl-C does: by an exception, so that cleanup code runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handlers(interrupt):
        yield


@contextmanager
def deferred() -> Iterator[Request]:
    """Defers Ctrl-C and SIGTERM, so that the block can end where no work is lost.

    A second signal ends it at once. Outside the main thread, signals are left alone.
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
    # A handler that was not set from Python could not be restored, and is left alone.
    replaceable = [number for number in SIGNALS if signal.getsignal(number) is not None]
    previous = {number: signal.signal(number, handler) for number in replaceable}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)
