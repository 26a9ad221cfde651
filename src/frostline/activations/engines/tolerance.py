"""Whether an engine's activations agree with the network's, within a tolerance.

What a head makes of an activation depends on its direction and, less, on its length. So both are
compared, for the middle one of several images: rounding in half precision turns the activation of
a blank or very dark image by more than that of an ordinary one, since there is little of it. No
ordinary image may be quite another one, though.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """What rounding explains.

    Attributes:
        turn: The largest median of the tangent of the angle between two activations.
        scale: The largest median relative difference in length along the reference.
    """

    turn: float
    scale: float


# By the type that is computed in. Against float32 on photographs, MobileNetV2 in bfloat16 is turned
# by up to 0.087, with PyTorch and OpenVINO alike, and by up to 0.21 on single dark ones; a random
# ResNet-18 by 0.005; in float32, stored as float16, both by 0.0002. Another normalisation, another
# layer or other weights turn activations by 0.5 and more.
TOLERANCE: Mapping[torch.dtype, Tolerance] = {
    torch.bfloat16: Tolerance(0.3, 0.05),
    torch.float16: Tolerance(0.1, 0.02),
    torch.float32: Tolerance(0.002, 0.002),
}


# An image with at least this share of the usual length is ordinary, and must not be turned further
# than by half a right angle, nor be half as long or long again.
_ORDINARY, _WORST_TURN, _WORST_SCALE = 0.1, 1.0, 0.5


@dataclass(frozen=True)
class Agreement:
    """How far the activations of two engines are apart.

    Attributes:
        turn: The median over images of the tangent of the angle between both; NaN if any is.
        scale: The median relative difference in length along the reference.
        agrees: Whether both are within the tolerance, and no ordinary image is quite another.
    """

    turn: float
    scale: float
    agrees: bool


def agreement(reference: Tensor, got: Tensor, compute: torch.dtype) -> Agreement:
    """Compares activations of the same images: [n, *shape] each, n at least 1.

    Args:
        reference: The activations in float32.
        got: The engine's activations; those of another shape do not agree.
        compute: The type the engine computes in, which sets the tolerance.
    """
    if reference.shape != got.shape:
        return Agreement(math.inf, math.inf, agrees=False)
    a, b = reference.double().flatten(1), got.double().flatten(1)
    # An image whose activations are all zero must be matched exactly.
    smallest = torch.finfo(torch.float32).tiny
    size = a.norm(dim=1).clamp_min(smallest)
    along = (a * b).sum(1) / size.square()
    across = (b - along[:, None] * a).norm(dim=1) / size
    stretch = (along - 1).abs()
    # Zeros that are met exactly are equal.
    stretch[~(a != b).any(dim=1)] = 0.0
    turn, scale = float(across.median()), float(stretch.median())
    ordinary = size >= _ORDINARY * size.median()
    is_another = (across > _WORST_TURN) | (stretch > _WORST_SCALE)
    limit = TOLERANCE.get(compute, Tolerance(0.0, 0.0))
    agrees = turn <= limit.turn and scale <= limit.scale
    return Agreement(turn, scale, agrees and not bool((ordinary & is_another).any()))
