"""A network's graphs of eval and training mode, and which places in them are the same.

Where both modes run the same steps, but for numbers such as a dropout's rate, one list of steps
serves both. Otherwise each line of eval mode is looked for in the graph of training mode.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, nn

from frostline.base.errors import LineError
from frostline.frost.classifier_input import ClassifierInput, classifier_input
from frostline.frost.cut_points import CutPoint, single_cut_points
from frostline.frost.line_list import by_path
from frostline.frost.lines import Line
from frostline.frost.liveness import GraphStep, steps_of
from frostline.frost.segment import segment
from frostline.frost.trace import trace_graph, without_unread_look_ups
from frostline.frost.traced_graph import TracedGraph, have_equal_values


@dataclass(frozen=True)
class ModeGraph:
    """What a network does in one mode, and where its lines lie in that.

    Attributes:
        traced_graph: The graph.
        steps: The same, step by step.
        cut_points: For each line where it lies, or None where this mode does not pass it.
        differs: Indices of the steps that are called with other numbers than in eval mode, or
            None where the steps themselves are others.
    """

    traced_graph: TracedGraph
    steps: dict[str, GraphStep]
    cut_points: tuple[CutPoint | None, ...]
    differs: frozenset[int] | None = frozenset()

    def is_plain(self, start: Line, end: Line | None) -> bool:
        """Tells whether between two lines this mode does what eval mode does."""
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
        """Builds the graph between two lines, or returns None where this mode does not pass both.

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
        try:
            return segment(self.steps, below, above, reshaped)
        except LineError:
            # Training may read more across a line, such as for an auxiliary classifier.
            return None


@dataclass(frozen=True)
class BothModes:
    """A network's graphs, before its lines are known.

    Attributes:
        evaluating: What it does in eval mode.
        steps: The same, step by step.
        training: What it does in training mode, or None where that cannot be followed.
        are_same: Whether both modes have the same steps, but for numbers.
    """

    evaluating: TracedGraph
    steps: dict[str, GraphStep]
    training: TracedGraph | None
    are_same: bool


def trace_modes(net: nn.Module, input_shape: tuple[int, int, int]) -> BothModes:
    """Traces a network in both modes.

    Args:
        net: The network.
        input_shape: One image's shape: channels, height and width in pixels.

    Raises:
        LineError: Where it cannot be traced in eval mode, or does not run on such images.
    """
    evaluating, training = _graphs(net, input_shape, follow_values=False)
    try:
        return _run(net, evaluating, training, input_shape)
    except LineError:
        # `isinstance(x, torch.Tensor)` may have been answered wrongly, as x was none.
        try:
            evaluating, training = _graphs(net, input_shape, follow_values=True)
            return _run(net, evaluating, training, input_shape)
        except LineError:
            pass
        raise


def _graphs(
    net: nn.Module, input_shape: tuple[int, int, int], follow_values: bool
) -> tuple[TracedGraph, TracedGraph | None]:
    """The graphs of eval and training mode, made equal where they differ by unread look-ups."""
    evaluating = trace_graph(net, False, input_shape, follow_values)
    try:
        training = trace_graph(net, True, input_shape, follow_values)
    except LineError:
        return evaluating, None
    if not _same(evaluating, training):
        # They may differ by look-ups of a device that nothing reads.
        bare, other = map(without_unread_look_ups, (evaluating, training))
        if _same(bare, other):
            return bare, other
    return evaluating, training


def _run(
    net: nn.Module,
    evaluating: TracedGraph,
    training: TracedGraph | None,
    input_shape: tuple[int, int, int],
) -> BothModes:
    if training is not None and _same(evaluating, training):
        try:
            steps = steps_of(net, ((evaluating, False), (training, True)), input_shape)
        except LineError:
            # Training may ask more of an image's size; eval is asked once more by itself.
            pass
        else:
            return BothModes(evaluating, steps, training, True)
    steps = steps_of(net, ((evaluating, False),), input_shape)
    return BothModes(evaluating, steps, training, False)


