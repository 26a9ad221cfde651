"""The command line. Thin: arguments in, calls, words out; nothing heavy until a command runs."""

import argparse
import atexit
import contextlib
import errno
import gc
import importlib
import io
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Collection, Sequence
from typing import NoReturn

from frostline.base import memory, signals
from frostline.base.console import Console, is_terminal, printable
from frostline.base.errors import FrostlineError, did_you_mean, nearest
from frostline.cli import streams
from frostline.cli.parser import make_parser
from frostline.recipe import other_tools

# Commands that need neither torch nor timm to begin with.
LIGHT = ("backbones", "cache", "completion", "recipe", "weights")
# Commands that do nothing without an action.
WITH_ACTIONS = ("cache", "recipe", "weights")
_CHOICES = re.compile(r"invalid choice: '(?P<got>.*)' \(choose from (?P<known>.*)\)", re.DOTALL)
_STRANGE = re.compile(r"unrecognized arguments: (?P<got>\S+)")


def run() -> NoReturn:
    """Runs the command that was typed and ends the process.

    All files are written and synced by then, so the process ends at once: taking apart what torch
    and timm have loaded, object by object, would take a second more.
    """
    streams.keep_numbers()
    status = main()
    with contextlib.suppress(OSError, ValueError):
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
    begun = time.perf_counter()
    streams.stand_in()
    # It says at length where it keeps its own cache for want of a home folder.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    arguments = _parse(argv)
    if isinstance(arguments, int):
        return arguments
    arguments.begun = begun
    try:
        streams.check_folder()
        from frostline.cli import commands

        with signals.at_once():
            if arguments.command not in LIGHT:
                _load_quickly(arguments)
            status: int = getattr(commands, arguments.command.replace("-", "_"))(arguments)
        sys.stdout.flush()
    except FrostlineError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        streams.complain("frostline: interrupted; the same command goes on from what is kept\n")
        return 128 + int(number)
    except BrokenPipeError:
        streams.close_output()
        return 128 + 13  # SIGPIPE, which not every system has
    except (MemoryError, RuntimeError, ImportError) as error:
        if not memory.is_out_of_memory(error):
            raise
        return _refuse(f"not enough memory ({_shortly(error)}). {memory.ADVICE}")
    except OSError as error:
        if memory.is_out_of_memory(error):
            return _refuse(f"not enough memory ({_shortly(error)}). {memory.ADVICE}")
        # What no part foresaw, the system names; without a file's name it is a bug of ours.
        if error.filename is not None:
            return _refuse(f"{os.fsdecode(error.filename)}: {error.strerror}.")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF):
            raise
        streams.close_output()
        return _refuse(f"standard output: cannot be written: {error.strerror}.")
    return status


def _load_quickly(arguments: argparse.Namespace) -> None:
    """Imports what most commands need, without looking for garbage: there is none as yet.

    The search goes through all that is loaded again and again, a sixth of the time of loading.
    """
    is_quiet = getattr(arguments, "quiet", False)
    console = Console(None if is_quiet else sys.stderr)
    if arguments.command == "train" and not is_terminal(sys.stderr):
        console.say("Starting")
    gc.disable()
    try:
        with console.step("Starting"):
            importlib.import_module("frostline.api")
    finally:
        # What is loaded stays until the end; only then is it looked at.
        gc.freeze()
        atexit.register(gc.unfreeze)
        gc.enable()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace | int:
    """Returns what was typed, or the exit status where that is answered already."""
    parser = make_parser()
    said = io.StringIO()
    typed = sys.argv[1:] if argv is None else list(argv)
    whole = ("frostline", *typed)
    typed = _asking_for_help(typed)
    try:
        typed, notes = other_tools.understood(typed, _options(parser, typed))
        with contextlib.redirect_stderr(said):
            found = parser.parse_args(typed, argparse.Namespace(typed=whole))
    except FrostlineError as error:
        return _refuse(str(error))
    except SystemExit as ending:
        if not ending.code:
            return 0
    else:
        for note in notes:
            streams.complain(f"{printable(note)}\n")
        return found
    command, _, words = said.getvalue().rpartition(": error: ")
    command = command.rpartition("\n")[2]
    if command == "frostline" and typed[0] in _commands(parser):
        # What is strange to a command, the parser of all commands complains of.
        command = f"frostline {typed[0]}"
    return _refuse(f"{words.strip()}.{_meant(words, typed, parser)} See {command} --help.")


def _asking_for_help(typed: list[str]) -> list[str]:
    """Returns `help train`, and a command that says nothing yet, as the question they are."""
    if not typed or typed == ["help"] or (len(typed) == 1 and typed[0] in WITH_ACTIONS):
        return [*(word for word in typed if word != "help"), "--help"]
    return [*typed[1:], "--help"] if typed[0] == "help" else typed


def _commands(parser: argparse.ArgumentParser) -> Collection[str]:
    (found,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return tuple(found.choices)


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


def _shortly(error: BaseException) -> str:
    """Returns what an error says, as far as a person wants to read it."""
    words = str(error).partition("\n")[0].partition(". ")[0]
    return words[:100] or type(error).__name__


def _refuse(words: str) -> int:
    streams.complain(f"frostline: {printable(' '.join(words.split()))}\n")
    return 2
