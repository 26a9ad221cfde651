"""Image towers of OpenCLIP, as networks of timm; towers of text are left out.

A folder of OpenCLIP holds `open_clip_config.json` and the weights of both towers. Its vision
transformers are timm's CLIP networks under other names, its other towers are timm's own; timm knows
the names of both. The tower gives the embedding of an image, before it is normalised; `pooled` is
what its projection is fed.
"""

from collections.abc import Mapping
from typing import Any

import timm
from timm.models import get_pretrained_cfg
from torch import Tensor

from frostline.base.errors import BackboneError

# OpenCLIP's own defaults, which its configurations leave out.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_VISION = {"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16}
_CROP_MODES = {"shortest": "center", "longest": "border", "squash": "squash"}
# What a tower may have, and the one value at which it is timm's; training alone needs the last.
_PLAIN: Mapping[str, Any] = {
    "ls_init_value": None,
    "attentional_pool": False,
    "no_ln_pre": False,
    "pool_type": "tok",
    "pos_embed_type": "learnable",
    "norm_kwargs": None,
    "act_kwargs": None,
    "qk_norm": False,
    "scaled_cosine_attn": False,
    "scale_heads": False,
    "scale_attn_inner": False,
    "scale_attn": False,
    "scale_fc": False,
    "block_type": None,
    "timm_proj_bias": False,
}
_SIZES = {384: "xsmall", 512: "medium", 640: "betwixt", 768: "base", 1024: "large", 1280: "huge"}
_OF_ARCHITECTURE = ("first_conv", "classifier", "fixed_input_size", "pool_size")
_BASE = "vit_base_patch16_clip_224"


def tower(config: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Reads an `open_clip_config.json`.

    Args:
        config: What it holds.
        where: The file, for messages.

    Returns:
        timm's architecture, its arguments, and its `pretrained_cfg`.

    Raises:
        BackboneError: Where something is not as OpenCLIP writes it, or the tower is none of timm's.
    """
    model = _table(config, "model_cfg", where)
    vision = _table(model, "vision_cfg", where)
    for key, plain in _PLAIN.items():
        if vision.get(key, plain) != plain:
            raise BackboneError(
                f"{where}: vision_cfg.{key} = {vision[key]!r}: timm's networks have no such tower, "
                f"only with {plain!r}. Open it with open_clip, and give its visual from Python."
            )
    try:
        named = "timm_model_name" in vision
        architecture, arguments = (_timm if named else _transformer)(model, vision)
        facts = _preprocessing(config.get("preprocess_cfg") or {}, vision)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise BackboneError(f"{where}: is not as OpenCLIP writes it ({error}).") from error
    if not timm.is_model(architecture):
        raise BackboneError(f"{where}: timm {timm.__version__} has no {architecture!r}.")
    registered = get_pretrained_cfg(architecture, allow_unregistered=True)
    # Nothing of where timm's own weights come from.
    known = {key: getattr(registered, key, None) for key in _OF_ARCHITECTURE}
    return architecture, arguments, {**known, **facts, "num_classes": arguments["num_classes"]}


def image_tensors(state: Mapping[str, Tensor], classifier: str) -> dict[str, Tensor]:
    """Returns the tensors of a tower of timm under timm's names; those of any other as they are.

    Args:
        state: Of both towers.
        classifier: The path of the network's classifier, where the projection goes.
    """
    trunk, projection = "visual.trunk.", state.get("visual.head.proj.weight")
    own = {n.removeprefix(trunk): t for n, t in state.items() if n.startswith(trunk)}
    if own and projection is not None:
        # The projection has no bias, timm's classifier has.
        own[f"{classifier}.weight"] = projection
        own[f"{classifier}.bias"] = projection.new_zeros(len(projection))
    return own or dict(state)


def _transformer(model: Mapping[str, Any], vision: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns timm's CLIP network that such a tower is, with all its sizes."""
    sizes = {**_VISION, **vision}
    if not isinstance(sizes["layers"], int):
        raise ValueError("a residual tower; only vision transformers and towers of timm are opened")
    width, patch, px = int(sizes["width"]), int(sizes["patch_size"]), _sides(vision)[0]
    arguments = {
        "img_size": px,
        "patch_size": patch,
        "embed_dim": width,
        "depth": sizes["layers"],
        "num_heads": width // int(sizes["head_width"]),
        "mlp_ratio": float(sizes["mlp_ratio"]),
        "num_classes": int(model["embed_dim"]),
        **({"act_layer": "quick_gelu"} if model.get("quick_gelu") else {}),
    }
    name = f"vit_{_SIZES.get(width, '')}_patch{patch}_clip_{px}"
    return name if timm.is_model(name) else _BASE, arguments


def _timm(model: Mapping[str, Any], vision: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns the network of timm that a tower names; its classifier is the projection.

    OpenCLIP pools as asked, and by the network's own way where it projects and asks for none.
    """
    projection, pooling = vision.get("timm_proj", "linear"), vision.get("timm_pool", "avg")
    if projection not in ("linear", "none", "", None) or pooling in ("abs_attn", "rot_attn"):
        raise ValueError(f"timm_proj {projection!r} with timm_pool {pooling!r} is not timm's own")
    outputs = 0 if projection == "none" else int(model["embed_dim"])
    pooled = {"global_pool": str(pooling)} if pooling or projection != "linear" else {}
    return str(vision["timm_model_name"]), {"num_classes": outputs, **pooled}


def _preprocessing(asked: Mapping[str, Any], vision: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the same in timm's words."""
    height, width = _sides({"image_size": asked["size"]} if asked.get("size") else vision)
    interpolation = asked.get("interpolation") or "bicubic"
    return {
        "input_size": (3, height, width),
        "mean": _values(asked.get("mean") or _MEAN),
        "std": _values(asked.get("std") or _STD),
        # Either may be drawn in training; pictures are then fed by the first.
        "interpolation": "bicubic" if interpolation == "random" else interpolation,
        "crop_pct": 1.0,
        "crop_mode": _CROP_MODES[asked.get("resize_mode") or "shortest"],
    }


def _sides(table: Mapping[str, Any]) -> tuple[int, int]:
    size = table.get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _values(given: Any) -> tuple[float, ...]:
    return (float(given),) * 3 if isinstance(given, int | float) else tuple(map(float, given))


def _table(within: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = within.get(key)
    if not isinstance(value, dict):
        raise BackboneError(f"{where}: {key!r} must be a table, not {value!r}.")
    return value
