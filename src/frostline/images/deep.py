"""Pictures deeper than 8 bits: what the file says of its samples, and the samples themselves.

Pillow's modes say little of them: it takes 12 bits for 16, unsigned 32-bit numbers for signed
ones, drops the low byte of 16-bit colour and the polarity of negatives. So depth, sign and
polarity are read from the file: PNG by its header, TIFF by its tags.
"""

import io
import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frostline.images.png_chunks import orientation_of
from frostline.images.unreadable import Unreadable

# It warns of odd tags through the log of the process, which is not ours to fill.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PNG_CHANNELS = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SIGNS = {1: "uint", 2: "int", 3: "float", 4: "uint"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ALPHAS = (1, 2)
_DEEP_COLOURS = {"LA", "RGB", "RGBA", "RGBX", "CMYK"}
_MOST_BANDS = 4
_LARGEST_TILE = 1 << 24


@dataclass(frozen=True)
class Samples:
    """What a file says of its pixels.

    Attributes:
        width_px: As stored.
        height_px: As stored.
        channels: `L`, `LA`, `RGB` or `RGBA`.
        samples: `uint12`, `int16`, `float32`: the kind and the bits of each.
        inverted: Whether 0 is white.
        orientation: EXIF's, 1 to 8.
    """

    width_px: int
    height_px: int
    channels: str
    samples: str
    inverted: bool = False
    orientation: int = 1

    @property
    def mode(self) -> str:
        """`CHANNELS;SAMPLES`, as a listing keeps it."""
        return f"{self.channels};{self.samples}"

    @property
    def lossy(self) -> str:
        """What 8 bits lose of it."""
        return "float" if self.samples.startswith("float") else "16-bit"


