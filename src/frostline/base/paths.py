"""The paths of Frostline's own folders."""

import os
import re
from pathlib import Path

VARIABLE = "FROSTLINE_CACHE"
# An absolute path of any system, alone or behind `dir:`, `--out=` and the like; its last part.
_ABSOLUTE = re.compile(
    r"(^|[=:,])(?:~[^/\\]*|[A-Za-z]:|\\\\[^\\]+)?[\\/](?:[^,=]*[\\/])?([^\\/,=]+)[\\/]*(?=$|[,=])"
)


def user_path(given: str | os.PathLike[str]) -> Path:
    """Returns a path as a person means it: `~` is the home folder, also where no shell saw it.

    A folder that is really called `~` can be named as `./~`.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError:  # There is no home.
        return Path(given)


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of all caches.

    That is `given`, else the environment variable `FROSTLINE_CACHE`, else the platform's folder for
    caches.
    """
    if given:
        return user_path(given)
    if named := os.environ.get(VARIABLE):
        return user_path(named)
    import platformdirs

    return platformdirs.user_cache_path("frostline", appauthor=False)


def without_folders(word: str) -> str:
    """Returns a word without the folders of absolute paths: `dir:/users/me/net` as `dir:…/net`.

    For what is passed on to others: folders tell the name of an account, and where things lie.
    """
    return _ABSOLUTE.sub(r"\1…/\2", word)
