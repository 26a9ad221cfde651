"""The process that reads a weights file for another: bounded memory and time, and no way out.

It is asked in JSON on standard input and answers in JSON on standard output. Before it looks at the
file it gives up what reading takes no need of: more memory and time than the bounds, files to
write, files outside the weights' folder, other programs, the network.
"""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import inspection, look

_MOST_ANSWER_CHARACTERS = 256 << 20
_REFUSED = (
    *("socket.", "subprocess.", "ftplib.", "urllib.", "http.", "smtplib.", "shutil.", "pty."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.remove"),
    *("os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("os.chown", "os.utime", "os.putenv", "os.unsetenv", "os.chdir", "ctypes.", "code.__new__"),
    *("marshal.", "pickle.find_class", "syslog.", "webbrowser.", "tempfile."),
)


def main() -> None:
    """Answers one question."""
    asked = json.load(sys.stdin)
    path = Path(asked["path"])
    _load_libraries()
    _bound(asked["memory_bytes"], asked["time_s"])
    sys.addaudithook(_watch(path))
    sys.stdout.write(_answer(path, asked["only"], asked["histogram"]))


def _answer(path: Path, only: str, histogram: str) -> str:
    try:
        found = inspection.to_json(look.inspect(path, only, histogram))
        text = json.dumps({"found": found}, allow_nan=False)
        if len(text) <= _MOST_ANSWER_CHARACTERS:
            return text
        return json.dumps({"refused": f"{path}: its names and attributes alone fill memory."})
    except WeightsError as error:
        return json.dumps({"refused": str(error)})
    except MemoryError:
        return json.dumps({"memory": True})
    except OSError as error:
        return json.dumps({"refused": f"{path}: cannot be read: {error.strerror or error}."})


def _load_libraries() -> None:
    """Imports what readers import late: it takes memory that is no part of reading."""
    try:
        import h5py  # noqa: F401
    except ImportError:
        return


def _bound(memory_bytes: int, time_s: int) -> None:
    # Libraries reserve far more address space than they use; what counts is what comes on top.
    taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: taken + memory_bytes,
        resource.RLIMIT_CPU: time_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for kind, wanted in limits.items():
        _, most = resource.getrlimit(kind)
        bound = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (bound, bound))


def _watch(path: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """Returns an audit hook: Python asks it before each such act, and a refusal is an error."""
    own = [path.parent.resolve(), path.resolve().parent, path.resolve()]
    # Modules that are imported late, and what the interpreter itself looks at.
    libraries = [Path(place).resolve() for place in (*sys.path, sys.prefix, sys.base_prefix)]
    homes = tuple(str(home) for home in (*own, *libraries) if home != Path("/"))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(1, f"{event} has no place in reading weights")
        if event != "open" or isinstance(arguments[0], int):
            return
        name, mode, flags = arguments[0], arguments[1], arguments[2]
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & 3
        place = str(Path(name if isinstance(name, str) else bytes(name).decode()).resolve())
        if writes or not place.startswith(homes):
            raise PermissionError(1, f"{place} has no place in reading weights")

    return hook


if __name__ == "__main__":
    main()
