"""Paddings that PyTorch's own layers do not have, as small modules without children."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.networks.translate.geometry import same_padding


class SamePad(nn.Module):
    """Pads [n, c, h, w] as TensorFlow's `same` asks, which depends on the size.

    Args:
        kernel: Of what comes next: height and width.
        stride: Likewise.
        dilation: Likewise.
        value: What to pad with.
    """

    def __init__(
        self,
        kernel: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int] = (1, 1),
        value: float = 0.0,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = tuple(kernel), tuple(stride), tuple(dilation)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """Returns the padded values."""
        return _pad_same(x, self.kernel, self.stride, self.dilation, self.value)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.kernel}, {self.stride}, {self.dilation}, value={self.value}"


class KernelPaddedConv2d(nn.Conv2d):
    """A convolution that pads one more after than before, without a copy of the map.

    The kernel gets a first row and column of zeros instead, and the map the larger padding on
    both sides, which a convolution does by itself. That costs little where each output reads few
    channels.

    Args:
        sides: Rows and columns: what to pad before and after. None for TensorFlow's `same`, which
            depends on the size.
        channels: Of what it reads.
        filters: Of what it gives.
        settings: Those of `nn.Conv2d`.
    """

    def __init__(
        self,
        sides: Sequence[Sequence[int]] | None,
        channels: int,
        filters: int,
        **settings: Any,
    ) -> None:
        super().__init__(channels, filters, **settings)
        self.sides = None if sides is None else tuple(tuple(pair) for pair in sides)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, c, h, w]."""
        (top, bottom), (left, right) = self.sides or (self._same(x, 0), self._same(x, 1))
        weight = functional.pad(self.weight, (right - left, 0, bottom - top, 0))
        return functional.conv2d(
            x, weight, self.bias, self.stride, (bottom, right), self.dilation, self.groups
        )

    def _same(self, x: Tensor, axis: int) -> tuple[int, int]:
        return same_padding(x.shape[2 + axis], self.kernel_size[axis], self.stride[axis])

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        told = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{told}, sides={self.sides}"


class SameAveragePool(nn.Module):
    """Average pooling with `same`, in which padding takes no part in the mean."""

    def __init__(self, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Returns means over what lies inside [n, c, h, w]."""
        shares = self._pool(torch.ones_like(x[:1, :1]))
        return self._pool(x) / shares

    def _pool(self, x: Tensor) -> Tensor:
        padded = _pad_same(x, self.kernel, self.stride, (1, 1), 0.0)
        return functional.avg_pool2d(padded, self.kernel, self.stride)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.kernel}, {self.stride}"


class Pad(nn.Module):
    """Pads height and width with zeros, or crops them where a number is negative."""

    def __init__(self, rows: Sequence[int], columns: Sequence[int]) -> None:
        super().__init__()
        self.sides = (columns[0], columns[1], rows[0], rows[1])

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, c, h, w] with other h and w."""
        return functional.pad(x, self.sides)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.sides)


def _pad_same(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    value: float,
) -> Tensor:
    top, bottom = same_padding(x.shape[2], kernel[0], stride[0], dilation[0])
    left, right = same_padding(x.shape[3], kernel[1], stride[1], dilation[1])
    return functional.pad(x, (left, right, top, bottom), value=value)
