"""HEIC photographs, as phones save them; needs the extra `heic` (pi-heif)."""

import importlib.util
import io
import re
from collections.abc import Callable

from PIL.ImageFile import ImageFile

from frostline.images.unreadable import Unreadable


def is_installed() -> bool:
    """Says whether HEIC can be read here."""
    return importlib.util.find_spec("pi_heif") is not None


def open_image(data: bytes, check: Callable[[tuple[int, int]], None]) -> ImageFile:
    """Opens a HEIC photograph; it is turned upright by its own decoder.

    Args:
        data: The content of the file.
        check: Raises where the size is too large.

    Raises:
        Unreadable: Where it is damaged.
    """
    from pi_heif import HeifImageFile

    if _has_odd_items(data):
        raise Unreadable("damaged or cut short: the names of its items are no text")
    try:
        image: ImageFile = HeifImageFile(io.BytesIO(data), "")
    except Exception as error:
        said = " ".join(str(error).split())
        raise Unreadable(f"damaged or cut short: {said}") from error
    check(image.size)
    # Orientation is applied already; what is left of it in the metadata would turn it once more.
    image.info.pop("exif", None)
    image.info.pop("xmp", None)
    return image


def _has_odd_items(data: bytes) -> bool:
    """Says whether the kind or name of an item is no UTF-8, which ends the process in pi-heif."""
    start = data.find(b"meta")
    end = start - 4 + int.from_bytes(data[start - 4 : start], "big")
    for found in re.finditer(b"infe", data[start:end]):
        at = start + found.start()
        box = data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
        # Version and flags, the item's number of two bytes or four, its protection, then texts.
        try:
            box[4 + (2 if box[:1] < b"\3" else 4) + 2 :].decode("utf-8")
        except UnicodeDecodeError:
            return True
    return False
