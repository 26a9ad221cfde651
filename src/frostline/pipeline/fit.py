"""The fourth step: the probe, a search, then the stages, each from its start or a checkpoint."""

from dataclasses import dataclass

from frostline import planner
from frostline import recipe as recipes
from frostline.activations.sources import image_views_of
from frostline.base.ahead import LOOK, TRAIN, TRY
from frostline.base.errors import LossError
from frostline.images.augment import View
from frostline.pipeline import messages
from frostline.pipeline.cross_validation import probe_facts
from frostline.pipeline.fill import Filled
from frostline.pipeline.fold_search import fold_start, search_by_folds
from frostline.pipeline.folds import FEW_HELD_OUT, OF_CANDIDATES, fold_count
from frostline.pipeline.head_probe import choose_probe, choose_probe_again, fit_probe, probe_score
from frostline.pipeline.search import (
    LEAST_VALIDATION,
    Found,
    is_solved,
    search,
    with_stage,
)
from frostline.pipeline.stage_tasks import stage_task
from frostline.run.folder import RunFolder
from frostline.training import checkpoint, scoring, stages, trackers
from frostline.training.checkpoint import Checkpoint
from frostline.training.progress import RunProgress, checkpoint_environment
from frostline.training.scoring import Score


@dataclass(frozen=True)
class Trained:
    """The network as training left it, in the last stage's cut.

    Attributes:
        filled: What it was trained on.
        progress: History, proofs and checkpoints.
    """

    filled: Filled
    progress: RunProgress


def fit(filled: Filled, run: RunFolder, bound: dict[str, str], found: Checkpoint | None) -> Trained:
    """Trains, and leaves the best state in the network.

    Args:
        filled: Activations, and the network cut at each line.
        run: Where history and checkpoints go.
        bound: What a checkpoint is bound to: digests of images and weights.
        found: Where the run was interrupted.

    Raises:
        TrainingError: Where training fails; what was trained is in the checkpoint.
        Interrupted: After a checkpoint, where a signal asked to end.
    """
    progress = _progress(filled, run, bound, found)
    if found:
        progress.restore(found)
    else:
        with progress.console.step("Fitting a new last layer"):
            _begin(filled, progress)
    first = int(found.facts["stage"]) if found else 0
    if filled.planned.recipe.search.enabled and filled.validation and first == 0:
        filled, found = _search(filled, run, progress, found)
    elif not found:
        _tell_probe(filled, progress)
    recipe = filled.planned.recipe
    if found and first == 0 and recipe.head.start == "random" and "state" not in found.facts:
        # The seed decides how it begins; where a search was ended, the checkpoint has its head.
        found = None
    for number in range(first, len(recipe.stages)):
        stages.run_stage(stage_task(filled, number), progress, found if number == first else None)
        _tell_stage(filled, number, progress)
    if found and first == len(recipe.stages):
        _restore_end(filled, found)
    run.write_history(progress.history)
    progress.trackers.close()
    return Trained(filled, progress)


def _restore_end(filled: Filled, found: Checkpoint) -> None:
    """Puts what training came to into the network: the last stage, or the probe alone."""
    if filled.planned.recipe.stages:
        checkpoint.unpack(
            found, filled.sources.at(len(filled.planned.recipe.stages) - 1)[0].trainable, None
        )
    else:
        # Written before the search, at a line of its candidates; only the head is another.
        filled.sources.at(-1)[0].trainable.head.load_state_dict(found.part("upper.head"))


def _begin(filled: Filled, progress: RunProgress) -> None:
    """Fits the probe, on varied views too where a search may follow, and saves the start.

    On one of them where the search may turn out to be needless; where a time is given, on all.
    """
    recipe = filled.planned.recipe
    if recipe.head.start == "probe":
        views, is_choice = _probe_views(filled), recipe.search.enabled
        has_time = recipe.budget.time_min is not None
        first = views[:1] if is_choice and not has_time else views
        record = choose_probe(filled, first) if is_choice else fit_probe(filled, first)
        is_last = is_choice and has_time and views
        progress.note({**record, "views_tried": len(views) + 1} if is_last else record)
        progress.cross_validation = probe_facts(filled)
    if recipe.stages:
        progress.save(0, filled.sources.at(0)[0].trainable)


