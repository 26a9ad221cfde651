"""Where a table of pictures may come from. To add a kind: one module, one line in `SOURCES`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frostline.base.errors import ListingError, did_you_mean, raise_all
from frostline.images import csv_tables, folders, frames, walk
from frostline.images.found import FoundImages, ReadOptions, TableSource
from frostline.images.medium import PICTURES, Medium
from frostline.images.rows import Row

SOURCES: tuple[TableSource, ...] = (folders, csv_tables, frames)


def find(source: Any, options: ReadOptions) -> FoundImages:
    """Returns the images of a folder, a CSV file or a DataFrame, sorted by path.

    Raises:
        ListingError: Where the source does not exist, is none of these, or holds no images.
    """
    kind = next((one for one in SOURCES if one.takes(source)), None)
    if kind is None:
        raise ListingError(_unknown(source))
    found = kind.find(source, options)
    if not any(not row.problem for row in found.rows):
        name = source if isinstance(source, Path) else frames.NAME
        noun = options.medium.noun
        raise ListingError(
            f"{name}: holds no {noun}s; {found.skipped_other} other and {found.skipped_hidden} "
            "hidden files were passed over. Name a folder of class folders, or a CSV file."
        )
    return found


def find_files(paths: Iterable[Path], medium: Medium = PICTURES) -> FoundImages:
    """Returns the named files as they are, and the images anywhere below named folders.

    Raises:
        ListingError: Where a path does not exist, or there is no image at all.
    """
    found = FoundImages(medium=medium)
    named = list(paths)
    raise_all(ListingError, "images", [_missing(path) for path in named if not walk.kind_of(path)])
    for path in named:
        if path.is_dir():
            below = FoundImages(medium=medium)
            walk.walk(path, Row(""), below, set())
            below.sort()
            found.rows += below.rows
            found.skipped_hidden += below.skipped_hidden
            found.skipped_other += below.skipped_other
            found.notes += below.notes
        else:
            found.rows.append(Row(str(path)))
    if not found.rows:
        where = ", ".join(map(str, named)) or "nothing was named"
        noun = medium.noun
        raise ListingError(f"{where}: holds no {noun}s. Name {noun} files, or folders of them.")
    return found


def _unknown(source: Any) -> str:
    if not isinstance(source, Path):
        return (
            f"photos: {type(source).__name__} is no source of pictures. Name a folder of class "
            "folders or a CSV file, or give a DataFrame."
        )
    if not walk.kind_of(source):
        return f"{_missing(source)} Name a folder of class folders, or a CSV file."
    unpack = " Unpack it first." if source.suffix.lower() in (".zip", ".tar", ".gz", ".7z") else ""
    return (
        f"{source}: neither a folder nor a .csv file.{unpack} Name a folder of class folders, or "
        "a CSV file with the columns path and label."
    )


def _missing(path: Path) -> str:
    try:
        siblings = [one.name for one in path.parent.iterdir()]
    except OSError:
        siblings = []
    return f"{path}: there is no such file or folder.{did_you_mean(path.name, siblings)}"
