"""Walks through folders by the names in them; opens no picture."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frostline.base.errors import ListingError
from frostline.images.found import FoundImages
from frostline.images.medium import PICTURES, Medium
from frostline.images.rows import Row

Identity = tuple[int, int]  # Device and inode: which folder it really is, links aside.
# What systems and tools leave among pictures: thumbnails and bins, never pictures of one's own.
_LITTER = {
    *("@eadir", "#recycle", "@recycle", "__macosx", "$recycle.bin", "system volume information"),
    *("lost+found", "__pycache__", ".ipynb_checkpoints", ".thumbnails", ".appledouble"),
    *(".trash", ".trashes", ".spotlight-v100", ".fseventsd", ".picasaoriginals"),
}
_PEEKED = 10_000


@dataclass(frozen=True)
class Inside:
    """The names in one folder that matter."""

    folders: list[str]
    images: list[str]


def walk(folder: Path, like: Row, found: FoundImages, seen: set[Identity]) -> None:
    """Adds the images anywhere below `folder`; enters no real folder twice, so links may loop."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        identity = identity_of(here)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            inside = look(here, found)
        except OSError as error:
            found.rows.append(at(like, here, f"the folder cannot be opened: {_why(error)}"))
            continue
        found.rows += [at(like, here / name) for name in inside.images]
        waiting += [here / name for name in reversed(inside.folders)]


def look_or_raise(folder: Path, found: FoundImages) -> Inside:
    """Lists one folder.

    Raises:
        ListingError: Where it cannot be opened.
    """
    try:
        return look(folder, found)
    except OSError as error:
        raise ListingError(
            f"{folder}: cannot be opened: {_why(error)}. "
            "Change its permissions, or name another folder."
        ) from error


def look(folder: Path, found: FoundImages) -> Inside:
    """Lists one folder; counts what is passed over, and names hidden folders with pictures."""
    inside = Inside([], [])
    for name in _names(folder):
        kind = kind_of(folder / name)
        if name.lower() in _LITTER:
            found.skipped_hidden += 1
        elif name.startswith("."):
            count = _count_below(folder / name, found.medium) if stat.S_ISDIR(kind) else 0
            if count:
                what = found.medium.nouns.many(count)
                found.notes.append(f"left out: the hidden folder {folder / name}: {what}.")
            else:
                found.skipped_hidden += 1
        elif stat.S_ISDIR(kind):
            inside.folders.append(name)
        # A link to nothing, or a file that cannot be asked, is kept and read: that says why not.
        elif has_ending(name, found.medium) and (stat.S_ISREG(kind) or not kind):
            inside.images.append(name)
        else:
            found.skipped_other += 1
    return inside


def peek(folder: Path, medium: Medium = PICTURES) -> Inside:
    """Lists one folder and counts nothing; empty where it cannot be opened."""
    try:
        return look(folder, FoundImages(medium=medium))
    except OSError:
        return Inside([], [])


def files_below(folder: Path, medium: Medium) -> Iterator[Path]:
    """Yields the files of a kind below a folder, by name; hidden folders are left out."""
    found = FoundImages(medium=medium)
    walk(folder, Row(""), found, set())
    yield from (Path(row.path) for row in found.rows if not row.problem)


def has_ending(name: str, medium: Medium) -> bool:
    """Says whether a file's name ends like that of a picture (or sound), readable or not."""
    return Path(name).suffix.lower() in medium.endings()


def kind_of(path: Path) -> int:
    """Returns a file's mode; 0 where it cannot be had."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name.
        return 0


def identity_of(folder: Path) -> Identity:
    """Returns which folder it really is."""
    about = folder.stat()
    return about.st_dev, about.st_ino


def at(like: Row, path: Path, problem: str = "") -> Row:
    """Returns a row with the label and split of another."""
    return Row(str(path), like.label, like.split, problem=problem)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted((entry.name for entry in entries), key=os.fsencode)


def _count_below(folder: Path, medium: Medium) -> int:
    """Counts files of a kind below a hidden folder, up to a limit: it may be huge and is unused."""
    count = looked = 0
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name.lower() not in _LITTER]
        count += sum(has_ending(name, medium) and not name.startswith(".") for name in names)
        looked += len(names)
        if looked > _PEEKED:
            break
    return count


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
