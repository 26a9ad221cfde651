"""The table of images: which files there are, what they show, and what is wrong with them.

`scan` makes it from a folder of class folders, from a folder with `train/` and `val/`, or from a
CSV file. Only headers are read here; whether an image decodes as a whole shows in the first pass
over the pixels and is folded in with `Listing.with_problems`. Finding the files is in
`sources.py`, reading and writing CSV in `tables.py`, the records in `rows.py`.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from frostline.base import files
from frostline.base.console import QUIET, Console
from frostline.base.errors import ListingError
from frostline.images import decode, tables
from frostline.images import origins as sources
from frostline.images.rows import SEPARATOR, Listing, Row
from frostline.images.tables import read_csv, write_csv

__all__ = [
    "SPLITS",
    "Listing",
    "Row",
    "check",
    "has_several",
    "read_csv",
    "report_lines",
    "scan",
    "scan_files",
    "write_csv",
]

SPLITS = ("train", "val", "test")
_AT_ONCE = 1024
_SHOWN = 5
_CONVERTED = {
    "grey": ("1", "L"),
    "palette": ("P",),
    "with alpha (laid on white)": ("LA", "PA", "La", "RGBA", "RGBa"),
    "CMYK": ("CMYK",),
    "16-bit or deeper (scaled to 8 bits)": ("I", ";16"),
    "float (scaled by their range)": ("F",),
    "in other colour spaces": ("YCbCr", "LAB", "HSV", "RGBX"),
}


def scan(
    source: Path,
    console: Console = QUIET,
    threads: int | None = None,
    least_classes: int = 2,
    targets: str = "auto",
) -> Listing:
    """Lists the images of a folder or a CSV file and reads their headers.

    Args:
        source: A folder of class folders; a folder with `train/` and `val/` (or `valid`,
            `validation`) and optionally `test/`, each of class folders; or a CSV file with the
            columns `path`, `label` and optionally `split` and `group`.
        console: Shows the progress.
        threads: How many files to read at once; by default two more than there are cores.
        least_classes: How many classes there must be; 1 where a model is only evaluated.
        targets: `multiclass` or `binary`: each image has one label, in a CSV's cell the whole
            of it. `multilabel`: a CSV's cell holds any number of labels with `;` between them,
            and an image in a class folder has the one of its folder. `auto`: `multilabel` where
            a CSV has a `;` in any label, `multiclass` otherwise.

    Raises:
        ListingError: Where the source cannot be used at all. Single files that cannot be used
            are rows with a `problem` instead.
    """
    several = targets == "multilabel" or (targets == "auto" and has_several(source))
    found = _find_several(source, _is_table(source)) if several else sources.find(source)
    rows = _probe_all(found.rows, console, threads)
    listing = Listing(
        rows, str(source), found.skipped_hidden, found.skipped_other, found.has_splits, several
    )
    check(listing, least_classes, targets)
    return listing


def has_several(source: Path) -> bool:
    """Says whether it is a CSV of which any label cell holds more than one label, by its `;`.

    Raises:
        ListingError: Where the CSV cannot be read.
    """
    return _is_table(source) and tables.has_several(source)


def scan_files(paths: list[Path], console: Console = QUIET, threads: int | None = None) -> Listing:
    """Lists single files, and the images anywhere below folders, without labels.

    Files that are named themselves are tried whatever they are called; they keep their order.

    Raises:
        ListingError: Where a path does not exist, or there is no image at all.
    """
    found = sources.find_files(paths)
    rows = _probe_all(found.rows, console, threads)
    return Listing(rows, "", found.skipped_hidden, found.skipped_other)


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
    where = listing.root or "images"
    if not listing.usable:
        first = f" The first: {_line(listing.problems[0])}." if listing.problems else ""
        raise ListingError(f"{where}: none of the {len(listing.rows)} images can be used.{first}")
    _check_count(where, listing, least_classes, targets)
    trained = _tags_of(listing, "train")
    for split in ("val", "test"):
        unknown = sorted(_tags_of(listing, split) - trained)
        if unknown:
            raise ListingError(
                f"{where}: {_classes(unknown)} in {split} but not in train, so it cannot be "
                f"learned. Classes go by name; train has {', '.join(map(repr, sorted(trained)))}."
            )


def report_lines(listing: Listing) -> list[str]:
    """Returns what a person must be told of a listing, a line each; nothing where all is well."""
    return [
        *_left_out(listing),
        *_twins(listing),
        *_thin_classes(listing),
        *_alike(listing),
        *_of_several(listing),
        *_passed_over(listing),
        *_conversions(listing),
    ]


def _alike(listing: Listing) -> list[str]:
    """Names classes that a slip of the pen may have made two of."""
    spelt: dict[str, list[str]] = defaultdict(list)
    for name in listing.labels:
        spelt[" ".join(name.casefold().split())].append(name)
    return [
        f"classes {', '.join(map(repr, names))} differ in case or spaces only, and are told apart"
        for names in spelt.values()
        if len(names) > 1
    ]


def _is_table(source: Path) -> bool:
    return source.suffix.lower() == ".csv" and source.is_file()


def _find_several(source: Path, is_table: bool) -> sources.FoundImages:
    if is_table:
        rows, has_splits = tables.find(source, several=True)
        if rows:
            rows.sort(key=lambda row: os.fsencode(row.path))
            return sources.FoundImages(rows, has_splits=has_splits)
    found = sources.find(source)
    torn = sorted({row.label for row in found.rows if SEPARATOR in row.label})
    if torn:
        raise ListingError(
            f"{source}: the class folder {torn[0]!r} has a ; in its name, which stands between "
            "labels where an image may have several. Rename the folder."
        )
    return found


def _check_count(where: str, listing: Listing, least_classes: int, targets: str) -> None:
    names = listing.labels
    shown = _some(map(repr, names)).replace("; ", ", ") or "none"
    if listing.several:
        if len(names) < min(least_classes, 1):
            raise ListingError(
                f"{where}: no usable image has a label, so there is nothing to learn. Fill the "
                "column label."
            )
    elif targets == "binary" and len(names) > 2:
        raise ListingError(
            f"{where}: binary targets need exactly 2 classes, and this has {len(names)}: {shown}. "
            "Take multiclass targets, or leave two classes."
        )
    elif len(names) < least_classes:
        raise ListingError(
            f"{where}: a classifier needs at least {least_classes} classes, and this has only "
            f"{shown}. Put each class into a folder of its own."
        )


def _tags_of(listing: Listing, split: str) -> set[str]:
    return {tag for row in listing.of(split) for tag in listing.tags(row)}


def _probe_all(rows: list[Row], console: Console, threads: int | None) -> tuple[Row, ...]:
    done: list[Row] = []
    with (
        console.bar(len(rows), "reading headers") as bar,
        ThreadPoolExecutor(threads or _cores() + 2) as pool,
    ):
        # In portions, so that a million files are not a million waiting tasks.
        for start in range(0, len(rows), _AT_ONCE):
            for row in pool.map(_probe, rows[start : start + _AT_ONCE]):
                done.append(row)
                bar.advance()
    return tuple(done)


def _probe(row: Row) -> Row:
    if row.problem:
        return row
    digest = ""
    try:
        data = decode.read(row.path)
        digest = files.digest(data)
        header = decode.probe(data)
    except decode.Unreadable as error:
        return replace(row, digest=digest, problem=str(error))
    return replace(
        row, digest=digest, width=header.width_px, height=header.height_px, mode=header.mode
    )


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on macOS.
        return os.cpu_count() or 1


def _left_out(listing: Listing) -> list[str]:
    bad = listing.problems
    if not bad:
        return []
    return [f"left out: {_many(len(bad), 'file')}: {_some(map(_line, bad))}."]


def _twins(listing: Listing) -> list[str]:
    same: dict[str, list[Row]] = defaultdict(list)
    for row in listing.usable:
        same[row.digest].append(row)
    lines = []
    for where, column in (
        ("with different labels" if listing.several else "under two labels", "label"),
        # Held-out images that were trained on make every number look better than it is.
        ("in two splits, which makes validation too kind", "split"),
    ):
        pairs = [pair for rows in same.values() if (pair := _pair(rows, column))]
        if pairs:
            lines.append(f"the same file {where}: {_many(len(pairs), 'image')}: {_some(pairs)}.")
    return lines


def _thin_classes(listing: Listing) -> list[str]:
    lines = []
    counts = Counter((row.split, tag) for row in listing.usable for tag in listing.tags(row))
    splits = [split for split in SPLITS if listing.of(split)]
    for split in splits:
        absent = [name for name in listing.labels if not counts[split, name]]
        if absent:
            it = "it" if len(absent) == 1 else "them"
            lines.append(f"{_classes(absent)} missing in {split}: nothing there tests {it}.")
    totals = Counter(tag for row in listing.usable for tag in listing.tags(row))
    single = [name for name in listing.labels if totals[name] == 1]
    if single:
        lines.append(f"{_classes(single)} shown by one image only: too few to learn and to test.")
    return lines


def _of_several(listing: Listing) -> list[str]:
    """Says what is legal among several labels, but may be a slip."""
    if not listing.several:
        return []
    lines = []
    without = sum(not row.label for row in listing.usable)
    if without:
        lines.append(f"without a label: {_many(without, 'image')}, taken to show no class.")
    shown = listing.of("train") or listing.usable
    totals = Counter(tag for row in shown for tag in listing.tags(row))
    always = sorted(name for name, count in totals.items() if count == len(shown))
    if always:
        lines.append(
            f"{_classes(always)} on every training image: nothing shows what one without is like."
        )
    return lines


def _passed_over(listing: Listing) -> list[str]:
    counts = []
    if listing.skipped_hidden:
        counts.append(f"{listing.skipped_hidden} hidden")
    if listing.skipped_other:
        counts.append(f"{listing.skipped_other} that are no images by name")
    return [f"passed over: {' and '.join(counts)}."] if counts else []


def _conversions(listing: Listing) -> list[str]:
    modes = Counter(row.mode for row in listing.usable)
    found = [
        f"{count} {what}"
        for what, members in _CONVERTED.items()
        if (count := sum(n for mode, n in modes.items() if _is_of(mode, members)))
    ]
    return [f"converted to 8-bit RGB: {', '.join(found)}."] if found else []


def _is_of(mode: str, members: Iterable[str]) -> bool:
    return mode in members or (";16" in mode and ";16" in members)


def _line(row: Row) -> str:
    return f"{row.path}: {row.problem}"


def _pair(rows: list[Row], column: str) -> str:
    """Names two rows that differ in `column`; nothing where all agree."""
    first = rows[0]
    for other in rows[1:]:
        if getattr(other, column) != getattr(first, column):
            return f"{first.path} = {other.path}"
    return ""


def _some(texts: Iterable[str]) -> str:
    shown = list(texts)
    more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return "; ".join(shown[:_SHOWN]) + more


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _classes(names: list[str]) -> str:
    shown = _some(map(repr, names)).replace("; ", ", ")
    return f"class {shown} is" if len(names) == 1 else f"{len(names)} classes ({shown}) are"
