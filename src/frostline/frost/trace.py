"""From a network to graphs: what it does to a batch of images, once in eval, once in training."""

import copy
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from frostline.base.errors import LineError
from frostline.frost.fixed_values import with_fixed_values
from frostline.frost.shape_values import ShapeValues
from frostline.frost.traced_graph import TracedGraph
from frostline.frost.tracer import ROOT, Tracer, Wrapper

# Beyond so many modules that cannot be looked into, the network is not worth cutting.
_MOST_OPAQUE = 64
_NOT_THE_USERS = (Path(__file__).parent, Path(torch.__file__).parent)
_LOOK_UPS = ("getattr", "getitem", "eq", "ne", "lt", "le", "gt", "ge", "mod", "floordiv", "mul")


def trace_graph(
    net: nn.Module,
    training: bool,
    input_shape: tuple[int, int, int],
    follow_values: bool = False,
) -> TracedGraph:
    """Traces `net` in eval or training mode; neither its flags nor its tensors change.

    Where the code asks for a shape, the answer is that of `input_shape`. A module that cannot be
    traced even so is taken as one piece, and the rest is traced around it. What is made of the size
    of the images alone is a tensor of the graph, as in eval (`fixed_values`).

    Args:
        net: A network of one input, a batch of images.
        training: Which mode to follow.
        input_shape: One image's shape: channels, height and width in pixels.
        follow_values: Whether to follow shapes from the start, and not only where something asks.

    Returns:
        The graph, which names modules and tensors of `net` by their paths.

    Raises:
        LineError: Where the `forward` of `net` itself cannot be traced; it gives the place.
    """
    twin = copy_sharing_tensors(net).train(training)
    opaque: set[str] = set()
    while True:
        values = None
        if follow_values:
            values = ShapeValues(copy_sharing_tensors(net, "meta").train(training), input_shape)
        tracer = Tracer(opaque, values)
        try:
            graph = tracer.trace(Wrapper(twin))
        except Exception as error:
            culprit = tracer.path[-1] if tracer.path else ROOT
            if not follow_values:
                # Only now, as most networks ask nothing, and it takes time.
                follow_values = True
            elif culprit == ROOT or culprit in opaque or len(opaque) == _MOST_OPAQUE:
                raise LineError(_cannot_be_traced(net, error)) from error
            else:
                opaque.add(culprit)
        else:
            traced = _of_the_network(graph, tracer)
            traced = with_fixed_values(traced, copy_sharing_tensors(net).eval(), input_shape)
            return without_unread_look_ups(traced) if follow_values else traced


def without_unread_look_ups(traced: TracedGraph) -> TracedGraph:
    """Returns the graph without look-ups of shapes, types and devices that nothing reads.

    Functions' nodes are numbered anew, so that two graphs that differ by nothing else are equal.
    """
    nodes = list(traced.graph.nodes)
    read = {node: len(node.users) for node in nodes}
    named = {name for calls in traced.outputs.values() for call in calls for name in call}
    dropped: set[fx.Node] = set()
    for node in reversed(nodes):
        if not read[node] and _is_look_up(node) and node.name not in named:
            dropped.add(node)
            for source in node.all_input_nodes:
                read[source] -= 1
    bare = fx.Graph(tracer_cls=fx.Tracer)
    made: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node not in dropped:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), made.__getitem__)
            name = node.name if node.op == "placeholder" else None
            made[node] = bare.create_node(node.op, node.target, args, kwargs, name=name)
    renamed = {node.name: new.name for node, new in made.items()}
    return TracedGraph(
        graph=bare,
        inputs={path: renamed[name] for path, name in traced.inputs.items() if name in renamed},
        outputs={
            path: tuple(tuple(renamed[name] for name in call) for call in calls)
            for path, calls in traced.outputs.items()
        },
        constants=traced.constants,
        containers=traced.containers,
    )


