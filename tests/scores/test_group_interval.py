import math

import numpy as np
import pytest
from scipy import stats

from frostline.scores.group_interval import _student, grouped_wilson
from frostline.scores.metrics import wilson


def clustered(chance: np.random.Generator, groups: int, size: int, mean: float) -> np.ndarray:
    """Draws 0 and 1: each group has a chance of its own, of the beta distribution about `mean`."""
    of_group = chance.beta(4 * mean, 4 * (1 - mean), groups)
    return (chance.random((groups, size)) < of_group[:, None]).astype(float)


def test_it_covers_the_truth_where_the_plain_interval_does_not() -> None:
    chance = np.random.default_rng(0)
    size, groups, truth, tries = 12, 25, 0.8, 600
    names = np.repeat(np.arange(groups), size).tolist()
    covered = plain = 0
    for _ in range(tries):
        drawn = clustered(chance, groups, size, truth).ravel()
        low, high = grouped_wilson(drawn, names)
        covered += low <= truth <= high
        lower, upper = wilson(int(drawn.sum()), len(drawn))
        plain += lower <= truth <= upper
    assert 0.93 <= covered / tries <= 0.99
    assert plain / tries < 0.80


def test_groups_of_one_give_about_the_plain_interval() -> None:
    correct = [1.0] * 340 + [0.0] * 60
    ours = grouped_wilson(correct, list(range(400)))
    assert ours == pytest.approx(wilson(340, 400), abs=1e-3)


def test_copies_add_nothing() -> None:
    correct = np.array([1, 1, 1, 0, 1, 0, 1, 1, 1, 1], dtype=float)
    once = grouped_wilson(correct, list("abcdefghij"))
    often = grouped_wilson(np.repeat(correct, 50), np.repeat(list("abcdefghij"), 50).tolist())
    assert often == pytest.approx(once)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_all_agree_each_group_counts_as_one(value: float) -> None:
    low, high = grouped_wilson([value] * 1000, [number % 10 for number in range(1000)])
    assert (low, high) != wilson(int(1000 * value), 1000)
    assert high - low > 0.3
    assert low == 0.0 if value == 0 else high == 1.0


def test_it_is_never_narrower_than_the_plain_one() -> None:
    # One right and one wrong in each group: they even out.
    low, high = grouped_wilson([0, 1] * 50, np.repeat(np.arange(50), 2).tolist())
    lower, upper = wilson(50, 100)
    assert low <= lower
    assert high >= upper


def test_one_group_says_nothing() -> None:
    assert grouped_wilson([1, 0, 1], ["a", "a", "a"]) == (None, None)


@pytest.mark.parametrize(("correct", "groups"), [([], []), ([1, 0], ["a"]), ([[1]], ["a"])])
def test_bad_shapes_are_refused(correct: list[object], groups: list[str]) -> None:
    with pytest.raises(ValueError, match="give one each"):
        grouped_wilson(correct, groups)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 1000])
def test_students_quantile(freedom: int) -> None:
    exact = stats.t.ppf(0.975, freedom)
    assert math.isclose(_student(freedom), exact, rel_tol=0.01 if freedom in (3, 4) else 1e-3)
