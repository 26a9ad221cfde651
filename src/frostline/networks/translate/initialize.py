"""Initial weights, as the source would draw them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from frostline.networks.translate.recurrent import GRU

# A normal distribution cut off at two deviations has this deviation itself.
_CUT_DEVIATION = 0.87962566103423978
_GLOROT = {"kind": "scaled", "scale": 1.0, "mode": "average", "shape": "uniform"}
_ZEROS = {"kind": "constant", "value": 0.0}


def initialize_weights(module: nn.Module, settings: Mapping[str, Any]) -> nn.Module:
    """Fills kernels and biases; norms and scales keep what they were made with.

    Args:
        module: A layer's module, changed in place.
        settings: The layer's, whose `initial` maps `kernel` and `bias` to how they are drawn:
            `{"kind": "scaled", "scale", "mode": input | output | average, "shape": uniform |
            normal | cut_normal}`, `uniform` with `low` and `high`, `normal` or `cut_normal` with
            `mean` and `deviation`, `constant` with `value`, `orthogonal` with `gain`. What is not
            named is Glorot's uniform distribution, and zero for biases.

    Returns:
        `module`.
    """
    how = settings.get("initial", {})
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            draw(part.weight, how.get("kernel", _GLOROT))
            if part.bias is not None:
                draw(part.bias, how.get("bias", _ZEROS))
        elif isinstance(part, GRU):
            draw(part.kernel, how.get("kernel", _GLOROT))
            draw(part.recurrent_kernel, {"kind": "orthogonal", "gain": 1.0})
    return module


@torch.no_grad()
def draw(tensor: Tensor, how: Mapping[str, Any]) -> None:
    """Draws a kernel [out, in, …] anew, in place; see `initialize_weights`."""
    kind = how["kind"]
    if kind == "constant":
        tensor.fill_(how["value"])
    elif kind == "uniform":
        tensor.uniform_(how["low"], how["high"])
    elif kind == "normal":
        tensor.normal_(how["mean"], how["deviation"])
    elif kind == "cut_normal":
        _cut_normal(tensor, how["mean"], how["deviation"])
    elif kind == "orthogonal" and tensor.dim() > 1:
        nn.init.orthogonal_(tensor, how["gain"])
    elif kind == "scaled":
        _scaled(tensor, how)


def _scaled(tensor: Tensor, how: Mapping[str, Any]) -> None:
    """Draws with a variance of scale / n, n being the number of inputs, outputs or their mean."""
    places = math.prod(tensor.shape[2:])
    outputs = tensor.shape[0] * places
    inputs = tensor.shape[1] * places if tensor.dim() > 1 else tensor.shape[0]
    count = {"input": inputs, "output": outputs, "average": (inputs + outputs) / 2}[how["mode"]]
    deviation = math.sqrt(how["scale"] / max(1.0, count))
    if how["shape"] == "uniform":
        tensor.uniform_(-math.sqrt(3) * deviation, math.sqrt(3) * deviation)
    elif how["shape"] == "normal":
        tensor.normal_(0.0, deviation)
    else:
        _cut_normal(tensor, 0.0, deviation / _CUT_DEVIATION)


def _cut_normal(tensor: Tensor, mean: float, deviation: float) -> None:
    low, high = mean - 2 * deviation, mean + 2 * deviation
    nn.init.trunc_normal_(tensor, mean, deviation, low, high)
