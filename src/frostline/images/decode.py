"""From the bytes of a picture to RGB pixels: one decoder for every command.

JPEG goes through libjpeg-turbo without Pillow in between, which gives the very pixels that Pillow
gives, sooner. Whatever that path does not take without complaint, Pillow has the last word on: it
accepts harmless junk between markers and refuses a file that ends too soon. Pictures deeper than
8 bits are read with all their bits (`deep`) and brought to 8 by one rule (`levels`).
"""

import io
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from frostline.images import deep, foreign, heic, orientation, png_chunks
from frostline.images.levels import NO_LEVELS, Levels, Pixels, to_rgb
from frostline.images.unreadable import Unreadable

__all__ = [
    "Decoded",
    "Header",
    "Unreadable",
    "decode",
    "extensions",
    "open_picture",
    "probe",
    "read",
    "samples",
]

# Pillow's own default: a quarter of a GiB of RGB. Ours, so that nobody's setting changes it.
PIXEL_LIMIT = 89_478_485
# A larger JPEG is decoded at half its size or less, which takes a quarter of the memory: phones
# take photographs of 108 and 200 megapixels.
JPEG_LIMIT = 5 * PIXEL_LIMIT // 2

# EPS runs Ghostscript on the file; the others are names without a decoder behind them.
_CLOSED = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
_JPEG_PLAIN = {"YCbCr", "RGB", "Gray"}
_MIB = 1 << 20


@dataclass(frozen=True)
class Decoded:
    """One decoded picture.

    Attributes:
        pixels: uint8 `[h, w, 3]`, RGB, upright (EXIF orientation applied), C-contiguous.
        lossy: What the way to 8-bit RGB lost: `16-bit`, `float`, `alpha`, `cmyk`; else empty.
            Grey and opaque palettes lose nothing.
    """

    pixels: Pixels
    lossy: str


@dataclass(frozen=True)
class Header:
    """What the header of a picture says.

    Attributes:
        width_px: Width as displayed.
        height_px: Height as displayed.
        mode: Pillow's mode; of pictures deeper than 8 bits `CHANNELS;SAMPLES`: `L;uint12`.
    """

    width_px: int
    height_px: int
    mode: str


@cache
def extensions() -> frozenset[str]:
    """Returns the file name endings of pictures, in lower case, with the dot.

    Among them are those of well-known formats that are not read, so that this is said of them.
    """
    known = Image.registered_extensions()
    readable = {end for end, name in known.items() if name in Image.OPEN.keys() - _CLOSED}
    return foreign.ENDINGS | readable


