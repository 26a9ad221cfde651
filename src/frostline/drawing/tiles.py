"""Sheets of small pictures with numbers below them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# All in px: no tile is smaller than the first where that helps, and none larger than the second.
_LEAST, _MOST, _GAP, _LABEL, _HEAD, _MARGIN, _WIDEST = 64, 224, 8, 14, 30, 16, 1200
# One by itself is drawn larger.
_LEAST_ALONE = 448


@dataclass(frozen=True)
class Tile:
    """A small picture.

    Attributes:
        label: What stands below it.
        pixels: uint8 [h, w, 3].
    """

    label: str
    pixels: NDArray[Any]


@dataclass(frozen=True)
class Sheet:
    """Tiles of one size below a headline."""

    head: str
    tiles: tuple[Tile, ...]


def coloured(values: NDArray[Any]) -> NDArray[Any]:
    """Returns values [h, w] from 0 to 1 as colours from dark to light, uint8 [h, w, 3]."""
    from matplotlib import colormaps

    shown = np.asarray(colormaps["viridis"](values))
    return (shown[..., :3] * 255).round().astype(np.uint8)


def grey_of(values: NDArray[Any]) -> NDArray[Any]:
    """Returns grey levels, uint8 [h, w], as [h, w, 3]."""
    return np.repeat(values[..., None], 3, axis=2)


def draw_sheet(sheets: Sequence[Sheet]) -> Image.Image:
    """Returns sheets one below the other as one picture."""
    placed = [_Grid.of(sheet) for sheet in sheets]
    font = _font(13)
    words = [int(font.getlength(sheet.head)) for sheet in sheets]
    width = max(*(grid.width for grid in placed), *words, 0) + 2 * _MARGIN
    height = sum(grid.height + _HEAD for grid in placed) + 2 * _MARGIN
    canvas = Image.new("RGB", (width, height), "white")
    draw, y = ImageDraw.Draw(canvas), _MARGIN
    for sheet, grid in zip(sheets, placed, strict=True):
        draw.text((_MARGIN, y), sheet.head, fill="#1b2530", font=font)
        y += _HEAD
        grid.paste(canvas, draw, sheet, y)
        y += grid.height
    return canvas


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Returns matplotlib's font: Pillow's own lacks signs such as ×."""
    import matplotlib

    return ImageFont.truetype(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size
    )


@dataclass(frozen=True)
class _Grid:
    """How the tiles of a sheet lie: how many side by side, and how large each is."""

    columns: int
    rows: int
    tile: tuple[int, int]

    @classmethod
    def of(cls, sheet: Sheet) -> "_Grid":
        high, wide = sheet.tiles[0].pixels.shape[:2]
        # Whole multiples, so that each number of a map is a square of its own.
        least = _LEAST if len(sheet.tiles) > 1 else _LEAST_ALONE
        times = max(1, ceil(least / max(high, wide))) if max(high, wide) < _MOST else 1
        shown = min(1.0, _MOST / max(high, wide)) if times == 1 else times
        tile = (max(1, round(wide * shown)), max(1, round(high * shown)))
        fitting = max(1, (_WIDEST + _GAP) // (tile[0] + _GAP))
        columns = min(fitting, len(sheet.tiles), max(8, ceil(len(sheet.tiles) ** 0.5)))
        return cls(columns, ceil(len(sheet.tiles) / columns), tile)

    @property
    def width(self) -> int:
        return self.columns * (self.tile[0] + _GAP) - _GAP

    @property
    def height(self) -> int:
        return self.rows * (self.tile[1] + _LABEL + _GAP)

    def paste(self, canvas: Image.Image, draw: ImageDraw.ImageDraw, sheet: Sheet, top: int) -> None:
        small = _font(10)
        for at, tile in enumerate(sheet.tiles):
            row, column = divmod(at, self.columns)
            x = _MARGIN + column * (self.tile[0] + _GAP)
            y = top + row * (self.tile[1] + _LABEL + _GAP)
            is_larger = self.tile[0] >= tile.pixels.shape[1]
            how = Image.Resampling.NEAREST if is_larger else Image.Resampling.BOX
            canvas.paste(Image.fromarray(tile.pixels).resize(self.tile, how), (x, y))
            draw.text((x, y + self.tile[1] + 1), tile.label, fill="#5b6770", font=small)
