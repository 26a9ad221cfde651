"""HEIC photographs, as phones save them; needs the extra `heic` (pi-heif)."""

import importlib.util
import io
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

    try:
        image: ImageFile = HeifImageFile(io.BytesIO(data), "")  # type: ignore[no-untyped-call]
    except Exception as error:
        said = " ".join(str(error).split())
        raise Unreadable(f"damaged or cut short: {said}") from error
    check(image.size)
    # Orientation is applied already; what is left of it in the metadata would turn it once more.
    image.info.pop("exif", None)
    image.info.pop("xmp", None)
    return image
