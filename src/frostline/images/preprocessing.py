"""The one record of how an image becomes a network's input."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from frostline.base.errors import BackboneError, did_you_mean
from frostline.images.levels import NO_LEVELS, Levels
from frostline.images.nouns import Nouns, nouns_of
from frostline.images.spectrogram import Spectrogram

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
CROP_MODES = ("center", "squash", "border")
# What is written down beside the network's own record.
_APART = ("levels", "most_px", "spectrogram")
CHANNEL_ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class Preprocessing:
    """How pixels are resized, cropped and normalised, in timm's terms.

    Attributes:
        height_px: Height of the network's input.
        width_px: Width of the network's input.
        crop_pct: The share of the resized image that the centre crop keeps, in (0, 1].
        crop_mode: `center` (resize the short side, crop), `squash` (ignore the aspect ratio) or
            `border` (fit the long side, fill the rest).
        interpolation: One of `INTERPOLATIONS`.
        mean: Per channel, on pixels scaled to [0, 1]. How many there are is how many channels the
            network takes: three are red, green and blue, one is grey, and any other number is a
            stack of pictures, such as the pages of a TIFF.
        std: Likewise.
        levels: What becomes black and white in pictures deeper than 8 bits; empty where a set has
            none of them.
        most_px: Pixels of the largest picture that is read; 0 for the decoder's own limit.
        channel_order: How the network takes the three channels once they are normalised: `rgb`, or
            `bgr` with blue first. Mean and std are always those of red, green and blue.
        spectrogram: How a sound becomes the picture; None for a network that is fed pictures. The
            picture is then resized to height and width, and taken as it is: nothing is cropped.
    """

    height_px: int = 224
    width_px: int = 224
    crop_pct: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    levels: Levels = NO_LEVELS
    most_px: int = 0
    channel_order: str = "rgb"
    spectrogram: Spectrogram | None = None

    @property
    def nouns(self) -> Nouns:
        """The words for what the network is fed."""
        return nouns_of(self.spectrogram is not None)

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return len(self.mean)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one image as the network takes it: channels, height and width in pixels."""
        return self.channels, self.height_px, self.width_px

    def as_dict(self) -> dict[str, Any]:
        """Returns what pixels depend on as plain JSON values; what is usual only where it is not.

        It is part of cache keys, which must not change for RGB pictures of 8 bits.
        """
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        del plain["most_px"], plain["levels"]
        if self.channel_order == "rgb":
            del plain["channel_order"]
        if self.spectrogram is None:
            del plain["spectrogram"]
        return {**plain, "levels": str(self.levels)} if self.levels.ranges else plain


def from_timm(config: dict[str, Any], where: str) -> Preprocessing:
    """Reads a timm `pretrained_cfg`; how many channels there are is what its mean says.

    Args:
        config: The keys `input_size`, `crop_pct`, `crop_mode`, `interpolation`, `mean`, `std`;
            those absent take timm's defaults.
        where: The backbone's name, for messages.

    Raises:
        BackboneError: Where the record asks for something Frostline does not do.
    """
    _, height, width = config.get("input_size") or (3, 224, 224)
    interpolation = config.get("interpolation") or "bicubic"
    crop_mode = config.get("crop_mode") or "center"
    if interpolation not in INTERPOLATIONS or crop_mode not in CROP_MODES:
        raise BackboneError(
            f"{where}: its preprocessing asks for interpolation {interpolation!r} and crop mode "
            f"{crop_mode!r}; known are {', '.join(INTERPOLATIONS)} and {', '.join(CROP_MODES)}."
        )
    return Preprocessing(
        height_px=int(height),
        width_px=int(width),
        crop_pct=float(config.get("crop_pct") or 0.875),
        crop_mode=crop_mode,
        interpolation=interpolation,
        mean=_per_channel(config, "mean", (0.485, 0.456, 0.406)),
        std=_per_channel(config, "std", (0.229, 0.224, 0.225)),
    )


def network_facts(record: Preprocessing) -> dict[str, Any]:
    """Returns what belongs to the network, not to a set of pictures, as plain JSON values."""
    return {key: value for key, value in record.as_dict().items() if key not in _APART}


def from_dict(facts: Mapping[str, Any], where: str) -> Preprocessing:
    """Reads what `network_facts` gave.

    Args:
        facts: Its keys; those absent take the defaults.
        where: The file it stands in, for messages.

    Raises:
        BackboneError: Where a key is unknown, or a value does not hold.
    """
    known = {f.name: f.default for f in fields(Preprocessing) if f.name not in _APART}
    unknown = [key for key in facts if key not in known]
    if unknown:
        raise BackboneError(
            f"{where}: preprocessing has no {unknown[0]!r}.{did_you_mean(unknown[0], known)}"
        )
    given: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in facts.items()
    }
    record = Preprocessing(**given)
    for key, default in known.items():
        if not _like(value := getattr(record, key), default):
            raise BackboneError(f"{where}: preprocessing.{key} does not hold: {value!r}.")
    if record.interpolation not in INTERPOLATIONS or record.crop_mode not in CROP_MODES:
        raise BackboneError(
            f"{where}: preprocessing asks for interpolation {record.interpolation!r} and crop mode "
            f"{record.crop_mode!r}; known are {', '.join(INTERPOLATIONS)} and "
            f"{', '.join(CROP_MODES)}."
        )
    if len(record.mean) != len(record.std):
        raise BackboneError(
            f"{where}: preprocessing.mean and std must have as many values as the network has "
            f"channels, both; they have {len(record.mean)} and {len(record.std)}."
        )
    if record.channel_order not in CHANNEL_ORDERS:
        raise BackboneError(
            f"{where}: preprocessing.channel_order must be one of {', '.join(CHANNEL_ORDERS)}, not "
            f"{record.channel_order!r}."
        )
    return record


def crop_share(crop_px: int, resize_px: int) -> float:
    """Returns the `crop_pct` by which an image is resized to exactly `resize_px` before the crop.

    Args:
        crop_px: The side of the crop.
        resize_px: What the short side is resized to.
    """
    share = crop_px / resize_px
    while math.floor(crop_px / share) < resize_px:  # The quotient may round down.
        share = math.nextafter(share, 0)
    return share


def _like(value: Any, default: Any) -> bool:
    if isinstance(default, tuple):
        return (
            isinstance(value, tuple)
            and len(value) > 0
            and all(isinstance(part, int | float) for part in value)
        )
    if isinstance(default, float):
        return isinstance(value, int | float) and 0 < value <= 1
    return type(value) is type(default) and (not isinstance(value, int) or value > 0)


def to_timm(record: Preprocessing) -> dict[str, Any]:
    """Returns the keys of a timm `pretrained_cfg` that say the same."""
    return {
        "input_size": list(record.input_shape),
        "interpolation": record.interpolation,
        "crop_pct": record.crop_pct,
        "crop_mode": record.crop_mode,
        "mean": list(record.mean),
        "std": list(record.std),
    }


def _per_channel(
    config: Mapping[str, Any], key: str, default: tuple[float, ...]
) -> tuple[float, ...]:
    """Returns a value for each channel; one that is told for all is repeated."""
    channels = int((config.get("input_size") or (3,))[0])
    values = tuple(float(part) for part in config.get(key) or default)
    if len(values) == 1:
        values *= channels
    if len(values) != channels and channels != 3:
        # Weights of three channels, asked for with others: `input_channels` tells more.
        return (sum(values) / len(values),) * channels
    if len(values) != channels:
        raise ValueError(f"{key} {list(values)} for {channels} channels")
    return values
