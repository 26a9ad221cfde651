"""What a process starts with: its standard streams, closed or replaced, and its folder."""

import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from frostline.base.errors import RunError


class _Closed(io.TextIOBase):
    """Standard output that was closed before the start: what is written there is an error."""

    def write(self, text: str) -> int:
        """Raises the error of the system."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def keep_numbers() -> None:
    """Opens what is closed of the first three files of the process.

    Else the next file that is opened takes the number, and gets what is printed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def stand_in() -> None:
    """Puts something in place of streams that are not there, and lets all text be written."""
    streams: Any = sys
    if streams.stdout is None:
        streams.stdout = _Closed()
    if streams.stderr is None:
        streams.stderr = io.StringIO()
    for stream in (streams.stdout, streams.stderr):
        # File names need not be text that the terminal can show.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")


def check_folder() -> None:
    """Sees to it that the working directory is still there: libraries end the process without it.

    Raises:
        RunError: Where it was removed.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise RunError(
            "the working directory is no longer there. Change to another one (cd), and run the "
            "same command again."
        ) from error


def complain(text: str) -> None:
    """Writes to standard error, as far as anybody listens."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def close_output() -> None:
    """Keeps Python from trying once more, on its way out, to write what cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def standard_input() -> BinaryIO:
    """Returns the bytes of standard input; none where it is closed."""
    stream: Any = sys.stdin
    if stream is None:
        return io.BytesIO()
    found: BinaryIO | None = getattr(stream, "buffer", None)
    return found or io.BytesIO(stream.read().encode("utf-8", "surrogateescape"))
