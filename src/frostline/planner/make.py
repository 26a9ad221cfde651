"""The plan of a run: every choice with its cost, the one that is taken, and why."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from frostline.activations.cut_network import row_bytes
from frostline.activations.engines import Engine
from frostline.base.console import Console
from frostline.base.errors import BackboneError, DiskError, RecipeError
from frostline.base.html import one_line
from frostline.frost import Line
from frostline.images.augment import ViewPolicy
from frostline.images.listing import Listing
from frostline.model import classifier
from frostline.model.classifier import Classifier
from frostline.planner import candidates, measure, shown
from frostline.planner.measure import DiskThroughput
from frostline.planner.options import (
    USUAL_VIEWS,
    PlanInputs,
    PlanOption,
    Throughput,
    allows_views,
    derives,
    fits,
    limits,
    options_of,
    pass_line,
)
from frostline.planner.throughput import (
    AUTO,
    check_engine,
    line_choices,
    measure_throughput,
    with_engine,
)
from frostline.planner.views import policy_of
from frostline.recipe import Recipe, to_dict

# Where nothing else is asked for.
DEFAULT_LINE = f"{candidates.MAIN:.0%}"
_NO_ROOM = "has no room"
_ANY_DISK = DiskThroughput(math.inf, math.inf)


@dataclass(frozen=True, repr=False)
class Plan:
    """What was chosen.

    Attributes:
        recipe: With every choice written out.
        facts: What was measured, estimated and chosen, for `plan.json`.
        engine: What runs the prefix at the earliest line, where it was made ready already.
    """

    recipe: Recipe
    facts: dict[str, Any]
    engine: Engine | None = None

    def __repr__(self) -> str:
        return one_line(f"Plan: {shown.in_a_line(self.facts)}")

    def _repr_html_(self) -> str:
        return shown.as_html(self.facts)

    @property
    def keep(self) -> bool:
        """Whether activations are kept on disk."""
        return self.recipe.compute.cache != "never"


def make(
    model: Classifier,
    lines: Sequence[Line],
    listing: Listing,
    wanted: Recipe,
    cache: Path,
    console: Console,
    most_views: int = USUAL_VIEWS,
    more_views_s: float = 0.0,
) -> Plan:
    """Measures for a few seconds, chooses, and says so.

    Args:
        model: The network, cut at its top.
        lines: Of the recipe's stages; for a stage at `auto`, the default.
        listing: The images, with splits.
        wanted: The recipe; `views.count = 0`, a stage's line `auto`, `compute.cache = "auto"` and
            `compute.engine = "auto"` are the planner's to choose.
        cache: The folder of all caches.
        console: Where words go.
        most_views: At most so many views of a training image are kept.
        more_views_s: Seconds that the pass may take with more than `USUAL_VIEWS` of them.

    Raises:
        RecipeError: Where a budget leaves no choice.
        DiskError: Where the disk has no room for any.
        BackboneError: Where an engine was asked for that cannot run this network, or does not
            agree with it.
    """
    policy = policy_of(wanted)
    if _has_no_choice(wanted, policy):
        case = PlanInputs(model, listing, wanted, policy, cache, console, _ANY_DISK)
        return _without_measuring(case, lines)
    begun, asked = time.perf_counter(), wanted
    wanted, disk = _disk(wanted, cache, console)
    case = PlanInputs(
        model, listing, wanted, policy, cache, console, disk, most_views, more_views_s
    )
    options: list[tuple[PlanOption, Throughput]] = []
    for placed in line_choices(case, lines):
        for throughput in measure_throughput(case, placed):
            options += [(option, throughput) for option in options_of(case, throughput)]
        if _is_enough(
            case, [option for option, throughput in options if throughput.lines == placed]
        ):
            break
    chosen, throughput, why = _checked_choice(case, options)
    recipe = _written(case, chosen, throughput)
    seconds = time.perf_counter() - begun
    shown.say_options(case, [option for option, _ in options], chosen, why, seconds)
    if why.endswith(_NO_ROOM):
        console.say(f"Activations are not kept: {why.removeprefix('not kept: ')}")
    facts = {
        "asked": to_dict(asked),
        "derive": recipe.compute.derive,
        "measured_s": round(seconds, 3),
        "line": chosen.line,
        "lines": [line.name for line in throughput.lines],
        "engine": throughput.base.engine.name,
        "row_bytes": row_bytes(throughput.base),
        "views": chosen.views,
        "cache": "always" if chosen.keep else "never",
        "storage": chosen.storage,
        "why": why,
        "disk": _disk_facts(case.disk),
        "rates": _rate_facts(throughput),
        "estimate": _rounded(dataclasses.asdict(chosen)),
        "options": [_rounded(dataclasses.asdict(option)) for option, _ in options],
    }
    return Plan(recipe, facts, throughput.base.engine)


def _disk(wanted: Recipe, cache: Path, console: Console) -> tuple[Recipe, DiskThroughput]:
    """Measures the cache's disk; where that is left to choose and nothing can be kept, says so.

    Raises:
        DiskError: Where the cache was asked for and cannot be written.
    """
    if wanted.compute.cache == "never":
        return wanted, _ANY_DISK
    try:
        return wanted, measure.disk(cache)
    except DiskError as error:
        if wanted.compute.cache != AUTO:
            raise
        console.say(f"Activations are not kept: {str(error).partition('. ')[0]} (see --cache-dir)")
        return replace(wanted, compute=replace(wanted.compute, cache="never")), _ANY_DISK


def _has_no_choice(wanted: Recipe, policy: ViewPolicy) -> bool:
    """Whether nothing is left to choose and no budget to keep: then nothing need be measured."""
    compute, views = wanted.compute, wanted.views
    return (
        compute.engine != AUTO
        and (compute.cache != AUTO or views.live)
        and (views.count > 0 or views.live or not policy.varies)
        and all(stage.line != AUTO for stage in wanted.stages)
        and not any(vars(wanted.budget).values())
    )


def _without_measuring(case: PlanInputs, lines: Sequence[Line]) -> Plan:
    """Returns the plan where all was asked for; the engine is compared with float32 even so."""
    wanted, policy = case.wanted, case.policy
    base = case.model
    earliest = pass_line(case, lines)
    if earliest.index != base.line.index:
        base = classifier.recut(base, earliest)
    if wanted.compute.engine != "eager" or base.engine.compute != torch.float32:
        base = with_engine(base, wanted.compute.engine, case.cache)
        check_engine(case, base)
    case.console.detail("plan: nothing is left to choose, so nothing is measured")
    fields: dict[str, Any] = dict(vars(policy))
    count = wanted.views.count or 1
    facts = {
        "asked": to_dict(wanted),
        "measured_s": 0.0,
        "line": base.line.name,
        "lines": [line.name for line in lines],
        "engine": base.engine.name,
        "row_bytes": row_bytes(base),
        "views": count,
        "cache": wanted.compute.cache,
        "why": "all was asked for",
    }
    recipe = replace(wanted, views=replace(wanted.views, count=count, **fields))
    return Plan(recipe, facts, base.engine)


def _checked_choice(
    case: PlanInputs, options: Sequence[tuple[PlanOption, Throughput]]
) -> tuple[PlanOption, Throughput, str]:
    """Returns the choice whose engine agrees with float32; one that does not is left out, aloud.

    Raises:
        RecipeError: Where a budget leaves none.
        DiskError: Where the disk does.
        BackboneError: Where no engine agrees.
    """
    while True:
        chosen, throughput, why = _choose(case, options)
        others = [pair for pair in options if pair[0].engine != chosen.engine]
        try:
            check_engine(case, throughput.base)
        except BackboneError as error:
            if not others:
                raise
            case.console.detail(f"{error} It is left out.")
            options = others
        else:
            return chosen, throughput, why


def _choose(
    case: PlanInputs, options: Sequence[tuple[PlanOption, Throughput]]
) -> tuple[PlanOption, Throughput, str]:
    """Returns the choice and why.

    Of the kept options that fit it is the soonest of those with the most views that are allowed;
    computing anew is chosen only where that is sooner than keeping the usual views, or where
    nothing that is kept fits.

    Raises:
        RecipeError: Where a budget leaves none.
        DiskError: Where the disk does.
    """
    fitting = [pair for pair in options if fits(case, pair[0])]
    if not fitting:
        raise _nothing_fits(case, [option for option, _ in options])
    kept = [pair for pair in fitting if pair[0].keep and allows_views(case, pair[0])]
    best = min(kept, key=lambda pair: (-pair[0].views, pair[0].total_s), default=None)
    usual_s = min(
        ((-min(option.views, USUAL_VIEWS), option.total_s) for option, _ in kept),
        default=(0, math.inf),
    )[1]
    anew = [pair for pair in fitting if not pair[0].keep and pair[0].total_s < usual_s]
    if anew:
        # At the lines that were asked for, if that is among them.
        lines = anew[0][1].lines
        best = min((pair for pair in anew if pair[1].lines == lines), key=lambda p: p[0].total_s)
    assert best is not None
    return *best, _why(case, best[0], [one for one, _ in options], [one for one, _ in fitting])


def _why(
    case: PlanInputs,
    chosen: PlanOption,
    options: Sequence[PlanOption],
    fitting: Sequence[PlanOption],
) -> str:
    asked, has_budget = case.wanted.compute.cache, any(vars(case.wanted.budget).values())
    if case.wanted.views.live:
        return "new views in every epoch were asked for"
    if asked != "auto":
        return f"cache {asked} was asked for"
    if chosen.keep and len(fitting) == 1:
        return "the only way" + (" within the budget" if has_budget else "")
    if chosen.keep:
        if any(one.total_s < chosen.total_s for one in fitting):
            return f"soonest with {chosen.views} views"
        # What is sooner still does not fit.
        is_soonest = all(one.total_s >= chosen.total_s for one in options)
        return "soonest" if is_soonest else "soonest that fits"
    others = [one for one in options if one.keep and one.line == chosen.line]
    if any(one.keep for one in fitting) or all(one.total_s > chosen.total_s for one in others):
        return "not kept: recomputing is faster"
    return f"not kept: the {'budget' if has_budget else 'disk'} {_NO_ROOM}"


def _is_enough(case: PlanInputs, options: Sequence[PlanOption]) -> bool:
    """Whether lines need not move up: something is kept, or computing anew is sooner anyway."""
    fitting = [option for option in options if fits(case, option)]
    if any(option.keep for option in fitting):
        return True
    anew_s = min((option.total_s for option in fitting), default=math.inf)
    return bool(fitting) and all(one.total_s > anew_s for one in options if one.keep)


def _nothing_fits(case: PlanInputs, options: Sequence[PlanOption]) -> RecipeError | DiskError:
    """Returns the error, with the needs of the option that misses by the smallest factor."""

    def miss(option: PlanOption) -> float:
        return max(need / max(limit, 1e-9) for need, limit in limits(case, option).values())

    found = limits(case, min(options, key=miss))
    room, free = found.pop("free")
    if not found:
        return DiskError(
            f"{case.cache}: the activations need {_size(room)} and the disk has {_size(free)} "
            "free. Make room, name another place with --cache-dir, choose a later line or fewer "
            "views, or run with --cache never."
        )
    parts = []
    for name, (need, limit) in found.items():
        show = _time if name == "time" else _size
        parts.append(f"{name} {show(limit)} (needs {show(need)})")
    if room > free:
        parts.append(f"the {_size(free)} that the disk has free (needs {_size(room)})")
    return RecipeError(
        f"budget: nothing fits within {', '.join(parts)}. Raise it, choose a later line, fewer "
        "views or fewer epochs."
    )


def _size(count: float) -> str:
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.3g} {unit}"
    return f"{count / 1024:.3g} GiB"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def _written(case: PlanInputs, chosen: PlanOption, throughput: Throughput) -> Recipe:
    """Returns the recipe with every choice written out, so that it gives this run again."""
    wanted = case.wanted
    stages = tuple(
        replace(stage, line=line.name if stage.line == AUTO else stage.line)
        for stage, line in zip(wanted.stages, throughput.lines, strict=True)
    )
    compute = replace(wanted.compute, engine=chosen.engine, derive=derives(case, throughput))
    if not wanted.views.live:
        compute = replace(compute, cache="always" if chosen.keep else "never")
    fields: dict[str, Any] = dict(vars(case.policy))
    views = replace(wanted.views, count=chosen.views, **fields)
    return replace(wanted, stages=stages, views=views, compute=compute)


def _disk_facts(disk: DiskThroughput) -> dict[str, int]:
    """Returns the rates of the disk; none where it was not measured."""
    if disk is _ANY_DISK:
        return {}
    return {"write_mb_s": round(disk.write / 1e6), "read_mb_s": round(disk.read / 1e6)}


def _rate_facts(throughput: Throughput) -> dict[str, Any]:
    return {
        **{
            f"{name}_per_s": round(1 / seconds, 1) if seconds else None
            for name, seconds in (
                ("decode", throughput.decode_s),
                ("center", throughput.center_s),
                ("view", throughput.view_s),
            )
        },
        "setup_s": round(throughput.setup_s, 3),
        "train_ms_per_image": [round(1000 * step.train_s, 4) for step in throughput.steps],
        "score_ms_per_image": [round(1000 * step.eval_s, 4) for step in throughput.steps],
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()
    }
