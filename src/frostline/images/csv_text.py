"""From the bytes of a CSV file to cells: its encoding, its separator, its lines."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frostline.base.errors import ListingError

_SAID = re.compile(r'\A"?sep=(.)"?\r?\n', re.IGNORECASE)
_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Table:
    """Cells with the names of their columns.

    Attributes:
        name: The file, or what else to name in messages.
        header: The columns' names, in lower case, without blanks around them.
        lines: Each row's number, as a person counts it, and its cells.
        unit: What a row is called: `line` of a file, `row` of a frame.
        folder: What relative paths are relative to.
        relative_to: The same in words, for messages.
    """

    name: str
    header: list[str]
    lines: list[tuple[int, list[str]]]
    unit: str
    folder: Path
    relative_to: str


def read(path: Path) -> Table:
    """Reads a CSV file: commas, semicolons, tabs or bars; UTF-8 or UTF-16.

    Raises:
        ListingError: Where it cannot be read, a quotation mark is left open, or a line has more
            cells than there are columns.
    """
    try:
        text = _text(path.read_bytes())
    except OSError as error:
        raise ListingError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}."
        ) from error
    said = _SAID.match(text)
    if said:
        lines = _lines(path, text[said.end() :], said[1], first=2)
    else:
        lines = _lines(path, text, _separator(text), first=1)
    header = [name.strip().lower() for name in next(lines, (0, []))[1]]
    while header and not header[-1]:
        header.pop()
    rows = [(number, _fitting(path, number, line, header)) for number, line in lines]
    return Table(str(path), header, rows, "line", path.absolute().parent, "the CSV file")


def _text(data: bytes) -> str:
    """Decodes by the byte order mark, else as UTF-8; other bytes stand as surrogates."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    # Without a mark, UTF-16 shows by the zero byte in each of its first letters.
    if data[1:4:2] == b"\0\0" or data[0:3:2] == b"\0\0":
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", "replace")
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _separator(text: str) -> str:
    """Returns what stands between the names of the columns most often; a comma in doubt."""
    first = text.lstrip("\r\n").partition("\n")[0]
    outside = re.sub(r'"[^"]*"', "", first)
    return max(_SEPARATORS, key=outside.count)


def _lines(path: Path, text: str, separator: str, first: int) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of the line where each row begins, and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begun = first
    try:
        for line in reader:
            if any(line):
                yield begun, line
            begun = reader.line_num + first
    except csv.Error as error:
        what = str(error)
        if "unexpected end" in what or "expected after" in what:
            what = f'a quotation mark (") is left open, or stands where none may ({error})'
        else:
            what = f"not CSV: {what}"
        raise ListingError(f"{path}: line {begun}: {what}.") from error


def _fitting(path: Path, number: int, line: list[str], header: list[str]) -> list[str]:
    # Spreadsheets leave empty cells at the end of lines.
    while len(line) > len(header) and not line[-1].strip():
        line = line[:-1]
    if len(line) > len(header):
        raise ListingError(
            f"{path}: line {number}: has {len(line)} cells, and the first line names "
            f"{len(header)} columns. Put text that holds the separator into quotation marks."
        )
    return line
