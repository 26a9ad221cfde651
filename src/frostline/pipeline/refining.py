"""What a search may refine its winner with: settled with the plan, and written down with it."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from frostline import planner
from frostline.frost import PIXELS, Line
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.pipeline.prepare import Prepared
from frostline.planner import Plan, candidates
from frostline.planner.candidates import EpochCost
from frostline.planner.refinements import PRESETS, Refining
from frostline.recipe import Recipe, Stage

# Shares of the work below the lines that are tried, downwards.
SHARES = (candidates.MAIN, *candidates.LOWER, 0.1)


def settle(
    prepared: Prepared, plan: Plan, cost: EpochCost, row_s: float, budget_s: float, folds: int
) -> Refining | None:
    """Returns what there is to refine with; None where no time was given, or nothing is kept.

    Without a given time, a search ends with its list. Where nothing is kept, an epoch costs a pass
    over the images, and time is better spent on the list.

    Args:
        prepared: The network and the images.
        plan: What was measured and chosen.
        cost: Of an epoch.
        row_s: Seconds from a file to an activation.
        budget_s: Seconds for all candidates.
        folds: Of the cross-validation that compares them; 0 where validation does.
    """
    recipe = prepared.request.recipe
    if recipe.budget.time_min is None or not plan.keep or recipe.views.live:
        return None
    # More activations would take more memory than was reckoned with.
    is_free = recipe.budget.memory_gib is None
    has_own_views = "views" in recipe.search.fixed or bool(recipe.views.policy())
    return Refining(
        base=recipe.stages[0],
        budget_s=budget_s,
        cost=cost,
        row_s=row_s,
        lines=_lines(prepared.model, recipe) if is_free else (),
        kept_at=classifiers.find_line(
            prepared.model.traced, plan.facts["line"], prepared.model.top
        ),
        number_bytes=prepared.precision.itemsize,
        room_bytes=_room(recipe, plan, prepared.request.cache),
        views=plan.recipe.views.count,
        preset=recipe.views.preset,
        varies=planner.policy_of(plan.recipe).varies,
        presets=PRESETS if is_free and not has_own_views else (),
        head="" if recipe.head.layers else recipe.head.spec,
        most=recipe.search.candidates,
        folds=folds,
        fixed=recipe.search.fixed,
    )


def facts_of(refining: Refining | None) -> dict[str, Any] | None:
    """Returns the same as plain values, for `plan.json`."""
    if refining is None:
        return None
    return {
        **asdict(refining),
        "cost": {**asdict(refining.cost), "measured_at": refining.cost.measured_at.name},
        "lines": [line.name for line in refining.lines],
        "kept_at": refining.kept_at.name,
    }


def read(facts: Mapping[str, Any] | None, model: Classifier) -> Refining | None:
    """Returns what `facts_of` wrote down."""
    if not facts:
        return None

    def line(name: str) -> Line:
        return classifiers.find_line(model.traced, name, model.top)

    cost = facts["cost"]
    return Refining(
        **{
            **facts,
            "base": Stage(**facts["base"]),
            "cost": EpochCost(**{**cost, "measured_at": line(cost["measured_at"])}),
            "lines": tuple(map(line, facts["lines"])),
            "kept_at": line(facts["kept_at"]),
            "presets": tuple(facts["presets"]),
            "fixed": tuple(facts["fixed"]),
        }
    )


def _lines(model: Classifier, recipe: Recipe) -> tuple[Line, ...]:
    if recipe.stages[0].line != planner.AUTO:
        return ()
    names = [f"{share:.0%}" for share in SHARES]
    found = [classifiers.find_line(model.traced, name, model.top) for name in [*names, PIXELS]]
    by_index = {line.index: line for line in found}
    return tuple(by_index[index] for index in sorted(by_index, reverse=True))


def _room(recipe: Recipe, plan: Plan, cache: Path) -> float:
    """Returns the bytes that the disk, and the budget for it, have besides the plan's."""
    there = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    # Checkpoints, and whoever else writes there, need some too.
    room = 0.9 * shutil.disk_usage(there).free
    if recipe.budget.disk_gib is not None:
        room = min(room, recipe.budget.disk_gib * 2**30)
    return room - float(plan.facts.get("estimate", {}).get("new_bytes", 0))
