"""The table of images: which files there are, what they show, and what is wrong with them.

`scan` makes it from a folder of class folders, from a folder with `train/` and `val/`, or from a
CSV file. Only headers are read here; whether an image decodes as a whole shows in the first pass
over the pixels and is folded in with `Listing.with_problems`. Where the table comes from is in
`table_sources.py`, the records in `rows.py`, what to tell a person of them in `findings.py`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from frostline.base import machine
from frostline.base.console import QUIET, Console
from frostline.base.errors import ListingError
from frostline.images import csv_tables, frames, table_sources, walk
from frostline.images.findings import SPLITS, class_names, problem_line, report_lines, some
from frostline.images.found import ReadOptions
from frostline.images.medium import PICTURES, Medium
from frostline.images.rows import Listing, Row
from frostline.images.run_listing import read_csv, write_csv
from frostline.recipe import Data

__all__ = [
    "SPLITS",
    "Listing",
    "Row",
    "check",
    "has_several",
    "is_table",
    "name_of",
    "read_csv",
    "report_lines",
    "scan",
    "scan_as",
    "scan_files",
    "write_csv",
]

_AT_ONCE = 1024
_SHOWN = 8


def scan(
    source: Any,
    console: Console = QUIET,
    threads: int | None = None,
    least_classes: int = 2,
    targets: str = "auto",
    separator: str = "auto",
    layout: str = "auto",
    most_px: int = 0,
    medium: Medium = PICTURES,
) -> Listing:
    """Lists the images of a source and reads their headers.

    Args:
        source: A folder of class folders; a folder with `train/` and `val/` (or other names that
            say so) and optionally `test/`, each of class folders; a CSV file with the columns
            `path`, `label` and optionally `split` and `group`; or a DataFrame with these.
        console: Shows the progress.
        threads: How many files to read at once; by default two more than there are cores.
        least_classes: How many classes there must be; 1 where a model is only evaluated.
        targets: `multiclass` or `binary`: each image has one label, in a cell the whole of it.
            `multilabel`: a cell holds any number of labels with `;` between them, and an image
            in a class folder has the one of its folder. `auto`: `multilabel` where a table plainly
            has several labels in any cell, `multiclass` otherwise.
        separator: Between the labels in a cell: `auto`, `space`, or the sign itself.
        layout: `classes` takes the folders on top as the classes; `auto` finds split folders.
        most_px: Pixels of the largest image that is taken; 0 for `decode`'s own limit.
        medium: Pictures, or sounds.

    Raises:
        ListingError: Where the source cannot be used at all. Single files that cannot be used
            are rows with a `problem` instead.
    """
    found = table_sources.find(source, ReadOptions(targets, separator, layout, medium))
    listing = Listing(
        _probe_all(found.rows, medium, console, threads, most_px),
        name_of(source),
        found.skipped_hidden,
        found.skipped_other,
        found.has_splits,
        found.several,
        tuple(found.notes),
        medium.noun,
    )
    check(listing, least_classes, targets)
    return listing


def scan_as(
    source: Any,
    data: Data,
    console: Console = QUIET,
    least_classes: int = 2,
    medium: Medium = PICTURES,
) -> Listing:
    """Lists the images of a source as a recipe's `[data]` says; see `scan`.

    Raises:
        ListingError: As `scan` does.
    """
    return scan(
        source,
        console,
        least_classes=least_classes,
        targets=data.targets,
        separator=data.separator,
        layout=data.layout,
        most_px=most_px_of(data),
        medium=medium,
    )


def most_px_of(data: Data) -> int:
    """Returns the most pixels of an image that a recipe takes; 0 for the decoder's own limits."""
    return round(data.max_megapixels * 1e6)


def has_several(source: Any, separator: str = "auto") -> bool:
    """Says whether it is a table of which any cell plainly holds more than one label.

    Raises:
        ListingError: Where the table does not hold.
    """
    if not is_table(source):
        return False
    return table_sources.find(source, ReadOptions(separator=separator)).several


def name_of(source: Any) -> str:
    """Returns what to call a source in messages."""
    return str(source) if isinstance(source, Path) else frames.NAME


def is_table(source: Any) -> bool:
    """Says whether a source is a CSV file or a DataFrame, and no folder or picture."""
    return csv_tables.takes(source) or not isinstance(source, Path)


