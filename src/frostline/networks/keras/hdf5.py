"""Reading HDF5 without following it anywhere: no links out, no virtual data, no empty terabytes.

The rules are those of Keras's own loader (CVE-2026-1669, CVE-2026-0897), held for every size.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from frostline.base.errors import WeightsError

# How much larger than what is stored an array may say it is.
_MOST_EXPANSION = 1000
# Attributes above 64 KB are written in parts: `layer_names0`, `layer_names1`, …
_MOST_PARTS = 10_000


@contextmanager
def opened(file: Path | BinaryIO, where: str) -> Iterator[Any]:
    """Opens an HDF5 file for reading.

    Args:
        file: A path, or an open file.
        where: Its name, for messages.

    Raises:
        WeightsError: Where h5py is not installed, or it is no whole HDF5 file. What h5py stumbles
            over while the file is open becomes one too.
    """
    try:
        import h5py
    except ImportError as error:
        raise WeightsError(
            f"{where}: HDF5 files need h5py, which is not installed. "
            "Install it: pip install 'frostline[keras]'."
        ) from error
    try:
        with h5py.File(file, "r") as root:
            yield root
    except (OSError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{where}: not a whole HDF5 file ({reason}). Fetch it again.") from error


def array(parent: Any, name: str, where: str) -> NDArray[Any]:
    """Reads a data set.

    Args:
        parent: An open group.
        name: The data set's path below it.
        where: The file, for messages.

    Raises:
        WeightsError: Where there is none, it is reached through a link, its data lie in another
            file, or it says it is far larger than what is stored.
    """
    node = member(parent, name, where)
    what = f"{where}: {node.name}"
    if not hasattr(node, "dtype"):
        raise WeightsError(f"{what}: must be an array, and is a group.")
    if node.external:
        raise WeightsError(f"{what}: its data lie in another file; such a file is not read.")
    if node.is_virtual:
        raise WeightsError(f"{what}: is put together from other files; such a file is not read.")
    if node.shape is None or node.dtype.hasobject or node.dtype.kind not in "fiub":
        raise WeightsError(f"{what}: must hold numbers; its type is {node.dtype}.")
    declared = math.prod(node.shape) * node.dtype.itemsize
    stored = node.id.get_storage_size()
    if declared > _MOST_EXPANSION * stored:
        raise WeightsError(
            f"{what}: says that it holds {declared:,} bytes, and {stored:,} are stored. "
            f"At most {_MOST_EXPANSION} times as much is believed."
        )
    return np.asarray(node[()])


def member(parent: Any, name: str, where: str) -> Any:
    """Returns a group or data set below `parent`, following hard links only.

    Raises:
        WeightsError: Where it is absent, or a link leads to it.
    """
    import h5py

    node = parent
    for part in [part for part in name.split("/") if part]:
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise WeightsError(f"{where}: {node.name.rstrip('/')}/{part} is absent.")
        if not isinstance(link, h5py.HardLink):
            raise WeightsError(
                f"{where}: {node.name.rstrip('/')}/{part} is a link to elsewhere; "
                "such a file is not read."
            )
        node = node[part]
    return node


def has(parent: Any, name: str) -> bool:
    """Tells whether `parent` has a member of that name."""
    return name in parent


def texts(parent: Any, name: str, where: str) -> list[str]:
    """Reads an attribute that lists names, which may be split: `name0`, `name1` and so on.

    Raises:
        WeightsError: Where it is no list of names.
    """
    if name in parent.attrs:
        return _texts(parent.attrs[name], f"{where}: {name}")
    found: list[str] = []
    for number in range(_MOST_PARTS):
        if f"{name}{number}" not in parent.attrs:
            break
        found += _texts(parent.attrs[f"{name}{number}"], f"{where}: {name}{number}")
    return found


def text(parent: Any, name: str) -> str:
    """Reads an attribute that holds a text; empty where it is absent."""
    value = parent.attrs.get(name, "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _texts(value: Any, what: str) -> list[str]:
    listed = np.asarray(value).reshape(-1).tolist()
    if any(not isinstance(one, bytes | str) for one in listed):
        raise WeightsError(f"{what}: must list names.")
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in listed]
