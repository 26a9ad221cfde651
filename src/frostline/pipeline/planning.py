"""The second step: what to keep, where, with how many views, by which engine; and what to try."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from frostline import planner
from frostline import recipe as recipes
from frostline.base.ahead import duration
from frostline.base.errors import EngineError
from frostline.frost import Line
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.pipeline import messages, refining, time_division
from frostline.pipeline.folds import OF_CANDIDATES, fold_count
from frostline.pipeline.prepare import Prepared, stage_lines, with_head_of, with_precision
from frostline.pipeline.time_parts import USED
from frostline.planner import Plan, candidates, measure
from frostline.planner.candidates import Candidate, EpochCost, SearchLines
from frostline.planner.refinements import Refining
from frostline.recipe import Recipe, Stage
from frostline.run.folder import RunFolder

# Where no time is given, candidates may take so long, or so many times the pass over the images;
# and so long where else no longer training than the first one fits. Where few images make it short,
# the least is so many of its trainings, but 40 s in any case.
LEAST_SEARCH_S = 72.0
SHORT_SEARCH_S = 40.0
TRAININGS = 4.5
PASSES = 2.0
LONGER_SEARCH_S = 100.0
ANY_S = 1e9
# More views than usual are kept where the pass and the candidates together take so long at most.
SEARCH_AND_PASS_S = 115.0


@dataclass(frozen=True)
class Planned:
    """The plan of a run.

    Attributes:
        prepared: The network and the images.
        plan: What was measured and chosen.
        lines: Of each stage.
        candidates: What a search tries; none where there is no search.
        refining: What it may refine the best of them with; None where it ends with them.
        cut: Where the pass ends, which may be below all of these; None where it is at the lowest.
    """

    prepared: Prepared
    plan: Plan
    lines: tuple[Line, ...]
    candidates: tuple[Candidate, ...] = ()
    refining: Refining | None = None
    cut: Line | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe with every choice written out."""
        return self.plan.recipe

    @property
    def all_lines(self) -> tuple[Line, ...]:
        """The lines of stages and candidates, and that of the pass."""
        cut = () if self.cut is None else (self.cut,)
        return (*self.lines, *(candidate.line for candidate in self.candidates), *cut)


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
    return Planned(
        prepared,
        plan,
        stage_lines(prepared.model, plan.recipe),
        cut=_cut(prepared.model, plan.recipe, plan.facts),
    )


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
    if (parts := facts.get("search", {}).get("time")) is not None:
        # As if nothing had come between.
        prepared.request.clock.go_on_from(parts["begun_s"])
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
        _cut(model, earlier, facts),
    )


def _cut(model: Classifier, recipe: Recipe, facts: Mapping[str, Any]) -> Line | None:
    """Returns where the pass ends, where that may be below the lines of all stages."""
    if "search" not in facts and not recipe.compute.pass_line:
        return None
    return classifiers.find_line(model.traced, facts["line"], model.top)


def _as_recorded(prepared: Prepared, earlier: Recipe) -> Prepared:
    """Returns the network in the precision of a run that is resumed, which `auto` came to."""
    by_name = {name: precision for precision, name in classifiers.PRECISION_NAMES.items()}
    recorded = by_name.get(earlier.compute.precision, prepared.precision)
    is_auto = prepared.request.recipe.compute.precision == "auto"
    if not is_auto or recorded == prepared.precision:
        return prepared
    return with_precision(prepared, recorded)


def _measured(
    prepared: Prepared,
    recipe: Recipe,
    lines: Sequence[Line],
    most_views: int = planner.USUAL_VIEWS,
    more_views_s: float = 0.0,
) -> Plan:
    request = prepared.request
    plan = planner.make(
        prepared.model,
        lines,
        prepared.listing,
        recipe,
        request.cache,
        request.console,
        most_views,
        more_views_s,
    )
    # What `auto` came to here, so that the recipe says elsewhere what this run computed in.
    precision = classifiers.PRECISION_NAMES[prepared.precision]
    compute = replace(plan.recipe.compute, precision=precision)
    return replace(plan, recipe=replace(plan.recipe, compute=compute))


