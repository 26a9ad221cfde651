"""Reads damaged files in a forked child of bounded memory and time, and says what came of each.

A child is a copy of this process with all libraries loaded, so thousands of files take minutes. It
may open no file to write, and none to read but in the file's own folder and among Python's modules.
"""

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.base.errors import FrostlineError

MEMORY_BYTES = 1 << 30
# Of the processor, since other processes may be busy; by the clock, for what waits for ever.
_TIMERS = {signal.ITIMER_PROF: 10, signal.ITIMER_REAL: 60}
# What code from a file would come to, or a file that leads elsewhere.
_REFUSED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.", "socket.")
_REFUSED += ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod")
_REFUSED += ("shutil.", "pickle.find_class", "pty.", "urllib.")
_SYSTEM = ("/proc", "/sys", "/dev", "/etc")


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
        kind: `read`, `refused`, `died` (a signal), or `broke`.
        said: The error's line, the signal, or what broke.
        seconds: Of the processor.
        bytes: The largest memory beyond what the process had before.
    """

    kind: str
    said: str
    seconds: float
    bytes: int


def run(work: Callable[[Path], object], path: Path) -> Outcome:
    """Does the work on a file in a child.

    Args:
        work: Raises `FrostlineError` to refuse the file.
        path: What is opened.
    """
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _be_child(work, path, sending)
    os.close(sending)
    with os.fdopen(receiving, "rb") as answers:
        before, *answer = answers.read().splitlines()
    _, status, used = os.wait4(child, 0)
    seconds = used.ru_utime + used.ru_stime
    taken = used.ru_maxrss * 1024 - int(before)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        kind = "broke" if name in ("SIGALRM", "SIGPROF") else "died"
        return Outcome(kind, f"{name} after {seconds:.1f} s", seconds, taken)
    kind, said = json.loads(answer[0]) if answer else ("broke", f"no answer, status {status}")
    return Outcome(kind, said, seconds, taken)


def _be_child(work: Callable[[Path], object], path: Path, sending: int) -> None:
    """Works and answers; never returns."""
    told: list[str] = []
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        used = resource.getrusage(resource.RUSAGE_SELF)
        os.write(sending, f"{used.ru_maxrss * 1024}\n".encode())
        resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + MEMORY_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.addaudithook(_watch(path, told))
        for timer, limit_s in _TIMERS.items():
            signal.setitimer(timer, limit_s)
        answer = _answer(work, path)
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        if told:
            answer = ("broke", "; ".join(told))
        os.write(sending, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _answer(work: Callable[[Path], object], path: Path) -> tuple[str, str]:
    try:
        work(path)
    except FrostlineError as error:
        # As the command prints it: names from a file may hold line breaks.
        return "refused", " ".join(str(error).split())
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
        if event.startswith(_REFUSED):
            told.append(event)
            raise PermissionError(1, event)
        if event != "open" or isinstance(arguments[0], int):
            return
        name, mode, flags = arguments[0], arguments[1], arguments[2]
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & 3
        place = Path(os.fsdecode(name)).resolve()
        if writes or not any(place.is_relative_to(home) for home in homes):
            told.append(f"opens {place}{' to write' if writes else ''}")
            raise PermissionError(1, f"{place} has no place here")

    return hook


def _address_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()
