"""Which views a recipe asks for, and where activations at each of its lines come from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline import planner
from frostline.activations import sources as passes
from frostline.activations.cut_network import row_bytes
from frostline.activations.sources import Source
from frostline.base import files
from frostline.base.console import Console
from frostline.frost import Line
from frostline.images import augment
from frostline.images.augment import CENTER, Policy, View
from frostline.model import classifier as models
from frostline.model.classifier import Classifier
from frostline.pipeline import messages as tell
from frostline.planner import Plan
from frostline.recipe import Recipe


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
        self._checked: dict[str, str] = {}
        self.base = model
        earliest = min(lines, key=lambda line: line.index, default=model.top)
        if earliest.index != model.line.index:
            self.base = models.recut(model, earliest)
        if plan.engine is not None:
            self.base = replace(self.base, engine=plan.engine)
        else:
            self.base = planner.with_engine(self.base, plan.recipe.compute.engine, cache)
        self._kept = passes.from_pixels(self.base, cache, console)
        tell.frozen_line(self.base, row_bytes(self.base), console)

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
        keep, compute = self._plan.keep, self._plan.recipe.compute
        is_live = self._plan.recipe.views.live
        model, kept = self.base, self._kept
        if line.index != self.base.line.index:
            model = models.recut(self.base, line)
            derive = keep and compute.derive
            if derive:
                kept = passes.derived(model, self._kept, self._console)
            if not derive or is_live:
                model = planner.with_engine(model, compute.engine, self._cache)
            if keep and not derive:
                kept = passes.from_pixels(model, self._cache, self._console)
        if keep and not is_live:
            return model, kept
        live = passes.live_source(model, self._console, self._checked)
        # Where some are kept, only training images are seen anew in every epoch.
        return model, passes.MixedSource(kept, live) if keep else live


def policy_of(wanted: Recipe) -> Policy:
    """Returns how training images are varied."""
    return replace(augment.preset(wanted.views.preset), **wanted.views.policy())


def view_of(content: str, epoch: int, wanted: Recipe, policy: Policy, before: int = 0) -> View:
    """Returns which view of an image an epoch takes.

    Args:
        content: The image's digest.
        epoch: Of the stage, from 1.
        wanted: Whose `views` say how many there are.
        policy: How images are varied.
        before: Epochs of earlier stages that saw varied views; this one goes on from there.
    """
    if not policy.varies:
        return CENTER
    views, number = wanted.views, before + epoch - 1
    if views.live:
        return View(number, policy)
    slot = number % views.count
    generation = 0
    if views.refresh:
        # Each slot of each image is replaced at its own time, a share of them in every epoch.
        offset = int(files.digest(f"{content}:{slot}".encode())[:8], 16) / 2**32
        generation = int(views.refresh * number + offset)
    return View(slot + views.count * generation, policy)
