"""What each command does: arguments into calls, results into words."""

import csv
import io
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from frostline.base.console import Console
from frostline.base.errors import FrostlineError
from frostline.base.paths import cache_folder
from frostline.cli.options import recipe_of


def train(arguments: Namespace) -> int:
    """Trains, and says where the run lies."""
    wanted = recipe_of(arguments)
    from frostline import api
    from frostline.recipe import named

    given = arguments
    console = Console()
    with named(given.recipe):
        run = api.train(
            given.photos, out=given.out, recipe=wanted, cache_dir=given.cache_dir, console=console
        )
    if given.json:
        _print_json(run.metrics)
    console.say(f"run: {given.out} (model/, metrics.json, report.html, curves)")
    console.say(f"next: frostline predict {given.out} PICTURE")
    return 0


def plan(arguments: Namespace) -> int:
    """Measures and says what `train` would choose."""
    wanted = recipe_of(arguments)
    from frostline import pipeline
    from frostline.recipe import named

    given = arguments
    with named(given.recipe):
        found = pipeline.plan(given.photos, wanted, cache_folder(given.cache_dir), Console())
    if arguments.json:
        _print_json(found.facts)
    return 0


def lr_find(arguments: Namespace) -> int:
    """Tries rising rates and says which to take."""
    wanted = recipe_of(arguments)
    from frostline import api
    from frostline.recipe import named

    given = arguments
    with named(given.recipe):
        found = api.lr_find(
            given.photos,
            recipe=wanted,
            out=given.out,
            stage=given.stage,
            start=given.start,
            end=given.end,
            steps=given.steps,
            cache_dir=given.cache_dir,
            console=Console(),
        )
    if given.json:
        _print_json(asdict(found))
    else:
        _print(f"suggested rate of the head: {found.suggestion:.2g} ({found.rule})")
    Console().say(f"{given.out}.png and {given.out}.svg: the losses")
    return 0


def recipe(arguments: Namespace) -> int:
    """Lists, shows or checks recipes."""
    from frostline import recipe as recipes

    if arguments.action == "list":
        known = {name: recipes.load(name) for name in recipes.builtin()}
        if arguments.json:
            _print_json([{"name": name, "about": one.about} for name, one in known.items()])
        else:
            _print_table(["recipe", ""], [[name, one.about] for name, one in known.items()])
        return 0
    found = recipes.load(arguments.name, arguments.set)
    if arguments.action == "show":
        sys.stdout.write(recipes.to_toml(found))
    else:
        lines = ", ".join(stage.line for stage in found.stages)
        stages = f"stages at {lines}" if lines else "no stages: the probe alone"
        _print(f"{arguments.name}: holds; {stages}")
    return 0


def summary(arguments: Namespace) -> int:
    """Prints a network's layers."""
    from frostline.model import summary as summaries

    given = arguments
    found = summaries.of_target(
        given.target,
        line=given.line,
        head=given.head,
        pooling=given.pooling,
        image_px=given.image_px,
        classes=given.classes or 0,
        targets=given.targets,
        on=given.on,
        depth=summaries.ALL if given.all else summaries.BLOCKS,
    )
    if given.json:
        _print_json(summaries.as_json(found))
    else:
        _print("\n".join(summaries.table(found)))
    return 0


def predict(arguments: Namespace) -> int:
    """Prints what pictures show; status 2 where one could not be read."""
    from frostline.model import predict as predicting

    console = Console()
    if arguments.top_k < 1:
        raise FrostlineError(f"--top-k: must be at least 1, not {arguments.top_k}.")
    model = predicting.open_model(
        arguments.model, arguments.device, arguments.precision, arguments.flip
    )
    said = predicting.predict(model, arguments.pictures, arguments.top_k, console)
    show = {"table": _predictions_table, "csv": _predictions_csv, "json": _predictions_json}
    unread = show[arguments.format](said)
    if unread:
        what = "1 picture" if unread == 1 else f"{unread} pictures"
        console.say(f"frostline: {what} could not be read; the reasons stand above")
    return 2 if unread else 0


def evaluate(arguments: Namespace) -> int:
    """Prints the scores of a model on labelled pictures."""
    from frostline.images import listing as listings
    from frostline.model import predict as predicting
    from frostline.scores import evaluation as scoring

    console = Console()
    model = predicting.open_model(
        arguments.model, arguments.device, arguments.precision, arguments.flip
    )
    scored, listing = predicting.evaluate_on(model, arguments.photos, arguments.split, console)
    for line in listings.report_lines(listing):
        console.say(line)
    if arguments.json:
        _print_json({scored.split: scored.metrics})
        return 0
    _print(scoring.summary(scored.split, scored.metrics))
    rows = [
        [name, str(one["n"]), *(_share(one[key]) for key in ("precision", "recall", "f1"))]
        for name, one in scored.metrics["per_class"].items()
    ]
    _print_table(["class", "n", "precision", "recall", "f1"], rows)
    return 0


def lines(arguments: Namespace) -> int:
    """Prints where a network can be cut."""
    from frostline import pipeline
    from frostline.recipe import BackboneChoice

    given = arguments
    choice = BackboneChoice(given.backbone, given.weights, given.partial, given.image_px)
    found = pipeline.lines(choice)
    shown = [line for line in found if given.all or line.block]
    if given.json:
        _print_json([{**asdict(line), "kib_half": line.kib_half} for line in shown])
        return 0
    rows = [
        [
            line.name,
            str(line.index),
            " × ".join(map(str, line.shape)),
            f"{line.kib_half:,.1f}",
            f"{line.params_below:,}",
            f"{line.params_above:,}",
            f"{line.share_below:.1%}",
        ]
        for line in shown
    ]
    _print_table(["line", "index", "shape", "KiB", "params below", "above", "work below"], rows)
    hidden = len(found) - len(shown)
    if hidden:
        _print(f"{hidden} more with --all. KiB: one image's activation in half precision.")
    return 0


