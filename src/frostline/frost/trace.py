"""From a network to graphs: what it does to a batch of images, once in eval, once in training."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from frostline.base.errors import LineError

_ROOT = "net"
# Beyond so many parts that cannot be looked into, the network is not worth cutting.
_MOST_OPAQUE = 64


@dataclass(frozen=True)
class TracedGraph:
    """What a network does to its input in one mode, as a graph.

    Attributes:
        graph: Its targets are paths in the network itself; its names are those of the lines.
        inputs: Module path to the name of the node that feeds it, the first call's.
        outputs: Module path to the names of the nodes that hold its outputs, one for each call.
        constants: Tensors that were made while tracing, by the name the graph knows them by.
    """

    graph: fx.Graph
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    constants: dict[str, torch.Tensor] = field(default_factory=dict)


def trace_graph(net: nn.Module, training: bool) -> TracedGraph:
    """Traces `net` in eval or training mode; neither its flags nor its tensors change.

    A part that cannot be traced is taken as one piece, and the rest is traced around it.

    Args:
        net: A network of one input, a batch of images.
        training: Which of the two ways to follow.

    Returns:
        The way, whose graph names modules and tensors of `net` by their paths.

    Raises:
        LineError: Where the `forward` of `net` itself cannot be traced; it gives the reason.
    """
    twin = twin_of(net).train(training)
    opaque: set[str] = set()
    while True:
        tracer = _Tracer(opaque)
        try:
            graph = tracer.trace(_Wrapper(twin))
        except Exception as error:
            culprit = tracer.path[-1] if tracer.path else _ROOT
            if culprit == _ROOT or len(opaque) == _MOST_OPAQUE:
                raise LineError(
                    f"{type(net).__name__}: its forward cannot be traced, so there is no line to "
                    f"cut at. Choose another backbone. What failed: {first_line(error)}"
                ) from error
            opaque.add(culprit)
        else:
            return _stripped(graph, tracer)


def twin_of(net: nn.Module, device: str | None = None) -> nn.Module:
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


def is_leaf(module: nn.Module) -> bool:
    """Tells whether tracing takes `module` as one piece, so that it follows its own `training`."""
    from timm.layers import get_notrace_modules

    return (
        # Norms with an activation in them read their own flag, and may write their statistics.
        "running_mean" in module._buffers
        or isinstance(module, tuple(get_notrace_modules()))  # type: ignore[no-untyped-call]
        or not any(True for _ in module.children())
        or (module.__module__.startswith(("torch.nn", "torch.ao.nn")) and not _is_chain(module))
    )


def _is_chain(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)


def _empty(tensor: torch.Tensor, device: str) -> torch.Tensor:
    empty = torch.empty_like(tensor, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


class _Wrapper(nn.Module):
    """Gives a network exactly one input.

    Traced by itself, a network's defaulted arguments (`attn_mask=None`) would become inputs too.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> Any:
        return self.net(images)


class _BufferProxy(fx.Proxy):
    """A buffer: its values are followed, its shape is known."""

    def __init__(self, tracer: fx.Tracer, node: fx.Node, buffer: torch.Tensor) -> None:
        super().__init__(node, tracer)
        self._buffer = buffer

    @property
    def shape(self) -> torch.Size:
        return self._buffer.shape

    @property
    def ndim(self) -> int:
        return self._buffer.ndim

    def size(self, dim: int | None = None) -> Any:
        return self._buffer.size() if dim is None else self._buffer.size(dim)

    def dim(self) -> int:
        return self._buffer.dim()

    def numel(self) -> int:
        return self._buffer.numel()


class _Tracer(fx.Tracer):
    """Follows timm's registry of what is one piece, and notes each module's inputs and outputs."""

    def __init__(self, opaque: set[str]) -> None:
        from timm.layers import get_notrace_functions

        found = get_notrace_functions()  # type: ignore[no-untyped-call]
        functions = tuple(function for function in found if callable(function))
        super().__init__(autowrap_functions=functions, param_shapes_constant=True)
        self.opaque = opaque
        self.path: list[str] = []
        self.fed: dict[str, fx.Node] = {}
        self.gave: dict[str, list[Any]] = {}
        self._buffers: dict[int, str] = {}

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        self._buffers = {id(buffer): name for name, buffer in root.named_buffers()}
        return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name == _ROOT:
            return False
        return module_qualified_name in self.opaque or is_leaf(m)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        self.path.append(path)
        output = super().call_module(m, forward, args, kwargs)
        self.path.pop()
        if args and isinstance(args[0], fx.Proxy):
            self.fed.setdefault(path, args[0].node)
        self.gave.setdefault(path, []).append(output)
        return output

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        name = self._buffers.get(id(attr_val))
        if name is None:
            return super().getattr(attr, attr_val, parameter_proxy_cache)
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy(
                "get_attr",
                name,
                (),
                {},
                proxy_factory_fn=lambda node: _BufferProxy(self, node, attr_val),
            )
        return parameter_proxy_cache[name]


def _stripped(graph: fx.Graph, tracer: _Tracer) -> TracedGraph:
    """Rewrites a graph of the wrapper as a graph of the network inside it."""
    bare = fx.Graph(tracer_cls=fx.Tracer)
    made: dict[fx.Node, fx.Node] = {}
    constants: dict[str, torch.Tensor] = {}
    for node in graph.nodes:
        target, name = node.target, node.name.removeprefix(f"{_ROOT}_")
        if node.op in ("call_module", "get_attr"):
            if not target.startswith(f"{_ROOT}."):
                constants[target] = getattr(tracer.root, target)
            target = target.removeprefix(f"{_ROOT}.")
        args = fx.node.map_arg(node.args, made.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, made.__getitem__)
        made[node] = bare.create_node(node.op, target, args, kwargs, name=name)
    return TracedGraph(
        graph=bare,
        inputs={_bare(path): made[node].name for path, node in tracer.fed.items()},
        outputs={
            _bare(path): tuple(made[out.node].name for out in outputs)
            for path, outputs in tracer.gave.items()
            if all(isinstance(out, fx.Proxy) and out.node in made for out in outputs)
        },
        constants=constants,
    )


def _bare(path: str) -> str:
    return "" if path == _ROOT else path.removeprefix(f"{_ROOT}.")
