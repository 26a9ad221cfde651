"""The pictures that are meant by what was typed: files, folders, patterns, a list."""

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from frostline.base.errors import ListingError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def meant(words: Sequence[str], standard_input: BinaryIO) -> list[Path]:
    """Returns files and folders: patterns are expanded, and `-` reads a list.

    Args:
        words: What was typed. A file whose name looks like a pattern is meant itself.
        standard_input: Names, one a line, or with a zero byte after each as `find -print0` gives
            them.

    Raises:
        ListingError: Where a pattern matches nothing, the list is empty, or a URL is named.
    """
    found: list[Path] = []
    for word in words:
        if word == "-":
            found += _listed(standard_input.read())
        else:
            found += _expanded(word)
    return found


def _expanded(word: str) -> list[Path]:
    if _URL.match(word):
        raise ListingError(f"{word}: URLs are not read. Download it first, and name the file.")
    path = Path(word).expanduser()
    if not glob.has_magic(word) or os.path.lexists(path):
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - it may be absolute
    if not matches:
        raise ListingError(f"{word}: no file matches this pattern.")
    return [Path(match) for match in matches]


def _listed(data: bytes) -> list[Path]:
    separator = b"\0" if b"\0" in data else b"\n"
    lines = (line.rstrip(b"\r") for line in data.split(separator))
    names = [os.fsdecode(line) for line in lines if line.strip()]
    if not names:
        raise ListingError("-: standard input names no picture; one name a line is expected.")
    return [Path(name) for name in names]
