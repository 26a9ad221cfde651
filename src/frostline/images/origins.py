"""Finds the images of a source by their names and places; opens none of them."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from frostline.base.errors import ListingError, did_you_mean, raise_all
from frostline.images import tables
from frostline.images.decode import extensions
from frostline.images.rows import Row

_Identity = tuple[int, int]  # Device and inode: which folder it really is, links aside.
_NO_CLASSES = (
    "images but no class folders, so nothing says what they show. "
    "Put each class into a folder of its own."
)


@dataclass
class FoundImages:
    """What a walk has come across so far.

    Attributes:
        rows: Paths with label and split; nothing has been opened yet.
        skipped_hidden: Hidden files and folders passed over.
        skipped_other: Files passed over that are no images by name.
        has_splits: Whether the source assigns splits.
    """

    rows: list[Row] = field(default_factory=list)
    skipped_hidden: int = 0
    skipped_other: int = 0
    has_splits: bool = False


@dataclass(frozen=True)
class _Inside:
    """The names in one folder that matter."""

    folders: list[str]
    images: list[str]


def find(source: Path) -> FoundImages:
    """Returns the images of a folder or a CSV file, sorted by path.

    Raises:
        ListingError: Where the source does not exist, is neither, or holds no images.
    """
    kind = _kind(source)
    if not kind:
        raise ListingError(f"{_missing(source)} Name a folder of class folders, or a CSV file.")
    if stat.S_ISDIR(kind):
        found = _find_in_folder(source)
    elif source.suffix.lower() == ".csv":
        rows, has_splits = tables.find(source)
        found = FoundImages(rows, has_splits=has_splits)
    else:
        raise ListingError(
            f"{source}: neither a folder nor a .csv file. Name a folder of class folders, or a "
            "CSV file with the columns path and label."
        )
    if not any(not row.problem for row in found.rows):
        raise ListingError(
            f"{source}: holds no images; {found.skipped_other} other and {found.skipped_hidden} "
            "hidden files were passed over. Name a folder of class folders, or a CSV file."
        )
    found.rows.sort(key=lambda row: os.fsencode(row.path))
    return found


def find_files(paths: Iterable[Path]) -> FoundImages:
    """Returns the named files as they are, and the images anywhere below named folders.

    Raises:
        ListingError: Where a path does not exist, or there is no image at all.
    """
    found = FoundImages()
    named = list(paths)
    raise_all(ListingError, "images", [_missing(path) for path in named if not _kind(path)])
    for path in named:
        if stat.S_ISDIR(_kind(path)):
            start = len(found.rows)
            _walk(path, Row(""), found, set())
            found.rows[start:] = sorted(found.rows[start:], key=lambda row: os.fsencode(row.path))
        else:
            found.rows.append(Row(str(path)))
    if not found.rows:
        where = ", ".join(map(str, named)) or "nothing was named"
        raise ListingError(f"{where}: holds no images. Name image files, or folders of them.")
    return found


def _missing(path: Path) -> str:
    try:
        siblings = os.listdir(path.parent)  # noqa: PTH208 - the names are all that is wanted
    except OSError:
        siblings = []
    return f"{path}: there is no such file or folder.{did_you_mean(path.name, siblings)}"


def _find_in_folder(source: Path) -> FoundImages:
    found = FoundImages()
    # Files are opened long after this, perhaps from another working directory.
    root = source.absolute()
    inside = _look_or_raise(root, found)
    splits = _split_folders(root, inside)
    above = {_identity(root)}
    if not splits:
        _find_classes(root, inside, "", found, above)
        return found
    found.has_splits = True
    for name in inside.folders:
        if name in splits:
            _find_split(root / name, splits[name], found, above)
        else:
            beside = FoundImages()
            _walk(root / name, Row(""), beside, set(above))
            found.skipped_other += len(beside.rows) + beside.skipped_other
            found.skipped_hidden += beside.skipped_hidden
    _add_strays(root, inside, found)
    return found


def _find_split(folder: Path, split: str, found: FoundImages, above: set[_Identity]) -> None:
    before = len(found.rows)
    inside = _look_or_raise(folder, found)
    _find_classes(folder, inside, split, found, above | {_identity(folder)})
    if split == "train" and not any(not row.problem for row in found.rows[before:]):
        raise ListingError(
            f"{folder}: holds no images. Put a folder of images for each class into it."
        )


def _find_classes(
    root: Path, inside: _Inside, split: str, found: FoundImages, above: set[_Identity]
) -> None:
    if inside.images and not inside.folders:
        raise ListingError(f"{root}: holds {len(inside.images)} {_NO_CLASSES}")
    for label in inside.folders:
        folder = root / label
        if _identity(folder) in above:  # A link back up is no class.
            found.skipped_other += 1
            continue
        before = len(found.rows)
        like = Row(str(folder), label, split)
        _walk(folder, like, found, set(above))
        if len(found.rows) == before:
            found.rows.append(_with(like, folder, "a class folder without images"))
    _add_strays(root, inside, found)


def _add_strays(root: Path, inside: _Inside, found: FoundImages) -> None:
    reason = "lies outside every class folder"
    found.rows += [Row(str(root / name), problem=reason) for name in inside.images]


def _split_folders(root: Path, inside: _Inside) -> dict[str, str]:
    """Returns the folders that are splits, by name; none where the folders are classes.

    A folder `train` among `car` and `bus` is a class: it is a split only beside another split,
    alone, or where it holds folders and no images.

    Raises:
        ListingError: For validation without training, and for two folders of one split.
    """
    splits = {name: tables.SPLIT_NAMES.get(name.lower(), "") for name in inside.folders}
    splits = {name: split for name, split in splits.items() if split}
    layered = [name for name in splits if _is_layered(root / name)]
    alone = len(splits) == len(inside.folders)
    if "train" not in splits.values():
        if layered and alone:
            raise ListingError(
                f"{root}: has {' and '.join(splits)} but no train. Add a folder train, or name "
                "one folder of class folders."
            )
        return {}
    if len(set(splits.values())) < len(splits):
        raise ListingError(
            f"{root}: {', '.join(splits)}: two of these mean the same split. Keep one of them."
        )
    if len(splits) > 1 or alone or any(splits[name] == "train" for name in layered):
        return splits
    return {}


def _is_layered(folder: Path) -> bool:
    try:
        inside = _look(folder, FoundImages())
    except OSError:
        return False
    return bool(inside.folders) and not inside.images


def _walk(folder: Path, like: Row, found: FoundImages, seen: set[_Identity]) -> None:
    """Adds the images anywhere below `folder`; enters no real folder twice, so links may loop."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        identity = _identity(here)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            inside = _look(here, found)
        except OSError as error:
            found.rows.append(_with(like, here, f"the folder cannot be opened: {_why(error)}"))
            continue
        found.rows += [_with(like, here / name) for name in inside.images]
        waiting += [here / name for name in reversed(inside.folders)]


