"""Recipe and images to a finished run: prepare, plan, fill, fit, finish."""

import time
from pathlib import Path
from typing import Any

from frostline import recipe as recipes
from frostline.base import files
from frostline.base.ahead import FINISH
from frostline.base.console import Console
from frostline.images import listing as listings
from frostline.images.augment import Policy
from frostline.pipeline import messages, resume, seeds
from frostline.pipeline.fill import fill
from frostline.pipeline.finish import finish
from frostline.pipeline.fit import fit
from frostline.pipeline.outlook import expected_s
from frostline.pipeline.planning import Planned, make_plan, recorded_or_new_plan
from frostline.pipeline.prepare import Request, make_request, prepare
from frostline.pipeline.stage_sources import StageSources
from frostline.planner import Plan, policy_of
from frostline.recipe import Recipe
from frostline.run import folder as run_folder
from frostline.run import places
from frostline.run.folder import RunFolder
from frostline.sound import windows
from frostline.training.progress import checkpoint_binding


def train(
    photos: Path, out: Path | None, recipe: Recipe, cache: Path, console: Console
) -> RunFolder:
    """Carries out a recipe on a folder of images.

    Args:
        photos: Class folders, or `train/` and `val/`, or a CSV.
        out: The run folder: new, empty, or one that this very recipe began. None for the first of
            `runs/photos`, `runs/photos-2` and so on that is one of these.
        recipe: What to do.
        cache: The folder of all caches.
        console: Where words go.

    Returns:
        The finished run.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
        Interrupted: Where a signal asked to end; the same call goes on from there.
    """
    first = places.usual(photos) if out is None else out
    begun_with = resume.begun_with(resume.latest(first) if out is None else first)
    request = make_request(photos, recipe, cache, console, {"--out": first}, begun_with)
    if out is None:
        out = resume.place_for(request.recipe, request.listing, first)
    run = run_folder.claim(out)
    with places.locked(run):
        run.remove_leftovers()
        earlier = resume.earlier(run, request.recipe, request.listing, console)
        if earlier is not None and run.is_finished():
            run.remove_checkpoints()
            return run
        console.detail(f"run: {run.path}")
        prepared = prepare(request)
        content = resume.digest(request.listing)
        planned = recorded_or_new_plan(run, earlier, prepared)
        bound = checkpoint_binding(prepared.model, content)
        found = resume.find_checkpoint(run, bound, prepared.listing, photos)
        _tell_way(planned, console)
        sources = StageSources(planned)
        # Written once all names hold, so a slip of the pen leaves no run behind.
        recipes.write(planned.recipe, run.recipe)
        files.write_json(run.plan, planned.plan.facts)
        if console.log is not None:
            console.log.write_to(run.log)

        begun = time.perf_counter()
        filled = fill(planned, sources, run)
        trained = fit(filled, run, bound, found)
        took_s = time.perf_counter() - begun
        others = _repeat(trained.filled.planned.recipe, request, run)
        with console.step("Scoring", FINISH):
            finish(trained, run, content, took_s, others)
    return run


def _tell_way(planned: Planned, console: Console) -> None:
    """Says what is to come, and what it takes."""
    seconds = expected_s(planned)
    console.ahead.expect(seconds)
    listing, policy = planned.prepared.listing, policy_of(planned.recipe)
    counts = {name: windows.file_count(listing.of(name)) for name in listings.SPLITS}
    # Of sounds in windows: where each is one window, nothing needs to be said.
    rows = len(listing.usable)
    cut = rows if rows > sum(counts.values()) else 0
    is_live, trained = planned.recipe.views.live, planned.recipe.stages or planned.candidates
    shown = policy if trained else Policy()
    views = 0 if is_live else planned.recipe.views.count
    messages.way(counts, shown, views, sum(seconds.values()), console, cut)


def _repeat(settled: Recipe, request: Request, run: RunFolder) -> dict[int, Any]:
    """Makes the run with further seeds, from the same cache; returns the scores of each.

    They are runs in a folder of this one, which goes once it is finished; so one that was
    interrupted is gone on with.
    """
    found = {}
    for seed, recipe in seeds.recipes_of(settled).items():
        made = train(request.photos, run.of_seed(seed), recipe, request.cache, Console(None))
        found[seed] = made.read_scores()
        scores = ", ".join(
            f"{split} accuracy {one['accuracy']:.4f}" for split, one in found[seed].items()
        )
        request.console.say(f"Seed {seed}: {scores}")
    return found


def plan(photos: Path, recipe: Recipe, cache: Path, console: Console) -> Plan:
    """Measures and chooses as `train` would, and trains nothing.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    return make_plan(prepare(make_request(photos, recipe, cache, console))).plan
