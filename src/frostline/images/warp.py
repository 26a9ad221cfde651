"""One affine map from a view to its image: crop, zoom, shear, rotation and shift at once.

The part of the image that a view shows is resized first, antialiased, to about the view's own
scale, and then warped once. A view that is only cropped or mirrored is resized and not warped.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from frostline.images.levels import Pixels
from frostline.images.policies import LOG_ASPECT, Drawn, Policy
from frostline.images.preprocessing import Preprocessing
from frostline.images.views import center, center_box, resize

# Bilinear sampling at exactly 1:1 would blur, so the image is resized to this many times the scale.
# `benchmarks/choices.py` measures what is left of a photograph's sharpness.
OVERSAMPLE = 1.5
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and torchvision weigh the colours.

Box = tuple[float, float, float, float]


def shaped(pixels: Pixels, preprocessing: Preprocessing, policy: Policy, drawn: Drawn) -> Tensor:
    """Returns uint8 `[c, height_px, width_px]`: all but the mirror and the colour."""
    height, width = pixels.shape[:2]
    still = not (policy.rotate or policy.shift or policy.shear or policy.zoom)
    if policy.crop == 1:
        if still:
            return center(pixels, preprocessing)
        return _warped(
            pixels, center_box(height, width, preprocessing), preprocessing, policy.fill, drawn
        )
    top, left, bottom, right = box = crop_box(height, width, preprocessing, drawn)
    if still:
        part = pixels[top:bottom, left:right]
        return resize(
            part, (preprocessing.height_px, preprocessing.width_px), preprocessing.interpolation
        )
    return _warped(pixels, box, preprocessing, policy.fill, drawn)


def crop_box(
    height: int, width: int, preprocessing: Preprocessing, drawn: Drawn
) -> tuple[int, int, int, int]:
    """Returns top, left, bottom and right of a random box, as torchvision chooses it."""
    of = (
        (width, height)
        if preprocessing.crop_mode == "squash"
        else (preprocessing.width_px, preprocessing.height_px)
    )
    upright = of[0] / of[1]
    for share, aspect in drawn.boxes:
        wide = round(math.sqrt(share * height * width * upright * aspect))
        tall = round(math.sqrt(share * height * width / (upright * aspect)))
        if 0 < wide <= width and 0 < tall <= height:
            left = math.floor((width - wide + 1) * drawn.place[0])
            top = math.floor((height - tall + 1) * drawn.place[1])
            return top, left, top + tall, left + wide
    # None fits into a strip: the largest in its middle.
    bound = math.exp(LOG_ASPECT)
    wide = min(width, max(1, round(height * upright * bound)))
    tall = min(height, max(1, round(width / upright * bound)))
    left, top = (width - wide) // 2, (height - tall) // 2
    return top, left, top + tall, left + wide


def _warped(
    pixels: Pixels, box: Box, preprocessing: Preprocessing, fill: str, drawn: Drawn
) -> Tensor:
    """Returns uint8 `[c, height_px, width_px]` of the box: zoomed, sheared, turned, shifted."""
    to_image = _to_image(box, preprocessing, drawn)
    (top, left, bottom, right), size = _region(to_image, pixels.shape[:2], preprocessing)
    part = resize(pixels[top:bottom, left:right], size, preprocessing.interpolation)
    # From pixels of the image to those of the part, whose own range is [-1, 1] to torch.
    scale = np.array([2 / (right - left), 2 / (bottom - top)])
    across, down = to_image[:, :2].T * scale
    start = (to_image[:, 2] - (left, top)) * scale - 1
    grid = torch.empty(1, preprocessing.height_px, preprocessing.width_px, 2)
    for axis in range(2):
        row = torch.from_numpy(
            start[axis] + across[axis] * (np.arange(preprocessing.width_px) + 0.5)
        )
        column = torch.from_numpy(down[axis] * (np.arange(preprocessing.height_px) + 0.5))
        grid[0, :, :, axis] = row.float() + column.float()[:, None]
    constant = fill == "constant" or preprocessing.crop_mode == "border"
    ground = (
        255 * torch.tensor(preprocessing.mean).view(-1, 1, 1) if constant else torch.zeros(1, 1, 1)
    )
    result = functional.grid_sample(
        (part.float() - ground if constant else part.float())[None],
        grid,
        "nearest" if preprocessing.interpolation == "nearest" else "bilinear",
        "zeros" if constant else "border",
        align_corners=False,
    )[0]
    result = result + ground if constant else result
    return result.round_().clamp_(0, 255).to(torch.uint8)


def _to_image(box: Box, preprocessing: Preprocessing, drawn: Drawn) -> np.ndarray:
    """Returns `[2, 3]`: x and y in the image from x, y and 1 in the view, all in pixels.

    Whole numbers are the corners of pixels; their middles lie at halves.
    """
    top, left, bottom, right = box
    sine, cosine = math.sin(drawn.rotate), math.cos(drawn.rotate)
    # What was done to the image last is undone first.
    straight = np.array([[cosine, sine], [-sine, cosine]])
    upright = np.array([[1.0, drawn.shear], [0.0, 1.0]])
    smaller = np.diag([1 / drawn.zoom[0], 1 / drawn.zoom[1]])
    scale = np.diag(
        [(right - left) / preprocessing.width_px, (bottom - top) / preprocessing.height_px]
    )
    turn = scale @ smaller @ upright @ straight
    view_px = np.array([preprocessing.width_px, preprocessing.height_px])
    start = np.array([left + right, top + bottom]) / 2 - turn @ (
        view_px * (0.5 + np.array(drawn.shift))
    )
    return np.column_stack([turn, start])


def _region(
    to_image: np.ndarray, image_px: tuple[int, ...], preprocessing: Preprocessing
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Returns what a view needs of the image (top, left, bottom, right), and its new size."""
    corners = np.array(
        [
            [0, preprocessing.width_px, 0, preprocessing.width_px],
            [0, 0, preprocessing.height_px, preprocessing.height_px],
        ]
    )
    reached = to_image[:, :2] @ corners + to_image[:, 2:]
    steps = np.linalg.norm(to_image[:, :2], axis=1)  # Pixels of the image for one of the view.
    most = math.ceil(2 * OVERSAMPLE * math.hypot(preprocessing.width_px, preprocessing.height_px))
    spans, sizes = [], []
    for axis, whole in enumerate((image_px[1], image_px[0])):
        step = float(steps[axis])
        # What the filters of both resamplings look at beyond the last pixel.
        margin = math.ceil(3 * max(1.0, step)) + 1
        first = min(max(math.floor(reached[axis].min()) - margin, 0), whole - 1)
        last = max(min(math.ceil(reached[axis].max()) + margin, whole), first + 1)
        spans.append((first, last))
        sizes.append(min(most, max(1, round((last - first) * OVERSAMPLE / step))))
    (left, right), (top, bottom) = spans
    return (top, left, bottom, right), (sizes[1], sizes[0])


