"""Cutting a network at its lines, and proving each cut before it is used."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import fx, nn

from frostline.base.errors import LineError
from frostline.frost.cut_points import CutPoint
from frostline.frost.graph_part import GraphPart, parameters_of
from frostline.frost.line_list import cut_points_of, lines_at
from frostline.frost.lines import POOLED, Line, find
from frostline.frost.liveness import FEW, GraphStep, alive
from frostline.frost.modes import ModeGraph, trace_modes, training_mode
from frostline.frost.segment import counts_images
from frostline.frost.verify import verify_parts


@dataclass(frozen=True)
class TracedNetwork:
    """A network whose lines are known, ready to be cut again and again.

    Attributes:
        net: The network itself.
        input_shape: One image's shape: channels, height and width in pixels.
        lines: All legal lines, in order, `pixels` first and `pooled` last.
        evaluating: What the network does in eval mode.
        training: The same in training mode, or None where that cannot be followed.
        no_pooled: Why there is no line `pooled`; empty where there is one.
        proven: Pairs of lines between which the network was cut and compared with the whole.
    """

    net: nn.Module
    input_shape: tuple[int, int, int]
    lines: tuple[Line, ...]
    evaluating: ModeGraph
    training: ModeGraph | None
    no_pooled: str = ""
    proven: set[tuple[int, int]] = field(default_factory=set, repr=False, compare=False)

    @property
    def multiply_adds(self) -> int:
        """Of the forward pass of one image."""
        return sum(step.multiply_adds for step in self.evaluating.steps.values()) // FEW

    def find(self, name: str | int | Line) -> Line:
        """Returns the line of that name, as `frostline.frost.find` does.

        Raises:
            LineError: Where there is no such place, with the nearest names; or where the network
                cannot be cut there, with the tensors alive there and the nearest lines.
        """
        if not isinstance(name, str):
            return find(self.lines, name)
        known = {alias for line in self.lines for alias in (line.name, *line.aliases)}
        # The names of modules come before indices, also of those that are no lines.
        refusal = None if name in known else _refusal(self, name)
        if refusal is not None:
            raise LineError(f"line {name!r}: {refusal}")
        return find(self.lines, name)

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
            parts = (prefix, suffix, *rest)
            # Numbers worked out from the batch are asked at a size that tracing has not seen.
            counted = any(counts_images(part.graph) for part in parts[1:])
            images = (1, 5) if counted else (1, 2)
            verify_parts(self.net, at.name, self.input_shape, parts, images)
            self.proven.add(pair)
        return prefix, suffix

    def between(self, start: str | int | None, end: str | int | None) -> GraphPart:
        """Returns what lies between two lines, compared with the whole network on noise.

        Args:
            start: The line whose activations it takes; None for pixels.
            end: The line whose activations it gives; None for the network's own output.

        Raises:
            LineError: Where it cannot be cut there, or `end` does not lie above `start`.
        """
        first = self.lines[0] if start is None else self.find(start)
        last = None if end is None else self.find(end)
        if last is not None and last.index <= first.index:
            raise LineError(f"line {last.name!r}: does not lie above {first.name!r}.")
        made = self.part(first, last)
        below, above = self.part(None, first), [] if last is None else [self.part(last, None)]
        verify_parts(self.net, first.name, self.input_shape, (below, made, *above))
        return made

    def part(self, start: Line | None, end: Line | None) -> GraphPart:
        """Returns what lies between two lines; None is the input, or the network's own output."""
        start = start or self.lines[0]
        evaluating, training = self._graphs(start, end)
        assert evaluating is not None
        below = () if start.index == 0 else self._graphs(self.lines[0], start)
        constants = self.evaluating.traced_graph.constants
        if self.training is not None:
            constants = self.training.traced_graph.constants | constants
        end_name = self._printed(end) if end else "output"
        label = f"{type(self.net).__name__}, {self._printed(start)} to {end_name}"
        return GraphPart(
            self.net,
            (evaluating, training),
            constants,
            None if start.index == 0 else start.shape,
            label,
            [graph for graph in below if graph is not None],
        )

    def counted(self, line: Line) -> Line:
        """Returns a line with the parameters that its parts hold, in eval and in training."""
        sizes = {name: parameter.numel() for name, parameter in self.net.named_parameters()}
        below, above = (
            parameters_of(self.net, [graph for graph in graphs if graph is not None])
            for graphs in (self._graphs(self.lines[0], line), self._graphs(line, None))
        )
        return replace(
            line,
            params_below=sum(sizes[name] for name in below),
            params_above=sum(sizes[name] for name in above - below),
            shared=tuple(name for name in sizes if name in above & below),
        )

    def _graphs(self, start: Line, end: Line | None) -> tuple[fx.Graph | None, fx.Graph | None]:
        """The graphs between two lines, in eval and in training."""
        wide = [self.lines[-1]] if self.lines[-1].shape != self._last_shape() else []
        evaluating = self.evaluating.graph(start, end, wide)
        if self.training is None:
            return evaluating, None
        if self.training.is_plain(start, end):
            return evaluating, evaluating
        return evaluating, self.training.graph(start, end, wide)

    def _printed(self, line: Line) -> str:
        """A line's name in a part's text, which is in the keys of caches that were made before.

        There, a module that gives a tuple or a list named no line.
        """
        containers = self.evaluating.traced_graph.containers
        names = (line.name, *line.aliases)
        return next(name for name in names if name not in containers)

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
            none are given, the network is asked, or its last layer is looked for.

    Returns:
        The traced network.

    Raises:
        LineError: Where the network cannot be traced, or does not run on such images.
    """
    if isinstance(net, torch.jit.ScriptModule):
        raise LineError(
            f"{type(net).__name__}: is compiled by torch.jit.script, and cannot be cut. Give the "
            "Python module that it was made from, before torch.jit.script."
        )
    modes = trace_modes(net, input_shape)
    found = cut_points_of(net, modes.evaluating, modes.steps, classifiers)
    evaluating = ModeGraph(modes.evaluating, modes.steps, found.points)
    described = lines_at(net, modes.evaluating, modes.steps, found)
    names = [(line.name, *line.aliases) for line in described]
    training = training_mode(net, modes, found.points, names, input_shape, classifiers)
    traced = TracedNetwork(net, input_shape, described, evaluating, training, found.no_pooled)
    if training is None or modes.are_same:
        return traced
    return replace(traced, lines=tuple(traced.counted(line) for line in described))


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


def _refusal(traced: TracedNetwork, name: str) -> str | None:
    """Says why the place `name` of the network is no line, or None where there is none."""
    if name == POOLED and traced.no_pooled:
        return (
            f"this network has none, as {traced.no_pooled}. Name the line that the head sits on, "
            f"such as {traced.lines[-1].name!r}."
        )
    traced_graph, steps = traced.evaluating.traced_graph, traced.evaluating.steps
    calls = traced_graph.outputs.get(name, ((name,),) if name in steps else ())
    if len(calls) > 1:
        nodes = [node for call in calls for node in call]
        return f"is run {len(calls)} times; name one: {', '.join(nodes)}."
    if calls:
        return _refusal_of(traced, max((steps[node] for node in calls[0]), key=_index))
    if not name or name not in dict(traced.net.named_modules()):
        return None
    owner = name.rpartition(".")[0]
    while owner and owner not in traced_graph.outputs:
        owner = owner.rpartition(".")[0]
    if owner:
        return f"is not run by itself; it is a part of {owner!r}."
    return "is not run for an image."


def _refusal_of(traced: TracedNetwork, step: GraphStep) -> str:
    placed: Sequence[tuple[Line, CutPoint | None]] = list(
        zip(traced.lines, traced.evaluating.cut_points, strict=True)
    )
    before = [line for line, cut_point in placed if cut_point and cut_point.index <= step.index]
    after = traced.lines[len(before) :]
    if not after:
        return f"lies above {traced.lines[-1].name!r}, the last line."
    near = f"The nearest lines are {before[-1].name!r} before it and {after[0].name!r} after it."
    live = sorted(alive(traced.evaluating.steps)[step.index])
    if len(live) == 1:
        return f"what is there is not one tensor with a row for each image. {near}"
    shown = ", ".join(live[:4]) + (", …" if len(live) > 4 else "")
    return f"cannot be cut there, {len(live)} tensors are alive ({shown}). {near}"


def _index(step: GraphStep) -> int:
    return step.index
