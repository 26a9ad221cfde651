"""Recipe and pictures to a finished run, read top to bottom. This is the only wiring."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frostline import frost, planner, recipe
from frostline.activations import engines
from frostline.activations import extraction as extract
from frostline.activations import sources as passes
from frostline.activations.cache.key import row_id
from frostline.activations.cut_network import prefix_digest, row_bytes
from frostline.activations.extraction import ImageView
from frostline.activations.sources import Source, image_views_of
from frostline.base import files
from frostline.base.console import Console
from frostline.base.errors import LineError, ListingError, RecipeError, RunError, TrainingError
from frostline.frost import Line
from frostline.images import listing as listings
from frostline.images import splits
from frostline.images.augment import CENTER, Policy, View
from frostline.images.listing import Listing, Row
from frostline.model import classifier as models
from frostline.model import heads
from frostline.model.classifier import Classifier
from frostline.networks import catalog
from frostline.pipeline import messages as tell
from frostline.pipeline import resume
from frostline.pipeline.line_sources import Sources, policy_of, view_of
from frostline.planner import Plan
from frostline.recipe import BackboneChoice, Compute, Recipe, Stage
from frostline.run import folder as runfolder
from frostline.run.folder import RunFolder
from frostline.scores import evaluation as evaluate
from frostline.training import checkpoint, loop, probe, stages, watch
from frostline.training.loop import Examples, Fetch
from frostline.training.lr_find import RateSuggestion, check, sweep

# Multiplications in one step of the probe, below which one core does it soonest.
SMALL = 20_000_000


def train(photos: Path, out: Path, wanted: Recipe, cache: Path, console: Console) -> RunFolder:
    """Carries out a recipe on a folder of pictures.

    Args:
        photos: Class folders, or `train/` and `val/`, or a CSV.
        out: The run folder: new, empty, or one that this very recipe began.
        wanted: What to do.
        cache: The folder of all caches.
        console: Where words go.

    Returns:
        The finished run.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
        Interrupted: Where a signal asked to end; the same call goes on from there.
    """
    recipe.validate(wanted)
    watch.check_names(wanted.watch.trackers)
    head = _head_of(wanted)
    device = engines.pick_device(wanted.compute.device)
    wanted = _resolved(wanted, head, device)
    keep_apart(photos, {"--out": out, "--cache-dir": cache})
    listing = listings.scan(photos, console, targets=wanted.data.targets)
    _refuse_unreadable(listing, wanted.data.strict)
    run = runfolder.claim(out)
    with files.locked(run.lock, str(out)):
        run.remove_leftovers()
        earlier = resume.earlier(run, wanted, listing, console)
        if earlier is not None and run.is_finished():
            run.checkpoint.unlink(missing_ok=True)
            return run
        job = _open_job(wanted, head, device, cache, console, listing)
        tell.backbone(job.opened, console)
        model = job.assemble(listing.labels)
        tell.head(model, console)
        lines = _lines_of(model, wanted)
        content = resume.digest(listing)
        listing = splits.assign(listing, wanted.data.val, wanted.data.test, wanted.seed)
        plan = _plan_of(run, earlier, job, model, lines, listing, wanted)
        wanted = plan.recipe
        lines = _lines_of(model, wanted)
        bound = stages.bound_to(model, content)
        found = resume.checkpoint_of(run, bound, listing, photos)
        sources = Sources(plan, model, lines, cache, console)
        # Written once all names hold, so a slip of the pen leaves no run behind.
        recipe.write(wanted, run.recipe)
        files.write_json(run.plan, plan.facts)

        frozen = prefix_digest(sources.base)
        _tell_views(wanted, policy_of(wanted), console)
        went_off = time.perf_counter()
        listing = _first_pass(sources, listing, wanted)
        listings.write_csv(listing, run.listing)
        _refuse_unreadable(listing, wanted.data.strict)
        tell.images(listing, job.targets, console)
        if tuple(listing.labels) != model.labels:
            model = job.assemble(listing.labels)
            sources = Sources(plan, model, lines, cache, console)
        validation = _examples(_in_order(listing.of("val")), listing, model)

        watching = watch.open_watches(
            wanted.watch.trackers,
            run.tensorboard,
            run.path.name,
            recipe.to_dict(wanted),
            purge_step=len(found.facts["history"]) + 1 if found else None,
        )
        ground = stages.ground_of(sources.base)
        progress = stages.RunProgress(
            run, console, watching, bound, ground, wanted.watch.histograms
        )
        if found:
            progress.restore(found)
        elif wanted.head.start == "probe":
            progress.note(_probe(sources, listing, validation, console))
        begun = int(found.facts["stage"]) if found else 0
        if found is None and wanted.stages:
            progress.save(0, sources.at(0)[0].trainable)
        for number in range(begun, len(wanted.stages)):
            task = _task(wanted, sources, number, listing, validation)
            stages.carry_out(task, progress, found if number == begun else None)
        model, source = sources.at(len(wanted.stages) - 1)
        if found and begun == len(wanted.stages):
            checkpoint.unpack(found, model.trainable, None)
        took_s = time.perf_counter() - went_off
        run.write_history(progress.history)
        watching.close()

        scored = _score(model, source, listing, console)
        done = sources.facts()
        tell.passes(done, console)
        from_pixels = [one for one in done if one["from"] == "pixels"]
        facts = {
            "passes": done,
            "rows_computed": sum(one["rows_computed"] for one in from_pixels),
            "rows_kept": sum(one["rows_kept"] for one in from_pixels),
            "share_below": model.line.share_below,
            "frozen": {"unchanged": frozen == prefix_digest(sources.base)},
            "measured": _measured(done, progress, took_s),
            "checkpoints": _checkpoints(progress),
            "listing": content,
        }
        files.write_json(run.plan, {**plan.facts, **facts})
        models.save(model, run.model)
        evaluate.write_predictions(run.predictions, model.labels, scored.values())
        metrics = {name: result.metrics for name, result in scored.items()}
        run.write_metrics({**metrics, "stages": progress.proofs})
        run.checkpoint.unlink(missing_ok=True)
    return run


def plan(photos: Path, wanted: Recipe, cache: Path, console: Console) -> Plan:
    """Measures and chooses as `train` would, and trains nothing.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    recipe.validate(wanted)
    return _planned(photos, wanted, cache, console)[0]


