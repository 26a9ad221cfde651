"""Whether an engine gives what the network gives."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# The largest relative error of one image that passes, by the type that is computed in. Measured
# against float32 on photographs: MobileNetV2 in bfloat16 is off by up to 0.087, with PyTorch and
# OpenVINO alike and whether or not batch norms are folded, a random ResNet-18 by 0.005; in float32,
# stored as float16, both by 0.0002. More than these bounds is something else than rounding.
TOLERANCE: Mapping[torch.dtype, float] = {
    torch.bfloat16: 0.15,
    torch.float16: 0.05,
    torch.float32: 0.002,
}


@dataclass(frozen=True)
class Agreement:
    """How far two engines' activations are apart.

    Attributes:
        mean_relative: The mean over images of ||a - b|| / ||a||.
        worst_relative: The largest of them; not a number where a value is none.
        agrees: Whether the worst is within the tolerance.
    """

    mean_relative: float
    worst_relative: float
    agrees: bool


def agreement(reference: Tensor, got: Tensor, compute: torch.dtype) -> Agreement:
    """Compares activations of the same images: [n, *shape] each, n at least 1.

    Args:
        reference: What float32 gives.
        got: What the engine gives; of another shape, it does not agree.
        compute: The type the engine computes in, whose tolerance holds.
    """
    if reference.shape != got.shape:
        return Agreement(math.inf, math.inf, agrees=False)
    a, b = reference.double().flatten(1), got.double().flatten(1)
    # An image all of whose activations are zero is met exactly or not at all.
    smallest = torch.finfo(torch.float32).tiny
    relative = (a - b).norm(dim=1) / a.norm(dim=1).clamp_min(smallest)
    worst = float(relative.max())
    return Agreement(float(relative.mean()), worst, worst <= TOLERANCE.get(compute, 0.0))
