"""A recipe's stage as a task for training: its network, its source, its examples epoch by epoch."""

from frostline import planner
from frostline.activations.cache.key import row_id
from frostline.activations.extraction import ImageView
from frostline.activations.sources import image_views_of
from frostline.images.augment import CENTER
from frostline.pipeline.examples import labelled, sorted_rows
from frostline.pipeline.fill import Filled
from frostline.training import stages
from frostline.training.examples import Examples


def stage_task(filled: Filled, number: int) -> stages.StageTask:
    """Returns stage `number`, counted from 0, with all it works on made ready."""
    recipe, listing = filled.planned.recipe, filled.listing
    stage, policy = recipe.stages[number], planner.policy_of(recipe)
    model, source = filled.sources.at(number)
    rows = sorted_rows(listing.of("train"))
    before = planner.epochs_before(recipe, number, len(rows))
    center = labelled(rows, listing, model)
    assert center is not None

    def examples_of(epoch: int) -> Examples:
        if not stage.augment:
            views = [CENTER] * len(rows)
        else:
            views = [planner.view_of(row.digest, epoch, recipe, policy, before) for row in rows]
        wanted: dict[bytes, ImageView] = {}
        ids = []
        for row, view in zip(rows, views, strict=True):
            ids.append(row_id(row.digest, view.name))
            wanted[ids[-1]] = ImageView(row.path, row.digest, view)
        source.prepare(wanted)
        return Examples(tuple(ids), center.targets)

    if filled.validation is not None:
        source.prepare(image_views_of(listing.of("val")))
    sample = image_views_of((listing.of("val") or rows)[: stages.SAMPLE])
    source.prepare(sample)
    if not recipe.views.refresh:
        source.prepare(image_views_of(rows, planner.views_of(recipe, policy, number, len(rows))))
    return stages.StageTask(
        number=number,
        count=len(recipe.stages),
        stage=stage,
        model=model,
        source=source,
        images=len(rows),
        examples_of=examples_of,
        validation=filled.validation,
        sample=sample,
        seed=recipe.seed + number + 1,
    )
