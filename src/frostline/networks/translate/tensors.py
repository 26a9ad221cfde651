"""What graphs do with tensors: each function takes operands and adds a node where it must.

Shapes and axes are the source's, the batch included. What is computed of constants alone is a
constant.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.translate import constants, geometry
from frostline.networks.translate.draft import OPEN_BATCH, Array, Draft, Operand, Value

_MOST_COPIES = 4096
_MERGES = ("add", "subtract", "multiply", "maximum", "minimum")


def identity(draft: Draft, name: str, x: Operand) -> Operand:
    """Hands on what it is given under another name."""
    return draft.add(name, "identity", [x], {}) if isinstance(x, Value) else x


def function(draft: Draft, name: str, x: Operand, which: str, **settings: Any) -> Operand:
    """Applies a function of `translate.activations.NAMES`."""
    if not isinstance(x, Value):
        return constants.computed(which, (x,))
    return draft.add(name, "activation", [x], {"function": which, **settings})


def reshape(draft: Draft, name: str, x: Operand, shape: Sequence[int]) -> Operand:
    """Gives a tensor another shape; one size may be −1."""
    wanted = [int(size) for size in shape]
    if not isinstance(x, Value):
        return x.reshape(_resolved(x.shape, wanted))
    target = _resolved(x.shape, _for_any_number(draft, x.shape, wanted))
    while draft.node(x).op in ("reshape", "flatten", "view"):
        (x,) = draft.read_by(x)
    if target == x.shape:
        return identity(draft, name, x)
    if len(x.shape) == 1 and target[0] == x.shape[0]:
        return draft.add(name, "view", [x], {"shape": [-1, *target[1:]]})
    further = any(size % OPEN_BATCH == 0 for size in target[1:])
    if target and target[0] == x.shape[0] and not further:
        if len(target) == 2 and len(x.shape) == 4:
            return draft.add(name, "flatten", [x], {})
        return draft.add(name, "reshape", [x], {"shape": list(target[1:])})
    if draft.batch != OPEN_BATCH or sum(size % OPEN_BATCH == 0 for size in target) != 1:
        raise BackboneError(
            f"{draft.where}: {name!r} gives {list(x.shape)} the shape {list(target)}, which mixes "
            "pictures of a batch."
        )
    sizes = [-1 if size % OPEN_BATCH == 0 else size for size in target]
    return draft.add(name, "view", [x], {"shape": sizes})


def expand(draft: Draft, name: str, x: Operand, axes: Sequence[int]) -> Operand:
    """Adds axes of one place; `axes` are those of the result."""
    rank = len(x.shape) + len(axes)
    new = sorted(axis % rank for axis in axes)
    sizes = list(x.shape)
    for axis in new:
        sizes.insert(axis, 1)
    return reshape(draft, name, x, sizes)


def squeeze(draft: Draft, name: str, x: Operand, axes: Sequence[int]) -> Operand:
    """Takes axes of one place away: those named, or all."""
    rank = len(x.shape)
    chosen = {axis % rank for axis in axes} or {
        axis for axis, size in enumerate(x.shape) if size == 1 and (axis or x.shape[0] != 1)
    }
    return reshape(draft, name, x, [n for axis, n in enumerate(x.shape) if axis not in chosen])


def transpose(draft: Draft, name: str, x: Operand, order: Sequence[int]) -> Operand:
    """Puts axes into another order."""
    axes = [int(axis) % len(x.shape) for axis in order]
    if sorted(axes) != list(range(len(x.shape))):
        raise BackboneError(f"{draft.where}: {name!r} turns {len(x.shape)} axes by {axes}.")
    if not isinstance(x, Value):
        return x.transpose(axes)
    while draft.node(x).op == "transpose":
        before = draft.node(x).settings["order"]
        axes = [before[axis] for axis in axes]
        (x,) = draft.read_by(x)
    if axes == sorted(axes):
        return identity(draft, name, x)
    return draft.add(name, "transpose", [x], {"order": axes})


def take_slices(
    draft: Draft, name: str, x: Operand, slices: Mapping[int, tuple[int, int, int]]
) -> Operand:
    """Takes places along axes: `start`, `stop` and `step` as in Python, already in bounds."""
    whole = {axis: (0, size, 1) for axis, size in enumerate(x.shape)}
    parts = {axis: part for axis, part in slices.items() if tuple(part) != whole[axis]}
    if not isinstance(x, Value):
        index = [slice(None)] * x.ndim
        for axis, (start, stop, step) in parts.items():
            index[axis] = slice(start, None if stop < 0 else stop, step)
        return x[tuple(index)]
    if 0 in parts and x.shape[0] == draft.batch:
        raise BackboneError(f"{draft.where}: {name!r} takes some pictures of a batch apart.")
    forward = {axis: part for axis, part in parts.items() if part[2] > 0}
    for axis, (start, stop, step) in parts.items():
        if step < 0:
            numbers = list(range(start, stop, step))
            x = draft.add(f"{name}/axis_{axis}", "take", [x], {"axis": axis, "numbers": numbers})
    if not forward:
        return identity(draft, name, x)
    as_text = {str(axis): list(part) for axis, part in forward.items()}
    return draft.add(name, "slice", [x], {"slices": as_text})


def take(draft: Draft, name: str, x: Operand, numbers: Array, axis: int) -> Operand:
    """Takes the places of given numbers along an axis."""
    if not isinstance(x, Value):
        constants.bounded(numbers.size * math.prod(x.shape))
        return np.take(x, numbers, axis)
    axis %= len(x.shape)
    wide = (*x.shape[:axis], *numbers.shape, *x.shape[axis + 1 :])
    if x.shape[axis] % draft.batch == 0 and draft.batch == OPEN_BATCH:
        # Some exports take all places in their order, pictures included.
        size = x.shape[axis] // OPEN_BATCH * (draft.made_for or OPEN_BATCH)
        if numbers.size != size or (numbers.reshape(-1) != np.arange(size)).any():
            raise BackboneError(f"{draft.where}: {name!r} takes some pictures of a batch apart.")
        return reshape(draft, name, x, wide)
    found = [int(n) % x.shape[axis] for n in numbers.reshape(-1)]
    if numbers.ndim > 1:
        row = draft.add(f"{name}/row", "take", [x], {"axis": axis, "numbers": found})
        return reshape(draft, name, row, wide)
    taken: Operand = draft.add(name, "take", [x], {"axis": axis, "numbers": found})
    return squeeze(draft, f"{name}/squeezed", taken, [axis]) if numbers.ndim == 0 else taken


def concatenate(draft: Draft, name: str, parts: Sequence[Operand], axis: int) -> Operand:
    """Puts tensors one after the other along an axis."""
    values = [part for part in parts if isinstance(part, Value)]
    fixed = [part for part in parts if not isinstance(part, Value)]
    if not values:
        return np.concatenate(fixed, axis)
    axis %= len(values[0].shape)
    if len(values) == 1 and all(not np.any(part) for part in fixed):
        return _padded_by(draft, name, parts, axis)
    if fixed:
        return _joined(draft, name, parts, axis)
    if len(values) == 1:
        return identity(draft, name, values[0])
    return draft.add(name, "concatenate", values, {"axis": axis})


def _joined(draft: Draft, name: str, parts: Sequence[Operand], axis: int) -> Operand:
    """Joins tensors with constants, which are the same for all pictures."""
    values = [part for part in parts if isinstance(part, Value)]
    fixed = {at: part for at, part in enumerate(parts) if not isinstance(part, Value)}
    if axis == 0 or max(fixed) > 2 or values[0].shape[0] != draft.batch:
        raise BackboneError(f"{draft.where}: {name!r} joins pictures with constants.")
    arrays = {}
    for at, part in fixed.items():
        if len(part.shape) != len(values[0].shape) or not (part == part[:1]).all():
            raise BackboneError(f"{draft.where}: {name!r} joins pictures with other constants.")
        arrays[at] = _spread(part[:1], part.ndim, draft.layout)
    settings = {
        "axis": axis,
        "constants": {str(at): list(one.shape) for at, one in arrays.items()},
    }
    held = {f"operand_{at}": one for at, one in arrays.items()}
    return draft.add(name, "join", values, settings, held)


def tile(draft: Draft, name: str, x: Operand, times: Sequence[int]) -> Operand:
    """Repeats a tensor along its axes."""
    if not isinstance(x, Value):
        # What is repeated for each picture meets any number of them.
        once = [1 if count == OPEN_BATCH == draft.batch else count for count in times]
        constants.bounded(x.size * math.prod(once))
        return np.tile(x, once)
    if len(times) != len(x.shape) or times[0] != 1 or max(times) > _MOST_COPIES:
        raise BackboneError(f"{draft.where}: {name!r} repeats {list(x.shape)} {list(times)} times.")
    given: Operand = x
    for axis, count in enumerate(times):
        if count > 1:
            given = concatenate(draft, f"{name}/axis_{axis}", [given] * count, axis)
    return identity(draft, name, given)


def einsum(draft: Draft, name: str, equation: str, operands: Sequence[Operand]) -> Operand:
    """Computes a sum of products over axes that letters name; the result's must be named, too."""
    values = [one for one in operands if isinstance(one, Value)]
    fixed = {at: one for at, one in enumerate(operands) if not isinstance(one, Value)}
    plain = equation.replace(" ", "")
    if not values:
        return np.asarray(np.einsum(plain, *fixed.values()))
    if max(fixed, default=0) > 2:
        raise BackboneError(f"{draft.where}: {name!r} has more than three operands.")
    settings = {
        "equation": plain,
        "constants": {str(at): list(one.shape) for at, one in fixed.items()},
    }
    held = {f"operand_{at}": one for at, one in fixed.items()}
    return draft.add(name, "einsum", values, settings, held)