def read(path: str) -> bytes:
    """Returns the content of the file at `path`.

    Raises:
        Unreadable: Where the operating system refuses.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unreadable((error.strerror or str(error)).lower()) from error


def probe(data: bytes, most_px: int = 0) -> Header:
    """Reads the header only: cheap, and it finds what is no picture or too large.

    Args:
        data: The content of the file.
        most_px: Pixels of the largest picture that is taken; 0 for `JPEG_LIMIT` and, of all other
            formats, `PIXEL_LIMIT`.

    Raises:
        Unreadable: For an empty file, for what is no image, and for what is too large.
    """
    return _probe_jpeg(data, most_px) or _probe_deep(data, most_px) or _probe_pillow(data, most_px)


def decode(
    data: bytes,
    min_px: tuple[int, int] | None = None,
    levels: Levels = NO_LEVELS,
    most_px: int = 0,
) -> Decoded:
    """Decodes a picture to upright RGB.

    Grey is repeated, transparency is laid on white, and deeper pixels are scaled by `levels`. Of
    an animation the first frame is taken. Safe to call from many threads; the work runs outside
    Python's lock.

    Args:
        data: The content of the file.
        min_px: Height and width, as displayed, to which the caller will shrink the image. A JPEG
            of at least four times that is then decoded at 1/8, 1/4, 3/8 or 1/2 of its size, two
            to three times as fast, where its sides divide evenly (as cameras' do) and stay at
            least twice `min_px`. Shrunk to 256 px, pixels then differ from those of the whole
            way by 0.4 levels of 255 on average and by 9 at most (measured on photographs of 3
            to 12 megapixels).
        levels: What becomes black and what white in pictures deeper than 8 bits.
        most_px: As for `probe`.

    Raises:
        Unreadable: Where there is no whole picture in the data.
    """
    found = _decode_jpeg(data, min_px, most_px) or _decode_deep(data, levels, most_px)
    return found or _decode_pillow(data, levels, most_px)


def samples(data: bytes, most_px: int = 0) -> NDArray[Any]:
    """Returns the values of a picture deeper than 8 bits as they are in the file.

    Args:
        data: The content of the file.
        most_px: As for `probe`.

    Returns:
        `[h, w, c]` or `[h, w]`, without alpha.

    Raises:
        Unreadable: Where there is no whole picture in the data.
    """
    about = deep.describe(data)
    if about is not None:
        _check_size(about.width_px, about.height_px, most_px or PIXEL_LIMIT)
        values = deep.read(data, about)
        return values[:, :, : values.shape[2] - (values.shape[2] + 1) % 2]
    with open_picture(data, most_px) as image:
        try:
            image.load()
            return np.asarray(image)
        except MemoryError:
            raise
        except Exception as error:
            raise Unreadable(_damaged(error)) from error


def _probe_jpeg(data: bytes, most_px: int) -> Header | None:
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        tall, wide, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if colours not in _JPEG_PLAIN or foreign.reason(data):
        return None
    height, width = int(tall), int(wide)
    _check_size(width, height, most_px or JPEG_LIMIT)
    if orientation.of_jpeg(data) >= 5:
        width, height = height, width
    return Header(width, height, "L" if colours == "Gray" else "RGB")


def _probe_deep(data: bytes, most_px: int) -> Header | None:
    about = deep.describe(data)
    if about is None:
        return None
    _check_size(about.width_px, about.height_px, most_px or PIXEL_LIMIT)
    width, height = about.width_px, about.height_px
    if about.orientation >= 5:
        width, height = height, width
    return Header(width, height, about.mode)


def _probe_pillow(data: bytes, most_px: int) -> Header:
    with open_picture(data, most_px) as image:
        width, height = image.size
        if orientation.of_pillow(image) >= 5:
            width, height = height, width
        return Header(width, height, deep.mode_of(image))


def _decode_jpeg(data: bytes, min_px: tuple[int, int] | None, most_px: int) -> Decoded | None:
    header = _probe_jpeg(data, most_px)
    if header is None:
        return None
    height, width = _scaled_px(header, min_px)
    turned = orientation.of_jpeg(data)
    if turned >= 5:
        height, width = width, height
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return Decoded(orientation.upright(pixels, turned), "")


def _scaled_px(header: Header, min_px: tuple[int, int] | None) -> tuple[int, int]:
    """Returns the smallest height and width to decode at, whole where nothing smaller will do."""
    height, width = header.height_px, header.width_px
    if min_px is not None:
        for eighths in (1, 2, 3, 4):
            scaled = height * eighths / 8, width * eighths / 8
            # A part of a pixel at the edge would shift all others by up to as much.
            whole = scaled[0].is_integer() and scaled[1].is_integer()
            if whole and scaled[0] >= 2 * min_px[0] and scaled[1] >= 2 * min_px[1]:
                return int(scaled[0]), int(scaled[1])
    # However much may be taken: pixels must not depend on a limit.
    return (height // 2, width // 2) if height * width > PIXEL_LIMIT else (height, width)


def _decode_deep(data: bytes, levels: Levels, most_px: int) -> Decoded | None:
    about = deep.describe(data)
    if about is None:
        return None
    _check_size(about.width_px, about.height_px, most_px or PIXEL_LIMIT)
    pixels = levels.apply(deep.read(data, about), about.samples, about.inverted)
    return Decoded(orientation.upright(pixels, about.orientation), about.lossy)


def _decode_pillow(data: bytes, levels: Levels, most_px: int) -> Decoded:
    with open_picture(data, most_px) as image:
        try:
            image.load()
            pixels, lossy = to_rgb(image, deep.mode_of(image), levels)
            return Decoded(orientation.upright(pixels, orientation.of_pillow(image)), lossy)
        except MemoryError:
            raise
        except Exception as error:
            raise Unreadable(_damaged(error)) from error


def open_picture(data: bytes, most_px: int) -> ImageFile:
    """Does what `Image.open` does, less its pixel check, which would warn instead of telling us.

    Raises:
        Unreadable: Where no decoder takes the data, or the picture is too large.
    """
    if not data:
        raise Unreadable("the file is empty (0 bytes)")
    if reason := foreign.reason(data):
        if not foreign.is_heic(data) or not heic.is_installed():
            raise Unreadable(reason)
        return heic.open_image(data, lambda size: _check_size(*size, most_px or PIXEL_LIMIT))
    # What Pillow has to say about a file's metadata is of no use to who trains on its pixels.
    # This adds the filter once; the way of catch_warnings is not safe among threads.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    Image.init()
    reason = "not an image"
    data = png_chunks.without_large_texts(data)
    for name in [name for name in Image.ID if name not in _CLOSED]:
        factory, accept = Image.OPEN[name]
        try:
            if accept is None or accept(data[:16]) is True:
                image = factory(io.BytesIO(data), "")
                _check_size(*image.size, most_px or PIXEL_LIMIT)
                return image
        except (Unreadable, MemoryError):
            raise
        except Exception as error:
            # A decoder that knew the first bytes says more than "not an image".
            reason = _damaged(error) if accept else reason
    raise Unreadable(reason)


def _damaged(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return f"damaged or cut short: {said}"


def _check_size(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise Unreadable(
            f"too large: {width} x {height} = {width * height:,} pixels, "
            f"the limit is {limit:,} (--max-megapixels moves it)"
        )
    if width < 1 or height < 1:
        raise Unreadable(f"damaged or cut short: {width} x {height} pixels")
