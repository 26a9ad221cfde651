"""CSV files that people write, as a source of pictures."""

from pathlib import Path
from typing import Any

from frostline.images import csv_text, table_rows
from frostline.images.found import FoundImages, ReadOptions

ENDINGS = (".csv", ".tsv", ".txt")


def takes(source: Any) -> bool:
    """Says whether it is a file whose name ends in .csv (or .tsv, .txt)."""
    return isinstance(source, Path) and source.suffix.lower() in ENDINGS and source.is_file()


def find(source: Any, options: ReadOptions) -> FoundImages:
    """Reads `path,label[,split][,group]`; paths are relative to the file.

    Raises:
        ListingError: With every fault and its line, raised once.
    """
    return table_rows.read(csv_text.read(source), options)
