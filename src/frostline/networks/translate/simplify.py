"""What can be said more simply before a graph is built; what it computes stays the same."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from frostline.networks.translate.graph import Graph, Node
from frostline.networks.translate.operators import OPERATORS

_CONVS = ("conv2d", "depthwise_conv2d", "separable_conv2d")
# These give new tensors, and need nothing of them in the backward pass.
_FRESH = (
    *("conv2d", "depthwise_conv2d", "separable_conv2d", "conv2d_transpose", "dense"),
    *("batch_norm", "layer_norm", "merge", "concatenate"),
)

# What may follow the last scores.
_RESHAPING = ("reshape", "flatten", "identity", "dropout")


def prune(graph: Graph) -> Graph:
    """Returns a graph of the nodes that the output depends on."""
    needed = {graph.output}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed |= {*node.inputs, node.path}
    kept = tuple(node for node in graph.nodes if node.name in needed or node.op == "input")
    return replace(graph, nodes=kept)


def merge_pads(graph: Graph) -> Graph:
    """Lets convolutions do the padding before them, which saves a copy of the whole map.

    It is merged where the padding's only reader is a convolution that pads nothing itself. The
    padding's own layer then hands on what it reads.
    """
    by_name, users, again = _by_name(graph), graph.users(), _used_again(graph)
    changed: dict[str, Node] = {}
    for node in graph.nodes:
        readers = users[node.name]
        if node.op != "pad" or len(readers) != 1 or {node.name, readers[0].name} & again:
            continue
        conv = by_name[readers[0].name]
        if conv.op not in _CONVS or conv.settings["padding"] != "valid" or not _fits(node, conv):
            continue
        changed[node.name] = replace(node, op="identity", settings={})
        settings = {**conv.settings, "padding": node.settings["sides"]}
        changed[conv.name] = replace(conv, settings=settings)
    return replace(graph, nodes=tuple(changed.get(node.name, node) for node in graph.nodes))


def inplace_activations(graph: Graph) -> set[str]:
    """Returns the names of activations that may write over what they read.

    Nothing else reads it, and it is a new tensor that its own layer does not need for gradients.
    """
    by_name, users, again = _by_name(graph), graph.users(), _used_again(graph)
    found = set()
    for node in graph.nodes:
        if node.op != "activation" or node.name in again:
            continue
        source = by_name[node.inputs[0]]
        fresh = source.op in _FRESH and not source.settings.get("activation")
        if fresh and len(users[source.name]) == 1:
            found.add(node.name)
    return found


def consumers_of_flatten(flatten: Node, graph: Graph) -> set[str] | None:
    """Returns the names of the nodes whose weights can be put into the order held here.

    These are dense layers and batch norms. None where something else reads the flattened map, so
    that it must have the source's order.
    """
    if flatten.name == graph.output:
        return None
    users, again = graph.users(), _used_again(graph)
    readers: set[str] = set()
    waiting = list(users[flatten.name])
    while waiting:
        node = waiting.pop()
        alone = node.name not in again
        if node.op == "dense" and alone:
            readers.add(node.name)
            continue
        softmax = node.settings.get("function") in ("softmax", "log_softmax")
        passes = OPERATORS[node.op].by_feature and not softmax
        if node.op == "batch_norm" and alone:
            readers.add(node.name)
            passes = True
        if not passes or node.name == graph.output:
            return None
        waiting += users[node.name]
    return readers


def without_scores(graph: Graph) -> Graph:
    """Takes off the softmax or sigmoid at the end, so that scores come out as they are."""
    by_name = {node.name: node for node in graph.nodes}
    last = by_name[graph.output]
    while last.op in _RESHAPING and len(last.inputs) == 1:
        last = by_name[last.inputs[0]]
    again = last.module or any(node.module == last.name for node in graph.nodes)
    own = last.settings if last.op == "activation" else last.settings.get("activation")
    told: Mapping[str, Any] = own or {}
    what = told.get("function")
    alone = len(graph.users()[last.name]) == (0 if last.name == graph.output else 1)
    if again or not alone or what not in ("softmax", "sigmoid") or told.get("axis", -1) != -1:
        return graph
    if last.op == "activation":
        bare = replace(last, op="identity", settings={})
    else:
        bare = replace(last, settings={**last.settings, "activation": None})
    nodes = tuple(bare if node.name == last.name else node for node in graph.nodes)
    return replace(graph, nodes=nodes, scores=what)


def _fits(pad: Node, conv: Node) -> bool:
    """Whether a convolution can pad so: alike on both sides, or, by channel, by one more after."""
    if pad.settings["sides"] == "same":
        return all(pad.settings[key] == conv.settings[key] for key in ("kernel", "stride"))
    uneven = (0,) if conv.op == "conv2d" else (0, 1)
    return all(after - before in uneven for before, after in pad.settings["sides"])


def _by_name(graph: Graph) -> Mapping[str, Node]:
    return {node.name: node for node in graph.nodes}


def _used_again(graph: Graph) -> set[str]:
    """Names of nodes that share a module with another."""
    return {name for node in graph.nodes if node.module for name in (node.name, node.module)}
