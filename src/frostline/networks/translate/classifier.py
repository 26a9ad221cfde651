"""The classifier of a translated network: its last layer, taken away or replaced.

The module carries the graph it was built from, so that it can be written down and built again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import fx, nn

from frostline.networks.translate.graph import Graph, Node

_GRAPH, _LAYER = "frostline_graph", "frostline_classifier"
_PARTS = {"dense": "linear", "conv2d": "conv"}
_SIZES = {"dense": "units", "conv2d": "filters"}


def attach_graph(module: fx.GraphModule, graph: Graph, classifier: str) -> fx.GraphModule:
    """Lets a module know what it was built from, and which its last layer is; returns it."""
    module.meta[_GRAPH], module.meta[_LAYER] = graph, classifier
    return module


def name_of(module: nn.Module) -> str:
    """Returns the name of the last layer in the graph; empty where there is none."""
    return str(_meta(module)[_LAYER])


def path_of(module: nn.Module) -> str:
    """Returns the path of the last layer; empty where the network gives features or a map."""
    name = name_of(module)
    if not name:
        return ""
    part = _PARTS[_node(module).op]
    own = module.get_submodule(name)
    return f"{name}.{part}" if part in dict(own.named_children()) else name


def outputs(module: nn.Module) -> int:
    """Returns how many scores it gives; 0 where its last layer was taken away, or there is none."""
    last = _last(module)
    return int(getattr(last, "out_features", getattr(last, "out_channels", 0)))


def features(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Returns the width of what the last layer reads, or of what comes out where there is none.

    Args:
        module: The network, with its last layer.
        shapes: What each node gives for one example.
    """
    last = _last(module)
    if last is None:
        return shapes[graph_of(module).output][0]
    return int(getattr(last, "in_features", getattr(last, "in_channels", 0)))


def remove_last(module: nn.Module) -> None:
    """Puts an identity in the place of the last layer."""
    if path := path_of(module):
        module.set_submodule(path, nn.Identity())


def replace_last(module: nn.Module, count: int) -> nn.Linear | None:
    """Puts a new last layer of `count` scores in.

    Returns:
        The layer; None where it is a convolution, or there is none.
    """
    last, path = _last(module), path_of(module)
    if isinstance(last, nn.Conv2d):
        module.set_submodule(
            path, nn.Conv2d(last.in_channels, count, 1, bias=last.bias is not None)
        )
        return None
    if not isinstance(last, nn.Linear):
        return None
    linear = nn.Linear(last.in_features, count, bias=last.bias is not None)
    module.set_submodule(path, linear)
    return linear


def graph_of(module: nn.Module) -> Graph:
    """Returns the graph that builds the network as it is now, with as many scores as it has."""
    graph: Graph = _meta(module)[_GRAPH]
    count = outputs(module)
    if not count:
        return graph
    last, behind = _node(module), set()
    nodes = []
    for node in graph.nodes:
        if node.name == last.name:
            node = replace(node, settings={**node.settings, _SIZES[node.op]: count})
            behind.add(node.name)
        elif node.op == "reshape" and set(node.inputs) <= behind:
            node = replace(node, settings={**node.settings, "shape": [count]})
            behind.add(node.name)
        elif set(node.inputs) & behind:
            behind.add(node.name)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _last(module: nn.Module) -> nn.Module | None:
    path = path_of(module)
    return module.get_submodule(path) if path else None


def _node(module: nn.Module) -> Node:
    graph: Graph = _meta(module)[_GRAPH]
    name = name_of(module)
    return next(node for node in graph.nodes if node.name == name)


def _meta(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, fx.GraphModule)
    meta: dict[str, Any] = module.meta
    return meta
