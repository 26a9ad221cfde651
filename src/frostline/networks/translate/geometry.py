"""How axes, paddings and kernels of other frameworks lie in PyTorch: the rules, in one place.

Values of rank 4 are held as PyTorch has them, [n, c, h, w]. Values of any other rank keep the
order of their source.
"""

import torch
from torch import Tensor

# Where channels-last axes of [n, h, w, c] stand in [n, c, h, w].
_FROM_LAST = (0, 2, 3, 1)


def axis_here(axis: int, rank: int, layout: str) -> int:
    """Returns where the source's `axis` of a value of `rank` lies in the value held here."""
    positive = axis % rank
    return _FROM_LAST[positive] if rank == 4 and layout == "channels_last" else positive


def to_source(rank: int, layout: str) -> tuple[int, ...] | None:
    """Returns the permutation from the order held here to the source's; None where both agree."""
    return (0, 2, 3, 1) if rank == 4 and layout == "channels_last" else None


def from_source(rank: int, layout: str) -> tuple[int, ...] | None:
    """Returns the permutation from the source's order to the one held here, or None."""
    return (0, 3, 1, 2) if rank == 4 and layout == "channels_last" else None


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Returns what TensorFlow's `same` pads before and after an axis of `size`.

    The output has ceil(size / stride) places; of an odd number the larger half comes after.
    """
    reach = dilation * (kernel - 1) + 1
    total = (-(-size // stride) - 1) * stride + reach - size
    if reach < stride:
        # Only then can it be below zero. Tracing could not follow a comparison.
        total = max(total, 0)
    return total // 2, total - total // 2


def fixed_padding(kernel: int, stride: int, dilation: int = 1) -> tuple[int, int] | None:
    """Returns what `same` pads where it is alike for inputs of every size, else None."""
    # It depends on nothing of the size but its remainder by the stride.
    found = {same_padding(size, kernel, stride, dilation) for size in range(stride, 2 * stride)}
    return found.pop() if len(found) == 1 else None


def conv_kernel(kernel: Tensor) -> Tensor:
    """Turns a kernel [h, w, in, out] into [out, in, h, w]."""
    return kernel.permute(3, 2, 0, 1)


def depthwise_kernel(kernel: Tensor) -> Tensor:
    """Turns a depthwise kernel [h, w, c, m] into [c·m, 1, h, w], with m the fastest."""
    h, w, c, m = kernel.shape
    return kernel.permute(2, 3, 0, 1).reshape(c * m, 1, h, w)


def transposed_kernel(kernel: Tensor) -> Tensor:
    """Turns the kernel of a transposed convolution, [h, w, out, in], into [in, out, h, w]."""
    return kernel.permute(3, 2, 0, 1)


def turned(kernel: Tensor) -> Tensor:
    """Turns [out, in, h, w] by 180°: Theano convolves, all others correlate."""
    return torch.flip(kernel, (2, 3))


def flattened_rows(shape: tuple[int, int, int]) -> Tensor:
    """Returns, for each feature of a flattened [c, h, w], its place in a flattened [h, w, c]."""
    c, h, w = shape
    return torch.arange(h * w * c).reshape(h, w, c).permute(2, 0, 1).reshape(-1)
