"""Activation functions by name."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.base.errors import BackboneError, did_you_mean


class Function(nn.Module):
    """An element-wise function as a module.

    Args:
        name: A key of `FUNCTIONS`.
        settings: Its arguments.
    """

    def __init__(self, name: str, settings: Mapping[str, float]) -> None:
        super().__init__()
        self.name, self.settings = name, dict(settings)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the same shape."""
        return FUNCTIONS[self.name](x, **self.settings)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.name}, {self.settings}"


def bent_relu(
    x: Tensor, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0
) -> Tensor:
    """Returns a ReLU that is cut off above, and bent at `threshold` by another slope."""
    above = x if max_value is None else x.clamp(max=max_value)
    return torch.where(x >= threshold, above, negative_slope * (x - threshold))


def clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Returns values that are cut off below and above."""
    return x.clamp(low, high)


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "bent_relu": bent_relu,
    "exponential": torch.exp,
    # Keras 1 and 2 have this line, Keras 3 and PyTorch one of slope 1/6.
    "hard_sigmoid_fifth": lambda x: (0.2 * x + 0.5).clamp(0.0, 1.0),
    "softsign": functional.softsign,
    "log_sigmoid": functional.logsigmoid,
    "square": torch.square,
    "absolute": torch.abs,
    "ceil": torch.ceil,
    "clamp": clamp,
    "erf": torch.erf,
    "floor": torch.floor,
    "is_nan": torch.isnan,
    "log": torch.log,
    "logical_not": torch.logical_not,
    "negative": torch.neg,
    "reciprocal": torch.reciprocal,
    "rsqrt": torch.rsqrt,
    "round": torch.round,
    "sign": torch.sign,
    "sine": torch.sin,
    "cosine": torch.cos,
    "sqrt": torch.sqrt,
    "ones": torch.ones_like,
    "zeros": torch.zeros_like,
}

_MODULES: Mapping[str, Callable[..., nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard_silu": nn.Hardswish,
    "hard_sigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hard_tanh": nn.Hardtanh,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "leaky_relu": nn.LeakyReLU,
}

# Those that look at a whole axis.
OVER_AXES: Mapping[str, Callable[[int], nn.Module]] = {
    "softmax": lambda axis: nn.Softmax(dim=axis),
    "log_softmax": lambda axis: nn.LogSoftmax(dim=axis),
}

NAMES = tuple(sorted((*FUNCTIONS, *_MODULES, *OVER_AXES)))


# They can write over what they read, which saves a pass through memory.
_IN_PLACE = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.ELU, nn.LeakyReLU)


def allow_inplace(module: nn.Module, alone: bool) -> None:
    """Lets activations write over what they read: those behind a kernel, and one that is alone.

    Args:
        module: A layer's module, changed in place.
        alone: Whether an activation that is the whole module may.
    """
    inner = [part for name, part in module.named_children() if name == "activation"]
    for part in (*inner, *([module] if alone else [])):
        if isinstance(part, _IN_PLACE):
            part.inplace = True


def activation(settings: Mapping[str, Any], axis: int) -> nn.Module:
    """Makes an activation.

    Args:
        settings: `function`, one of `NAMES`, and its arguments.
        axis: Where the source's last axis lies here, for those that look at a whole one.

    Raises:
        BackboneError: Where there is none of that name.
    """
    name = str(settings["function"])
    rest = {key: value for key, value in settings.items() if key != "function"}
    if name in OVER_AXES:
        return OVER_AXES[name](axis)
    if name in _MODULES:
        return _MODULES[name](**rest)
    if name in FUNCTIONS:
        return Function(name, rest)
    raise BackboneError(f"activation {name!r}: there is none.{did_you_mean(name, NAMES)}")
