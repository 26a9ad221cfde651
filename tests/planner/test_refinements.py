"""What a search's winner is refined with: which changes, in which order, within which budget."""

import math
from dataclasses import replace

import pytest

from frostline.frost import Line
from frostline.planner import refinements
from frostline.planner.candidates import Candidate, EpochCost
from frostline.planner.refinements import Refining, Spent
from frostline.recipe import Stage

BASE = Stage(line="auto", epochs=15, lr=1e-3, suffix_lr=1.0, label_smoothing=0.1, ema=0.99)
IMAGES = 1000


def line(name: str, index: int, share: float, side: int = 4) -> Line:
    return Line(
        name=name,
        node=name,
        aliases=(),
        index=index,
        shape=(8, side, side),
        params_below=0,
        params_above=100,
        share_below=share,
        block=True,
    )


MAIN, LOWER, PIXELS = line("main", 5, 0.65), line("lower", 3, 0.45, 8), line("pixels", 0, 0.0, 32)
CENTER = Candidate(replace(BASE, line="main"), MAIN, 15.0)


def refining(**changed: object) -> Refining:
    """Returns what there is where an epoch above the main line takes a second."""
    usual = Refining(
        base=BASE,
        budget_s=1e6,
        cost=EpochCost(1 / IMAGES, 0.0, MAIN, IMAGES, 100),
        row_s=0.01,
        lines=(MAIN, LOWER, PIXELS),
        kept_at=MAIN,
        number_bytes=2,
        room_bytes=1e12,
        views=4,
        preset="standard",
        varies=True,
        presets=("light", "standard"),
        head="linear",
    )
    return replace(usual, **changed)  # type: ignore[arg-type]


def all_of(
    how: Refining, center: Candidate = CENTER, tried: list[Candidate] | None = None
) -> list[Candidate]:
    """Returns every refinement of a center, one after the other, none of which wins."""
    tried = [center] if tried is None else tried
    spent = refinements.spent_on(how, tried, tried, tried)
    found = []
    while (one := refinements.next_one(center, [*tried, *found], how, spent)) is not None:
        refinements.book(one, how, spent, is_ended=False)
        found.append(one)
    return found


def test_what_helps_most_for_its_cost_comes_first_and_everything_from_pixels_last() -> None:
    *others, last = [one.name for one in all_of(refining())]
    assert others == [
        "lower, rate 0.001, 15 epochs",
        "main, rate 0.001, 30 epochs",
        "main, rate 0.001, 15 epochs, light views",
        "main, rate 0.001, 15 epochs, center views only",
        "main, rate 0.0003, 15 epochs",
        "main, rate 0.001, 15 epochs, suffix × 0.3",
        "main, rate 0.003, 15 epochs",
        "main, rate 0.001, 15 epochs, suffix × 3",
        "main, rate 0.001, 15 epochs, mixup",
        "main, rate 0.001, 15 epochs, no label smoothing",
        "main, rate 0.001, 15 epochs, no moving average",
        "main, rate 0.001, 15 epochs, weight decay 0.1",
        "main, rate 0.001, 15 epochs, weight decay 0.001",
        "main, rate 0.001, 15 epochs, head mlp:256,dropout=0.5",
    ]
    assert last == (
        "pixels, rate 0.001, 15 epochs, new views in every epoch, suffix × 0.3, "
        "layer decay 0.75, clip 1"
    )


def test_each_changes_the_center_and_is_itself_refined_further() -> None:
    mixed = next(one for one in all_of(refining()) if "mixup" in one.changed)
    further = [one.name for one in all_of(refining(), mixed, [CENTER, mixed])]
    assert "lower, rate 0.001, 15 epochs, mixup" in further
    # Taking it back is what was there before.
    assert CENTER.name not in further
    assert len(further) == len(set(further))


def test_nothing_is_tried_twice_however_often_the_center_changes() -> None:
    how, center, tried = refining(), CENTER, [CENTER]
    spent = refinements.spent_on(how, tried, tried, tried)
    for number in range(200):
        one = refinements.next_one(center, tried, how, spent)
        if one is None:
            break
        refinements.book(one, how, spent, is_ended=False)
        tried.append(one)
        center = one if number % 2 else center
    forms = [(one.stage, one.views * one.stage.augment, one.live, one.head) for one in tried]
    assert len(forms) == len(set(forms)) > 50
    # However often a step pays, none goes on for ever.
    assert max(one.stage.epochs for one in tried) <= 8 * BASE.epochs
    assert max(one.stage.lr for one in tried) <= 30 * BASE.lr
    assert min(one.stage.lr for one in tried) >= BASE.lr / 30


