"""The learning-rate finder: the same steps, ended by a sweep over rates instead of training."""

from pathlib import Path

from frostline.base.console import Console
from frostline.base.errors import RecipeError
from frostline.pipeline.fill import fill
from frostline.pipeline.head_probe import fit_probe
from frostline.pipeline.planning import make_plan
from frostline.pipeline.prepare import make_request, prepare
from frostline.pipeline.stage_sources import StageSources
from frostline.pipeline.stage_tasks import stage_task
from frostline.recipe import Recipe
from frostline.training import lr_find, stages
from frostline.training.lr_find import RateSuggestion


def find_rate(
    photos: Path,
    recipe: Recipe,
    number: int | None,
    learning_rates: tuple[float, float, int],
    cache: Path,
    console: Console,
) -> RateSuggestion:
    """Tries rising learning rates on a stage, and trains nothing that stays.

    It starts from the probe, or at random; earlier stages are not trained first.

    Args:
        photos: As for `train`.
        recipe: The recipe.
        number: Of the stage, from 0; None for the last.
        learning_rates: The first and the last, and how many are tried.
        cache: The folder of all caches.
        console: Where words go.

    Raises:
        RecipeError: Where there is no such stage.
        TrainingError: Where no rate makes the loss fall.
    """
    lr_find.check(*learning_rates)
    request = make_request(photos, recipe, cache, console)
    stage_count = len(request.recipe.stages)
    if not stage_count:
        raise RecipeError(
            "lr-find: the recipe has no stages, only the probe, which has no rate. "
            "Name another --recipe, or a --line."
        )
    if not 0 <= (number or 0) < stage_count:
        raise RecipeError(
            f"--stage: the recipe has {stage_count} stages, counted from 0; got {number}."
        )
    planned = make_plan(prepare(request))
    filled = fill(planned, StageSources(planned))
    if request.recipe.head.start == "probe":
        fit_probe(filled)
    task = stage_task(filled, stage_count - 1 if number is None else number)
    with stages.trial(task) as step:
        return lr_find.sweep(step, *learning_rates)
