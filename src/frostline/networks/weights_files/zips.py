"""Zip archives as stretches of bytes, with what a hostile archive could declare checked first.

What is stored as it is, is read in place. What is compressed is unpacked into memory, within
bounds. Nothing is ever unpacked to disk, so a member's name can lead nowhere.
"""

import itertools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from frostline.networks.weights_files.sources import MemorySource, Span, of_file, whole

MOST_MEMBERS = 200_000
# Deflate reaches 1,032 at the most, and only on bytes that are all the same.
MOST_RATIO = 1000
MOST_UNPACKED_BYTES = 256 << 20
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 1


@dataclass(frozen=True)
class Member:
    """A file within an archive.

    Attributes:
        archive: The archive.
        name: The member's name.
        size: Its length, unpacked, as declared.
        stored_bytes: Its length within the archive.
        at: Where its bytes begin.
        compressed: Whether they are deflated.
    """

    archive: Path
    name: str
    size: int
    stored_bytes: int
    at: int
    compressed: bool

    def head(self, length: int) -> bytes:
        """Returns the first bytes, at most `length`."""
        if not self.compressed:
            return self.span().read(0, min(length, self.size))
        return _unpacked(self, length)

    def span(self) -> Span:
        """Returns its bytes: in place where they are stored, else unpacked into memory.

        Raises:
            ValueError: Where it is larger than it says or than `MOST_UNPACKED_BYTES`, or damaged.
        """
        if not self.compressed:
            return whole(of_file(self.archive)).part(self.at, self.size)
        if self.size > MOST_UNPACKED_BYTES:
            raise ValueError(
                f"{self.name} unpacks to {self.size} bytes, more than {MOST_UNPACKED_BYTES}"
            )
        data = _unpacked(self, self.size + 1)
        if len(data) != self.size:
            raise ValueError(f"{self.name} unpacks to another length than it says")
        return whole(MemorySource(data))


def _unpacked(member: Member, length: int) -> bytes:
    try:
        with zipfile.ZipFile(member.archive) as archive, archive.open(member.name) as opened:
            return opened.read(length)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        raise ValueError(f"{member.name} is damaged: {error}") from error


def members(path: Path) -> dict[str, Member]:
    """Returns the members of an archive by name.

    Raises:
        ValueError: Where it is damaged, or made to unpack to far more than it holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ValueError(f"not a whole zip archive: {error}") from error
    if len(infos) > MOST_MEMBERS:
        raise ValueError(f"{len(infos)} members, more than {MOST_MEMBERS}")
    if not all(info.filename for info in infos):
        raise ValueError("a member without a name")
    file = whole(of_file(path))
    found = {info.filename: _member(path, file, info) for info in infos if not info.is_dir()}
    _apart(list(found.values()))
    return found


def _member(path: Path, file: Span, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & _ENCRYPTED:
        raise ValueError(f"{info.filename} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed in a way that is not read")
    if info.file_size > MOST_RATIO * max(info.compress_size, 1):
        raise ValueError(
            f"a zip bomb: {info.filename} unpacks {info.compress_size} bytes to {info.file_size}"
        )
    compressed = info.compress_type == zipfile.ZIP_DEFLATED
    if not compressed and info.file_size != info.compress_size:
        raise ValueError(f"{info.filename} is stored in another length than it says")
    header = file.read(info.header_offset, _LOCAL_HEADER_BYTES)
    if header[:4] != b"PK\x03\x04":
        raise ValueError(f"{info.filename} is not where the archive says")
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    at = info.header_offset + _LOCAL_HEADER_BYTES + lengths
    file.part(at, info.compress_size)
    return Member(path, info.filename, info.file_size, info.compress_size, at, compressed)


def _apart(found: list[Member]) -> None:
    """Refuses members that share bytes: so a small archive could unpack to anything."""
    ordered = sorted((one for one in found if one.stored_bytes), key=lambda one: one.at)
    for before, after in itertools.pairwise(ordered):
        if before.at + before.stored_bytes > after.at:
            raise ValueError(f"a zip bomb: {before.name} and {after.name} share bytes")
