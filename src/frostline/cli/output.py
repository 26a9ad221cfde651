"""What commands print on standard output."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from frostline.base.console import printable


def print_text(text: str) -> None:
    """Prints a line."""
    sys.stdout.write(printable(text) + "\n")


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    # ASCII, so that names that are not text survive any terminal or pipe.
    print_text(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns; all but the first are aligned right where they are numbers."""
    table = [list(heads), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    numeric = [bool(rows) and all(row[i][:1].isdigit() for row in rows) for i in range(len(heads))]
    for row in table:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ]
        print_text("  ".join(cells).rstrip())
