from collections.abc import Callable

import pytest

from frostline.training import penalties
from frostline.training.penalties import Tried


def losses(of: Callable[[float], float]) -> tuple[list[float], Callable[[float], Tried]]:
    """Returns a list of the steps that are tried, and what tries them."""
    steps: list[float] = []

    def score(c: float) -> Tried:
        steps.append(round(penalties.step_of(c), 6))
        return Tried(c, of(steps[-1]), 0.5)

    return steps, score


def test_a_walk_ends_where_it_gets_worse() -> None:
    steps, score = losses(lambda step: 1 + (step - 1) ** 2)
    tried = penalties.walk(score, -2)
    assert steps == [-2, -1, 0, 1, 2, 3]
    assert penalties.best(tried) == pytest.approx(10**0.5)


def test_a_walk_turns_where_the_first_was_the_best() -> None:
    steps, score = losses(lambda step: 1 + (step + 4) ** 2)
    tried = penalties.walk(score, -2)
    assert steps == [-2, -1, 0, -3, -4, -5, -6]
    assert penalties.best(tried) == pytest.approx(10**-2)


def test_the_last_is_between_the_best_and_a_neighbour() -> None:
    steps, score = losses(lambda step: 1 + (step - 1.45) ** 2)
    tried = penalties.walk(score, 0)
    assert steps == [0, 1, 2, 3, 1.5]
    assert penalties.step_of(penalties.best(tried)) == pytest.approx(1.5)


def test_of_those_that_are_no_worse_the_strongest_penalty_is_the_best() -> None:
    rows = [Tried(0.1, 1.1, 0.5), Tried(1, 1.0005, 0.5), Tried(10, 1.0, 0.6)]
    assert penalties.best(rows) == 1


@pytest.mark.parametrize("flat", [0.0, 0.7])
def test_a_walk_on_level_ground_ends(flat: float) -> None:
    steps, score = losses(lambda step: flat)
    tried = penalties.walk(score, 0)
    assert len(steps) == 5
    assert penalties.best(tried) == 0.1


def test_a_walk_ends_somewhere() -> None:
    steps, score = losses(lambda step: 0.5**step)
    penalties.walk(score, 0)
    assert 10 < len(steps) < 20
