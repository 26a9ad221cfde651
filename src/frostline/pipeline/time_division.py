"""Dividing the time that a run is given (`--time`) before anything is planned: roughly, by views.

How long the pass takes is known only once it is planned; how many views it makes decides it.
"""

from dataclasses import replace

from frostline import planner
from frostline.frost import Line
from frostline.pipeline.prepare import Prepared
from frostline.pipeline.time_parts import FINISH_S, PLANNING_S, USED, TimeParts
from frostline.planner import Plan, candidates, measure
from frostline.planner.candidates import EpochCost

# The pass may take this share of the time that is given; else there are fewer views.
PASS_SHARE = 0.35
# With more views than usual, it may take this share.
MORE_VIEWS_SHARE = 0.2
# More of them pay where there is time for so many trainings of the first candidate's length.
TRAININGS = 3


def divide(prepared: Prepared, main: Line, cost: EpochCost, row_s: float) -> tuple[int, TimeParts]:
    """Returns how many views are kept at most, and how the time is divided then.

    With little time, more epochs do more than more views.

    Args:
        prepared: The network and the images; its recipe says how much time there is.
        main: Where the first candidate is cut.
        cost: Of an epoch.
        row_s: Seconds from an image to its activation, by the engine that is always there.
    """
    recipe, clock = prepared.request.recipe, prepared.request.clock
    assert recipe.budget.time_min is not None
    given_s = 60 * recipe.budget.time_min
    # Where an engine is still to be chosen, it may well be twice as fast as the one measured.
    hoped = 0.5 if recipe.compute.engine == planner.AUTO else 1.0
    full_s = cost.at(main) * candidates.scaled_epochs(recipe.stages[0].epochs, cost.images)
    counts = view_counts(prepared)
    probes_s: dict[int, float] = {}

    def parts(count: int) -> TimeParts:
        pass_s = row_s * hoped * (cost.images * (1 + count) + cost.validation)
        varied = replace(recipe, views=replace(recipe.views, count=count))
        more = planner.probe_view_count(varied, planner.policy_of(recipe), cost.images)
        if more not in probes_s:
            probes_s[more] = _probe_s(prepared, more)
        finish_s = FINISH_S + cost.score_s * cost.validation
        begun_s = clock.elapsed_s() + PLANNING_S
        return TimeParts(given_s, begun_s, pass_s, probes_s[more], finish_s, recipe.seeds)

    made = {count: parts(count) for count in counts}
    fitting = [count for count, one in made.items() if _has_time_for(count, one, full_s)]
    chosen = next(iter(fitting), counts[-1])
    return chosen, made[chosen]


def view_counts(prepared: Prepared) -> tuple[int, ...]:
    """Returns how many views may be kept, the most first: one number where it was asked for."""
    recipe = prepared.request.recipe
    if recipe.views.count or not planner.policy_of(recipe).varies:
        return (recipe.views.count or 1,)
    return planner.VIEW_COUNTS


def _has_time_for(views: int, parts: TimeParts, full_s: float) -> bool:
    """Says whether so many kept views leave enough time to train on them.

    Args:
        views: Kept of each training image.
        parts: How the time is divided then.
        full_s: Seconds of the first candidate at its full length.
    """
    search_s, usual = USED * parts.search_s, planner.USUAL_VIEWS
    if views > usual:
        is_short = parts.pass_s <= MORE_VIEWS_SHARE * parts.given_s
        return is_short and search_s >= TRAININGS * full_s
    is_enough = search_s >= full_s or views < usual
    return is_enough and parts.pass_s <= PASS_SHARE * parts.given_s


def _probe_s(prepared: Prepared, views: int) -> float:
    """Returns what probes take: on the center views, and on these with varied ones."""
    head, train = prepared.model.trainable.head, len(prepared.listing.of("train"))
    if prepared.request.recipe.head.start != "probe":
        return 0.0
    last = head[-1]  # type: ignore[index]
    counts = [train, train * (1 + views)] if views else [train]
    return sum(measure.probe_s(n, last.in_features, last.out_features) for n in counts)


def measured_again(cost: EpochCost, plan: Plan, line: Line) -> EpochCost:
    """Returns the cost of an epoch as the plan measured it at a line.

    Measured twice at the same one, the smaller: other programs make steps longer, never shorter.
    """
    rates = plan.facts.get("rates", {})
    times = zip(
        rates.get("train_ms_per_image", ()), rates.get("score_ms_per_image", ()), strict=True
    )
    by_line = dict(zip(plan.facts["lines"], times, strict=False))
    if line.name not in by_line:
        return cost
    train_s, score_s = (one / 1000 for one in by_line[line.name])
    if line == cost.measured_at:
        train_s, score_s = min(cost.train_s, train_s), min(cost.score_s, score_s)
    return replace(cost, train_s=train_s, score_s=score_s, measured_at=line)


def planned_row_s(plan: Plan, measured_s: float) -> float:
    """Returns the seconds from a file to an activation, by the engine that was chosen."""
    rate = plan.facts.get("rates", {}).get("view_per_s")
    return 1 / rate if rate else measured_s
