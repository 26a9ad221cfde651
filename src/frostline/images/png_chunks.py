"""PNGs whose texts or profiles are larger than Pillow takes, though their pixels are whole."""

import struct
import zlib
from collections.abc import Iterator

from frostline.images.orientation import from_metadata

_SIGN = b"\x89PNG\r\n\x1a\n"
_XMP = b"XML:com.adobe.xmp\0"
# What Pillow unpacks of one chunk at most, and keeps of all texts together.
_MOST_UNPACKED = 1 << 20
_MOST_TEXT = 60 << 20


def without_large_texts(data: bytes) -> bytes:
    """Returns a PNG without those texts and profiles for which Pillow would refuse all of it.

    XMP with a history of edits, prompts and colour tables grow beyond 1 MiB. No pixel depends on
    them but by the orientation in XMP, whose beginning is left. Other data is returned as it is.
    """
    if not data.startswith(_SIGN):
        return data
    parts, at, text = [], 0, 0
    for kind, start, end in _chunks(data):
        content = data[start + 8 : end - 4]
        unpacked = _unpacked(kind, content)
        text += len(content) if unpacked is None else len(unpacked)
        is_small = unpacked is None or len(unpacked) <= _MOST_UNPACKED
        if kind not in _TEXTS or (is_small and text <= _MOST_TEXT):
            continue
        parts.append(data[at:start])
        if content.startswith(_XMP) and unpacked:
            parts.append(_chunk(b"iTXt", _XMP + b"\0\0\0\0" + unpacked[:_MOST_UNPACKED]))
        at = end
    return b"".join([*parts, data[at:]]) if at else data


_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def orientation_of(data: bytes) -> int:
    """Returns the orientation that a PNG's EXIF or XMP says, 1 to 8."""
    exif = xmp = b""
    for kind, start, end in _chunks(data):
        content = data[start + 8 : end - 4]
        if kind == b"eXIf":
            exif = exif or content
        elif kind == b"iTXt" and content.startswith(_XMP):
            xmp = _unpacked(kind, content) or content
    return from_metadata(exif, xmp)


def _unpacked(kind: bytes, content: bytes) -> bytes | None:
    """Returns at most a little more than Pillow takes of a packed text; None where it is plain."""
    _, _, rest = content.partition(b"\0")
    if kind in (b"zTXt", b"iCCP"):
        packed = rest[1:]
    elif kind == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].split(b"\0", 2)[-1]
    else:
        return None
    try:
        return zlib.decompressobj().decompress(packed, _MOST_UNPACKED + 1)
    except zlib.error:
        return None


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields each whole chunk's kind, and where it begins and ends."""
    at = len(_SIGN)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield data[at + 4 : at + 8], at, end
        at = end