def _search(
    filled: Filled, run: RunFolder, progress: RunProgress, found: Checkpoint | None
) -> tuple[Filled, Checkpoint | None]:
    """Returns the run with the recipe that a search came to, and the checkpoint of its stage."""
    if found is not None:
        checkpoint.unpack(found, filled.sources.at(0)[0].trainable, None)
    folds = fold_count(filled.listing, filled.planned.recipe.search.folds, OF_CANDIDATES)
    folded = fold_start(filled, folds) if folds else None
    start = folded.score if folded else _start_score(filled, progress)
    if is_solved(filled, start, FEW_HELD_OUT if folded else LEAST_VALIDATION):
        messages.probe(start, folds, progress.console)
        progress.console.say("Nearly all are right, so nothing else is tried (--time 5m would)")
        best = Found(None)
    else:
        probe = _probe_again(filled, progress, start)
        if progress.history:
            messages.probe(start if folded else probe, folds, progress.console)
        best = (
            search_by_folds(filled, run, folded)
            if folded
            else search(filled, run, probe, _probe_view_count(progress) > 0)
        )
        if best.candidate is None and filled.planned.recipe.head.start != "probe":
            raise LossError(
                "search: no candidate was better than the new head at random. Try a learning rate "
                "ten times smaller with another --out."
            )
    progress.console.ahead.done(LOOK, TRY)
    if best.candidate is None:
        progress.console.ahead.done(TRAIN)
    filled = with_stage(filled, best.candidate, _probe_view_count(progress))
    recipes.write(filled.planned.recipe, run.recipe)
    for line in best.history:
        progress.note(line)
    return filled, best.checkpoint


def _tell_probe(filled: Filled, progress: RunProgress) -> None:
    """Says how right the probe is, by the best way there is to tell."""
    crossed, probe = progress.cross_validation, next(iter(progress.history), None)
    if crossed is not None:
        score = Score(crossed["log_loss"], crossed["accuracy"], crossed["n"])
        messages.probe(score, crossed["folds"], progress.console)
    elif probe is not None and filled.validation is not None:
        messages.probe(probe_score(probe, filled.validation.count), 0, progress.console)


def _tell_stage(filled: Filled, number: int, progress: RunProgress) -> None:
    """Says what a stage came to; a search has said it already of what it found."""
    proof = progress.proofs[-1]
    if proof["kept"] and filled.planned.candidates:
        return
    line = filled.sources.at(number)[0].line
    held_out = filled.validation.count if filled.validation else 0
    count = len(filled.planned.recipe.stages)
    messages.stage(number + 1, count, line, proof, held_out, progress.console)


def _start_score(filled: Filled, progress: RunProgress) -> Score:
    """Returns the score that candidates must beat: the probe's, or that of a random head."""
    assert filled.validation is not None
    if progress.history:
        return probe_score(progress.history[0], filled.validation.count)
    model, source = filled.sources.at(-1)
    source.prepare(image_views_of(filled.listing.of("val")))
    return scoring.score(
        model.trainable, source.fetch, filled.validation, model.engine.device, model.targets
    )


def _probe_again(filled: Filled, progress: RunProgress, start: Score) -> Score:
    """Fits the probe on all views, which takes the place of one on few where it is better.

    Returns:
        The score of the better one.
    """
    views = _probe_views(filled)
    if not progress.history or len(views) < 2 or progress.history[0].get("views_tried"):
        return start
    record = choose_probe_again(filled, views, progress.history[0])
    progress.history = [{**record, "views_tried": len(views) + 1}]
    if filled.planned.recipe.stages:
        progress.save(0, filled.sources.at(0)[0].trainable)
    return _start_score(filled, progress)


def _probe_view_count(progress: RunProgress) -> int:
    """Returns how many varied views of each image the probe was fitted on; 0 without a probe."""
    return progress.history[0]["views"] - 1 if progress.history else 0


def _probe_views(filled: Filled) -> list[View]:
    """Returns the varied views that a probe is fitted on; in a search those that are kept."""
    recipe = filled.planned.recipe
    policy = planner.policy_of(recipe)
    if recipe.search.enabled and not filled.planned.plan.keep:
        return []
    count = planner.probe_view_count(recipe, policy, len(filled.listing.of("train")))
    return [View(number, policy) for number in range(count)]


def _progress(
    filled: Filled, run: RunFolder, bound: dict[str, str], found: Checkpoint | None
) -> RunProgress:
    recipe = filled.planned.recipe
    opened = trackers.open_trackers(
        recipe.watch.trackers,
        run.tensorboard,
        run.path.name,
        recipes.to_dict(recipe),
        purge_step=len(found.facts["history"]) + 1 if found else None,
    )
    return RunProgress(
        run,
        filled.planned.prepared.request.console,
        opened,
        bound,
        checkpoint_environment(filled.sources.base),
        recipe.watch.histograms,
    )
