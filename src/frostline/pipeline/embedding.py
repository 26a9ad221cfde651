"""Activations of images at a line, and the lines themselves: the first steps without training."""

from pathlib import Path

from torch import Tensor

from frostline import recipe as recipes
from frostline.activations import engines, sources
from frostline.activations.cache.key import row_id
from frostline.activations.cut_network import row_bytes
from frostline.activations.sources import image_views_of
from frostline.base.console import Console
from frostline.base.errors import ListingError
from frostline.frost import TracedNetwork
from frostline.images import listing as listings
from frostline.images.augment import CENTER
from frostline.images.listing import Listing, Row
from frostline.model import classifier as classifiers
from frostline.networks import catalog
from frostline.networks.opening import open_bare
from frostline.pipeline import messages
from frostline.pipeline.examples import problems_by_path
from frostline.pipeline.prepare import open_backbone, refuse_paths_inside_images, with_levels
from frostline.recipe import BackboneChoice, Compute, Data, Recipe


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


def embed(
    choice: BackboneChoice,
    photos: Path,
    line: str,
    compute: Compute,
    cache: Path,
    console: Console,
) -> tuple[Tensor, tuple[Row, ...]]:
    """Returns the activations of images at a line, kept or computed.

    Args:
        choice: The network.
        photos: Labelled images, as for training, or any folder or file without labels.
        line: Where to read them off.
        compute: Where and how.
        cache: The folder of all caches.
        console: Where words go.

    Returns:
        Activations [n, *shape] in the stored type, and their n images.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    refuse_paths_inside_images(photos, {"--cache-dir": cache})
    listing = _labelled_or_not(photos, console)
    device = engines.pick_device(compute.device)
    opened, notes = with_levels(open_backbone(choice), listing, Data(), console)
    listing = listing.with_notes(notes)
    messages.backbone(opened, console)
    precision = engines.pick_precision(compute.precision, device)
    model = classifiers.as_it_is(opened, line, device, precision)
    messages.frozen_line(model, row_bytes(model), console)
    source = sources.from_pixels(model, cache, console)
    problems = source.need(image_views_of(listing.usable))
    listing = listing.with_problems(problems_by_path(problems, listing))
    for words in listings.report_lines(listing):
        console.detail(words)
    rows = listing.usable
    if not rows:
        raise ListingError(f"{listings.name_of(photos)}: none of its images can be read.")
    # A GPU holds them where it can.
    return source.fetch([row_id(row.digest, CENTER.name) for row in rows]).cpu(), rows


def _labelled_or_not(photos: Path, console: Console) -> Listing:
    try:
        return listings.scan(photos, console, least_classes=1)
    except ListingError:
        if listings.is_table(photos) or not photos.exists():
            raise
        return listings.scan_files([photos], console)