@pytest.mark.parametrize("budget_s", [14.0, 40.0, 60.0, 150.0, 200.0, 300.0, 1000.0])
@pytest.mark.parametrize("folds", [0, 5])
def test_no_more_is_tried_than_there_is_time_for(budget_s: float, folds: int) -> None:
    how = refining(budget_s=budget_s, folds=folds)
    found = all_of(how)
    times = max(folds - 1, 1)
    taken = times * (15.0 + sum(one.estimate_s for one in found))
    if folds:  # And the longest once more.
        taken += max([15.0, *(one.estimate_s for one in found)])
    assert not found or taken <= budget_s
    # What is dear is passed over, and what is cheap still tried.
    assert bool(found) == (budget_s >= (30.0 if not folds else 135.0))


def test_what_was_dropped_at_its_half_took_half() -> None:
    other = replace(CENTER, estimate_s=40.0)
    spent = refinements.spent_on(refining(), [CENTER, other], [CENTER, other], [CENTER])
    assert (spent.seconds, spent.count) == (15.0 + 20.0, 2)
    by_folds = refinements.spent_on(refining(folds=5), [CENTER], [CENTER], [CENTER])
    assert by_folds.seconds == 15.0 * 4 + 15.0


def test_a_pass_over_the_images_is_reckoned_with_once() -> None:
    how = refining()
    spent = refinements.spent_on(how, [CENTER], [CENTER], [CENTER])
    light = next(one for one in all_of(how) if one.views == "light")
    refinements.book(light, how, spent, is_ended=False)
    assert spent.seconds == pytest.approx(15.0 + 15.0 + 4 * IMAGES * 0.01)
    assert spent.bytes == 4 * IMAGES * 8 * 4 * 4 * 2
    refinements.book(light, how, spent, is_ended=True)
    assert spent.seconds == pytest.approx(15.0 + 15.0 + 40.0 + 7.5)
    assert spent.bytes == 4 * IMAGES * 8 * 4 * 4 * 2


def test_a_lower_line_takes_a_pass_of_its_own_and_one_that_is_kept_takes_none() -> None:
    def seconds(kept_at: Line) -> float:
        how = refining(kept_at=kept_at)
        spent = refinements.spent_on(how, [CENTER], [CENTER], [CENTER])
        (lower, *_) = all_of(how)
        refinements.book(lower, how, spent, is_ended=False)
        return spent.seconds - 15.0 - lower.estimate_s

    assert seconds(MAIN) == pytest.approx((4 * IMAGES + 100) * 0.01)
    assert seconds(LOWER) == pytest.approx(0.0)


def test_where_the_disk_has_no_room_nothing_new_is_kept() -> None:
    found = all_of(refining(room_bytes=1e5))
    assert {one.line.name for one in found} == {"main"}
    assert {one.views for one in found} == {""}
    assert any("mixup" in one.changed for one in found)


@pytest.mark.parametrize(
    ("fixed", "kept"),
    [
        ("epochs", lambda one: one.stage.epochs),
        ("lr", lambda one: one.stage.lr),
        ("suffix_lr", lambda one: one.stage.suffix_lr),
        ("weight_decay", lambda one: one.stage.weight_decay),
        ("views", lambda one: (one.views, one.stage.augment)),
        ("head", lambda one: one.head),
    ],
)
def test_what_was_asked_for_stays(fixed: str, kept: object) -> None:
    assert callable(kept)
    found = all_of(refining(fixed=(fixed,), lines=()))
    assert {kept(one) for one in found} == {kept(CENTER)}
    assert len(found) >= 10
    assert len({kept(one) for one in all_of(refining())}) > 1


def test_so_many_candidates_and_no_more() -> None:
    assert len(all_of(refining(most=4))) == 3
    assert all_of(refining(most=1)) == []


def test_an_mlp_may_give_way_to_a_linear_head_and_layers_of_ones_own_to_none() -> None:
    assert "linear" in {one.head for one in all_of(refining(head="mlp:32"))}
    assert {one.head for one in all_of(refining(head=""))} == {""}


def test_views_that_do_not_vary_may_come_to() -> None:
    how = refining(preset="none", varies=False)
    views = {one.views for one in all_of(how)}
    assert views == {"", "light", "standard"}
    assert all(one.stage.augment for one in all_of(how) if one.views)
    (pixels,) = (one for one in all_of(how) if one.line.name == "pixels")
    assert not pixels.live


def test_few_images_take_no_larger_rate() -> None:
    how = refining(cost=EpochCost(1 / 60, 0.0, MAIN, 60, 0))
    assert max(one.stage.lr for one in all_of(how)) == BASE.lr


def test_without_budget_nothing_is_left() -> None:
    spent = Spent(math.inf)
    assert refinements.next_one(CENTER, [CENTER], refining(), spent) is None
