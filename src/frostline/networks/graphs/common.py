"""What operations of several formats have in common."""

import math
from collections.abc import Sequence

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs.calls import Call, Translate
from frostline.networks.translate import constants, tensor_layers, tensors
from frostline.networks.translate.draft import OPEN_BATCH, Array, Operand, Value


def function(which: str) -> Translate:
    """Returns a translation into a function of one tensor, element by element."""
    return lambda call: tensors.function(call.draft, call.name, call[0], which)


def over_last_axis(which: str) -> Translate:
    """Returns a translation into a softmax or its like over the last axis."""
    return lambda call: tensors.function(call.draft, call.name, call[0], which, axis=-1)


def binary(how: str, trained: bool = True) -> Translate:
    """Returns a translation into a function of two tensors, element by element.

    Args:
        how: A key of `tensor_modules.FUNCTIONS`.
        trained: Whether constants of more than one number are parameters.
    """
    return lambda call: tensors.elementwise(
        call.draft, call.name, how, call[0], call[1], trained=trained
    )


def select(call: Call) -> Operand:
    """Translates a choice between two tensors by a third."""
    return tensors.elementwise(
        call.draft, call.name, "select", call[0], call[1], call[2], trained=False
    )


def identity(call: Call) -> Operand:
    """Translates what hands on its first input."""
    return tensors.identity(call.draft, call.name, call[0])


def shape(call: Call) -> Array:
    """Translates the shape of a tensor."""
    return np.array(call[0].shape, np.int64)


def joined(call: Call, parts: Sequence[Operand], axis: int) -> Operand:
    """Puts tensors of one shape beside each other along a new axis."""
    wide = [
        tensors.expand(call.draft, f"{call.name}/part_{i}", part, [axis])
        for i, part in enumerate(parts)
    ]
    return tensors.concatenate(call.draft, call.name, wide, axis)


def split(call: Call, x: Operand, axis: int, sizes: Sequence[int]) -> tuple[Operand, ...]:
    """Takes a tensor apart along an axis, into parts of these sizes."""
    axis %= len(x.shape)
    whole = x.shape[axis]
    known = [size for size in sizes if size != -1]
    parts = [whole - sum(known) if size == -1 else size for size in sizes]
    if sum(parts) != whole or min(parts, default=-1) < 0 or len(known) < len(sizes) - 1:
        raise BackboneError(f"it takes {whole} places apart into {list(sizes)}.")
    found, start = [], 0
    for i, size in enumerate(parts):
        name = call.name if len(parts) == 1 else f"{call.name}/part_{i}"
        piece = {axis: (start, start + size, 1)}
        found.append(tensors.take_slices(call.draft, name, x, piece))
        start += size
    return tuple(found)


