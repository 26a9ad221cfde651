"""The ways to carry out a recipe, and what each is expected to take: arithmetic on rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from frostline.activations import sources
from frostline.activations.cache.chunks import rows_in
from frostline.activations.cache.key import CacheKey
from frostline.activations.extraction import ImageView
from frostline.activations.sources import image_views_of
from frostline.base import machine
from frostline.base.console import Console
from frostline.base.errors import LineError
from frostline.frost import Line
from frostline.images.augment import CENTER, View, ViewPolicy
from frostline.images.listing import Listing
from frostline.model import classifier
from frostline.model.classifier import Classifier
from frostline.planner.measure import DiskThroughput, StepCost
from frostline.planner.views import (
    epochs_before,
    epochs_of,
    most_epochs,
    probe_view_count,
    view_count,
    views_of,
)
from frostline.recipe import Recipe, Stage

# How many views of a training image may be kept, the most first.
VIEW_COUNTS = (24, 16, 12, 8, 4, 2, 1)
# More than so many are kept only where a search has the time for it (`PlanInputs.more_views_s`),
# and where activations take no more than so many bytes.
USUAL_VIEWS = 4
MORE_VIEWS_BYTES = 4 << 30


@dataclass(frozen=True)
class PlanOption:
    """One way to carry out a recipe, with its estimate.

    Attributes:
        line: Where the pass over the pixels ends.
        engine: What runs the prefix.
        views: Kept views of a training image.
        keep: Whether activations are kept.
        storage: The type they are kept in.
        new_bytes: What the disk must take, at all lines.
        memory_bytes: What is held in memory of them.
        first_pass_s: Seconds before the first epoch: until all is kept, what is derived included.
        epoch_s: Seconds of a mean epoch.
        total_s: Seconds of the pass and all epochs. Making the earliest line's engine ready is not
            among them: it is done before a choice is made, and the run goes on with what was made.
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
class PlanInputs:
    """What all options have in common.

    Attributes:
        model: The network, cut at its top.
        listing: The images, with splits.
        wanted: The recipe, with what is left to choose.
        policy: How training images are varied.
        cache: The folder of all caches.
        console: Where words go.
        disk: What it was measured to do.
        most_views: At most so many views of a training image are kept.
        more_views_s: Seconds that the pass may take with more than `USUAL_VIEWS`.
    """

    model: Classifier
    listing: Listing
    wanted: Recipe
    policy: ViewPolicy
    cache: Path
    console: Console
    disk: DiskThroughput
    most_views: int = USUAL_VIEWS
    more_views_s: float = 0.0


@dataclass(frozen=True)
class Throughput:
    """What was measured for one placing of the lines.

    Attributes:
        base: The network, cut at the earliest line.
        lines: Of the stages.
        engine: What runs the prefix.
        setup_s: Seconds to make it ready; that is done before a choice is made.
        center_s: Seconds from a file to the activation of its `center` view.
        view_s: Likewise of a varied view.
        decode_s: Seconds from a file to pixels.
        derive_s: By a later line's index, seconds from an activation at the earliest to one there.
        steps: What training takes in each stage.
        keys: By line, what `eager` would keep activations under that it computes from pixels.
        sizes: By line, the bytes of an activation.
        kept: Whether all activations at the earliest line are there already.
    """

    base: Classifier
    lines: tuple[Line, ...]
    engine: str
    setup_s: float
    center_s: float
    view_s: float
    decode_s: float
    derive_s: Mapping[int, float]
    steps: tuple[StepCost, ...]
    keys: Mapping[int, CacheKey]
    sizes: Mapping[int, int]
    kept: bool = False


@dataclass(frozen=True)
class _Pass:
    """What keeping all rows takes that are not kept yet."""

    new_bytes: int
    memory_bytes: int
    seconds: float


def options_of(case: PlanInputs, throughput: Throughput) -> list[PlanOption]:
    """Returns every way that the recipe leaves open, at the rates measured."""
    found = []
    cache, live = case.wanted.compute.cache, case.wanted.views.live
    counts = counts_of(case)
    there = {} if cache == "never" else _there(case, throughput)
    if cache != "never" and not live:
        found += [_kept(case, throughput, count, there) for count in counts]
    # Where all is kept, computing it again is no choice, and was not measured.
    if live or (
        cache != "always" and (case.wanted.stages or cache == "never") and not throughput.kept
    ):
        found.append(_unkept(case, throughput, max(counts), there))
    return found


def counts_of(case: PlanInputs) -> list[int]:
    """Returns how many views of a training image come into question, the most first."""
    if not case.policy.varies:
        return [1]
    if case.wanted.views.count:
        return [case.wanted.views.count]
    wanted, train = case.wanted, len(case.listing.of("train"))
    most = min(case.most_views, epochs_before(wanted, len(wanted.stages), train))
    return [count for count in VIEW_COUNTS if count <= most] or [1]


