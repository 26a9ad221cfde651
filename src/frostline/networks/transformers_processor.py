"""The preprocessing that a `preprocessor_config.json` of transformers describes."""

import json
from collections.abc import Mapping
from typing import Any

from frostline.base.errors import BackboneError
from frostline.images.preprocessing import Preprocessing, crop_share
from frostline.networks.folder_config import ModelFolder

PROCESSOR = "preprocessor_config.json"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Pillow's numbers.
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
# At this size and above, ConvNeXt's processor resizes to the input itself, whatever the shape.
_UNCROPPED_PX = 384


def preprocessing_of(folder: ModelFolder, where: str) -> Preprocessing:
    """Reads a folder's preprocessing.

    Args:
        folder: The folder.
        where: The backbone's name, for messages.

    Raises:
        BackboneError: Where there is none, or it asks for what Frostline does not do.
    """
    file = folder.path / PROCESSOR
    if not file.is_file():
        raise BackboneError(f"{where}: has no {PROCESSOR}, so how images are fed is not known.")
    try:
        facts = json.loads(file.read_text("utf-8"))
        return _read(facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackboneError(
            f"{file}: its preprocessing is not one that Frostline has ({error})."
        ) from error


def _read(facts: Mapping[str, Any]) -> Preprocessing:
    if abs(float(facts.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-6:
        raise ValueError(f"rescale_factor {facts['rescale_factor']}")
    mean, std = _IMAGENET
    if facts.get("do_normalize", True):
        mean, std = tuple(facts.get("image_mean", mean)), tuple(facts.get("image_std", std))
    else:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if len(mean) != len(std) or not mean:
        raise ValueError(f"image_mean {mean}, image_std {std}")
    height, width, crop_pct, mode = _sizes(facts)
    return Preprocessing(
        height_px=height,
        width_px=width,
        crop_pct=crop_pct,
        crop_mode=mode,
        interpolation=_RESAMPLE[facts.get("resample", 2)],
        mean=mean,
        std=std,
    )


def _sizes(facts: Mapping[str, Any]) -> tuple[int, int, float, str]:
    """Returns height, width, the share that the crop keeps, and how it is resized before."""
    size = facts["size"]
    # A bare number is both sides, or the short one where a crop follows.
    cropped = facts.get("do_center_crop", False)
    if isinstance(size, int):
        size = {"shortest_edge": size} if cropped else {"height": size, "width": size}
    if "shortest_edge" in size and "crop_pct" in facts:
        side, share = int(size["shortest_edge"]), float(facts["crop_pct"] or 1)
        return (
            (side, side, 1.0, "squash") if side >= _UNCROPPED_PX else (side, side, share, "center")
        )
    if "shortest_edge" in size:
        crop = facts["crop_size"] if cropped else size["shortest_edge"]
        crop = crop if isinstance(crop, dict) else {"height": crop, "width": crop}
        height, width = int(crop["height"]), int(crop["width"])
        return height, width, crop_share(min(height, width), int(size["shortest_edge"])), "center"
    height, width = int(size["height"]), int(size["width"])
    if not cropped:
        return height, width, 1.0, "squash"
    crop = facts["crop_size"]
    crop = crop if isinstance(crop, dict) else {"height": crop, "width": crop}
    return (
        int(crop["height"]),
        int(crop["width"]),
        crop_share(int(crop["height"]), height),
        "squash",
    )
