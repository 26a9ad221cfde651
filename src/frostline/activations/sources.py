"""Sources of activations at a line: cached from pixels, derived from an earlier line, or live.

A stage prepares what it will need before it fetches it; only what is missing is computed. One pass
over the pixels caches the earliest line of a recipe. Later lines are derived from it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from frostline.activations import extraction
from frostline.activations.between import between
from frostline.activations.cache.chunks import ChunkStore, RowsInMemory, load_rows, open_store
from frostline.activations.cache.fill import Computed, FillResult, check_finite, fill
from frostline.activations.cache.key import CacheKey, row_id
from frostline.activations.cut_network import CutNetwork, prefix_digest, row_bytes
from frostline.activations.extraction import ImageView
from frostline.base.ahead import LOOK
from frostline.base.console import Console
from frostline.base.files import write_json
from frostline.base.memory import Parts
from frostline.frost import Line
from frostline.images.augment import CENTER, View
from frostline.images.listing import Row
from frostline.sound.loading import version_of

# Cached activations of up to this size are read into memory once, and fetched from there.
IN_MEMORY_BYTES = 256 << 20
DERIVE_BATCH = 64
COMPARED = "compared.json"

ImageViews = Mapping[bytes, ImageView]


class Source(Protocol):
    """A source of the activations at one line."""

    def prepare(self, views: ImageViews) -> dict[bytes, str]:
        """Prepares the activations of `views`, given by row id, for `fetch`.

        Returns:
            A reason for each row that is not available.
        """

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape] in the stored type.

        They are on the CPU, or on the model's device if they are held there.
        """

    def against_live(self, sample: ImageViews) -> float:
        """Compares what `fetch` returns with activations computed live, on a sample.

        Returns:
            The largest difference, relative to the largest live value; 0 for live sources.
        """

    def facts(self) -> dict[str, Any]:
        """Returns what was done so far, as plain values for `metrics.json`."""


def _difference(model: CutNetwork, cached: Tensor, sample: ImageViews) -> float:
    if not sample:
        return 0.0
    engine = model.engine
    batches = extraction.activations(
        list(sample.values()), model.preprocessing, engine, engine.on_cpu
    )
    # An image may have been removed since its activation was cached.
    parts = [(positions, part.float()) for positions, part, _ in batches if part is not None]
    if not parts:
        return 0.0
    live = torch.cat([part for _, part in parts])
    same = cached.cpu()[[position for positions, _ in parts for position in positions]]
    return float((same.float() - live).abs().max() / live.abs().max().clamp_min(1e-12))


