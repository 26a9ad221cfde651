"""Cutting a network at its lines, and proving each cut before it is used."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn

from frostline.base.errors import LineError
from frostline.frost.cut_points import (
    CutPoint,
    cut_points_in_training,
    cut_points_of,
    legal_cut_points,
    lines_at,
)
from frostline.frost.graph_part import GraphPart, segment
from frostline.frost.lines import POOLED, Line, find
from frostline.frost.liveness import GraphStep, alive, steps_of
from frostline.frost.trace import TracedGraph, trace_graph
from frostline.frost.verify import verify_parts


@dataclass(frozen=True)
class ModeGraph:
    """What a network does in one mode, and where its lines lie in that.

    Attributes:
        traced_graph: The graph.
        steps: The same, step by step.
        cut_points: For each line its place, or None where this course does not pass it.
        differs: Indices of the steps at which this course differs from that in eval mode, or None
            where it is built differently.
    """

    traced_graph: TracedGraph
    steps: dict[str, GraphStep]
    cut_points: tuple[CutPoint | None, ...]
    differs: frozenset[int] | None = frozenset()

    def is_plain(self, start: Line, end: Line | None) -> bool:
        """Tells whether between two lines this course is that of eval mode."""
        below = self.cut_points[start.index]
        above = None if end is None else self.cut_points[end.index]
        if self.differs is None or below is None:
            return False
        until = len(self.steps) if above is None else above.index
        # What does not follow the data may be made anew, wherever it lies.
        order = list(self.steps.values())
        return not any(
            below.index < index <= until or order[index].follows != "data" for index in self.differs
        )

    def graph(self, start: Line, end: Line | None, wide: Sequence[Line]) -> fx.Graph | None:
        """Builds the graph between two lines, where this course passes both.

        Args:
            start: The lower line.
            end: The upper line, or None for the network's own output.
            wide: Lines whose vector is a map of a single point inside the network.
        """
        below = self.cut_points[start.index]
        above = None if end is None else self.cut_points[end.index]
        if below is None or (end is not None and above is None):
            return None
        reshaped = {cut_point.node for line in wide if (cut_point := self.cut_points[line.index])}
        return segment(self.steps, below, above, reshaped)


@dataclass(frozen=True)
class TracedNetwork:
    """A network whose lines are known, ready to be cut again and again.

    Attributes:
        net: The network itself.
        input_shape: One image's shape: channels, height and width in pixels.
        lines: All legal lines, in order, `pixels` first and `pooled` last.
        evaluating: What the network does in eval mode.
        training: The same in training mode, or None where that cannot be followed.
        proven: Pairs of lines between which the network was cut and both ways compared.
    """

    net: nn.Module
    input_shape: tuple[int, int, int]
    lines: tuple[Line, ...]
    evaluating: ModeGraph
    training: ModeGraph | None
    proven: set[tuple[int, int]] = field(default_factory=set, repr=False, compare=False)

    def find(self, name: str | int | Line) -> Line:
        """Returns the line of that name, as `frostline.frost.find` does.

        Raises:
            LineError: Where there is no such place, with the nearest names; or where the network
                cannot be cut there, with the tensors alive there and the nearest lines.
        """
        try:
            return find(self.lines, name)
        except LineError:
            refusal = _refusal(self, name) if isinstance(name, str) else None
            if refusal is None:
                raise
        raise LineError(f"line {name!r}: {refusal}")

    def cut(
        self, line: str | int | Line, top: str | int | Line | None = None, verify: bool = True
    ) -> tuple[GraphPart, GraphPart]:
        """Cuts the network in two; see `frostline.frost.cut`. What is proven stays proven."""
        at = self.find(line)
        until = None if top is None else self.find(top)
        if until is not None and until.index < at.index:
            raise LineError(
                f"line {at.name!r}: lies above {until.name!r}, where its suffix is to end."
            )
        prefix, suffix = self.part(None, at), self.part(at, until)
        pair = (at.index, len(self.lines) if until is None else until.index)
        if verify and pair not in self.proven:
            rest = () if until is None else (self.part(until, None),)
            verify_parts(self.net, at.name, self.input_shape, (prefix, suffix, *rest))
            self.proven.add(pair)
        return prefix, suffix

    def part(self, start: Line | None, end: Line | None) -> GraphPart:
        """Returns what lies between two lines; None is the input, or the network's own output."""
        start = start or self.lines[0]
        wide = [self.lines[-1]] if self.lines[-1].shape != self._last_shape() else []
        evaluating = self.evaluating.graph(start, end, wide)
        assert evaluating is not None
        training = None
        if self.training is not None and self.training.is_plain(start, end):
            training = evaluating
        elif self.training is not None:
            training = self.training.graph(start, end, wide)
        constants = self.evaluating.traced_graph.constants
        if self.training is not None:
            constants = self.training.traced_graph.constants | constants
        end_name = end.name if end else "output"
        label = f"{type(self.net).__name__}, {start.name} to {end_name}"
        takes = None if start.index == 0 else start.shape
        return GraphPart(self.net, (evaluating, training), constants, takes, label)

    def _last_shape(self) -> tuple[int, ...]:
        cut_point = self.evaluating.cut_points[-1]
        assert cut_point is not None
        return cut_point.shape


