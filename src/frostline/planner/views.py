"""Which kept views of the training images the stages of a recipe take, and for how many epochs."""

import math

from frostline.images.augment import CENTER, Policy, View
from frostline.recipe import Recipe, Stage
from frostline.training import loop


def epochs_of(stage: Stage, images: int) -> float:
    """Returns how many epochs a stage takes if it is not ended early; steps are counted too."""
    if not stage.steps:
        return float(stage.epochs)
    batches = loop.batch_count(max(images, 1), stage.batch_size)
    return stage.steps / math.ceil(batches / stage.accumulate)


def most_epochs(stage: Stage, images: int) -> int:
    """Returns how many epochs a stage takes if it is not ended early, begun ones counted."""
    return math.ceil(epochs_of(stage, images))


def epochs_before(wanted: Recipe, number: int, images: int) -> int:
    """Returns how many epochs saw varied views before stage `number`, which goes on from there."""
    return sum(most_epochs(stage, images) for stage in wanted.stages[:number] if stage.augment)


def view_count(wanted: Recipe, policy: Policy) -> int:
    """Returns how many kept views of a training image the stages take."""
    if not policy.varies or wanted.views.live:
        return 0
    count = wanted.views.count
    # How many epochs steps make depends on how many images can be read.
    epochs = [count if stage.steps else stage.epochs for stage in wanted.stages if stage.augment]
    return min(count, sum(epochs))


def views_of(wanted: Recipe, policy: Policy, number: int, images: int) -> list[View]:
    """Returns the kept views that stage `number` takes, while none is replaced by a new one."""
    stage, count = wanted.stages[number], wanted.views.count
    if not stage.augment or not policy.varies:
        return [CENTER]
    if wanted.views.live:
        return []
    begun = epochs_before(wanted, number, images)
    slots = range(begun, begun + min(count, most_epochs(stage, images)))
    return [View(slot % count, policy) for slot in slots]
