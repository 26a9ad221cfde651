"""The table of images that a run keeps: `listing.csv`."""

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path

from frostline.base import files
from frostline.base.errors import ListingError
from frostline.images.csv_text import read
from frostline.images.rows import Listing, Row

COLUMNS = tuple(field.name for field in fields(Row))
# There only where images may have several labels: it says so.
COUNT = "label_count"
_NUMBERS = {"width", "height"}


def write_csv(listing: Listing, path: Path) -> None:
    """Writes every row, atomically. File names that are not UTF-8 keep their bytes."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    # A lone carriage return in a name must be quoted too, and the writer does not.
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow([*COLUMNS, COUNT] if listing.several else COLUMNS)
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
    table = read(path)
    missing = [column for column in COLUMNS if column not in table.header]
    if missing:
        raise ListingError(f"{path}: not a listing of Frostline's: it lacks {', '.join(missing)}.")
    rows = []
    for number, line in table.lines:
        cells = dict(zip(table.header, line, strict=False))
        try:
            numbers = {name: int(cells.get(name, "")) for name in _NUMBERS}
        except ValueError as error:
            raise ListingError(
                f"{path}: line {number}: width and height must be whole numbers."
            ) from error
        words = {name: cells.get(name, "") for name in COLUMNS if name not in _NUMBERS}
        rows.append(Row(**words, **numbers))  # type: ignore[arg-type]
    has_splits = any(row.split for row in rows)
    return Listing(tuple(rows), str(path), has_splits=has_splits, several=COUNT in table.header)
