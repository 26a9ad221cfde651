"""Augmented views: the same photo seen a little differently, and the same way every time.

A view is a pure function of a file's content, a policy and a number. Its chance comes out of a hash
of these three and of nothing else, so a view has the same pixels in any order and in any process,
thread or run, and what a network made of it can be kept.

All geometry is one affine map from the view to the image. The part of the image that the view
shows is resized first, antialiased, to about the view's own scale, and then warped once. A view
that is only cropped or mirrored is resized and not warped.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from frostline.base.errors import RecipeError, did_you_mean, raise_all
from frostline.base.files import digest_json
from frostline.images import decode
from frostline.images.levels import Pixels
from frostline.images.preprocessing import Preprocessing
from frostline.images.views import VIEW_CENTER, center, center_box, center_source_px, resize

# Part of every policy's digest. Change it whenever a pixel of an augmented view would change.
VERSION = "1"
FILLS = ("edge", "constant")

_CROP_TRIES = 10
_ASPECT = math.log(4 / 3)
# Bilinear sampling at exactly 1:1 would blur, so the image is resized to this many times the scale.
# `benchmarks/choices.py` measures what is left of a photograph's sharpness.
_OVERSAMPLE = 1.5
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and torchvision weigh the colours.

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Policy:
    """What may be done to an image, and how far. The defaults do nothing.

    Angles and lengths are those of the view: of the picture as the network gets it. The parts are
    applied in the order crop, zoom, shear, rotate, shift, flip, colour; all are drawn uniformly,
    but for the aspect of the box, whose logarithm is.

    Attributes:
        flip: Mirror left and right, with a chance of one half.
        rotate: Degrees, drawn from [-rotate, rotate]; at most 180.
        shift: Share of the view's width and, drawn apart, of its height, from [-shift, shift]; at
            most 1.
        shear: Slope (the tangent of the angle) by which what is upright leans over to the side,
            drawn from [-shear, shear]; at most 2. Keras' `shear_range=0.2`, in radians, is 0.203.
        zoom: Scale of the width and, drawn apart, of the height, from [1 - zoom, 1 + zoom]; above
            1 all things look larger. `zoom` itself is below 1.
        crop: The smallest share of the image's area that a random box keeps, in (0, 1]. Share,
            aspect and place are drawn as torchvision's `RandomResizedCrop` does, from the whole
            image; 1 shows what `center` shows. The box is 3/4 to 4/3 as wide for its height as
            the view, or, in crop mode `squash`, as the image.
        color: Brightness, contrast and saturation, each by a factor from [1 - color, 1 + color];
            at most 1.
        fill: What stands where the image does not reach: `edge` (its outermost pixels) or
            `constant` (the backbone's mean colour, which the network sees as zero). In crop mode
            `border`, always the mean colour, as in the `center` view.

    Raises:
        RecipeError: Where a value is out of range; all of them at once.
    """

    flip: bool = False
    rotate: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    crop: float = 1.0
    color: float = 0.0
    fill: str = "edge"

    def __post_init__(self) -> None:
        """Checks every field."""
        raise_all(RecipeError, "view policy", _problems(self))

    @property
    def digest(self) -> str:
        """The digest of all fields, and of the version of the code that makes views by them."""
        return _digest(**vars(self))

    @property
    def varies(self) -> bool:
        """Whether anything is done to an image at all: `fill` alone does nothing."""
        return self != Policy(fill=self.fill)


# Each view of each picture is named by it.
@lru_cache(maxsize=64, typed=True)
def _digest(**fields: Any) -> str:
    # 10 and 10.0, or 0.0 and -0.0, are one policy.
    same = {
        name: value + 0.0 if type(value) in (int, float) else value
        for name, value in fields.items()
    }
    return digest_json({"version": VERSION, **same})


def _problems(policy: Policy) -> list[str]:
    bounds = {"rotate": 180.0, "shift": 1.0, "shear": 2.0, "color": 1.0}
    found = [
        f"{name} must be from 0 to {most:g}, got {getattr(policy, name)!r}."
        for name, most in bounds.items()
        if not 0 <= getattr(policy, name) <= most
    ]
    if not 0 <= policy.zoom < 1:
        found.append(f"zoom must be from 0 to below 1, got {policy.zoom!r}.")
    if not 0 < policy.crop <= 1:
        found.append(f"crop must be above 0 and at most 1, got {policy.crop!r}.")
    if policy.fill not in FILLS:
        known = ", ".join(FILLS)
        found.append(
            f"fill must be one of {known}, got {policy.fill!r}.{did_you_mean(policy.fill, FILLS)}"
        )
    return found


# For transfer learning on few photos: a network that was trained on millions needs less of it
# than one that is trained from scratch.
PRESETS = {
    "none": Policy(),
    "light": Policy(flip=True, crop=0.7),
    "standard": Policy(flip=True, crop=0.5, rotate=10.0, zoom=0.1, color=0.2),
    "strong": Policy(flip=True, crop=0.3, rotate=25.0, shift=0.1, shear=0.15, zoom=0.2, color=0.4),
}


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    Attributes:
        number: Which of a policy's views; from 0 on. `center` has one only.
        policy: What may be done to the image; absent for the `center` view.
    """

    number: int = 0
    policy: Policy | None = None

    @property
    def name(self) -> str:
        """`center`, or the policy's digest and the number: `4bf1…:3`."""
        return VIEW_CENTER if self.policy is None else f"{self.policy.digest}:{self.number}"


CENTER = View()


def preset(name: str) -> Policy:
    """Returns the policy of this name.

    Raises:
        RecipeError: For an unknown name.
    """
    if name not in PRESETS:
        raise RecipeError(
            f"view policy {name!r}: not a preset; presets are {', '.join(PRESETS)}."
            + did_you_mean(name, PRESETS)
        )
    return PRESETS[name]


def make(pixels: Pixels, how: Preprocessing, view: View, content: str) -> Tensor:
    """Makes one view of an image. Safe to call from many threads.

    Args:
        pixels: uint8 `[h, w, 3]`, of any size from one pixel on.
        how: Of the backbone.
        view: Which view.
        content: The digest of the file's bytes, from which chance is drawn.

    Returns:
        uint8 `[3, height_px, width_px]`, contiguous.
    """
    if view.policy is None:
        return center(pixels, how)
    drawn = _draw(view, content)
    result = _shaped(pixels, how, view.policy, drawn)
    if drawn.flip:
        result = result.flip(2)
    if view.policy.color:
        result = _coloured(result, drawn.color)
    return result.contiguous()


def load(
    source: str | Path | bytes, how: Preprocessing, views: Sequence[View], content: str
) -> list[Tensor]:
    """Reads and decodes a file once, and makes all its views.

    A large JPEG may be decoded at a reduced size (`decode.decode`). How far depends on the policy,
    never on the other views that are asked for; so it is decoded again where two of them differ.

    Args:
        source: A path, or the content of a file.
        how: Of the backbone.
        views: Which views.
        content: The digest of the file's bytes, from which chance is drawn.

    Returns:
        uint8 `[3, height_px, width_px]` for each of `views`, in their order.

    Raises:
        decode.Unreadable: Where the file gives no image.
    """
    data = source if isinstance(source, bytes) else decode.read(str(source))
    needed = [source_px(how, view.policy) for view in views]
    decoded: dict[tuple[int, int], Pixels] = {}
    whole: Pixels | None = None
    for size in sorted(set(needed)):
        decoded[size] = _decoded(data, size, how) if whole is None else whole
        # Where the least that is needed takes the whole image, so does all else.
        if whole is None and len(set(needed)) > 1 and _is_whole(decoded[size], data, how):
            whole = decoded[size]
    return [
        make(decoded[size], how, view, content) for size, view in zip(needed, views, strict=True)
    ]


def source_px(how: Preprocessing, policy: Policy | None) -> tuple[int, int]:
    """Returns the `min_px` that `decode.decode` may be given for views of a policy.

    It is the size to which the whole image is resized where a view magnifies it most.

    Args:
        how: Of the backbone.
        policy: The policy; absent for the `center` view.

    Returns:
        Height and width in pixels.
    """
    least = center_source_px(how)
    if policy is None or how.interpolation == "nearest":
        return least
    larger = 1 + policy.zoom
    if policy.crop < 1:
        # The smallest box, where it is narrowest for its height or flattest for its width.
        larger /= math.sqrt(policy.crop * math.exp(-_ASPECT))
        least = how.height_px, how.width_px
    return math.ceil(least[0] * larger), math.ceil(least[1] * larger)


@dataclass(frozen=True)
class _Drawn:
    """What chance gave one view; the fields are those of `Policy`, drawn.

    Attributes:
        rotate: Radians, clockwise.
        shift: Across and down.
        zoom: Across and down.
        boxes: Share of the area and relative aspect, in the order in which they are tried.
        place: Where the box lies, across and down: 0 is left or top, 1 is right or bottom.
        color: Factors of brightness, contrast and saturation.
    """

    flip: bool
    rotate: float
    shift: tuple[float, float]
    shear: float
    zoom: tuple[float, float]
    boxes: tuple[tuple[float, float], ...]
    place: tuple[float, float]
    color: tuple[float, float, float]


def _draw(view: View, content: str) -> _Drawn:
    policy = view.policy or Policy()
    # A hash is the same on every machine and in every version of every library.
    source = hashlib.shake_256(f"{content}:{view.name}".encode())
    count = 12 + 2 * _CROP_TRIES
    bits = np.frombuffer(source.digest(8 * count), "<u8") >> 11
    chance: list[float] = (bits * 2.0**-53).tolist()  # Uniform in [0, 1).
    sides = [2 * value - 1 for value in chance]
    return _Drawn(
        flip=policy.flip and chance[0] < 0.5,
        rotate=math.radians(policy.rotate * sides[1]),
        shift=(policy.shift * sides[2], policy.shift * sides[3]),
        shear=policy.shear * sides[4],
        zoom=(1 + policy.zoom * sides[5], 1 + policy.zoom * sides[6]),
        color=(
            1 + policy.color * sides[7],
            1 + policy.color * sides[8],
            1 + policy.color * sides[9],
        ),
        place=(chance[10], chance[11]),
        boxes=tuple(
            (1 - (1 - policy.crop) * chance[at], math.exp(_ASPECT * sides[at + 1]))
            for at in range(12, count, 2)
        ),
    )


def _shaped(pixels: Pixels, how: Preprocessing, policy: Policy, drawn: _Drawn) -> Tensor:
    """Returns uint8 `[3, height_px, width_px]`: all but the mirror and the colour."""
    height, width = pixels.shape[:2]
    still = not (policy.rotate or policy.shift or policy.shear or policy.zoom)
    if policy.crop == 1:
        if still:
            return center(pixels, how)
        return _warped(pixels, center_box(height, width, how), how, policy.fill, drawn)
    top, left, bottom, right = box = _crop_box(height, width, how, drawn)
    if still:
        part = pixels[top:bottom, left:right]
        return resize(part, (how.height_px, how.width_px), how.interpolation)
    return _warped(pixels, box, how, policy.fill, drawn)


def _crop_box(
    height: int, width: int, how: Preprocessing, drawn: _Drawn
) -> tuple[int, int, int, int]:
    """Returns top, left, bottom and right of a random box, as torchvision chooses it."""
    of = (width, height) if how.crop_mode == "squash" else (how.width_px, how.height_px)
    upright = of[0] / of[1]
    for share, aspect in drawn.boxes:
        wide = round(math.sqrt(share * height * width * upright * aspect))
        tall = round(math.sqrt(share * height * width / (upright * aspect)))
        if 0 < wide <= width and 0 < tall <= height:
            left = math.floor((width - wide + 1) * drawn.place[0])
            top = math.floor((height - tall + 1) * drawn.place[1])
            return top, left, top + tall, left + wide
    # None fits into a strip: the largest in its middle.
    bound = math.exp(_ASPECT)
    wide = min(width, max(1, round(height * upright * bound)))
    tall = min(height, max(1, round(width / upright * bound)))
    left, top = (width - wide) // 2, (height - tall) // 2
    return top, left, top + tall, left + wide


def _warped(pixels: Pixels, box: Box, how: Preprocessing, fill: str, drawn: _Drawn) -> Tensor:
    """Returns uint8 `[3, height_px, width_px]` of the box: zoomed, sheared, turned, shifted."""
    to_image = _to_image(box, how, drawn)
    (top, left, bottom, right), size = _region(to_image, pixels.shape[:2], how)
    part = resize(pixels[top:bottom, left:right], size, how.interpolation)
    # From pixels of the image to those of the part, whose own range is [-1, 1] to torch.
    scale = np.array([2 / (right - left), 2 / (bottom - top)])
    across, down = to_image[:, :2].T * scale
    start = (to_image[:, 2] - (left, top)) * scale - 1
    grid = torch.empty(1, how.height_px, how.width_px, 2)
    for axis in range(2):
        row = torch.from_numpy(start[axis] + across[axis] * (np.arange(how.width_px) + 0.5))
        column = torch.from_numpy(down[axis] * (np.arange(how.height_px) + 0.5))
        grid[0, :, :, axis] = row.float() + column.float()[:, None]
    constant = fill == "constant" or how.crop_mode == "border"
    ground = 255 * torch.tensor(how.mean).view(3, 1, 1) if constant else torch.zeros(3, 1, 1)
    result = functional.grid_sample(
        (part.float() - ground if constant else part.float())[None],
        grid,
        "nearest" if how.interpolation == "nearest" else "bilinear",
        "zeros" if constant else "border",
        align_corners=False,
    )[0]
    result = result + ground if constant else result
    return result.round_().clamp_(0, 255).to(torch.uint8)


def _to_image(box: Box, how: Preprocessing, drawn: _Drawn) -> np.ndarray:
    """Returns `[2, 3]`: x and y in the image from x, y and 1 in the view, all in pixels.

    Whole numbers are the corners of pixels; their middles lie at halves.
    """
    top, left, bottom, right = box
    sine, cosine = math.sin(drawn.rotate), math.cos(drawn.rotate)
    # What was done to the image last is undone first.
    straight = np.array([[cosine, sine], [-sine, cosine]])
    upright = np.array([[1.0, drawn.shear], [0.0, 1.0]])
    smaller = np.diag([1 / drawn.zoom[0], 1 / drawn.zoom[1]])
    scale = np.diag([(right - left) / how.width_px, (bottom - top) / how.height_px])
    turn = scale @ smaller @ upright @ straight
    view_px = np.array([how.width_px, how.height_px])
    start = np.array([left + right, top + bottom]) / 2 - turn @ (
        view_px * (0.5 + np.array(drawn.shift))
    )
    return np.column_stack([turn, start])


def _region(
    to_image: np.ndarray, image_px: tuple[int, ...], how: Preprocessing
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Returns what a view needs of the image (top, left, bottom, right), and its new size."""
    corners = np.array([[0, how.width_px, 0, how.width_px], [0, 0, how.height_px, how.height_px]])
    reached = to_image[:, :2] @ corners + to_image[:, 2:]
    steps = np.linalg.norm(to_image[:, :2], axis=1)  # Pixels of the image for one of the view.
    most = math.ceil(2 * _OVERSAMPLE * math.hypot(how.width_px, how.height_px))
    spans, sizes = [], []
    for axis, whole in enumerate((image_px[1], image_px[0])):
        step = float(steps[axis])
        # What the filters of both resamplings look at beyond the last pixel.
        margin = math.ceil(3 * max(1.0, step)) + 1
        first = min(max(math.floor(reached[axis].min()) - margin, 0), whole - 1)
        last = max(min(math.ceil(reached[axis].max()) + margin, whole), first + 1)
        spans.append((first, last))
        sizes.append(min(most, max(1, round((last - first) * _OVERSAMPLE / step))))
    (left, right), (top, bottom) = spans
    return (top, left, bottom, right), (sizes[1], sizes[0])


def _coloured(view: Tensor, factors: tuple[float, float, float]) -> Tensor:
    """Changes brightness, contrast (about the mean grey) and saturation of uint8 `[3, h, w]`.

    Each of these is linear, so all three are one; values are cut off at the end only.
    """
    brightness, contrast, saturation = factors
    levels = view.numpy()
    # NumPy, and a sum of whole numbers: neither depends on how many threads torch may use.
    mean = np.dot(_GREY, levels.sum((1, 2), dtype=np.int64)) / levels[0].size
    both = brightness * contrast
    mixed = levels.astype(np.float32)
    shares = np.array(_GREY, np.float32) * np.float32(both * (1 - saturation))
    grey = mixed[0] * shares[0]
    grey += mixed[1] * shares[1]
    grey += mixed[2] * shares[2]
    grey += np.float32((1 - contrast) * brightness * mean)
    mixed *= np.float32(both * saturation)
    mixed += grey
    np.rint(mixed, out=mixed)
    np.clip(mixed, 0, 255, out=mixed)
    return torch.from_numpy(mixed.astype(np.uint8))


def _decoded(data: bytes, size: tuple[int, int], how: Preprocessing) -> Pixels:
    return decode.decode(data, size, how.levels, how.most_px).pixels


def _is_whole(pixels: Pixels, data: bytes, how: Preprocessing) -> bool:
    header = decode.probe(data, how.most_px)
    return pixels.shape[:2] == (header.height_px, header.width_px)
