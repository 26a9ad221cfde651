"""Activations at a line, from wherever they come soonest: kept, derived from an earlier line, live.

A source is asked for what a stage will need before it needs it; only what is not there yet is
computed. One pass over the pixels keeps the earliest line of a recipe; later lines are derived
from what it kept.
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
from frostline.activations.cache.chunks import Resident, Store, open_store, resident
from frostline.activations.cache.fill import Computed, FillResult, check_finite, fill
from frostline.activations.cache.key import CacheKey, row_id
from frostline.activations.cut_network import CutNetwork, prefix_digest, row_bytes
from frostline.activations.extraction import ImageView
from frostline.base.console import Console
from frostline.base.files import write_json
from frostline.frost import Line
from frostline.images.augment import CENTER, View
from frostline.images.listing import Row
from frostline.images.views import VERSION as VIEWS_VERSION

# A cache up to this size is read into memory once, where training and scoring take it from.
RESIDENT_BYTES = 256 << 20
DERIVE_BATCH = 64
COMPARED = "compared.json"

ImageViews = Mapping[bytes, ImageView]


class Source(Protocol):
    """Where a line's activations come from."""

    def need(self, items: ImageViews) -> dict[bytes, str]:
        """Makes ready the activations of `items`, by row id.

        Returns:
            A reason for each row that cannot be had.
        """

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape] in the stored type.

        They are on the CPU, or on the model's device where they are held there.
        """

    def against_live(self, sample: ImageViews) -> float:
        """Returns how far what is given is from what is computed live, on a sample.

        The largest difference, as a share of the largest value; 0 where all is live.
        """

    def facts(self) -> dict[str, Any]:
        """Returns what was done so far, as plain values."""


def _difference(model: CutNetwork, kept: Tensor, sample: ImageViews) -> float:
    if not sample:
        return 0.0
    engine = model.engine
    made = extraction.activations(list(sample.values()), model.preprocessing, engine, engine.on_cpu)
    # A picture may have gone since its activation was kept.
    found = [(positions, part.float()) for positions, part, _ in made if part is not None]
    if not found:
        return 0.0
    live = torch.cat([part for _, part in found])
    same = kept.cpu()[[position for positions, _ in found for position in positions]]
    return float((same.float() - live).abs().max() / live.abs().max().clamp_min(1e-12))


def _read_number(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text("utf-8"))["largest_relative_difference"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _resident_bytes(device: torch.device) -> int:
    """Returns up to what size activations are held in a device's memory."""
    if device.type != "cuda":
        return RESIDENT_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    # What PyTorch has set aside and does not use is free as well.
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (free + idle) // 4


def image_views_of(
    rows: Iterable[Row], views: Sequence[View] = (CENTER,)
) -> dict[bytes, ImageView]:
    """Returns row ids with what they stand for: each image's views, one after the other."""
    return {
        row_id(row.digest, view.name): ImageView(row.path, row.digest, view)
        for row in rows
        for view in views
    }


