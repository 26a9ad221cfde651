"""Which parameters are trained, with which rates."""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn


def groups(
    suffix: nn.Module,
    head: nn.Module,
    lr: float,
    suffix_lr: float,
    weight_decay: float,
    depths: Mapping[str, int] | None = None,
    layer_decay: float = 1.0,
    undecayed: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Returns an optimiser's parameter groups: head and suffix, with and without weight decay.

    Biases and the scales of norms (everything with one axis) are not decayed, nor is what the
    network itself wants left alone, such as the embeddings of positions.

    Args:
        suffix: The layers above the line, at `lr * suffix_lr`.
        head: The new layers, at `lr`.
        lr: Peak rate.
        suffix_lr: Share of it.
        weight_decay: For weights.
        depths: For the suffix's parameters, how many blocks lie above; 0 where one is not named.
        layer_decay: What the rate is multiplied by from one depth to the next (Clark et al.,
            "ELECTRA", 2020).
        undecayed: Names of the suffix's parameters that are not decayed; `*` stands for any part.
    """
    depths = depths or {}
    made: dict[tuple[str, int, bool], dict[str, Any]] = {}
    for part, module in (("suffix", suffix), ("head", head)):
        for name, parameter in module.named_parameters():
            depth = depths.get(name, 0) if part == "suffix" and layer_decay < 1 else 0
            is_spared = part == "suffix" and any(fnmatchcase(name, one) for one in undecayed)
            decayed = parameter.ndim > 1 and not is_spared
            rate = lr * suffix_lr * layer_decay**depth if part == "suffix" else lr
            group = made.setdefault(
                (part, -depth, decayed),
                {
                    "params": [],
                    "lr": rate,
                    "peak_lr": rate,
                    "weight_decay": weight_decay if decayed else 0.0,
                    "name": part,
                },
            )
            group["params"].append(parameter)
    # The deepest first and the head last: the last group's rate is the one that is told.
    order = {"suffix": 0, "head": 1}
    return [made[key] for key in sorted(made, key=lambda key: (order[key[0]], key[1], not key[2]))]


def make_optimizer(name: str, made: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Returns an optimiser over groups from `groups`.

    Args:
        name: `adamw`, `adam`, `sgd` (Nesterov momentum 0.9) or `rmsprop`.
        made: The groups.
    """
    if name == "sgd":
        return torch.optim.SGD(made, momentum=0.9, nesterov=True, fused=True)
    if name == "rmsprop":
        return torch.optim.RMSprop(made)
    return (torch.optim.Adam if name == "adam" else torch.optim.AdamW)(made, fused=True)
