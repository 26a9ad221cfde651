"""ONNX's convolutions and poolings, with all its ways to pad."""

from collections.abc import Sequence

from frostline.base.errors import BackboneError
from frostline.networks.graphs import common
from frostline.networks.graphs.calls import Call
from frostline.networks.translate import tensor_layers, tensors
from frostline.networks.translate.draft import Operand
from frostline.networks.translate.geometry import same_padding
from frostline.networks.translate.tensor_layers import Window

Sides = list[list[int]]


def conv(call: Call) -> Operand:
    """Translates a convolution of one or two axes."""
    x, kernel = call[0], call.array(1)
    if kernel.ndim not in (3, 4):
        raise BackboneError(f"a convolution over {kernel.ndim - 2} axes is not known.")
    flat = kernel.ndim == 3
    if flat:
        kernel = kernel[:, :, None, :]
        x = tensors.expand(call.draft, f"{call.name}/row", x, [2])
    size = [int(number) for number in kernel.shape[2:]]
    stride, dilation = _pair(call, "strides", flat), _pair(call, "dilations", flat)
    sides = _sides(call, x.shape[2:], size, stride, dilation, flat)
    window = Window(stride, sides, dilation)
    name = f"{call.name}/map" if flat else call.name
    given = tensor_layers.conv2d(call.draft, name, x, kernel, call.optional(2), window)
    channels = kernel.shape[1] * int(call.get("group", 1))
    if channels != x.shape[1]:
        raise BackboneError(f"its kernel is for {channels} channels, and it is given {x.shape[1]}.")
    return tensors.squeeze(call.draft, call.name, given, [2]) if flat else given


def max_pool(call: Call) -> Operand:
    """Translates a max pooling; what is padded never wins."""
    x = common.value(call[0])
    size, stride = _pair(call, "kernel_shape", False), _pair(call, "strides", False)
    if _pair(call, "dilations", False) != (1, 1) or call.get("storage_order", 0):
        raise BackboneError("it pools with gaps, which is not known.")
    sides = _sides(call, x.shape[2:], size, stride, (1, 1), False)
    if sides != "same":
        sides = _with_ceiling(call, x.shape[2:], size, stride, sides)
        if any(a != b for a, b in sides) or any(
            2 * a > k for (a, _), k in zip(sides, size, strict=True)
        ):
            settings = {
                "sides": [[0, 0], [0, 0], *sides],
                "mode": "constant",
                "value": float(_LOWEST),
            }
            x = call.draft.add(f"{call.name}/pad", "pad_axes", [x], settings)
            sides = [[0, 0], [0, 0]]
    return tensor_layers.pool(call.draft, call.name, x, "max", size, Window(stride, sides))


# The lowest number of 32 bits: infinities are not JSON.
_LOWEST = -3.4028234663852886e38


def average_pool(call: Call) -> Operand:
    """Translates an average pooling, with padding in the mean or not."""
    x = common.value(call[0])
    size, stride = _pair(call, "kernel_shape", False), _pair(call, "strides", False)
    sides = _sides(call, x.shape[2:], size, stride, (1, 1), False)
    if sides == "same":
        if call.get("count_include_pad", 0):
            raise BackboneError("it counts what `same` pads, which is not known.")
        return tensor_layers.pool(call.draft, call.name, x, "average", size, Window(stride, "same"))
    if _with_ceiling(call, x.shape[2:], size, stride, sides) != sides:
        raise BackboneError("it pools over the edge (ceil_mode), which is not known.")
    if call.get("count_include_pad", 0) and any(map(any, sides)):
        x = common.value(tensors.pad(call.draft, f"{call.name}/pad", x, [[0, 0], [0, 0], *sides]))
        sides = [[0, 0], [0, 0]]
    if any(a != b for a, b in sides):
        raise BackboneError(f"it pads by {sides} without counting it, which is not known.")
    return tensor_layers.pool(call.draft, call.name, x, "average", size, Window(stride, sides))


def _pair(call: Call, key: str, flat: bool) -> tuple[int, int]:
    told = [int(number) for number in call.get(key, ())]
    if flat and len(told) == 1:
        return 1, told[0]
    if not told:
        return 1, 1
    if len(told) != 2:
        raise BackboneError(f"its {key} {told} are not those of height and width.")
    return told[0], told[1]


def _sides(
    call: Call,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    flat: bool,
) -> Sides | str:
    """Returns what to pad before and after height and width, or `same`."""
    how = call.get("auto_pad", "NOTSET")
    if how == "SAME_UPPER":
        return "same"
    if how == "SAME_LOWER":
        both = [same_padding(*side) for side in zip(sizes, kernel, stride, dilation, strict=True)]
        return [[after, before] for before, after in both]
    told = [] if how == "VALID" else [int(number) for number in call.get("pads", ())]
    half = len(told) // 2
    sides = [[told[i], told[i + half]] for i in range(half)]
    if flat:
        sides = [[0, 0], *sides]
    sides = sides or [[0, 0], [0, 0]]
    if len(sides) != 2 or any(number < 0 for side in sides for number in side):
        raise BackboneError(f"its pads {told} are not those of height and width.")
    return sides


def _with_ceiling(
    call: Call,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    sides: Sides | str,
) -> Sides:
    """Returns what is padded once windows over the far edge count, as `ceil_mode` has it."""
    assert not isinstance(sides, str)
    if not call.get("ceil_mode", 0):
        return sides
    found = []
    for n, k, s, (before, after) in zip(sizes, kernel, stride, sides, strict=True):
        whole = n + before + after
        steps = -(-(whole - k) // s)
        # A window that begins in the padding behind does not count.
        steps -= steps * s >= n + before
        found.append([before, after + max(steps * s + k - whole, 0)])
    return found
