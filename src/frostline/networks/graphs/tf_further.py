"""TensorFlow's operations that fewer networks have: fake quantisation, gaps, resizing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs import common, dilations
from frostline.networks.graphs.calls import Call, Translate
from frostline.networks.graphs.dilations import DilationNames, Sides
from frostline.networks.translate import tensors
from frostline.networks.translate.draft import Array, Operand, Value
from frostline.networks.weights_files.records import Node, Tensor

_DILATED = DilationNames(
    "SpaceToBatchND",
    "BatchToSpaceND",
    ("Conv2D", "DepthwiseConv2dNative"),
    ("BiasAdd", "Identity", "Relu", "Relu6"),
    "Identity",
)


def with_dilations(nodes: Sequence[Node]) -> list[Node]:
    """Returns the operations with convolutions over a spread batch as such with gaps."""
    makers = {node.name: node for node in nodes}

    def fixed(name: str) -> Array | None:
        node = makers.get(name)
        while node is not None and node.op == "Identity":
            node = makers.get(node.inputs[0])
        value = node.attributes.get("value") if node is not None and node.op == "Const" else None
        return value.values() if isinstance(value, Tensor) else None

    return dilations.joined(nodes, _DILATED, fixed, _with_gaps)


def _with_gaps(conv: Node, gaps: tuple[int, int], sides: Sides) -> Node | None:
    told = {
        **conv.attributes,
        "dilations": (1, *gaps, 1),
        "padding": b"EXPLICIT",
        "explicit_paddings": (0, 0, *sides[0], *sides[1], 0, 0),
    }
    plain = (
        conv.attributes.get("padding") == b"VALID"
        and set(conv.attributes.get("strides", ())) == {1}
        and set(conv.attributes.get("dilations", (1,))) == {1}
        and conv.attributes.get("data_format", b"NHWC") == b"NHWC"
    )
    return replace(conv, attributes=told) if plain else None


def _fake_quantised(x: Operand, low: Array, high: Array, call: Call) -> Operand:
    """Cuts off what 8 bits cannot say. Constants are rounded as well, pictures' values are not.

    The bounds are moved a little so that nought has a number of its own, as TensorFlow does.
    """
    first = 1 if call.get("narrow_range", False) else 0
    steps = (1 << int(call.get("num_bits", 8))) - 1
    low, high = low.astype(np.float64), high.astype(np.float64)
    scale = (high - low) / (steps - first)
    zero = np.clip(np.round(first - low / scale), first, steps)
    ends = [np.asarray((end - zero) * scale, np.float32) for end in (first, steps)]
    if not isinstance(x, Value):
        rounded = np.round((np.clip(x, *ends) - ends[0]) / scale) * scale + ends[0]
        return np.asarray(rounded, np.float32)
    if ends[0].size == 1:
        bounds = {"low": float(ends[0].reshape(-1)[0]), "high": float(ends[1].reshape(-1)[0])}
        return tensors.function(call.draft, call.name, x, "clamp", **bounds)
    above = tensors.elementwise(
        call.draft, f"{call.name}/low", "maximum", x, ends[0], trained=False
    )
    return tensors.elementwise(call.draft, call.name, "minimum", above, ends[1], trained=False)


def _fake_quant_arguments(call: Call) -> Operand:
    low, high = float(call.get("min", -6.0)), float(call.get("max", 6.0))
    return _fake_quantised(call[0], np.array(low), np.array(high), call)


def _fake_quant(call: Call) -> Operand:
    return _fake_quantised(call[0], call.array(1), call.array(2), call)


def _clip(call: Call) -> Operand:
    bounds = {"low": common.number(call, 1, 0.0), "high": common.number(call, 2, 0.0)}
    x = call[0]
    if not isinstance(x, Value):
        return np.clip(x, bounds["low"], bounds["high"])
    return tensors.function(call.draft, call.name, x, "clamp", **bounds)


def _einsum(call: Call) -> Operand:
    told = call.get("equation", b"")
    equation = told.decode("ascii", "replace") if isinstance(told, bytes) else str(told)
    return tensors.einsum(call.draft, call.name, equation, common.every(call))


def _blocks(op: str) -> Translate:
    def translate(call: Call) -> Operand:
        if call.get("data_format", b"NHWC") not in (b"NHWC", b"NCHW"):
            raise BackboneError("it holds channels in parts, which is not known.")
        return common.blocks(call, op, int(call.get("block_size", 1)))

    return translate


def _resize(linear: bool) -> Translate:
    def translate(call: Call) -> Operand:
        corners, centred = call.get("align_corners", False), call.get("half_pixel_centers", False)
        return common.resized(call, linear, bool(corners), bool(centred))

    return translate


def _tile(call: Call) -> Operand:
    return tensors.tile(call.draft, call.name, call[0], call.integers(1))


_FUNCTIONS: Mapping[str, Callable[[Call], Operand | tuple[Operand, ...]]] = {
    name: common.function(ours)
    for name, ours in (
        ("Sin", "sine"),
        ("Cos", "cosine"),
        ("Sign", "sign"),
        ("Round", "round"),
        ("Rint", "round"),
        ("Erf", "erf"),
    )
}
FURTHER: Mapping[str, Translate] = {
    **_FUNCTIONS,
    "FakeQuantWithMinMaxArgs": _fake_quant_arguments,
    "FakeQuantWithMinMaxVars": _fake_quant,
    "FakeQuantWithMinMaxVarsPerChannel": _fake_quant,
    "ClipByValue": _clip,
    "Einsum": _einsum,
    "DepthToSpace": _blocks("depth_to_space"),
    "SpaceToDepth": _blocks("space_to_depth"),
    "ResizeBilinear": _resize(True),
    "ResizeNearestNeighbor": _resize(False),
    "Tile": _tile,
}
