"""A part of a network between two lines, as a module of its own."""

import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import fx, nn

from frostline.base.errors import LineError
from frostline.frost.cut_points import CutPoint
from frostline.frost.liveness import FEW, MORE, GraphStep, TensorSpec

Forward = Callable[[nn.Module, torch.Tensor], Any]


class GraphPart(nn.Module):
    """What a network does between two lines.

    It holds the network's own modules and parameters under their own names, no copies, and
    nothing that it does not read. It never writes into its input.

    Attributes:
        takes: The shape of one image's activation that it takes, or None for any.
        graph: What it does in eval mode.
    """

    def __init__(
        self,
        net: nn.Module,
        graphs: tuple[fx.Graph, fx.Graph | None],
        constants: dict[str, torch.Tensor],
        takes: tuple[int, ...] | None,
        label: str,
    ) -> None:
        """Puts the parts of `net` that the graphs name into a module.

        Args:
            net: The network.
            graphs: What to do in eval and in training; None where training cannot be followed.
            constants: Tensors that the graphs read and `net` does not have.
            takes: The shape of one image's activation, or None for any.
            label: What this is, for messages.
        """
        super().__init__()
        self.training = net.training
        self.takes = takes
        self._label = label
        evaluating, training = graphs
        self.graph = evaluating
        _take_over(self, net, [graph for graph in graphs if graph is not None], constants)
        self._evaluate = _function(self, evaluating)
        if training is evaluating:
            self._train: Forward | None = self._evaluate
        else:
            self._train = None if training is None else _function(self, training)

    def forward(self, x: torch.Tensor) -> Any:
        """Returns the activation at the upper line, or the network's output.

        Args:
            x: A batch of activations at the lower line, `[n, *takes]`.

        Raises:
            LineError: Where one image's activation has another shape; or in training mode, where
                the network takes a way there that does not pass through the lines of eval mode.
        """
        self._check(x)
        if not self.training:
            return self._evaluate(self, x)
        if self._train is None:
            raise LineError(
                f"{self._label}: in training this network goes another way, which does not pass "
                "through this line. Call eval() on this part, or choose another line."
            )
        return self._train(self, x)

    def extra_repr(self) -> str:
        """Returns what this is, for printing."""
        return self._label

    def _check(self, x: torch.Tensor) -> None:
        # While other tools trace this module, shapes are no plain numbers.
        if self.takes is None or not isinstance(x, torch.Tensor) or torch._C._is_tracing():
            return
        if tuple(x.shape[1:]) != self.takes:
            raise LineError(
                f"{self._label}: takes activations of shape {self.takes} an image, "
                f"got {tuple(x.shape[1:])}. Cut the network for the image size that is used."
            )


def segment(
    steps: dict[str, GraphStep],
    start: CutPoint,
    end: CutPoint | None,
    reshaped: Collection[str] = (),
) -> fx.Graph:
    """Builds the graph of what lies between two places.

    Args:
        steps: The whole graph.
        start: Where the input comes in.
        end: Where the output is taken; None for the network's own output.
        reshaped: Nodes whose value passes in and out as one vector an image.

    Returns:
        A graph with one input.
    """
    return _Segment(steps, start, end, reshaped).build()


