"""The network cut at each line of a recipe, and where activations there come from."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from frostline import planner
from frostline.activations import sources
from frostline.activations.cut_network import row_bytes
from frostline.activations.sources import Source
from frostline.frost import Line
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.pipeline import messages
from frostline.pipeline.planning import Planned


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
        self._made: dict[int, tuple[Classifier, Source]] = {}
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
        messages.frozen_line(self.base, row_bytes(self.base), request.console)

    def with_lines(self, lines: Sequence[Line]) -> "StageSources":
        """Returns the same cuts and sources for stages at other lines."""
        other = copy.copy(self)
        other._lines = tuple(lines)
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
        if line.index not in self._made:
            self._made[line.index] = self._make(line)
        return self._made[line.index]

    def _make(self, line: Line) -> tuple[Classifier, Source]:
        keep, compute = self._plan.keep, self._plan.recipe.compute
        is_live = self._plan.recipe.views.live
        model, kept = self.base, self._kept
        if line.index != self.base.line.index:
            model = classifiers.recut(self.base, line)
            derive = keep and compute.derive
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
