"""ONNX's operations that fewer networks have: tables of places, norms by group, resizing."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs import common
from frostline.networks.graphs.calls import Call, Translate
from frostline.networks.translate import constants, tensors
from frostline.networks.translate.draft import Operand, Value


def _gather_nd(call: Call) -> Operand:
    x, places = call[0], call.array(1)
    if call.get("batch_dims", 0):
        raise BackboneError("it takes other places of each picture.")
    if not isinstance(x, Value):
        each = math.prod(x.shape[places.shape[-1] :])
        constants.bounded(math.prod(places.shape[:-1]) * each)
        found = x[tuple(np.moveaxis(places, -1, 0))]
        return np.asarray(found)
    if places.shape[-1] == 1 and places.ndim == 2:
        return tensors.take(call.draft, call.name, x, places[:, 0], 0)
    if places.ndim != 1:
        raise BackboneError("it takes places by a table of numbers.")
    given: Operand = x
    for step, place in enumerate(places):
        name = call.name if step == len(places) - 1 else f"{call.name}/step_{step}"
        given = tensors.take(call.draft, name, given, np.array(place), 0)
    return given


def _scatter_nd(call: Call) -> Operand:
    x, places, values = call.array(0).copy(), call.array(1), call.array(2)
    if call.get("reduction", "none") != "none":
        raise BackboneError("it adds to what is there, which is not known.")
    x[tuple(np.moveaxis(places, -1, 0))] = values
    return x


def _tile(call: Call) -> Operand:
    return tensors.tile(call.draft, call.name, call[0], call.integers(1))


def _trilu(call: Call) -> Operand:
    x, offset = call.array(0), int(common.number(call, 1, 0))
    return np.triu(x, offset) if call.get("upper", 1) else np.tril(x, offset)


def _einsum(call: Call) -> Operand:
    return tensors.einsum(call.draft, call.name, str(call.get("equation", "")), common.every(call))


def _instance_norm(call: Call) -> Operand:
    x = common.value(call[0])
    arrays = {"gamma": call.array(1), "beta": call.array(2)}
    settings = {"eps": float(call.get("epsilon", 1e-5))}
    return call.draft.add(call.name, "instance_norm", [x], settings, arrays)


def _group_norm(call: Call) -> Operand:
    x, groups = common.value(call[0]), int(call.get("num_groups", 1))
    arrays = {"gamma": call.array(1), "beta": call.array(2)}
    if int(call.get("_opset", 21)) < 21:
        # One number a group, before version 21.
        each = x.shape[1] // groups
        arrays = {role: np.repeat(one, each) for role, one in arrays.items()}
    settings = {"groups": groups, "eps": float(call.get("epsilon", 1e-5))}
    return call.draft.add(call.name, "group_norm", [x], settings, arrays)


def _col_to_image(call: Call) -> Operand:
    x, size, block = common.value(call[0]), call.integers(1), call.integers(2)
    pads = [int(side) for side in call.get("pads", (0, 0, 0, 0))]
    if len(size) != 2 or pads[:2] != pads[2:]:
        raise BackboneError("it joins stretches of one or three axes, or pads unevenly.")
    settings = {
        "output_size": size,
        "kernel_size": block,
        "dilation": list(call.get("dilations", (1, 1))),
        "padding": pads[:2],
        "stride": list(call.get("strides", (1, 1))),
    }
    return call.draft.add(call.name, "fold", [x], settings)


def _depth_to_space(call: Call) -> Operand:
    settings = {
        "block": int(call.get("blocksize", 1)),
        "channels_last": call.get("mode", "DCR") == "DCR",
    }
    return call.draft.add(call.name, "depth_to_space", [common.value(call[0])], settings)


def _space_to_depth(call: Call) -> Operand:
    settings = {"block": int(call.get("blocksize", 1))}
    return call.draft.add(call.name, "space_to_depth", [common.value(call[0])], settings)


def resize(call: Call) -> Operand:
    """Translates a change of height and width, by neighbours."""
    x, mode = common.value(call[0]), call.get("mode", "nearest")
    if len(x.shape) != 4 or mode not in ("nearest", "linear") or call.get("antialias", 0):
        raise BackboneError(f"it resizes {len(x.shape)} axes by {mode!r}, which is not known.")
    how = str(call.get("coordinate_transformation_mode", "half_pixel"))
    factor, size = _wanted(call, x)
    rounding = str(call.get("nearest_mode", "round_prefer_floor"))
    if call.node.op == "Upsample":
        # As it was before there was a choice.
        how, rounding = "asymmetric", "floor"
    plain = how in ("half_pixel", "pytorch_half_pixel") and min(size) > 1
    whole = all(number == int(number) >= 1 for number in factor)
    flooring = how == "asymmetric" and rounding == "floor"
    usual = whole and (flooring or plain) if mode == "nearest" else plain
    if usual:
        word = "nearest" if mode == "nearest" else "bilinear"
        settings = {"factor": factor, "interpolation": word}
        return call.draft.add(call.name, "upsample", [x], settings)
    return tensors.resample(call.draft, call.name, x, size, mode == "linear", how, rounding)


def _wanted(call: Call, x: Value) -> tuple[list[float], list[int]]:
    """Returns the factors of height and width, and what these become."""
    own = x.shape[2:]
    if call.optional(3) is not None:
        *outer, height, width = call.integers(3)
        same = tuple(outer) in ((), x.shape[:2])
        size = [height, width]
        factor = [wanted / side for wanted, side in zip(size, own, strict=True)]
    else:
        last = min(2, len(call.operands) - 1)
        *first, tall, wide = (float(number) for number in call.array(last).reshape(-1))
        same, factor = first in ([], [1.0, 1.0]), [tall, wide]
        size = [int(np.floor(side * one)) for side, one in zip(own, factor, strict=True)]
        exact = all(int(side * one) == side * one for side, one in zip(own, factor, strict=True))
        same = same and exact
    if not same:
        raise BackboneError("it resizes pictures or channels, or by parts of places.")
    return factor, size


def _slopes(call: Call) -> Sequence[float]:
    return float(call.get("alpha", 0.2)), float(call.get("beta", 0.5))


def hard_sigmoid(call: Call) -> Operand:
    """Translates a line that is cut off at nought and one."""
    alpha, beta = _slopes(call)
    for slope, word in ((1 / 6, "hard_sigmoid"), (0.2, "hard_sigmoid_fifth")):
        if beta == 0.5 and abs(alpha - slope) < 1e-6:
            return tensors.function(call.draft, call.name, call[0], word)
    line = tensors.elementwise(
        call.draft, f"{call.name}/slope", "multiply", call[0], np.array(alpha, np.float32)
    )
    line = tensors.elementwise(
        call.draft, f"{call.name}/line", "add", line, np.array(beta, np.float32)
    )
    return tensors.function(call.draft, call.name, line, "clamp", low=0.0, high=1.0)


FURTHER: Mapping[str, Translate] = {
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "Tile": _tile,
    "Trilu": _trilu,
    "Einsum": _einsum,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "Col2Im": _col_to_image,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Resize": resize,
    "Upsample": resize,
    "HardSigmoid": hard_sigmoid,
    "IsNaN": common.function("is_nan"),
    "Sin": common.function("sine"),
    "Cos": common.function("cosine"),
    "Sign": common.function("sign"),
    "Round": common.function("round"),
}
