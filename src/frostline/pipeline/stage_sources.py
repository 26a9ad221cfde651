"""The network cut at each line of a recipe, and where activations there come from."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from frostline import planner
from frostline.activations import sources
from frostline.activations.cut_network import prefix_digest, row_bytes
from frostline.activations.sources import Source
from frostline.frost import Line
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.model.heads import HeadSpec
from frostline.pipeline import messages
from frostline.pipeline.planning import Planned
from frostline.pipeline.prepare import with_seed


class StageSources:
    """The network cut at each stage's line, with a source of activations for each.

    The pass over the pixels keeps the earliest line; later ones are derived from it.
    """

    def __init__(self, planned: Planned) -> None:
        """Cuts the network at the earliest line, which becomes `base`.

        Args:
            planned: The network, its lines, what is kept, and by which engine.
        """
        request = planned.prepared.request
        self._plan, self._cache, self._console = planned.plan, request.cache, request.console
        model = planned.prepared.model
        self._top, self._lines = model, planned.lines
        self._made: dict[tuple[int, bool], tuple[Classifier, Source]] = {}
        self._is_live = planned.recipe.views.live
        self._head: tuple[HeadSpec, nn.Module] | None = None
        self._checked: dict[str, str] = {}
        self.base = model
        earliest = min(planned.all_lines, key=lambda line: line.index, default=model.top)
        if earliest.index != model.line.index:
            self.base = classifiers.recut(model, earliest)
        if planned.plan.engine is not None:
            self.base = replace(self.base, engine=planned.plan.engine)
        else:
            self.base = planner.with_engine(self.base, planned.recipe.compute.engine, request.cache)
        self._kept = sources.from_pixels(self.base, request.cache, request.console)
        self._first, self.frozen = self.base, prefix_digest(self.base)
        messages.frozen_line(self.base, row_bytes(self.base), request.console)

    def with_lines(self, lines: Sequence[Line], live: bool | None = None) -> "StageSources":
        """Returns the same cuts and sources for stages at other lines.

        Args:
            lines: Of the stages. One below the earliest gets a pass over the pixels of its own;
                nothing above it may have been trained yet.
            live: Whether stages get new views in every epoch; None for as before.
        """
        other = copy.copy(self)
        other._lines = tuple(lines)
        other._is_live = self._is_live if live is None else live
        lowest = min(lines, key=lambda line: line.index, default=self.base.line)
        if lowest.index < self.base.line.index:
            other.base = other._at_line(lowest)[0]
            other.frozen = prefix_digest(other.base)
        return other

    def with_head(self, spec: HeadSpec, seed: int) -> "StageSources":
        """Returns the same cuts and sources under a new head, whose weights the seed decides."""
        other = copy.copy(self)
        with with_seed(seed, self._top.engine.device):
            other._head = spec, classifiers.new_head(self._top, spec)
        return other

    def at(self, number: int) -> tuple[Classifier, Source]:
        """Returns the network and its activations for a stage; below 0, at the top."""
        return self._at_line(self._lines[number] if number >= 0 else self._top.top)

    def first(self) -> Source:
        """Returns the source that sees every picture first."""
        return self._at_line(self.base.line)[1]

    def facts(self) -> list[dict[str, Any]]:
        """Returns what each source did."""
        return [source.facts() for _, source in self._made.values()]

    def _at_line(self, line: Line) -> tuple[Classifier, Source]:
        key = line.index, self._is_live
        if key not in self._made:
            self._made[key] = self._make(line)
        model, source = self._made[key]
        return (classifiers.with_head(model, *self._head) if self._head else model), source

    def _make(self, line: Line) -> tuple[Classifier, Source]:
        keep, compute = self._plan.keep, self._plan.recipe.compute
        is_live, kept = self._is_live, self._kept
        model = self._first
        if line.index != model.line.index:
            model = classifiers.recut(model, line)
            # What lies below all that is kept is computed from the pixels.
            derive = keep and compute.derive and line.index > self._first.line.index
            if derive:
                kept = sources.derived(model, self._kept, self._console)
            if not derive or is_live:
                model = planner.with_engine(model, compute.engine, self._cache)
            if keep and not derive:
                kept = sources.from_pixels(model, self._cache, self._console)
        if keep and not is_live:
            return model, kept
        live = sources.live_source(model, self._console, self._checked)
        # Where some are kept, only training images are seen anew in every epoch.
        return model, sources.MixedSource(kept, live) if keep else live
