"""The run folder where none is named: `runs/photos`, then `runs/photos-2`, and so on."""

from itertools import count
from pathlib import Path
from typing import Any

from frostline.base import files
from frostline.base.errors import RunError
from frostline.run.folder import RunFolder

PARENT = Path("runs")
# Where pictures come from something that has no name, such as a DataFrame.
NAMELESS = "run"


def next_run_folder(images: Any, parent: Path = PARENT) -> Path:
    """Returns the folder of the next run on these images.

    That is the one of their name with the smallest number that is free. Where the last run of
    that name was interrupted, it is that one's folder, so that the same call goes on with it.

    Args:
        images: A folder or a table of images, as a path; or a DataFrame, which has no name.
        parent: The folder of all runs.
    """
    name = _name_of(images)
    last = None
    for number in count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        if _is_free(folder):
            return last if last is not None and _was_interrupted(last) else folder
        last = folder
    raise AssertionError("numbers do not end")


def _name_of(images: Any) -> str:
    if not isinstance(images, Path):
        return NAMELESS
    whole = images.resolve()
    name = whole.name if whole.is_dir() else whole.stem
    # Some libraries open only what is UTF-8.
    return (name or NAMELESS).encode("utf-8", "backslashreplace").decode()


def _is_free(folder: Path) -> bool:
    if not folder.is_dir():
        return not folder.exists() and not folder.is_symlink()
    return all(path.name.startswith(".") for path in folder.iterdir())


def _was_interrupted(folder: Path) -> bool:
    run = RunFolder(folder)
    if not run.is_run() or run.is_finished():
        return False
    try:
        with files.locked(run.lock, str(folder)):
            return True
    except RunError:  # Another process is at it.
        return False
