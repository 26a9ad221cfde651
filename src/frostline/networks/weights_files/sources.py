"""Stretches of bytes, read where they are asked for and never beyond their end.

Positioned reads, not a memory map: a file that is cut short is then an error and not a crash, and
only what is used is read.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from frostline.networks.weights_files.dtypes import MOST_BYTES


class Source(Protocol):
    """Where bytes come from."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, start: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `start`.

        Raises:
            ValueError: Where the source ends before.
        """


@dataclass(frozen=True)
class FileSource:
    """The bytes of a file, opened anew for each read: there is nothing to close."""

    path: Path
    size: int

    def read(self, start: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `start`."""
        _within(self.size, start, length)
        with self.path.open("rb", buffering=0) as file:
            parts, at = [], file.seek(start)
            while at < start + length:
                part = file.read(start + length - at)
                if not part:
                    raise ValueError(f"{self.path.name} ends at byte {at}")
                parts.append(part)
                at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True)
class MemorySource:
    """Bytes that are in memory already."""

    data: bytes

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.data)

    def read(self, start: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `start`."""
        _within(len(self.data), start, length)
        return self.data[start : start + length]


def _within(size: int, start: int, length: int) -> None:
    if start < 0 or length < 0 or start + length > size:
        raise ValueError(f"{length} bytes from {start} lie beyond the end at {size}")
    if length > MOST_BYTES:
        raise ValueError(f"{length} bytes at once, more than {MOST_BYTES}")


def of_file(path: Path) -> FileSource:
    """Returns the bytes of a file, as long as it is now."""
    return FileSource(path, path.stat().st_size)


@dataclass(frozen=True)
class Span:
    """A stretch of a source.

    Attributes:
        source: Where it lies.
        start: Its first byte.
        stop: The byte behind its last one.
    """

    source: Source
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= self.source.size:
            raise ValueError(f"bytes {self.start} to {self.stop} of {self.source.size}")

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.stop - self.start

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """Returns `length` bytes from `start`, counted from the stretch's own first byte."""
        length = self.size - start if length is None else length
        _within(self.size, start, length)
        return self.source.read(self.start + start, length)

    def part(self, start: int, length: int) -> "Span":
        """Returns a stretch of it."""
        if start < 0 or length < 0 or start + length > self.size:
            raise ValueError(f"{length} bytes from {start} lie beyond the end at {self.size}")
        return Span(self.source, self.start + start, self.start + start + length)


def whole(source: Source) -> Span:
    """Returns all of a source."""
    return Span(source, 0, source.size)


class SpanFile(io.RawIOBase):
    """A stretch as a file object, for libraries that read one."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self._span = span
        self._at = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """And read anywhere."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a byte of the stretch."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._span.size}[whence]
        if base + offset < 0:
            raise ValueError(f"byte {base + offset} lies before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Returns where it stands."""
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fills `buffer` as far as there are bytes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        length = max(0, min(len(view), self._span.size - self._at))
        if length:
            view[:length] = self._span.read(self._at, length)
        self._at += length
        return length
