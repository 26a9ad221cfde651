"""When, with what and by which command a run was made: its `run.json`."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from frostline.base.files import write_json
from frostline.run.folder import RunFolder

_PACKAGES = ("torch", "timm", "numpy", "pillow")


@dataclass(frozen=True)
class RunAbout:
    """What a run's numbers do not tell.

    Attributes:
        finished: When it came to its end, as ISO 8601 with the offset from UTC.
        frostline: The version that made it.
        command: What was typed, word by word; empty where it was started from Python.
        python: Python's version.
        system: The operating system and the kind of processor.
        packages: Versions of the packages that decide what is computed.
    """

    finished: str
    frostline: str
    command: tuple[str, ...] = ()
    python: str = ""
    system: str = ""
    packages: dict[str, str] = field(default_factory=dict)


def now(command: Sequence[str] = (), moment: datetime | None = None) -> RunAbout:
    """Returns the record of what comes to its end now, in this process.

    Args:
        command: What was typed, word by word.
        moment: The time of its end; by default the present, in local time.
    """
    from frostline import __version__

    ended = moment or datetime.now().astimezone()
    return RunAbout(
        finished=ended.isoformat(timespec="seconds"),
        frostline=__version__,
        command=tuple(command),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages={name: found for name in _PACKAGES if (found := _version(name))},
    )


def write(run: RunFolder, about: RunAbout) -> None:
    """Writes `run.json`.

    Raises:
        DiskError: Where it cannot be written.
    """
    write_json(run.about, asdict(about))


def read(run: RunFolder) -> RunAbout | None:
    """Returns what `run.json` says; None where there is none, as in runs of version 0.1.0."""
    try:
        found = json.loads(run.about.read_text("utf-8"))
        return RunAbout(**{**found, "command": tuple(found["command"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