def _planned(
    photos: Path, wanted: Recipe, cache: Path, console: Console
) -> tuple[Plan, Classifier, Listing]:
    """Lists, opens and plans; returns the plan, the network cut at its top, and the listing."""
    watch.check_names(wanted.watch.trackers)
    keep_apart(photos, {"--cache-dir": cache})
    head = _head_of(wanted)
    device = engines.pick_device(wanted.compute.device)
    wanted = _resolved(wanted, head, device)
    listing = listings.scan(photos, console, targets=wanted.data.targets)
    _refuse_unreadable(listing, wanted.data.strict)
    listing = splits.assign(listing, wanted.data.val, wanted.data.test, wanted.seed)
    job = _open_job(wanted, head, device, cache, console, listing)
    tell.backbone(job.opened, console)
    model = job.assemble(listing.labels)
    lines = _lines_of(model, wanted)
    return _make_plan(job, model, lines, listing, wanted), model, listing


def lr_find(
    photos: Path,
    wanted: Recipe,
    number: int | None,
    rates: tuple[float, float, int],
    cache: Path,
    console: Console,
) -> RateSuggestion:
    """Tries rising learning rates on a stage, and trains nothing that stays.

    It starts from the probe, or at random; earlier stages are not trained first.

    Args:
        photos: As for `train`.
        wanted: The recipe.
        number: Of the stage, from 0; None for the last.
        rates: First and last rate, and how many are tried.
        cache: The folder of all caches.
        console: Where words go.

    Raises:
        RecipeError: Where there is no such stage.
        TrainingError: Where no rate makes the loss fall.
    """
    recipe.validate(wanted)
    check(*rates)
    wanted = _resolved(wanted, _head_of(wanted), engines.pick_device(wanted.compute.device))
    if not wanted.stages:
        raise RecipeError(
            "lr-find: the recipe has no stages, only the probe, which has no rate. "
            "Name another --recipe, or a --line."
        )
    if not 0 <= (number or 0) < len(wanted.stages):
        raise RecipeError(
            f"--stage: the recipe has {len(wanted.stages)} stages, counted from 0; got {number}."
        )
    number = len(wanted.stages) - 1 if number is None else number
    plan, model, listing = _planned(photos, wanted, cache, console)
    sources = Sources(plan, model, _lines_of(model, plan.recipe), cache, console)
    listing = _first_pass(sources, listing, plan.recipe)
    tell.images(listing, model.targets, console)
    if wanted.head.start == "probe":
        validation = _examples(_in_order(listing.of("val")), listing, model)
        _probe(sources, listing, validation, console)
    task = _task(plan.recipe, sources, number, listing, None)
    with stages.trial(task) as step:
        return sweep(step, *rates)


