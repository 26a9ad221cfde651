"""Whether a graph can be run at all: every input comes from somewhere, and none from itself."""

from collections import deque
from collections.abc import Iterable

from frostline.networks.weights_files.records import Graph, Node

# TensorFlow 1 writes loops as circles that pass through these.
_LOOPS = ("NextIteration", "RefNextIteration")


def node_behind(name: str) -> str:
    """Returns the node that a GraphDef's input means: `^a`, `a:1` and `a:out:0` all mean `a`."""
    return name.removeprefix("^").partition(":")[0]


def check(graph: Graph, given: Iterable[str] = (), by_node: bool = False) -> None:
    """Refuses a graph that has nodes of one name, inputs from nowhere, or a circle.

    Args:
        graph: The graph.
        given: Names of tensors that are there without a node: inputs and arrays.
        by_node: Whether inputs name nodes, as in a GraphDef, and not what nodes give.

    Raises:
        ValueError: Naming the first such node.
    """
    names = [node.name for node in graph.nodes]
    if by_node and len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two nodes are called {double}")
    makers = {out: i for i, node in enumerate(graph.nodes) for out in node.outputs if out}
    known = set(given)
    needs: list[set[int]] = []
    for node in graph.nodes:
        inputs = [node_behind(name) if by_node else name for name in node.inputs if name]
        lost = [name for name in inputs if name not in makers and name not in known]
        if lost:
            raise ValueError(f"{node.name} takes {lost[0]!r}, which nothing gives")
        needs.append({makers[name] for name in inputs if name in makers})
    circle = _first_in_circle(graph.nodes, needs)
    if circle is not None:
        raise ValueError(f"its graph runs in a circle through {graph.nodes[circle].name}")


def _first_in_circle(nodes: tuple[Node, ...], needs: list[set[int]]) -> int | None:
    users: list[list[int]] = [[] for _ in nodes]
    open_needs = []
    for i, needed in enumerate(needs):
        forward = {j for j in needed if nodes[j].op not in _LOOPS}
        open_needs.append(len(forward))
        for j in forward:
            users[j].append(i)
    ready = deque(i for i, count in enumerate(open_needs) if not count)
    while ready:
        for user in users[ready.popleft()]:
            open_needs[user] -= 1
            if not open_needs[user]:
                ready.append(user)
    return next((i for i, count in enumerate(open_needs) if count), None)