def _plan_search(prepared: Prepared) -> Planned:
    """Measures an epoch, chooses candidates that fit into the time, then plans the pass."""
    request, model = prepared.request, prepared.model
    recipe, base = request.recipe, request.recipe.stages[0]
    lines = _search_lines(model, recipe)
    cut = classifiers.recut(model, lines.main)
    train, val = len(prepared.listing.of("train")), len(prepared.listing.of("val"))
    step = measure.step(cut, base, train)
    cost = EpochCost(step.train_s, step.eval_s, lines.main, train, val)
    row_s = planner.row_seconds(cut, prepared.listing)
    messages.fixed(recipe, request.console)
    if recipe.budget.time_min is not None:
        return _plan_in_time(prepared, lines, cost, row_s)
    counts = time_division.view_counts(prepared)
    views = planner.USUAL_VIEWS if len(counts) > 1 else counts[0]
    first_s = cost.at(lines.main) * candidates.scaled_epochs(base.epochs, train)
    least_s = least_search_s(first_s, _folds(prepared))
    budget_s = max(least_s, PASSES * row_s * (train * (1 + views) + val))
    tried = _candidates(prepared, base, lines, cost, budget_s)
    if not _has_longer(tried) and budget_s < LONGER_SEARCH_S:
        more = _candidates(prepared, base, lines, cost, LONGER_SEARCH_S)
        if _has_longer(more):
            tried, budget_s = more, LONGER_SEARCH_S
    _tell_search(prepared, tried, budget_s)
    more_s = SEARCH_AND_PASS_S - candidates.total_s(tried, _folds(prepared))
    planned = _plan_pass(prepared, tried, max(planner.VIEW_COUNTS), more_s, budget_s)
    return _with_refining(planned, cost, row_s, budget_s)


def least_search_s(first_s: float, folds: int) -> float:
    """Returns how long candidates may take at least where no time is given.

    Args:
        first_s: Seconds of the first one's training at its full length.
        folds: In each of which they are trained; 0 where they are trained once.
    """
    return min(max(SHORT_SEARCH_S, TRAININGS * first_s * max(folds, 1)), LEAST_SEARCH_S)


def _plan_in_time(prepared: Prepared, lines: SearchLines, cost: EpochCost, row_s: float) -> Planned:
    """Divides the time that is given: roughly at first, then with the pass as it was planned.

    More views of each image do more than lower lines, which make every row of the pass dearer. So
    these are left to refinements, which make a pass of their own where there is time for it.
    """
    base, clock = prepared.request.recipe.stages[0], prepared.request.clock
    lines = replace(lines, lower=())
    views, rough = time_division.divide(prepared, lines.main, cost, row_s)
    tried = _candidates(prepared, base, lines, cost, USED * rough.search_s)
    if not tried:  # There may be, where activations are kept already.
        tried = _candidates(prepared, base, lines, cost, USED * replace(rough, pass_s=0.0).search_s)
    more_s = time_division.MORE_VIEWS_SHARE * rough.given_s
    planned = _plan_pass(prepared, tried, views, more_s, USED * rough.search_s)
    measured = planned.plan.facts.get("estimate", {})
    pass_s = measured.get("first_pass_s", rough.pass_s)
    parts = replace(rough, begun_s=clock.elapsed_s(), pass_s=pass_s)
    if tried:
        lowest = min((one.line for one in tried), key=lambda line: line.index)
        cost = time_division.measured_again(cost, planned.plan, tried[0].line)
        base, lines = _kept_lines(tried[0].stage, base, lines, lowest)
        tried = _candidates(prepared, base, lines, cost, USED * parts.search_s)
        planned = replace(planned, lines=tuple(one.line for one in tried[:1]), candidates=tried)
        planned = replace(planned, cut=lowest)
    _tell_search(prepared, tried, USED * parts.search_s)
    prepared.request.console.detail(f"time: {parts}")
    if parts.least_s > parts.given_s:
        prepared.request.console.say(
            f"--time is too short: even without trying settings, it takes about "
            f"{duration(parts.least_s)}"
        )
    stages = tuple(one.stage for one in tried[:1])
    searched = {**_search_facts(planned, USED * parts.search_s), "time": parts.facts}
    plan = replace(
        planned.plan,
        recipe=replace(planned.plan.recipe, stages=stages),
        facts={**planned.plan.facts, "search": searched},
    )
    settled = replace(planned, plan=plan)
    row_s = time_division.planned_row_s(planned.plan, row_s)
    return _with_refining(settled, cost, row_s, USED * parts.search_s)


