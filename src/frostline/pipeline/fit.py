"""The fourth step: the probe, then the stages, each from its start or from a checkpoint."""

import time
from dataclasses import dataclass

from frostline import recipe as recipes
from frostline.pipeline.fill import Filled
from frostline.pipeline.head_probe import fit_probe
from frostline.pipeline.stage_tasks import stage_task
from frostline.run.folder import RunFolder
from frostline.training import checkpoint, stages, trackers
from frostline.training.checkpoint import Checkpoint
from frostline.training.progress import RunProgress, ground_of


@dataclass(frozen=True)
class Trained:
    """The network as training left it, in the last stage's cut.

    Attributes:
        filled: What it was trained on.
        progress: History, proofs and checkpoints.
        seconds: What probe and stages took, of this time alone where a run was gone on with.
    """

    filled: Filled
    progress: RunProgress
    seconds: float


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
    begun_at = time.perf_counter()
    recipe, sources = filled.planned.recipe, filled.sources
    progress = _progress(filled, run, bound, found)
    if found:
        progress.restore(found)
    elif recipe.head.start == "probe":
        progress.note(fit_probe(filled))
    first = int(found.facts["stage"]) if found else 0
    if found is None and recipe.stages:
        progress.save(0, sources.at(0)[0].trainable)
    for number in range(first, len(recipe.stages)):
        stages.carry_out(stage_task(filled, number), progress, found if number == first else None)
    if found and first == len(recipe.stages):
        checkpoint.unpack(found, sources.at(first - 1)[0].trainable, None)
    run.write_history(progress.history)
    progress.trackers.close()
    return Trained(filled, progress, time.perf_counter() - begun_at)


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
        ground_of(filled.sources.base),
        recipe.watch.histograms,
    )
