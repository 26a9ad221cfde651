import pytest

from frostline.base.ahead import Ahead, duration


def test_the_time_left_is_that_of_all_steps() -> None:
    ahead = Ahead()
    assert ahead.left_s("look", 3.0, 7.0) == 7.0
    ahead.expect({"look": 10.0, "try": 20.0})
    assert ahead.left_s("look", 3.0, 7.0) == 27.0
    # Where a step is in parts, what its other parts take counts too.
    assert ahead.left_s("look", 2.0, 1.0) == 28.0
    assert ahead.left_s("", 2.0, 1.0) == 31.0
    ahead.took("look", 12.0)
    assert ahead.left_s("look", 0.0, 0.5) == 20.5
    ahead.done("try", "unknown")
    assert ahead.left_s("look", 0.0, 0.5) == 0.5


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (42.4, "42 s"), (89, "89 s"), (95, "2 min"), (3600, "60 min")],
)
def test_a_time_is_said_shortly(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_hours_have_their_minutes() -> None:
    assert duration(7800) == "2 h 10 min"
