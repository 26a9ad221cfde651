"""Listings as CSV files: those that people write, and the one that a run keeps."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path

from frostline.base import files
from frostline.base.errors import ListingError, did_you_mean, raise_all
from frostline.images.rows import SEPARATOR, Listing, Row, join_tags, split_tags

SPLIT_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_SHOWN = 20
_COLUMNS = tuple(field.name for field in fields(Row))
# In the listing of a run only, and only where images may have several labels: it says so.
_COUNT = "label_count"
_NUMBERS = {"width", "height"}


def has_several(source: Path) -> bool:
    """Says whether any cell of the column `label` holds more than one label, by its `;`.

    Raises:
        ListingError: Where it cannot be read.
    """
    header, lines = _open(source)
    if "label" not in header:
        return False
    column = header.index("label")
    return any(SEPARATOR in cell for _, line in lines for cell in line[column : column + 1])


def find(source: Path, several: bool = False) -> tuple[list[Row], bool]:
    """Reads the CSV that a person wrote: `path,label[,split][,group]`, other columns ignored.

    Paths are relative to the CSV file. Splits are filled in for all images or for none.

    Args:
        source: The file.
        several: Whether a label cell holds any number of labels with `;` between them, none
            included. Otherwise a `;` is a part of the label like any other character.

    Returns:
        The rows, and whether they have splits.

    Raises:
        ListingError: With every fault and its line, raised once.
    """
    header, lines = _open(source)
    for needed in ("path", "label"):
        if needed not in header:
            raise ListingError(
                f"{source}: there is no column {needed}; the first line must name the columns "
                f"path and label, and may name split and group. It names "
                f"{', '.join(header) or 'none'}.{did_you_mean(needed, header)}"
            )
    problems: list[str] = []
    seen: dict[str, int] = {}
    rows = []
    for number, line in lines:
        cells = dict(zip(header, line, strict=False))
        row, wrong = _read_line(source.absolute().parent, cells, several)
        if row.path in seen and not wrong:
            more = "; put all its labels into one cell, with ; between them" if several else ""
            wrong = [f"path {row.path} stands on line {seen[row.path]} already{more}."]
        seen.setdefault(row.path, number)
        problems += [f"line {number}: {fault}" for fault in wrong]
        rows.append(row)
    problems = problems or _check_splits(rows)
    raise_all(ListingError, str(source), problems, most=_SHOWN)
    return rows, any(row.split for row in rows)


def write_csv(listing: Listing, path: Path) -> None:
    """Writes every row, atomically. File names that are not UTF-8 keep their bytes."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    # A lone carriage return in a name must be quoted too, and the writer does not.
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow([*_COLUMNS, _COUNT] if listing.several else _COLUMNS)
    for row in listing.rows:
        cells = (*astuple(row), len(listing.tags(row))) if listing.several else astuple(row)
        (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)
    files.write_text(path, text.getvalue())


def read_csv(path: Path) -> Listing:
    """Reads what `write_csv` wrote.

    The counts of files passed over are not in it. `has_splits` is true where any row has one.

    Raises:
        ListingError: Where it cannot be read or lacks columns.
    """
    header, lines = _open(path)
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise ListingError(f"{path}: not a listing of Frostline's: it lacks {', '.join(missing)}.")
    rows = []
    for number, line in lines:
        cells = dict(zip(header, line, strict=False))
        try:
            numbers = {name: int(cells.get(name, "")) for name in _NUMBERS}
        except ValueError as error:
            raise ListingError(
                f"{path}: line {number}: width and height must be whole numbers."
            ) from error
        words = {name: cells.get(name, "") for name in _COLUMNS if name not in _NUMBERS}
        rows.append(Row(**words, **numbers))  # type: ignore[arg-type]
    has_splits = any(row.split for row in rows)
    return Listing(tuple(rows), str(path), has_splits=has_splits, several=_COUNT in header)


def _open(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        raise ListingError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}."
        ) from error
    lines = _lines(path, text)
    header = [name.strip().lower() for name in next(lines, (0, []))[1]]
    return header, lines


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for line in reader:
            if any(line):
                yield reader.line_num, line
    except csv.Error as error:
        raise ListingError(f"{path}: line {reader.line_num}: not CSV: {error}.") from error


def _read_line(folder: Path, cells: dict[str, str], several: bool) -> tuple[Row, list[str]]:
    wrong = []
    name, label = cells.get("path", ""), cells.get("label", "").strip()
    split = cells.get("split", "").strip()
    if several:
        label = join_tags(split_tags(label))
        if not name:
            wrong.append("path is empty; each image needs one.")
    elif not name or not label:
        wrong.append(f"{'path' if not name else 'label'} is empty; each image needs both.")
    if split and split.lower() not in SPLIT_NAMES:
        wrong.append(
            f"split must be train, val or test, and is {split!r}.{did_you_mean(split, SPLIT_NAMES)}"
        )
    path = folder / name
    if name and not os.path.isfile(path):  # noqa: PTH113 - takes names that are too long
        what = "is a folder" if os.path.isdir(path) else "does not exist"  # noqa: PTH112
        wrong.append(f"{path} {what}; paths are relative to the CSV file.")
    group = cells.get("group", "").strip()
    return Row(str(path), label, SPLIT_NAMES.get(split.lower(), ""), group=group), wrong


def _check_splits(rows: list[Row]) -> list[str]:
    without = sum(not row.split for row in rows)
    if 0 < without < len(rows):
        return [f"split is empty for {without} of {len(rows)} images; fill it for all or none."]
    if rows and not without and not any(row.split == "train" for row in rows):
        return ["no image has the split train."]
    return []
