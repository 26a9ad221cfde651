"""From the bytes of a picture to RGB pixels: one decoder for every command.

JPEG goes through libjpeg-turbo without Pillow in between, which gives the very pixels that Pillow
gives, sooner. Whatever that path does not take without complaint, Pillow has the last word on: it
accepts harmless junk between markers and refuses a file that ends too soon.
"""

import io
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image
from PIL.ImageFile import ImageFile

from frostline.images.levels import Pixels, to_rgb

# Pillow's own default: a quarter of a GiB of RGB. Ours, so that nobody's setting changes it.
PIXEL_LIMIT = 89_478_485

# EPS runs Ghostscript on the file; the others are names without a decoder behind them.
_CLOSED = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
_ORIENTATION = 0x0112
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_JPEG_PLAIN = {"YCbCr", "RGB", "Gray"}


class Unreadable(Exception):  # noqa: N818 - a finding about one file, not a fault of the program
    """A file that gives no pixels; the message is the short reason, without the path."""


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
        mode: Pillow's mode; `RGB;16` and the like where Pillow itself drops the low byte.
    """

    width_px: int
    height_px: int
    mode: str


def extensions() -> frozenset[str]:
    """Returns the file name endings of pictures that can be read, in lower case, with the dot."""
    known = Image.registered_extensions()
    return frozenset(end for end, name in known.items() if name in Image.OPEN.keys() - _CLOSED)


def read(path: str) -> bytes:
    """Returns the content of the file at `path`.

    Raises:
        Unreadable: Where the operating system refuses.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unreadable((error.strerror or str(error)).lower()) from error


def probe(data: bytes) -> Header:
    """Reads the header only: cheap, and it finds what is no picture or too large.

    Raises:
        Unreadable: For an empty file, for what is no image, and over `PIXEL_LIMIT`.
    """
    return _probe_jpeg(data) or _probe_pillow(data)


def decode(data: bytes, min_px: tuple[int, int] | None = None) -> Decoded:
    """Decodes a picture to upright RGB.

    Grey is repeated, transparency is laid on white, and deeper pixels are scaled by their range
    (`frostline.images.levels`). Of an animation the first frame is taken. Safe to call from
    many threads; the work runs outside Python's lock.

    Args:
        data: The content of the file.
        min_px: Height and width, as displayed, to which the caller will shrink the image. A JPEG
            of at least four times that is then decoded at 1/8, 1/4, 3/8 or 1/2 of its size, two
            to three times as fast, where its sides divide evenly (as cameras' do) and stay at
            least twice `min_px`. Shrunk to 256 px, pixels then differ from those of the whole
            way by 0.4 levels of 255 on average and by 9 at most (measured on photographs of 3
            to 12 megapixels).

    Raises:
        Unreadable: Where there is no whole picture in the data.
    """
    return _decode_jpeg(data, min_px) or _decode_pillow(data)


def _probe_jpeg(data: bytes) -> Header | None:
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        tall, wide, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if colours not in _JPEG_PLAIN:
        return None
    height, width = int(tall), int(wide)
    _check_size(width, height)
    if _jpeg_orientation(data) >= 5:
        width, height = height, width
    return Header(width, height, "L" if colours == "Gray" else "RGB")


def _probe_pillow(data: bytes) -> Header:
    with _open(data) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        return Header(width, height, _mode(image, data))


def _decode_jpeg(data: bytes, min_px: tuple[int, int] | None) -> Decoded | None:
    header = _probe_jpeg(data)
    if header is None:
        return None
    height, width = _scaled_px(header, min_px)
    orientation = _jpeg_orientation(data)
    if orientation >= 5:
        height, width = width, height
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return Decoded(_upright(pixels, orientation), "")


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
    return height, width


def _decode_pillow(data: bytes) -> Decoded:
    with _open(data) as image:
        try:
            image.load()
            pixels, lossy = to_rgb(image, _mode(image, data))
            return Decoded(_upright(pixels, _orientation(image)), lossy)
        except MemoryError:
            raise
        except Exception as error:
            raise Unreadable(_damaged(error)) from error


