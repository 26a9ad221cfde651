"""Augmented views: the same photo seen a little differently, and the same way every time.

A view is a pure function of a file's content, a policy and a number. Its chance comes out of a hash
of these three and of nothing else, so a view has the same pixels in any order and in any process,
thread or run, and what a network made of it can be kept.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from frostline.images import channels, decode
from frostline.images.levels import Pixels
from frostline.images.policies import (
    CENTER,
    LOG_ASPECT,
    PRESETS,
    VERSION,
    Policy,
    View,
    ViewPolicy,
    draw,
    preset,
)
from frostline.images.preprocessing import Preprocessing
from frostline.images.views import center, center_source_px
from frostline.images.warp import coloured, shaped

__all__ = [
    "CENTER",
    "PRESETS",
    "VERSION",
    "Policy",
    "View",
    "ViewPolicy",
    "load",
    "make",
    "preset",
    "source_px",
]


def make(pixels: Pixels, preprocessing: Preprocessing, view: View, content: str) -> Tensor:
    """Makes one view of an image. Safe to call from many threads.

    Args:
        pixels: uint8 `[h, w, c]`, of any size from one pixel on.
        preprocessing: Of the backbone.
        view: Which view.
        content: The digest of the file's bytes, from which chance is drawn.

    Returns:
        uint8 `[c, height_px, width_px]`, contiguous.
    """
    if not isinstance(view.policy, Policy):
        return center(pixels, preprocessing)
    drawn = draw(view, content)
    result = shaped(pixels, preprocessing, view.policy, drawn)
    if drawn.flip:
        result = result.flip(2)
    if view.policy.color:
        result = coloured(result, drawn.color)
    return result.contiguous()


def load(
    source: str | Path | bytes, preprocessing: Preprocessing, views: Sequence[View], content: str
) -> list[Tensor]:
    """Reads and decodes a file once, and makes all its views.

    A large JPEG may be decoded at a reduced size (`decode.decode`). How far depends on the policy,
    never on the other views that are asked for; so it is decoded again where two of them differ.

    Args:
        source: A path, or the content of a file.
        preprocessing: Of the backbone.
        views: Which views.
        content: The digest of the file's bytes, from which chance is drawn.

    Returns:
        uint8 `[c, height_px, width_px]` for each of `views`, in their order.

    Raises:
        decode.Unreadable: Where the file gives no image.
    """
    data = source if isinstance(source, bytes) else decode.read(str(source))
    needed = [source_px(preprocessing, view.policy) for view in views]
    decoded: dict[tuple[int, int], Pixels] = {}
    whole: Pixels | None = None
    for size in sorted(set(needed)):
        decoded[size] = _decoded(data, size, preprocessing) if whole is None else whole
        # Where the least that is needed takes the whole image, so does all else.
        if whole is None and len(set(needed)) > 1 and _is_whole(decoded[size], data, preprocessing):
            whole = decoded[size]
    return [
        make(decoded[size], preprocessing, view, content)
        for size, view in zip(needed, views, strict=True)
    ]


def source_px(preprocessing: Preprocessing, policy: ViewPolicy | None) -> tuple[int, int]:
    """Returns the `min_px` that `decode.decode` may be given for views of a policy.

    It is the size to which the whole image is resized where a view magnifies it most.

    Args:
        preprocessing: Of the backbone.
        policy: The policy; absent for the `center` view.

    Returns:
        Height and width in pixels.
    """
    least = center_source_px(preprocessing)
    if not isinstance(policy, Policy) or preprocessing.interpolation == "nearest":
        return least
    larger = 1 + policy.zoom
    if policy.crop < 1:
        # The smallest box, where it is narrowest for its height or flattest for its width.
        larger /= math.sqrt(policy.crop * math.exp(-LOG_ASPECT))
        least = preprocessing.height_px, preprocessing.width_px
    return math.ceil(least[0] * larger), math.ceil(least[1] * larger)


def _decoded(data: bytes, size: tuple[int, int], preprocessing: Preprocessing) -> Pixels:
    return channels.decode(data, size, preprocessing)


def _is_whole(pixels: Pixels, data: bytes, preprocessing: Preprocessing) -> bool:
    header = decode.probe(data, preprocessing.most_px)
    return pixels.shape[:2] == (header.height_px, header.width_px)