def describe(data: bytes) -> Samples | None:
    """Reads the header of a PNG or TIFF deeper than 8 bits; None for all else.

    Raises:
        Unreadable: For a TIFF of more bands than a picture for people has.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _of_png(data)
    return _of_tiff(data) if data.startswith(_TIFF) else None


def read(data: bytes, about: Samples) -> NDArray[Any]:
    """Decodes the samples, all bits of them: `[h, w, c]`.

    Raises:
        Unreadable: Where the data is damaged or cut short.
    """
    try:
        decoded = _png(data) if data.startswith(b"\x89PNG") else _tiff(data)
    except MemoryError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(f"damaged or cut short: {said}") from error
    channels = len(about.channels)
    if decoded.ndim == 2:
        decoded = decoded[:, :, None]
    if decoded.shape[:2] != (about.height_px, about.width_px) or decoded.shape[2] < channels:
        raise Unreadable("damaged or cut short: its pixels are not those of its header")
    return decoded[:, :, :channels]


def pages(data: bytes, about: Samples, most: int) -> list[NDArray[Any]]:
    """Decodes all pages of a file, with all bands they have: `[h, w, bands]` each.

    Args:
        data: The content of the file.
        about: What its header says.
        most: How many pages are taken.

    Raises:
        Unreadable: Where the data is damaged or cut short, or has more pages.
    """
    if data.startswith(b"\x89PNG"):
        return [read(data, about)]
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            count = len(file.pages)
            found = [_page(page, len(data)) for page in file.pages] if count <= most else []
    except MemoryError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(f"damaged or cut short: {said}") from error
    if not found:
        raise Unreadable(f"holds {count} pictures, and the network takes {most} channels")
    return [one[:, :, None] if one.ndim == 2 else one for one in found]


def mode_of(image: Image.Image) -> str:
    """Returns the mode of an open picture, with its samples where they are deeper than 8 bits."""
    if image.mode.startswith("I;16"):
        return "L;uint16"
    if image.mode == "I":
        # Pillow scales every maximum of a PGM to 16 bits.
        return "L;uint16" if image.format == "PPM" else "L;int32"
    if image.mode == "F":
        return "L;float32"
    bits = max(_tag(image, 258), default=8) if image.format == "TIFF" else 8
    return f"{image.mode};uint{bits}" if bits > 8 and image.mode in _DEEP_COLOURS else image.mode


def _of_png(data: bytes) -> Samples | None:
    if len(data) < 26 or data[24] != 16 or data[25] not in _PNG_CHANNELS:
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    return Samples(
        width, height, _PNG_CHANNELS[data[25]], "uint16", orientation=orientation_of(data)
    )


def _png(data: bytes) -> NDArray[Any]:
    import imagecodecs

    decoded: NDArray[Any] = imagecodecs.png_decode(data)
    return decoded


@dataclass(frozen=True)
class _Tags:
    """What the first page of a TIFF says of itself."""

    width_px: int
    height_px: int
    bits: int
    sign: str  # Empty for numbers that are neither whole nor real.
    bands: int
    colours: int
    has_alpha: bool
    orientation: int


def _of_tiff(data: bytes) -> Samples | None:
    tags = _tags(data)
    if tags is None:
        return None
    bands, colours = tags.bands, tags.colours
    size = tags.width_px, tags.height_px
    if bands == 3 and colours == _BLACK_IS_ZERO and tags.sign:  # As surveys write colours.
        return Samples(*size, "RGB", f"{tags.sign}{tags.bits}", orientation=tags.orientation)
    is_grey = colours in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    is_odd = is_grey and (bands > 2 or (bands == 2 and tags.bits > 8 and not tags.has_alpha))
    if bands > _MOST_BANDS or is_odd:
        raise Unreadable(
            f"a TIFF of {bands} bands, and a picture has 3 (red, green, blue) or 1: write those "
            "that matter to a TIFF or PNG of their own"
        )
    if (tags.bits <= 8 and tags.sign == "uint") or not (is_grey or colours == _RGB):
        return None
    if not tags.sign:
        raise Unreadable("a TIFF of complex numbers: write their magnitude or phase instead")
    plain = "RGB" if colours == _RGB else "L"
    alpha = "A" if bands > len(plain) and tags.has_alpha else ""
    inverted = colours == _WHITE_IS_ZERO
    return Samples(*size, plain + alpha, f"{tags.sign}{tags.bits}", inverted, tags.orientation)


def _tags(data: bytes) -> _Tags | None:
    """Reads the tags of the first page; None where they cannot be read."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page: Any = file.pages[0]
            bits, turned = page.bitspersample, page.tags.get(274)
            return _Tags(
                width_px=int(page.imagewidth),
                height_px=int(page.imagelength),
                bits=bits if isinstance(bits, int) else max(bits),
                sign=_SIGNS.get(page.sampleformat or 1, ""),
                bands=int(page.samplesperpixel),
                colours=int(page.photometric),
                has_alpha=any(int(one) in _ALPHAS for one in page.extrasamples[:1]),
                orientation=int(turned.value) if turned and turned.value in range(1, 9) else 1,
            )
    except Exception:
        # Pillow has the last word on a damaged one.
        return None


def _tiff(data: bytes) -> NDArray[Any]:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return _page(file.pages[0], len(data))


def _page(page: Any, size: int) -> NDArray[Any]:
    _check_segments(page, size)
    decoded: NDArray[Any] = page.asarray(maxworkers=1)
    axes = page.axes
    if axes.startswith("S") and decoded.ndim == 3:  # A plane for each channel.
        decoded = np.moveaxis(decoded, 0, -1)
    return decoded


def _check_segments(page: Any, size: int) -> None:
    """Refuses before anything is decoded what would take more memory than its pixels.

    Raises:
        ValueError: Where strips or tiles lie beyond the end of the file, are too few, or are far
            larger than the picture.
    """
    spans = zip(page.dataoffsets, page.databytecounts, strict=True)
    if any(offset + count > size for offset, count in spans):
        raise ValueError("its pixels lie beyond the end of the file")
    if len(page.dataoffsets) < math.prod(page.chunked):
        raise ValueError("it has fewer strips or tiles than its size takes")
    tile = max(1, page.tilewidth) * max(1, page.tilelength) * max(1, page.tiledepth)
    if page.imagedepth > 1 or (page.is_tiled and tile > max(_LARGEST_TILE, 4 * page.size)):
        raise ValueError("its tiles are larger than the picture")


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    value: Any = getattr(image, "tag_v2", {}).get(number, ())
    return value if isinstance(value, tuple) else (value,)
