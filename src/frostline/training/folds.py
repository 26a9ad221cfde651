"""Folds for cross-validation: classes spread evenly, groups kept together."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from frostline.base.errors import TrainingError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def assign(
    targets: Tensor, count: int, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> Tensor:
    """Returns the fold of each image: [n] of 0 to `count` - 1, on the CPU.

    One class an image and no groups: each class is dealt out in turn, so that its images in any two
    folds differ by one at most. Otherwise groups, or single images with their labels, go one by
    one, the rare and the large first, to the fold that lacks most of what they have (after
    Sechidis et al., On the Stratification of Multi-Label Data, ECML PKDD 2011).

    Args:
        targets: [n] of classes, or [n, c] of 0 and 1 where an image may have several labels.
        count: How many folds.
        groups: For each image what it must stay together with; None for itself alone.
        seed: Decides among equals.

    Raises:
        TrainingError: Where there are fewer images, or groups, than folds, or fewer than two folds.
    """
    units = _numbered(groups) if groups is not None else np.arange(len(targets))
    most = int(units.max()) + 1 if len(units) else 0
    if not 2 <= count <= most:
        what = "groups" if groups is not None else "images"
        raise TrainingError(
            f"folds: must be from 2 to the number of training {what}, which is {most}; got {count}."
        )
    chance = np.random.default_rng(seed)
    if groups is None and targets.ndim == 1:
        return torch.from_numpy(_deal(targets.cpu().numpy(), count, chance))
    has = _has(targets)
    by_unit = np.zeros((most, has.shape[1]))
    np.add.at(by_unit, units, has)
    return torch.from_numpy(_place(by_unit, count, chance)[units])


def _numbered(groups: Sequence[Hashable]) -> Ints:
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], dtype=np.int64)


def _has(targets: Tensor) -> Floats:
    """Returns [n, c + 1] of 0 and 1: the classes of each image, and the image itself."""
    if targets.ndim == 1:
        classes = targets.cpu().numpy()
        of_class = classes[:, None] == np.unique(classes)
    else:
        of_class = targets.cpu().numpy() > 0.5
    return np.column_stack([of_class, np.ones(len(targets))]).astype(np.float64)


def _deal(classes: Ints, count: int, chance: np.random.Generator) -> Ints:
    shuffled = chance.permutation(len(classes))
    sorted_rows = shuffled[np.argsort(classes[shuffled], kind="stable")]
    folds = np.empty(len(classes), dtype=np.int64)
    folds[sorted_rows] = np.arange(len(classes)) % count
    return folds


def _place(by_unit: Floats, count: int, chance: np.random.Generator) -> Ints:
    """Returns the fold of each unit, from what each has of every class: [units, c + 1]."""
    totals = by_unit.sum(0).clip(min=1)
    order = chance.permutation(len(by_unit))
    weights = (by_unit / totals).max(1)
    order = order[np.argsort(-weights[order], kind="stable")]
    filled = np.zeros((count, by_unit.shape[1]))
    folds = np.empty(len(by_unit), dtype=np.int64)
    for unit in order:
        # What the sum of squared shares grows by, but for what is the same in all folds.
        fold = int(np.argmin(filled @ (by_unit[unit] / totals**2)))
        folds[unit] = fold
        filled[fold] += by_unit[unit]
    return folds
