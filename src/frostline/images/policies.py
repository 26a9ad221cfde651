"""What may be done to an image to make a view of it, and what chance gives each view."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np

from frostline.base.errors import RecipeError, did_you_mean, raise_all
from frostline.base.files import digest_json

T = TypeVar("T")

VIEW_CENTER = "center"
# Part of every policy's digest. Change it whenever a pixel of an augmented view would change.
VERSION = "1"
FILLS = ("edge", "constant")

_CROP_TRIES = 10
# The aspect of a random box lies between 3/4 and 4/3; its logarithm is drawn.
LOG_ASPECT = math.log(4 / 3)


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


class ViewPolicy(Protocol):
    """What may be done to an image, or to a sound; all its fields are plain values."""

    @property
    def digest(self) -> str:
        """The digest of all fields, and of the version of the code that makes views by them."""
        ...

    @property
    def varies(self) -> bool:
        """Whether anything is done at all."""
        ...


@dataclass(frozen=True)
class View:
    """One way to look at an image, or to hear a sound.

    Attributes:
        number: Which of a policy's views; from 0 on. `center` has one only.
        policy: What may be done to it; absent for the `center` view.
    """

    number: int = 0
    policy: ViewPolicy | None = None

    @property
    def name(self) -> str:
        """`center`, or the policy's digest and the number: `4bf1…:3`."""
        return VIEW_CENTER if self.policy is None else f"{self.policy.digest}:{self.number}"


CENTER = View()


def preset(name: str) -> Policy:
    """Returns the policy of this name; see `of_name`."""
    return of_name(name, PRESETS)


def of_name(name: str, presets: Mapping[str, T]) -> T:
    """Returns the preset of this name.

    Raises:
        RecipeError: For an unknown name.
    """
    if name not in presets:
        raise RecipeError(
            f"view policy {name!r}: not a preset; presets are {', '.join(presets)}."
            + did_you_mean(name, presets)
        )
    return presets[name]


@dataclass(frozen=True)
class Drawn:
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


def draw(view: View, content: str) -> Drawn:
    """Returns what chance gives a view of a file whose content has this digest."""
    policy = view.policy if isinstance(view.policy, Policy) else Policy()
    # A hash is the same on every machine and in every version of every library.
    source = hashlib.shake_256(f"{content}:{view.name}".encode())
    count = 12 + 2 * _CROP_TRIES
    bits = np.frombuffer(source.digest(8 * count), "<u8") >> 11
    chance: list[float] = (bits * 2.0**-53).tolist()  # Uniform in [0, 1).
    sides = [2 * value - 1 for value in chance]
    return Drawn(
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
            (1 - (1 - policy.crop) * chance[at], math.exp(LOG_ASPECT * sides[at + 1]))
            for at in range(12, count, 2)
        ),
    )