def _open(data: bytes) -> ImageFile:
    """Does what `Image.open` does, less its pixel check, which would warn instead of telling us.

    Raises:
        Unreadable: Where no decoder takes the data, or the picture is too large.
    """
    if not data:
        raise Unreadable("the file is empty (0 bytes)")
    # What Pillow has to say about a file's metadata is of no use to who trains on its pixels.
    # This adds the filter once; the way of catch_warnings is not safe among threads.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    Image.init()
    reason = "not an image"
    for name in [name for name in Image.ID if name not in _CLOSED]:
        factory, accept = Image.OPEN[name]
        try:
            if accept is None or accept(data[:16]) is True:
                image = factory(io.BytesIO(data), "")
                _check_size(*image.size)
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


def _check_size(width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise Unreadable(
            f"too large: {width} x {height} = {width * height:,} pixels, "
            f"the limit is {PIXEL_LIMIT:,}"
        )
    if width < 1 or height < 1:
        raise Unreadable(f"damaged or cut short: {width} x {height} pixels")


def _mode(image: Image.Image, data: bytes) -> str:
    """Returns Pillow's mode, with `;16` added where the file is deeper than the mode tells."""
    bits = 8
    if image.format == "PNG":
        bits = data[24]
    elif image.format == "TIFF":
        bits = max(_tag(image, 258), default=8)
    elif image.format == "PPM":
        bits = 16  # Pillow scales every maximum to 16 bits where it opens one as integers.
    return f"{image.mode};16" if bits == 16 and image.mode in _DEEP else image.mode


_DEEP = {"I", "LA", "RGB", "RGBA", "RGBX", "CMYK"}


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    value: Any = getattr(image, "tag_v2", {}).get(number, ())
    return value if isinstance(value, tuple) else (value,)


def _jpeg_orientation(data: bytes) -> int:
    """Returns the EXIF orientation of a JPEG, 1 to 8, from the segments before its pixels."""
    at, exif, xmp = 2, b"", b""
    while data[at : at + 1] == b"\xff" and len(data) >= at + 4:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xD9, 0xDA):
            break
        if marker == 0xFF:  # A fill byte.
            at += 1
            continue
        if marker == 0xE1:
            segment = data[at + 4 : at + 2 + length]
            if segment.startswith(b"Exif\0\0"):
                exif = exif or segment
            elif segment.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                xmp = segment
        at += 2 + length
    return _from_metadata(exif, xmp)


def _orientation(image: ImageFile) -> int:
    if image.format == "TIFF":  # Pillow turns these itself.
        return 1
    exif, xmp = image.info.get("exif", b""), image.info.get("xmp", b"")
    raw = image.info.get("Raw profile type exif")
    if not exif and raw:  # ImageMagick's PNGs: three lines of words, then hexadecimal.
        try:
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
        except ValueError:
            exif = b""
    return _from_metadata(exif, xmp or image.info.get("XML:com.adobe.xmp", "").encode())


def _from_metadata(exif: bytes, xmp: bytes) -> int:
    """Returns the orientation, 1 to 8: EXIF first, XMP where EXIF is silent, else 1."""
    found = _exif_orientation(exif)
    if found is None:
        match = _XMP.search(xmp)
        found = int(match[1]) if match else 1
    return found if 1 <= found <= 8 else 1


def _exif_orientation(exif: bytes) -> int | None:
    # Only this one tag is read: Pillow's reader warns about tags we have no use for.
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _ORIENTATION:
                code = {1: "B", 3: "H", 4: "I"}.get(kind, "H")
                return int(struct.unpack_from(f"{order}{code}", tiff, entry + 8)[0])
    except struct.error:
        return None
    return None


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turns and mirrors `[h, w, 3]` as EXIF's `orientation` (1 to 8) asks."""
    if orientation == 1:
        return pixels
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
