"""Pixels of as many channels as a network takes: three colours, one grey, or a stack.

Grey is what Pillow's mode `L` gives: 0.299 red + 0.587 green + 0.114 blue, in whole numbers, so a
grey picture keeps its values. A stack is a file of as many pictures of one size as the network has
channels (the pages of a TIFF, the frames of a GIF, WebP or PNG), each of them made grey, in their
order; or one picture of as many bands, such as red, green, blue and infrared.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageSequence

from frostline.images import decode as decoder
from frostline.images import deep, orientation
from frostline.images.levels import Levels, Pixels
from frostline.images.preprocessing import Preprocessing
from frostline.images.unreadable import Unreadable

_GREY_SHARES = np.array([19595, 38470, 7471], np.uint32)  # Of 65,536, as Pillow has them.


def decode(data: bytes, min_px: tuple[int, int], preprocessing: Preprocessing) -> Pixels:
    """Decodes a picture to the channels that a network takes.

    Args:
        data: The content of the file.
        min_px: As for `decode.decode`; a stack is always decoded at its whole size.
        preprocessing: Of the backbone.

    Returns:
        uint8 `[h, w, c]`, upright.

    Raises:
        Unreadable: Where there is no whole picture in the data, or it has another number of
            channels.
    """
    if preprocessing.channels not in (1, 3):
        return _stack(data, preprocessing.channels, preprocessing)
    pixels = decoder.decode(data, min_px, preprocessing.levels, preprocessing.most_px).pixels
    return pixels if preprocessing.channels == 3 else grey(pixels)


def grey(pixels: Pixels) -> Pixels:
    """Returns uint8 `[h, w, 1]` of RGB pixels `[h, w, 3]`, as Pillow's `convert("L")` does."""
    weighed = pixels.astype(np.uint32) @ _GREY_SHARES
    return ((weighed + 0x8000) >> 16).astype(np.uint8)[:, :, None]


def _stack(data: bytes, channels: int, preprocessing: Preprocessing) -> Pixels:
    most_px = preprocessing.most_px
    decoder.probe(data, most_px)  # Refuses what is too large before it is decoded.
    about = deep.describe(data)
    if about is None:
        planes, turned = _frames(data, channels, most_px)
    else:
        planes, turned = _deep_pages(data, about, channels, preprocessing.levels), about.orientation
    if len({plane.shape for plane in planes}) > 1:
        raise Unreadable("a stack whose pictures differ in size")
    _check_count(len(planes), planes[0].shape[2], channels)
    joined: NDArray[Any] = np.concatenate(planes, axis=2)
    return orientation.upright(joined, turned)


def _frames(data: bytes, channels: int, most_px: int) -> tuple[list[Pixels], int]:
    """Returns the pictures of a file of 8 bits, `[h, w, bands]` each, and its orientation."""
    with decoder.open_picture(data, most_px) as image:
        try:
            frames = int(getattr(image, "n_frames", 1))
            _check_count(frames, 1 if frames > 1 else len(image.getbands()), channels)
            if frames == 1:
                planes = [np.atleast_3d(np.array(image, dtype=np.uint8))]
            else:
                pages = ImageSequence.Iterator(image)
                planes = [np.array(page.convert("L"))[:, :, None] for page in pages]
            return planes, orientation.of_pillow(image)
        except (MemoryError, Unreadable):
            raise
        except Exception as error:
            raise Unreadable(f"damaged or cut short: {error}") from error


def _deep_pages(data: bytes, about: deep.Samples, channels: int, levels: Levels) -> list[Pixels]:
    """Returns the pictures of a file deeper than 8 bits, `[h, w, bands]` each."""
    pages = deep.pages(data, about, channels)
    planes = [levels.scaled(page, about.samples) for page in pages]
    planes = [255 - plane for plane in planes] if about.inverted else planes
    many = len(planes) > 1
    return [grey(one) if many and one.shape[2] == 3 else one for one in planes]


def _check_count(pictures: int, bands: int, channels: int) -> None:
    if pictures * bands != channels:
        has = f"{pictures} pictures" if pictures > 1 else f"one picture of {bands} channels"
        raise Unreadable(
            f"holds {has}, and the network takes {channels} channels: a stack of {channels} "
            "pictures of one size, such as a TIFF of as many pages"
        )
