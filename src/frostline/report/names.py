"""What pages call pictures, without telling where they lie."""

import os
from collections.abc import Iterable
from pathlib import Path


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Returns what a page calls each path: what differs, without the folders that all share."""
    known = list(paths)
    folders = {os.path.dirname(os.path.abspath(path)) for path in known}  # noqa: PTH100, PTH120
    try:
        root = os.path.commonpath(folders) if folders else ""
    except ValueError:  # On two drives there is nothing that all share.
        root = ""
    # Where the root of all is all that is shared, folders would tell where things lie.
    if len(Path(root).parts) < 2:
        return {path: Path(path).name for path in known}
    return {path: os.path.relpath(path, root) for path in known}