class _Segment:
    def __init__(
        self,
        steps: dict[str, GraphStep],
        start: CutPoint,
        end: CutPoint | None,
        reshaped: Collection[str],
    ) -> None:
        self.steps, self.start, self.reshaped = steps, start, reshaped
        last = next(reversed(steps.values()))
        self.end = last.node.name if end is None else end.node
        self.until = last.index if end is None else end.index
        self.graph = fx.Graph()
        self.raw = self.graph.placeholder("activation")
        self.made: dict[str, Any] = {}
        self.batch: fx.Node | None = None

    def build(self) -> fx.Graph:
        self.made[self.start.node] = self._input()
        for step in self._needed():
            self._emit(step)
        node = self.steps[self.end].node
        if node.op == "output":
            self.graph.output(fx.node.map_arg(node.args[0], self._value))
            return self.graph
        output = self._value(node)
        if self.end in self.reshaped:
            output = self.graph.call_method("flatten", (output, 1))
        self.graph.output(output)
        return self.graph

    def _input(self) -> fx.Node:
        value = self.raw
        written = self.steps[self.start.node].written
        if any(self.start.index < writer <= self.until for writer in written):
            value = self.graph.call_method("clone", (value,))
        if self.start.node in self.reshaped:
            value = self.graph.call_method("reshape", (value, (-1, *self.start.shape)))
        return value

    def _needed(self) -> list[GraphStep]:
        """The steps in between that the output needs, and those that write into others' memory."""
        between = [s for s in self.steps.values() if self.start.index < s.index <= self.until]
        wanted = {self.end}
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
                self.made[node.name] = self._known(*step.values, step)
            else:
                self._emit(step)
        return self.made[node.name]

    def _emit(self, step: GraphStep) -> None:
        node = step.node
        self.made[node.name] = self.graph.create_node(
            node.op,
            node.target,
            fx.node.map_arg(node.args, self._value),
            fx.node.map_arg(node.kwargs, self._value),
            name=node.name,
        )

    def _known(self, few: Any, more: Any, step: GraphStep) -> Any:
        """What was looked up from the shape below: a constant, or a number that grows with n."""
        if isinstance(few, torch.device):
            return self.graph.call_function(getattr, (self.raw, "device"))
        if isinstance(few, torch.dtype) and few == _dtype(self.steps[self.start.node]):
            return self.graph.call_function(getattr, (self.raw, "dtype"))
        if isinstance(few, tuple) and isinstance(more, tuple) and len(few) == len(more):
            return tuple(self._known(a, b, step) for a, b in zip(few, more, strict=True))
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


def _dtype(step: GraphStep) -> torch.dtype | None:
    return step.values[0].dtype if isinstance(step.values[0], TensorSpec) else None


def _function(half: nn.Module, graph: fx.Graph) -> Forward:
    # A plain function, not a GraphModule: it survives deepcopy, and the half has one set of parts.
    forward: Forward = type(fx.GraphModule(half, graph)).forward
    return forward


def _take_over(
    half: nn.Module,
    net: nn.Module,
    graphs: Sequence[fx.Graph],
    constants: dict[str, torch.Tensor],
) -> None:
    nodes = [node for graph in graphs for node in graph.nodes]
    # In the order of the graph, not of a set: the half's text is part of a cache's key.
    modules = dict.fromkeys(str(node.target) for node in nodes if node.op == "call_module")
    tensors = {str(node.target) for node in nodes if node.op == "get_attr"}
    # Outer paths first: what lies in a module that is taken over whole is there already.
    for path in sorted(modules, key=lambda path: path.count(".")):
        parent, name = _place(half, net, path)
        if name not in parent._modules:
            parent.add_module(name, net.get_submodule(path))
    for path in sorted(tensors):
        parent, name = _place(half, net, path)
        if path in constants:
            half.register_buffer(path, constants[path], persistent=False)
        elif not hasattr(parent, name):
            _take_tensor(parent, name, net.get_submodule(path.rpartition(".")[0]))


def _place(half: nn.Module, net: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Finds the module that is to hold `path`, making empty ones on the way."""
    *outer, name = path.split(".")
    for depth, part in enumerate(outer):
        if part not in half._modules:
            empty = nn.Module()
            empty.training = net.get_submodule(".".join(outer[: depth + 1])).training
            half.add_module(part, empty)
        half = half.get_submodule(part)
    return half, name


def _take_tensor(holder: nn.Module, name: str, owner: nn.Module) -> None:
    tensor = getattr(owner, name)
    if isinstance(tensor, nn.Parameter):
        holder.register_parameter(name, tensor)
    else:
        persistent = name in owner._buffers and name not in owner._non_persistent_buffers_set
        holder.register_buffer(name, tensor, persistent=persistent)
