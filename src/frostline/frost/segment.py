"""The graph of what a network does between two cut points."""

import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import fx

from frostline.base.errors import LineError
from frostline.frost.cut_points import CutPoint
from frostline.frost.liveness import FEW, MORE, GraphStep, TensorSpec


def segment(
    steps: dict[str, GraphStep],
    start: CutPoint,
    end: CutPoint | None,
    reshaped: Collection[str] = (),
) -> fx.Graph:
    """Builds the graph of what lies between two cut points.

    What the graph needs of the images' shape is worked out from its input; what the network
    computes from its parameters alone is computed anew.

    Args:
        steps: The whole graph.
        start: Where the input comes in.
        end: Where the output is taken; None for the network's own output.
        reshaped: Nodes whose value passes in and out as one vector an image.

    Returns:
        A graph with one input.

    Raises:
        LineError: Where something else that follows the pixels is still read above `start`.
    """
    return _Segment(steps, start, end, reshaped).build()


def counts_images(graph: fx.Graph) -> bool:
    """Tells whether a graph that `segment` built computes with the number of images."""
    first = next(iter(graph.nodes))
    return any(
        node.op == "call_method" and node.target == "size" and node.args == (first, 0)
        for node in graph.nodes
    )


class _Segment:
    def __init__(
        self,
        steps: dict[str, GraphStep],
        start: CutPoint,
        end: CutPoint | None,
        reshaped: Collection[str],
    ) -> None:
        self.steps, self.start, self.end, self.reshaped = steps, start, end, reshaped
        last = next(reversed(steps.values()))
        self.ends = (last.node.name,) if end is None else end.nodes
        self.until = last.index if end is None else end.index
        self.graph = fx.Graph()
        self.raw = self.graph.placeholder("activation")
        self.made: dict[str, Any] = {}
        self.batch: fx.Node | None = None

    def build(self) -> fx.Graph:
        self._input()
        for step in self._needed():
            self._emit(step)
        self.graph.output(self._output())
        return self.graph

    def _input(self) -> None:
        if self.start.is_packed:
            self._unpack()
            return
        value = self.raw
        if self._is_written(self.start.node):
            value = self.graph.call_method("clone", (value,))
        if self.start.node in self.reshaped:
            value = self.graph.call_method("reshape", (value, (-1, *self.start.shape)))
        self.made[self.start.node] = value

    def _unpack(self) -> None:
        """Takes the tensors out of the vectors, laid out in memory as the network has them.

        Another layout would be another kernel, which rounds in another way.
        """
        begin = 0
        for tensor in self.start.tensors:
            piece = self.graph.call_method("narrow", (self.raw, 1, begin, tensor.size))
            shaped = self.graph.call_method("reshape", (piece, (-1, *tensor.shape)))
            is_plain = list(tensor.order) == sorted(tensor.order)
            if not is_plain:
                shaped = self.graph.call_method("permute", (shaped, tensor.order))
            made = self.graph.call_method("contiguous", (shaped,))
            if not is_plain:
                back = tuple(tensor.order.index(dim) for dim in range(len(tensor.order)))
                made = self.graph.call_method("permute", (made, back))
            if self._is_written(tensor.node):
                made = self.graph.call_method("clone", (made,))
            self.made[tensor.node] = made
            begin += tensor.size

    def _output(self) -> Any:
        if self.end is None:
            (end,) = self.ends
            return fx.node.map_arg(self.steps[end].node.args[0], self._value)
        values = [self._value(self.steps[name].node) for name in self.ends]
        if self.start.nodes == self.end.nodes and self.end.is_packed:
            return self.raw
        if not self.end.is_packed:
            (value,) = values
            is_flat = self.end.node in self.reshaped
            return self.graph.call_method("flatten", (value, 1)) if is_flat else value
        flat = [
            self.graph.call_method("reshape", (value, (-1, tensor.size)))
            for value, tensor in zip(values, self.end.tensors, strict=True)
        ]
        return self.graph.call_function(torch.cat, (flat, 1))

    def _is_written(self, name: str) -> bool:
        """Whether this segment writes into the memory of one of its inputs."""
        return any(self.start.index < at <= self.until for at in self.steps[name].written)

    def _needed(self) -> list[GraphStep]:
        """The steps in between that the output needs, and those that write into others' memory."""
        between = [s for s in self.steps.values() if self.start.index < s.index <= self.until]
        wanted = set(self.ends)
        for step in reversed(between):
            bystander = not step.node.users and step.node.op.startswith("call_")
            if step.writes or bystander or step.node.name in wanted:
                wanted |= {step.node.name, *(n.name for n in step.node.all_input_nodes)}
        return [s for s in between if s.node.name in wanted and s.node.op != "output"]

    def _value(self, node: fx.Node) -> Any:
        """The value of `node` in this segment; what was left below is made anew."""
        if node.name not in self.made:
            step = self.steps[node.name]
            if step.follows == "data":
                raise LineError(f"{self.start.node}: {node.name} is still alive there.")
            if step.follows == "shape" and not isinstance(step.values[0], TensorSpec):
                self.made[node.name] = self._known(step)
            else:
                self._emit(step)
        return self.made[node.name]

    def _emit(self, step: GraphStep) -> None:
        node = step.node
        self.made[node.name] = self.graph.create_node(
            node.op,
            "reshape" if _is_plain_view(step) else node.target,
            fx.node.map_arg(node.args, self._value),
            fx.node.map_arg(node.kwargs, self._value),
            name=node.name,
        )

    def _known(self, step: GraphStep) -> Any:
        """What was looked up or worked out from the images' shape below."""
        node, (few, more) = step.node, step.values
        if step.is_look_up or not (self._varies(step) or isinstance(few, str)):
            return self._looked_up(few, more, step)
        if node.target is operator.getitem:
            whole = self._value(node.all_input_nodes[0])
            if isinstance(whole, tuple) and isinstance(node.args[1], int | slice):
                return whole[node.args[1]]
        # Worked out from the number of images: by the same steps, not by a guess.
        self._emit(step)
        return self.made[node.name]

    def _varies(self, step: GraphStep) -> bool:
        """Whether a value follows the number of images, also where 2 and 3 give the same."""
        few, more = step.values
        sources = [self.steps[source.name] for source in step.node.all_input_nodes]
        if step.node.target is operator.getitem or step.is_look_up:
            return bool(few != more)
        return bool(few != more) or any(s.follows == "shape" and self._varies(s) for s in sources)

    def _looked_up(self, few: Any, more: Any, step: GraphStep) -> Any:
        """A constant, or a number that grows with the number of images."""
        if isinstance(few, torch.device):
            return self.graph.call_function(getattr, (self.raw, "device"))
        if isinstance(few, torch.dtype) and few == self._dtype():
            return self.graph.call_function(getattr, (self.raw, "dtype"))
        if isinstance(few, tuple) and isinstance(more, tuple) and len(few) == len(more):
            pairs = zip(few, more, strict=True)
            return tuple(self._looked_up(one, other, step) for one, other in pairs)
        if few == more:
            return few
        if type(few) is not int or type(more) is not int:
            raise LineError(f"{self.start.node}: {step.node.name} depends on the number of images.")
        return self._linear((more - few) // (MORE - FEW), few)

    def _linear(self, slope: int, at_few: int) -> fx.Node:
        if self.batch is None:
            self.batch = self.graph.call_method("size", (self.raw, 0))
        grown = self.graph.call_function(operator.mul, (self.batch, slope))
        return self.graph.call_function(operator.add, (grown, at_few - slope * FEW))

    def _dtype(self) -> torch.dtype | None:
        spec = self.steps[self.start.nodes[0]].values[0]
        return spec.dtype if isinstance(spec, TensorSpec) else None


def _is_plain_view(step: GraphStep) -> bool:
    """Whether a step is `x.view(sizes)`, whose memory nothing is written into.

    It asks for memory in one order; an activation may come in another, channels last, for which
    `reshape` gives the same values.
    """
    node = step.node
    to_type = any(isinstance(arg, torch.dtype) for arg in (*node.args, *node.kwargs.values()))
    return node.op == "call_method" and node.target == "view" and not (to_type or step.written)
