"""Looking after the cache: what is in it, whether it is whole, and making room."""

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
    """One key's folder.

    Attributes:
        name: The folder's name.
        architecture: Of the network.
        line: Where it was cut.
        compute: The engine that computed.
        rows: How many activations are kept.
        chunks: In how many files.
        bytes: On disk.
    """

    name: str
    architecture: str
    line: str
    compute: str
    rows: int
    chunks: int
    bytes: int


def entries(cache: Path) -> list[CacheEntry]:
    """Returns what is kept, by name; damaged chunks count as files, not as rows."""
    return [_entry(folder) for folder in _folders(cache)]


def verify(cache: Path, remove: bool = False) -> tuple[int, list[str], list[str]]:
    """Checks every chunk's content against its digest.

    Args:
        cache: The folder of all caches.
        remove: Whether to remove damaged chunks, and parts that killed processes left.

    Returns:
        How many chunks were checked, the damaged ones with what is wrong, and the parts left.

    Raises:
        DiskError: Where something cannot be removed.
    """
    checked, damaged, leftovers = 0, [], []
    for folder in _folders(cache):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            checked += 1
            wrong = _wrong_with(path)
            if wrong:
                damaged.append(f"{path.relative_to(cache)}: {wrong}")
                if remove:
                    _unlink(path)
        for path in sorted(folder.glob(".*.part")):
            leftovers.append(f"{path.relative_to(cache)}: left by a process that was killed")
            if remove:
                _unlink(path)
    return checked, damaged, leftovers


def remove(cache: Path, names: Sequence[str] | None) -> int:
    """Removes folders of the cache and returns how many bytes that freed.

    Args:
        cache: The folder of all caches.
        names: As `entries` names them; None for all, converted engines included.

    Raises:
        CacheError: Where a name is unknown; nothing is removed then.
        DiskError: Where a folder cannot be removed.
    """
    known = {folder.name: folder for folder in _folders(cache)}
    for name in names or ():
        if name not in known:
            raise CacheError(
                f"{cache}: keeps nothing named {name!r}; see `frostline cache list`."
                + did_you_mean(name, known)
            )
    freed = 0
    converted = cache / "engines"
    if names is None and converted.is_dir():
        known[converted.name] = converted
    for name in known if names is None else names:
        freed += _bytes(known[name])
        try:
            shutil.rmtree(known[name])
        except OSError as error:
            raise disk_error(error, known[name]) from error
    return freed


def _folders(cache: Path) -> list[Path]:
    """Returns the folders that are ours: those with a key's facts."""
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


def _wrong_with(path: Path) -> str:
    try:
        chunk = read_chunk(path)
        whole = content_digest(chunk) == chunk.digest
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        return f"not a whole chunk ({error})"
    return "" if whole else "its content is not what was written"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
