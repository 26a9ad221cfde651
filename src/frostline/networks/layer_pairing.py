"""Pairing the layers of any weights file with those of any network: by name, by order, by graph.

By order and by graph, layers are paired one by one as long as kinds and shapes agree. A norm that
was folded into the convolution before it when the file was written is filled so that it does what
the convolution's bias does in the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from frostline.base.errors import WeightsError
from frostline.networks.file_layers import (
    FIRST,
    FileLayer,
    first_axes,
    in_file_order,
    in_graph_order,
)
from frostline.networks.network_layers import NetworkLayer, layers_of
from frostline.networks.weights_files import guarded
from frostline.networks.weights_files.records import Array

WAYS = ("auto", "name", "order", "graph")


@dataclass
class Paired:
    """What one way of pairing gave.

    Attributes:
        way: `name`, `order` or `graph`.
        tensors: By their name in the network's state.
        used: Positions of the file's layers that have a partner.
        left_out: Names of the file's arrays that the network does not have, in the file's order.
        problem: Why pairing in order stopped; empty where it did not.
    """

    way: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    left_out: tuple[str, ...] = ()
    problem: str = ""


def pair(
    path: Path, net: nn.Module, input_shape: tuple[int, int, int], way: str = "auto"
) -> Paired:
    """Pairs the layers of a file with those of a network; neither is changed.

    Args:
        path: The weights file, of any format.
        net: The network, in eval mode.
        input_shape: Of one image: channels, height and width in pixels.
        way: `name`, `order` (of the file and of the network's state), `graph` (as both run), or
            `auto`: the first of these that fills the network, or else fills most of it.

    Raises:
        WeightsError: Where the file is not to be read, has no graph and is asked for it, or
            nothing in it fits.
    """
    if way not in WAYS:
        raise WeightsError(f"{path}: weights are paired by one of {', '.join(WAYS)}, not {way!r}.")
    file = guarded.open_file(path)
    listed, as_used = in_file_order(file), in_graph_order(file)
    if way == "graph" and not as_used:
        raise WeightsError(f"{path}: holds no graph with weights in it; pair by name or by order.")
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    held, run = (layers_of(net, input_shape, as_run) for as_run in (False, True))
    tried = []
    if way in ("auto", "name"):
        tried.append(_by_name(listed, held, shapes))
    if way in ("auto", "graph") and as_used:
        tried.append(_in_order("graph", as_used, run, shapes))
    if way == "order" or (way == "auto" and not as_used):
        tried.append(_in_order("order", listed, held, shapes))
    best = max(tried, key=lambda one: (len(one.tensors), bool(one.problem)))
    if not best.tensors:
        reason = f" ({best.problem})" if best.problem else ""
        raise WeightsError(f"{path}: no layer of the file fits the network's{reason}.")
    return best


def _by_name(
    listed: Sequence[FileLayer], held: Sequence[NetworkLayer], shapes: dict[str, tuple[int, ...]]
) -> Paired:
    found = Paired("name")
    known = {_plain(layer.name): layer for layer in held}
    prefix = _prefix([_plain(layer.name) for layer in listed], known)
    for index, one in enumerate(listed):
        layer = known.get(_plain(one.name).removeprefix(prefix))
        tensors = None if layer is None else _fitted(one, layer, shapes)
        if tensors:
            found.tensors |= tensors
            found.used.add(index)
    return _with_rest(found, listed)


def _in_order(
    way: str,
    listed: Sequence[FileLayer],
    held: Sequence[NetworkLayer],
    shapes: dict[str, tuple[int, ...]],
) -> Paired:
    found = Paired(way)
    waiting = list(enumerate(listed))
    before: FileLayer | None = None
    for layer in held:
        index, one = waiting[0] if waiting else (-1, None)
        tensors = None if one is None else _fitted(one, layer, shapes)
        if one is not None and tensors:
            found.tensors |= tensors
            found.used.add(index)
            waiting.pop(0)
            before = one if layer.kind == "conv" and "bias" not in layer.names else None
        elif layer.eps and before is not None and "bias" in before.shapes:
            found.tensors |= _unfolded(before, layer, shapes)
            before = None
        else:
            has = f"{one.name} {_sizes(one)}" if one is not None else "nothing more"
            found.problem = f"at the network's {layer.name} the file has {has}"
            break
    return _with_rest(found, listed)


def _with_rest(found: Paired, listed: Sequence[FileLayer]) -> Paired:
    rest = [one for index, one in enumerate(listed) if index not in found.used]
    found.left_out = tuple(name for one in rest for name in one.sources)
    return found


def _fitted(
    one: FileLayer, layer: NetworkLayer, shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor] | None:
    """Returns the tensors of a layer by their names in the network; None where they do not fit."""
    roles = set(one.arrays)
    folded = layer.kind == "conv" and "bias" not in layer.names and "bias" in roles
    if (roles - {"bias"} if folded else roles) - set(layer.names):
        return None
    given: dict[str, Tensor] = {}
    for role in roles & set(layer.names):
        wanted = shapes[layer.names[role]]
        sizes = one.shapes[role]
        if sorted(size for size in sizes if size > 1) != sorted(s for s in wanted if s > 1) and (
            int(np.prod(sizes)) != int(np.prod(wanted))
        ):
            return None
        array = _in_order_of_axes(one.arrays[role](), one, role, layer, wanted)
        if array is None:
            return None
        given[layer.names[role]] = torch.from_numpy(np.array(array, np.float32))
    return given


def _in_order_of_axes(
    array: Array, one: FileLayer, role: str, layer: NetworkLayer, wanted: tuple[int, ...]
) -> Array | None:
    ways = first_axes(array, one, wanted) if role == "weight" else [array]
    for way in ways:
        if way.shape == wanted:
            return _flattened(way, layer.flattened) if one.held != FIRST else way
    for way in ways:  # A dense layer over one point, as a convolution of 1 × 1, and the reverse.
        if [size for size in way.shape if size > 1] == [size for size in wanted if size > 1]:
            return way.reshape(wanted)
    return None


def _flattened(weight: Array, read: tuple[int, ...]) -> Array:
    """Puts the columns of a dense weight, which read [h, w, c], into the order [c, h, w]."""
    if not read or weight.ndim != 2:
        return weight
    c, h, w = read
    turned: Array = weight.reshape(-1, h, w, c).transpose(0, 3, 1, 2).reshape(weight.shape)
    return turned


def _unfolded(
    one: FileLayer, layer: NetworkLayer, shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Fills a norm that the file has as the bias of the convolution before it."""
    values = {
        "weight": torch.ones(shapes[layer.names["running_mean"]]),
        "bias": torch.from_numpy(np.array(one.arrays["bias"](), np.float32)),
        "running_mean": torch.zeros(shapes[layer.names["running_mean"]]),
        "running_var": torch.ones(shapes[layer.names["running_mean"]]) - layer.eps,
    }
    if "bias" not in layer.names:
        values["running_mean"] = -values["bias"]
    return {name: values[role] for role, name in layer.names.items() if role in values}


def _plain(name: str) -> str:
    return name.lower().replace("/", ".").replace("_", ".")


def _prefix(names: Sequence[str], known: dict[str, NetworkLayer]) -> str:
    """Returns the part before all the file's names that the network's do not have."""
    best, most = "", sum(name in known for name in names)
    first = names[0].split(".") if names else []
    for depth in range(1, len(first)):
        prefix = ".".join(first[:depth]) + "."
        count = sum(name.removeprefix(prefix) in known for name in names)
        if count > most:
            best, most = prefix, count
    return best


def _sizes(one: FileLayer) -> str:
    return " and ".join(str(list(shape)) for shape in one.shapes.values())
