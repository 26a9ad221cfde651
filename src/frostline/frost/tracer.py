"""How a network is followed by torch.fx: what is one piece, and what the graph remembers."""

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import Attribute

from frostline.frost.shape_values import ShapeValues

ROOT = "net"


def is_leaf(module: nn.Module) -> bool:
    """Tells whether tracing takes `module` as one piece, so that it follows its own `training`."""
    from timm.layers import get_notrace_modules

    noted = get_notrace_modules()  # type: ignore[no-untyped-call]
    return (
        # Norms with an activation in them read their own flag, and may write their statistics.
        "running_mean" in module._buffers
        or isinstance(module, (torch.jit.ScriptModule, *noted))
        or not any(True for _ in module.children())
        or (module.__module__.startswith(("torch.nn", "torch.ao.nn")) and not _is_chain(module))
    )


def _is_chain(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)


class Wrapper(nn.Module):
    """Gives a network exactly one input.

    Traced by itself, a network's defaulted arguments (`attn_mask=None`) would become inputs too.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> Any:
        """Returns what the network gives."""
        return self.net(images)


class Tracer(fx.Tracer):
    """Records a network's graph, and each module's inputs and outputs.

    Follows timm's registry of what is one piece. With `values` it also answers what the code asks
    of shapes and types, such as `if h % 2`, from the input's shape.
    """

    def __init__(self, opaque: set[str], values: ShapeValues | None = None) -> None:
        """Takes the paths of modules that are one piece, and what is known of shapes."""
        from timm.layers import get_notrace_functions

        found = get_notrace_functions()  # type: ignore[no-untyped-call]
        functions = tuple(function for function in found if callable(function))
        super().__init__(autowrap_functions=functions, param_shapes_constant=True)
        self.opaque, self.values = opaque, values
        self.path: list[str] = []
        self.fed: dict[str, fx.Node] = {}
        self.gave: dict[str, list[Any]] = {}
        self._buffers: dict[int, str] = {}

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """Traces `root`, a `Wrapper`."""
        self._buffers = {id(buffer): name for name, buffer in root.named_buffers()}
        if self.values is None:
            return super().trace(root, concrete_args)
        self.values.root = root
        with _len_of_proxies(root):
            return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tells whether a module becomes one node."""
        if module_qualified_name == ROOT:
            return False
        return module_qualified_name in self.opaque or is_leaf(m)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Records a call, with the node that feeds it and what it gives."""
        if self.values is not None and self.values.is_running:
            return forward(*args, **kwargs)
        path = self.path_of_module(m)
        self.path.append(path)
        output = super().call_module(m, forward, args, kwargs)
        self.path.pop()
        if args and isinstance(args[0], fx.Proxy):
            self.fed.setdefault(path, args[0].node)
        self.gave.setdefault(path, []).append(output)
        return output

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Returns a module's attribute; a buffer as a proxy, which knows its shape."""
        if self.values is not None and self.values.is_running:
            return attr_val
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

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Records a node; where values are followed, computes what is known of its own."""
        node = super().create_node(*args, **kwargs)
        if self.values is not None and node.op != "output":
            self.values.note(node)
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Returns what stands for a node's value while the code runs."""
        if self.values is None:
            return fx.Proxy(node, self)
        return _IntProxy(node, self) if self.values.is_int(node) else _ValueProxy(node, self)

    def create_arg(self, a: Any) -> Any:
        """Returns how an argument is written in the graph."""
        # A proxy that says it is a tensor is still a proxy.
        if issubclass(type(a), fx.Proxy):
            return a.node
        return super().create_arg(a)


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


class _ValueProxy(fx.Proxy):
    """A value whose shape and type are known, and which answers questions by them.

    A question whose answer depends on the pixels, or on the number of images, is refused.
    """

    def __getattr__(self, k: str) -> Attribute:
        return _ValueAttribute(self, k)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # For `isinstance(x, torch.Tensor)`; torch.fx looks at the type itself.
        kind = self._values.kind(self.node)
        return type(self) if kind is None else kind

    @property
    def _values(self) -> ShapeValues:
        tracer: Any = self.tracer
        values: ShapeValues = tracer.values
        return values

    def __bool__(self) -> bool:
        return bool(self._values.answer(self.node))

    def __len__(self) -> int:
        return len(self._values.answer(self.node, length=True))

    def __iter__(self) -> Iterator[Any]:
        return iter([self[index] for index in range(len(self))])  # type: ignore[index]

    def __contains__(self, one: Any) -> bool:
        return any(one == other for other in self)

    def __int__(self) -> int:
        return int(self._values.answer(self.node))

    def __float__(self) -> float:
        return float(self._values.answer(self.node))


class _IntProxy(_ValueProxy):
    """A whole number that is the same whatever the number of images."""

    def __index__(self) -> int:
        return int(self._values.answer(self.node))


class _ValueAttribute(_ValueProxy, Attribute):
    """An attribute, such as `x.shape`: a node only once it is read, for it may be a method."""

    def __init__(self, root: fx.Proxy, attr: str) -> None:
        Attribute.__init__(self, root, attr)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self)


def _length(value: Any) -> Any:
    """Returns `len(value)`; for a tensor that is followed, its first size."""
    is_node = isinstance(value, _ValueProxy) and type(value) is not _ValueAttribute
    if is_node and value._values.kind(value.node) is torch.Tensor:
        return value.tracer.create_proxy("call_method", "size", (value, 0), {})
    return builtins.len(value)


@contextmanager
def _len_of_proxies(root: nn.Module) -> Iterator[None]:
    """Lets `len(x)` be followed in the code of the network's modules: Python itself cannot."""
    scopes = {id(scope): scope for scope in map(_scope, root.modules()) if "len" not in scope}
    for scope in scopes.values():
        scope["len"] = _length
    try:
        yield
    finally:
        for scope in scopes.values():
            del scope["len"]


def _scope(module: nn.Module) -> dict[str, Any]:
    forward = type(module).forward
    return getattr(forward, "__globals__", {"len": None})