def lines(choice: BackboneChoice) -> tuple[Line, ...]:
    """Returns every line of a backbone, from `pixels` to `pooled`.

    Raises:
        BackboneError: Where it cannot be opened, or cannot be traced.
    """
    opened = _find_backbone(choice)
    how = opened.record.preprocessing
    return frost.lines(opened.module, (3, how.height_px, how.width_px))


def embed(
    choice: BackboneChoice,
    photos: Path,
    line: str,
    compute: Compute,
    cache: Path,
    console: Console,
) -> tuple[Tensor, tuple[Row, ...]]:
    """Returns the activations of pictures at a line, kept or computed.

    Args:
        choice: The network.
        photos: Labelled pictures, as for training, or any folder or file without labels.
        line: Where to read them off.
        compute: Where and how.
        cache: The folder of all caches.
        console: Where words go.

    Returns:
        Activations [n, *shape] in the stored type, and their n images.

    Raises:
        FrostlineError: Saying what is wrong and what to do.
    """
    keep_apart(photos, {"--cache-dir": cache})
    listing = _labelled_or_not(photos, console)
    device = engines.pick_device(compute.device)
    opened = _find_backbone(choice)
    tell.backbone(opened, console)
    precision = engines.pick_precision(compute.precision, device)
    model = models.as_it_is(opened, line, device, precision)
    tell.frozen_line(model, row_bytes(model), console)
    source = passes.from_pixels(model, cache, console)
    listing = listing.with_problems(_by_path(source.need(image_views_of(listing.usable)), listing))
    for words in listings.report_lines(listing):
        console.say(words)
    rows = listing.usable
    if not rows:
        raise ListingError(f"{photos}: none of its images can be read.")
    # A GPU holds them where it can.
    return source.fetch([row_id(row.digest, CENTER.name) for row in rows]).cpu(), rows


@dataclass(frozen=True)
class _Job:
    """What a run works with, from start to end."""

    wanted: Recipe
    opened: catalog.OpenedBackbone
    head: heads.HeadSpec
    device: torch.device
    compute: torch.dtype
    targets: str
    cache: Path
    console: Console

    def assemble(self, labels: Sequence[str]) -> Classifier:
        """Cuts the backbone at its top and puts a new head on, whose weights the seed decides."""
        with _seeded(self.wanted.seed, self.device):
            model = models.assemble(
                self.opened,
                tuple(labels),
                self.head,
                models.TOP,
                self.device,
                self.compute,
                self.wanted.head.on,
                self.targets,
            )
        return replace(model, flip=self.wanted.predict.flip)


def _open_job(
    wanted: Recipe,
    head: heads.HeadSpec,
    device: torch.device,
    cache: Path,
    console: Console,
    listing: Listing,
) -> _Job:
    # Where a backbone's weights are random, the seed decides them too.
    with _seeded(wanted.seed, device):
        opened = _find_backbone(wanted.backbone)
    compute = engines.pick_precision(wanted.compute.precision, device)
    targets = wanted.data.targets
    if targets == "auto":
        targets = "multilabel" if listing.several else "multiclass"
    return _Job(wanted, opened, head, device, compute, targets, cache, console)


def _head_of(wanted: Recipe) -> heads.HeadSpec:
    choice = wanted.head
    layers = heads.layers_from(choice.layers)
    return heads.parse(choice.spec, choice.pooling, layers, choice.init)