def resample(
    draft: Draft,
    name: str,
    x: Value,
    size: Sequence[int],
    linear: bool,
    coordinates: str,
    rounding: str = "round_prefer_floor",
) -> Value:
    """Resizes a map to a height and width; see `spatial_modules.Resample`."""
    settings = {
        "size": [int(side) for side in size],
        "linear": linear,
        "coordinates": coordinates,
        "rounding": rounding,
    }
    return draft.add(name, "resample", [x], settings)


def _padded_by(draft: Draft, name: str, parts: Sequence[Operand], axis: int) -> Operand:
    """Joins a tensor with constants of zeros alone."""
    at = next(i for i, part in enumerate(parts) if isinstance(part, Value))
    x = parts[at]
    sides = [(0, 0)] * len(x.shape)
    before, after = (
        sum(part.shape[axis] for part in some) for some in (parts[:at], parts[at + 1 :])
    )
    sides[axis] = (before, after)
    return pad(draft, name, x, sides)


def pad(
    draft: Draft,
    name: str,
    x: Operand,
    sides: Sequence[Sequence[int]],
    mode: str = "constant",
    value: float = 0.0,
) -> Operand:
    """Pads axes before and after; `mode` is NumPy's word."""
    pairs = [[int(side) for side in pair] for pair in sides]
    if not isinstance(x, Value):
        constants.bounded(math.prod(n + sum(pair) for n, pair in zip(x.shape, pairs, strict=True)))
        return np.pad(x, pairs, mode=mode)  # type: ignore[call-overload, no-any-return]
    if len(pairs) != len(x.shape) or any(side < 0 for pair in pairs for side in pair):
        raise BackboneError(f"{draft.where}: {name!r} pads {list(x.shape)} by {pairs}.")
    if not any(map(any, pairs)):
        return identity(draft, name, x)
    if any(pairs[0]) and x.shape[0] == draft.batch:
        raise BackboneError(f"{draft.where}: {name!r} adds pictures to a batch.")
    spatial = geometry_axes(draft.layout) if len(pairs) == 4 else ()
    others = [pair for axis, pair in enumerate(pairs) if axis not in spatial]
    if spatial and mode == "constant" and value == 0.0 and not any(map(any, others)):
        return draft.add(name, "pad", [x], {"sides": [pairs[axis] for axis in spatial]})
    settings = {"sides": pairs, "mode": mode, "value": value}
    return draft.add(name, "pad_axes", [x], settings)


