"""The paths of Frostline's own folders."""

import os
import re
import stat
import sys
from pathlib import Path

from frostline.base.errors import DiskError, RunError

VARIABLE = "FROSTLINE_CACHE"
# An absolute path of any system, alone or behind `dir:`, `--out=` and the like; its last part.
_ABSOLUTE = re.compile(
    r"(^|[=:,])(?:~[^/\\]*|[A-Za-z]:|\\\\[^\\]+)?[\\/](?:[^,=]*[\\/])?([^\\/,=]+)[\\/]*(?=$|[,=])"
)


def user_path(given: str | os.PathLike[str]) -> Path:
    """Returns a path as a person means it: `~` is the home folder, also where no shell saw it.

    A folder that is really called `~` can be named as `./~`.

    Raises:
        RunError: Where it begins with `~`, and there is no home folder.
    """
    path = Path(given)
    # A path loses its `./`.
    if not os.fspath(given).startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        if path.parts[0] == "~":
            raise RunError(
                f"{path}: there is no home folder that ~ could stand for (HOME is not set). "
                "Write the whole path."
            ) from error
        return path  # `~name`, and there is no account of that name.


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of all caches.

    That is `given`, else the environment variable `FROSTLINE_CACHE`, else the platform's folder for
    caches; for an account without a home, one of its own in the system's temporary folder.

    Raises:
        DiskError: Where that one cannot be made, or belongs to somebody else.
    """
    if given:
        return user_path(given)
    if named := os.environ.get(VARIABLE):
        return user_path(named)
    import platformdirs

    try:
        return platformdirs.user_cache_path("frostline", appauthor=False)
    except RuntimeError:  # Neither the environment nor the system knows a home.
        return _temporary_cache()


def _temporary_cache() -> Path:
    import tempfile

    if sys.platform == "win32":  # There each user has a temporary folder of their own.
        return Path(tempfile.gettempdir()) / "frostline"
    folder = Path(tempfile.gettempdir()) / f"frostline-{os.getuid()}"
    advice = f"Name another place with --cache-dir or {VARIABLE}."
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise DiskError(f"{folder}: cannot be written: {error.strerror}. {advice}") from error
    # Whoever could write there could put in what is taken for activations.
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
        raise DiskError(f"{folder}: is open to others, or belongs to somebody else. {advice}")
    return folder


def without_folders(word: str) -> str:
    """Returns a word without the folders of absolute paths: `dir:/users/me/net` as `dir:…/net`.

    For what is passed on to others: folders tell the name of an account, and where things lie.
    """
    return _ABSOLUTE.sub(r"\1…/\2", word)
