"""What a process that reads weights files from strangers gives up: memory, time and ways out."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REFUSED = (
    *("socket.", "subprocess.", "ftplib.", "urllib.", "http.", "smtplib.", "shutil.", "pty."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.remove"),
    *("os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("os.chown", "os.utime", "os.putenv", "os.unsetenv", "os.chdir", "ctypes.", "code.__new__"),
    *("pickle.find_class", "syslog.", "webbrowser.", "tempfile."),
)


def limit(memory_bytes: int, time_s: int = 0) -> None:
    """Bounds what this process may take from now on, for good.

    Windows has no such bounds: there the parent's clock, and `watch`, are all. macOS counts
    address space in a way of its own, so memory is not bounded there.

    Args:
        memory_bytes: Of memory, beyond what it has taken so far.
        time_s: Of the processor; 0 where the parent's clock alone bounds it.
    """
    if sys.platform == "win32":
        return
    import resource

    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 64}
    if time_s:
        limits[resource.RLIMIT_CPU] = time_s
    if sys.platform == "linux":
        # Libraries reserve far more address space than they use; what counts is what comes on top.
        taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = taken + memory_bytes
    for kind, wanted in limits.items():
        _, most = resource.getrlimit(kind)
        bound = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (bound, bound))


def watch(path: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """Returns an audit hook that refuses what has no place in reading a file.

    Python asks it before each such act; a refusal is a PermissionError.

    Args:
        path: The weights file: what lies in its folder may be read, and nothing else but modules.
    """
    own = [path.parent.resolve(), path.resolve().parent, path.resolve()]
    # Modules that are imported late, and what the interpreter itself looks at.
    known = [place for place in (*sys.path, sys.prefix, sys.base_prefix) if place]
    homes = [*own, *(Path(place).resolve() for place in known)]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(1, f"{event} has no place in reading weights")
        if event != "open" or isinstance(arguments[0], int):
            return
        name, mode, flags = arguments[0], arguments[1], arguments[2]
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & 3
        place = Path(os.fsdecode(name)).resolve()
        if writes or not any(place.is_relative_to(home) for home in homes):
            raise PermissionError(1, f"{place} has no place in reading weights")

    return hook
