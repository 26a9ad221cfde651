"""Which views a recipe asks for, and where activations at each of its lines come from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline import classifier as models
from frostline import files, passes, planner, tell
from frostline.classifier import Classifier
from frostline.console import Console
from frostline.data import augment
from frostline.data.augment import CENTER, Policy, View
from frostline.frost import Line
from frostline.passes import Source
from frostline.planner import Plan
from frostline.recipe import Recipe, Stage
from frostline.training import loop


class Sources:
    """The network cut at each line of a recipe, and where activations there come from.

    The pass over the pixels keeps the earliest line; later ones are derived from it.
    """

    def __init__(
        self, plan: Plan, model: Classifier, lines: Sequence[Line], cache: Path, console: Console
    ) -> None:
        """Cuts the network.

        Args:
            plan: What is kept, and by which engine.
            model: The network, cut at its top.
            lines: Of each stage; `base` is the network cut at the earliest.
            cache: The folder of all caches.
            console: Where words go.
        """
        self._plan, self._cache, self._console = plan, cache, console
        self._top, self._lines = model, tuple(lines)
        self._made: dict[int, tuple[Classifier, Source]] = {}
        self.base = model
        earliest = min(lines, key=lambda line: line.index, default=model.top)
        if earliest.index != model.line.index:
            self.base = models.recut(model, earliest)
        self.base = planner.with_engine(self.base, plan.recipe.compute.engine, cache)
        self._kept = passes.from_pixels(self.base, cache, console)
        tell.frozen_line(self.base, passes.row_bytes(self.base), console)

    def at(self, number: int) -> tuple[Classifier, Source]:
        """Returns the network and its activations for a stage; below 0, at the top."""
        line = self._lines[number] if number >= 0 else self._top.top
        if line.index not in self._made:
            self._made[line.index] = self._make(line)
        return self._made[line.index]

    def first(self) -> Source:
        """Returns the source that sees every picture first."""
        return self.at(self._lines.index(self.base.line) if self._lines else -1)[1]

    def facts(self) -> list[dict[str, Any]]:
        """Returns what each source did."""
        return [source.facts() for _, source in self._made.values()]

    def _make(self, line: Line) -> tuple[Classifier, Source]:
        is_base = line.index == self.base.line.index
        model = self.base if is_base else models.recut(self.base, line)
        if not self._plan.keep:
            model = planner.with_engine(model, self._plan.recipe.compute.engine, self._cache)
            return model, passes.unkept(model, self._console)
        kept = self._kept
        if not is_base and self._plan.recipe.compute.derive:
            kept = passes.derived(model, self._kept, self._console)
        elif not is_base:
            kept = passes.from_pixels(model, self._cache, self._console)
        if not self._plan.recipe.views.live:
            return model, kept
        # Only training images are seen anew in every epoch.
        model = planner.with_engine(model, self._plan.recipe.compute.engine, self._cache)
        return model, passes.Mixed(kept, passes.unkept(model, self._console))


def policy_of(wanted: Recipe) -> Policy:
    """Returns how training images are varied."""
    return replace(augment.preset(wanted.views.preset), **wanted.views.policy())


def view_count(wanted: Recipe, policy: Policy) -> int:
    """Returns how many kept views of a training image the stages take."""
    if policy == Policy() or wanted.views.live:
        return 0
    epochs = [
        wanted.views.count if stage.steps else stage.epochs
        for stage in wanted.stages
        if stage.augment
    ]
    return min(wanted.views.count, max(epochs, default=0))


def view_of(content: str, epoch: int, wanted: Recipe, policy: Policy, before: int = 0) -> View:
    """Returns which view of an image an epoch takes.

    Args:
        content: The image's digest.
        epoch: Of the stage, from 1.
        wanted: Whose `views` say how many there are.
        policy: How images are varied.
        before: Epochs of all earlier stages; live views go on from there.
    """
    if policy == Policy():
        return CENTER
    views = wanted.views
    if views.live:
        return View(before + epoch - 1, policy)
    slot = (epoch - 1) % views.count
    generation = 0
    if views.refresh:
        # Each slot of each image is replaced at its own time, a share of them in every epoch.
        offset = int(files.digest(f"{content}:{slot}".encode())[:8], 16) / 2**32
        generation = int(views.refresh * (epoch - 1) + offset)
    return View(slot + views.count * generation, policy)


def most_epochs(stage: Stage, images: int) -> int:
    """Returns how many epochs a stage takes if it is not ended early, begun ones counted."""
    if not stage.steps:
        return stage.epochs
    steps = -(-loop.batch_count(images, stage.batch_size) // stage.accumulate)
    return -(-stage.steps // max(1, steps))
