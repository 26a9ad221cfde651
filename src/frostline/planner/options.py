"""The ways to carry out a recipe, and what each is expected to take: arithmetic on rates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline import passes
from frostline.cache.chunks import rows_in
from frostline.classifier import Classifier
from frostline.console import Console
from frostline.data.augment import CENTER, Policy, View
from frostline.data.listing import Listing
from frostline.extract import Item
from frostline.frost import Line
from frostline.passes import items_of
from frostline.planner.measure import Disk, Step
from frostline.recipe import Recipe

MOST_VIEWS = 4


@dataclass(frozen=True)
class Option:
    """One way to carry out a recipe, with its estimate.

    Attributes:
        line: Where the pass over the pixels ends.
        engine: What runs the prefix.
        views: Kept views of a training image.
        keep: Whether activations are kept.
        storage: The type they are kept in.
        new_bytes: What the disk must take.
        memory_bytes: What is held in memory of them.
        first_pass_s: Seconds until all is kept; conversions are done by then.
        epoch_s: Seconds of a mean epoch.
        total_s: Seconds of the pass and all epochs.
    """

    line: str
    engine: str
    views: int
    keep: bool
    storage: str
    new_bytes: int
    memory_bytes: int
    first_pass_s: float
    epoch_s: float
    total_s: float


@dataclass(frozen=True)
class Case:
    """What all options have in common."""

    model: Classifier
    listing: Listing
    wanted: Recipe
    policy: Policy
    cache: Path
    console: Console
    disk: Disk


@dataclass(frozen=True)
class Rates:
    """What was measured for one placing of the lines."""

    base: Classifier
    lines: tuple[Line, ...]
    engine: str
    setup_s: float
    center_s: float
    view_s: float
    decode_s: float
    derive_s: Mapping[int, float]
    steps: tuple[Step, ...]
    kept: bool = False


def options_of(case: Case, rates: Rates) -> list[Option]:
    """Returns every way that the recipe leaves open, at the rates measured."""
    found = []
    cache, live = case.wanted.compute.cache, case.wanted.views.live
    counts = counts_of(case)
    if cache != "never" and not live:
        found += [_kept(case, rates, count) for count in counts]
    # Where all is kept, computing it again is no choice, and was not measured.
    if live or (cache != "always" and (case.wanted.stages or cache == "never") and not rates.kept):
        found.append(_unkept(case, rates, max(counts)))
    return found


def counts_of(case: Case) -> list[int]:
    """Returns how many views of a training image come into question, the most first."""
    if case.policy == Policy():
        return [1]
    if case.wanted.views.count:
        return [case.wanted.views.count]
    epochs = [stage.epochs for stage in case.wanted.stages if stage.augment]
    most = min(MOST_VIEWS, max(epochs, default=1))
    return [count for count in (8, 4, 2, 1) if count <= most] or [1]


def _kept(case: Case, rates: Rates, count: int) -> Option:
    base, listing, stages = rates.base, case.listing, case.wanted.stages
    train = listing.of("train")
    rows = rows_of(case, count)
    key = passes.cache_key(base)
    there = rows_in(key.folder(case.cache))
    missing = sum(row not in there for row in rows)
    new_centers = sum(row not in there for row in items_of(listing.usable))
    size = passes.row_bytes(base)
    pass_s = new_centers * rates.center_s + (missing - new_centers) * rates.view_s
    pass_s += missing * size / case.disk.write
    derived = sum(
        rates.derive_s.get(line.index, 0.0) * len(rows)
        for line in {line.index: line for line in rates.lines}.values()
    )
    top = case.model.top.index
    if case.wanted.head.start == "probe" and top not in {line.index for line in rates.lines}:
        derived += rates.derive_s.get(top, 0.0) * len(listing.usable)
    read_s = size / case.disk.read
    epochs_s, epochs = 0.0, 0.0
    for stage, step in zip(stages, rates.steps, strict=True):
        once = len(train) * (step.train_s + read_s)
        once += len(listing.of("val")) * (step.eval_s + read_s)
        length = _epochs(stage, len(train))
        epochs_s, epochs = epochs_s + once * length, epochs + length
    fresh = round(_refreshed(case, count) * len(train))
    fresh_s = fresh * (rates.view_s + size / case.disk.write)
    resident = min(len(rows) * size, passes.RESIDENT_BYTES)
    return Option(
        base.line.name,
        rates.engine,
        count,
        True,
        str(base.engine.storage).removeprefix("torch."),
        (missing + fresh) * size,
        resident,
        pass_s,
        epochs_s / (epochs or 1.0),
        pass_s + derived + fresh_s + epochs_s,
    )


def _unkept(case: Case, rates: Rates, count: int) -> Option:
    train, val = len(case.listing.of("train")), len(case.listing.of("val"))
    live = case.wanted.views.live
    keeps_val = live and case.wanted.compute.cache != "never"
    first = len(case.listing.usable) * (rates.center_s if keeps_val else rates.decode_s)
    if case.wanted.head.start == "probe":
        first += (train + val) * rates.center_s
    epochs_s, epochs = 0.0, 0.0
    for stage, step in zip(case.wanted.stages, rates.steps, strict=True):
        once = train * (step.train_s + rates.view_s)
        once += val * (step.eval_s + (0.0 if keeps_val else rates.center_s))
        length = _epochs(stage, train)
        epochs_s, epochs = epochs_s + once * length, epochs + length
    size = passes.row_bytes(rates.base) * len(case.listing.usable) if keeps_val else 0
    storage = str(rates.base.engine.storage).removeprefix("torch.")
    mean = epochs_s / (epochs or 1.0)
    return Option(
        rates.base.line.name,
        rates.engine,
        count,
        False,
        storage,
        size,
        0,
        first,
        mean,
        first + epochs_s,
    )


def training_s(case: Case, rates: Rates) -> float:
    """Returns what steps and scoring take in all, whatever the engine."""
    train, val = len(case.listing.of("train")), len(case.listing.of("val"))
    return sum(
        (train * step.train_s + val * step.eval_s) * _epochs(stage, train)
        for stage, step in zip(case.wanted.stages, rates.steps, strict=True)
    )


def _epochs(stage: Any, images: int) -> float:
    """Returns how many epochs a stage takes, where it counts steps too."""
    if not stage.steps:
        return float(stage.epochs)
    return float(stage.steps * stage.accumulate * stage.batch_size / max(images, 1))


def _refreshed(case: Case, count: int) -> float:
    """Returns how many views of an image are replaced by new ones, in the mean."""
    share, train = case.wanted.views.refresh, len(case.listing.of("train"))
    if case.policy == Policy():
        return 0.0
    epochs = max((_epochs(one, train) for one in case.wanted.stages if one.augment), default=0.0)
    # An epoch meets a view that was new `count` epochs ago, or was there from the start.
    return sum(min(1.0, share * min(epoch, count)) for epoch in range(math.ceil(epochs)))


def _views(case: Case, count: int) -> list[View]:
    if case.policy == Policy() or not any(stage.augment for stage in case.wanted.stages):
        return [CENTER]
    epochs = max(
        count if stage.steps else stage.epochs for stage in case.wanted.stages if stage.augment
    )
    return [CENTER, *(View(number, case.policy) for number in range(min(count, epochs)))]


def rows_of(case: Case, count: int) -> dict[bytes, Item]:
    """Returns all rows of the first pass, with so many views of each training image."""
    others = [row for row in case.listing.usable if row.split != "train"]
    return {**items_of(others), **items_of(case.listing.of("train"), _views(case, count))}


def is_kept(case: Case, base: Classifier) -> bool:
    """Whether every row that any number of views asks for is kept: nothing is left to compute."""
    if case.wanted.compute.cache == "never" or case.wanted.views.live:
        return False
    there = rows_in(passes.cache_key(base).folder(case.cache))
    return bool(there) and all(row in there for row in rows_of(case, max(counts_of(case))))


def has_rows(case: Case, base: Classifier, engine: str) -> bool:
    """Whether another engine's activations are kept already."""
    name = base.engine.name.replace("eager", engine, 1)
    return bool(rows_in(passes.cache_key(base, name).folder(case.cache)))


def fits(case: Case, option: Option) -> bool:
    """Says whether an option keeps within the budget."""
    budget = case.wanted.budget
    return (
        (budget.disk_gib is None or option.new_bytes <= budget.disk_gib * 2**30)
        and (budget.time_min is None or option.total_s <= budget.time_min * 60)
        and (budget.memory_gib is None or memory_of(option) <= budget.memory_gib * 2**30)
    )


def memory_of(option: Option) -> int:
    """Returns what the process is expected to take: what it has now, and what it will hold."""
    with Path("/proc/self/statm").open() as file:
        pages = int(file.read().split()[1])
    return pages * 4096 + option.memory_bytes