def coloured(view: Tensor, factors: tuple[float, float, float]) -> Tensor:
    """Changes brightness, contrast (about the mean grey) and saturation of uint8 `[c, h, w]`.

    Grey and stacked pictures have no saturation; all their channels weigh the same.

    Each of these is linear, so all three are one; values are cut off at the end only.
    """
    brightness, contrast, saturation = factors
    levels = view.numpy()
    count = len(levels)
    weights = _GREY if count == 3 else (1 / count,) * count
    saturation = saturation if count == 3 else 1.0
    # NumPy, and a sum of whole numbers: neither depends on how many threads torch may use.
    mean = np.dot(weights, levels.sum((1, 2), dtype=np.int64)) / levels[0].size
    both = brightness * contrast
    mixed = levels.astype(np.float32)
    shares = np.array(weights, np.float32) * np.float32(both * (1 - saturation))
    grey = mixed[0] * shares[0]
    for channel, share in zip(mixed[1:], shares[1:], strict=True):
        grey += channel * share
    grey += np.float32((1 - contrast) * brightness * mean)
    mixed *= np.float32(both * saturation)
    mixed += grey
    np.rint(mixed, out=mixed)
    np.clip(mixed, 0, 255, out=mixed)
    return torch.from_numpy(mixed.astype(np.uint8))
