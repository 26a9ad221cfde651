import pytest

from frostline.training.schedules import factor


def test_cosine_climbs_then_falls_to_zero() -> None:
    steps = 100
    rates = [factor(step, steps, 0.1, "cosine") for step in range(steps)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_constant_stays() -> None:
    assert {factor(step, 10, 0.0, "constant") for step in range(10)} == {1.0}


def test_one_step_is_taken_at_full_rate() -> None:
    assert factor(0, 1, 0.1, "cosine") == 1.0
