"""Layers with kernels, windows and statistics, as graphs that compute with tensors state them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from frostline.base.errors import BackboneError
from frostline.networks.translate import constants, geometry
from frostline.networks.translate.draft import Array, Draft, Operand, Value, tensor_of
from frostline.networks.translate.graph import Graph, Node
from frostline.networks.translate.operators import OPERATORS
from frostline.networks.translate.tensors import geometry_axes

# `same`, `valid`, or rows and columns: what to pad before and after.
Padding = str | Sequence[Sequence[int]]
_KERNELS = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "dense")


@dataclass(frozen=True)
class Window:
    """How a window slides over a map: height before width.

    Attributes:
        stride: By how many places it moves.
        padding: What is padded around the map.
        dilation: How far its places lie apart.
    """

    stride: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    dilation: tuple[int, int] = (1, 1)


def conv2d(
    draft: Draft,
    name: str,
    x: Operand,
    kernel: Operand,
    bias: Operand | None = None,
    window: Window = Window(),
    activation: str = "",
) -> Operand:
    """Adds a convolution; one kernel a channel makes it depthwise.

    Args:
        draft: The graph in the making.
        name: The node's.
        x: A map.
        kernel: [out, in of a group, h, w].
        bias: One number a channel, or None.
        window: How it slides.
        activation: What follows at once; empty for nothing.
    """
    kernel = _fixed(draft, name, kernel)
    if kernel.ndim != 4 or len(x.shape) != 4:
        raise BackboneError(f"{draft.where}: {name!r} must be a convolution of a map.")
    channels = x.shape[-1 if draft.layout == "channels_last" else 1]
    filters, own, *size = kernel.shape
    if not own or channels % own or filters % max(channels // own, 1):
        raise BackboneError(
            f"{draft.where}: {name!r} has a kernel for {own} channels a group, and is given "
            f"{channels}."
        )
    groups = channels // own
    settings = {
        "kernel": [int(n) for n in size],
        "stride": list(window.stride),
        "dilation": list(window.dilation),
        "padding": window.padding,
        "bias": bias is not None,
        "activation": {"function": activation} if activation else None,
    }
    arrays = {"kernel": kernel}
    if bias is not None:
        arrays["bias"] = _fixed(draft, name, bias).reshape(-1)
    if own == 1 and groups > 1:
        settings["multiplier"] = filters // channels
        return _layer(draft, name, "depthwise_conv2d", x, settings, arrays)
    settings |= {"filters": filters, "groups": groups}
    return _layer(draft, name, "conv2d", x, settings, arrays)


def dense(
    draft: Draft,
    name: str,
    x: Operand,
    kernel: Operand,
    bias: Operand | None = None,
    activation: str = "",
) -> Value:
    """Adds a product with a matrix [out, in] over the last axis."""
    x, kernel = _value(draft, name, x), _fixed(draft, name, kernel)
    if kernel.ndim != 2 or x.shape[-1] != kernel.shape[1]:
        raise BackboneError(
            f"{draft.where}: {name!r} has a matrix for {kernel.shape[-1]} features, and is given "
            f"{x.shape[-1]}."
        )
    arrays = {"kernel": kernel}
    if bias is not None:
        arrays["bias"] = _fixed(draft, name, bias).reshape(-1)
    settings = {
        "units": kernel.shape[0],
        "bias": bias is not None,
        "activation": {"function": activation} if activation else None,
    }
    return draft.add(name, "dense", [x], settings, arrays)


def pool(
    draft: Draft, name: str, x: Operand, how: str, kernel: Sequence[int], window: Window
) -> Operand:
    """Adds a `max` or `average` pooling; one over the whole map takes maps of any size."""
    x = _value(draft, name, x)
    whole = len(x.shape) == 4 and [x.shape[axis] for axis in geometry_axes(draft.layout)]
    if list(kernel) == whole and window.padding in ("valid", [[0, 0], [0, 0]]):
        return draft.add(name, "global_pool", [x], {"reduce": how, "keep_axes": True})
    if tuple(window.dilation) != (1, 1):
        raise BackboneError(f"{draft.where}: {name!r} pools with gaps, which is not known.")
    settings = {
        "kernel": list(kernel),
        "stride": list(window.stride),
        "padding": window.padding,
    }
    return draft.add(name, f"{how}_pool", [x], settings)


def batch_norm(
    draft: Draft, name: str, x: Operand, arrays: dict[str, Operand], eps: float, axis: int
) -> Operand:
    """Adds a batch norm; `arrays` has `gamma`, `beta`, `mean` and `variance`."""
    fixed = {role: _fixed(draft, name, one).reshape(-1) for role, one in arrays.items()}
    settings = {
        "axis": axis,
        "eps": float(eps),
        "momentum": 0.01,
        "scale": "gamma" in fixed,
        "center": "beta" in fixed,
    }
    return _layer(draft, name, "batch_norm", x, settings, fixed)


def _layer(
    draft: Draft,
    name: str,
    op: str,
    x: Operand,
    settings: Mapping[str, Any],
    arrays: Mapping[str, Array],
) -> Operand:
    """Adds a layer; of a constant it is computed at once."""
    if isinstance(x, Value):
        return draft.add(name, op, [x], settings, arrays)
    there = geometry.from_source(x.ndim, draft.layout) or tuple(range(x.ndim))
    back = geometry.to_source(x.ndim, draft.layout) or tuple(range(x.ndim))
    held = tensor_of(x.transpose(there))
    constants.bounded(held.numel())
    module = OPERATORS[op].build(settings, [tuple(held.shape)], draft.layout).eval()
    own = module.state_dict()
    for role, array in arrays.items():
        part, tensor = OPERATORS[op].weights[role]
        slot = f"{part}.{tensor}" if f"{part}.{tensor}" in own else tensor
        own[slot].copy_(tensor_of(array).reshape(own[slot].shape))
    with torch.no_grad():
        given: Array = module(held).numpy()
    constants.bounded(given.size)
    return given.transpose(back)


def fuse_biases(draft: Draft, graph: Graph) -> Graph:
    """Lets kernels add the biases that are added next; `draft.arrays` is changed with them.

    What added them then hands on what it reads, so each name stays.
    """
    by_name, users = {node.name: node for node in graph.nodes}, graph.users()
    changed: dict[str, Node] = {}
    for node in graph.nodes:
        kernel = by_name[node.inputs[0]] if node.inputs else node
        role = _bias_of(node, kernel)
        alone = len(users[kernel.name]) == 1 and kernel.name != graph.output
        if not (role and alone) or kernel.settings["bias"] or kernel.settings["activation"]:
            continue
        bias = draft.arrays.pop((node.name, role))
        draft.arrays[(kernel.name, "bias")] = bias.reshape(-1)
        changed[kernel.name] = replace(kernel, settings={**kernel.settings, "bias": True})
        changed[node.name] = replace(node, op="identity", settings={})
    return replace(graph, nodes=tuple(changed.get(node.name, node) for node in graph.nodes))


def _bias_of(node: Node, kernel: Node) -> str:
    """Returns which operand of an addition is one number an output of a kernel."""
    adds = node.op == "elementwise" and node.settings["how"] == "add"
    if not adds or kernel.op not in _KERNELS or len(node.settings["constants"]) != 1:
        return ""
    ((place, shape),) = node.settings["constants"].items()
    size = kernel.settings.get("units") or kernel.settings.get("filters") or math.prod(shape)
    # In the order held here, channels of maps come second.
    own = [size] if kernel.op == "dense" else [size, 1, 1]
    plain = [1] * (len(shape) - len(own)) + own
    return f"operand_{place}" if list(shape) == plain else ""


def _value(draft: Draft, name: str, x: Operand) -> Value:
    if not isinstance(x, Value):
        raise BackboneError(f"{draft.where}: {name!r} computes a layer of constants.")
    return x


def _fixed(draft: Draft, name: str, x: Operand) -> Array:
    if isinstance(x, Value):
        raise BackboneError(f"{draft.where}: {name!r} takes weights that depend on the picture.")
    return np.asarray(x)
