"""Maintaining the cache: listing what it holds, verifying it, removing parts of it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors

from frostline.activations.cache.chunks import FACTS, SUFFIX, content_digest, facts_of, read_chunk
from frostline.base.errors import CacheError, did_you_mean
from frostline.base.files import disk_error


@dataclass(frozen=True)
class CacheEntry:
    """The folder of one cache key.

    Attributes:
        name: The folder's name.
        architecture: The network's name.
        line: The line at which it was cut.
        compute: The engine that computed the activations.
        rows: How many activations there are.
        chunks: The number of files.
        bytes: Their size on disk.
    """

    name: str
    architecture: str
    line: str
    compute: str
    rows: int
    chunks: int
    bytes: int


def entries(cache: Path) -> list[CacheEntry]:
    """Returns an entry for each key, by name; damaged chunks count as files, not as rows."""
    return [_entry(folder) for folder in _folders(cache)]


def verify(cache: Path, remove: bool = False) -> tuple[int, list[str], list[str]]:
    """Checks every chunk's content against its digest.

    Args:
        cache: The folder of all caches.
        remove: Whether to remove damaged chunks, and temporary files of killed processes.

    Returns:
        The number of chunks checked, a message for each damaged one, and one for each temporary
        file.

    Raises:
        DiskError: If a file cannot be removed.
    """
    checked, damaged, leftovers = 0, [], []
    for folder in _folders(cache):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            checked += 1
            damage = _damage(path)
            if damage:
                damaged.append(f"{path.relative_to(cache)}: {damage}")
                if remove:
                    _unlink(path)
        for path in sorted(folder.glob(".*.part")):
            leftovers.append(f"{path.relative_to(cache)}: left by a process that was killed")
            if remove:
                _unlink(path)
    return checked, damaged, leftovers


def remove(cache: Path, names: Sequence[str] | None) -> int:
    """Removes folders of the cache and returns the bytes freed.

    Args:
        cache: The folder of all caches.
        names: As in `entries`; None for all, converted engines included.

    Raises:
        CacheError: If a name is unknown; nothing is removed then.
        DiskError: If a folder cannot be removed.
    """
    known = {folder.name: folder for folder in _folders(cache)}
    for name in names or ():
        if name not in known:
            raise CacheError(
                f"{cache}: has no entry named {name!r}; see `frostline cache list`."
                + did_you_mean(name, known)
            )
    freed = 0
    engines = cache / "engines"
    if names is None and engines.is_dir():
        known[engines.name] = engines
    for name in known if names is None else names:
        freed += _bytes(known[name])
        try:
            shutil.rmtree(known[name])
        except OSError as error:
            raise disk_error(error, known[name]) from error
    return freed


def _folders(cache: Path) -> list[Path]:
    """Returns the folders that describe a key; others are not Frostline's."""
    if not cache.is_dir():
        return []
    return sorted(path for path in cache.iterdir() if (path / FACTS).is_file())


def _entry(folder: Path) -> CacheEntry:
    facts = facts_of(folder)
    rows, chunks = 0, 0
    for path in folder.glob(f"*{SUFFIX}"):
        chunks += 1
        try:
            rows += len(read_chunk(path).rows)
        except (OSError, ValueError, KeyError, safetensors.SafetensorError):
            continue
    return CacheEntry(
        name=folder.name,
        architecture=str(facts.get("architecture", "")),
        line=str(facts.get("line", "")),
        compute=str(facts.get("compute", "")),
        rows=rows,
        chunks=chunks,
        bytes=_bytes(folder),
    )


def _damage(path: Path) -> str:
    """Returns what is wrong with a chunk; empty if it is intact."""
    try:
        chunk = read_chunk(path)
        is_intact = content_digest(chunk) == chunk.digest
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        return f"not an intact chunk ({error})"
    return "" if is_intact else "its content does not match its digest"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
