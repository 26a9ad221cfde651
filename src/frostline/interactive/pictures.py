"""The pictures that a Python user means: paths, PIL images, NumPy arrays, and lists of these."""

import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageOps

from frostline.base.errors import ListingError
from frostline.base.paths import user_path

_WANTED = (
    "Give a path, a folder, a PIL image, an array of shape [height, width] or [height, width, 3], "
    "or a list of these"
)
# What PNG holds as it is; other modes go as TIFF, or as RGB where neither has them.
_AS_PNG = {"1", "L", "LA", "P", "RGB", "RGBA"}
_AS_TIFF = {"CMYK", "F", "I", "I;16", "I;16B", "I;16L"}


@dataclass(frozen=True)
class InMemory:
    """A picture that came without a file.

    Attributes:
        name: Its file's name where it was opened from one, else its place in what was given: `[0]`.
        content: What its file would hold.
    """

    name: str
    content: bytes


@contextmanager
def as_files(given: Any) -> Iterator[tuple[list[Path], dict[str, InMemory]]]:
    """Gives pictures as files, so that one in memory is read as its file would be.

    Args:
        given: A path, a PIL image, an array, or an iterable of these. Arrays have the shape
            [h, w], [h, w, 1], [h, w, 3] (RGB) or [h, w, 4] (RGBA), and hold uint8, uint16, or
            floats from 0 (black) to 1 (white).

    Yields:
        Files and folders in the order given, and what is in memory by the path that stands for
        it. Those files are gone afterwards.

    Raises:
        ListingError: Where something is no picture; says which, and what must hold.
    """
    items = [given] if _is_one(given) else _items(given)
    with tempfile.TemporaryDirectory(prefix="frostline-") as folder:
        paths, held = [], {}
        for index, item in enumerate(items):
            if isinstance(item, str | os.PathLike):
                paths.append(user_path(item))
                continue
            name = f"[{index}]"
            content = _content(item, name if item is not given else "pictures")
            path = Path(folder) / f"{index}.img"
            path.write_bytes(content)
            held[str(path)] = InMemory(getattr(item, "filename", "") or name, content)
            paths.append(path)
        yield paths, held


def _is_one(given: Any) -> bool:
    is_text_array = isinstance(given, np.ndarray) and given.dtype.kind in "OUT"
    return isinstance(given, str | os.PathLike | Image.Image) or (
        not is_text_array and _array_of(given) is not None
    )


def _items(given: Any) -> Sequence[Any]:
    if hasattr(given, "columns"):
        raise ListingError(
            "pictures: a DataFrame has many columns. Give that of paths: frame.path."
        )
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise ListingError(f"pictures: {type(given).__name__} is no picture. {_WANTED}.")
    items = list(given)
    if not items:
        raise ListingError(f"pictures: the list is empty. {_WANTED}.")
    return items


def _content(item: Any, where: str) -> bytes:
    if isinstance(item, Image.Image):
        return _of_image(item, where)
    values = _array_of(item)
    if values is None:
        raise ListingError(f"{where}: {type(item).__name__} is no picture. {_WANTED}.")
    return _of_array(values, where)


def _array_of(given: Any) -> "np.ndarray[Any, Any] | None":
    """Returns an array, or what gives itself as one, such as a tensor on the CPU."""
    if isinstance(given, np.ndarray):
        return given
    # A table's column gives itself as one too, and is a list of paths.
    if not hasattr(given, "__array__") or not hasattr(given, "ndim") or given.ndim < 2:
        return None
    if hasattr(given, "columns"):
        return None
    try:
        return np.asarray(given)
    except Exception as error:  # Whatever another library says of its tensors.
        raise ListingError(f"pictures: {' '.join(str(error).split())}") from error


def _of_image(image: Image.Image, where: str) -> bytes:
    if not image.width or not image.height:
        raise ListingError(f"{where}: the picture has no pixels.")
    try:
        # As a file of it is shown: a camera may have noted that it was turned.
        upright = ImageOps.exif_transpose(image)
        kind = "PNG" if upright.mode in _AS_PNG else "TIFF"
        if upright.mode not in _AS_PNG | _AS_TIFF:
            upright, kind = upright.convert("RGB"), "PNG"
        buffer = io.BytesIO()
        fast = {"compress_level": 1} if kind == "PNG" else {}
        upright.save(buffer, kind, **fast)
    except (OSError, ValueError) as error:
        raise ListingError(f"{where}: the picture cannot be read: {error}.") from error
    return buffer.getvalue()


def _of_array(values: "np.ndarray[Any, Any]", where: str) -> bytes:
    _check_shape(values.shape, where)
    if values.shape[2:] == (1,):
        values = values[:, :, 0]
    if values.dtype == np.uint16:
        return _deep(values)
    if values.dtype.kind == "f":
        values = _from_floats(values, where)
    if values.dtype != np.uint8:
        raise ListingError(
            f"{where}: arrays hold uint8, uint16, or floats from 0 to 1, not {values.dtype}. "
            "Where the values are from 0 to 255: array.astype('uint8')."
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    said = f"{where}: an array of shape {list(shape)} is no picture"
    if len(shape) == 4:
        raise ListingError(f"{said}, but a batch. Give a list of them: list(array).")
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise ListingError(f"{said}: channels come last. Write array.transpose(1, 2, 0).")
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if not is_picture or not all(shape):
        raise ListingError(f"{said}. It must be [height, width] or [height, width, 3].")


def _from_floats(values: "np.ndarray[Any, Any]", where: str) -> "np.ndarray[Any, Any]":
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # so that NaN is refused too
        raise ListingError(
            f"{where}: floats must lie from 0 (black) to 1 (white), and these go from {low:g} to "
            f"{high:g}. Where 255 is white: array.astype('uint8')."
        )
    scaled: np.ndarray[Any, Any] = np.round(values.astype(np.float64) * 255).astype(np.uint8)
    return scaled


def _deep(values: "np.ndarray[Any, Any]") -> bytes:
    buffer = io.BytesIO()
    photometric = "minisblack" if values.ndim == 2 else "rgb"
    tifffile.imwrite(buffer, values, photometric=photometric)
    return buffer.getvalue()
