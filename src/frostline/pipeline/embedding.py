"""Activations of images at a line, and the lines themselves: the first steps without training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from frostline import recipe as recipes
from frostline.activations import engines, sources
from frostline.activations.cache.key import row_id
from frostline.activations.cut_network import row_bytes
from frostline.activations.embeddings import LineValues
from frostline.activations.embeddings import channels_last as channels_last_of
from frostline.activations.sources import image_views_of
from frostline.base.console import Console
from frostline.base.errors import LineError, ListingError
from frostline.frost import TracedNetwork
from frostline.frost.geometry import geometry_of
from frostline.images import listing as listings
from frostline.images.augment import CENTER
from frostline.images.listing import Listing, Row
from frostline.images.medium import Medium
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.networks import catalog
from frostline.networks.opening import open_bare
from frostline.networks.record import OpenedBackbone
from frostline.pipeline import messages
from frostline.pipeline.examples import problems_by_path
from frostline.pipeline.prepare import fed_with, open_backbone, refuse_paths_inside_images
from frostline.recipe import BackboneChoice, Compute, Data, Recipe
from frostline.sound.loading import medium, windows_of


def traced(choice: BackboneChoice) -> TracedNetwork:
    """Returns a backbone with its lines, from `pixels` to `pooled`.

    No weights are downloaded for it.

    Raises:
        BackboneError: Where it cannot be opened.
        LineError: Where it cannot be traced.
    """
    recipes.validate(Recipe(backbone=choice), "recipe")
    is_bare = not (choice.weights or choice.partial)
    opened = open_bare(choice.name, choice.image_px) if is_bare else open_backbone(choice)
    return catalog.trace(opened)


@dataclass(frozen=True)
class Embedded:
    """Activations of images at some lines, in the cache.

    Attributes:
        lines: Of each line, in the order that was asked for.
        rows: The images.
    """

    lines: tuple[LineValues, ...]
    rows: tuple[Row, ...]

    def whole(self) -> list[Tensor]:
        """Returns the activations at each line in memory: [n, *shape] in the stored type."""
        return [one.fetch(0, len(self.rows)) for one in self.lines]


def embed(
    choice: BackboneChoice,
    photos: Path,
    lines: Sequence[str],
    compute: Compute,
    cache: Path,
    console: Console,
    channels_last: bool = False,
) -> Embedded:
    """Returns the activations of images at some lines, kept or computed.

    One pass ends at the lowest line; the others are derived from it.

    Args:
        choice: The network.
        photos: Labelled images, as for training, or any folder or file without labels.
        lines: Where to read them off.
        compute: Where and how.
        cache: The folder of all caches.
        console: Where words go.
        channels_last: Whether maps are given as height × width × channels.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    refuse_paths_inside_images(photos, {"--cache-dir": cache})
    device = engines.pick_device(compute.device)
    bare = open_backbone(choice)
    is_sound = bare.record.preprocessing.spectrogram is not None
    listing = _labelled_or_not(photos, medium(is_sound), console)
    opened, notes = fed_with(bare, listing, Data(sound=is_sound), console)
    listing = windows_of(listing.with_notes(notes), opened.record.preprocessing)
    messages.backbone(opened, console)
    precision = engines.pick_precision(compute.precision, device)
    models = _cut_at(opened, lines, device, precision)
    found = _sources(models, cache, console)
    problems: dict[bytes, str] = {}
    for source in found.values():
        problems |= source.prepare(image_views_of(listing.usable))
    listing = listing.with_problems(problems_by_path(problems, listing))
    for words in listings.report_lines(listing):
        console.detail(words)
    if not listing.usable:
        raise ListingError(f"{listings.name_of(photos)}: none of its {listing.noun}s can be read.")
    rows = listing.usable
    ids = [row_id(row.digest, CENTER.name) for row in rows]
    values = [_values_of(found[model.line.index], model, ids) for model in models]
    if channels_last:
        values = [_as_keras_has_it(one, model) for one, model in zip(values, models, strict=True)]
    return Embedded(tuple(values), rows)


def _cut_at(
    opened: OpenedBackbone, lines: Sequence[str], device: torch.device, precision: torch.dtype
) -> list[Classifier]:
    """Returns the network cut at each line, in the order that was asked for."""
    first, *others = lines
    model = classifiers.with_own_classes(opened, first, device, precision)
    made = [model, *(classifiers.recut(model, line) for line in others)]
    names = [one.line.name for one in made]
    for name in (name for name in names if names.count(name) > 1):
        raise LineError(f"--line: {name!r} is named twice.")
    return made


def _sources(
    models: Sequence[Classifier], cache: Path, console: Console
) -> dict[int, sources.CachedSource]:
    """Returns the source of each line by its index, the lowest first."""
    lowest, *others = sorted(models, key=lambda model: model.line.index)
    messages.frozen_line(lowest, row_bytes(lowest), console)
    base = sources.from_pixels(lowest, cache, console)
    return {
        lowest.line.index: base,
        **{one.line.index: sources.derived(one, base, console) for one in others},
    }


def _values_of(source: sources.CachedSource, model: Classifier, ids: Sequence[bytes]) -> LineValues:
    def fetch(start: int, end: int) -> Tensor:
        # A GPU holds them where it can.
        return source.fetch(ids[start:end]).cpu()

    return LineValues(model.line.name, model.line.shape, model.engine.storage, fetch)


def _as_keras_has_it(values: LineValues, model: Classifier) -> LineValues:
    """Returns maps with channels last; what is no map of the network's first order stays."""
    known = geometry_of(model.traced).get(model.line.node)
    is_map = known is not None and known.places == (1, 2)
    return channels_last_of(values) if is_map else values


def _labelled_or_not(photos: Path, kind: Medium, console: Console) -> Listing:
    try:
        return listings.scan(photos, console, least_classes=1, medium=kind)
    except ListingError:
        if listings.is_table(photos) or not photos.exists():
            raise
        return listings.scan_files([photos], console, medium=kind)
