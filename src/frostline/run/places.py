"""Where a run is written: folders by name and number, and none left behind by an error."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from frostline.base import files
from frostline.base.files import is_unicode
from frostline.run.folder import RunFolder

RUNS = Path("runs")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>[2-9]|[1-9]\d+)")


def usual(photos: Any) -> Path:
    """Returns where a run goes that nobody named a place for: `runs/photos` for `photos/`.

    Args:
        photos: A folder, a table, or anything else, whose run is called `run`.
    """
    name = ""
    if isinstance(photos, Path):
        real = photos.resolve()
        name = real.name if real.is_dir() else real.stem
    return RUNS / (name if name and is_unicode(name) else "run")


def series(first: Path) -> Iterator[Path]:
    """Yields `runs/photos`, `runs/photos-2`, `runs/photos-3` and so on, without an end."""
    yield first
    for number in count(2):
        yield first.with_name(f"{first.name}-{number}")


def next_free(path: Path) -> Path:
    """Returns the next of the series that nothing stands at: after `runs/a-2`, `runs/a-3`."""
    found = _NUMBERED.fullmatch(path.name)
    first = path.with_name(found["stem"]) if found else path
    return next(one for one in series(first) if one != path and not one.exists())


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Holds the lock of a run folder; folders made for it go again where no run was begun.

    Raises:
        RunError: Where another process writes there.
        DiskError: Where the folder cannot be made.
    """
    above = (run.path, *run.path.parents)
    made = [folder for folder in above if not folder.exists()]
    try:
        with files.locked(run.lock, str(run.path)):
            yield
    except BaseException:
        if made and not run.is_run():
            _remove(run, made)
        raise


def _remove(run: RunFolder, made: list[Path]) -> None:
    """Removes folders that were made for a run, as far as they are empty."""
    try:
        run.lock.unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
    except OSError:
        return  # Something else is in there by now.
