"""Where Frostline keeps what it keeps."""

import os
from pathlib import Path

VARIABLE = "FROSTLINE_CACHE"


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