def trace(
    net: nn.Module, input_shape: tuple[int, int, int], classifiers: Sequence[str] = ()
) -> TracedNetwork:
    """Traces a network and finds its lines.

    Neither the network's tensors nor its training flags change.

    Args:
        net: A network that takes one batch of images, `[n, c, h, w]`.
        input_shape: One image's shape: channels, height and width in pixels.
        classifiers: Paths of the last layers of its classifier, whose input is `pooled`; where
            none are given, the network is asked, or its last linear layer is taken.

    Returns:
        The traced network.

    Raises:
        LineError: Where the network cannot be traced, or does not run on such images.
    """
    traced_graph = trace_graph(net, training=False)
    other = _training_way(net)
    steps, same = _steps(net, traced_graph, other, input_shape)
    cut_points = cut_points_of(net, traced_graph, steps, classifiers)
    found = lines_at(net, traced_graph, steps, cut_points)
    training = None
    if other is not None:
        training = (
            ModeGraph(other, _renoded(steps, other), cut_points, _differences(steps, other))
            if same
            else _other_course(net, traced_graph, other, input_shape, found)
        )
    return TracedNetwork(
        net, input_shape, found, ModeGraph(traced_graph, steps, cut_points), training
    )


def lines(net: nn.Module, input_shape: tuple[int, int, int]) -> tuple[Line, ...]:
    """Returns all legal lines of a network, in order.

    Args:
        net: A network that takes one batch of images, `[n, c, h, w]`.
        input_shape: One image's shape: channels, height and width in pixels.

    Raises:
        LineError: Where the network cannot be traced, or does not run on such images.
    """
    return trace(net, input_shape).lines


def cut(
    net: nn.Module,
    line: str | int | Line,
    input_shape: tuple[int, int, int],
    top: str | int | Line | None = None,
    verify: bool = True,
) -> tuple[GraphPart, GraphPart]:
    """Cuts a network in two: `suffix(prefix(images)) == net(images)`.

    Both parts hold the very modules and parameters of `net`, under the names they have there, and
    follow `train()` and `eval()`. Neither writes into its input.

    Args:
        net: A network that takes one batch of images, `[n, c, h, w]`.
        line: Where to cut, as `find` takes it.
        input_shape: One image's shape: channels, height and width in pixels.
        top: Where the suffix ends, such as `pooled`; None for the network's own output. It may be
            the line itself: then the suffix hands its input on.
        verify: Whether to run both ways on noise, two batches, and compare.

    Returns:
        Prefix and suffix.

    Raises:
        LineError: Where the network cannot be traced or cut there, or both ways differ.
    """
    return trace(net, input_shape).cut(line, top, verify)


def _training_way(net: nn.Module) -> TracedGraph | None:
    try:
        return trace_graph(net, training=True)
    except LineError:
        return None


