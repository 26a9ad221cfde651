"""The table from operators on tensors of any rank to modules; layers are in `operators.py`."""

import math
from collections.abc import Sequence

import numpy as np
from torch import nn

from frostline.base.errors import BackboneError
from frostline.networks.translate import geometry
from frostline.networks.translate.modules import Permute
from frostline.networks.translate.operator import Operator, Settings, Shape, chain
from frostline.networks.translate.spatial_modules import (
    COORDINATES,
    ROUNDINGS,
    DepthToSpace,
    Resample,
    SpaceToDepth,
)
from frostline.networks.translate.tensor_modules import (
    FUNCTIONS,
    REDUCTIONS,
    Einsum,
    Elementwise,
    InstanceNorm,
    Join,
    MatMul,
    PadAxes,
    Reduce,
    Slice,
    Take,
    View,
)

# Of one layer. Graphs from files of strangers may ask for any size.
_MOST_NUMBERS = 1 << 28


def _elementwise(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    if settings["how"] not in FUNCTIONS:
        raise BackboneError(f"there is no function {settings['how']!r} of tensors.")
    constants = {int(place): tuple(shape) for place, shape in settings["constants"].items()}
    _bounded(sum(math.prod(shape) for shape in constants.values()))
    rank = max(map(len, (*shapes, *constants.values())))
    ranks = [_to_rank(len(shape), rank, layout) for shape in shapes]
    numbers = {int(place): float(number) for place, number in settings["numbers"].items()}
    return Elementwise(settings["how"], ranks, constants, numbers, settings["trained"])


def _to_rank(own: int, rank: int, layout: str) -> list[int | None] | None:
    """Returns how a tensor gets new axes in front, as NumPy lets shapes meet."""
    here = geometry.to_source(own, layout) or tuple(range(own))
    there = geometry.from_source(rank, layout) or tuple(range(rank))
    source = [*[None] * (rank - own), *here]
    order = [source[axis] for axis in there]
    return None if order == list(range(own)) else order


def _reduce(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    if settings["how"] not in REDUCTIONS:
        raise BackboneError(f"there is no reduction {settings['how']!r}.")
    rank, keep = len(shapes[0]), settings["keep_axes"]
    axes = [geometry.axis_here(axis, rank, layout) for axis in settings["axes"]]
    reduce = Reduce(settings["how"], sorted(axes), keep)
    left = rank - len(axes)
    if keep or left < 2:
        return reduce
    kept = [axis for axis in range(rank) if axis not in axes]
    before = geometry.to_source(rank, layout) or tuple(range(rank))
    source = [kept.index(axis) for axis in before if axis in kept]
    there = geometry.from_source(left, layout) or tuple(range(left))
    order = [source[axis] for axis in there]
    same = order == list(range(left))
    return chain(reduce=reduce, order=None if same else Permute(order))


def _slice(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    rank = len(shapes[0])
    index = [slice(None)] * rank
    for axis, part in settings["slices"].items():
        index[geometry.axis_here(int(axis), rank, layout)] = slice(*part)
    return Slice(index)


def _take(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _bounded(len(settings["numbers"]))
    return Take(geometry.axis_here(settings["axis"], len(shapes[0]), layout), settings["numbers"])


def _pad_axes(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    rank, mode = len(shapes[0]), settings["mode"]
    order = geometry.from_source(rank, layout) or tuple(range(rank))
    sides = [settings["sides"][axis] for axis in order]
    if mode == "constant":
        return PadAxes(sides, settings["value"])
    parts = {}
    for axis, (before, after) in enumerate(sides):
        if before or after:
            _bounded(before + after)
            numbers = np.pad(np.arange(shapes[0][axis]), (before, after), mode=mode)
            parts[f"axis_{axis}"] = Take(axis, numbers.tolist())
    return chain(**parts) if parts else nn.Identity()


def _transpose(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    rank = len(shapes[0])
    here = geometry.to_source(rank, layout) or tuple(range(rank))
    there = geometry.from_source(rank, layout) or tuple(range(rank))
    return Permute([here[settings["order"][axis]] for axis in there])


def _view(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    before = geometry.to_source(len(shapes[0]), layout)
    after = geometry.from_source(len(settings["shape"]), layout)
    return chain(
        order=None if before is None else Permute(before),
        shape=View(settings["shape"]),
        back=None if after is None else Permute(after),
    )


def _matmul(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    if layout == "channels_last" and any(len(shape) == 4 for shape in shapes):
        raise BackboneError("a product of two maps is not known.")
    return MatMul(settings["turned"])


def _local_response_norm(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return nn.LocalResponseNorm(**settings)


def _einsum(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    constants = _constants(settings)
    ranks = [len(shape) for shape in (*shapes, *constants.values())]
    # The letters of its result stand in the source's order.
    left, _, given = settings["equation"].partition("->")
    if layout == "channels_last" and (4 in ranks or len(given) == 4):
        raise BackboneError("an einsum of maps with channels last is not known.")
    if "->" not in settings["equation"] or len(left.split(",")) != len(ranks):
        raise BackboneError(f"the equation {settings['equation']!r} is not known.")
    return Einsum(settings["equation"], constants, len(ranks))


def _join(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    axis = geometry.axis_here(settings["axis"], len(shapes[0]), layout)
    constants = _constants(settings)
    return Join(axis, constants, len(shapes) + len(constants))


def _constants(settings: Settings) -> dict[int, tuple[int, ...]]:
    found = {int(place): tuple(shape) for place, shape in settings["constants"].items()}
    _bounded(sum(math.prod(shape) for shape in found.values()))
    return found


def _instance_norm(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return InstanceNorm(shapes[0][1], settings["eps"])


def _group_norm(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return nn.GroupNorm(settings["groups"], shapes[0][1], eps=settings["eps"])


def _fold(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    sizes = ("output_size", "kernel_size", "dilation", "padding", "stride")
    return nn.Fold(**{key: tuple(settings[key]) for key in sizes})


def _depth_to_space(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return DepthToSpace(settings["block"], settings["channels_last"])


def _space_to_depth(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return SpaceToDepth(settings["block"])


def _resample(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    before, after = shapes[0][2:], settings["size"]
    _bounded(sum(own * int(wanted) for own, wanted in zip(before, after, strict=True)))
    words = (settings["coordinates"], settings["rounding"])
    if words[0] not in COORDINATES or words[1] not in ROUNDINGS:
        raise BackboneError(f"it resizes by {' and '.join(words)}, which is not known.")
    return Resample(before, after, settings["linear"], *words)


def _bounded(size: int) -> None:
    if not 0 <= size <= _MOST_NUMBERS:
        raise BackboneError(f"{size:,} numbers; at most {_MOST_NUMBERS:,} are held.")


_OPERANDS = {f"operand_{place}": ("", f"operand_{place}") for place in range(3)}
_AFFINE = {"gamma": ("", "weight"), "beta": ("", "bias")}
TENSOR_OPERATORS: dict[str, Operator] = {
    "elementwise": Operator(_elementwise, _OPERANDS),
    "einsum": Operator(_einsum, _OPERANDS),
    "join": Operator(_join, _OPERANDS),
    "instance_norm": Operator(_instance_norm, _AFFINE),
    "group_norm": Operator(_group_norm, _AFFINE),
    "fold": Operator(_fold, {}),
    "depth_to_space": Operator(_depth_to_space, {}),
    "space_to_depth": Operator(_space_to_depth, {}),
    "resample": Operator(_resample, {}),
    "reduce": Operator(_reduce, {}),
    "slice": Operator(_slice, {}),
    "take": Operator(_take, {}),
    "pad_axes": Operator(_pad_axes, {}),
    "transpose": Operator(_transpose, {}),
    "view": Operator(_view, {}),
    "matmul": Operator(_matmul, {}),
    "local_response_norm": Operator(_local_response_norm, {}),
}
