"""The layers of any network that have weights: in the order they are held or run in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

_COUNTER = "num_batches_tracked"
_NORMS = (nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class NetworkLayer:
    """A layer of a network that has tensors of its own.

    Attributes:
        name: Its path.
        kind: `conv`, `dense`, `norm` or `other`.
        names: By role (`weight`, `bias`, `running_mean`…), the name in the network's state.
        flattened: The [c, h, w] of the map that a dense layer reads flattened; empty for none.
        eps: Of a norm with running statistics; 0 for all others.
    """

    name: str
    kind: str
    names: Mapping[str, str] = field(default_factory=dict)
    flattened: tuple[int, ...] = ()
    eps: float = 0.0


def layers_of(
    net: nn.Module, input_shape: tuple[int, int, int], as_run: bool = False
) -> list[NetworkLayer]:
    """Returns the layers of a network that have weights.

    Args:
        net: The network, in eval mode.
        input_shape: Of one image: channels, height and width in pixels.
        as_run: In the order in which an image passes them, not in that of the network's state.
    """
    held = [(name, one) for name, one in net.named_modules() if _tensors(one)]
    calls, flattened = _run(net, input_shape)
    if as_run:
        place = {module: index for index, module in reversed(list(enumerate(calls)))}
        held.sort(key=lambda pair: place.get(pair[1], len(calls)))
    return [
        NetworkLayer(
            name=name,
            kind=_kind(one),
            names={role: f"{name}.{role}" if name else role for role in _tensors(one)},
            flattened=flattened.get(one, ()),
            eps=float(getattr(one, "eps", 0.0)) if "running_mean" in _tensors(one) else 0.0,
        )
        for name, one in held
    ]


def _tensors(module: nn.Module) -> list[str]:
    own = {**module._parameters, **module._buffers}
    hidden = module._non_persistent_buffers_set
    return [n for n, t in own.items() if t is not None and n != _COUNTER and n not in hidden]


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return "conv"
    if isinstance(module, nn.Linear):
        return "dense"
    is_norm = isinstance(module, _NORMS) or "running_mean" in _tensors(module)
    return "norm" if is_norm else "other"


class _LastMap(TorchFunctionMode):
    """Remembers the [c, h, w] of the last map that was computed, by a module or a function."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = ()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls `func`, and looks at what it gives."""
        given = func(*args, **(kwargs or {}))
        # Asking a tensor for its axes is such a call, too.
        with torch._C.DisableTorchFunction():
            if isinstance(given, Tensor) and given.dim() == 4:
                self.shape = tuple(given.shape[1:])
        return given


@torch.no_grad()
def _run(
    net: nn.Module, input_shape: tuple[int, int, int]
) -> tuple[list[nn.Module], dict[nn.Module, tuple[int, ...]]]:
    """Runs a blank image through; returns the modules in order, and what is read flattened."""
    calls: list[nn.Module] = []
    flattened: dict[nn.Module, tuple[int, ...]] = {}
    watch = _LastMap()

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls.append(module)
        if isinstance(module, nn.Linear) and args and args[0].dim() == 2 and watch.shape:
            c, h, w = watch.shape
            if c * h * w == module.in_features and h * w > 1:
                flattened[module] = watch.shape
            watch.shape = ()

    handles: list[RemovableHandle] = []
    handles += [module.register_forward_pre_hook(before) for module in net.modules()]
    try:
        # Two, since some networks norm over the images of a batch.
        with watch:
            net(torch.zeros(2, *input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return calls, flattened
