"""Where the legal lines of a traced network lie, what each is called, and which a person names."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import torch
from torch import nn

from frostline.frost.lines import PIXELS, POOLED, Line
from frostline.frost.liveness import GraphStep, TensorSpec, alive
from frostline.frost.trace import TracedGraph, is_leaf

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@dataclass(frozen=True)
class CutPoint:
    """Where a line lies in a graph.

    Attributes:
        node: The name of the node that holds the activation.
        index: The position after which the suffix begins.
        shape: Of one image's activation, in the graph.
        same: Names of the nodes that hand on this tensor unchanged.
    """

    node: str
    index: int
    shape: tuple[int, ...]
    same: tuple[str, ...] = ()

    @property
    def vector(self) -> tuple[int, ...]:
        """The shape, a map of a single point being a vector."""
        single = len(self.shape) > 1 and prod(self.shape) == max(self.shape)
        return (prod(self.shape),) if single else self.shape


def cut_points_of(
    net: nn.Module,
    traced_graph: TracedGraph,
    steps: Mapping[str, GraphStep],
    classifiers: Sequence[str] = (),
) -> tuple[CutPoint, ...]:
    """Finds the places of all legal lines, from the input to the input of the classifier.

    Args:
        net: The network.
        traced_graph: What it does.
        steps: The same, step by step.
        classifiers: Paths of the classifier's last layers; found where none are given.

    Returns:
        The places, in order; the first is that of `pixels`, the last that of `pooled`.
    """
    legal = _legal(net, steps)
    top = _top(net, traced_graph, steps, classifiers)
    last = max(i for i, cut_point in enumerate(legal) if i == 0 or cut_point.index <= top)
    return tuple(legal[: last + 1])


def lines_at(
    net: nn.Module,
    traced_graph: TracedGraph,
    steps: Mapping[str, GraphStep],
    cut_points: Sequence[CutPoint],
) -> tuple[Line, ...]:
    """Describes the lines at `cut_points`: names, shapes, parameters and work below and above."""
    paths = [_paths(traced_graph, cut_point) for cut_point in cut_points]
    work = list(accumulate(step.multiply_adds for step in steps.values()))
    counts = _parameter_counts(net, steps)
    blocks = _blocks(net, steps, cut_points, paths)
    final = len(cut_points) - 1
    lines = []
    for index, cut_point in enumerate(cut_points):
        own = [PIXELS] * (index == 0) + [POOLED] * (index == final > 0)
        names = list(dict.fromkeys((*own, *paths[index], cut_point.node, *cut_point.same)))
        below, above = counts(cut_point.index)
        lines.append(
            Line(
                name=names[0],
                node=cut_point.node,
                aliases=tuple(names[1:]),
                index=index,
                shape=cut_point.vector if index == final else cut_point.shape,
                params_below=below,
                params_above=above,
                share_below=work[cut_point.index] / work[-1] if work[-1] else 0.0,
                block=index in blocks,
            )
        )
    return tuple(lines)


def cut_points_in_training(
    lines: Sequence[Line], traced_graph: TracedGraph, legal: Sequence[CutPoint]
) -> tuple[CutPoint | None, ...]:
    """Finds the lines of eval mode in a graph of training mode that is built differently.

    Args:
        lines: The lines, as eval mode has them.
        traced_graph: What the network does in training.
        legal: The places of all legal lines there.

    Returns:
        For each line its place; None where training does not pass it, or where only a node's
        name speaks for it, which may mean something else there.
    """
    by_path = {path: cut_point for cut_point in legal for path in _paths(traced_graph, cut_point)}
    found: list[CutPoint | None] = [legal[0]]
    for line in lines[1:]:
        names = (line.name, *line.aliases)
        cut_points = [by_path[name] for name in names if name in by_path]
        fits = [
            cut_point
            for cut_point in cut_points
            if line.shape in (cut_point.shape, cut_point.vector)
        ]
        found.append(fits[0] if fits else None)
    return tuple(found)


def legal_cut_points(net: nn.Module, steps: Mapping[str, GraphStep]) -> tuple[CutPoint, ...]:
    """Finds where exactly one tensor with a row for each image is alive, in order."""
    return tuple(_legal(net, steps))


def _legal(net: nn.Module, steps: Mapping[str, GraphStep]) -> list[CutPoint]:
    order = list(steps.values())
    blocked = _blocked(order)
    root: dict[str, str] = {}
    found: dict[str, CutPoint] = {}
    same: dict[str, list[str]] = {}
    for step, live in zip(order, alive(steps), strict=True):
        if len(live) != 1 or blocked[step.index]:
            continue
        (name,) = live
        shape = steps[name].shape
        if shape is None or name in found or name in root:
            continue
        handed_on = _handed_on(net, steps[name])
        if handed_on is not None and (source := root.get(handed_on, handed_on)) in found:
            root[name] = source
            same.setdefault(source, []).append(name)
            continue
        found[name] = CutPoint(name, step.index, shape)
    return [
        CutPoint(
            cut_point.node, cut_point.index, cut_point.shape, tuple(same.get(cut_point.node, ()))
        )
        for cut_point in found.values()
    ]


def _blocked(order: Sequence[GraphStep]) -> list[bool]:
    """Marks positions where something looked up from the shape is alive that has no formula."""
    blocked = [False] * len(order)
    for step in order:
        if step.follows == "shape" and not _has_formula(*step.values):
            for index in range(step.index, step.last_use):
                blocked[index] = True
    return blocked


def _has_formula(few: object, more: object) -> bool:
    if isinstance(few, tuple) and isinstance(more, tuple):
        same = len(few) == len(more)
        return same and all(_has_formula(a, b) for a, b in zip(few, more, strict=True))
    return isinstance(few, TensorSpec) or few == more or type(few) is type(more) is int


def _handed_on(net: nn.Module, step: GraphStep) -> str | None:
    """The name of the node whose tensor an identity hands on."""
    node = step.node
    if node.op != "call_module" or len(node.all_input_nodes) != 1:
        return None
    module = net.get_submodule(str(node.target))
    return node.all_input_nodes[0].name if type(module) is nn.Identity else None


def _top(
    net: nn.Module,
    traced_graph: TracedGraph,
    steps: Mapping[str, GraphStep],
    classifiers: Sequence[str],
) -> int:
    """The position of what the classifier is fed, before its dropout."""
    paths = classifiers or _classifiers(net)
    feeds = [traced_graph.inputs[path] for path in paths if path in traced_graph.inputs]
    if not feeds:
        return len(steps)
    # A network with two classifiers ends where neither is fed yet.
    step = min((steps[name] for name in feeds), key=lambda step: step.index)
    while _is_dropout(net, step):
        step = steps[step.node.all_input_nodes[0].name]
    return step.index


def _classifiers(net: nn.Module) -> list[str]:
    """Paths of the network's classifier, or of its last linear layer where it does not tell."""
    getter = getattr(net, "get_classifier", None)
    if getter is None:
        linear = [path for path, module in net.named_modules() if isinstance(module, nn.Linear)]
        return linear[-1:]
    told = getter()
    wanted = told if isinstance(told, tuple | list) else (told,)
    return [path for path, module in net.named_modules() if any(module is one for one in wanted)]


