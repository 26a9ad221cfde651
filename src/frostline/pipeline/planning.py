"""The second step: what to keep, where, with how many views, by which engine; and what to try."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from frostline import planner
from frostline import recipe as recipes
from frostline.base.errors import EngineError
from frostline.frost import Line
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.pipeline import messages, refining
from frostline.pipeline.folds import OF_CANDIDATES, fold_count
from frostline.pipeline.prepare import Prepared, stage_lines, with_head_of, with_precision
from frostline.planner import Plan, candidates, measure
from frostline.planner.candidates import Candidate, EpochCost, SearchLines
from frostline.planner.refinements import Refining
from frostline.recipe import Recipe, Stage
from frostline.run.folder import RunFolder

# Where no time is given, candidates may take so long, or so many times the pass over the images.
LEAST_SEARCH_S = 100.0
PASSES = 2.0
# What else a run of a given time takes: imports, measurements, scores and the report.
REST_S = 14.0
# The pass may take this share of the time that is given; else there are fewer views.
PASS_SHARE = 0.35


@dataclass(frozen=True)
class Planned:
    """The plan of a run.

    Attributes:
        prepared: The network and the images.
        plan: What was measured and chosen.
        lines: Of each stage.
        candidates: What a search tries; none where there is no search.
        refining: What it may refine the best of them with; None where it ends with them.
    """

    prepared: Prepared
    plan: Plan
    lines: tuple[Line, ...]
    candidates: tuple[Candidate, ...] = ()
    refining: Refining | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe with every choice written out."""
        return self.plan.recipe

    @property
    def all_lines(self) -> tuple[Line, ...]:
        """The lines of stages and candidates."""
        return (*self.lines, *(candidate.line for candidate in self.candidates))


def make_plan(prepared: Prepared) -> Planned:
    """Measures this machine and chooses.

    Raises:
        RecipeError: Where a budget leaves no choice.
        DiskError: Where the disk has no room for any.
        BackboneError: Where an engine was asked for that cannot run this network.
    """
    try:
        with prepared.request.console.step("Measuring this machine"):
            return _plan(prepared)
    except EngineError as error:
        precision = prepared.request.recipe.compute.precision
        if precision != "auto" or prepared.precision == torch.float32:
            raise
        prepared.request.console.say(
            f"{str(error).partition(':')[0]}: too inexact, so fp32 is used"
        )
        with prepared.request.console.step("Measuring this machine"):
            return _plan(with_precision(prepared, torch.float32))


def _plan(prepared: Prepared) -> Planned:
    recipe = prepared.request.recipe
    if recipe.search.enabled and recipe.stages and prepared.listing.of("val"):
        return _plan_search(prepared)
    plan = _measured(prepared, recipe, stage_lines(prepared.model, recipe))
    return Planned(prepared, plan, stage_lines(prepared.model, plan.recipe))


def recorded_or_new_plan(run: RunFolder, earlier: Recipe | None, prepared: Prepared) -> Planned:
    """Returns the plan of a run that is gone on with, or makes one.

    Args:
        run: Its folder.
        earlier: The recipe that was begun there; None where the run begins anew.
        prepared: The network and the images.
    """
    if earlier is None or not run.plan.is_file():
        return make_plan(prepared)
    facts = run.read_plan()
    prepared = _as_recorded(prepared, earlier)
    prepared = with_head_of(prepared, earlier)
    recipe, model = prepared.request.recipe, prepared.model
    if recipe != earlier:
        # Stages may have been changed since; what is asked now is what going on looks for.
        facts |= {"asked": recipes.to_dict(recipe)}
    tried = facts.get("search", {}).get("candidates", [])
    return Planned(
        prepared,
        Plan(earlier, facts),
        stage_lines(model, earlier),
        tuple(_candidate_from(one, model) for one in tried),
        refining.read(facts.get("search", {}).get("refining"), model),
    )


def _as_recorded(prepared: Prepared, earlier: Recipe) -> Prepared:
    """Returns the network in the precision of a run that is resumed, which `auto` came to."""
    by_name = {name: precision for precision, name in classifiers.PRECISION_NAMES.items()}
    recorded = by_name.get(earlier.compute.precision, prepared.precision)
    is_auto = prepared.request.recipe.compute.precision == "auto"
    if not is_auto or recorded == prepared.precision:
        return prepared
    return with_precision(prepared, recorded)


def _measured(prepared: Prepared, recipe: Recipe, lines: Sequence[Line]) -> Plan:
    request = prepared.request
    plan = planner.make(
        prepared.model, lines, prepared.listing, recipe, request.cache, request.console
    )
    # What `auto` came to here, so that the recipe says elsewhere what this run computed in.
    precision = classifiers.PRECISION_NAMES[prepared.precision]
    compute = replace(plan.recipe.compute, precision=precision)
    return replace(plan, recipe=replace(plan.recipe, compute=compute))


