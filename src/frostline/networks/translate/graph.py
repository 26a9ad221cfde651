"""A network as a list of operators: what a translator reads, and what a model folder keeps.

The axes of a graph are those of its source. Which axis of a picture holds the channels is said
once, by `layout`; `geometry.py` turns axes and orders into those that PyTorch has.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frostline.base.errors import BackboneError

FORMAT, VERSION = "frostline-graph", 1
LAYOUTS = ("channels_last", "channels_first")
SCORES = ("none", "softmax", "sigmoid")
# The largest network of keras.applications has about a thousand.
_MOST_NODES = 20_000


@dataclass(frozen=True)
class Node:
    """One use of a layer.

    Attributes:
        name: Its own in the graph, and the path of its module; dots go into parts. A layer that is
            used again has a name of its own for each use.
        op: What it does: a key of `operators.OPERATORS`.
        inputs: Names of the nodes it reads, in order.
        settings: The operator's settings, as JSON values; axes are the source's.
        module: The node whose module, and weights, this one uses again; empty for its own.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    settings: Mapping[str, Any]
    module: str = ""

    @property
    def path(self) -> str:
        """The path of its module."""
        return self.module or self.name


@dataclass(frozen=True)
class Graph:
    """A network of one input and one output.

    Attributes:
        nodes: In an order in which each reads only what stands before it; the first has the
            operator `input`.
        output: The name of the node whose value the network gives.
        input_shape: Channels, height and width in pixels, whatever the source's layout is.
        layout: Where the source holds channels: one of `LAYOUTS`.
        scores: What the source makes of the last values, which are left as they are: `softmax`,
            `sigmoid` or `none`.
    """

    nodes: tuple[Node, ...]
    output: str
    input_shape: tuple[int, int, int]
    layout: str = "channels_last"
    scores: str = "none"

    @property
    def digest(self) -> str:
        """A digest of all that the graph says: SHA-256, in hexadecimal."""
        text = json.dumps(to_dict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def users(self) -> dict[str, list[Node]]:
        """Returns, for each node's name, the nodes that read it."""
        readers: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return readers


def to_dict(graph: Graph) -> dict[str, Any]:
    """Returns a graph as plain JSON values; `from_dict` reads them back."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "layout": graph.layout,
        "input_shape": list(graph.input_shape),
        "output": graph.output,
        "scores": graph.scores,
        "nodes": [
            {
                "name": node.name,
                "op": node.op,
                "inputs": list(node.inputs),
                "settings": dict(node.settings),
                **({"module": node.module} if node.module else {}),
            }
            for node in graph.nodes
        ],
    }


def from_dict(value: Any, where: str) -> Graph:
    """Reads what `to_dict` gave.

    Args:
        value: Parsed JSON.
        where: The file it stands in, for messages.

    Raises:
        BackboneError: Where it is no graph of this version, or does not hold together.
    """
    known = isinstance(value, dict) and value.get("format") == FORMAT
    if not known or value.get("version") != VERSION:
        raise BackboneError(
            f"{where}: must hold a network's graph ({FORMAT}, version {VERSION}). "
            "Save the model again with this version of Frostline."
        )
    try:
        channels, height, width = (int(size) for size in value["input_shape"])
        graph = Graph(
            nodes=tuple(_node(one) for one in value["nodes"]),
            output=str(value["output"]),
            input_shape=(channels, height, width),
            layout=str(value["layout"]),
            scores=str(value["scores"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BackboneError(
            f"{where}: the graph is not whole ({type(error).__name__}: {error}). Save it again."
        ) from error
    check(graph, where)
    return graph


def check(graph: Graph, where: str) -> None:
    """Checks that a graph holds together; what its operators do is checked in building it.

    Raises:
        BackboneError: Where names repeat, a node reads what does not stand before it, or a word
            is none of those allowed.
    """
    if len(graph.nodes) > _MOST_NODES:
        raise BackboneError(f"{where}: {len(graph.nodes)} layers; at most {_MOST_NODES} are read.")
    if graph.layout not in LAYOUTS or graph.scores not in SCORES:
        raise BackboneError(
            f"{where}: layout {graph.layout!r} and scores {graph.scores!r} must be among "
            f"{', '.join(LAYOUTS)} and {', '.join(SCORES)}."
        )
    seen: dict[str, Node] = {}
    for index, node in enumerate(graph.nodes):
        unknown = [name for name in node.inputs if name not in seen]
        if unknown or node.name in seen or (node.op == "input") != (index == 0):
            raise BackboneError(
                f"{where}: layer {node.name!r} must have a name of its own and read only layers "
                f"before it; it reads {', '.join(node.inputs) or 'nothing'}."
            )
        if node.module and (node.module not in seen or seen[node.module].op != node.op):
            raise BackboneError(
                f"{where}: layer {node.name!r} uses {node.module!r}, which is none."
            )
        seen[node.name] = node
    if graph.output not in seen:
        raise BackboneError(f"{where}: the output {graph.output!r} is no layer of the graph.")


def _node(value: Mapping[str, Any]) -> Node:
    return Node(
        name=str(value["name"]),
        op=str(value["op"]),
        inputs=tuple(str(name) for name in value["inputs"]),
        settings=dict(value["settings"]),
        module=str(value.get("module", "")),
    )