def _resolved(wanted: Recipe, head: heads.HeadSpec, device: torch.device) -> Recipe:
    """Writes out what the recipe leaves to be chosen, but for what the planner measures."""
    name = wanted.backbone.name or catalog.default_name(device.type)
    # A name that cannot be is told before any picture is read.
    catalog.parse(name)
    start = wanted.head.start
    if start == "auto":
        start = "probe" if head.is_linear else "random"
    steps = wanted.stages
    if start == "random" and not steps:
        steps = (Stage(epochs=20, batch_size=64),)
    return replace(
        wanted,
        backbone=replace(wanted.backbone, name=name),
        head=replace(wanted.head, start=start),
        stages=steps,
    )


def _lines_of(model: Classifier, wanted: Recipe) -> tuple[Line, ...]:
    """Returns the line of each stage; `auto` is where at least 85 % of the work lies below.

    Raises:
        RecipeError: Where a line lies above that of an earlier stage.
        LineError: Where there is no such line.
    """
    found: list[Line] = []
    for number, stage in enumerate(wanted.stages):
        name = planner.DEFAULT_LINE if stage.line == planner.AUTO else stage.line
        try:
            line = models.find_line(model.traced, name, model.top)
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


def _plan_of(
    run: RunFolder,
    earlier: Recipe | None,
    job: _Job,
    model: Classifier,
    lines: Sequence[Line],
    listing: Listing,
    wanted: Recipe,
) -> Plan:
    """Returns the plan of a run that is gone on with, or makes one."""
    if earlier is not None and run.plan.is_file():
        facts = run.read_plan()
        if wanted != earlier:
            # Stages may have been changed since; what is asked now is what going on looks for.
            facts |= {"asked": recipe.to_dict(wanted)}
        return Plan(earlier, facts)
    return _make_plan(job, model, lines, listing, wanted)


def _make_plan(
    job: _Job, model: Classifier, lines: Sequence[Line], listing: Listing, wanted: Recipe
) -> Plan:
    plan = planner.make(model, lines, listing, wanted, policy_of(wanted), job.cache, job.console)
    # What `auto` came to here, so that the recipe says elsewhere what this run computed in.
    precision = models.PRECISION_NAMES[job.compute]
    compute = replace(plan.recipe.compute, precision=precision)
    return replace(plan, recipe=replace(plan.recipe, compute=compute))


def _first_pass(sources: Sources, listing: Listing, wanted: Recipe) -> Listing:
    """Sees every image once, with all views that training will need; then splits for good."""
    source = sources.first()
    policy = policy_of(wanted)
    count = planner.view_count(wanted, policy)
    items: dict[bytes, ImageView] = {}
    for row in listing.usable:
        views = [CENTER]
        if row.split == "train":
            views += [View(number, policy) for number in range(count)]
        items |= image_views_of([row], views)
    listing = listing.with_problems(_by_path(source.need(items), listing))
    # Without what cannot be read, the split may be another.
    data = wanted.data
    listing = listing if listing.has_splits else _unassigned(listing)
    return splits.assign(listing, data.val, data.test, wanted.seed)


def _unassigned(listing: Listing) -> Listing:
    return replace(listing, rows=tuple(replace(row, split="") for row in listing.rows))


def _tell_views(wanted: Recipe, policy: Policy, console: Console) -> None:
    """Says how many views training will see, which may be fewer than there might have been."""
    count, live = planner.view_count(wanted, policy), wanted.views.live
    if not policy.varies and wanted.views.count > 1:
        console.say(
            f"views.count = {wanted.views.count} means nothing here: nothing varies the views; "
            "name a preset (--augment)"
        )
    is_varied = count > 0 or (live and any(stage.augment for stage in wanted.stages))
    tell.views(policy if is_varied else Policy(), count, live, wanted.views.refresh, console)


