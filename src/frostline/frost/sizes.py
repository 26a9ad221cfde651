"""The arithmetic of windows: how large what a convolution or a pooling gives is."""

from collections.abc import Sequence

from frostline.base.errors import LineError

Size = int | tuple[int, int]
Padding = str | int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]


def output_size(
    size: Size,
    kernel: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil: bool = False,
) -> Size:
    """Returns the height and width of what a convolution or a pooling gives.

    Args:
        size: Of its input, in pixels: one number for a square, or height and width.
        kernel: Of the window.
        stride: How far the window moves; 1 where not given, as in a convolution. (A pooling's is
            mostly that of its kernel.)
        padding: On each side; two numbers for height and width; two pairs for top, bottom and
            left, right. `same` gives size / stride, rounded up, as in Keras and TensorFlow;
            `valid` is none.
        dilation: The distance between the kernel's points.
        ceil: Whether the last window may stand over the edge (`ceil_mode`); it must begin inside.

    Returns:
        One number where `size` is one, and the other numbers are square; else height and width.

    Raises:
        LineError: Where a number does not hold, or the window is larger than the padded input.
    """
    sizes, kernels = _pair(size, "size"), _pair(kernel, "kernel")
    strides = _pair(1 if stride is None else stride, "stride")
    dilations, pads = _pair(dilation, "dilation"), _pads(padding)
    high, wide = (
        _length(sizes[at], kernels[at], strides[at], dilations[at], pads and pads[at], ceil)
        for at in (0, 1)
    )
    return high if isinstance(size, int) and high == wide else (high, wide)


def _length(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int] | None, ceil: bool
) -> int:
    if pads is None:
        return -(-size // stride)
    window = dilation * (kernel - 1) + 1
    room = size + sum(pads) - window
    if room < 0:
        raise LineError(
            f"output_size: a window of {window} px does not fit into {size + sum(pads)} px "
            "(padding included). Take a smaller kernel, or more padding."
        )
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + pads[0] else count


def _pads(padding: Padding) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Returns what is added to each side; None for as much as keeps the size."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise LineError(
                f"output_size: padding must be same, valid or numbers, not {padding!r}."
            )
        return None if padding == "same" else ((0, 0), (0, 0))
    high, wide = (padding, padding) if isinstance(padding, int) else padding
    return _pad(high), _pad(wide)


def _pad(value: int | tuple[int, int]) -> tuple[int, int]:
    first, last = (value, value) if isinstance(value, int) else value
    if min(first, last) < 0:
        raise LineError(f"output_size: padding must be 0 or more, not {value}.")
    return first, last


def _pair(value: Size, name: str) -> tuple[int, int]:
    sides: Sequence[int] = (value, value) if isinstance(value, int) else value
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise LineError(f"output_size: {name} must be a number from 1, or two, not {value!r}.")
    return sides[0], sides[1]
