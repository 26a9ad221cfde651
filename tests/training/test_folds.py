import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frostline.base.errors import TrainingError
from frostline.training import folds


def counts(targets: torch.Tensor, fold: torch.Tensor, count: int) -> torch.Tensor:
    """Returns [count, classes] of images."""
    number = int(targets.max()) + 1
    return torch.bincount(fold * number + targets, minlength=count * number).reshape(count, number)


@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=60),
    st.integers(2, 12),
    st.integers(0, 3),
)
def test_classes_are_spread_evenly(classes: list[int], count: int, seed: int) -> None:
    targets = torch.tensor(classes)
    count = min(count, len(classes))
    fold = folds.assign(targets, count, seed=seed)
    table = counts(targets, fold, count)
    assert (table.amax(0) - table.amin(0)).max() <= 1
    sizes = table.sum(1)
    assert sizes.max() - sizes.min() <= 1
    assert torch.equal(fold, folds.assign(targets, count, seed=seed))


def test_another_seed_makes_other_folds() -> None:
    targets = torch.arange(60) % 3
    assert not torch.equal(folds.assign(targets, 5, seed=0), folds.assign(targets, 5, seed=1))


def test_groups_stay_together_and_classes_are_still_spread() -> None:
    chance = torch.Generator().manual_seed(0)
    groups = torch.randint(0, 60, (600,), generator=chance).tolist()
    # Groups favour classes: every third has one of its own.
    targets = torch.tensor([0 if group % 3 == 0 else 1 + group % 2 for group in groups])
    fold = folds.assign(targets, 5, groups)
    for group in set(groups):
        of_group = {int(f) for f, g in zip(fold, groups, strict=True) if g == group}
        assert len(of_group) == 1
    table = counts(targets, fold, 5).float()
    assert ((table - table.mean(0)).abs() / table.mean(0)).max() < 0.25


def test_labels_are_spread_evenly_the_rare_ones_too() -> None:
    chance = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.5, 0.2, 0.1, 0.02])
    targets = (torch.rand(500, 4, generator=chance) < shares).float()
    fold = folds.assign(targets, 5)
    table = torch.stack([targets[fold == number].sum(0) for number in range(5)])
    assert (table.amax(0) - table.amin(0)).max() <= 3
    assert (table.amax(0) - table.amin(0))[3] <= 1
    sizes = torch.bincount(fold)
    assert sizes.max() - sizes.min() <= 8


@pytest.mark.parametrize(
    ("count", "groups", "words"),
    [
        (1, None, "from 2 to the number of training images, which is 4; got 1"),
        (5, None, "from 2 to the number of training images, which is 4; got 5"),
        (3, ["a", "b", "a", "a"], "from 2 to the number of training groups, which is 2; got 3"),
    ],
)
def test_folds_that_cannot_be_are_refused(count: int, groups: list[str] | None, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        folds.assign(torch.tensor([0, 1, 0, 1]), count, groups)