def _is_dropout(net: nn.Module, step: GraphStep) -> bool:
    node = step.node
    if node.op == "call_module":
        module = net.get_submodule(str(node.target))
        return isinstance(module, (*_DROPOUTS, nn.Identity)) and bool(node.all_input_nodes)
    return node.op == "call_function" and node.target is torch.nn.functional.dropout


def _paths(traced_graph: TracedGraph, cut_point: CutPoint) -> list[str]:
    """Module paths whose output is the tensor at `cut_point`, the outermost first."""
    nodes = {cut_point.node, *cut_point.same}
    # A module that is called several times gives no name: it stands for several places.
    found = [
        path
        for path, out in traced_graph.outputs.items()
        if path and len(out) == 1 and out[0] in nodes
    ]
    return sorted(found, key=lambda path: (path.count("."), len(path), path))


def _parameter_counts(
    net: nn.Module, steps: Mapping[str, GraphStep]
) -> Callable[[int], tuple[int, int]]:
    """Returns a function from a position to the parameters read below and above it."""
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    read: dict[str, frozenset[str]] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step in steps.values():
        # What is computed from parameters alone belongs to the step that joins it to the data.
        names = step.parameters.union(
            *(read.get(source.name, ()) for source in step.node.all_input_nodes)
        )
        if step.follows != "data":
            read[step.node.name] = names
            continue
        for name in names:
            first.setdefault(name, step.index)
            last[name] = step.index
    begins = sorted((at, sizes[name]) for name, at in first.items())
    ends = sorted((at, sizes[name]) for name, at in last.items())
    begun, ended = _running(begins), _running(ends)

    def counts(index: int) -> tuple[int, int]:
        below = begun[bisect_right(begins, index, key=lambda pair: pair[0])]
        return below, ended[-1] - ended[bisect_right(ends, index, key=lambda pair: pair[0])]

    return counts


def _running(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return [0, *accumulate(size for _, size in pairs)]


def _blocks(
    net: nn.Module,
    steps: Mapping[str, GraphStep],
    cut_points: Sequence[CutPoint],
    paths: Sequence[Sequence[str]],
) -> set[int]:
    """Positions in `cut_points` that are listed where not all are asked for."""
    blocks = {0, len(cut_points) - 1}
    plain = [any("." not in path for path in found) for found in paths]
    for at, cut_point in enumerate(cut_points[:-1]):
        before, after = cut_points[max(at - 1, 0)], cut_points[at + 1]
        # The last of a stem's convolution, norm and activation; they all have one shape.
        ends = plain[at] and not (plain[at + 1] and cut_point.shape == after.shape)
        if len(cut_point.vector) > 1 and (
            ends
            or _is_pooling(steps[cut_point.node], before.shape)
            or any(_is_block(net, path) for path in paths[at])
        ):
            blocks.add(at)
    return blocks


def _is_pooling(step: GraphStep, before: tuple[int, ...]) -> bool:
    shape = step.shape or ()
    shrinks = len(shape) == len(before) > 1 and prod(shape) < prod(before)
    return shrinks and not step.parameters and len(step.node.all_input_nodes) == 1


def _is_block(net: nn.Module, path: str) -> bool:
    """Whether a part with parts of its own belongs to the network, to a chain or to a stage."""
    module = net.get_submodule(path)
    parent = net.get_submodule(path.rpartition(".")[0])
    if is_leaf(module):
        return False
    return parent is net or isinstance(parent, nn.Sequential | nn.ModuleList) or _is_stage(parent)


def _is_stage(module: nn.Module) -> bool:
    """Whether `module` has no layers of its own, only parts that have inner parts again."""
    parts = [part for part in module.children() if type(part) is not nn.Identity]
    deep = [any(not is_leaf(inner) for inner in part.children()) for part in parts]
    return any(deep) and not any(is_leaf(part) for part in parts)
