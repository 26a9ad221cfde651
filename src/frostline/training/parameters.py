"""Which parameters are trained, with which rates."""

from typing import Any

import torch
from torch import nn


def groups(
    suffix: nn.Module, head: nn.Module, lr: float, suffix_lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Returns an optimiser's parameter groups: head and suffix, with and without weight decay.

    Biases and the scales of norms (everything with one axis) are not decayed.

    Args:
        suffix: The layers above the line, at `lr * suffix_lr`.
        head: The new layers, at `lr`.
        lr: Peak rate.
        suffix_lr: Share of it.
        weight_decay: For weights.
    """
    made = []
    for name, part, rate in (("suffix", suffix, lr * suffix_lr), ("head", head, lr)):
        for decayed in (True, False):
            chosen = [p for p in part.parameters() if (p.ndim > 1) == decayed]
            if chosen:
                decay = weight_decay if decayed else 0.0
                made.append(
                    {
                        "params": chosen,
                        "lr": rate,
                        "peak_lr": rate,
                        "weight_decay": decay,
                        "name": name,
                    }
                )
    return made


def make_optimizer(name: str, made: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Returns `adamw`, or `sgd` with Nesterov momentum 0.9, over groups from `groups`."""
    if name == "sgd":
        return torch.optim.SGD(made, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(made, fused=True)