def pass_line(case: PlanInputs, lines: Sequence[Line]) -> Line:
    """Returns where the pass over the images ends: at the lowest of the lines that are needed."""
    compute, model = case.wanted.compute, case.model
    lowest = min(lines, key=lambda line: line.index, default=model.top)
    if not compute.pass_line or not compute.derive or compute.cache == "never":
        return lowest
    try:
        asked = classifier.find_line(model.traced, compute.pass_line, model.top)
    except LineError as error:
        raise LineError(f"compute.pass_line: {error}") from error
    return min(lowest, asked, key=lambda line: line.index)


def derives(case: PlanInputs, throughput: Throughput) -> bool:
    """Whether later lines are derived: where reading a row takes less than making one."""
    # Both go on with the same layers.
    read_s = throughput.sizes[throughput.base.line.index] / case.disk.read
    return case.wanted.compute.derive and (throughput.kept or read_s < throughput.center_s)


def _there(case: PlanInputs, throughput: Throughput) -> dict[int, set[bytes]]:
    """Returns which rows are kept already at each line, under the keys that the run will use."""
    base, derive = throughput.base, derives(case, throughput)
    found = {}
    for index, key in throughput.keys.items():
        compute = key.compute.replace("eager", throughput.engine, 1)
        if derive and index != base.line.index:
            compute = sources.via(base.line, base.engine.name, key.compute)
        found[index] = rows_in(replace(key, compute=compute).folder(case.cache))
    return found


def _pass(
    case: PlanInputs, throughput: Throughput, count: int, there: Mapping[int, set[bytes]]
) -> _Pass:
    base, derive = throughput.base.line.index, derives(case, throughput)
    new_bytes, memory_bytes, seconds = 0, 0, 0.0
    for index, rows in rows_at(case, throughput.base.line, throughput.lines, count).items():
        size, above_s = throughput.sizes[index], throughput.derive_s.get(index, 0.0)
        new = [item.view for row, item in rows.items() if row not in there[index]]
        new_bytes += len(new) * size
        memory_bytes += min(len(rows) * size, sources.IN_MEMORY_BYTES)
        seconds += len(new) * (above_s + size / case.disk.write)
        if index == base or not derive:
            centers = new.count(CENTER)
            seconds += centers * throughput.center_s + (len(new) - centers) * throughput.view_s
    return _Pass(new_bytes, memory_bytes, seconds)


def _kept(
    case: PlanInputs, throughput: Throughput, count: int, there: Mapping[int, set[bytes]]
) -> PlanOption:
    first = _pass(case, throughput, count, there)
    train, val = len(case.listing.of("train")), len(case.listing.of("val"))
    base, derive = throughput.base.line.index, derives(case, throughput)
    if not derive:
        first = replace(first, seconds=first.seconds + _later_engines_s(case, throughput))
    new_bytes, epochs_s, epochs = first.new_bytes, 0.0, 0.0
    for number, (stage, line, step) in enumerate(_stages(case, throughput)):
        size, above_s = throughput.sizes[line.index], throughput.derive_s.get(line.index, 0.0)
        read_s = size / case.disk.read
        length = epochs_of(stage, train)
        epochs += length
        epochs_s += length * (train * (step.train_s + read_s) + val * (step.eval_s + read_s))
        # A view that is replaced is kept at the earliest line and, derived from that, at its own.
        fresh = round(_refreshed(case, number, count) * train)
        through = {base, line.index} if derive else {line.index}
        fresh_bytes = fresh * sum(throughput.sizes[index] for index in through)
        new_bytes += fresh_bytes
        epochs_s += fresh * (throughput.view_s + above_s) + fresh_bytes / case.disk.write
    return PlanOption(
        throughput.base.line.name,
        throughput.engine,
        count,
        True,
        str(throughput.base.engine.storage).removeprefix("torch."),
        new_bytes,
        first.memory_bytes,
        first.seconds,
        epochs_s / (epochs or 1.0),
        first.seconds + epochs_s,
    )


def _unkept(
    case: PlanInputs, throughput: Throughput, count: int, there: Mapping[int, set[bytes]]
) -> PlanOption:
    train, val = len(case.listing.of("train")), len(case.listing.of("val"))
    keeps_val = case.wanted.views.live and case.wanted.compute.cache != "never"
    if keeps_val:
        first = _pass(case, throughput, count, there)
    else:
        seconds = len(case.listing.usable) * throughput.decode_s
        if case.wanted.head.start == "probe":
            above_s = throughput.derive_s.get(case.model.top.index, 0.0)
            seconds += (train + val) * (throughput.center_s + above_s)
        first = _Pass(0, 0, seconds)
    first = replace(first, seconds=first.seconds + _later_engines_s(case, throughput))
    epochs_s, epochs = 0.0, 0.0
    for stage, line, step in _stages(case, throughput):
        above_s = throughput.derive_s.get(line.index, 0.0)
        read_s = throughput.sizes[line.index] / case.disk.read
        center_s = read_s if keeps_val else throughput.center_s + above_s
        varied = stage.augment and case.policy.varies
        train_s = step.train_s + (throughput.view_s + above_s if varied else center_s)
        length = epochs_of(stage, train)
        epochs += length
        epochs_s += length * (train * train_s + val * (step.eval_s + center_s))
    return PlanOption(
        throughput.base.line.name,
        throughput.engine,
        count,
        False,
        str(throughput.base.engine.storage).removeprefix("torch."),
        first.new_bytes,
        first.memory_bytes,
        first.seconds,
        epochs_s / (epochs or 1.0),
        first.seconds + epochs_s,
    )


