"""HDF5 files whose arrays are filled from outside, block by block.

HDF5's library crashes the process where the disk is full. So it writes the structure of the file
alone, into memory, with room for the arrays; the file is then made at its full size and filled by
ordinary writes, whose failures are ordinary errors.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_PAGE = 1 << 16


def prepare(
    path: Path,
    arrays: Mapping[str, tuple[tuple[int, ...], "np.dtype[Any]"]],
    texts: Mapping[str, Sequence[str]],
) -> dict[str, int]:
    """Makes a file with arrays of text, and with room for arrays of numbers.

    Args:
        path: The file.
        arrays: For each name its shape and type. All of it must be written afterwards.
        texts: For each name its values.

    Returns:
        Where in the file each of `arrays` begins, in bytes.

    Raises:
        OSError: If the disk has no room for it.
    """
    import h5py

    structure = _Pages()
    with h5py.File(structure, "w") as file:
        for key, values in texts.items():
            file.create_dataset(key, data=list(values), dtype=h5py.string_dtype("utf-8"))
        places = {key: _reserve(file, key, *arrays[key]) for key in arrays}
    with path.open("wb") as target:
        _claim(target.fileno(), structure.size)
        for number, page in structure.pages.items():
            target.seek(number * _PAGE)
            target.write(page[: max(0, structure.size - number * _PAGE)])
    return places


def _reserve(file: Any, key: str, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> int:
    from h5py import h5d, h5p, h5s, h5t

    how = h5p.create(h5p.DATASET_CREATE)
    how.set_layout(h5d.CONTIGUOUS)
    how.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5d.FILL_TIME_NEVER)
    link = h5p.create(h5p.LINK_CREATE)
    link.set_create_intermediate_group(True)
    space, kind = h5s.create_simple(shape), h5t.py_create(dtype)
    made = h5d.create(file.id, key.encode(), kind, space, dcpl=how, lcpl=link)
    return int(made.get_offset())


def _claim(file: int, size: int) -> None:
    """Makes a file of that size, and has the disk keep room for it where it can."""
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


class _Pages(io.RawIOBase):
    """A file in memory that holds only what was written: room takes none.

    Attributes:
        pages: What was written, by the number of the page.
        size: Of the whole, in bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[int, bytearray] = {}
        self.size = 0
        self._at = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        given = memoryview(data).cast("B")
        for start, number, inside, count in _pieces(self._at, len(given)):
            page = self.pages.setdefault(number, bytearray(_PAGE))
            page[inside : inside + count] = given[start : start + count]
        self._at += len(given)
        self.size = max(self.size, self._at)
        return len(given)

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        length = max(0, min(len(target), self.size - self._at))
        for start, number, inside, count in _pieces(self._at, length):
            page = self.pages.get(number, bytes(_PAGE))
            target[start : start + count] = page[inside : inside + count]
        self._at += length
        return length


def _pieces(at: int, length: int) -> list[tuple[int, int, int, int]]:
    """Parts of a stretch by page: where each begins in it, its page, where there, how long."""
    made, start = [], 0
    while start < length:
        number, inside = divmod(at + start, _PAGE)
        count = min(_PAGE - inside, length - start)
        made.append((start, number, inside, count))
        start += count
    return made