def _kept_lines(
    first: Stage, base: Stage, lines: SearchLines, lowest: Line
) -> tuple[Stage, SearchLines]:
    """Returns what can still be tried where the pass ends at a line: nothing below it."""
    if lowest.index > lines.main.index:
        return replace(base, lr=first.lr), SearchLines(lowest)
    return base, lines


def _candidates(
    prepared: Prepared, base: Stage, lines: SearchLines, cost: EpochCost, budget_s: float
) -> tuple[Candidate, ...]:
    recipe = prepared.request.recipe
    folds, fixed = _folds(prepared), _kept_by(recipe)
    tried = candidates.choose(base, lines, cost, budget_s, recipe.search.candidates, folds, fixed)
    if not tried and recipe.head.start != "probe":
        # A random head must be trained, however little time there is.
        tried = candidates.choose(base, lines, cost, ANY_S, 1, fixed=fixed)
    return tried


def _has_longer(tried: Sequence[Candidate]) -> bool:
    return any(one.when == candidates.AHEAD for one in tried)


def _folds(prepared: Prepared) -> int:
    asked = prepared.request.recipe.search.folds
    return fold_count(prepared.listing, asked, OF_CANDIDATES)


def _tell_search(prepared: Prepared, tried: Sequence[Candidate], budget_s: float) -> None:
    folds = _folds(prepared)
    prepared.request.console.detail(
        f"search: {len(tried)} candidates besides the probe{', cross-validated,' * bool(folds)} in "
        f"about {candidates.total_s(tried, folds):.0f} s of the {budget_s:.0f} s there are for them"
    )


def _with_refining(planned: Planned, cost: EpochCost, row_s: float, budget_s: float) -> Planned:
    folds = _folds(planned.prepared)
    found = refining.settle(planned.prepared, planned.plan, cost, row_s, budget_s, folds)
    facts = planned.plan.facts
    facts = {**facts, "search": {**facts["search"], "refining": refining.facts_of(found)}}
    return replace(planned, plan=replace(planned.plan, facts=facts), refining=found)


def _plan_pass(
    prepared: Prepared,
    tried: tuple[Candidate, ...],
    most_views: int,
    more_views_s: float,
    budget_s: float,
) -> Planned:
    """Plans the pass over the images for all lines that are tried."""
    recipe = prepared.request.recipe
    longest: dict[int, Candidate] = {}
    for one in tried:
        other = longest.get(one.line.index)
        if other is None or other.stage.epochs < one.stage.epochs:
            longest[one.line.index] = one
    by_line = sorted(longest.values(), key=lambda one: -one.line.index)
    # The time was divided already; the planner is asked to keep within disk and memory.
    budget = replace(recipe.budget, time_min=None)
    stages = tuple(one.stage for one in by_line)
    every = replace(recipe, stages=stages, budget=budget)
    lines = [one.line for one in by_line]
    plan = _measured(prepared, every, lines, most_views, more_views_s)
    first = (tried[0].stage,) if tried else ()
    planned = replace(plan.recipe, stages=first, budget=recipe.budget)
    made = Planned(prepared, plan, tuple(one.line for one in tried[:1]), tried)
    facts = {
        **plan.facts,
        "asked": recipes.to_dict(recipe),
        "search": _search_facts(made, budget_s),
    }
    return replace(made, plan=replace(plan, recipe=planned, facts=facts))


def _search_facts(planned: Planned, budget_s: float) -> dict[str, Any]:
    folds, tried = _folds(planned.prepared), planned.candidates
    return {
        "budget_s": round(budget_s, 1),
        "folds": folds,
        "estimate_s": round(candidates.total_s(tried, folds), 1),
        "candidates": [_facts_of(one) for one in tried],
    }


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