def backbones(arguments: Namespace) -> int:
    """Prints pretrained networks."""
    from frostline.base.errors import BackboneError, did_you_mean
    from frostline.networks import catalog

    entries = catalog.search(arguments.pattern)
    if arguments.json:
        _print_json([asdict(entry) for entry in entries])
        return 0
    if not entries:
        known = [entry.name.removeprefix("timm:") for entry in catalog.search()]
        raise BackboneError(
            f"{arguments.pattern}: no pretrained network of that name."
            + did_you_mean(arguments.pattern, known)
        )
    rows = [
        [
            entry.name,
            f"{entry.input_px}",
            f"{entry.classes}",
            entry.licence or "not stated",
            f"default on {entry.default}" if entry.default else "",
        ]
        for entry in entries
    ]
    _print_table(["backbone", "px", "classes", "licence", ""], rows)
    return 0


def weights(arguments: Namespace) -> int:
    """Looks into a weights file."""
    from frostline.cli import weights as command

    return command.run(arguments)


def embed(arguments: Namespace) -> int:
    """Writes activations to a file."""
    from frostline import pipeline
    from frostline.activations import embeddings as embedding
    from frostline.recipe import BackboneChoice, Compute

    given = arguments
    console = Console()
    embedding.writer_for(given.out)
    pipeline.keep_apart(given.photos, {"--out": given.out})
    choice = BackboneChoice(given.backbone, given.weights, given.partial, given.image_px)
    compute = Compute(given.device, given.precision)
    activations, rows = pipeline.embed(
        choice, given.photos, given.line, compute, cache_folder(given.cache_dir), console
    )
    embedding.write(given.out, activations, rows)
    shape = " × ".join(map(str, activations.shape))
    console.say(f"{given.out}: activations {shape} at line {given.line}, with path, label, split")
    return 0


def cache(arguments: Namespace) -> int:
    """Lists, verifies or removes kept activations."""
    from frostline.activations.cache import upkeep

    folder = cache_folder(arguments.cache_dir)
    if arguments.action == "list":
        return _cache_list(upkeep.entries(folder), folder, arguments.json)
    if arguments.action == "verify":
        checked, damaged, leftovers = upkeep.verify(folder, arguments.remove)
        for words in (*damaged, *leftovers):
            _print(words)
        done = "removed" if arguments.remove else "found"
        _print(
            f"{checked} chunks checked, {len(damaged)} damaged and {len(leftovers)} parts {done}"
        )
        return 2 if damaged and not arguments.remove else 0
    if bool(arguments.names) == arguments.all:
        raise FrostlineError("cache remove: name folders as `cache list` shows them, or --all.")
    freed = upkeep.remove(folder, None if arguments.all else arguments.names)
    _print(f"{folder}: {_mib(freed)} freed")
    return 0


def demo(arguments: Namespace) -> int:
    """Runs the whole way on built-in pictures."""
    from frostline import demo as demonstration

    demonstration.run(arguments.out, arguments.seed, Console())
    return 0


def _cache_list(entries: Sequence[Any], folder: Path, as_json: bool) -> int:
    if as_json:
        _print_json([asdict(entry) for entry in entries])
        return 0
    rows = [
        [
            entry.name,
            entry.line,
            entry.compute,
            str(entry.rows),
            str(entry.chunks),
            _mib(entry.bytes),
        ]
        for entry in entries
    ]
    _print_table(["name", "line", "engine", "rows", "chunks", "size"], rows)
    _print(f"{folder}: {_mib(sum(entry.bytes for entry in entries))}")
    return 0


def _predictions_table(said: Iterable[Any]) -> int:
    unread = 0
    for one in said:
        unread += bool(one.problem)
        shown = "  ".join(f"{label} {chance:.1%}" for label, chance in one.top)
        if one.labels != (one.label,) and one.top:
            shown = f"{', '.join(one.labels) or 'none'}  ({shown})"
        _print(f"{one.path}: {shown or 'not read: ' + one.problem}")
    return unread


def _predictions_csv(said: Iterable[Any]) -> int:
    unread = 0
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "rank", "label", "probability", "problem"])
    for one in said:
        unread += bool(one.problem)
        for rank, (label, chance) in enumerate(one.top, start=1):
            table.writerow([one.path, rank, label, f"{chance:.6f}", ""])
        if one.problem:
            table.writerow([one.path, "", "", "", one.problem])
    sys.stdout.write(text.getvalue())
    return unread


def _predictions_json(said: Iterable[Any]) -> int:
    listed = [
        {
            "path": one.path,
            "label": one.label,
            "probability": one.probability,
            "labels": list(one.labels),
            "top": [{"label": label, "probability": chance} for label, chance in one.top],
            "problem": one.problem,
        }
        for one in said
    ]
    _print_json(listed)
    return sum(bool(one["problem"]) for one in listed)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _print_json(value: Any) -> None:
    # ASCII, so that names that are not text survive any terminal or pipe.
    _print(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns; all but the first are aligned right where they are numbers."""
    table = [list(heads), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    numeric = [bool(rows) and all(row[i][:1].isdigit() for row in rows) for i in range(len(heads))]
    for row in table:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ]
        _print("  ".join(cells).rstrip())


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
