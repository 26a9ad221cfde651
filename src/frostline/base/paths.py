"""Where Frostline keeps what it keeps."""

import os
import re
from pathlib import Path

VARIABLE = "FROSTLINE_CACHE"
# An absolute path of any system, alone or behind `dir:`, `--out=` and the like; its last part.
_ABSOLUTE = re.compile(
    r"(^|[=:,])(?:~[^/\\]*|[A-Za-z]:|\\\\[^\\]+)?[\\/](?:[^,=]*[\\/])?([^\\/,=]+)[\\/]*(?=$|[,=])"
)


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of all caches.

    What is given comes first, then the environment variable `FROSTLINE_CACHE`, then the
    platform's folder for caches.
    """
    if given:
        return Path(given).expanduser()
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("frostline", appauthor=False)


def without_folders(word: str) -> str:
    """Returns a word without the folders of absolute paths: `dir:/home/me/net` as `dir:…/net`.

    For what is passed on to others: folders tell the name of an account, and where things lie.
    """
    return _ABSOLUTE.sub(r"\1…/\2", word)
