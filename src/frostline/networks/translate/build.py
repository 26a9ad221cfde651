"""From a graph to a plain module that fx can trace."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn

from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks.translate import initialize, simplify
from frostline.networks.translate.activations import allow_inplace
from frostline.networks.translate.graph import Graph, Node
from frostline.networks.translate.names import is_safe
from frostline.networks.translate.operators import OPERATORS

# What settings that cannot be make of torch's layers.
_FAILURES = (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError)
_LARGE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Built:
    """A network that was built from a graph.

    Attributes:
        module: Takes [n, c, h, w], and holds each layer under its name in the source.
        shapes: What each node gives for one example, as held here.
        flattened: For each node that reads a flattened map, that map's [c, h, w]: its weights
            stand in the order [h, w, c] in the source.
    """

    module: fx.GraphModule
    shapes: Mapping[str, tuple[int, ...]]
    flattened: Mapping[str, tuple[int, int, int]]


def build(graph: Graph, where: str) -> Built:
    """Builds a network with initial weights, in eval mode.

    Args:
        graph: The network.
        where: Its name or file, for messages.

    Raises:
        BackboneError: Where an operator is unknown or cannot be as its settings ask, or the input
            is too small for the network.
    """
    unsafe = [node.name for node in graph.nodes if not is_safe(node.name)]
    if unsafe:
        raise BackboneError(
            f"{where}: layer {unsafe[0][:80]!r} has a name that no module can have: of 200 "
            "characters at most, without quotes and backslashes, and not Python's own."
        )
    unknown = [node for node in graph.nodes if node.op != "input" and node.op not in OPERATORS]
    if unknown:
        node = unknown[0]
        raise BackboneError(
            f"{where}: layer {node.name!r} asks for operator {node.op!r}, which there is not."
            f"{did_you_mean(node.op, OPERATORS)}"
        )
    modules: dict[str, nn.Module] = {}
    values: dict[str, Tensor] = {}
    flattened: dict[str, tuple[int, int, int]] = {}
    graph = simplify.merge_pads(simplify.prune(graph))
    inplace = simplify.inplace_activations(graph)
    for node in graph.nodes:
        if node.op == "input":
            values[node.name] = torch.empty(1, *graph.input_shape, device="meta")
            continue
        fed = [values[name] for name in node.inputs]
        if node.op == "flatten" and fed[0].dim() == 4 and graph.layout == "channels_last":
            readers = simplify.consumers_of_flatten(node, graph)
            if readers is not None:
                node = replace(node, settings={**node.settings, "as_held": True})
                _, c, h, w = fed[0].shape
                flattened |= dict.fromkeys(readers, (c, h, w))
        values[node.name] = _add(node, fed, graph, modules, where)
        if not node.module:
            allow_inplace(modules[node.name], node.name in inplace)
    module = fx.GraphModule(modules, _wired(graph), class_name="Translated").eval()
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    return Built(module, shapes, flattened)


def _add(
    node: Node, fed: list[Tensor], graph: Graph, modules: dict[str, nn.Module], where: str
) -> Tensor:
    """Makes the module of `node`, unless it is used again, and returns what it gives."""
    shapes = [tuple(value.shape) for value in fed]
    operator = OPERATORS[node.op]
    try:
        with torch.device("meta"):
            blank = operator.build(node.settings, shapes, graph.layout).eval()
            given: Tensor = blank(*fed)
    except (BackboneError, *_FAILURES) as error:
        sizes = " and ".join(str(list(shape[1:])) for shape in shapes)
        raise BackboneError(
            f"{where}: layer {node.name!r} ({node.op}) cannot take {sizes}: {_reason(error)}"
        ) from error
    if 0 in given.shape:
        raise BackboneError(
            f"{where}: nothing is left at layer {node.name!r} of an input of "
            f"{graph.input_shape[1]} × {graph.input_shape[2]} px. Give it a larger input."
        )
    if node.module:
        _check_again(node, blank, modules[node.module], where)
    elif any(isinstance(part, _LARGE) for part in blank.modules()):
        modules[node.name] = initialize.initialize_weights(
            blank.to_empty(device="cpu"), node.settings
        )
    else:
        made = operator.build(node.settings, shapes, graph.layout)
        modules[node.name] = initialize.initialize_weights(made, node.settings)
    return given


def _check_again(node: Node, blank: nn.Module, module: nn.Module, where: str) -> None:
    wanted = {name: tensor.shape for name, tensor in blank.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in module.state_dict().items()}:
        raise BackboneError(
            f"{where}: layer {node.module!r} is used again with an input of another shape."
        )


def _wired(graph: Graph) -> fx.Graph:
    wired = fx.Graph()
    made: dict[str, fx.Node] = {}
    for node in graph.nodes:
        if node.op == "input":
            made[node.name] = wired.placeholder("images")
        else:
            made[node.name] = wired.call_module(
                node.path, tuple(made[name] for name in node.inputs)
            )
    wired.output(made[graph.output])
    wired.lint()
    return wired


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    if isinstance(error, KeyError):
        return f"its setting {error} is missing."
    if not text:
        return type(error).__name__
    if "Kernel size can't be greater" in text[0] or "Output size is too small" in text[0]:
        return "the input is too small for it. Give the network a larger one."
    return text[0]
