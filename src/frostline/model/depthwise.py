"""Depthwise convolutions in training, on a CPU that computes in bf16.

For strides above 1 and for kernels above 3 × 3, oneDNN has no fast bf16 kernel for the gradients of
a depthwise convolution: a single such layer took longer than the rest of a MobileNet's last blocks
(`benchmarks/depthwise.py`). In float32 it has one, so these layers alone are computed in float32.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_LARGEST_FAST_KERNEL = 3


class DepthwiseInFloat32(TorchFunctionMode):
    """Computes in float32 what is slow in half precision, and returns what autocast would."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls `func`, in float32 where it is a depthwise convolution with slow gradients."""
        given = dict(kwargs or {})
        if func is not torch.conv2d or not _is_slow(*args, **given):
            return func(*args, **given)
        half = torch.get_autocast_dtype("cpu")
        floats = [_as_float(one) for one in args]
        given = {key: _as_float(one) for key, one in given.items()}
        with torch.autocast("cpu", enabled=False):
            return torch.conv2d(*floats, **given).to(half)


def _as_float(one: Any) -> Any:
    return one.float() if isinstance(one, Tensor) else one


def _is_slow(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> bool:
    # The names are those of torch.conv2d, whose arguments these are.
    is_depthwise = groups > 1 and groups == input.shape[1] == weight.shape[0]
    strides = stride if isinstance(stride, Sequence) else (stride,)
    return is_depthwise and (max(strides) > 1 or max(weight.shape[2:]) > _LARGEST_FAST_KERNEL)
