"""Putting a source's arrays where a translated network keeps them."""

from collections.abc import Mapping

from torch import Tensor

from frostline.networks.translate.build import Built
from frostline.networks.translate.geometry import flattened_rows
from frostline.networks.translate.graph import Graph
from frostline.networks.translate.operators import OPERATORS

# A layer's name and which of its weights: a key of `Operator.weights`.
Slot = tuple[str, str]
# These say the same with and without axes of a single place.
_SQUEEZED = ("dense", "channel_scale", "normalize", "gru")


def slots_of(graph: Graph, built: Built) -> dict[Slot, str]:
    """Returns the name in the network's state of each weight that its layers have."""
    own = built.module.state_dict()
    found: dict[Slot, str] = {}
    for node in graph.nodes:
        if node.op not in OPERATORS or node.module:
            continue
        for role, (part, tensor) in OPERATORS[node.op].weights.items():
            names = (f"{node.name}.{part}.{tensor}", f"{node.name}.{tensor}")
            present = [name for name in names if name in own]
            if present:
                found[(node.name, role)] = present[0]
    return found


def to_state(
    graph: Graph, built: Built, arrays: Mapping[Slot, Tensor], as_held: bool = False
) -> dict[str, Tensor]:
    """Names a source's arrays as the network does, and puts features into the order held here.

    Args:
        graph: The network.
        built: What was built from it.
        arrays: By slot, with axes as PyTorch has them: a kernel is [out, in, h, w], a dense one
            [out, in]. Where the features come from a flattened map they are in the order of the
            graph's layout.
        as_held: Whether flattened features already stand in the order [c, h, w].

    Returns:
        Tensors for `load_state_dict`. One of another shape is handed on as it is.
    """
    names, own = slots_of(graph, built), built.module.state_dict()
    ops = {node.name: node.op for node in graph.nodes}
    placed: dict[str, Tensor] = {}
    for (layer, role), tensor in arrays.items():
        if (layer, role) not in names:
            continue
        name = names[(layer, role)]
        shape = own[name].shape
        if ops[layer] in _SQUEEZED and _squeezed(tensor) == _squeezed(own[name]):
            tensor = tensor.reshape(shape)
        if layer in built.flattened and tensor.shape == shape and not as_held:
            tensor = _in_held_order(tensor, built.flattened[layer], ops[layer], role)
        placed[name] = tensor.contiguous()
    return placed


def _squeezed(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]


def _in_held_order(tensor: Tensor, shape: tuple[int, int, int], op: str, role: str) -> Tensor:
    if op == "dense" and role == "bias":
        return tensor
    return tensor[..., flattened_rows(shape).to(tensor.device)]
