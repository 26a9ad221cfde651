"""The command line. Thin: arguments in, calls, words out; nothing heavy until a command runs."""

import argparse
import atexit
import contextlib
import errno
import gc
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from frostline.base import signals
from frostline.base.console import printable
from frostline.base.errors import FrostlineError, did_you_mean, nearest
from frostline.cli.parser import make_parser

# Commands that need neither torch nor timm to begin with.
LIGHT = ("backbones", "cache", "recipe", "weights")
_CHOICES = re.compile(r"invalid choice: '(?P<got>.*)' \(choose from (?P<known>.*)\)", re.DOTALL)
_STRANGE = re.compile(r"unrecognized arguments: (?P<got>\S+)")


def run() -> NoReturn:
    """Runs the command that was typed and ends the process.

    All files are written and synced by then, so the process ends at once: taking apart what torch
    and timm have loaded, object by object, would take a second more.
    """
    status = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    0 is success, 2 something the user can mend (said in one line), 130 or 143 an interruption by
    Ctrl-C or SIGTERM. A traceback is a bug.
    """
    # Threads that wait should sleep: spinning, they take the cores from whoever else needs them,
    # and where other programs run that made training four times slower. Read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        # File names need not be text that the terminal can show.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    arguments = _parse(argv)
    if isinstance(arguments, int):
        return arguments
    try:
        from frostline.cli import commands

        if arguments.command not in LIGHT:
            _load_quickly()
        with signals.at_once():
            status: int = getattr(commands, arguments.command.replace("-", "_"))(arguments)
        sys.stdout.flush()
    except FrostlineError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        sys.stderr.write("frostline: interrupted; the same command goes on from what is kept\n")
        return 128 + int(number)
    except BrokenPipeError:
        _close_output()
        return 128 + 13  # SIGPIPE, which not every system has
    except OSError as error:
        # What no part foresaw, the system names; without a file's name it is a bug of ours.
        if error.filename is not None:
            return _refuse(f"{os.fsdecode(error.filename)}: {error.strerror}.")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        _close_output()
        return _refuse(f"standard output: cannot be written: {error.strerror}.")
    return status


def _load_quickly() -> None:
    """Imports what most commands need, without looking for garbage: there is none as yet.

    The search goes through all that is loaded again and again, a sixth of the time of loading.
    """
    gc.disable()
    try:
        importlib.import_module("frostline.api")
    finally:
        # What is loaded stays until the end; only then is it looked at.
        gc.freeze()
        atexit.register(gc.unfreeze)
        gc.enable()


def _close_output() -> None:
    """Keeps Python from trying once more, on its way out, to write what cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace | int:
    """Returns what was typed, or the exit status where that is answered already."""
    parser = make_parser()
    said = io.StringIO()
    typed = sys.argv[1:] if argv is None else list(argv)
    try:
        with contextlib.redirect_stderr(said):
            return parser.parse_args(typed, argparse.Namespace(typed=("frostline", *typed)))
    except SystemExit as ending:
        if not ending.code:
            return 0
    command, _, words = said.getvalue().rpartition(": error: ")
    command = command.rpartition("\n")[2]
    return _refuse(f"{words.strip()}.{_meant(words, typed, parser)} See {command} --help.")


def _meant(words: str, argv: Sequence[str], parser: argparse.ArgumentParser) -> str:
    if choice := _CHOICES.search(words):
        return did_you_mean(choice["got"], re.split(r"[', ]+", choice["known"].strip("'")))
    if strange := _STRANGE.search(words):
        close = nearest(strange["got"].partition("=")[0], _options(parser, argv), count=1)
        return f" Did you mean {close[0]}?" if close else ""
    return ""


def _options(parser: argparse.ArgumentParser, argv: Sequence[str]) -> set[str]:
    """Returns the names of all options of the command that was typed."""
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            typed = next((word for word in argv if word in action.choices), None)
            found |= _options(action.choices[typed], argv) if typed else set()
    return found


def _refuse(words: str) -> int:
    sys.stderr.write(f"frostline: {printable(' '.join(words.split()))}\n")
    return 2
