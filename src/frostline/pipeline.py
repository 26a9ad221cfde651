"""Recipe and pictures to a finished run, read top to bottom. This is the only wiring."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frostline import classifier as models
from frostline import engines, evaluate, extract, files, frost, heads, recipe, runfolder
from frostline.backbones import catalog, weights
from frostline.cache.chunks import resident
from frostline.cache.fill import Filled, fill
from frostline.cache.key import Key, row_id
from frostline.classifier import Classifier
from frostline.console import Console
from frostline.data import listing as listings
from frostline.data import split as splits
from frostline.data.listing import Listing, Row
from frostline.data.views import VERSION as VIEWS_VERSION
from frostline.data.views import VIEW_CENTER
from frostline.errors import ListingError, RunError
from frostline.frost import Line
from frostline.recipe import BackboneChoice, Compute, Recipe, Stage
from frostline.runfolder import RunFolder
from frostline.training import loop, parameters, probe, schedules
from frostline.training.loop import Examples, Fetch

# Multiplications in one step of the probe, below which one core does it soonest.
SMALL = 20_000_000
# A cache up to this size is read into memory once, where training and scoring take it from.
RESIDENT_BYTES = 256 << 20
SHOWN = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Source:
    """Where a line's activations come from.

    Attributes:
        fetch: Row ids to activations.
        problems: Path to reason, for images that could not be decoded.
        facts: What was measured and chosen, for `plan.json`.
    """

    fetch: Fetch
    problems: dict[str, str]
    facts: dict[str, Any]


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
    """
    recipe.validate(wanted)
    head = heads.parse(wanted.head.spec, wanted.head.pooling)
    device = engines.pick_device(wanted.compute.device)
    compute = engines.pick_precision(wanted.compute.precision, device)
    wanted = _resolved(wanted, head, device)
    _keep_apart(photos, {"--out": out, "--cache-dir": cache})
    listing = listings.scan(photos, console)
    _refuse_unreadable(listing, wanted.data.strict)
    run = runfolder.claim(out)
    with files.locked(run.lock, str(out)):
        if _is_done(run, wanted, listing, console):
            return run
        # Where a backbone's weights are random, the seed decides them too.
        with _seeded(wanted.seed, device):
            opened = _find_backbone(wanted.backbone)
        _tell_backbone(opened, console)
        line = wanted.stages[0].line if wanted.stages else models.TOP
        assemble = partial(_assemble, opened, head, line, device, compute, wanted.seed)
        model = assemble(listing.labels)
        # Written once all names hold, so a slip of the pen leaves no run behind.
        recipe.write(wanted, run.recipe)
        source = _first_pass(model, listing.usable, wanted.compute.cache, cache, console)
        listing = listing.with_problems(source.problems)
        listing = splits.assign(listing, wanted.data.val, wanted.data.test, wanted.seed)
        listings.write_csv(listing, run.listing)
        _refuse_unreadable(listing, wanted.data.strict)
        _tell_listing(listing, console)
        if tuple(listing.labels) != model.labels:
            model = assemble(listing.labels)
        training = _examples(listing.of("train"), model.labels)
        validation = _examples(listing.of("val"), model.labels)

        history: list[dict[str, Any]] = []
        if wanted.head.start == "probe":
            history.append(_fit_probe(model, source.fetch, training, validation, console))
        for number, stage in enumerate(wanted.stages, start=1):
            if number > 1 and stage.line != wanted.stages[number - 2].line:
                model = models.recut(model, stage.line)
                source = _first_pass(model, listing.usable, wanted.compute.cache, cache, console)
            history += _train_stage(
                model, source.fetch, training, validation, stage, number, wanted.seed, console
            )
        _write_history(run, history)
        frozen = _prove_frozen(model, source)
        files.write_json(run.plan, {**source.facts, "frozen": frozen, "listing": _digest(listing)})

        scored = _score(model, source.fetch, listing, console)
        models.save(model, run.model, {"precision": wanted.compute.precision})
        evaluate.write_predictions(run.predictions, model.labels, scored.values())
        run.write_metrics({name: result.metrics for name, result in scored.items()})
    return run


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
    """Computes the activations of pictures at a line, or takes them from the cache.

    Args:
        choice: The backbone.
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
    listing = _labelled_or_not(photos, console)
    device = engines.pick_device(compute.device)
    opened = _find_backbone(replace(choice, name=choice.name))
    _tell_backbone(opened, console)
    precision = engines.pick_precision(compute.precision, device)
    model = models.as_it_is(opened, line, device, precision)
    source = _first_pass(model, listing.usable, compute.cache, cache, console)
    listing = listing.with_problems(source.problems)
    for words in listings.report_lines(listing):
        console.say(words)
    rows = listing.usable
    if not rows:
        raise ListingError(f"{photos}: none of its images can be read.")
    return source.fetch([row_id(row.digest, VIEW_CENTER) for row in rows]), rows


def _labelled_or_not(photos: Path, console: Console) -> Listing:
    try:
        return listings.scan(photos, console, least_classes=1)
    except ListingError:
        if photos.suffix.lower() == ".csv" or not photos.exists():
            raise
        return listings.scan_files([photos], console)


def _resolved(wanted: Recipe, head: heads.HeadSpec, device: torch.device) -> Recipe:
    """Writes out what the recipe leaves to be chosen."""
    name = wanted.backbone.name or catalog.default_name(device.type)
    start = wanted.head.start
    if start == "auto":
        start = "probe" if head.is_linear else "random"
    stages = wanted.stages
    if start == "random" and not stages:
        stages = (Stage(line=models.TOP, epochs=20, batch_size=64),)
    return replace(
        wanted,
        backbone=replace(wanted.backbone, name=name),
        head=replace(wanted.head, start=start),
        stages=stages,
    )


def _keep_apart(photos: Path, written: Mapping[str, Path]) -> None:
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


def _is_done(run: RunFolder, wanted: Recipe, listing: Listing, console: Console) -> bool:
    """Says whether this very run is finished; an unfinished one is gone on with, aloud.

    Raises:
        RunError: Where the folder holds a finished run of another recipe or of other pictures.
    """
    if not run.is_run():
        return False
    is_same = recipe.read(run.recipe) == wanted
    if not is_same and not run.is_finished():
        console.say(
            f"{run.path}: an unfinished run of another recipe; begun anew with this one. "
            "What the cache holds is not redone"
        )
        return False
    if not is_same:
        raise RunError(
            f"{run.path}: holds a run of another recipe (see its recipe.toml). "
            "Name another folder with --out, or remove this one."
        )
    if not run.is_finished():
        console.say(f"{run.path}: unfinished; going on with it. What the cache holds is not redone")
        return False
    if run.read_plan().get("listing") != _digest(listing):
        raise RunError(
            f"{run.path}: was made from other pictures than these. "
            "Name another folder with --out, or remove this one."
        )
    console.say(f"{run.path}: already finished with this recipe and these pictures")
    return True


def _find_backbone(choice: BackboneChoice) -> catalog.Opened:
    recipe.validate(Recipe(backbone=choice), "recipe")
    opened = catalog.find(
        choice.name,
        weights=Path(choice.weights) if choice.weights else None,
        partial=choice.partial,
    )
    if not choice.image_px:
        return opened
    side_px = choice.image_px
    how = replace(opened.record.preprocessing, height_px=side_px, width_px=side_px)
    return replace(opened, record=replace(opened.record, preprocessing=how))


def _tell_backbone(opened: catalog.Opened, console: Console) -> None:
    record = opened.record
    how = record.preprocessing
    console.say(
        f"backbone {record.name}: {record.architecture}, {how.width_px} × {how.height_px} px, "
        f"{record.parameters / 1e6:.1f} M parameters, licence {record.licence or 'not stated'}"
    )
    if opened.match is not None:
        for line in weights.table(opened.match):
            console.say(f"  {line}")


def _assemble(
    opened: catalog.Opened,
    head: heads.HeadSpec,
    line: str,
    device: torch.device,
    compute: torch.dtype,
    seed: int,
    labels: Sequence[str],
) -> Classifier:
    """Cuts the backbone and puts a new head on it, whose weights the seed decides."""
    with _seeded(seed, device):
        return models.assemble(opened, tuple(labels), head, line, device, compute)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Lets `seed` decide what is drawn in the block; the caller's generator stays as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _first_pass(
    model: Classifier, rows: Iterable[Row], keep: str, cache: Path, console: Console
) -> Source:
    """Sees every image once: its activations are kept, or it is found that it cannot be read."""
    paths = {row_id(row.digest, VIEW_CENTER): row.path for row in rows}
    how, engine, line = model.preprocessing, model.engine, model.line
    console.say(
        f"line {line.name}: {line.share_below:.0%} of the work lies below it; "
        f"{engine.name}, {_size(_row_bytes(model))} an image"
    )
    facts: dict[str, Any] = {
        "line": line.name,
        "share_below": line.share_below,
        "engine": engine.name,
        "row_bytes": _row_bytes(model),
        "prefix": models.prefix_digest(model),
        "views": 1,
        "cache": keep,
    }
    if keep == "never":
        problems = _decode_all(paths, model, console)
        return Source(extract.Live(paths, how, engine, engine.on_cpu).fetch, problems, facts)
    compute = partial(extract.activations, how=how, run=engine, on_cpu=engine.on_cpu)
    filled = fill(cache, cache_key(model), paths, _row_bytes(model), compute, console)
    _tell_cache(filled, console)
    facts |= {
        "rows_kept": filled.kept,
        "rows_computed": filled.computed,
        "first_pass_s": round(filled.seconds, 3),
        "cache_key": filled.store.key,
    }
    fetch: Fetch = filled.store.fetch
    rows_read = len(paths) - len(filled.problems)
    if 0 < rows_read * _row_bytes(model) <= RESIDENT_BYTES:
        fetch = resident(filled.store, paths).fetch
    return Source(fetch, dict(filled.problems), facts)


def cache_key(model: Classifier) -> Key:
    """Returns what the activations of this prefix are kept under."""
    engine, line = model.engine, model.line
    how = model.preprocessing.as_dict()
    if line.name == "pixels":
        # Pixels depend on no network, so all networks of one input size share them.
        how = {key: value for key, value in how.items() if key not in ("mean", "std")}
    return Key(
        architecture="any" if line.name == "pixels" else model.record.architecture,
        line=line.node,
        prefix=models.prefix_digest(model),
        preprocessing=how,
        views=VIEWS_VERSION,
        compute=engine.name,
        storage=str(engine.storage).removeprefix("torch."),
        shape=line.shape,
    )


def _decode_all(paths: dict[bytes, str], model: Classifier, console: Console) -> dict[str, str]:
    wanted = list(paths.values())
    problems: dict[str, str] = {}
    with console.bar(len(wanted), "decoding") as bar:
        for good, _, bad in extract.pixels(wanted, model.preprocessing):
            problems |= {wanted[index]: reason for index, reason in bad.items()}
            bar.advance(len(good) + len(bad))
    return problems


def _tell_cache(filled: Filled, console: Console) -> None:
    rate = f", {filled.computed / filled.seconds:.0f} images/s" if filled.computed else ""
    console.say(
        f"cache: {filled.kept} activations were kept, {filled.computed} computed "
        f"in {filled.seconds:.1f} s{rate}; 1 view of each image (center)"
    )


def _refuse_unreadable(listing: Listing, strict: bool) -> None:
    """Raises `ListingError` where images cannot be read and the recipe is strict."""
    if listing.problems and strict:
        first = listing.problems[0]
        raise ListingError(
            f"{listing.root}: {len(listing.problems)} images cannot be read (--strict), "
            f"the first: {first.path}: {first.problem}."
        )


def _tell_listing(listing: Listing, console: Console) -> None:
    """Says what was found.

    Raises:
        ListingError: Where nothing is left to train on.
    """
    for line in listings.report_lines(listing):
        console.say(line)
    listings.check(listing)
    counts = ", ".join(
        f"{len(listing.of(name))} {name}" for name in ("train", "val", "test") if listing.of(name)
    )
    names = listing.labels
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    console.say(f"images: {counts}; {len(names)} classes: {shown}")


def _examples(rows: Iterable[Row], labels: tuple[str, ...]) -> Examples:
    number = {label: index for index, label in enumerate(labels)}
    chosen = tuple(rows)
    return Examples(
        tuple(row_id(row.digest, VIEW_CENTER) for row in chosen),
        torch.tensor([number[row.label] for row in chosen], dtype=torch.long),
    )


def _fit_probe(
    model: Classifier,
    fetch: Fetch,
    training: Examples,
    validation: Examples,
    console: Console,
) -> dict[str, Any]:
    """Puts a fitted probe in place of the head's last layer."""
    begun = time.perf_counter()
    device = model.engine.device
    head = model.upper.head
    assert isinstance(head, nn.Sequential)
    train = (_features(model, fetch, training, device), training.targets.to(device))
    val = None
    if validation.rows:
        val = (_features(model, fetch, validation, device), validation.targets.to(device))
    is_small = train[0].numel() * len(model.labels) < SMALL
    with engines.threads(1 if is_small else None):
        found = probe.fit(train, val, len(model.labels))
    last = head[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.copy_(found.weight)
        last.bias.copy_(found.bias)
    loss, accuracy = next(row[1:] for row in found.tried if row[0] == found.strength)
    scored_on = "val" if validation.rows else "cv"
    chosen_on = "val" if validation.rows else f"{probe.FOLDS}-fold cross-validation"
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
    pool = model.upper.head[:-1]  # type: ignore[index]
    model.upper.eval()
    loaded = loop.batches(fetch, examples, range(len(examples.rows)), loop.EVAL_BATCH)
    return torch.cat([pool(model.upper.top(x.to(device))) for x, _ in loaded]).clone()


def _train_stage(
    model: Classifier,
    fetch: Fetch,
    training: Examples,
    validation: Examples,
    stage: Stage,
    number: int,
    seed: int,
    console: Console,
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    trained = sum(p.numel() for p in model.upper.parameters())
    console.say(
        f"stage {number}: line {model.line.name}, {trained:,} parameters trained, "
        f"{stage.epochs} epochs, lr {stage.lr:g} (head), {stage.lr * stage.suffix_lr:g} (suffix)"
    )

    def record(line: dict[str, Any]) -> None:
        lines.append({"stage": number, "kind": "train", **line})
        parts = [f"{key} {line[key]:.4f}" for key in SHOWN if key in line]
        console.say(
            f"  epoch {line['epoch']}/{stage.epochs}: {', '.join(parts)}, {line['seconds']:.1f} s"
        )

    groups = parameters.groups(
        model.upper.suffix, model.upper.head, stage.lr, stage.suffix_lr, stage.weight_decay
    )
    only_vectors = len(model.line.shape) == 1
    with engines.threads(1 if only_vectors else None):
        loop.train(
            model.upper,
            parameters.make_optimizer(stage.optimizer, groups),
            partial(schedules.factor, warmup=stage.warmup, schedule=stage.schedule),
            fetch,
            training,
            validation if validation.rows else None,
            epochs=stage.epochs,
            batch_size=stage.batch_size,
            label_smoothing=stage.label_smoothing,
            batch_norm=stage.batch_norm,
            seed=seed + number,
            device=model.engine.device,
            record=record,
        )
    return lines


def _score(
    model: Classifier, fetch: Fetch, listing: Listing, console: Console
) -> dict[str, evaluate.Scored]:
    """Scores val, and test once, from the same activations that training used."""
    scored = {}
    for name in ("val", "test"):
        rows = listing.of(name)
        if rows:
            examples = _examples(rows, model.labels)
            logits = loop.predict(model.upper, fetch, examples, model.engine.device)
            chances = logits.double().softmax(1)
            scored[name] = evaluate.scored(name, rows, chances, model.labels)
            console.say(evaluate.summary(name, scored[name].metrics))
        elif name == "val":
            console.say("val: no images, so nothing tells how right the model is; see --val")
    return scored


def _prove_frozen(model: Classifier, source: Source) -> dict[str, Any]:
    """Says whether the prefix is what it was before training, bit for bit."""
    before, after = source.facts["prefix"], models.prefix_digest(model)
    return {"before": before, "after": after, "unchanged": before == after}


def _write_history(run: RunFolder, history: list[dict[str, Any]]) -> None:
    files.write_text(
        run.history, "".join(json.dumps(line, allow_nan=False) + "\n" for line in history)
    )


def _digest(listing: Listing) -> str:
    rows = sorted((row.digest, row.label, row.path) for row in listing.rows if row.digest)
    named = [[digest, label] for digest, label, _ in rows]
    return files.digest_json(named)


def _row_bytes(model: Classifier) -> int:
    return int(torch.Size(model.line.shape).numel()) * model.engine.storage.itemsize


def _size(count: int) -> str:
    return f"{count / 1024:.1f} KiB"
