"""Which way up a picture is, as its file says; and turning it."""

import re
import struct

import numpy as np
from PIL.ImageFile import ImageFile

from frostline.images.levels import Pixels

_ORIENTATION = 0x0112
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def of_jpeg(data: bytes) -> int:
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
    return from_metadata(exif, xmp)


def of_pillow(image: ImageFile) -> int:
    """Returns the orientation of an open picture, 1 to 8, that Pillow has not applied itself."""
    if image.format == "TIFF":  # Pillow turns these itself.
        return 1
    exif, xmp = image.info.get("exif", b""), image.info.get("xmp", b"")
    raw = image.info.get("Raw profile type exif")
    if not exif and raw:  # ImageMagick's PNGs: three lines of words, then hexadecimal.
        try:
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
        except ValueError:
            exif = b""
    return from_metadata(exif, xmp or image.info.get("XML:com.adobe.xmp", "").encode())


def from_metadata(exif: bytes, xmp: bytes) -> int:
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


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turns and mirrors `[h, w, 3]` as EXIF's `orientation` (1 to 8) asks."""
    if orientation == 1:
        return pixels
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
