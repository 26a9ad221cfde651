"""A part of a network between two lines, as a module of its own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from frostline.base.errors import LineError
from frostline.frost.trace import copy_sharing_tensors

Forward = Callable[[nn.Module, torch.Tensor], Any]


class GraphPart(nn.Module):
    """What a network does between two lines.

    It holds the network's own modules and parameters under their own names, no copies, and
    nothing that it does not read. It never writes into its input.

    A module that is also called below the part is the exception: here it is a copy that shares
    its tensors, so that it follows this part's `train()` alone. Parameters that are read below as
    well are buffers here: they are frozen with what lies below, and no optimiser gets them. What
    is computed from parameters alone, and read on both sides, is one value that belongs below: its
    modules stay in eval mode here, as they are there, so no dropout in it is drawn twice.

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
        below: Sequence[fx.Graph] = (),
    ) -> None:
        """Puts the modules and tensors of `net` that the graphs name into a module.

        Args:
            net: The network.
            graphs: What to do in eval and in training; None where training cannot be followed.
            constants: Tensors that the graphs read and `net` does not have.
            takes: The shape of one image's activation, or None for any.
            label: What this is, for messages.
            below: The graphs of what lies below, in eval and in training.
        """
        super().__init__()
        self.training = net.training
        self.takes = takes
        self._label = label
        evaluating, training = graphs
        self.graph = evaluating
        used_below = _used_by(net, below, constants)
        taken = [graph for graph in graphs if graph is not None]
        _take_over(self, net, taken, constants, used_below)
        self._kept_in_eval = _called_for_both(taken, below)
        self._settle()
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

    def train(self, mode: bool = True) -> "GraphPart":
        """Sets the mode, but for modules that make a value of what lies below; see the class."""
        super().train(mode)
        self._settle()
        return self

    def extra_repr(self) -> str:
        """Returns what this is, for printing."""
        return self._label

    def _settle(self) -> None:
        for path in self._kept_in_eval:
            self.get_submodule(path).eval()

    def _check(self, x: torch.Tensor) -> None:
        # While other tools trace this module, shapes are no plain numbers.
        if self.takes is None or not isinstance(x, torch.Tensor) or torch._C._is_tracing():
            return
        if tuple(x.shape[1:]) != self.takes:
            raise LineError(
                f"{self._label}: takes activations of shape {self.takes} an image, "
                f"got {tuple(x.shape[1:])}. Cut the network for the image size that is used."
            )


def parameters_of(net: nn.Module, graphs: Iterable[fx.Graph]) -> set[str]:
    """Returns the names in `net` of the parameters that graphs of it read."""
    used = _used_by(net, graphs, {})
    return {name for name, parameter in net.named_parameters() if id(parameter) in used.parameters}


def _called_for_both(own: Iterable[fx.Graph], below: Iterable[fx.Graph]) -> tuple[str, ...]:
    """Paths of modules that are called here for nothing but values that are made below as well.

    A step that follows the images is in one part; one of the same name in both follows none.
    """
    there = {(node.name, node.target) for graph in below for node in graph.nodes}
    calls = [node for graph in own for node in graph.nodes if node.op == "call_module"]
    only_here = {node.target for node in calls if (node.name, node.target) not in there}
    both = dict.fromkeys(str(node.target) for node in calls if node.target not in only_here)
    return tuple(both)


def _function(part: nn.Module, graph: fx.Graph) -> Forward:
    # A plain function, not a GraphModule: it survives deepcopy, and the part has one set of
    # modules.
    forward: Forward = type(fx.GraphModule(part, graph)).forward
    return forward


@dataclass(frozen=True)
class _UsedBelow:
    """What graphs read of a network: its modules, and its parameters by `id`."""

    modules: frozenset[nn.Module]
    parameters: frozenset[int]

    def own(self, module: nn.Module) -> nn.Module:
        """Returns `module`, or a copy where it is used below too; see `GraphPart`."""
        parameters = any(id(parameter) in self.parameters for parameter in module.parameters())
        if not parameters and self.modules.isdisjoint(module.modules()):
            return module
        copy = copy_sharing_tensors(module)
        for inner in copy.modules():
            for name, parameter in list(inner._parameters.items()):
                if id(parameter) in self.parameters and parameter is not None:
                    del inner._parameters[name]
                    inner.register_buffer(name, parameter.detach())
        return copy


def _used_by(
    net: nn.Module, graphs: Iterable[fx.Graph], constants: dict[str, torch.Tensor]
) -> _UsedBelow:
    modules: set[nn.Module] = set()
    parameters: set[int] = set()
    for node in (node for graph in graphs for node in graph.nodes):
        path = str(node.target)
        if node.op == "call_module":
            modules |= set(net.get_submodule(path).modules())
        elif node.op == "get_attr" and path not in constants:
            owner, _, name = path.rpartition(".")
            parameters.add(id(getattr(net.get_submodule(owner), name, None)))
    parameters |= {id(p) for module in modules for p in module._parameters.values()}
    return _UsedBelow(frozenset(modules), frozenset(parameters - {id(None)}))


def _take_over(
    part: nn.Module,
    net: nn.Module,
    graphs: Sequence[fx.Graph],
    constants: dict[str, torch.Tensor],
    below: _UsedBelow,
) -> None:
    nodes = [node for graph in graphs for node in graph.nodes]
    # In the order of the graph, not of a set: the part's text is in a cache's key.
    modules = dict.fromkeys(str(node.target) for node in nodes if node.op == "call_module")
    tensors = {str(node.target) for node in nodes if node.op == "get_attr"}
    # Outer paths first: what lies in a module that is taken over whole is there already.
    for path in sorted(modules, key=lambda path: path.count(".")):
        parent, name = _place(part, net, path)
        if name not in parent._modules:
            parent.add_module(name, below.own(net.get_submodule(path)))
    for path in sorted(tensors):
        parent, name = _place(part, net, path)
        if path in constants:
            part.register_buffer(path, constants[path], persistent=False)
        elif not hasattr(parent, name):
            _take_tensor(parent, name, net.get_submodule(path.rpartition(".")[0]), below)


def _place(part: nn.Module, net: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Finds the module that is to hold `path`, making empty ones on the way."""
    *outer, name = path.split(".")
    for depth, step in enumerate(outer):
        if step not in part._modules:
            empty = nn.Module()
            empty.training = net.get_submodule(".".join(outer[: depth + 1])).training
            part.add_module(step, empty)
        part = part.get_submodule(step)
    return part, name


def _take_tensor(holder: nn.Module, name: str, owner: nn.Module, below: _UsedBelow) -> None:
    tensor = getattr(owner, name)
    if isinstance(tensor, nn.Parameter) and id(tensor) not in below.parameters:
        holder.register_parameter(name, tensor)
    elif isinstance(tensor, nn.Parameter):
        holder.register_buffer(name, tensor.detach())
    else:
        persistent = name in owner._buffers and name not in owner._non_persistent_buffers_set
        holder.register_buffer(name, tensor, persistent=persistent)
