"""How a given time is divided."""

import pytest

from frostline.pipeline.time_parts import OPENING_S, TimeParts

PARTS = TimeParts(given_s=60.0, begun_s=10.0, pass_s=12.0, probe_s=4.0, finish_s=3.0)


def test_candidates_get_what_is_left() -> None:
    assert PARTS.search_s == pytest.approx(31.0)
    assert PARTS.until_s == pytest.approx(57.0)
    assert "31 are left to try settings" in str(PARTS)


def test_further_seeds_take_as_long_as_candidates_do() -> None:
    parts = TimeParts(60.0, 10.0, 12.0, 4.0, 3.0, seeds=2)
    own_s = 10.0 + 12.0 + 4.0 + parts.search_s + 3.0
    assert own_s + OPENING_S + 4.0 + parts.search_s + 3.0 == pytest.approx(60.0)
    assert parts.until_s == pytest.approx(26.0 + parts.search_s)
    assert "for each further seed" in str(parts)


def test_too_short_a_time_leaves_nothing_and_no_less() -> None:
    parts = TimeParts(5.0, 10.0, 12.0, 4.0, 3.0)
    assert parts.search_s == 0.0
    assert parts.facts["until_s"] == 2.0
