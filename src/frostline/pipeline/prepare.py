"""The first step: the recipe with defaults filled in, the listing, the network with a new head."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from frostline import planner
from frostline import recipe as recipes
from frostline.activations import engines
from frostline.base.clock import RunClock
from frostline.base.console import Console
from frostline.base.errors import (
    BackboneError,
    DownloadError,
    LineError,
    ListingError,
    RecipeError,
    RunError,
)
from frostline.base.paths import user_path
from frostline.frost import Line
from frostline.images import feeding, level_rules, splits
from frostline.images import listing as listings
from frostline.images.listing import Listing
from frostline.model import classifier as classifiers
from frostline.model import heads
from frostline.model.classifier import Classifier
from frostline.networks import catalog
from frostline.networks.builtin_networks import FALLBACK
from frostline.networks.opening import open_at_size
from frostline.networks.record import OpenedBackbone
from frostline.pipeline import folds, messages
from frostline.recipe import BackboneChoice, Data, Recipe, Stage
from frostline.sound import rules
from frostline.sound.loading import files_of, medium, windows_of
from frostline.training import trackers


@dataclass(frozen=True)
class Request:
    """What was asked for, checked as far as words and headers go; no network is open yet.

    Attributes:
        photos: Where the images come from.
        recipe: With every choice made that needs no measurement.
        head: The new layers.
        device: Where to compute.
        listing: The images as they were found, without splits of our own.
        cache: The folder of all caches.
        console: Where words go.
        clock: What the run has taken so far.
    """

    photos: Path
    recipe: Recipe
    head: heads.HeadSpec
    device: torch.device
    listing: Listing
    cache: Path
    console: Console
    clock: RunClock = field(default_factory=RunClock)


@dataclass(frozen=True)
class Prepared:
    """The network with its new head, and the images with their splits.

    Attributes:
        request: What was asked for.
        opened: The backbone.
        precision: The type to compute in.
        targets: `multiclass`, `binary` or `multilabel`.
        model: The network, cut at its top.
        listing: With splits; of sounds, their windows.
    """

    request: Request
    opened: OpenedBackbone
    precision: torch.dtype
    targets: str
    model: Classifier
    listing: Listing


def make_request(
    photos: Path,
    recipe: Recipe,
    cache: Path,
    console: Console,
    written: Mapping[str, Path] | None = None,
    begun_with: str = "",
) -> Request:
    """Checks a recipe and lists the images.

    Args:
        photos: Class folders, or `train/` and `val/`, or a CSV.
        recipe: What to do.
        cache: The folder of all caches.
        console: Where words go.
        written: Other folders that are written to, by the option that names them.
        begun_with: The backbone of the run that this one goes on with; taken where the recipe
            leaves the choice open.

    Raises:
        RecipeError: Where the recipe does not hold.
        ListingError: Where the images are nothing to train on.
        RunError: Where a folder to write to lies among the images.
    """
    recipes.validate(recipe)
    trackers.check_names(recipe.watch.trackers)
    head = head_spec_of(recipe)
    device = engines.pick_device(recipe.compute.device)
    recipe = _with_defaults(recipe, head)
    refuse_paths_inside_images(photos, {**(written or {}), "--cache-dir": cache})
    listing = listings.scan_as(photos, recipe.data, console, medium=medium(recipe.data.sound))
    messages.pictures(listing, console)
    refuse_unreadable(listing, recipe.data.strict)
    name = _network(recipe.backbone, device, begun_with, console)
    recipe = replace(recipe, backbone=replace(recipe.backbone, name=name))
    return Request(photos, recipe, head, device, listing, cache, console)


def prepare(request: Request) -> Prepared:
    """Opens the network, puts the head on, and assigns splits.

    Raises:
        BackboneError: Where the network cannot be opened or traced.
        RecipeError: Where the head does not fit.
    """
    recipe, listing, console = request.recipe, request.listing, request.console
    # Where a backbone's weights are random, the seed decides them too.
    with console.step("Opening the network"), with_seed(recipe.seed, request.device):
        opened = open_backbone(recipe.backbone)
    opened, notes = fed_with(opened, listing, recipe.data, console)
    precision = engines.pick_precision(recipe.compute.precision, request.device)
    targets = recipe.data.targets
    if targets == "auto":
        targets = "multilabel" if listing.several else "multiclass"
    messages.backbone(opened, console)
    with console.step("Cutting the network"):
        model = assemble(request, opened, precision, targets, listing.labels)
    messages.head(model, console)
    # A line that cannot be is told before splits are.
    stage_lines(model, recipe)
    listing = windows_of(listing.with_notes(notes), opened.record.preprocessing)
    listing = splits.assign(listing, recipe.data.val, recipe.data.test, recipe.seed)
    messages.pictures(files_of(listing, request.listing), console, request.listing)
    folds.check(listing, recipe.search.folds)
    return Prepared(request, opened, precision, targets, model, listing)


def with_labels(prepared: Prepared, labels: Sequence[str]) -> Prepared:
    """Returns the same with a new head where the classes are others than they seemed."""
    if tuple(labels) == prepared.model.labels:
        return prepared
    one = prepared
    return replace(one, model=assemble(one.request, one.opened, one.precision, one.targets, labels))


def with_head_of(prepared: Prepared, recipe: Recipe) -> Prepared:
    """Returns the same with the head of a recipe that a search came to."""
    if recipe.head.spec == prepared.request.recipe.head.spec:
        return prepared
    request = replace(prepared.request, head=head_spec_of(recipe))
    one = replace(prepared, request=request)
    model = assemble(request, one.opened, one.precision, one.targets, one.model.labels)
    return replace(one, model=model)


def with_precision(prepared: Prepared, precision: torch.dtype) -> Prepared:
    """Returns the same, computed in another type."""
    one = replace(prepared, precision=precision)
    model = assemble(one.request, one.opened, precision, one.targets, one.model.labels)
    return replace(one, model=model)


def assemble(
    request: Request,
    opened: OpenedBackbone,
    precision: torch.dtype,
    targets: str,
    labels: Sequence[str],
) -> Classifier:
    """Cuts the backbone at its top and puts a new head on, whose weights the seed decides."""
    recipe = request.recipe
    with with_seed(recipe.seed, request.device):
        model = classifiers.assemble(
            opened,
            tuple(labels),
            request.head,
            classifiers.TOP,
            request.device,
            precision,
            recipe.head.on,
            targets,
        )
    return replace(model, flip=recipe.predict.flip)


def stage_lines(model: Classifier, recipe: Recipe) -> tuple[Line, ...]:
    """Returns the line of each stage; `auto` is where some 65 % of the work lies below.

    Raises:
        RecipeError: Where a line lies above that of an earlier stage.
        LineError: Where there is no such line.
    """
    found: list[Line] = []
    for number, stage in enumerate(recipe.stages):
        name = planner.DEFAULT_LINE if stage.line == planner.AUTO else stage.line
        try:
            line = classifiers.find_line(model.traced, name, model.top)
        except LineError as error:
            raise LineError(f"stages.{number}.line: {error}") from error
        if found and line.index > found[-1].index:
            raise RecipeError(
                f"stages.{number}.line: {line.name!r} lies above {found[-1].name!r}, the line of "
                f"stages.{number - 1}: what was thawed there would be frozen again and its "
                "activations would no longer be true. Lines must go down from stage to stage."
            )
        found.append(line)
    return tuple(found)


def head_spec_of(recipe: Recipe) -> heads.HeadSpec:
    """Returns the new layers that a recipe asks for.

    Raises:
        RecipeError: Where they cannot be.
    """
    choice = recipe.head
    layers = heads.layers_from(choice.layers)
    return heads.parse(choice.spec, choice.pooling, layers, choice.init)


def _with_defaults(recipe: Recipe, head: heads.HeadSpec) -> Recipe:
    """Writes out what the recipe leaves to be chosen, but for the network and what is measured."""
    if recipe.backbone.name:
        # A name that cannot be is told before any picture is read.
        catalog.parse(recipe.backbone.name)
    start = recipe.head.start
    if start == "auto":
        start = "probe" if head.is_linear else "random"
    steps = recipe.stages
    if start == "random" and not steps:
        steps = (Stage(epochs=20, batch_size=64),)
    return replace(recipe, head=replace(recipe.head, start=start), stages=steps)


def _network(
    choice: BackboneChoice, device: torch.device, begun_with: str, console: Console
) -> str:
    """Returns the network that a recipe names, or else the default for the device.

    Where the default cannot be had, it is the network that ships with Frostline. A run that
    began with one of the two goes on with it, whatever can be downloaded by then.
    """
    default = catalog.default_name(device.type)
    if choice.name:
        return choice.name
    if begun_with in (default, FALLBACK):
        return begun_with
    if choice.weights or not choice.pretrained:
        return default
    try:
        catalog.download_of(default)
    except DownloadError as error:
        # Without kinds and tags, which would not fit into a line.
        wanted, taken = (one.partition(":")[2].partition(".")[0] for one in (default, FALLBACK))
        console.say(f"{wanted} cannot be downloaded: {taken} instead")
        console.detail(f"{error.missing}. With a connection: frostline backbones get {default}")
        return FALLBACK
    return default


def open_backbone(choice: BackboneChoice) -> OpenedBackbone:
    """Opens the network that a recipe names, at the input size that it asks for.

    Raises:
        BackboneError: Where it cannot be opened.
    """
    recipes.validate(Recipe(backbone=choice), "recipe")
    return open_at_size(
        choice.name,
        choice.image_px,
        pretrained=choice.pretrained,
        weights=user_path(choice.weights) if choice.weights else None,
        partial=choice.partial,
    )


def fed_with(
    opened: OpenedBackbone, listing: Listing, data: Data, console: Console
) -> tuple[OpenedBackbone, tuple[str, ...]]:
    """Returns a backbone that is fed as these files need it, and what to tell of it.

    Pictures get levels where some are deep, sounds a spectrogram.

    Raises:
        BackboneError: Where a network that hears is to see.
        ListingError: Where no picture has as many channels as the network takes.
        RecipeError: Where the levels do not hold.
    """
    own, name = opened.record.preprocessing, opened.record.name
    if data.sound:
        fed, notes = rules.preprocessing_for(own, listing, data.window_s, name)
    elif own.spectrogram is not None:
        raise BackboneError(f"{name}: hears sounds and sees no pictures. Add --sound.")
    else:
        most_px = listings.most_px_of(data)
        fed, notes = level_rules.preprocessing_for(own, listing, data.levels, most_px, console)
        notes += feeding.check_channels(listing, fed, name)
    return replace(opened, record=replace(opened.record, preprocessing=fed)), notes


@contextmanager
def with_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Lets `seed` decide what is drawn in the block; the caller's generator stays as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def refuse_paths_inside_images(photos: Path, written: Mapping[str, Path]) -> None:
    """Sees to it that nothing is written among the images.

    Hidden folders are no part of them: the user's own cache may lie below the user's images.

    Raises:
        RunError: Where what an option names lies inside the folder of images.
    """
    if listings.is_table(photos):
        return
    root = Path(os.path.realpath(photos))
    for option, path in written.items():
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(root):
            continue
        if not any(part.startswith(".") for part in real.relative_to(root).parts):
            raise RunError(
                f"{option}: {path} lies inside {photos}, and what is trained on is never "
                "written to. Name a folder elsewhere."
            )


def refuse_unreadable(listing: Listing, strict: bool) -> None:
    """Raises `ListingError` where images cannot be read and the recipe is strict."""
    if listing.problems and strict:
        first, count = listing.problems[0], len(listing.problems)
        raise ListingError(
            f"{listing.root}: {count} {listing.noun}{'s' * (count != 1)} cannot be read "
            f"(--strict), the first: {first.path}: {first.problem}."
        )
