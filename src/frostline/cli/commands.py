"""What each command does: arguments into calls, results into words."""

import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from frostline.base.console import Console
from frostline.base.errors import FrostlineError
from frostline.base.paths import cache_folder
from frostline.cli.backbones import backbones
from frostline.cli.looking import draw, lines, look, summary
from frostline.cli.options import recipe_of
from frostline.cli.output import print_json, print_table, print_text
from frostline.cli.predicting import evaluate, predict

__all__ = [
    "backbones",
    "cache",
    "completion",
    "demo",
    "draw",
    "embed",
    "evaluate",
    "lines",
    "look",
    "lr_find",
    "plan",
    "predict",
    "recipe",
    "summary",
    "train",
]


def train(arguments: Namespace) -> int:
    """Trains, and says where the run lies."""
    given = arguments
    console = Console(None if given.quiet else sys.stderr, verbose=given.verbose)
    wanted = recipe_of(given)
    from frostline import api
    from frostline.images.nouns import nouns_of
    from frostline.recipe import naming_file
    from frostline.report import in_words
    from frostline.run.folder import RunFolder

    with naming_file(given.recipe):
        run = api.train(
            given.photos,
            out=given.out,
            recipe=wanted,
            cache_dir=given.cache_dir,
            console=console,
            command=given.typed,
        )
    if given.json:
        print_json(run.metrics)
    elif given.quiet:
        print_text("\n".join(in_words.result(RunFolder(run.path))))
    what = nouns_of(wanted.data.sound).plain.upper()
    console.say(f"Next    frostline predict {shlex.quote(str(run.path))} {what}")
    return 0


def plan(arguments: Namespace) -> int:
    """Measures and says what `train` would choose."""
    wanted = recipe_of(arguments)
    from frostline import pipeline
    from frostline.recipe import naming_file

    given = arguments
    with naming_file(given.recipe):
        found = pipeline.plan(
            given.photos, wanted, cache_folder(given.cache_dir), Console(verbose=True)
        )
    if arguments.json:
        print_json(found.facts)
    return 0


def lr_find(arguments: Namespace) -> int:
    """Tries rising rates and says which to take."""
    wanted = recipe_of(arguments)
    from frostline import api
    from frostline.recipe import naming_file

    given = arguments
    with naming_file(given.recipe):
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
        print_json(asdict(found))
    else:
        print_text(f"suggested rate of the head: {found.suggestion:.2g} ({found.rule})")
    Console().say(f"{given.out}.png and {given.out}.svg: the losses")
    return 0


def recipe(arguments: Namespace) -> int:
    """Lists, shows or checks recipes."""
    from frostline import recipe as recipes

    if arguments.action == "list":
        known = {name: recipes.load(name) for name in recipes.builtin()}
        if arguments.json:
            print_json([{"name": name, "about": one.about} for name, one in known.items()])
        else:
            print_table(["recipe", ""], [[name, one.about] for name, one in known.items()])
        return 0
    found = recipes.load(arguments.name, arguments.set)
    if arguments.action == "show":
        sys.stdout.write(recipes.to_toml(found))
    else:
        lines = ", ".join(stage.line for stage in found.stages)
        stages = f"stages at {lines}" if lines else "no stages: the probe alone"
        print_text(f"{arguments.name}: holds; {stages}")
    return 0


def weights(arguments: Namespace) -> int:
    """Looks into a weights file."""
    from frostline.cli import weights as command

    return command.run(arguments)


def completion(arguments: Namespace) -> int:
    """Prints what a shell needs to complete what is typed."""
    from frostline.cli import completion as command
    from frostline.cli.parser import make_parser

    return command.run(arguments, make_parser())


def embed(arguments: Namespace) -> int:
    """Writes activations to a file."""
    from frostline import pipeline
    from frostline.activations import embeddings
    from frostline.model.targets import name_of
    from frostline.recipe import BackboneChoice, Compute

    given = arguments
    console = Console()
    embeddings.writer_for(given.out)
    pipeline.refuse_paths_inside_images(given.photos, {"--out": given.out})
    name = name_of(given.backbone)
    choice = BackboneChoice(name, given.weights, given.partial, given.image_px)
    compute = Compute(given.device, given.precision)
    lines = given.line or ["pooled"]
    cache = cache_folder(given.cache_dir)
    found = pipeline.embed(
        choice, given.photos, lines, compute, cache, console, given.channels_last
    )
    embeddings.write(given.out, found.lines, found.rows)
    for one in found.lines:
        shape = " × ".join(map(str, (len(found.rows), *one.shape)))
        console.say(f"{given.out}: activations {shape} at line {one.name}")
    return 0


def cache(arguments: Namespace) -> int:
    """Lists, verifies or removes kept activations."""
    from frostline.activations.cache import maintenance

    folder = cache_folder(arguments.cache_dir)
    if arguments.action == "list":
        return _cache_list(maintenance.entries(folder), folder, arguments.json)
    if arguments.action == "verify":
        checked, damaged, leftovers = maintenance.verify(folder, arguments.remove)
        for words in (*damaged, *leftovers):
            print_text(words)
        done = "removed" if arguments.remove else "found"
        print_text(
            f"{checked} chunks checked, {len(damaged)} damaged and {len(leftovers)} parts {done}"
        )
        return 2 if damaged and not arguments.remove else 0
    if bool(arguments.names) == arguments.all:
        raise FrostlineError("cache remove: name folders as `cache list` shows them, or --all.")
    freed = maintenance.remove(folder, None if arguments.all else arguments.names)
    print_text(f"{folder}: {_mib(freed)} freed")
    return 0


def demo(arguments: Namespace) -> int:
    """Runs the whole way on built-in pictures."""
    from frostline import demo as demonstration

    demonstration.run(arguments.out, arguments.seed, Console())
    return 0


def _cache_list(entries: Sequence[Any], folder: Path, as_json: bool) -> int:
    if as_json:
        print_json([asdict(entry) for entry in entries])
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
    print_table(["name", "line", "engine", "rows", "chunks", "size"], rows)
    print_text(f"{folder}: {_mib(sum(entry.bytes for entry in entries))}")
    return 0


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
