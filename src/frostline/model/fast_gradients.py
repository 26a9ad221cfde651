"""Gradients that PyTorch computes slowly on a CPU, another way (`benchmarks/fast_gradients.py`).

- Depthwise convolutions in bf16. oneDNN has no fast kernel for the gradient of the weights where
  the kernel is larger than 3 × 3, nor for that of the input where the stride is above 1: a single
  such layer took longer than the rest of a MobileNet's last blocks. The first is put together from
  gradients of 3 × 3 kernels, whose taps are some of the larger one's; the second is computed in
  float32. Where neither is possible, the whole layer is computed in float32.
- Means over a map, and heads on one. Their gradient comes in another memory format than the map's,
  and the layers below, which then read one format and the other, are slower.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_FAST_KERNEL = 3
_MEANS = {torch.nn.functional.adaptive_avg_pool2d, torch.mean, Tensor.mean}

Pair = tuple[int, int]


class FastGradients(TorchFunctionMode):
    """Makes slow gradients fast in training on a CPU; values are the same but for rounding.

    Convolutions are computed another way only where autocast is on; means keep their maps' memory
    format in any precision.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls `func`, or does its work where it is a slow depthwise convolution."""
        given = dict(kwargs or {})
        if func is torch.conv2d and torch.is_autocast_enabled("cpu"):
            return _conv2d(*args, **given)
        if func in _MEANS:
            keep_format(next(one for one in (*args, *given.values()) if isinstance(one, Tensor)))
        return func(*args, **given)


def keep_format(x: Tensor) -> None:
    """Has the gradient of a map that was computed come in the map's own memory format."""
    is_map = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    if is_map and x.requires_grad and not x.is_leaf:
        x.register_hook(_in_channels_last)  # type: ignore[no-untyped-call]


def _in_channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    # The names are those of torch.conv2d, whose arguments these are.
    is_depthwise = groups > 1 and groups == input.shape[1] == weight.shape[0]
    height, width = weight.shape[2:]
    strides = _pair(stride)
    if not is_depthwise or (max(strides) == 1 and max(height, width) <= _FAST_KERNEL):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    half = torch.get_autocast_dtype("cpu")
    is_plain = _pair(dilation) == (1, 1) and not isinstance(padding, str) and input.ndim == 4
    if is_plain and min(height, width) >= _FAST_KERNEL:
        made: Tensor = _Depthwise.apply(input.to(half), weight, strides, _pair(padding))
        return made if bias is None else made + bias.to(half)[:, None, None]
    with torch.autocast("cpu", enabled=False):
        floats = input.float(), weight.float(), None if bias is None else bias.float()
        return torch.conv2d(*floats, stride, padding, dilation, groups).to(half)


def _pair(value: int | Sequence[int]) -> Pair:
    return (value[0], value[-1]) if isinstance(value, Sequence) else (int(value), int(value))


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution in half precision of a kernel of at least 3 × 3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        """Returns [n, channels, h, w] of `x` [n, channels, …] by `weight` [channels, 1, k, l]."""
        half = weight.to(x.dtype)
        ctx.save_for_backward(x, half)
        ctx.stride, ctx.padding, ctx.weight_type = stride, padding, weight.dtype
        return torch.conv2d(x, half, None, stride, padding, 1, len(half))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Returns the gradients of the input and of the weights."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            of_input = _input_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            found = _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding)
            of_weight = found.to(ctx.weight_type)
        return of_input, of_weight, None, None


def _input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    compute = x.dtype if max(stride) == 1 else torch.float32
    # Only its shape is read.
    like = torch.empty_like(x, dtype=compute, memory_format=torch.channels_last)
    found = _gradients(gradient.to(compute), like, weight.to(compute), stride, padding, 0)
    return found.to(x.dtype)


def _weight_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    height, width = weight.shape[2:]
    if max(height, width) <= _FAST_KERNEL:
        return _gradients(gradient, x, weight, stride, padding, 1)
    side, (rows, columns) = _FAST_KERNEL, gradient.shape[2:]
    part = weight[:, :, :side, :side]
    padded = torch.nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    found = torch.empty_like(weight)
    for top in _starts(height):
        for left in _starts(width):
            seen = padded[
                :,
                :,
                top : top + (rows - 1) * stride[0] + side,
                left : left + (columns - 1) * stride[1] + side,
            ]
            found[:, :, top : top + side, left : left + side] = _gradients(
                gradient, seen, part, stride, (0, 0), 1
            )
    return found


def _starts(length: int) -> Iterator[int]:
    """Yields where parts of a kernel begin that cover it; the last may overlap the one before."""
    yield from range(0, length - _FAST_KERNEL, _FAST_KERNEL)
    yield length - _FAST_KERNEL


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, which: int
) -> Tensor:
    """Returns the gradient of the input (0) or of the weights (1)."""
    wanted = [which == 0, which == 1, False]
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )[which]
    return found
