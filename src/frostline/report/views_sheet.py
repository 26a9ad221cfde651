"""A sheet of what the network is fed: pictures of each class, as judged and as varied.

A mirroring or a crop that is wrong for the pictures is seen on it at a glance.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont
from torch import Tensor

from frostline.base.console import printable
from frostline.base.files import write_atomic
from frostline.images.augment import CENTER, Policy, View, ViewPolicy
from frostline.images.decode import Unreadable
from frostline.images.preprocessing import Preprocessing
from frostline.images.rows import Row, split_tags
from frostline.report.colours import DIM, INK
from frostline.report.text import visible
from frostline.sound import policies
from frostline.sound.loading import load

CLASSES = 12
VIEWS = 6
# The most rows of pictures; fewer classes have more pictures each.
_ROWS = 12
_CELL_PX, _GAP_PX, _NAME_PX, _HEAD_PX = 128, 6, 168, 34
_FONT_PX = 15


@dataclass(frozen=True)
class _Line:
    label: str
    pixels: list[Tensor]  # each uint8 [3, h, w]


def views_sheet(
    rows: Sequence[Row],
    how: Preprocessing,
    policy: ViewPolicy,
    views: int = VIEWS,
    classes: int = CLASSES,
) -> Image.Image | None:
    """Draws pictures of each class, a row a picture: the center view, then varied ones.

    Args:
        rows: Labelled pictures; the first ones of each class are taken, classes by name.
        how: How a picture becomes the network's input.
        policy: How training pictures are varied; where it varies nothing, only the center view
            is drawn, several pictures in a row.
        views: How many varied views of each picture.
        classes: The most classes drawn.

    Returns:
        The sheet, RGB; None where none of the pictures can be read.
    """
    columns = views + 1
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    labels = sorted(by_label)[:classes]
    each = max(1, _ROWS // max(len(labels), 1)) if policy.varies else 1
    lines: list[_Line] = []
    for label in labels:
        if policy.varies:
            wanted = [CENTER, *(View(number, policy) for number in range(views))]
            lines += _varied(label, by_label[label], how, wanted, min(each, 3))
        else:
            lines += _plain(label, by_label[label], how, columns)
    if not lines:
        return None
    heads = ["as judged", *(f"view {number + 1}" for number in range(views))]
    left_out = len(by_label) - len(labels)
    return _drawn(lines, heads if policy.varies else [], told(policy, left_out))


def write(path: Path, rows: Sequence[Row], how: Preprocessing, policy: ViewPolicy) -> Path | None:
    """Writes the sheet as a JPEG.

    Returns:
        The file; None where none of the pictures can be read.

    Raises:
        DiskError: Where it cannot be written.
    """
    sheet = views_sheet(rows, how, policy)
    if sheet is None:
        return None
    write_atomic(path, lambda temporary: sheet.save(temporary, "JPEG", quality=80))
    return path


def told(policy: ViewPolicy, left_out: int = 0) -> str:
    """Says in words how pictures or sounds are varied, and how many classes are not drawn."""
    if isinstance(policy, Policy):
        shown, what = _pictures_told(policy), "pictures as judged"
    else:
        assert isinstance(policy, policies.SoundPolicy)
        shown, what = policies.told(policy), "sounds as judged"
    said = f"Varied: {shown}." if shown else f"Nothing is varied: all see the {what}."
    if left_out:
        said += f" {left_out} more class{'es' * (left_out != 1)} not shown."
    return said.replace("%", " %")


def _pictures_told(policy: Policy) -> str:
    degrees, share = "by up to {:g}°", "by up to {:.0%}"
    parts = [
        "mirrored" if policy.flip else "",
        f"turned {degrees.format(policy.rotate)}" if policy.rotate else "",
        f"cropped to {policy.crop:.0%} of the area at least" if policy.crop < 1 else "",
        f"magnified or shrunk {share.format(policy.zoom)}" if policy.zoom else "",
        f"shifted {share.format(policy.shift)}" if policy.shift else "",
        f"sheared {share.format(policy.shear)}" if policy.shear else "",
        f"in other colours, {share.format(policy.color)}" if policy.color else "",
    ]
    return ", ".join(part for part in parts if part)


def _varied(
    label: str, rows: Sequence[Row], how: Preprocessing, views: Sequence[View], count: int
) -> list[_Line]:
    found: list[_Line] = []
    for row in rows:
        if len(found) == count:
            break
        try:
            found.append(_Line(label, _loaded(row, how, views)))
        except Unreadable:
            continue
    return found


def _plain(label: str, rows: Sequence[Row], how: Preprocessing, count: int) -> list[_Line]:
    found: list[Tensor] = []
    for row in rows:
        if len(found) == count:
            break
        try:
            found += _loaded(row, how, [CENTER])
        except Unreadable:
            continue
    return [_Line(label, found)] if found else []


def _loaded(row: Row, how: Preprocessing, views: Sequence[View]) -> list[Tensor]:
    """Returns uint8 [3, h, w] of each view; of a sound, its spectrogram in shades of grey."""
    loaded = load(row.path, how, views, row.digest)
    if how.spectrogram is None:
        return loaded
    # All in the shades of the first, so that a change of loudness is seen.
    return [shades(view, loaded[0], how) for view in loaded]


def shades(view: Tensor, like: Tensor, how: Preprocessing) -> Tensor:
    """Returns a spectrogram as a network takes it in shades of grey, the lowest band below.

    Args:
        view: [channels, h, w].
        like: Whose lowest value is black, and whose highest is white.
        how: Of the network.

    Returns:
        uint8 [3, h, w].
    """
    low, high = float(like.min()), float(like.max())
    grey = ((view[0] - low) / ((high - low) or 1.0) * 255).round().clamp(0, 255).to(torch.uint8)
    if how.spectrogram is not None and how.spectrogram.is_time_down:
        grey = grey.T.flip(0)
    elif how.spectrogram is not None and how.spectrogram.scaling != "shades":
        grey = grey.flip(0)
    return grey.expand(3, *grey.shape).contiguous()


def _drawn(lines: Sequence[_Line], heads: Sequence[str], words: str) -> Image.Image:
    step = _CELL_PX + _GAP_PX
    columns = max(len(line.pixels) for line in lines)
    top = _HEAD_PX if heads else _GAP_PX
    width = max(_NAME_PX + columns * step, 640)
    sheet = Image.new("RGB", (width, top + len(lines) * step + _HEAD_PX), "white")
    draw, font = ImageDraw.Draw(sheet), _font()
    for column, head in enumerate(heads):
        draw.text((_NAME_PX + column * step, 8), head, DIM, font)
    earlier: str | None = None
    for number, line in enumerate(lines):
        y = top + number * step
        if line.label != earlier:
            name = _fitting(
                draw, visible(", ".join(split_tags(line.label)) or "none"), font, _NAME_PX - 16
            )
            draw.text((10, y + 4), name, INK, font)
        earlier = line.label
        for column, pixels in enumerate(line.pixels):
            view = _fitted(Image.fromarray(_seen(pixels)))
            sheet.paste(view, (_NAME_PX + column * step, y))
    foot = _fitting(draw, words, font, width - 20)
    draw.text((10, sheet.height - _HEAD_PX + 6), foot, DIM, font)
    return sheet


def _seen(pixels: Tensor) -> np.ndarray:
    """Returns uint8 `[h, w, 3]` of `[c, h, w]`; the mean of a stack, which has no colours."""
    if len(pixels) == 3:
        shown: np.ndarray = pixels.permute(1, 2, 0).numpy()
        return shown
    grey = pixels.float().mean(0).round().to(torch.uint8)
    return np.repeat(grey.numpy()[:, :, None], 3, axis=2)


def _fitted(view: Image.Image) -> Image.Image:
    """Returns a view as large as its cell; a small one with its pixels to be seen."""
    factor = _CELL_PX / max(view.size)
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    size = (max(1, round(view.width * factor)), max(1, round(view.height * factor)))
    return view.resize(size, how)


def _font() -> FreeTypeFont:
    import matplotlib

    # It comes with matplotlib, and knows more letters than Pillow's own.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), _FONT_PX)


def _fitting(draw: ImageDraw.ImageDraw, text: str, font: FreeTypeFont, width_px: int) -> str:
    """Returns the text on one line, cut where it is wider than that."""
    text = printable(text).replace("\n", " ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of letters that the font has no picture of.
        if draw.textlength(text, font) <= width_px:
            return text
        while text and draw.textlength(f"{text}…", font) > width_px:
            text = text[:-1]
    return f"{text}…"
