"""The parts that other frameworks have and PyTorch lacks, as small modules without children."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.networks.translate.geometry import same_padding

# What Keras divides by at least.
SMALLEST = 1e-7


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


class Pad(nn.Module):
    """Pads height and width with zeros, or crops them where a number is negative."""

    def __init__(self, rows: Sequence[int], columns: Sequence[int]) -> None:
        super().__init__()
        self.sides = (columns[0], columns[1], rows[0], rows[1])

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, c, h, w] with other h and w."""
        return functional.pad(x, self.sides)


class Permute(nn.Module):
    """Puts axes, the batch included, into another order."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a view."""
        return x.permute(self.order)


class Reshape(nn.Module):
    """Gives each example another shape; one size may be −1."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, *shape]."""
        return torch.unflatten(x.flatten(1), 1, self.shape)


class GlobalPool(nn.Module):
    """The mean or the largest value of each channel of [n, c, h, w]."""

    def __init__(self, reduce: str, keep_axes: bool) -> None:
        super().__init__()
        self.reduce, self.keep_axes = reduce, keep_axes

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, c], or [n, c, 1, 1] where axes are kept."""
        if self.reduce == "max":
            return x.amax((2, 3), keepdim=self.keep_axes)
        return x.mean((2, 3), keepdim=self.keep_axes)


class Merge(nn.Module):
    """Joins tensors of one shape, element by element; vectors are spread over a map.

    Args:
        how: `add`, `subtract`, `multiply`, `average`, `maximum` or `minimum`.
        spread: For each of them, whether it is a vector [n, c] that meets maps [n, c, h, w].
        scale: What the second is multiplied with before an addition.
    """

    def __init__(self, how: str, spread: Sequence[bool], scale: float = 1.0) -> None:
        super().__init__()
        self.how, self.spread, self.scale = how, tuple(spread), scale

    def forward(self, *parts: Tensor) -> Tensor:
        """Returns the tensor they give together."""
        first, *others = (
            part[:, :, None, None] if spread else part
            for part, spread in zip(parts, self.spread, strict=True)
        )
        for other in others:
            first = self._join(first, other)
        return first / len(parts) if self.how == "average" else first

    def _join(self, a: Tensor, b: Tensor) -> Tensor:
        if self.how in ("add", "average"):
            return a + b if self.scale == 1.0 else torch.add(a, b, alpha=self.scale)
        if self.how == "subtract":
            return a - b
        if self.how == "multiply":
            return a * b
        return torch.maximum(a, b) if self.how == "maximum" else torch.minimum(a, b)


class Concatenate(nn.Module):
    """Puts tensors one after the other along an axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *parts: Tensor) -> Tensor:
        """Returns one tensor."""
        return torch.cat(parts, self.axis)


class Affine(nn.Module):
    """Multiplies with fixed numbers and adds others: one for all, or one a channel."""

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: Tensor, offset: Tensor) -> None:
        super().__init__()
        # They are settings of the graph and no weights.
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns x · scale + offset."""
        return x * self.scale + self.offset


class Standardise(nn.Module):
    """Subtracts a kept mean and divides by the root of a kept variance, which never change."""

    mean: Tensor
    variance: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("variance", torch.ones(*shape))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (x − mean) / max(√variance, SMALLEST)."""
        return (x - self.mean) / self.variance.sqrt().clamp_min(SMALLEST)


class ChannelScale(nn.Module):
    """Multiplies each channel of [n, c, h, w] with a number that is learned."""

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.value = value
        self.weight = nn.Parameter(torch.full((channels, 1, 1), value))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the scaled channels."""
        return x * self.weight


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of [n, c, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, c, h, w]; both permutations are views."""
        x = x.permute(0, 2, 3, 1)
        x = functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class AxisBatchNorm(nn.BatchNorm1d):
    """Batch norm over an axis that is not the second."""

    def __init__(self, features: int, axis: int, **settings: float) -> None:
        super().__init__(features, **settings)  # type: ignore[arg-type]
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the same shape."""
        normed = functional.batch_norm(
            x.transpose(1, self.axis),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        return normed.transpose(1, self.axis)


class DropExamples(nn.Module):
    """Stochastic depth: in training, sets whole examples to zero and scales up the others.

    The source is Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """

    def __init__(self, rate: float, rank: int) -> None:
        super().__init__()
        self.rate, self.ones = rate, (1,) * (rank - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`, and in training a tensor in which a share of the examples is zero."""
        if not self.training or self.rate == 0.0:
            return x
        kept = x.new_full((x.shape[0], *self.ones), 1 - self.rate)
        return x * torch.bernoulli(kept) / (1 - self.rate)


class Noise(nn.Module):
    """In training, adds normal noise, or multiplies with noise around one."""

    def __init__(self, deviation: float, multiply: bool) -> None:
        super().__init__()
        self.deviation, self.multiply = deviation, multiply

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`, and in training a noisy one."""
        if not self.training:
            return x
        noise = torch.randn_like(x) * self.deviation
        return x * (1 + noise) if self.multiply else x + noise


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
