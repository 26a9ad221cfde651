"""What a search tries, by how long it takes and how the first candidate does."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from frostline.frost import Line
from frostline.planner import candidates
from frostline.planner.candidates import Candidate, EpochCost, SearchLines
from frostline.recipe import Stage

BASE = Stage(line="auto", epochs=15, lr=1e-3, suffix_lr=1.0)


def line(name: str, index: int, share: float) -> Line:
    return Line(
        name=name,
        node=name,
        aliases=(),
        index=index,
        shape=(8, 4, 4),
        params_below=0,
        params_above=100,
        share_below=share,
        block=True,
    )


LINES = SearchLines(
    line("main", 5, 0.65),
    (line("lower", 3, 0.45), line("lowest", 1, 0.25)),
    line("higher", 7, 0.85),
)


def chosen(
    budget_s: float, *, images: int = 1000, most: int = 0, folds: int = 0
) -> tuple[Candidate, ...]:
    """Returns candidates where an epoch above the main line takes a second."""
    cost = EpochCost(1 / images, 0.0, LINES.main, images, 0)
    return candidates.choose(BASE, LINES, cost, budget_s, most, folds)


def names(found: Sequence[Candidate], is_behind: bool) -> list[str]:
    return [found[at].name for at in candidates.taking_part(found, is_behind)]


def test_what_is_tried_depends_on_the_first_half() -> None:
    found = chosen(40.0)
    assert names(found, is_behind=False) == [
        "main, rate 0.001, 15 epochs",
        "main, rate 0.001, 30 epochs",
    ]
    assert names(found, is_behind=True) == [
        "main, rate 0.001, 15 epochs",
        "main, rate 0.0003, 15 epochs",
        "higher, rate 0.0003, 15 epochs",
    ]


def test_center_views_alone_are_tried_where_varied_ones_did_not_help_the_probe() -> None:
    found = chosen(1e9)
    alone = "main, rate 0.0003, 15 epochs, center views only"
    assert names(found, is_behind=True) == [
        "main, rate 0.001, 15 epochs",
        "main, rate 0.0003, 15 epochs",
        "higher, rate 0.0003, 15 epochs",
        alone,
    ]
    helped = [found[at].name for at in candidates.taking_part(found, True, views_helped=True)]
    assert helped == [name for name in names(found, is_behind=True) if name != alone]
    # A recipe without varied views stays as it is.
    plain = [replace(one, stage=replace(one.stage, augment=False)) for one in found]
    assert candidates.taking_part(plain, True, views_helped=True) == candidates.taking_part(
        plain, True
    )


@pytest.mark.parametrize(("budget_s", "epochs"), [(40.0, 30), (30.0, 22), (28.5, 21), (28.0, 0)])
def test_a_longer_training_is_as_long_as_fits(budget_s: float, epochs: int) -> None:
    # It takes its whole time, and the first one half of its 15 seconds.
    tried = {one.stage.epochs for one in chosen(budget_s) if one.when == "ahead"}
    assert tried == ({epochs} if epochs else set())


def test_a_long_time_allows_lower_lines() -> None:
    assert "lower, rate 0.001, 30 epochs" in names(chosen(300.0), is_behind=False)
    assert "lower" not in {one.line.name for one in chosen(40.0)}


@pytest.mark.parametrize("budget_s", [3.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0])
def test_no_branch_takes_longer_than_there_is_time(budget_s: float) -> None:
    found = chosen(budget_s)
    assert candidates.total_s(found) <= budget_s
    for is_behind in (False, True):
        costs = [found[at].estimate_s for at in candidates.taking_part(found, is_behind)]
        halves = sum(costs) / 2 if len(costs) > 1 else 0
        assert halves <= budget_s


def test_the_longest_branch_is_what_a_search_takes_at_most() -> None:
    first, ahead, behind = (
        Candidate(BASE, LINES.main, seconds, when)
        for seconds, when in ((10.0, "always"), (20.0, "ahead"), (4.0, "behind"))
    )
    # Halves of 5 and 10 seconds, then the longer of both to its end.
    assert candidates.total_s([first, ahead, behind]) == 5 + 10 + 10
    assert candidates.total_s([first, behind]) == 5 + 2 + 5
    # One that is alone in its case goes to its end.
    assert candidates.total_s([first, replace(behind, estimate_s=0.0)]) == 10.0
    assert candidates.total_s([]) == 0.0


def test_cross_validation_tries_all_of_them() -> None:
    found = chosen(1e9, folds=5)
    assert {one.when for one in found} == {"always"}
    assert names(found, is_behind=False) == names(found, is_behind=True)


def test_few_images_are_trained_gently() -> None:
    found = chosen(1e9, images=60)
    assert names(found, is_behind=False) == ["higher, rate 0.0003, 15 epochs"]
    assert names(found, is_behind=True) == [
        "higher, rate 0.0003, 15 epochs",
        "higher, rate 9e-05, 15 epochs",
    ]


def test_a_number_of_candidates_holds_for_either_case() -> None:
    found = chosen(1e9, most=2)
    assert [len(names(found, is_behind)) for is_behind in (False, True)] == [2, 2]


@pytest.mark.parametrize("images", [50, 1000])
@pytest.mark.parametrize("folds", [0, 5])
@pytest.mark.parametrize("budget_s", [1.0, 40.0, 4000.0])
@pytest.mark.parametrize("fixed", [("lr",), ("epochs",), ("lr", "epochs")])
def test_what_was_asked_for_is_not_varied(
    images: int, folds: int, budget_s: float, fixed: tuple[str, ...]
) -> None:
    base = replace(BASE, epochs=3, lr=0.00123)
    cost = EpochCost(1 / images, 0.0, LINES.main, images, 0)
    found = candidates.choose(base, LINES, cost, budget_s, 0, folds, fixed)
    # A length that was asked for is kept however little time there is.
    assert found or "epochs" not in fixed
    for one in found:
        assert all(getattr(one.stage, name) == getattr(base, name) for name in fixed)


def test_of_what_is_fixed_the_rest_is_still_tried() -> None:
    cost = EpochCost(1 / 1000, 0.0, LINES.main, 1000, 0)
    found = candidates.choose(BASE, LINES, cost, 4000.0, 0, 0, ("lr",))
    assert len({one.line.name for one in found}) > 1
    assert {one.stage.lr for one in found} == {BASE.lr}