@dataclass
class CachedSource:
    """Activations that are kept on disk, computed from pixels or derived from an earlier line.

    Attributes:
        model: Cut at the line.
        cache: The folder of all caches.
        console: Where words go.
        key: What they are kept under.
        compute: Turns what `fill` hands it into activations.
        base: The earlier line they are derived from; None from pixels.
        kept: Rows that were found.
        computed: Rows that were computed.
        seconds: What computing took, without the base's.
    """

    model: CutNetwork
    cache: Path
    console: Console
    key: CacheKey
    compute: Callable[[Sequence[Any]], Iterator[Computed]]
    base: "CachedSource | None" = None
    kept: int = 0
    computed: int = 0
    seconds: float = 0.0
    _items: dict[bytes, ImageView] = field(default_factory=dict)
    _problems: dict[bytes, str] = field(default_factory=dict)
    _store: Store | None = None
    _resident: Resident | None = None
    _is_settled: bool = False

    def need(self, items: ImageViews) -> dict[bytes, str]:
        """Computes those of `items` that are not kept; see `Source.need`."""
        new = {row: item for row, item in items.items() if row not in self._items}
        if new:
            self._fill(new)
            self._items |= new
        return {row: self._problems[row] for row in items if row in self._problems}

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape] in the stored type."""
        held = self._hold()
        assert self._store is not None
        return held.fetch(rows) if held else self._store.fetch(rows)

    def against_live(self, sample: ImageViews) -> float:
        """Compares with live activations, once for what is computed; see `Source.against_live`.

        What is found lies beside the chunks, so that a run that finds all activations there
        computes none.
        """
        place = self.key.folder(self.cache) / COMPARED
        is_old = self.computed == 0 and (self.base is None or self.base.computed == 0)
        if is_old and (known := _read_number(place)) is not None:
            return known
        found = _difference(self.model, self.fetch(list(sample)), sample)
        write_json(place, {"images": len(sample), "largest_relative_difference": found})
        return found

    def facts(self) -> dict[str, Any]:
        """Returns what was done so far, as plain values."""
        return {
            "line": self.model.line.name,
            "from": self.base.model.line.name if self.base else "pixels",
            "engine": self.key.compute,
            "row_bytes": row_bytes(self.model),
            "rows_kept": self.kept,
            "rows_computed": self.computed,
            "seconds": round(self.seconds, 3),
            "cache_key": self.key.digest,
        }

    def _fill(self, new: dict[bytes, ImageView]) -> None:
        store = self._store or open_store(self.cache, self.key)
        wanted: Mapping[bytes, Any] = new
        if self.base is not None:
            missing = {row: new[row] for row in store.missing(new)}
            self._problems |= self.base.need(missing)
            wanted = {row: row for row in new if row not in self._problems}
        what = "deriving activations" if self.base else "computing activations"
        filled = fill(
            self.cache,
            self.key,
            wanted,
            row_bytes(self.model),
            self.compute,
            self.console,
            store=store,
            what=what,
        )
        self._note(filled)

    def _note(self, filled: FillResult) -> None:
        self._problems |= filled.problems
        self._store, self._resident, self._is_settled = filled.store, None, False
        self.kept += filled.kept
        self.computed += filled.computed
        self.seconds += filled.seconds
        if self.base is None or filled.computed:
            rate = f", {filled.computed / filled.seconds:.0f}/s" if filled.computed else ""
            source = f"derived from {self.base.model.line.name}" if self.base else "computed"
            self.console.say(
                f"cache at {self.model.line.name}: {filled.kept} activations were kept, "
                f"{filled.computed} {source} in {filled.seconds:.1f} s{rate}"
            )

    def _hold(self) -> Resident | None:
        # Settled once after each fill, for a fetch must not go through all rows.
        if not self._is_settled and self._store is not None:
            self._is_settled = True
            device = self.model.engine.device
            good = [row for row in self._items if row not in self._problems]
            if good and len(good) * row_bytes(self.model) <= _resident_bytes(device):
                self._resident = resident(self._store, good, device)
        return self._resident


@dataclass
class LiveSource:
    """Activations that are computed again whenever they are asked for.

    Attributes:
        live: What computes them.
        model: Cut at the line.
        console: Where words go.
        checked: Pictures that were decoded to see whether they can be, each with what is wrong
            with it, or nothing; sources of one run share it.
        computed: Rows that were computed.
    """

    live: extraction.LiveActivations
    model: CutNetwork
    console: Console
    checked: dict[str, str] = field(default_factory=dict)
    computed: int = 0

    def need(self, items: ImageViews) -> dict[bytes, str]:
        """Sees to it that every picture among `items` can be read; see `Source.need`."""
        self.hold(items)
        paths = dict.fromkeys(item.path for item in items.values())
        new = [ImageView(path) for path in paths if path not in self.checked]
        if new:
            with self.console.bar(len(new), "decoding") as bar:
                for good, _, bad in extraction.pixels(new, self.model.preprocessing):
                    self.checked |= {new[index].path: "" for index in good}
                    self.checked |= {new[index].path: reason for index, reason in bad.items()}
                    bar.advance(len(good) + len(bad))
        found = {row: self.checked[item.path] for row, item in items.items()}
        return {row: reason for row, reason in found.items() if reason}

    def hold(self, items: ImageViews) -> None:
        """Remembers what rows stand for; of varied views, those that were asked for last."""
        held = self.live.items
        if any(item.view != CENTER for item in items.values()):
            for row in [row for row, item in held.items() if item.view != CENTER]:
                del held[row]
        held.update(items)

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Computes the activations of `rows`: [n, *shape].

        Raises:
            BackboneError: Where they are not finite.
        """
        self.computed += len(rows)
        made = self.live.fetch(rows)
        check_finite(made, self.model.line.node, self.model.engine.name)
        return made

    def against_live(self, sample: ImageViews) -> float:
        """Says that all is live."""
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
    """Validation images once and kept; training images seen anew in every epoch.

    Attributes:
        kept: Of `center` views.
        live: Of all others.
    """

    kept: CachedSource
    live: LiveSource

    def need(self, items: ImageViews) -> dict[bytes, str]:
        """Keeps `center` views, and makes the others ready; see `Source.need`."""
        centers = {row: item for row, item in items.items() if item.view == CENTER}
        others = {row: item for row, item in items.items() if item.view != CENTER}
        self.live.hold(others)
        return self.kept.need(centers)

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`, all kept or all live: [n, *shape]."""
        return (self.live if rows[0] in self.live.live.items else self.kept).fetch(rows)

    def against_live(self, sample: ImageViews) -> float:
        """Compares what is kept; see `Source.against_live`."""
        return self.kept.against_live(sample)

    def facts(self) -> dict[str, Any]:
        """Returns what was done so far, as plain values."""
        kept, live = self.kept.facts(), self.live.facts()
        return {**kept, "rows_computed": kept["rows_computed"] + live["rows_computed"]}


def from_pixels(model: CutNetwork, cache: Path, console: Console) -> CachedSource:
    """Returns activations that are computed from pixels once and kept."""
    engine = model.engine
    compute = partial(
        extraction.activations, how=model.preprocessing, run=engine, on_cpu=engine.on_cpu
    )
    return CachedSource(model, cache, console, cache_key(model), compute)


def derived(model: CutNetwork, base: CachedSource, console: Console) -> CachedSource:
    """Returns activations that are derived from those at an earlier line, and kept too."""
    line = base.model.line
    layers = between(model, line)
    key = cache_key(model, via(line, base.key.compute, model.engine.name))

    def compute(rows: Sequence[bytes]) -> Iterator[Computed]:
        for start in range(0, len(rows), DERIVE_BATCH):
            part = rows[start : start + DERIVE_BATCH]
            yield list(range(start, start + len(part))), layers(base.fetch(part)), {}

    return CachedSource(model, base.cache, console, key, compute, base)


def via(line: Line, made_by: str, own: str) -> str:
    """Returns what a key says of how activations were derived.

    Args:
        line: What they were derived from.
        made_by: What ran below that.
        own: What would run if they were computed from pixels.
    """
    # Pixels are the same whatever type is computed in; what is derived from them is not.
    return f"{own if line.name == 'pixels' else made_by} via {line.node}"


def live_source(
    model: CutNetwork, console: Console, checked: dict[str, str] | None = None
) -> LiveSource:
    """Returns activations that are computed again whenever they are asked for.

    Args:
        model: Cut at the line.
        console: Where words go.
        checked: See `LiveSource`; None for nothing so far.
    """
    engine = model.engine
    live = extraction.LiveActivations(model.preprocessing, engine, engine.on_cpu)
    return LiveSource(live, model, console, {} if checked is None else checked)


def cache_key(model: CutNetwork, compute: str = "") -> CacheKey:
    """Returns what the activations of this prefix are kept under.

    Args:
        model: Cut at the line.
        compute: How they come about, where it is not by the model's engine.
    """
    engine, line = model.engine, model.line
    how = model.preprocessing.as_dict()
    if line.name == "pixels":
        # Pixels depend on no network, so all networks of one input size share them.
        how = {key: value for key, value in how.items() if key not in ("mean", "std")}
    return CacheKey(
        architecture="any" if line.name == "pixels" else model.architecture,
        line=line.node,
        prefix=prefix_digest(model),
        preprocessing=how,
        views=VIEWS_VERSION,
        compute=compute or engine.name,
        storage=str(engine.storage).removeprefix("torch."),
        shape=line.shape,
    )