def _later_engines_s(case: PlanInputs, throughput: Throughput) -> float:
    """Returns what making engines takes that run from pixels to lines above the earliest."""
    probed = [case.model.top] if case.wanted.head.start == "probe" else []
    later = {line.index for line in (*throughput.lines, *probed)} - {throughput.base.line.index}
    return len(later) * throughput.setup_s


def _stages(case: PlanInputs, throughput: Throughput) -> list[tuple[Stage, Line, StepCost]]:
    return list(zip(case.wanted.stages, throughput.lines, throughput.steps, strict=True))


def training_s(case: PlanInputs, throughput: Throughput) -> float:
    """Returns what steps and scoring take in all, whatever the engine."""
    train, val = len(case.listing.of("train")), len(case.listing.of("val"))
    return sum(
        (train * step.train_s + val * step.eval_s) * epochs_of(stage, train)
        for stage, _, step in _stages(case, throughput)
    )


def _refreshed(case: PlanInputs, number: int, count: int) -> float:
    """Returns how many views of an image stage `number` replaces by new ones, in the mean."""
    wanted, train = case.wanted, len(case.listing.of("train"))
    stage, share = wanted.stages[number], wanted.views.refresh
    if not stage.augment or not case.policy.varies:
        return 0.0
    begun = epochs_before(wanted, number, train)
    # An epoch meets a view that was new `count` epochs ago, or was there from the start.
    epochs = range(begun, begun + most_epochs(stage, train))
    return sum(min(1.0, share * min(epoch, count)) for epoch in epochs)


def rows_at(
    case: PlanInputs, base: Line, lines: Sequence[Line], count: int
) -> dict[int, dict[bytes, ImageView]]:
    """Returns the rows that are kept before the first epoch of their stage, by the line's index.

    Args:
        case: Whose images and stages.
        base: The earliest line.
        lines: Of the stages.
        count: Views of each training image.
    """
    wanted = replace(case.wanted, views=replace(case.wanted.views, count=count))
    train = case.listing.of("train")
    others = [row for row in case.listing.usable if row.split != "train"]
    varied = [View(number, case.policy) for number in range(view_count(wanted, case.policy))]
    found = {base.index: {**image_views_of(others), **image_views_of(train, [CENTER, *varied])}}
    val = image_views_of(case.listing.of("val"))
    for number, line in enumerate(lines):
        if line.index != base.index:
            views = views_of(wanted, case.policy, number, len(train))
            found.setdefault(line.index, {}).update({**val, **image_views_of(train, views)})
    top = case.model.top.index
    if wanted.head.start == "probe" and top != base.index:
        many = probe_view_count(wanted, case.policy, len(train))
        probed = [CENTER, *varied[:many]]
        found.setdefault(top, {}).update({**val, **image_views_of(train, probed)})
    return found


def is_kept(case: PlanInputs, base: Classifier) -> bool:
    """Whether every row that any number of views asks for is kept: nothing is left to compute."""
    if case.wanted.compute.cache == "never" or case.wanted.views.live:
        return False
    there = rows_in(sources.cache_key(base).folder(case.cache))
    rows = rows_at(case, base.line, (), max(counts_of(case)))[base.line.index]
    return bool(there) and all(row in there for row in rows)


def has_rows(case: PlanInputs, base: Classifier, engine: str) -> bool:
    """Whether another engine's activations are kept already."""
    name = base.engine.name.replace("eager", engine, 1)
    return bool(rows_in(sources.cache_key(base, name).folder(case.cache)))


def limits(case: PlanInputs, option: PlanOption) -> dict[str, tuple[float, float]]:
    """Returns what an option needs and what it may take, by name; `free` is what the disk has."""
    budget = case.wanted.budget
    found: dict[str, tuple[float, float]] = {"free": (option.new_bytes, case.disk.free)}
    if budget.disk_gib is not None:
        found["disk"] = (option.new_bytes, budget.disk_gib * 2**30)
    if budget.memory_gib is not None:
        found["memory"] = (memory_of(option), budget.memory_gib * 2**30)
    if budget.time_min is not None:
        found["time"] = (option.total_s, budget.time_min * 60)
    return found


def fits(case: PlanInputs, option: PlanOption) -> bool:
    """Says whether an option keeps within the budget, and within what the disk has free."""
    return all(need <= limit for need, limit in limits(case, option).values())


def allows_views(case: PlanInputs, option: PlanOption) -> bool:
    """Says whether the views of an option are as many as usual, or more and yet cheap."""
    if option.views <= USUAL_VIEWS or case.wanted.views.count > 0:
        return True
    return option.first_pass_s <= case.more_views_s and option.new_bytes <= MORE_VIEWS_BYTES


def memory_of(option: PlanOption) -> int:
    """Returns what the process is expected to take: what it has now, and what it will hold."""
    return machine.resident_bytes() + option.memory_bytes
