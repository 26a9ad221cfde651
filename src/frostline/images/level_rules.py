"""One rule for a whole set of pictures deeper than 8 bits: what becomes black, and what white.

Depth and sign come from the files. But 16 bits are often a container for 10 or 12, signed numbers
may be Hounsfield units and floats anything; so where a file leaves that open, the values of the
set decide, those of all its pictures together.

| samples | black and white |
| --- | --- |
| unsigned, of 9 to 15 bits | 0 and the largest that fits |
| unsigned, of 16 bits or more | 0 and the largest of 8, 10, 12, 14, 16, … bits, as it takes |
| signed, none below 0 | likewise |
| signed | the set's lowest and highest, rounded outward to two digits |
| floats in about 0 to 1 | 0 and 1 |
| floats in about 0 to 255 | 0 and 255 |
| other floats | the set's lowest and highest, rounded outward to two digits |
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from frostline.base.console import QUIET, Console
from frostline.images import decode
from frostline.images.levels import NO_LEVELS, Levels, bits_of, kind_of, merged, parse
from frostline.images.preprocessing import Preprocessing
from frostline.images.rows import Listing, Row

AUTO = "auto"
# So many pictures of a kind are looked at; which ones follows from their content alone.
SAMPLE = 256
# Resampling overshoots a little, and a few values beyond are no reason for another range.
_BEYOND = 0.1
_THREADS = 4


def settle(
    rows: Iterable[Row],
    asked: str = AUTO,
    known: Levels = NO_LEVELS,
    console: Console = QUIET,
    most_px: int = 0,
) -> tuple[Levels, tuple[str, ...]]:
    """Returns the levels for a set of pictures, and what to tell of them.

    Args:
        rows: The listing's usable rows.
        asked: `auto`, or what `levels.parse` reads, which goes before all else.
        known: Those that a model was trained with; they are kept.
        console: Shows the progress of looking at values.
        most_px: Pixels of the largest picture that is read; 0 for the decoder's own limit.

    Returns:
        Ranges for the kinds of samples that are there, none where no picture is deep; and a line
        for each kind that was decided here.

    Raises:
        RecipeError: Where `asked` does not hold.
    """
    wanted = NO_LEVELS if asked == AUTO else parse(asked)
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if ";" in row.mode:
            by_kind[kind_of(row.mode.partition(";")[2])].append(row)
    found, notes = [], []
    for kind, members in sorted(by_kind.items()):
        given = wanted if wanted.knows(kind) else known
        if given.knows(kind):
            found.append((kind, *given.of(kind)))
            continue
        low, high, looked = _extent(members, most_px, console)
        black, white = _range(kind, low, high)
        found.append((kind, black, white))
        notes.append(_told(kind, len(members), looked, (low, high), (black, white)))
    return merged(Levels(tuple(found)), known if found else NO_LEVELS), tuple(notes)


def preprocessing_for(
    base: Preprocessing, listing: Listing, asked: str, most_px: int, console: Console
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Returns a backbone's preprocessing with what the pictures of a listing need.

    Args:
        base: Of the backbone; its own levels are kept for the kinds of samples it has them for.
        listing: The pictures.
        asked: `data.levels` of the recipe.
        most_px: Pixels of the largest picture that is read; 0 for the decoder's own limits.
        console: Shows the progress of looking at values.

    Returns:
        It, and what to tell of what was assumed; see `settle`.

    Raises:
        RecipeError: Where `asked` does not hold.
    """
    levels, notes = settle(listing.usable, asked, base.levels, console, most_px)
    return replace(base, levels=levels, most_px=most_px), notes


def _extent(rows: Sequence[Row], most_px: int, console: Console) -> tuple[float, float, int]:
    """Returns the lowest and highest value of a sample of pictures, and how many it has."""
    chosen = sorted(rows, key=lambda row: row.digest)[:SAMPLE]
    low, high = math.inf, -math.inf
    with console.bar(len(chosen), "reading levels") as bar, ThreadPoolExecutor(_THREADS) as pool:
        for one in pool.map(partial(_extent_of, most_px=most_px), chosen):
            low, high = min(low, one[0]), max(high, one[1])
            bar.advance()
    return (low, high, len(chosen)) if low <= high else (0.0, 0.0, len(chosen))


def _extent_of(row: Row, most_px: int) -> tuple[float, float]:
    try:
        values = decode.samples(decode.read(row.path), most_px)
    except decode.Unreadable:  # It is left out, and said, in the pass over all pictures.
        return math.inf, -math.inf
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)


def _range(kind: str, low: float, high: float) -> tuple[float, float]:
    if kind == "float":
        if low >= -_BEYOND and high <= 1 + _BEYOND:
            return 0.0, 1.0
        if low >= -255 * _BEYOND and 127 < high <= 255 * (1 + _BEYOND):
            return 0.0, 255.0
        return _outward(low, high)
    bits = bits_of(kind)
    if kind.startswith("int") and low < 0:
        return _outward(low, high)
    if bits < 16:
        return 0.0, 2.0 ** (bits - kind.startswith("int")) - 1
    needed = next(deep for deep in range(8, bits + 2, 2) if high < 2**deep)
    return 0.0, 2.0 ** min(needed, bits) - 1


def _outward(low: float, high: float) -> tuple[float, float]:
    """Rounds to two digits, so that one picture more does not change the rule for all."""
    if low == high:
        high = low + 1

    def rounded(value: float, towards: float) -> float:
        if not value:
            return 0.0
        unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
        return round(towards * math.ceil(towards * value / unit) * unit, 12)

    return rounded(low, -1), rounded(high, 1)


def _told(
    kind: str,
    count: int,
    looked: int,
    seen: tuple[float, float],
    limits: tuple[float, float],
) -> str:
    what = "floats" if kind == "float" else f"{bits_of(kind)}-bit integers"
    what = f"signed {what}" if kind.startswith("int") else what
    of = f"{looked} of {count} were looked at" if looked < count else f"{count} in all"
    return (
        f"pictures of {what} ({of}, values {seen[0]:.6g} to {seen[1]:.6g}): "
        f"{limits[0]:.6g} becomes black and {limits[1]:.6g} white; --levels BLACK:WHITE sets it."
    )
