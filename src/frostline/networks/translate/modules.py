"""The parts that other frameworks have and PyTorch lacks, as small modules without children."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# What Keras divides by at least.
SMALLEST = 1e-7


class Permute(nn.Module):
    """Puts axes, the batch included, into another order."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a view."""
        return x.permute(self.order)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.order)


class Reshape(nn.Module):
    """Gives each example another shape; one size may be −1."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, *shape]."""
        return torch.unflatten(x.flatten(1), 1, self.shape)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.shape)


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

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.reduce}, keep_axes={self.keep_axes}"


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

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.how}, spread={self.spread}, scale={self.scale}"


class Concatenate(nn.Module):
    """Puts tensors one after the other along an axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *parts: Tensor) -> Tensor:
        """Returns one tensor."""
        return torch.cat(parts, self.axis)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"axis={self.axis}"


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

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.scale.flatten().tolist()}, {self.offset.flatten().tolist()}"


class NormalizeChannels(nn.Module):
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

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(len(self.weight))


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

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        told = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{told}, axis={self.axis}"


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

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.rate)


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

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.deviation}, multiply={self.multiply}"
