"""From any pixel format to 8-bit RGB: what becomes black, and what white.

| mode | what is done |
| --- | --- |
| 1, L | repeated to three channels |
| LA, PA, La, RGBA, RGBa, and any with a transparent colour | laid on white |
| P, HSV, YCbCr, LAB | looked up or converted; alpha aside, nothing is lost that 8 bits can hold |
| CMYK | Pillow's conversion, which knows Adobe's inverted files |
| deeper than 8 bits | `Levels`: one range for each kind of samples, for all pictures of a set |

Without a range of their own, unsigned and signed integers have that of all their bits, and floats
that from 0 to 1. Values beyond a range are black or white; so is what is no number, black.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frostline.base.errors import RecipeError

Pixels = NDArray[np.uint8]

_ALPHA = {"LA", "PA", "La", "RGBA", "RGBa"}
_ENTRY = re.compile(r"(?:(float|u?int\d{1,2})=)?([^:=,]+):([^:=,]+)")


@dataclass(frozen=True)
class Levels:
    """The values that become black (0) and white (255) in pictures deeper than 8 bits.

    Attributes:
        ranges: Kind of samples (`uint12`, `int16`, `float`; empty for all that are not named),
            with the value that becomes black and the one that becomes white.
    """

    ranges: tuple[tuple[str, float, float], ...] = ()

    def __str__(self) -> str:
        """Returns what `parse` reads: `0:4095`, or `uint16=0:4095,float=0:1`."""
        return ",".join(
            f"{kind}={low:.10g}:{high:.10g}" if kind else f"{low:.10g}:{high:.10g}"
            for kind, low, high in self.ranges
        )

    def of(self, samples: str) -> tuple[float, float]:
        """Returns what becomes black and white in a file of these samples, such as `uint12`."""
        return self._own(samples) or _whole_range(samples)

    def knows(self, samples: str) -> bool:
        """Says whether it has a range for such samples."""
        return self._own(samples) is not None

    def _own(self, samples: str) -> tuple[float, float] | None:
        known = {kind: (low, high) for kind, low, high in self.ranges}
        return known.get(kind_of(samples)) or known.get("")

    def apply(self, values: NDArray[Any], samples: str, inverted: bool = False) -> Pixels:
        """Brings samples to 8-bit RGB.

        Args:
            values: `[h, w, c]`: grey, grey and alpha, RGB, or RGB and alpha.
            samples: What the file says of them, such as `uint12`.
            inverted: Whether 0 is white.

        Returns:
            uint8 `[h, w, 3]`.
        """
        channels = values.shape[2]
        colours = _scaled(values[:, :, : channels - (channels + 1) % 2], self.of(samples), samples)
        colours = 255 - colours if inverted else colours
        if channels in (2, 4):
            share = _scaled(values[:, :, -1:], _whole_range(samples), samples) / np.float32(255)
            colours = np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)
        shown: Pixels = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours
        return np.ascontiguousarray(shown)

    def scaled(self, values: NDArray[Any], samples: str) -> Pixels:
        """Brings samples to 8 bits, whatever they stand for: uint8 of the same shape."""
        return _scaled(values, self.of(samples), samples)


NO_LEVELS = Levels()


def parse(text: str) -> Levels:
    """Reads `0:4095`, or a range for each kind of samples: `uint16=0:4095,float=0:1`.

    Raises:
        RecipeError: Where it is neither, or what is to be white does not lie above black.
    """
    found = [_ENTRY.fullmatch(entry.strip()) for entry in text.split(",")]
    ranges = []
    for entry in found:
        try:
            kind, low, high = entry[1] or "", float(entry[2]), float(entry[3])  # type: ignore[index]
        except (TypeError, ValueError):
            low = high = math.nan
            kind = ""
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise RecipeError(
                f"data.levels must be auto, BLACK:WHITE such as 0:4095, or one for each kind of "
                f"samples such as uint16=0:4095,float=0:1, not {text!r}."
            )
        ranges.append((kind, low, high))
    return Levels(tuple(ranges))


def merged(*known: Levels) -> Levels:
    """Returns all ranges of several; where two have one for the same kind, the former's."""
    ranges: dict[str, tuple[str, float, float]] = {}
    for levels in known:
        for entry in levels.ranges:
            ranges.setdefault(entry[0], entry)
    return Levels(tuple(sorted(ranges.values())))


def kind_of(samples: str) -> str:
    """Returns samples as levels name them: `float` whatever its bits, else as they are."""
    return "float" if samples.startswith("float") else samples


def bits_of(samples: str) -> int:
    """Returns the bits of samples such as `uint12`."""
    return int(re.sub(r"\D", "", samples))


def to_rgb(image: Image.Image, mode: str, levels: Levels) -> tuple[Pixels, str]:
    """Converts a picture that Pillow has loaded.

    Args:
        image: With its pixels loaded; any mode.
        mode: Its mode, `CHANNELS;SAMPLES` where it is deeper than 8 bits (decode.Header).
        levels: What becomes black and white in deeper ones.

    Returns:
        uint8 `[h, w, 3]`, and what was lost: `16-bit` (any deeper integers), `float`, `alpha`,
        `cmyk` or nothing.

    Raises:
        ValueError: Where Pillow cannot convert the mode.
    """
    _, is_deep, samples = mode.partition(";")
    if is_deep and image.mode[0] in "IF":
        lost = "float" if samples.startswith("float") else "16-bit"
        return levels.apply(np.asarray(image)[:, :, None], samples), lost
    deep = "16-bit" if is_deep else ""
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


def _whole_range(samples: str) -> tuple[float, float]:
    if samples.startswith("float"):
        return 0.0, 1.0
    bits = bits_of(samples)
    return (
        (0.0, 2.0**bits - 1) if samples[0] == "u" else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    )


def _scaled(values: NDArray[Any], limits: tuple[float, float], samples: str) -> Pixels:
    """Returns uint8 of the same shape."""
    if samples[0] == "u" and values.dtype == np.uint16:
        # Of 65,536 values each is worked out once.
        table = _linear(np.arange(1 << 16, dtype=np.float64), limits)
        looked_up: Pixels = table[values]
        return looked_up
    with np.errstate(all="ignore"):  # Of signalling NaNs.
        return _linear(values.astype(np.float64), limits)


def _linear(values: NDArray[np.float64], limits: tuple[float, float]) -> Pixels:
    low, high = limits
    # Values beyond all limits are clipped; how they got there is nobody's concern.
    with np.errstate(all="ignore"):
        known = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        scaled = np.rint((known - low) * (255 / (high - low)))
        shown: Pixels = np.clip(scaled, 0, 255).astype(np.uint8)
    return shown


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