def _plan_search(prepared: Prepared) -> Planned:
    """Measures an epoch, chooses candidates that fit into the time, then plans the pass."""
    begun = time.perf_counter()
    request, model = prepared.request, prepared.model
    recipe, base = request.recipe, request.recipe.stages[0]
    lines = _search_lines(model, recipe)
    cut = classifiers.recut(model, lines.main)
    train, val = len(prepared.listing.of("train")), len(prepared.listing.of("val"))
    step = measure.step(cut, base, train)
    cost = EpochCost(step.train_s, step.eval_s, lines.main, train, val)
    row_s = planner.row_seconds(cut, prepared.listing)
    views = recipe.views.count or _views_in_time(recipe, train, val, row_s)
    pass_s = row_s * (train * (1 + views) + val)
    budget_s = _budget_s(recipe, pass_s, time.perf_counter() - begun)
    folds = fold_count(prepared.listing, recipe.search.folds, OF_CANDIDATES)
    most, fixed = recipe.search.candidates, _kept_by(recipe)
    tried = candidates.choose(base, lines, cost, budget_s, most, folds, fixed)
    if not tried and recipe.head.start != "probe":
        # A random head must be trained, however little time there is.
        tried = candidates.choose(base, lines, cost, math.inf, 1, fixed=fixed)
    messages.fixed(recipe, request.console)
    request.console.detail(
        f"search: {len(tried)} candidates besides the probe{', cross-validated,' * bool(folds)} in "
        f"about {candidates.total_s(tried, folds):.0f} s of the {budget_s:.0f} s there are for them"
    )
    planned = _plan_pass(prepared, tried, views, budget_s, folds)
    return _with_refining(planned, cost, row_s, budget_s, folds)


def _with_refining(
    planned: Planned, cost: EpochCost, row_s: float, budget_s: float, folds: int
) -> Planned:
    found = refining.settle(planned.prepared, planned.plan, cost, row_s, budget_s, folds)
    facts = planned.plan.facts
    facts = {**facts, "search": {**facts["search"], "refining": refining.facts_of(found)}}
    return replace(planned, plan=replace(planned.plan, facts=facts), refining=found)


def _plan_pass(
    prepared: Prepared, tried: tuple[Candidate, ...], views: int, budget_s: float, folds: int
) -> Planned:
    """Plans the pass over the images for all lines that are tried."""
    recipe = prepared.request.recipe
    longest: dict[int, Candidate] = {}
    for one in tried:
        other = longest.get(one.line.index)
        if other is None or other.stage.epochs < one.stage.epochs:
            longest[one.line.index] = one
    by_line = sorted(longest.values(), key=lambda one: -one.line.index)
    varied = replace(recipe.views, count=views)
    # The time was divided already; the planner is asked to keep within disk and memory.
    budget = replace(recipe.budget, time_min=None)
    stages = tuple(one.stage for one in by_line)
    every = replace(recipe, stages=stages, views=varied, budget=budget)
    plan = _measured(prepared, every, [one.line for one in by_line])
    first = (tried[0].stage,) if tried else ()
    planned = replace(plan.recipe, stages=first, budget=recipe.budget)
    facts = {
        **plan.facts,
        "asked": recipes.to_dict(recipe),
        "search": {
            "budget_s": round(budget_s, 1),
            "folds": folds,
            "estimate_s": round(candidates.total_s(tried, folds), 1),
            "candidates": [_facts_of(one) for one in tried],
        },
    }
    plan = replace(plan, recipe=planned, facts=facts)
    return Planned(prepared, plan, tuple(one.line for one in tried[:1]), tried)


def _kept_by(recipe: Recipe) -> tuple[str, ...]:
    """Returns what candidates may not vary; a line that is named is the only one anyway."""
    return tuple(name for name in recipe.search.fixed if name != "line")


def _search_lines(model: Classifier, recipe: Recipe) -> SearchLines:
    base = recipe.stages[0]
    if base.line != planner.AUTO:
        (line,) = stage_lines(model, recipe)
        return SearchLines(line)

    def at(share: float) -> Line:
        return classifiers.find_line(model.traced, f"{share:.0%}", model.top)

    main, higher = at(candidates.MAIN), at(candidates.HIGHER)
    below = {line.index: line for line in map(at, candidates.LOWER) if line.index < main.index}
    return SearchLines(main, tuple(below.values()), higher if higher.index > main.index else None)


def _views_in_time(recipe: Recipe, train: int, val: int, row_s: float) -> int:
    """Returns how many views are kept: fewer where the pass would take too much of the time."""
    if not planner.policy_of(recipe).varies:
        return 1
    if recipe.budget.time_min is None:
        return planner.MOST_VIEWS
    most_s = PASS_SHARE * 60 * recipe.budget.time_min
    counts = (planner.MOST_VIEWS, 2, 1)
    return next((n for n in counts if row_s * (train * (1 + n) + val) <= most_s), 1)


def _budget_s(recipe: Recipe, pass_s: float, spent_s: float) -> float:
    """Returns the seconds that candidates may take."""
    if recipe.budget.time_min is None:
        return max(LEAST_SEARCH_S, PASSES * pass_s)
    return max(0.0, 60 * recipe.budget.time_min - pass_s - spent_s - REST_S)


def _facts_of(candidate: Candidate) -> dict[str, Any]:
    return {
        "stage": asdict(candidate.stage),
        "when": candidate.when,
        "estimate_s": candidate.estimate_s,
        "changed": candidate.changed,
    }


def _candidate_from(facts: dict[str, Any], model: Classifier) -> Candidate:
    stage = Stage(**facts["stage"])
    line = classifiers.find_line(model.traced, stage.line, model.top)
    when, changed = facts.get("when", candidates.ALWAYS), tuple(facts.get("changed", ()))
    return Candidate(stage, line, facts["estimate_s"], when, changed=changed)