def _task(
    wanted: Recipe,
    sources: Sources,
    number: int,
    listing: Listing,
    validation: Examples | None,
) -> stages.StageTask:
    stage, policy = wanted.stages[number], policy_of(wanted)
    model, source = sources.at(number)
    rows = _in_order(listing.of("train"))
    before = planner.epochs_before(wanted, number, len(rows))
    center = _examples(rows, listing, model)
    assert center is not None

    def examples_of(epoch: int) -> Examples:
        if not stage.augment:
            views = [CENTER] * len(rows)
        else:
            views = [view_of(row.digest, epoch, wanted, policy, before) for row in rows]
        items: dict[bytes, ImageView] = {}
        ids = []
        for row, view in zip(rows, views, strict=True):
            ids.append(row_id(row.digest, view.name))
            items[ids[-1]] = ImageView(row.path, row.digest, view)
        source.need(items)
        return Examples(tuple(ids), center.targets)

    if validation is not None:
        source.need(image_views_of(listing.of("val")))
    sample = image_views_of((listing.of("val") or rows)[: stages.SAMPLE])
    source.need(sample)
    if not wanted.views.refresh:
        source.need(image_views_of(rows, planner.views_of(wanted, policy, number, len(rows))))
    return stages.StageTask(
        number=number,
        count=len(wanted.stages),
        stage=stage,
        model=model,
        source=source,
        images=len(rows),
        examples_of=examples_of,
        validation=validation,
        sample=sample,
        seed=wanted.seed + number + 1,
    )


def _labelled_or_not(photos: Path, console: Console) -> Listing:
    try:
        return listings.scan(photos, console, least_classes=1)
    except ListingError:
        if photos.suffix.lower() == ".csv" or not photos.exists():
            raise
        return listings.scan_files([photos], console)


def keep_apart(photos: Path, written: Mapping[str, Path]) -> None:
    """Sees to it that nothing is written among the pictures.

    Hidden folders are no part of them: the user's own cache may lie below the user's pictures.

    Raises:
        RunError: Where what an option names lies inside the folder of pictures.
    """
    root = Path(os.path.realpath(photos))
    for option, path in written.items():
        place = Path(os.path.realpath(path))
        if photos.suffix.lower() == ".csv" or not place.is_relative_to(root):
            continue
        if not any(part.startswith(".") for part in place.relative_to(root).parts):
            raise RunError(
                f"{option}: {path} lies inside {photos}, and the folder of pictures is never "
                "written to. Name a folder elsewhere."
            )


def _find_backbone(choice: BackboneChoice) -> catalog.OpenedBackbone:
    recipe.validate(Recipe(backbone=choice), "recipe")
    opened = catalog.find(
        choice.name,
        pretrained=choice.pretrained,
        weights=Path(choice.weights) if choice.weights else None,
        partial=choice.partial,
    )
    if not choice.image_px:
        return opened
    side_px = choice.image_px
    how = replace(opened.record.preprocessing, height_px=side_px, width_px=side_px)
    return replace(opened, record=replace(opened.record, preprocessing=how))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Lets `seed` decide what is drawn in the block; the caller's generator stays as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _refuse_unreadable(listing: Listing, strict: bool) -> None:
    """Raises `ListingError` where images cannot be read and the recipe is strict."""
    if listing.problems and strict:
        first, count = listing.problems[0], len(listing.problems)
        raise ListingError(
            f"{listing.root}: {count} image{'s' * (count != 1)} cannot be read (--strict), "
            f"the first: {first.path}: {first.problem}."
        )


def _by_path(problems: Mapping[bytes, str], listing: Listing) -> dict[str, str]:
    found = {}
    for row in listing.usable:
        reason = problems.get(row_id(row.digest, CENTER.name))
        if reason is not None:
            found[row.path] = reason
    return found