def training_mode(
    net: nn.Module,
    modes: BothModes,
    cut_points: tuple[CutPoint, ...],
    lines: Sequence[tuple[str, ...]],
    input_shape: tuple[int, int, int],
    classifiers: Sequence[str] = (),
) -> ModeGraph | None:
    """Finds a network's lines in its graph of training mode.

    Args:
        net: The network.
        modes: Its graphs.
        cut_points: Where the lines lie in eval mode.
        lines: The names of each line.
        input_shape: One image's shape: channels, height and width in pixels.
        classifiers: Paths of the classifier's last layers, where they are known.

    Returns:
        The mode, or None where it cannot be followed.
    """
    training = modes.training
    if training is None:
        return None
    if modes.are_same:
        steps, differs = _with_nodes_of(modes.steps, training), _differences(modes.steps, training)
        return ModeGraph(training, steps, cut_points, differs)
    common = modes.evaluating.constants.keys() & training.constants.keys()
    if any(
        not have_equal_values(modes.evaluating.constants[name], training.constants[name])
        for name in common
    ):
        return None
    try:
        steps = steps_of(net, ((training, True),), input_shape)
    except LineError:
        return None
    top = classifier_input(net, training, steps, classifiers)
    found = _cut_points_in_training(net, modes, training, steps, cut_points, lines, top)
    return ModeGraph(training, steps, found, None)


def _cut_points_in_training(
    net: nn.Module,
    modes: BothModes,
    training: TracedGraph,
    steps: dict[str, GraphStep],
    cut_points: Sequence[CutPoint],
    lines: Sequence[tuple[str, ...]],
    top: ClassifierInput,
) -> tuple[CutPoint | None, ...]:
    """Finds each line by the same computation, else by a module's path, else as the features."""
    same = _same_nodes(modes.evaluating.graph, training.graph)
    singles = single_cut_points(net, steps)
    named = by_path(training, steps, singles)
    found: list[CutPoint | None] = [singles[0]]
    for point, names in zip(cut_points[1:], lines[1:], strict=True):
        moved = _moved(point, modes.steps, steps, same)
        fits = [named[name] for name in names if name in named]
        fits = [other for other in fits if point.shape in (other.shape, other.vector)]
        found.append(moved or (fits[0] if fits else None))
    if found[-1] is None and not top.problem and top.index < len(steps):
        last, step = cut_points[-1], list(steps.values())[top.index]
        if not last.is_packed and step.rows == (1, last.shape):
            tensor = replace(last.tensors[0], node=step.node.name)
            found[-1] = CutPoint((tensor,), top.index)
    return tuple(found)


def _moved(
    point: CutPoint,
    evaluating: Mapping[str, GraphStep],
    training: Mapping[str, GraphStep],
    same: Mapping[str, str],
) -> CutPoint | None:
    """Where the same computation ends in training mode; what is read across it shows later."""
    if any(name not in same for name in point.nodes):
        return None
    if any(training[same[t.node]].rows != (t.rows, t.shape) for t in point.tensors):
        return None
    below = [step.node.name for step in evaluating.values() if step.index <= point.index]
    index = max(training[same[name]].index for name in below if name in same)
    tensors = tuple(replace(t, node=same[t.node]) for t in point.tensors)
    return CutPoint(tensors, index, tuple(same[name] for name in point.same if name in same))


def _same_nodes(evaluating: fx.Graph, training: fx.Graph) -> dict[str, str]:
    """Nodes of eval mode to those of training mode that compute the same from the same.

    Numbers may differ, such as a dropout's rate, and flags.
    """
    waiting: dict[tuple[Any, ...], list[fx.Node]] = {}
    names: dict[fx.Node, str] = {}
    for node in training.nodes:
        names[node] = node.name
        waiting.setdefault(_computation(node, names), []).append(node)
    found: dict[str, str] = {}
    moved: dict[fx.Node, str] = {}
    for node in evaluating.nodes:
        others = waiting.get(_computation(node, moved), ())
        if others:
            other = others.pop(0) if len(others) > 1 else others[0]
            moved[node] = found[node.name] = other.name
    return found


def _computation(node: fx.Node, names: Mapping[fx.Node, str]) -> tuple[Any, ...]:
    sources = tuple(names.get(source, "") for source in node.all_input_nodes)
    return (node.op, str(node.target), sources, tuple(_plain(node)))


def _plain(node: fx.Node) -> Iterator[str]:
    """The arguments that are no nodes; flags and rates are left out, as modes differ in them."""
    for key, value in (*enumerate(node.args), *node.kwargs.items()):
        if not isinstance(value, fx.Node | bool | float) and key != "training":
            yield f"{key}={type(value).__name__}" if isinstance(value, tuple | list) else str(value)


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
        have_equal_values(traced_graph.constants[name], other.constants[name])
        for name in traced_graph.constants
    )


def _with_nodes_of(steps: dict[str, GraphStep], traced_graph: TracedGraph) -> dict[str, GraphStep]:
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
