"""The command line. Thin: arguments in, calls, words out; nothing heavy until a command runs."""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from frostline.cli.parser import make_parser
from frostline.errors import FrostlineError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    0 is success, 2 something the user can mend (said in one line), 130 an interruption. A
    traceback is a bug.
    """
    arguments = make_parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # File names need not be text that the terminal can show.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        from frostline.cli import commands

        status: int = getattr(commands, arguments.command.replace("-", "_"))(arguments)
        sys.stdout.flush()
    except FrostlineError as error:
        sys.stderr.write(f"frostline: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("frostline: interrupted; the same command goes on from what is kept\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status