def _look_or_raise(folder: Path, found: FoundImages) -> _Inside:
    try:
        return _look(folder, found)
    except OSError as error:
        raise ListingError(
            f"{folder}: cannot be opened: {_why(error)}. "
            "Change its permissions, or name another folder."
        ) from error


def _look(folder: Path, found: FoundImages) -> _Inside:
    """Lists one folder and counts what is passed over."""
    inside = _Inside([], [])
    with os.scandir(folder) as entries:
        names = sorted((entry.name for entry in entries), key=os.fsencode)
    endings = extensions()
    for name in names:
        kind = _kind(folder / name)
        if name.startswith("."):
            found.skipped_hidden += 1
        elif stat.S_ISDIR(kind):
            inside.folders.append(name)
        # A link to nothing, or a file that cannot be asked, is kept and read: that says why not.
        elif Path(name).suffix.lower() in endings and (stat.S_ISREG(kind) or not kind):
            inside.images.append(name)
        else:
            found.skipped_other += 1
    return inside


def _kind(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name.
        return 0


def _identity(folder: Path) -> _Identity:
    about = folder.stat()
    return about.st_dev, about.st_ino


def _with(like: Row, path: Path, problem: str = "") -> Row:
    return Row(str(path), like.label, like.split, problem=problem)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
