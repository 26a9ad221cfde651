"""The paths of Frostline's own folders."""

import os
from pathlib import Path

VARIABLE = "FROSTLINE_CACHE"


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of all caches.

    That is `given`, else the environment variable `FROSTLINE_CACHE`, else the platform's folder for
    caches.
    """
    if given:
        return Path(given).expanduser()
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("frostline", appauthor=False)
