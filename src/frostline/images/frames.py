"""DataFrames of pandas or Polars as a source of pictures; neither is imported here."""

import math
from pathlib import Path
from typing import Any

from frostline.base.errors import ListingError
from frostline.images import table_rows
from frostline.images.csv_text import Table
from frostline.images.found import FoundImages, ReadOptions, torn_label
from frostline.images.rows import SEPARATOR

NAME = "the DataFrame"


def takes(source: Any) -> bool:
    """Says whether it has named columns that can be asked for by name."""
    return (
        hasattr(source, "columns") and hasattr(source, "__getitem__") and hasattr(source, "shape")
    )


def find(source: Any, options: ReadOptions) -> FoundImages:
    """Reads the columns `path`, `label`, and perhaps `split` and `group`.

    Relative paths are relative to the current folder. A cell of labels may be a list.

    Raises:
        ListingError: With every fault and its row, counted from 0, raised once.
    """
    header = [str(name).strip().lower() for name in source.columns]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ListingError(f"{NAME}: the column {twice} stands there twice. Keep one of them.")
    columns = [[_text(cell) for cell in source[name]] for name in source.columns]
    lines = list(enumerate(map(list, zip(*columns, strict=True))))
    table = Table(NAME, header, lines, "row", Path.cwd(), "the current folder")
    return table_rows.read(table, options)


def _text(cell: Any) -> str:
    """Returns a cell as a CSV would hold it; what is missing is empty."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Path):
        return str(cell)
    if isinstance(cell, list | tuple | set | frozenset):
        texts = [_text(one) for one in cell]
        if torn := torn_label(texts):
            raise ListingError(
                f"{NAME}: {torn!r} in a list has a ; in it, which stands between labels. Rename it."
            )
        return SEPARATOR.join(texts)
    plain = cell.item() if hasattr(cell, "item") else cell
    if plain is None or plain != plain or str(plain) in ("<NA>", "NaT"):
        return ""
    # pandas makes floats of whole numbers where one is missing.
    is_whole = isinstance(plain, float) and math.isfinite(plain) and plain.is_integer()
    return str(int(plain)) if is_whole else str(plain)
