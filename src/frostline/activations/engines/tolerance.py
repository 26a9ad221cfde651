"""Whether an engine's activations agree with the network's, within a tolerance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# The largest accepted relative error of an image's activations, by the type that is computed in.
# Measured against float32 on photographs: MobileNetV2 in bfloat16 is off by up to 0.087, with
# PyTorch and OpenVINO alike and whether or not batch norms are folded, a random ResNet-18 by 0.005;
# in float32, stored as float16, both by 0.0002. A larger error is not explained by rounding.
TOLERANCE: Mapping[torch.dtype, float] = {
    torch.bfloat16: 0.15,
    torch.float16: 0.05,
    torch.float32: 0.002,
}


@dataclass(frozen=True)
class Agreement:
    """How far the activations of two engines are apart.

    Attributes:
        mean_relative: The mean over images of ||a - b|| / ||a||.
        worst_relative: The largest of them; NaN if any activation is.
        agrees: Whether the largest is within the tolerance.
    """

    mean_relative: float
    worst_relative: float
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
    relative = (a - b).norm(dim=1) / a.norm(dim=1).clamp_min(smallest)
    worst = float(relative.max())
    return Agreement(float(relative.mean()), worst, worst <= TOLERANCE.get(compute, 0.0))
