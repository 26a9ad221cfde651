"""Which views of the training images the stages of a recipe take, and for how many epochs."""

import math
from dataclasses import replace
from typing import Any

from frostline.base import files
from frostline.images import augment
from frostline.images.augment import CENTER, View, ViewPolicy
from frostline.recipe import Recipe, Stage
from frostline.recipe.schema import OF_PICTURES, OF_SOUNDS
from frostline.sound import policies
from frostline.training import examples

# A probe is fitted on so many varied views of an image at most, and on so many rows in all.
MOST_PROBE_VIEWS = 4
MOST_PROBE_ROWS = 60_000


def policy_of(recipe: Recipe) -> ViewPolicy:
    """Returns how training images, or sounds, are varied."""
    if recipe.data.sound:
        return replace(policies.preset(recipe.views.preset), **recipe.views.policy())
    return replace(augment.preset(recipe.views.preset), **recipe.views.policy())


def with_preset(recipe: Recipe, preset: str) -> Recipe:
    """Returns a recipe with the views of a preset, every value written out."""
    unset: dict[str, Any] = dict.fromkeys((*OF_PICTURES, *OF_SOUNDS))
    plain = replace(recipe, views=replace(recipe.views, preset=preset, **unset))
    values: dict[str, Any] = dict(vars(policy_of(plain)))
    return replace(plain, views=replace(plain.views, **values))


def view_of(content: str, epoch: int, recipe: Recipe, policy: ViewPolicy, before: int = 0) -> View:
    """Returns which view of an image an epoch takes.

    Args:
        content: The image's digest.
        epoch: Of the stage, from 1.
        recipe: Whose `views` say how many there are.
        policy: How images are varied.
        before: Epochs of earlier stages that saw varied views; this one goes on from there.
    """
    if not policy.varies:
        return CENTER
    views, number = recipe.views, before + epoch - 1
    if views.live:
        return View(number, policy)
    slot = number % views.count
    generation = 0
    if views.refresh:
        # Each slot of each image is replaced at its own time, a share of them in every epoch.
        offset = int(files.digest(f"{content}:{slot}".encode())[:8], 16) / 2**32
        generation = int(views.refresh * number + offset)
    return View(slot + views.count * generation, policy)


def epochs_of(stage: Stage, images: int) -> float:
    """Returns how many epochs a stage takes if it is not ended early; steps are counted too."""
    if not stage.steps:
        return float(stage.stop_after or stage.epochs)
    batches = examples.batch_count(max(images, 1), stage.batch_size)
    return stage.steps / math.ceil(batches / stage.accumulate)


def most_epochs(stage: Stage, images: int) -> int:
    """Returns how many epochs a stage takes if it is not ended early, begun ones counted."""
    return math.ceil(epochs_of(stage, images))


def epochs_before(recipe: Recipe, number: int, images: int) -> int:
    """Returns how many epochs saw varied views before stage `number`, which goes on from there."""
    return sum(most_epochs(stage, images) for stage in recipe.stages[:number] if stage.augment)


def view_count(recipe: Recipe, policy: ViewPolicy) -> int:
    """Returns how many kept views of a training image the stages take."""
    if not policy.varies or recipe.views.live:
        return 0
    count = recipe.views.count
    # How many epochs steps make depends on how many images can be read.
    epochs = [count if stage.steps else stage.epochs for stage in recipe.stages if stage.augment]
    return min(count, sum(epochs))


def probe_view_count(recipe: Recipe, policy: ViewPolicy, images: int) -> int:
    """Returns how many varied views of an image a probe takes: of a search, if they are kept."""
    if not policy.varies:
        return 0
    if not recipe.search.enabled:
        return recipe.head.probe_views
    if recipe.views.live:
        return 0
    most = max(0, MOST_PROBE_ROWS // max(1, images) - 1)
    return min(recipe.views.count, MOST_PROBE_VIEWS, most)


def views_of(recipe: Recipe, policy: ViewPolicy, number: int, images: int) -> list[View]:
    """Returns the kept views that stage `number` takes, while none is replaced by a new one."""
    stage, count = recipe.stages[number], recipe.views.count
    if not stage.augment or not policy.varies:
        return [CENTER]
    if recipe.views.live:
        return []
    begun = epochs_before(recipe, number, images)
    slots = range(begun, begun + min(count, most_epochs(stage, images)))
    return [View(slot % count, policy) for slot in slots]