def _read_number(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text("utf-8"))["largest_relative_difference"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _in_memory_bytes(device: torch.device) -> int:
    """Returns the largest size of activations that are held in a device's memory."""
    if device.type != "cuda":
        return IN_MEMORY_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    # Memory that PyTorch has reserved and does not use is free as well.
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (free + idle) // 4


def image_views_of(
    rows: Iterable[Row], views: Sequence[View] = (CENTER,)
) -> dict[bytes, ImageView]:
    """Returns the views of all rows by row id, image after image."""
    return {
        row_id(row.digest, view.name): ImageView(row.path, row.digest, view)
        for row in rows
        for view in views
    }


@dataclass
class CachedSource:
    """Activations cached on disk, computed from pixels or derived from an earlier line.

    Attributes:
        model: The network, cut at the line.
        cache: The folder of all caches.
        console: Where messages go.
        key: The cache key.
        compute: Turns the inputs of `fill` into activations.
        base: The source at the earlier line they are derived from; None for pixels.
        cached: How many rows were found in the cache.
        computed: How many rows were computed.
        seconds: The time spent computing, without the base's.
    """

    model: CutNetwork
    cache: Path
    console: Console
    key: CacheKey
    compute: Callable[[Sequence[Any]], Iterator[Computed]]
    base: "CachedSource | None" = None
    cached: int = 0
    computed: int = 0
    seconds: float = 0.0
    _views: dict[bytes, ImageView] = field(default_factory=dict)
    _problems: dict[bytes, str] = field(default_factory=dict)
    _store: ChunkStore | None = None
    _in_memory: RowsInMemory | None = None
    _is_loaded: bool = False

    def prepare(self, views: ImageViews) -> dict[bytes, str]:
        """Computes those of `views` that are not cached; see `Source.prepare`."""
        new = {row: view for row, view in views.items() if row not in self._views}
        if new:
            self._fill(new)
            self._views |= new
        return {row: self._problems[row] for row in views if row in self._problems}

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape] in the stored type."""
        in_memory = self._rows_in_memory()
        assert self._store is not None
        return in_memory.fetch(rows) if in_memory else self._store.fetch(rows)

    def against_live(self, sample: ImageViews) -> float:
        """Compares with live activations, once per fill; see `Source.against_live`.

        The result is stored beside the chunks, so that a run that finds all activations cached
        computes none.
        """
        path = self.key.folder(self.cache) / COMPARED
        is_unchanged = self.computed == 0 and (self.base is None or self.base.computed == 0)
        if is_unchanged and (known := _read_number(path)) is not None:
            return known
        difference = _difference(self.model, self.fetch(list(sample)), sample)
        write_json(path, {"images": len(sample), "largest_relative_difference": difference})
        return difference

    def facts(self) -> dict[str, Any]:
        """Returns what was done so far, as plain values."""
        return {
            "line": self.model.line.name,
            "from": self.base.model.line.name if self.base else "pixels",
            "engine": self.key.compute,
            "row_bytes": row_bytes(self.model),
            "rows_kept": self.cached,
            "rows_computed": self.computed,
            "seconds": round(self.seconds, 3),
            "cache_key": self.key.digest,
        }

    def _fill(self, new: dict[bytes, ImageView]) -> None:
        store = self._store or open_store(self.cache, self.key)
        inputs: Mapping[bytes, Any] = new
        if self.base is not None:
            missing = {row: new[row] for row in store.missing(new)}
            self._problems |= self.base.prepare(missing)
            inputs = {row: row for row in new if row not in self._problems}
        words = self.model.preprocessing.nouns
        what = "deriving activations" if self.base else f"{words.perceiving} {words.plain}s"
        filled = fill(
            self.cache,
            self.key,
            inputs,
            row_bytes(self.model),
            self.compute,
            self.console,
            store=store,
            what=what,
            step="" if self.base else LOOK,
        )
        self._record(filled)

    def _record(self, filled: FillResult) -> None:
        self._problems |= filled.problems
        self._store, self._in_memory, self._is_loaded = filled.store, None, False
        self.cached += filled.cached
        self.computed += filled.computed
        self.seconds += filled.seconds
        if self.base is None or filled.computed:
            rate = f", {filled.computed / filled.seconds:.0f}/s" if filled.computed else ""
            source = f"derived from {self.base.model.line.name}" if self.base else "computed"
            self.console.detail(
                f"cache at {self.model.line.name}: {filled.cached} activations were cached, "
                f"{filled.computed} {source} in {filled.seconds:.1f} s{rate}"
            )

    def _rows_in_memory(self) -> RowsInMemory | None:
        # Decided once after each fill: a fetch must not go through all rows.
        if not self._is_loaded and self._store is not None:
            self._is_loaded = True
            device = self.model.engine.device
            rows = [row for row in self._views if row not in self._problems]
            if rows and len(rows) * row_bytes(self.model) <= _in_memory_bytes(device):
                self._in_memory = load_rows(self._store, rows, device)
        return self._in_memory


@dataclass
class LiveSource:
    """Activations that are computed anew for every fetch.

    Attributes:
        activations: Computes them.
        model: The network, cut at the line.
        console: Where messages go.
        checked: Image paths that were decoded once as a check, each with a reason if unreadable,
            else empty; the sources of one run share it.
        computed: How many rows were computed.
    """

    activations: extraction.LiveActivations
    model: CutNetwork
    console: Console
    checked: dict[str, str] = field(default_factory=dict)
    computed: int = 0

    def prepare(self, views: ImageViews) -> dict[bytes, str]:
        """Checks that every image among `views` can be read; see `Source.prepare`."""
        self.remember(views)
        paths = dict.fromkeys(view.path for view in views.values())
        new = [ImageView(path) for path in paths if path not in self.checked]
        if new:
            unit = self.model.preprocessing.nouns.row
            with self.console.bar(len(new), "decoding", unit) as bar:
                for readable, _, problems in extraction.pixels(new, self.model.preprocessing):
                    self.checked |= {new[index].path: "" for index in readable}
                    self.checked |= {new[index].path: why for index, why in problems.items()}
                    bar.advance(len(readable) + len(problems))
        reasons = {row: self.checked[view.path] for row, view in views.items()}
        return {row: reason for row, reason in reasons.items() if reason}

    def remember(self, views: ImageViews) -> None:
        """Stores which view each row id stands for; of augmented views, only the latest ones."""
        known = self.activations.views
        if any(view.view != CENTER for view in views.values()):
            for row in [row for row, view in known.items() if view.view != CENTER]:
                del known[row]
        known.update(views)

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Computes the activations of `rows`: [n, *shape].

        Raises:
            BackboneError: If they are not finite.
        """
        self.computed += len(rows)
        activations = self.activations.fetch(rows)
        check_finite(activations, self.model.line.node, self.model.engine.name)
        return activations

    def against_live(self, sample: ImageViews) -> float:
        """Returns 0: everything is computed live."""
        return 0.0

    def facts(self) -> dict[str, Any]:
        """Returns what was done so far, as plain values."""
        return {
            "line": self.model.line.name,
            "from": "pixels",
            "engine": self.model.engine.name,
            "row_bytes": row_bytes(self.model),
            "rows_kept": 0,
            "rows_computed": self.computed,
        }