def copy_sharing_tensors(net: nn.Module, device: str | None = None) -> nn.Module:
    """Returns a copy of the modules of `net` that shares its tensors.

    Args:
        net: The network; nothing of it changes.
        device: Where given, the twin holds empty tensors on that device, such as `meta`, instead.

    Returns:
        The copy, whose training flags can be set without touching `net`.
    """
    memo: dict[int, Any] = {}
    for tensor in (*net.parameters(), *net.buffers()):
        memo[id(tensor)] = tensor if device is None else _empty(tensor, device)
    twin: nn.Module = copy.deepcopy(net, memo)
    if device is not None:
        for module in twin.modules():
            for key, value in vars(module).items():
                if isinstance(value, torch.Tensor):
                    setattr(module, key, value.to(device))
    return twin


@contextmanager
def in_eval(*nets: nn.Module) -> Iterator[None]:
    """Puts all modules of `nets` in eval mode, and back into the mode each one had."""
    flags = {module: module.training for net in nets for module in net.modules()}
    try:
        for module in flags:
            module.training = False
        yield
    finally:
        for module, training in flags.items():
            module.training = training


def first_line(error: BaseException) -> str:
    """Returns the first line of what `error` says, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _empty(tensor: torch.Tensor, device: str) -> torch.Tensor:
    empty = torch.empty_like(tensor, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


def _of_the_network(graph: fx.Graph, tracer: Tracer) -> TracedGraph:
    """Rewrites a graph of the wrapper as a graph of the network inside it."""
    bare = fx.Graph(tracer_cls=fx.Tracer)
    made: dict[fx.Node, fx.Node] = {}
    constants: dict[str, torch.Tensor] = {}
    for node in graph.nodes:
        target, name = node.target, node.name.removeprefix(f"{ROOT}_")
        if node.op in ("call_module", "get_attr"):
            if not target.startswith(f"{ROOT}."):
                constants[target] = getattr(tracer.root, target)
            target = target.removeprefix(f"{ROOT}.")
        args = fx.node.map_arg(node.args, made.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, made.__getitem__)
        made[node] = bare.create_node(node.op, target, args, kwargs, name=name)
    calls = {path: [_nodes_in(given) for given in gave] for path, gave in tracer.gave.items()}
    return TracedGraph(
        graph=bare,
        inputs={_bare(path): made[node].name for path, node in tracer.fed.items()},
        outputs={
            _bare(path): tuple(tuple(made[node].name for node in nodes) for nodes in given)
            for path, given in calls.items()
            if all(nodes and all(node in made for node in nodes) for nodes in given)
        },
        constants=constants,
        containers=frozenset(
            _bare(path)
            for path, gave in tracer.gave.items()
            if not all(issubclass(type(given), fx.Proxy) for given in gave)
        ),
    )


def _nodes_in(value: Any) -> list[fx.Node]:
    if issubclass(type(value), fx.Proxy):
        return [value.node]
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(node for one in value for node in _nodes_in(one)))
    return []


def _bare(path: str) -> str:
    return "" if path == ROOT else path.removeprefix(f"{ROOT}.")


def _is_look_up(node: fx.Node) -> bool:
    """Whether a node only reads or compares numbers, types and the like, and changes nothing."""
    if node.op == "call_method":
        return node.target in ("size", "dim")
    return node.op == "call_function" and getattr(node.target, "__name__", "") in _LOOK_UPS


def _cannot_be_traced(net: nn.Module, error: BaseException) -> str:
    """Says where a network's code cannot be followed, and what to write there."""
    said = f"{type(net).__name__}: its forward cannot be followed, so there is no line to cut at."
    place = _user_frame(error)
    where = f" {place[0]}:{place[1]}: {place[2]}" if place else ""
    return f"{said} What failed:{where} ({first_line(error)}). {_advice(str(error))}"


def _user_frame(error: BaseException) -> tuple[str, int, str] | None:
    """The innermost place in the network's own code: file, line and what stands there."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if frame.lineno and not any(path.is_relative_to(folder) for folder in _NOT_THE_USERS):
            return path.name, frame.lineno, frame.line or ""
    return None


def _advice(reason: str) -> str:
    for pattern, advice in (
        (r"number of images", "Write it so that it holds for any number of images."),
        (r"what the pixels are", "Use torch.where, or take that choice out of the forward."),
        (r"control flow|known before", "Choose by the module's own settings, or by a shape."),
    ):
        if re.search(pattern, reason):
            return f"{advice} Or put it into a module of its own, which is then one piece."
    return "Put it into a module of its own, which is then taken as one piece."