def geometry_axes(layout: str) -> tuple[int, int]:
    """Returns the axes of height and width in a source's maps."""
    return (1, 2) if layout == "channels_last" else (2, 3)


def reduce(
    draft: Draft, name: str, how: str, x: Operand, axes: Sequence[int], keep_axes: bool
) -> Operand:
    """Computes the `mean`, `sum`, `max` or `min` over axes; over all where none is named."""
    chosen = sorted({int(axis) % len(x.shape) for axis in axes}) or list(range(len(x.shape)))
    if not isinstance(x, Value):
        found = constants.REDUCTIONS[how](x, axis=tuple(chosen), keepdims=keep_axes)
        return np.asarray(found, x.dtype)
    if how not in ("mean", "sum", "max", "min", "l1", "l2"):
        raise BackboneError(f"{draft.where}: {name!r} asks for the {how} over axes.")
    if 0 in chosen and x.shape[0] == draft.batch:
        raise BackboneError(f"{draft.where}: {name!r} takes the {how} over pictures of a batch.")
    spatial = len(x.shape) == 4 and tuple(chosen) == geometry_axes(draft.layout)
    if spatial and how in ("mean", "max"):
        word = "average" if how == "mean" else "max"
        return draft.add(name, "global_pool", [x], {"reduce": word, "keep_axes": keep_axes})
    settings = {"how": how, "axes": chosen, "keep_axes": keep_axes}
    return draft.add(name, "reduce", [x], settings)


