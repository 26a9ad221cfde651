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

from frostline import files
from frostline.console import QUIET, Console
from frostline.data import decode, sources
from frostline.data.rows import Listing, Row
from frostline.data.tables import read_csv, write_csv
from frostline.errors import ListingError

__all__ = [
    "SPLITS",
    "Listing",
    "Row",
    "check",
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
) -> Listing:
    """Lists the images of a folder or a CSV file and reads their headers.

    Args:
        source: A folder of class folders; a folder with `train/` and `val/` (or `valid`,
            `validation`) and optionally `test/`, each of class folders; or a CSV file with the
            columns `path`, `label` and optionally `split` and `group`.
        console: Shows the progress.
        threads: How many files to read at once; by default two more than there are cores.
        least_classes: How many classes there must be; 1 where a model is only evaluated.

    Raises:
        ListingError: Where the source cannot be used at all. Single files that cannot be used
            are rows with a `problem` instead.
    """
    found = sources.find(source)
    rows = _probe_all(found.rows, console, threads)
    listing = Listing(
        rows, str(source), found.skipped_hidden, found.skipped_other, found.has_splits
    )
    check(listing, least_classes)
    return listing


def scan_files(paths: list[Path], console: Console = QUIET, threads: int | None = None) -> Listing:
    """Lists single files, and the images anywhere below folders, without labels.

    Files that are named themselves are tried whatever they are called; they keep their order.

    Raises:
        ListingError: Where a path does not exist, or there is no image at all.
    """
    found = sources.find_files(paths)
    rows = _probe_all(found.rows, console, threads)
    return Listing(rows, "", found.skipped_hidden, found.skipped_other)


def check(listing: Listing, least_classes: int = 2) -> None:
    """Makes sure that something can be learned from the usable images.

    Args:
        listing: With or without splits.
        least_classes: How many classes there must be.

    Raises:
        ListingError: With no usable image, too few classes, or a class that is in val or test
            but not in train.
    """
    where = listing.root or "images"
    if not listing.usable:
        first = f" The first: {_line(listing.problems[0])}." if listing.problems else ""
        raise ListingError(f"{where}: none of the {len(listing.rows)} images can be used.{first}")
    if len(listing.labels) < least_classes:
        raise ListingError(
            f"{where}: a classifier needs at least {least_classes} classes, and this has only "
            f"{', '.join(map(repr, listing.labels))}. Put each class into a folder of its own."
        )
    trained = {row.label for row in listing.of("train")}
    for split in ("val", "test"):
        unknown = sorted({row.label for row in listing.of(split)} - trained)
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
        *_passed_over(listing),
        *_conversions(listing),
    ]


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
        ("under two labels", "label"),
        # Held-out images that were trained on make every number look better than it is.
        ("in two splits, which makes validation too kind", "split"),
    ):
        pairs = [pair for rows in same.values() if (pair := _pair(rows, column))]
        if pairs:
            lines.append(f"the same file {where}: {_many(len(pairs), 'image')}: {_some(pairs)}.")
    return lines


def _thin_classes(listing: Listing) -> list[str]:
    lines = []
    counts = Counter((row.split, row.label) for row in listing.usable)
    splits = [split for split in SPLITS if listing.of(split)]
    for split in splits:
        absent = [name for name in listing.labels if not counts[split, name]]
        if absent:
            it = "it" if len(absent) == 1 else "them"
            lines.append(f"{_classes(absent)} missing in {split}: nothing there tests {it}.")
    totals = Counter(row.label for row in listing.usable)
    single = [name for name in listing.labels if totals[name] == 1]
    if single:
        lines.append(f"{_classes(single)} shown by one image only: too few to learn and to test.")
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
