"""Sounds in windows as long as a network hears at once, and back.

A window of a longer file is a row of its own, called by a media fragment (W3C, Media Fragments URI
1.0): `song.mp3#t=29.120,58.240`. Browsers play such an address from there. The windows of a file
stay together in splits and folds, and what is said of the file is the mean over them.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from frostline.base import files
from frostline.images.rows import Listing, Row
from frostline.images.spectrogram import Spectrogram

# A file that is longer by less than this share of a window is not worth another window.
_SPARED = 0.1
_FRAGMENT = re.compile(r"#t=(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)\Z")


@dataclass(frozen=True)
class Window:
    """A part of a file.

    Attributes:
        path: The file.
        start_s: Where it begins; None for the middle of a file that has one window.
        end_s: Where it ends.
    """

    path: str
    start_s: float | None = None
    end_s: float | None = None


def window_of(path: str) -> Window:
    """Returns which part of which file a row's path means."""
    found = _FRAGMENT.search(path)
    # A file may really be called like that.
    if found is None or os.path.lexists(path):
        return Window(path)
    return Window(path[: found.start()], float(found[1]), float(found[2]))


def span_of(row: Row) -> tuple[float, float]:
    """Returns where in its file a row begins and ends, in seconds."""
    window = window_of(row.path)
    if window.start_s is None or window.end_s is None:
        return 0.0, row.width / row.height if row.height else 0.0
    return window.start_s, window.end_s


def starts(length_s: float, window_s: float) -> tuple[float, ...]:
    """Returns where the windows of a sound begin, in seconds, so that they cover it evenly.

    A sound as long as one window or shorter has one in its middle, which may begin before it does.
    """
    count = max(1, math.ceil(length_s / window_s - _SPARED))
    if count == 1:
        return ((length_s - window_s) / 2,)
    step = (length_s - window_s) / (count - 1)
    return tuple(round(number * step, 3) for number in range(count))


def cut(listing: Listing, how: Spectrogram) -> Listing:
    """Returns a listing of windows in place of files; a file of one window stays as it is."""
    rows = [part for row in listing.rows for part in _windows(row, how.window_s)]
    return replace(listing, rows=tuple(rows))


def joined(windows: Listing, listing: Listing) -> Listing:
    """Returns the listing of files with what became of their windows.

    Args:
        windows: With problems and splits.
        listing: What it was cut from.

    Returns:
        A file has the split of its windows. It has a problem where none of them can be used; where
        some cannot, a note says so.
    """
    parts: dict[str, list[Row]] = {}
    for row in windows.rows:
        parts.setdefault(window_of(row.path).path, []).append(row)
    rows, notes = [], list(windows.notes)
    for row in listing.rows:
        own = parts[row.path]
        bad, good = [r for r in own if r.problem], [r for r in own if not r.problem]
        problem = own[0].problem if not good else ""
        rows.append(replace(row, split=good[0].split if good else "", problem=problem))
        if bad and good:
            notes.append(
                f"left out: {len(bad)} of {len(own)} windows of {row.path}: {bad[0].problem}."
            )
    return replace(windows, rows=tuple(rows), notes=tuple(notes))


def file_numbers(rows: Sequence[Row]) -> list[int] | None:
    """Returns the number of each row's file, from 0 in the order of their first rows.

    None where each row is a file of its own, as pictures are.
    """
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(window_of(row.path).path, len(numbers)) for row in rows]
    return found if len(numbers) < len(rows) else None


def file_count(rows: Sequence[Row]) -> int:
    """Returns how many files windows are of."""
    return len({window_of(row.path).path for row in rows})


def files_of_rows(rows: Sequence[Row], listing: Listing) -> tuple[Row, ...]:
    """Returns the files of windows, in the order of their first ones, with their split.

    Args:
        rows: Windows, or pictures, each of which is a file of its own.
        listing: The files.
    """
    firsts: dict[str, Row] = {}
    for row in rows:
        firsts.setdefault(window_of(row.path).path, row)
    if list(firsts) == [row.path for row in rows]:
        return tuple(rows)
    whole = {row.path: row for row in listing.rows}
    return tuple(replace(whole[path], split=row.split) for path, row in firsts.items())


def _windows(row: Row, window_s: float) -> Iterator[Row]:
    length_s = row.width / row.height if row.height else 0.0
    begins = starts(length_s, window_s)
    if row.problem or len(begins) == 1:
        yield row
        return
    for start_s in begins:
        fragment = f"#t={start_s:.3f},{start_s + window_s:.3f}"
        yield replace(
            row,
            path=row.path + fragment,
            digest=files.digest(f"{row.digest}{fragment}".encode()),
            group=row.group or row.digest,
        )
