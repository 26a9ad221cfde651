"""The windows of a network's layers, and what each of their outputs sees of the picture."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from frostline.frost.cut import TracedNetwork
from frostline.frost.field_rules import (
    NO_PADS,
    Call,
    Pads,
    Window,
    pads_of,
    seen_after,
    window_of,
)
from frostline.frost.fields import HEIGHT, WIDTH, Seen, picture
from frostline.frost.trace import copy_sharing_tensors


@dataclass(frozen=True)
class Geometry:
    """What is known of a step of a network.

    Attributes:
        window: The last convolution or pooling in it; None where there is none.
        field_px: Height and width of what one output sees of the picture, padding included; None
            where that is not known, or where it is all of it.
        sees_all: Whether one output depends on the whole picture.
        places: Which of the dimensions of one picture's part are height and width; None where
            they are not two of their own.
    """

    window: Window | None = None
    field_px: tuple[int, int] | None = None
    sees_all: bool = False
    places: tuple[int, int] | None = None


def geometry_of(traced: TracedNetwork) -> Mapping[str, Geometry]:
    """Returns what is known of each step, by the name of its node.

    The graph runs once on tensors without data.

    Args:
        traced: The network.
    """
    graph = traced.evaluating.traced_graph
    meta = copy_sharing_tensors(traced.net, "meta").eval()
    for name, constant in graph.constants.items():
        setattr(meta, name, constant.to("meta"))
    dtype = next((p.dtype for p in traced.net.parameters()), torch.float32)
    run = _Run(meta, graph.graph)
    batch = torch.empty(2, *traced.input_shape, dtype=dtype, device="meta")
    run.watch.seen[id(batch)] = (batch, picture(batch.shape))
    with torch.no_grad(), run.watch:
        run.run(batch)
    return run.found


def geometry_at(traced: TracedNetwork) -> tuple[Geometry, ...]:
    """Returns what is known of the activation at each line; of several tensors, of the newest."""
    found = geometry_of(traced)
    return tuple(found.get(line.node.rpartition("+")[2], Geometry()) for line in traced.lines)


class _Run(fx.Interpreter):
    """Runs a graph, and gathers what is seen at each node."""

    def __init__(self, net: nn.Module, graph: fx.Graph) -> None:
        super().__init__(net, garbage_collect_values=False, graph=graph)
        self.watch = _Watch()
        self.found: dict[str, Geometry] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.watch.window = None
        value = super().run_node(n)
        self.found[n.name] = _geometry(self.watch.window, self.watch.known(value))
        return value


class _Watch(TorchDispatchMode):
    """Follows what is seen through each of PyTorch's operators.

    Attributes:
        window: The last convolution or pooling that ran.
        seen: What is known of tensors by `id`; each is held, so that no other gets its number.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.window: Window | None = None
        self.seen: dict[int, tuple[torch.Tensor, Seen]] = {}
        self._pads: dict[int, tuple[torch.Tensor, Pads]] = {}

    def known(self, value: Any) -> Seen | None:
        """Returns what is known of a tensor, or of the first of several that something is."""
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            return next((found for one in value if (found := self.known(one))), None)
        return self.seen[id(value)][1] if id(value) in self.seen else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        outputs = [made] if isinstance(made, torch.Tensor) else made
        for tensor in outputs if isinstance(outputs, list | tuple) else ():
            if isinstance(tensor, torch.Tensor):
                self._note(func, args, tensor)
        return made

    def _note(self, func: Any, args: Any, tensor: torch.Tensor) -> None:
        name = func.overloadpacket.__name__
        is_pointwise = torch.Tag.pointwise in func.tags
        call = Call(name, args, self.known, tuple(tensor.shape), is_pointwise)
        if name == "constant_pad_nd":
            # Kernels are padded too. The tensor is held for its number's sake.
            self._pads[id(tensor)] = (tensor, pads_of(call))
        if self.known(args) is None:
            return
        window = window_of(call)
        if window is not None:
            window = _without_zeros(window, self._pads_of(args[1]))
            self.window = _padded(window, self._pads_of(args[0]))
        self.seen[id(tensor)] = (tensor, seen_after(call, window))

    def _pads_of(self, value: Any) -> Pads:
        return self._pads[id(value)][1] if id(value) in self._pads else NO_PADS


def _padded(window: Window, before: Pads) -> Window:
    """Adds the padding that was put around the input by itself."""
    return replace(window, padding=_sum(window.padding, before, 1))


def _without_zeros(window: Window, zeros: Pads) -> Window:
    """Takes zeros around a kernel away; less padding stands for them."""
    kernel = tuple(size - sum(pads) for size, pads in zip(window.kernel, zeros, strict=True))
    padding = _sum(window.padding, zeros, -1)
    return replace(window, kernel=(kernel[0], kernel[1]), padding=padding)


def _sum(pads: Pads, others: Pads, sign: int) -> Pads:
    high, wide = (
        (one[0] + sign * other[0], one[1] + sign * other[1])
        for one, other in zip(pads, others, strict=True)
    )
    return high, wide


def _geometry(window: Window | None, seen: Seen | None) -> Geometry:
    if seen is None or seen.spans is None:
        return Geometry(window)
    high, wide = (span.size for span in seen.spans)
    if inf in (high, wide):
        return Geometry(window, None, high == wide == inf, _places(seen))
    return Geometry(window, (int(high), int(wide)), False, _places(seen))


def _places(seen: Seen) -> tuple[int, int] | None:
    """Which dimensions of one picture's part are height and width."""
    alone = {dim[0].axis: at - 1 for at, dim in enumerate(seen.dims) if len(dim) == 1}
    return (alone[HEIGHT], alone[WIDTH]) if {HEIGHT, WIDTH} <= alone.keys() else None
