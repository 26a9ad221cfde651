"""HDF5 data sets and attributes, with what a hostile file could do checked before it is asked.

A data set is read only where its bytes lie in this file, in chunks or in one piece, and it declares
at most a thousand times what is stored (the rule of Keras's own loader since CVE-2026-0897 and
CVE-2026-1669). The HDF5 library is C and has a history of crashes on damaged files: use
`guarded.inspect` for files from strangers.
"""

import contextlib
import json
import math
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from frostline.base.errors import WeightsError
from frostline.networks.weights_files.dtypes import MOST_BYTES
from frostline.networks.weights_files.numpy_pickle import dtype_name
from frostline.networks.weights_files.records import Array, Tensor, Value
from frostline.networks.weights_files.sources import Span, SpanFile
from frostline.networks.weights_files.zips import MOST_RATIO

MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_ITEMS = 200_000
_MOST_DEPTH = 100
_MOST_ATTRIBUTE_BYTES = 64 << 20
# Deflate, shuffle, checksum, LZF. All others are libraries that HDF5 would load from a folder.
_FILTERS = (1, 2, 3, 32000)


@contextlib.contextmanager
def opened(span: Span) -> Iterator[Any]:
    """Opens a file within a stretch of bytes.

    Raises:
        ValueError: Where it is damaged; also for what the HDF5 library says while it is open.
        WeightsError: Where h5py is not installed.
    """
    library = _library()
    try:
        with library.File(SpanFile(span), "r") as file:
            yield file
    # On damaged files, the HDF5 library raises whatever it stumbles over.
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the HDF5 library says: {_first_line(error)}") from error


def _library() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise WeightsError("HDF5 needs h5py: pip install 'frostline[tables]'.") from error
    return h5py


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def datasets(group: Any) -> Iterator[tuple[str, Any]]:
    """Yields all data sets of a group by path, each checked; links are never followed.

    Raises:
        ValueError: Where one is not safe to read.
    """
    seen: set[int] = set()
    count = 0
    waiting = [("", group, 0)]
    while waiting:
        path, here, depth = waiting.pop()
        below = []
        for name in here:
            count += 1
            if count > _MOST_ITEMS or depth > _MOST_DEPTH:
                raise ValueError(f"more than {_MOST_ITEMS} items, or {_MOST_DEPTH} groups deep")
            item = member(here, name)
            full = f"{path}{name}"
            address = int(_library().h5o.get_info(item.id).addr)
            if isinstance(item, _library().Dataset):
                yield full, checked(full, item)
            elif isinstance(item, _library().Group) and address not in seen:
                seen.add(address)
                below.append((f"{full}/", item, depth + 1))
        waiting += reversed(below)


def member(group: Any, name: str) -> Any:
    """Returns a group's member, where it is one and no link to elsewhere.

    Raises:
        ValueError: Where it is absent or a link.
    """
    here = group
    for part in name.split("/"):
        link = here.get(part, getlink=True) if isinstance(here, _library().Group) else None
        if link is None:
            raise ValueError(f"{name} is not in {group.name}")
        if not isinstance(link, _library().HardLink):
            where = getattr(link, "filename", None)
            raise ValueError(f"{name} is a link to {where or 'elsewhere'}, which is not followed")
        here = here[part]
    return here


def checked(name: str, item: Any) -> Any:
    """Returns a data set, where it is safe to read.

    Raises:
        ValueError: Where its bytes lie in other files, or it declares far more than is stored.
    """
    if not isinstance(item, _library().Dataset):
        raise ValueError(f"{name} is no data set")
    if item.external:
        raise ValueError(f"{name} is external: its bytes lie in {item.external[0][0]!r}")
    if item.is_virtual:
        raise ValueError(f"{name} is virtual: its bytes lie in other data sets")
    stored, declared = item.id.get_storage_size(), int(item.size or 0) * item.dtype.itemsize
    if declared > MOST_RATIO * stored:
        raise ValueError(f"{name} is oversized: it declares {declared} bytes and stores {stored}")
    plan = item.id.get_create_plist()
    for i in range(plan.get_nfilters()):
        if plan.get_filter(i)[0] not in _FILTERS:
            raise ValueError(f"{name} is packed by filter {plan.get_filter(i)[0]}, not known here")
    return item


def tensor(name: str, path: str, item: Any, span: Span, said: dict[str, Value]) -> Tensor | None:
    """Returns a data set as an array by name, or None where it holds no numbers."""
    if item.dtype.kind not in "biufc":
        return None
    shape = tuple(int(axis) for axis in item.shape or ())
    load = partial(_load, span, path)
    stored = int(item.id.get_storage_size())
    return Tensor(name, shape, dtype_name(item.dtype), load, stored, None, said)


def _load(span: Span, path: str) -> Array:
    with opened(span) as file:
        item = checked(path, member(file, path))
        if item.size * item.dtype.itemsize > MOST_BYTES:
            raise ValueError(f"{path} takes more than {MOST_BYTES} bytes")
        return np.asarray(item[()])


def attributes(item: Any) -> dict[str, Value]:
    """Returns an item's attributes as plain values; those of other kinds are left out.

    Raises:
        ValueError: Where one is far too large.
    """
    found = {}
    for name in item.attrs:
        low = item.attrs.get_id(name)
        # An attribute without elements has no storage size: asking for it is an error.
        if math.prod(low.shape or ()) * low.dtype.itemsize > _MOST_ATTRIBUTE_BYTES:
            raise ValueError(f"attribute {name} is larger than {_MOST_ATTRIBUTE_BYTES} bytes")
        found[str(name)] = _plain(item.attrs[name])
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any) -> Value:
    if isinstance(value, np.ndarray):
        return tuple(_plain(one) for one in value.reshape(-1).tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, (str, bool, int, float)) else None


def names(said: dict[str, Value], key: str) -> tuple[str, ...] | None:
    """Returns a list of names, which Keras splits over several attributes where it is long."""
    if key in said:
        parts = [said[key]]
    else:
        parts = []
        while f"{key}{len(parts)}" in said:
            parts.append(said[f"{key}{len(parts)}"])
    if not parts:
        return None
    return tuple(
        str(one) for part in parts for one in (part if isinstance(part, tuple) else (part,))
    )


def json_of(said: dict[str, Value], key: str) -> Any:
    """Returns an attribute that is JSON, or None where it is absent.

    Raises:
        ValueError: Where it is no JSON.
    """
    text = said.get(key)
    return json.loads(text) if isinstance(text, str) else None
