"""Reads damaged files in forked children of bounded memory and time, and says what came of each.

A child is a copy of this process with all libraries loaded, and takes one file after the other, so
thousands of files take minutes; where it dies, the next child goes on. It may open no file to
write, and none to read but in the file's own folder and among Python's modules.
"""

import json
import os
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from frostline.base.errors import FrostlineError

MEMORY_BYTES = 1 << 30
# Of the processor, since other processes may be busy; by the clock, for what waits for ever.
_TIMERS = {signal.ITIMER_PROF: 10, signal.ITIMER_REAL: 60}
_TOO_LONG = (signal.SIGPROF, signal.SIGALRM)
# What code from a file would come to, or a file that leads elsewhere.
_REFUSED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.", "socket.")
_REFUSED += ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod")
_REFUSED += ("shutil.", "pickle.find_class", "pty.", "urllib.")
# The process apart that runs what is not translated; it is bounded by itself.
_RUNTIME = "frostline.networks.runtimes.child"
_SYSTEM = ("/proc", "/sys", "/dev", "/etc")
Work = Callable[[Path], object]


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
        kind: `read`, `refused`, `died` (by a signal), or `broke`.
        said: The error's line, the signal, or what broke.
        seconds: Of the processor.
        bytes: The largest memory beyond what the process had before.
    """

    kind: str
    said: str = ""
    seconds: float = 0.0
    bytes: int = 0


def run(work: Work, paths: Sequence[Path]) -> list[Outcome]:
    """Does the work on each file.

    Args:
        work: Raises `FrostlineError` to refuse a file.
        paths: What is opened.
    """
    done: list[Outcome] = []
    while len(done) < len(paths):
        done += _of_child(work, paths[len(done) :])
    return done


def _of_child(work: Work, paths: Sequence[Path]) -> list[Outcome]:
    """Returns what came of files until a child died, that one included."""
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        # Python warns that threads are not copied; the child works in one.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(receiving)
        _be_child(work, paths, sending)
    os.close(sending)
    with os.fdopen(receiving) as answers:
        done = [Outcome(*json.loads(line)) for line in answers]
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        done.append(Outcome("broke" if number in _TOO_LONG else "died", number.name))
    elif len(done) < len(paths):
        done.append(Outcome("broke", f"ended with status {status}"))
    return done


def _be_child(work: Work, paths: Sequence[Path], sending: int) -> None:
    """Works and answers; never returns."""
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_AS, (_taken("VmSize") + MEMORY_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        reset = os.open("/proc/self/clear_refs", os.O_WRONLY)
        told: list[str] = []
        # A hook stays for good; what it asks changes with the file.
        watched = {"by": _watch(paths[0], told)}
        sys.addaudithook(lambda event, arguments: watched["by"](event, arguments))
        torch.set_num_threads(1)
        for path in paths:
            watched["by"] = _watch(path, told)
            os.write(reset, b"5")  # The largest size so far is forgotten.
            before, begun = _taken("VmRSS"), time.process_time()
            for timer, limit_s in _TIMERS.items():
                signal.setitimer(timer, limit_s)
            kind, said = _answer(work, path)
            for timer in _TIMERS:
                signal.setitimer(timer, 0)
            kind, said = ("broke", "; ".join(told)) if told else (kind, said)
            told.clear()
            numbers = time.process_time() - begun, _taken("VmHWM") - before
            os.write(sending, (json.dumps([kind, said, *numbers]) + "\n").encode())
    finally:
        os._exit(0)


def _answer(work: Work, path: Path) -> tuple[str, str]:
    try:
        work(path)
    except FrostlineError as error:
        # As the command prints it: names from a file may hold line breaks.
        return "refused", " ".join(str(error).split())[:1000]
    except MemoryError:
        return "broke", "MemoryError"
    except BaseException:
        return "broke", traceback.format_exc()[-3000:]
    return "read", ""


def _watch(path: Path, told: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """Returns an audit hook that refuses what no file has to cause, and notes it."""
    known = [one for one in (*sys.path, sys.prefix, sys.base_prefix, *_SYSTEM) if one]
    homes = [path.parent.resolve(), path.resolve(), *(Path(one).resolve() for one in known)]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and _RUNTIME in " ".join(arguments[1]):
            return
        if event.startswith(_REFUSED):
            told.append(event)
            raise PermissionError(1, event)
        if event != "open" or isinstance(arguments[0], int) or arguments[0] == os.devnull:
            return
        name, mode, flags = arguments[0], arguments[1], arguments[2]
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & 3
        place = Path(os.fsdecode(name)).resolve()
        if writes or not any(place.is_relative_to(home) for home in homes):
            told.append(f"opens {place}{' to write' if writes else ''}")
            raise PermissionError(1, f"{place} has no place here")

    return hook


def _taken(what: str) -> int:
    """Returns a size of this process: `VmSize`, `VmRSS` or `VmHWM`, the largest of these."""
    status = Path("/proc/self/status").read_text("ascii")
    found = re.search(rf"{what}:\s*(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0
