"""Views: deterministic ways to turn an image into the tensor a network takes.

`center` is timm's own evaluation transform, on uint8 from decoding to the network's door. Sizes,
rounding, crop offsets and padding are timm's; the resampling of `bilinear` and `bicubic` is torch's
antialiased uint8 kernel, three times as fast as Pillow's. Against timm's own pixels, over real
photographs: `nearest` and `lanczos` are equal to the last bit; `bilinear` and `bicubic` differ by
at most 0.03 levels of 255 in the mean of an image (0.004 typically) and by 2 in any pixel, which is
0.0005 and 0.04 after `normalise`; in `squash` mode by at most 0.3 and 10 levels. A JPEG that is
decoded at a reduced size adds what `decode.decode` says.
"""

import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from frostline.images import decode
from frostline.images.levels import Pixels
from frostline.images.preprocessing import Preprocessing

# Part of every cache key. Change it whenever a pixel of any view would change, decoding included.
VERSION = "1"

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Above this many pixels (a strip of 1 x 500 px becomes one of 256 x 128,000) only what the crop
# keeps is resized.
_WHOLE_PX = 4_194_304


def center(pixels: Pixels, preprocessing: Preprocessing) -> torch.Tensor:
    """Makes the `center` view: resize, crop in the middle, pad where the crop is larger.

    Args:
        pixels: uint8 `[h, w, c]`, of any size from one pixel on.
        preprocessing: Of the backbone.

    Returns:
        uint8 `[c, height_px, width_px]`, contiguous.
    """
    height, width = resized_px(pixels.shape[0], pixels.shape[1], preprocessing)
    top, left = _offset(height, preprocessing.height_px), _offset(width, preprocessing.width_px)
    kept = (
        max(top, 0),
        max(left, 0),
        min(height, max(top, 0) + preprocessing.height_px),
        min(width, max(left, 0) + preprocessing.width_px),
    )
    part = resize(pixels, (height, width), preprocessing.interpolation, kept)
    if part.shape[1:] == (preprocessing.height_px, preprocessing.width_px):
        return part.contiguous()
    return _pad(part, preprocessing)


def center_source_px(preprocessing: Preprocessing) -> tuple[int, int]:
    """Returns the `min_px` that `decode.decode` may be given for this view: height, width.

    For `nearest`, which picks single pixels of the full image, it is too large ever to matter.
    """
    if preprocessing.interpolation == "nearest":
        return decode.PIXEL_LIMIT, decode.PIXEL_LIMIT
    return _scale_px(preprocessing)


def normalise(batch: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Scales to [0, 1], subtracts the mean and divides by the standard deviation.

    Args:
        batch: uint8 `[n, c, h, w]` or `[c, h, w]`, on any device.
        preprocessing: Of the backbone.

    Returns:
        float32 of the same shape.
    """
    mean = torch.tensor(preprocessing.mean, device=batch.device).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std, device=batch.device).view(-1, 1, 1)
    normalised = (batch.to(torch.float32) / 255 - mean) / std
    return normalised.flip(-3) if preprocessing.channel_order == "bgr" else normalised


def resized_px(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Returns the height and width that an image of this size is resized to before the crop."""
    wanted = _scale_px(preprocessing)
    if preprocessing.crop_mode == "squash":
        return wanted
    if preprocessing.crop_mode == "center" and wanted[0] == wanted[1]:
        # torchvision cuts the long side down to whole pixels here; below, timm rounds.
        short, long = sorted((height, width))
        stretched = int(wanted[0] * long / short)
        return (wanted[0], stretched) if height <= width else (stretched, wanted[0])
    choose = max if preprocessing.crop_mode == "border" else min
    ratio = choose(height / wanted[0], width / wanted[1])
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def center_box(
    height: int, width: int, preprocessing: Preprocessing
) -> tuple[float, float, float, float]:
    """Returns the part of an image that its `center` view shows.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        preprocessing: Of the backbone.

    Returns:
        Top, left, bottom and right in pixels of the image. Where the view is padded, the box
        reaches beyond the image.
    """
    tall, wide = resized_px(height, width, preprocessing)
    top, left = _offset(tall, preprocessing.height_px), _offset(wide, preprocessing.width_px)
    down, across = height / tall, width / wide
    return (
        top * down,
        left * across,
        (top + preprocessing.height_px) * down,
        (left + preprocessing.width_px) * across,
    )


def _scale_px(preprocessing: Preprocessing) -> tuple[int, int]:
    return math.floor(preprocessing.height_px / preprocessing.crop_pct), math.floor(
        preprocessing.width_px / preprocessing.crop_pct
    )


def _offset(size: int, crop: int) -> int:
    """Returns where a crop in the middle begins; below zero, how much must be padded before it."""
    return round((size - crop) / 2) if size >= crop else -((crop - size) // 2)


def resize(
    pixels: Pixels,
    size: tuple[int, int],
    interpolation: str,
    kept: tuple[int, int, int, int] | None = None,
) -> torch.Tensor:
    """Resizes an image, antialiased.

    Args:
        pixels: uint8 `[h, w, c]`.
        size: Height and width to resize to, in pixels.
        interpolation: One of `preprocessing.INTERPOLATIONS`.
        kept: Top, left, bottom and right of what is wanted of the result; all where absent.

    Returns:
        uint8 `[c, bottom - top, right - left]`, not always contiguous, and `pixels` itself where
        there is nothing to resize.
    """
    kept = kept or (0, 0, *size)
    top, left, bottom, right = kept
    whole = size[0] * size[1] <= _WHOLE_PX
    if whole and size == pixels.shape[:2]:
        return _tensor(pixels)[:, top:bottom, left:right]
    if whole and interpolation in ("bilinear", "bicubic"):
        # A view on interleaved pixels is channels-last, which takes torch's fastest kernel.
        resized = functional.interpolate(
            _tensor(pixels)[None], size, mode=interpolation, antialias=True
        )
        return resized[0, :, top:bottom, left:right]
    if pixels.shape[2] != 3:  # Pillow knows grey and colours.
        planes = [
            _resize_by_pillow(plane, size, interpolation, kept)
            for plane in np.moveaxis(pixels, 2, 0)
        ]
        return torch.from_numpy(np.stack(planes))
    return _tensor(_resize_by_pillow(pixels, size, interpolation, kept))


def _resize_by_pillow(
    pixels: Pixels, size: tuple[int, int], interpolation: str, kept: tuple[int, int, int, int]
) -> Pixels:
    """Does what `resize` does by Pillow: `[h, w]` or `[h, w, 3]` in, and the like out."""
    top, left, bottom, right = kept
    image, method = Image.fromarray(pixels), _PILLOW[interpolation]
    if size[0] * size[1] <= _WHOLE_PX:
        image = image.resize((size[1], size[0]), method).crop((left, top, right, bottom))
    else:
        down, across = pixels.shape[0] / size[0], pixels.shape[1] / size[1]
        box = (left * across, top * down, right * across, bottom * down)
        image = image.resize((right - left, bottom - top), method, box=box)
    return np.array(image, dtype=np.uint8)


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)


def _pad(part: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Puts `[c, h, w]` into the middle: on the mean colour for `border`, else on black."""
    colour = preprocessing.mean if preprocessing.crop_mode == "border" else (0.0,) * len(part)
    levels = torch.tensor([round(255 * level) for level in colour], dtype=torch.uint8)
    whole = levels.view(-1, 1, 1).repeat(1, preprocessing.height_px, preprocessing.width_px)
    top = -min(0, _offset(part.shape[1], preprocessing.height_px))
    left = -min(0, _offset(part.shape[2], preprocessing.width_px))
    whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return whole