def _in_order(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Returns rows in an order that renaming changes nothing of, with classes one by one."""
    return tuple(sorted(rows, key=lambda row: (row.label, row.digest, row.path)))


def _examples(rows: Iterable[Row], listing: Listing, model: Classifier) -> Examples | None:
    """Returns the `center` views of `rows` with their targets; None where there are none."""
    number = {label: index for index, label in enumerate(model.labels)}
    chosen = tuple(rows)
    if not chosen:
        return None
    ids = tuple(row_id(row.digest, CENTER.name) for row in chosen)
    if model.targets != "multilabel":
        return Examples(ids, torch.tensor([number[row.label] for row in chosen]))
    targets = torch.zeros(len(chosen), len(model.labels))
    for index, row in enumerate(chosen):
        targets[index, [number[tag] for tag in listing.tags(row)]] = 1
    return Examples(ids, targets)


def _probe(
    sources: Sources,
    listing: Listing,
    validation: Examples | None,
    console: Console,
) -> dict[str, Any]:
    """Puts a fitted probe in place of the head's last layer; returns its history record."""
    begun = time.perf_counter()
    model, source = sources.at(-1)
    training = _examples(_in_order(listing.of("train")), listing, model)
    assert training is not None
    source.need(image_views_of((*listing.of("train"), *listing.of("val"))))
    device = model.engine.device
    train = (_features(model, source.fetch, training, device), training.targets.to(device))
    val = None
    if validation:
        val = (_features(model, source.fetch, validation, device), validation.targets.to(device))
    for features, _ in (train, val or train):
        if not features.isfinite().all():
            raise TrainingError(
                "the probe: activations at the head are no numbers, or too large to be any. Try "
                "--precision fp32, or another --backbone."
            )
    is_small = train[0].numel() * len(model.labels) < SMALL
    with engines.threads(1 if is_small else None):
        found = probe.fit(train, val, len(model.labels), kind=model.targets)
    last = model.trainable.head[-1]  # type: ignore[index]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.copy_(found.weight)
        last.bias.copy_(found.bias)
    loss, accuracy = next(row[1:] for row in found.tried if row[0] == found.strength)
    scored_on = "val" if validation else "cv"
    chosen_on = "val" if validation else f"{probe.FOLDS}-fold cross-validation"
    console.say(
        f"probe: strength {found.strength:.3g} of {len(found.tried)} tried, "
        f"{chosen_on} accuracy {accuracy:.4f}"
    )
    return {
        "stage": 0,
        "kind": "probe",
        "strength": found.strength,
        f"{scored_on}_loss": loss,
        f"{scored_on}_accuracy": accuracy,
        "seconds": round(time.perf_counter() - begun, 3),
    }


@torch.inference_mode()
def _features(model: Classifier, fetch: Fetch, examples: Examples, device: torch.device) -> Tensor:
    """Returns what the head's last layer takes: [n, d], float32."""
    pool = model.trainable.head[:-1]  # type: ignore[index]
    model.trainable.eval()
    loaded = loop.batches(fetch, examples, range(len(examples.rows)), loop.EVAL_BATCH)
    return torch.cat([pool(model.trainable.top(x.to(device))) for x, _ in loaded]).clone()


def _score(
    model: Classifier, source: Source, listing: Listing, console: Console
) -> dict[str, evaluate.ScoredSplit]:
    """Scores val, and test once, from the same activations that training used."""
    scored = {}
    for name in ("val", "test"):
        rows = listing.of(name)
        examples = _examples(rows, listing, model)
        if examples is not None:
            items = image_views_of(rows)
            source.need(items)
            logits = loop.predict(model.trainable, source.fetch, examples, model.engine.device)
            likely = models.probabilities(logits, model.targets)
            if model.flip:
                likely = (likely + _mirrored(model, items)) / 2
            scored[name] = evaluate.scored(name, rows, likely, model.labels, listing.several)
            console.say(evaluate.summary(name, scored[name].metrics))
        elif name == "val":
            console.say("val: no images, so nothing tells how right the model is; see --val")
    return scored


def _mirrored(model: Classifier, items: Mapping[bytes, ImageView]) -> Tensor:
    """Returns the probabilities of the mirror images, which are not kept."""

    def run(pixels: Tensor) -> Tensor:
        return model.engine(pixels.flip(-1))

    made = extract.activations(list(items.values()), model.preprocessing, run, model.engine.on_cpu)
    return torch.cat([model.score(part) for _, part, _ in made if part is not None])


def _measured(
    done: Sequence[Mapping[str, Any]], progress: stages.RunProgress, took_s: float
) -> dict[str, float]:
    """Returns what the plan estimated, as it came out: passes, a mean epoch, and all together.

    Where a run is gone on with, `total_s` is of this time alone.
    """
    passed = sum(one.get("seconds", 0.0) for one in done)
    epochs = [line["seconds"] for line in progress.history if line["kind"] == "train"]
    return {
        "passes_s": round(passed, 3),
        "epoch_s": round(sum(epochs) / max(len(epochs), 1), 3),
        "total_s": round(took_s, 3),
    }


def _checkpoints(progress: stages.RunProgress) -> dict[str, Any]:
    clock = progress.clock
    return {"written": clock.count, "seconds": round(clock.spent_s, 3)}