def equal_parts(call: Call, x: Operand, axis: int, count: int) -> tuple[Operand, ...]:
    """Takes a tensor apart into equal parts along an axis."""
    size = x.shape[axis]
    if count < 1 or size % count:
        raise BackboneError(f"it takes {size} places apart into {count}.")
    return split(call, x, axis, [size // count] * count)


def singles(call: Call, x: Operand, axis: int) -> tuple[Operand, ...]:
    """Takes a tensor apart into what lies at each place of an axis."""
    parts = equal_parts(call, x, axis, x.shape[axis])
    return tuple(
        tensors.squeeze(call.draft, f"{call.name}/single_{i}", one, [axis])
        for i, one in enumerate(parts)
    )


def every(call: Call) -> list[Operand]:
    """Returns all operands, none of which may be left out."""
    return [call[i] for i in range(len(call.operands))]


def fold(how: str) -> Translate:
    """Returns a translation of a function of any number of tensors, two by two."""

    def translate(call: Call) -> Operand:
        first, *others = every(call)
        for i, other in enumerate(others):
            name = call.name if i == len(others) - 1 else f"{call.name}/part_{i}"
            first = tensors.elementwise(call.draft, name, how, first, other)
        return first if others else tensors.identity(call.draft, call.name, first)

    return translate


def product(call: Call, turned: tuple[bool, bool]) -> Operand:
    """Translates a product of matrices, each turned first where asked."""
    x, other = call[0], call[1]
    if isinstance(other, Value):
        settings = {"turned": list(turned)}
        return call.draft.add(call.name, "matmul", [value(x), other], settings)
    if turned[0]:
        raise BackboneError("it turns what depends on the picture before a product.")
    kernel = other if turned[1] else np.swapaxes(other, -1, -2)
    if not isinstance(x, Value):
        return x @ np.swapaxes(kernel, -1, -2)
    if kernel.ndim > 2 and kernel.size == kernel.shape[-1] * kernel.shape[-2]:
        kernel = kernel.reshape(kernel.shape[-2:])
    return tensor_layers.dense(call.draft, call.name, x, kernel)


def part(call: Call, begin: Sequence[int], size: Sequence[int]) -> Operand:
    """Takes `size` places from `begin` on along every axis; −1 is all that are left."""
    x = call[0]
    slices = {}
    for axis, (start, length) in enumerate(zip(begin, size, strict=True)):
        stop = x.shape[axis] if length == -1 else start + length
        if not 0 <= start <= stop <= x.shape[axis]:
            raise BackboneError(f"it takes places {start} to {stop} of {x.shape[axis]}.")
        slices[axis] = (start, stop, 1)
    return tensors.take_slices(call.draft, call.name, x, slices)


def for_one(call: Call, shape: Sequence[int]) -> list[int]:
    """Returns the shape of a constant for one picture, which meets those of any number."""
    return [1 if size == OPEN_BATCH == call.draft.batch else size for size in shape]


def full(call: Call, shape: Sequence[int], fill: Array) -> Operand:
    """Returns a constant of one number."""
    wide = for_one(call, shape)
    constants.bounded(math.prod(wide))
    return np.full(wide, fill.reshape(-1)[0])


def broadcast(call: Call) -> Operand:
    """Translates the repetition of a tensor along axes of one place, up to a shape."""
    x, shape = call[0], call.integers(1)
    wide = for_one(call, shape)
    constants.bounded(math.prod(wide))
    if not isinstance(x, Value):
        constants.bounded(math.prod(np.broadcast_shapes(x.shape, tuple(wide))))
        return np.ones(wide, x.dtype) * x
    wide = [1 if size == call.draft.batch else size for size in wide]
    if np.broadcast_shapes(x.shape, tuple(wide)) == x.shape:
        return tensors.identity(call.draft, call.name, x)
    ones: Array = np.ones(wide, np.float32)
    return tensors.elementwise(call.draft, call.name, "multiply", x, ones, trained=False)


def blocks(call: Call, op: str, side: int) -> Operand:
    """Translates `depth_to_space` and `space_to_depth`, as TensorFlow orders channels."""
    settings: dict[str, object] = {"block": side}
    if op == "depth_to_space":
        settings["channels_last"] = True
    return call.draft.add(call.name, op, [value(call[0])], settings)


def resized(call: Call, linear: bool, corners: bool, centred: bool) -> Operand:
    """Translates a change of a map's height and width to those of its second input.

    Args:
        call: The operation.
        linear: Whether neighbours are mixed, or the nearest is taken.
        corners: Whether the centres of the corners stay corners.
        centred: Whether places are taken by their centres; else by their upper left ends.
    """
    x, size = value(call[0]), call.integers(1)
    own = [x.shape[axis] for axis in tensors.geometry_axes(call.draft.layout)]
    factor = [wanted / side for wanted, side in zip(size, own, strict=True)]
    whole = all(number == int(number) >= 1 for number in factor)
    if whole and not corners and (centred or not linear):
        word = "bilinear" if linear else "nearest"
        settings = {"factor": factor, "interpolation": word}
        return call.draft.add(call.name, "upsample", [x], settings)
    how = "align_corners" if corners else "half_pixel" if centred else "asymmetric"
    rounding = "floor" if how == "asymmetric" else "round_prefer_ceil"
    return tensors.resample(call.draft, call.name, x, size, linear, how, rounding)


def value(x: Operand) -> Value:
    """Returns an operand that must depend on the picture."""
    if not isinstance(x, Value):
        raise BackboneError("it must read what depends on the picture.")
    return x


def number(call: Call, index: int, default: float) -> float:
    """Returns an operand that is one number, or `default` where it is left out."""
    if call.optional(index) is None:
        return default
    found = call.array(index)
    if found.size != 1:
        raise BackboneError(f"its input {index + 1} must be one number.")
    return float(found.reshape(-1)[0])


def pairs(call: Call, index: int) -> list[list[int]]:
    """Returns an operand that says what to pad: before and after, for every axis."""
    found = call.integers(index)
    if len(found) % 2:
        raise BackboneError("it must say what to pad before and after each axis.")
    return [found[i : i + 2] for i in range(0, len(found), 2)]
