"""The list of a network's lines: what each is called, what lies below it, and which are blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

from torch import nn

from frostline.frost.classifier_input import classifier_input
from frostline.frost.cut_points import (
    CutPoint,
    is_block,
    packed_at,
    packed_cut_points,
    single_cut_points,
)
from frostline.frost.lines import PIXELS, POOLED, Line
from frostline.frost.liveness import GraphStep, alive
from frostline.frost.traced_graph import TracedGraph


@dataclass(frozen=True)
class CutPoints:
    """Where all lines of a network lie in its graph of eval mode.

    Attributes:
        points: In order; the first is the input.
        no_pooled: Why the last one is not the input of a classifier; empty where it is.
    """

    points: tuple[CutPoint, ...]
    no_pooled: str = ""


@dataclass(frozen=True)
class ParameterUse:
    """Where in a graph each parameter is read: the first and the last position, by name.

    What is computed from parameters alone counts where it meets the data.
    """

    first: Mapping[str, int]
    last: Mapping[str, int]

    def below(self, index: int) -> set[str]:
        """Names of the parameters that are read up to a position."""
        return {name for name, at in self.first.items() if at <= index}

    def above(self, index: int) -> set[str]:
        """Names of the parameters that are read after a position."""
        return {name for name, at in self.last.items() if at > index}


def cut_points_of(
    net: nn.Module,
    traced_graph: TracedGraph,
    steps: Mapping[str, GraphStep],
    classifiers: Sequence[str] = (),
) -> CutPoints:
    """Finds where all lines lie, from the input to the input of the classifier.

    Args:
        net: The network.
        traced_graph: What it does in eval mode.
        steps: The same, step by step.
        classifiers: Paths of the classifier's last layers; found where none are given.
    """
    singles = single_cut_points(net, steps)
    top = classifier_input(net, traced_graph, steps, classifiers)
    until = top.index if top.feeds is None else max(top.index, top.feeds)
    packed = packed_cut_points(net, traced_graph, steps, singles, until)
    points = [p for p in (*singles, *packed) if p.index <= until or p is singles[0]]
    points.sort(key=lambda point: point.index)
    if top.feeds is not None:
        points += _several_feeds(net, steps, points[-1], top.feeds)
    if top.problem:
        # Without a classifier to stop at, the network's output would pass for features.
        use = parameter_use(steps)
        points = [p for p in points if p.index == points[0].index or use.above(p.index)]
    return CutPoints(tuple(points), top.problem)


def lines_at(
    net: nn.Module,
    traced_graph: TracedGraph,
    steps: Mapping[str, GraphStep],
    found: CutPoints,
) -> tuple[Line, ...]:
    """Describes the lines: names, shapes, parameters and work below and above.

    Args:
        net: The network.
        traced_graph: What it does in eval mode.
        steps: The same, step by step.
        found: Where the lines lie.
    """
    points, use = found.points, parameter_use(steps)
    paths = [_paths(traced_graph, steps, point) for point in points]
    work = list(accumulate(step.multiply_adds for step in steps.values()))
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    blocks = _blocks(net, steps, points, paths)
    final = -1 if found.no_pooled else len(points) - 1
    lines = []
    for index, point in enumerate(points):
        own = [PIXELS] * (index == 0) + [POOLED] * (index == final > 0)
        names = list(dict.fromkeys((*own, *paths[index], point.node, *point.same)))
        below, above = use.below(point.index), use.above(point.index)
        lines.append(
            Line(
                name=names[0],
                node=point.node,
                aliases=tuple(names[1:]),
                index=index,
                shape=point.vector if index == final else point.shape,
                params_below=sum(sizes[name] for name in below),
                params_above=sum(sizes[name] for name in above - below),
                share_below=work[point.index] / work[-1] if work[-1] else 0.0,
                block=index in blocks,
                packed=tuple(t.image_shape for t in point.tensors) if point.is_packed else (),
                shared=tuple(name for name in sizes if name in above & below),
            )
        )
    return tuple(lines)


def parameter_use(steps: Mapping[str, GraphStep]) -> ParameterUse:
    """Finds where in a graph each parameter is read."""
    read: dict[str, frozenset[str]] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step in steps.values():
        names = step.parameters.union(
            *(read.get(source.name, ()) for source in step.node.all_input_nodes)
        )
        if step.follows != "data":
            # A size that is looked up needs none of the tensor's values.
            read[step.node.name] = frozenset() if step.is_look_up else names
            continue
        for name in names:
            first.setdefault(name, step.index)
            last[name] = step.index
    return ParameterUse(first, last)


def by_path(
    traced_graph: TracedGraph, steps: Mapping[str, GraphStep], points: Sequence[CutPoint]
) -> dict[str, CutPoint]:
    """Returns the cut points by the module paths that name them."""
    return {path: point for point in points for path in _paths(traced_graph, steps, point)}


def _several_feeds(
    net: nn.Module, steps: Mapping[str, GraphStep], below: CutPoint, feeds: int
) -> list[CutPoint]:
    """The cut before a classifier of several parts, where layers lie between it and `below`."""
    order = list(steps.values())
    if not any(step.parameters for step in order[below.index + 1 : feeds + 1]):
        return []
    point = packed_at(order, alive(steps)[feeds], feeds)
    return [point] if point else []


def _paths(traced_graph: TracedGraph, steps: Mapping[str, GraphStep], point: CutPoint) -> list[str]:
    """Module paths whose output is the activation at `point`, the outermost first.

    A module that gives a tuple names the tensors in it. Of several live tensors, a path names all
    where it gives the newest.
    """
    nodes = {*point.nodes, *point.same}
    found: list[tuple[bool, str]] = []
    for path, calls in traced_graph.outputs.items():
        # A module that is called several times gives no name: it stands for several places.
        if not path or len(calls) > 1:
            continue
        given = {name for name in calls[0] if steps[name].follows == "data"}
        newest = point.nodes[-1] if point.is_packed else None
        if given and given <= nodes and newest in (None, *given):
            found.append((given <= set(point.same), path))
    # What makes the activation names it rather than an identity that hands it on.
    ordered = sorted(found, key=lambda one: (one[1].count("."), one[0], len(one[1]), one[1]))
    return [path for _, path in ordered]


def _blocks(
    net: nn.Module,
    steps: Mapping[str, GraphStep],
    points: Sequence[CutPoint],
    paths: Sequence[Sequence[str]],
) -> set[int]:
    """Positions in `points` that are listed where not all are asked for."""
    blocks = {0, len(points) - 1}
    plain = [any("." not in path for path in found) for found in paths]
    for at, point in enumerate(points[:-1]):
        before, after = points[max(at - 1, 0)], points[at + 1]
        # The last of a stem's convolution, norm and activation; they all have one shape.
        ends = plain[at] and not (plain[at + 1] and point.shape == after.shape)
        is_listed = point.is_packed or (
            len(point.vector) > 1
            and (
                ends
                or _is_pooling(steps[point.node], before.shape)
                or any(is_block(net, path) for path in paths[at])
            )
        )
        if is_listed:
            blocks.add(at)
    return blocks


def _is_pooling(step: GraphStep, before: tuple[int, ...]) -> bool:
    shape = step.shape or ()
    shrinks = len(shape) == len(before) > 1 and prod(shape) < prod(before)
    return shrinks and not step.parameters and len(step.node.all_input_nodes) == 1
