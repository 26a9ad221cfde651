import pytest

from frostline.recipe import SCHEDULES
from frostline.training.schedules import factor


def rates(schedule: str, warmup: float, steps: int = 100) -> list[float]:
    return [factor(step, steps, warmup, schedule) for step in range(steps)]


def test_cosine_climbs_then_falls_to_zero() -> None:
    got = rates("cosine", 0.1)
    assert got[0] == pytest.approx(1 / 11)
    assert max(got) == got[10] == 1.0
    assert got[:11] == sorted(got[:11])
    assert got[10:] == sorted(got[10:], reverse=True)
    assert got[-1] < 0.001
    assert got[55] == pytest.approx(0.5)


def test_constant_stays() -> None:
    assert set(rates("constant", 0.0)) == {1.0}
    assert set(rates("constant", 0.1)[10:]) == {1.0}


def test_one_cycle_starts_at_a_25th_and_ends_at_next_to_nothing() -> None:
    got = rates("one-cycle", 0.25)
    assert got[0] == pytest.approx(0.04)
    assert max(got) == got[25] == 1.0
    assert got[:26] == sorted(got[:26])
    assert got[25:] == sorted(got[25:], reverse=True)
    assert factor(100, 100, 0.25, "one-cycle") == pytest.approx(4e-6)


def test_step_falls_to_a_tenth_after_half_and_again_after_three_quarters() -> None:
    assert rates("step", 0.0, 8) == [1.0] * 4 + [0.1] * 2 + [0.01] * 2
    assert (
        rates("step", 0.25, 8)
        == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0, 1.0] + [0.1] * 2 + [0.01] * 2
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_every_rate_is_above_zero_and_at_most_one(schedule: str, warmup: float, steps: int) -> None:
    assert all(0 < rate <= 1 for rate in rates(schedule, warmup, steps))


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_one_step_is_taken_at_full_rate(schedule: str) -> None:
    assert factor(0, 1, 0.1, schedule) == 1.0