def _steps(
    net: nn.Module,
    traced_graph: TracedGraph,
    other: TracedGraph | None,
    input_shape: tuple[int, int, int],
) -> tuple[dict[str, GraphStep], bool]:
    """The steps in eval mode, and whether those of training are the same, but for numbers."""
    if other is not None and _same(traced_graph, other):
        try:
            return steps_of(net, ((traced_graph, False), (other, True)), input_shape), True
        except LineError:
            # Training may ask more of an image's size; eval is asked once more by itself.
            pass
    return steps_of(net, ((traced_graph, False),), input_shape), False


def _same(traced_graph: TracedGraph, other: TracedGraph) -> bool:
    def skeleton(one: TracedGraph) -> list[tuple[Any, ...]]:
        return [
            (n.op, n.target, n.name, [source.name for source in n.all_input_nodes])
            for n in one.graph.nodes
        ]

    if (
        skeleton(traced_graph) != skeleton(other)
        or traced_graph.constants.keys() != other.constants.keys()
    ):
        return False
    return all(
        torch.equal(traced_graph.constants[name], other.constants[name])
        for name in traced_graph.constants
    )


def _renoded(steps: dict[str, GraphStep], traced_graph: TracedGraph) -> dict[str, GraphStep]:
    """The same steps, with the nodes of `traced_graph`."""
    nodes = {node.name: node for node in traced_graph.graph.nodes}
    return {name: replace(step, node=nodes[name]) for name, step in steps.items()}


def _differences(steps: dict[str, GraphStep], other: TracedGraph) -> frozenset[int]:
    """Indices of the steps that are called with other numbers in `other`, such as dropout."""
    pairs = zip(steps.values(), other.graph.nodes, strict=True)
    return frozenset(
        step.index
        for step, node in pairs
        if repr((step.node.args, step.node.kwargs)) != repr((node.args, node.kwargs))
    )


def _other_course(
    net: nn.Module,
    traced_graph: TracedGraph,
    other: TracedGraph,
    input_shape: tuple[int, int, int],
    found: Sequence[Line],
) -> ModeGraph | None:
    """What a network does in training where that is built differently, if it can be followed."""
    if traced_graph.constants.keys() & other.constants.keys():
        return None
    try:
        steps = steps_of(net, ((other, True),), input_shape)
    except LineError:
        return None
    cut_points = cut_points_in_training(found, other, legal_cut_points(net, steps))
    return ModeGraph(other, steps, cut_points, None)


def _refusal(traced: TracedNetwork, name: str) -> str | None:
    """Says why the place `name` of the network is no line, or None where there is none."""
    traced_graph, steps = traced.evaluating.traced_graph, traced.evaluating.steps
    nodes = traced_graph.outputs.get(name, (name,) if name in steps else ())
    if len(nodes) > 1:
        return f"is run {len(nodes)} times; name one: {', '.join(nodes)}."
    if nodes:
        return _refusal_of(traced, steps[nodes[0]])
    if name not in dict(traced.net.named_modules()):
        return None
    owner = name.rpartition(".")[0]
    while owner and owner not in traced_graph.outputs:
        owner = owner.rpartition(".")[0]
    if owner:
        return f"is not run by itself; it is a part of {owner!r}."
    return "is not run for an image."


def _refusal_of(traced: TracedNetwork, step: GraphStep) -> str:
    placed = zip(traced.lines, traced.evaluating.cut_points, strict=True)
    before = [line for line, cut_point in placed if cut_point and cut_point.index <= step.index]
    after = traced.lines[len(before) :]
    if not after:
        return f"lies above {POOLED!r}, the last line."
    near = f"The nearest lines are {before[-1].name!r} before it and {after[0].name!r} after it."
    live = sorted(alive(traced.evaluating.steps)[step.index])
    if len(live) == 1:
        return f"what is there is not one tensor with a row for each image. {near}"
    shown = ", ".join(live[:4]) + (", …" if len(live) > 4 else "")
    return f"cannot be cut there, {len(live)} tensors are alive ({shown}). {near}"
