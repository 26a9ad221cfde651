"""Modules that are fed the images and give the same whatever these show.

Such as position embeddings that are computed from the size of the images. What they give is fixed
for a network of one input size; as tensors of the graph they cross no line.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from frostline.frost.traced_graph import TracedGraph, have_equal_values

# Two batches of noise, which differ in what they show and in how many images they are.
_COUNTS = (2, 3)
_FACTS = ("dtype", "device", "shape", "ndim")


def with_fixed_values(
    traced: TracedGraph, net: nn.Module, input_shape: tuple[int, int, int]
) -> TracedGraph:
    """Returns the graph with what is fixed as tensors in place of the calls that compute it.

    Looks at modules without parameters and buffers to save that come before every module with some:
    what may be trained is not fixed, and nothing much is computed.

    Args:
        traced: The graph.
        net: The network it is of, in eval.
        input_shape: One image's shape: channels, height and width in pixels.
    """
    calls = _before_weights(traced, net)
    if not calls:
        return traced
    first, second = (_computed(traced, net, calls, count, input_shape) for count in _COUNTS)
    fixed = {node: first[node] for node in calls if _are_equal(first.get(node), second.get(node))}
    return _rewritten(traced, fixed) if fixed else traced


def _before_weights(traced: TracedGraph, net: nn.Module) -> list[fx.Node]:
    """Returns the calls of modules whose values no parameter or saved buffer has a part in."""
    found: list[fx.Node] = []
    behind: set[fx.Node] = set()
    for node in traced.graph.nodes:
        is_module = node.op == "call_module"
        has_state = is_module and bool(net.get_submodule(node.target).state_dict())
        reads_state = node.op == "get_attr" and node.target not in traced.constants
        is_fed = not behind.isdisjoint(node.all_input_nodes) and not _is_fact(node)
        if has_state or reads_state or is_fed:
            behind.add(node)
        elif is_module:
            found.append(node)
    return found


def _is_fact(node: fx.Node) -> bool:
    """Tells whether a node asks for what training does not change, such as a type."""
    return node.op == "call_function" and node.target is getattr and node.args[1] in _FACTS


def _computed(
    traced: TracedGraph,
    net: nn.Module,
    calls: list[fx.Node],
    count: int,
    input_shape: tuple[int, int, int],
) -> dict[fx.Node, Any]:
    """Runs noise through what the calls depend on, and returns what each of them gives."""
    needed: set[fx.Node] = set()
    waiting = list(calls)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    anchor = next(net.parameters(), torch.empty(0))
    random = torch.Generator().manual_seed(count)
    noise = torch.randn(count, *input_shape, generator=random).to(anchor.device, anchor.dtype)
    interpreter = _Interpreter(net, traced)
    with torch.no_grad():
        for node in traced.graph.nodes:
            if node in needed:
                is_input = node.op == "placeholder"
                interpreter.env[node] = noise if is_input else interpreter.run_node(node)
    return {node: interpreter.env[node] for node in calls}


class _Interpreter(fx.Interpreter):
    """Runs single nodes of a graph over a network and the tensors that tracing made."""

    def __init__(self, net: nn.Module, traced: TracedGraph) -> None:
        super().__init__(net, graph=traced.graph)
        self._constants = traced.constants

    def fetch_attr(self, target: str) -> Any:
        """Returns a tensor by its path."""
        found = self._constants.get(target)
        return super().fetch_attr(target) if found is None else found


def _are_equal(one: Any, other: Any) -> bool:
    """Tells whether both are the same tensor, or the same tensors in a tuple."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        # Those without values tell at least whether there is a row for each image.
        return have_equal_values(one, other)
    return (
        isinstance(one, tuple | list)
        and isinstance(other, tuple | list)
        and len(one) == len(other) > 0
        and all(_are_equal(*pair) for pair in zip(one, other, strict=True))
        and all(isinstance(value, torch.Tensor) for value in one)
    )


def _rewritten(traced: TracedGraph, fixed: dict[fx.Node, Any]) -> TracedGraph:
    constants, graph = dict(traced.constants), fx.Graph(tracer_cls=fx.Tracer)
    made: dict[fx.Node, Any] = {}

    def tensor(node: fx.Node, value: torch.Tensor, place: str = "") -> fx.Node:
        name = f"_fixed_{node.name}{place}"
        constants[name] = value.detach().clone()
        return graph.create_node("get_attr", name, name=name)

    for node in traced.graph.nodes:
        if node in fixed:
            value = fixed[node]
            made[node] = (
                tensor(node, value)
                if isinstance(value, torch.Tensor)
                else tuple(tensor(node, one, f"_{at}") for at, one in enumerate(value))
            )
        elif _is_item_of(node, fixed):
            made[node] = made[node.args[0]][node.args[1]]
        else:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), made.__getitem__)
            made[node] = graph.create_node(node.op, node.target, args, kwargs, name=node.name)
    there = {node.name for node in graph.nodes}
    return replace(
        traced,
        graph=graph,
        inputs={path: name for path, name in traced.inputs.items() if name in there},
        outputs={
            path: calls
            for path, calls in traced.outputs.items()
            if all(name in there for call in calls for name in call)
        },
        constants=constants,
    )


def _is_item_of(node: fx.Node, fixed: dict[fx.Node, Any]) -> bool:
    """Tells whether a node picks one tensor out of a fixed tuple."""
    is_item = node.op == "call_function" and getattr(node.target, "__name__", "") == "getitem"
    return is_item and isinstance(fixed.get(node.all_input_nodes[0]), tuple | list)
