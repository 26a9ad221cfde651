"""Pictures made small, as part of a page."""

import base64
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from frostline.base.html import escape

THUMBNAIL_PX = 240
# Larger pictures are not decoded for a thumbnail; JPEG is decoded small and may be larger.
_PIXEL_LIMIT = 64_000_000


def thumbnail(source: str | bytes, side_px: int = THUMBNAIL_PX) -> bytes:
    """Returns a picture as a small upright JPEG.

    EXIF orientation is applied, transparency laid on white, and grey values of more than 8 bits
    are stretched to what can be seen.

    Args:
        source: The path of the picture, or the content of its file.
        side_px: What neither side of the thumbnail exceeds.

    Raises:
        OSError: Where there is no such file, or it is no picture.
        ValueError: Where it is too large to decode for a thumbnail.
    """
    if isinstance(source, str) and not Path(source).is_file():  # a pipe or a device would block
        raise FileNotFoundError(source)
    # Pillow warns of odd metadata and of many pixels; neither concerns a thumbnail.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(source if isinstance(source, str) else io.BytesIO(source)) as image:
            image.draft("RGB", (2 * side_px, 2 * side_px))
            if image.width * image.height > _PIXEL_LIMIT:
                raise ValueError(f"{image.width} × {image.height} px: too large for a thumbnail.")
            small = _seen(ImageOps.exif_transpose(image))
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def picture(source: str | bytes, told: str, side_px: int = THUMBNAIL_PX) -> str:
    """Returns HTML that shows a picture, or says why it cannot be shown.

    Args:
        source: The path of the picture, which may be gone; or the content of its file.
        told: What to say to who cannot see it.
        side_px: Of the thumbnail.
    """
    try:
        return inline(thumbnail(source, side_px), told)
    except FileNotFoundError:
        return '<div class="missing">The picture is no longer there.</div>'
    except Exception:  # Pillow raises almost anything on a damaged file; a page must not fail
        return '<div class="missing">The picture cannot be shown.</div>'


def inline(jpeg: bytes, told: str) -> str:
    """Returns a JPEG as an HTML image that holds it."""
    with Image.open(io.BytesIO(jpeg)) as image:
        width, height = image.size
    data = base64.b64encode(jpeg).decode()
    # With its size told, the page does not jump while it is read in.
    return (
        f'<img alt="{escape(told)}" width="{width}" height="{height}" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def _seen(image: Image.Image) -> Image.Image:
    """Converts any mode to RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) / ((high - low) or 1.0) * 255
        return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")
