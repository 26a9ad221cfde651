"""From any pixel format of Pillow's to 8-bit RGB, by the range of the values.

| mode | what is done |
| --- | --- |
| 1, L | repeated to three channels |
| LA, PA, La, RGBA, RGBa, and any with a transparent colour | laid on white |
| P, HSV, YCbCr, LAB | looked up or converted; alpha aside, nothing is lost that 8 bits can hold |
| CMYK | Pillow's conversion, which knows Adobe's inverted files |
| 16-bit | the whole range: 0..65535 becomes 0..255 |
| I (32-bit integers) | within 0..255 as they are; within 0..65535 as 16-bit; else as F |
| F (floats) | within 0..1 times 255; within 0..255 as they are; else the picture's own range |

"Its own range" stretches the smallest value to 0 and the largest to 255; NaN becomes the smallest,
infinities the nearest finite value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

_ALPHA = {"LA", "PA", "La", "RGBA", "RGBa"}
_LEVELS_16 = 65535


def to_rgb(image: Image.Image, mode: str) -> tuple[Pixels, str]:
    """Converts a loaded picture.

    Args:
        image: With its pixels loaded; any mode.
        mode: Its mode, with `;16` added where the file holds 16 bits (decode.Header).

    Returns:
        uint8 `[h, w, 3]`, and what was lost: `16-bit` (any deeper integers), `float`, `alpha`,
        `cmyk` or nothing.

    Raises:
        ValueError: Where Pillow cannot convert the mode.
    """
    deep = "16-bit" if mode.endswith(";16") else ""
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float64) / 257), "16-bit"
    if image.mode == "I":
        return _integers(np.asarray(image), deep)
    if image.mode == "F":
        return _grey(_by_range(np.asarray(image).astype(np.float64))), "float"
    if image.mode in _ALPHA or "transparency" in image.info:
        pixels, lossy = _on_white(image)
        return pixels, deep or lossy
    if image.mode == "CMYK":
        return _array(image.convert("RGB")), deep or "cmyk"
    if image.mode == "LAB":
        image = _from_lab(image)
    return _array(image.convert("RGB")), deep


def _array(image: Image.Image) -> Pixels:
    return np.array(image, dtype=np.uint8)


def _grey(levels: NDArray[np.float64]) -> Pixels:
    """Rounds levels in 0..255 and repeats them to RGB."""
    rounded = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(rounded[:, :, None], 3, axis=2))


def _integers(values: NDArray[Any], deep: str) -> tuple[Pixels, str]:
    low, high = int(values.min()), int(values.max())
    levels = values.astype(np.float64)
    if low >= 0 and (deep or 255 < high <= _LEVELS_16):
        return _grey(levels * 255 / _LEVELS_16), "16-bit"
    if low >= 0 and high <= 255:
        return _grey(levels), ""
    return _grey(_stretch(levels, low, high)), "16-bit"


def _by_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if low >= 0 and high <= 1:
        return values * 255
    if low >= 0 and high <= 255:
        return values
    return _stretch(values, low, high)


def _stretch(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    # A constant picture has no range of its own; black is as good as any level.
    return (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)


def _on_white(image: Image.Image) -> tuple[Pixels, str]:
    # La and RGBa hold colours already multiplied by alpha; Pillow undoes that only pairwise.
    plain = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    rgba = (image.convert(plain) if plain else image).convert("RGBA")
    lowest, _ = rgba.getchannel("A").getextrema()
    if lowest == 255:
        return _array(rgba.convert("RGB")), ""
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return _array(Image.alpha_composite(white, rgba).convert("RGB")), "alpha"


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    turned = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if turned is None:
        raise ValueError("LAB colours cannot be converted")
    return turned
