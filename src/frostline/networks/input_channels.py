"""Networks of one or *n* input channels out of networks of three: `in_chans` in a name.

The kernels of the first convolution are summed over their three channels for one channel, and
repeated in the order red, green, blue, red… and scaled by 3/n for n, which is timm's rule; mean
and deviation become the averages of the three. So a network makes of a grey picture what it made of
the same picture repeated to three colours, where these were normalised alike.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from frostline.base.errors import BackboneError
from frostline.images.preprocessing import Preprocessing

ARGUMENT = "in_chans"
_COLOURS = 3


def count_of(arguments: Mapping[str, Any], where: str) -> int:
    """Returns the number of channels that a name asks for; three where it asks for none.

    Raises:
        BackboneError: Where it is no whole number from 1 up.
    """
    asked = arguments.get(ARGUMENT, _COLOURS)
    if not isinstance(asked, int) or isinstance(asked, bool) or asked < 1:
        raise BackboneError(f"{where}: {ARGUMENT} must be a whole number from 1 up, not {asked!r}.")
    return asked


def preprocessing_for(how: Preprocessing, channels: int) -> Preprocessing:
    """Returns how pictures of so many channels become a network's input."""
    if channels == how.channels:
        return how
    mean, std = (sum(values) / len(values) for values in (how.mean, how.std))
    return replace(how, mean=(mean,) * channels, std=(std,) * channels, channel_order="rgb")


def adapted(kernel: Tensor, channels: int) -> Tensor:
    """Returns a kernel [out, 3, …] of the first convolution for another number of channels."""
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    repeats = math.ceil(channels / kernel.shape[1])
    repeated = torch.cat([kernel] * repeats, 1)[:, :channels]
    return repeated * (kernel.shape[1] / channels)


def adapt_state(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Returns weights of a network of three channels, fit for `module` that takes others.

    Changed are those tensors alone whose second axis has three values in `state` and another
    number in the network, and all other axes agree; and means and deviations of the three channels
    [3, 1, 1] within the network, which are averaged.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = dict(state)
    for name, tensor in state.items():
        want, got = wanted.get(name, ()), tuple(tensor.shape)
        others = (*want[:1], *want[2:]) == (*got[:1], *got[2:])
        if len(got) > 1 and len(want) == len(got) and others and got[1] == _COLOURS != want[1]:
            found[name] = adapted(tensor, want[1])
        elif got == (_COLOURS, 1, 1) and want[1:] == (1, 1):
            found[name] = tensor.mean(0, keepdim=True).expand(want)
    return found


def replace_first(module: nn.Module, channels: int, where: str) -> None:
    """Gives the first convolution of three channels another number of them, by the rule above.

    Raises:
        BackboneError: Where there is no such convolution.
    """
    if channels == _COLOURS:
        return
    found = (
        (name, one)
        for name, one in module.named_modules()
        if isinstance(one, nn.Conv2d) and one.in_channels == _COLOURS and one.groups == 1
    )
    name, first = next(found, ("", None))
    if first is None:
        raise BackboneError(
            f"{where}: has no convolution of three channels that could take {channels}."
        )
    other = nn.Conv2d(
        channels,
        first.out_channels,
        _pair(first.kernel_size),
        _pair(first.stride),
        first.padding if isinstance(first.padding, str) else _pair(first.padding),
        _pair(first.dilation),
        bias=first.bias is not None,
        padding_mode=first.padding_mode,
    )
    with torch.no_grad():
        other.weight.copy_(adapted(first.weight, channels))
        if first.bias is not None and other.bias is not None:
            other.bias.copy_(first.bias)
    module.set_submodule(name, other)


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    return sizes[0], sizes[1]