def elementwise(
    draft: Draft, name: str, how: str, *operands: Operand, trained: bool = True
) -> Operand:
    """Computes a function of tensors and constants, whose shapes meet as NumPy's do.

    Args:
        draft: The graph in the making.
        name: The node's.
        how: A key of `tensor_modules.FUNCTIONS`.
        operands: Its arguments.
        trained: Whether constants of more than one number are parameters.
    """
    values = [one for one in operands if isinstance(one, Value)]
    fixed = {at: one for at, one in enumerate(operands) if not isinstance(one, Value)}
    if not values:
        return constants.computed(how, tuple(fixed.values()))
    rank = max(len(one.shape) for one in operands)
    most = max(len(one.shape) for one in values)
    single = {at: one for at, one in fixed.items() if one.size == 1 and one.ndim <= most}
    if len(single) == 1 and len(operands) == 2 and (found := _affine(how, single)):
        return draft.add(name, "affine", values, found)
    if not fixed and how in _MERGES and len({one.shape for one in values}) == 1:
        return draft.add(name, "merge", values, {"how": how})
    arrays = {at: _spread(one, rank, draft.layout) for at, one in fixed.items() if at not in single}
    settings = {
        "how": how,
        "constants": {str(at): list(one.shape) for at, one in arrays.items()},
        "numbers": {str(at): float(one.reshape(-1)[0]) for at, one in single.items()},
        "trained": trained and all(one.dtype.kind == "f" for one in arrays.values()),
    }
    return draft.add(
        name, "elementwise", values, settings, {f"operand_{at}": one for at, one in arrays.items()}
    )


def _affine(how: str, single: Mapping[int, Array]) -> dict[str, float] | None:
    """Returns a multiplication and an addition that say the same, where there are such."""
    ((at, array),) = single.items()
    number = float(array.reshape(-1)[0])
    if not math.isfinite(number) or array.dtype.kind not in "fiu":
        return None
    if how == "add":
        return {"scale": 1.0, "offset": number}
    if how == "subtract":
        return {"scale": 1.0 if at else -1.0, "offset": -number if at else number}
    if how == "multiply":
        return {"scale": number, "offset": 0.0}
    if how == "divide" and at and number:
        return {"scale": 1 / number, "offset": 0.0}
    return None


def _spread(array: Array, rank: int, layout: str) -> Array:
    """Gives a constant the rank of what it meets, in the order held here."""
    spread = array.reshape((1,) * (rank - array.ndim) + array.shape)
    order = geometry.from_source(rank, layout)
    return spread if order is None else spread.transpose(order)


def _for_any_number(draft: Draft, shape: Sequence[int], target: list[int]) -> list[int]:
    """Returns a shape that was written for a fixed number of pictures, for any number of them.

    The axis that has the pictures is the one that holds them where there are as many numbers before
    it as before the pictures now. Where an axis has both the pictures and others, it is taken for
    the pictures' outermost; whoever relies on it compares pictures in a batch and alone.
    """
    at = [axis for axis, size in enumerate(shape) if size % OPEN_BATCH == 0]
    if not draft.made_for or len(at) != 1 or any(size % OPEN_BATCH == 0 for size in target):
        return target
    own = [*shape]
    own[at[0]] = own[at[0]] // OPEN_BATCH * draft.made_for
    found = list(_resolved(own, target))
    before, wanted = 1, math.prod(shape[: at[0]])
    for axis, size in enumerate(found):
        ahead, rest = divmod(wanted, before)
        if not rest and size % (ahead * draft.made_for) == 0:
            found[axis] = size // draft.made_for * OPEN_BATCH
            return found
        before *= size
    return target


def _resolved(shape: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    size = math.prod(shape)
    known = math.prod(n for n in target if n != -1)
    open_ = target.count(-1)
    if open_ > 1 or (open_ and (not known or size % known)) or (not open_ and known != size):
        raise BackboneError(f"{list(shape)} cannot have the shape {list(target)}.")
    return tuple(size // known if n == -1 else n for n in target)
