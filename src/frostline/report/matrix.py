"""The confusion matrix as PNG and SVG files, for slides and papers.

Of several labels an image there is none; how often each is found, missed and said wrongly is drawn
instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frostline.report import colours
from frostline.report.curves import drawing, save
from frostline.report.text import visible
from frostline.scores.metrics import dense_confusion
from frostline.scores.sentences import has_several, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Above this many classes the cells are too small for numbers.
_NUMBERED = 40
_LETTERS = 28
# Inches a cell, for up to so many classes.
_CELLS = ((3, 1.1), (6, 0.8), (_NUMBERED, 0.32), (10**9, 0.17))
_SHARES = 6


def write_confusion(found: Mapping[str, Any], stem: Path) -> tuple[Path, Path]:
    """Draws how often each class is taken for each; dark cells hold a large share of their row.

    Args:
        found: The scores of one split, as `metrics.json` holds them.
        stem: Where the pictures go: `.png` and `.svg` are added to its name.

    Returns:
        The two files.

    Raises:
        DiskError: Where the disk is full or refuses.
    """
    labels = [_short(label) for label in found["labels"]]
    counts = dense_confusion(found["confusion"])
    several = has_several(found)
    frame = _frame(labels, several)
    with drawing((frame.left + frame.width + 0.15, frame.bottom + frame.height + 0.15)) as figure:
        # Places are known, so matplotlib need not measure every word to find them.
        whole_width, whole_height = figure.get_size_inches()
        axes = figure.add_axes(
            (
                frame.left / whole_width,
                frame.bottom / whole_height,
                frame.width / whole_width,
                frame.height / whole_height,
            )
        )
        if several:
            _bars(axes, counts, labels)
        else:
            _cells(axes, counts, labels)
        title = "Labels found, missed and said wrongly" if several else "Confusion matrix"
        return save(figure, stem, title)


@dataclass(frozen=True)
class _Frame:
    """Where the plotting area lies, in inches."""

    left: float
    bottom: float
    width: float
    height: float


def _frame(labels: Sequence[str], several: bool) -> _Frame:
    letter_in = 0.078 if len(labels) <= _NUMBERED else 0.058
    names_in = 0.25 + letter_in * max(map(len, labels))
    if several:
        return _Frame(names_in, 0.85, 6.0, 0.34 * len(labels) + 0.1)
    side = next(cell for most, cell in _CELLS if len(labels) <= most) * len(labels)
    below = names_in if _is_upright(labels) else 0.3
    return _Frame(names_in + 0.25, below + 0.25, side, side)


def _is_upright(labels: Sequence[str]) -> bool:
    return len(labels) > 6 or max(map(len, labels)) > 8


def _cells(axes: "Axes", counts: np.ndarray, labels: list[str]) -> None:
    """Draws counts [c, c]: right ones blue, wrong ones orange, by their share of the row."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(_coloured(shares), interpolation="nearest")
    places = np.arange(len(labels))
    axes.set_xticks(places, labels, rotation=90 if _is_upright(labels) else 0)
    axes.set_yticks(places, labels)
    axes.tick_params(length=0, labelsize=9 if len(labels) <= _NUMBERED else 6)
    axes.set(xlabel="taken for", ylabel="truth")
    frame = _frame(labels, several=False)
    axes.xaxis.set_label_coords(0.5, (0.17 - frame.bottom) / frame.height)
    axes.yaxis.set_label_coords((0.17 - frame.left) / frame.width, 0.5)
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(colours.GRID)
    if len(labels) > _NUMBERED:
        return
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if shares[row, column] > 0.6 else colours.INK
        number = str(counts[row, column])
        number += f"\n{percent(shares[row, column])}" if len(labels) <= _SHARES else ""
        axes.text(column, row, number, ha="center", va="center", color=ink, fontsize=9)


def _coloured(shares: np.ndarray) -> np.ndarray:
    """Returns an RGB image [c, c, 3] of shares [c, c]; the root lifts small ones into sight."""
    depth = np.sqrt(shares)[..., None]
    own = np.eye(len(shares), dtype=bool)[..., None]
    full = np.where(own, np.array(colours.RIGHT), np.array(colours.WRONG)) / 255
    image: np.ndarray = 1 - 0.9 * depth * (1 - full)
    return image


def _bars(axes: "Axes", counts: np.ndarray, labels: list[str]) -> None:
    """Draws counts [c, 2, 2], a bar a label: found and missed, and to the left said wrongly."""
    places = np.arange(len(labels))
    found, missed, wrongly = counts[:, 1, 1], counts[:, 1, 0], counts[:, 0, 1]
    right, wrong = (tuple(part / 255 for part in c) for c in (colours.RIGHT, colours.WRONG))
    axes.barh(places, found, color=right, label="found")
    axes.barh(places, missed, left=found, color=wrong, label="missed")
    axes.barh(places, -wrongly, color=colours.DIM, label="said wrongly")
    axes.axvline(0, color=colours.INK, linewidth=0.8)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel("how many")
    axes.grid(False, axis="y")
    below = -0.45 / _frame(labels, several=True).height
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=3)


def _short(label: str) -> str:
    """Returns a name that a font can show, cut where it is long; `$` would begin a formula."""
    plain = visible(label)
    plain = plain if len(plain) <= _LETTERS else f"{plain[: _LETTERS - 1]}…"
    return plain.replace("$", r"\$")