def scan_files(
    paths: list[Path],
    console: Console = QUIET,
    threads: int | None = None,
    most_px: int = 0,
    medium: Medium = PICTURES,
) -> Listing:
    """Lists single files, and the images anywhere below folders, without labels.

    Files that are named themselves are tried whatever they are called; they keep their order.

    Raises:
        ListingError: Where a path does not exist, or there is no image at all.
    """
    found = table_sources.find_files(paths, medium)
    rows = _probe_all(found.rows, medium, console, threads, most_px)
    notes = tuple(found.notes)
    return Listing(
        rows, "", found.skipped_hidden, found.skipped_other, notes=notes, noun=medium.noun
    )


def check(listing: Listing, least_classes: int = 2, targets: str = "auto") -> None:
    """Makes sure that something can be learned from the usable images.

    Args:
        listing: With or without splits.
        least_classes: How many classes there must be. Where an image may have several labels,
            one will do: images without it are what it is told from.
        targets: As in `scan`; `binary` allows no third class.

    Raises:
        ListingError: With no usable image, too few classes or for `binary` too many, or a class
            that is in val or test but not in train.
    """
    where = listing.root or f"{listing.noun}s"
    if not listing.usable:
        first = f" The first: {problem_line(listing.problems[0])}." if listing.problems else ""
        raise ListingError(
            f"{where}: none of the {len(listing.rows)} {listing.noun}s can be used.{first}"
        )
    _check_count(where, listing, least_classes, targets)
    trained = _tags_of(listing, "train")
    for split in ("val", "test"):
        unknown = sorted(_tags_of(listing, split) - trained)
        if unknown:
            raise ListingError(
                f"{where}: {class_names(unknown)} in {split} but not in train, so it cannot be "
                f"learned. Classes go by name; train has {', '.join(map(repr, sorted(trained)))}."
            )


def _check_count(where: str, listing: Listing, least_classes: int, targets: str) -> None:
    names = listing.labels
    shown = some(map(repr, names)).replace("; ", ", ") or "none"
    if listing.several:
        if len(names) < min(least_classes, 1):
            raise ListingError(
                f"{where}: no usable {listing.noun} has a label, so there is nothing to "
                "learn. Fill the column label."
            )
    elif targets == "binary" and len(names) > 2:
        raise ListingError(
            f"{where}: binary targets need exactly 2 classes, and this has {len(names)}: {shown}. "
            "Take multiclass targets, or leave two classes."
        )
    elif len(names) < least_classes:
        raise ListingError(
            f"{where}: a classifier needs at least {least_classes} classes, and this has only "
            f"{shown}. {_one_level_too_deep(listing) or 'Put each class into a folder of its own.'}"
        )


def _one_level_too_deep(listing: Listing) -> str:
    """Names the folder that was meant, where the only class is a folder of folders."""
    root = Path(listing.root)
    if len(listing.labels) != 1 or not root.is_dir():
        return ""
    here = root / listing.labels[0]
    while True:
        inside = walk.peek(here)
        if inside.images or not inside.folders:
            return ""
        if len(inside.folders) > 1:
            shown = ", ".join(inside.folders[:_SHOWN])
            more = ", …" if len(inside.folders) > _SHOWN else ""
            return f"Did you mean {here} ({shown}{more})?"
        here = here / inside.folders[0]


def _tags_of(listing: Listing, split: str) -> set[str]:
    return {tag for row in listing.of(split) for tag in listing.tags(row)}


def _probe_all(
    rows: list[Row], medium: Medium, console: Console, threads: int | None, most_px: int
) -> tuple[Row, ...]:
    done: list[Row] = []
    words = medium.nouns
    with (
        console.bar(len(rows), f"reading {words.plain}s' headers", words.term) as bar,
        ThreadPoolExecutor(threads or machine.cores() + 2) as pool,
    ):
        # In portions, so that a million files are not a million waiting tasks.
        for start in range(0, len(rows), _AT_ONCE):
            probe = partial(_probe, medium=medium, most_px=most_px)
            for row in pool.map(probe, rows[start : start + _AT_ONCE]):
                done.append(row)
                bar.advance()
    return tuple(done)


def _probe(row: Row, medium: Medium, most_px: int) -> Row:
    if row.problem:
        return row
    found = medium.examine(row.path, most_px)
    if found.header is None:
        return replace(row, digest=found.digest, problem=found.problem)
    header = found.header
    return replace(
        row, digest=found.digest, width=header.width_px, height=header.height_px, mode=header.mode
    )