@dataclass
class MixedSource:
    """Cached validation images, and training images in new augmented views every epoch.

    Attributes:
        cached: For `center` views.
        live: For all others.
    """

    cached: CachedSource
    live: LiveSource

    def prepare(self, views: ImageViews) -> dict[bytes, str]:
        """Caches `center` views, and prepares the others; see `Source.prepare`."""
        centers = {row: view for row, view in views.items() if view.view == CENTER}
        others = {row: view for row, view in views.items() if view.view != CENTER}
        self.live.remember(others)
        return self.cached.prepare(centers)

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`, all cached or all live: [n, *shape]."""
        is_live = rows[0] in self.live.activations.views
        return (self.live if is_live else self.cached).fetch(rows)

    def against_live(self, sample: ImageViews) -> float:
        """Compares what is cached; see `Source.against_live`."""
        return self.cached.against_live(sample)

    def facts(self) -> dict[str, Any]:
        """Returns what was done so far, as plain values."""
        cached, live = self.cached.facts(), self.live.facts()
        return {**cached, "rows_computed": cached["rows_computed"] + live["rows_computed"]}


def from_pixels(model: CutNetwork, cache: Path, console: Console) -> CachedSource:
    """Returns a source that computes activations from pixels once and caches them."""
    engine = model.engine
    compute = partial(
        extraction.activations,
        preprocessing=model.preprocessing,
        engine=engine,
        on_cpu=engine.on_cpu,
    )
    return CachedSource(model, cache, console, cache_key(model), compute)


def derived(model: CutNetwork, base: CachedSource, console: Console) -> CachedSource:
    """Returns a source that derives activations from those at an earlier line, and caches them."""
    line = base.model.line
    layers = between(model, line)
    key = cache_key(model, via(line, base.key.compute, model.engine.name))

    def compute(rows: Sequence[bytes]) -> Iterator[Computed]:
        parts = Parts()
        for start in range(0, len(rows), DERIVE_BATCH):
            part = rows[start : start + DERIVE_BATCH]
            made = parts.through(layers, base.fetch(part))
            yield list(range(start, start + len(part))), torch.cat(made), {}

    return CachedSource(model, base.cache, console, key, compute, base)


def via(line: Line, below: str, own: str) -> str:
    """Returns the `compute` field of the cache key of derived activations.

    Args:
        line: The line they are derived from.
        below: The engine that ran below that line.
        own: The engine that would run if they were computed from pixels.
    """
    # Pixels do not depend on the type that is computed in; what is derived from them does.
    return f"{own if line.name == 'pixels' else below} via {line.node}"


def live_source(
    model: CutNetwork, console: Console, checked: dict[str, str] | None = None
) -> LiveSource:
    """Returns a source that computes activations anew for every fetch.

    Args:
        model: The network, cut at the line.
        console: Where messages go.
        checked: See `LiveSource`; None for an empty one.
    """
    engine = model.engine
    activations = extraction.LiveActivations(model.preprocessing, engine, engine.on_cpu)
    return LiveSource(activations, model, console, {} if checked is None else checked)


def cache_key(model: CutNetwork, compute: str = "") -> CacheKey:
    """Returns the cache key of the activations of this prefix.

    Args:
        model: The network, cut at the line.
        compute: What computes them, if not the model's engine; see `via`.
    """
    engine, line = model.engine, model.line
    settings = model.preprocessing.as_dict()
    if line.name == "pixels":
        # Pixels do not depend on the network, so networks with the same preprocessing share them.
        normalised = ("mean", "std", "channel_order")
        settings = {key: value for key, value in settings.items() if key not in normalised}
    return CacheKey(
        architecture="any" if line.name == "pixels" else model.architecture,
        line=line.node,
        prefix=prefix_digest(model),
        preprocessing=settings,
        views=version_of(model.preprocessing),
        compute=compute or engine.name,
        storage=str(engine.storage).removeprefix("torch."),
        shape=line.shape,
    )
