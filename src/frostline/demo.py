"""The whole way on photographs that ship with Frostline: no connection, only what is installed.

A network that has seen ImageNet's photographs learns to tell five kinds of clothes apart, with few
pictures of each, beside a small network that learns from these alone.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from frostline import api
from frostline.activations import engines
from frostline.base import files
from frostline.base.console import QUIET, Console
from frostline.base.errors import RunError
from frostline.model.predict import Prediction
from frostline.networks.builtin_networks import FALLBACK
from frostline.recipe import BackboneChoice, Compute, Data, HeadChoice, Recipe, Stage
from frostline.run.folder import RunFolder

SCRATCH = "timm:test_resnet?pretrained=false"
SCRATCH_PX = 64
SCRATCH_STAGE = Stage(line="pixels", epochs=30, lr=3e-3, suffix_lr=1.0, batch_norm="train")
SECOND_HEAD = "mlp:64"
UNSURE = 0.7
MARK = "demo.json"


@dataclass(frozen=True)
class _Done:
    """A run, and how many seconds it took."""

    run: api.Run
    seconds: float


def run(out: Path | None, seed: int, console: Console) -> Path:
    """Copies photographs, trains on them in three ways, and says what came of it.

    Args:
        out: Where to write: a new or empty folder, or one where this very demo began; None makes
            a temporary folder, which stays.
        seed: Decides new weights and the order of training.
        console: Where words go.

    Returns:
        The folder, with `photos/`, `runs/` and `cache/` in it.

    Raises:
        RunError: Where `out` holds something else.
        DiskError: Where it cannot be written.
    """
    begun = time.perf_counter()
    folder = _claim(out, seed)
    photos = _copy_photos(folder / "photos")
    labels = sorted(path.name for path in (photos / "train").iterdir())
    few, others = _count(photos / "train"), _count(photos / "test")
    kinds = f"{', '.join(labels[:-1])} and {labels[-1]}"
    console.say(f"{few + others} photographs of clothes ({kinds}), copied to {photos}:")
    console.say(f"{few} to learn from, and {others} that other people sent in, to test on\n")

    console.say("1  A network that ImageNet's photographs have taught is cut at its end;")
    console.say(f"   a new last layer learns the {len(labels)} kinds")
    transfer = _train(folder, "transfer", photos, _recipe(FALLBACK, seed))
    _say_score(console, transfer)
    _say_cache(console, transfer)

    console.say("2  The same with another head, of two layers")
    second = _train(folder, "second_head", photos, _recipe(FALLBACK, seed, SECOND_HEAD))
    _say_score(console, second)
    _say_cache(console, second)

    console.say(f"3  For comparison: a small network from scratch, on the same {few} pictures")
    scratch = _train(folder, "scratch", photos, _from_scratch(seed))
    _say_score(console, scratch)

    console.say(
        f"\nOf {others} pictures: {_accuracy(transfer):.1%} right with what ImageNet taught, "
        f"{_accuracy(scratch):.1%} without, {1 / len(labels):.1%} by guessing\n"
    )
    _say_predictions(console, transfer, photos)
    _say_next(console, transfer, photos, time.perf_counter() - begun)
    return folder


def _recipe(backbone: str, seed: int, head: str = "linear") -> Recipe:
    """Trains the head alone: a linear one by logistic regression, others in twenty epochs."""
    return Recipe(
        seed=seed,
        # These are few enough: none is set aside, and nothing is chosen by looking.
        data=Data(val=0.0),
        backbone=BackboneChoice(name=backbone),
        head=HeadChoice(spec=head),
        # So few pictures gain nothing from a GPU, and nothing is worth measuring.
        compute=Compute(device="cpu", precision="fp32", cache="always", engine="eager"),
    )


def _from_scratch(seed: int) -> Recipe:
    """Trains a whole small network, whose weights are random."""
    usual = _recipe(SCRATCH, seed)
    return replace(
        usual,
        backbone=replace(usual.backbone, image_px=SCRATCH_PX),
        head=HeadChoice(start="random"),
        stages=(SCRATCH_STAGE,),
    )


def _train(folder: Path, name: str, pictures: Path, recipe: Recipe) -> _Done:
    begun = time.perf_counter()
    # In one order of sums, so that a seed gives the same however many cores there are.
    with engines.threads(1):
        made = api.train(
            pictures,
            out=folder / "runs" / name,
            recipe=recipe,
            cache_dir=folder / "cache",
            console=QUIET,
        )
    return _Done(made, time.perf_counter() - begun)


def _claim(out: Path | None, seed: int) -> Path:
    """Returns the folder to write in, with a mark that says whose it is."""
    folder = out or Path(tempfile.mkdtemp(prefix="frostline-demo-"))
    mark = folder / MARK
    ours = f'{{"seed": {seed}}}\n'
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not (mark.is_file() and mark.read_text("utf-8") == ours):
        raise RunError(
            f"{folder}: must be new, empty, or where this demo began with the same seed. "
            "Name another folder with --out."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.disk_error(error, folder) from error
    files.write_text(mark, ours)
    return folder


def _copy_photos(folder: Path) -> Path:
    """Writes the photographs as class folders, in `train/` and `test/`."""
    try:
        for place, source in _shipped(resources.files("frostline") / "demo_photos" / "clothing"):
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    except OSError as error:
        raise files.disk_error(error, folder) from error
    return folder


def _shipped(folder: Traversable, place: str = "") -> Iterator[tuple[str, Traversable]]:
    """Yields all files of a folder that ships with Frostline, with their places in it."""
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            yield from _shipped(one, f"{place}{one.name}/")
        else:
            yield f"{place}{one.name}", one


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*.jpg"))


def _accuracy(done: _Done) -> float:
    return float(done.run.metrics["test"]["accuracy"])


def _say_score(console: Console, done: _Done) -> None:
    found: Mapping[str, Any] = done.run.metrics["test"]
    low, high = found["accuracy_ci95"]
    console.say(
        f"   {found['accuracy']:.1%} right on {found['n']} others "
        f"(95 % interval {low:.1%} to {high:.1%}), {done.seconds:.1f} s"
    )


def _say_cache(console: Console, done: _Done) -> None:
    plan = RunFolder(done.run.path).read_plan()
    free = " (so trying another head costs nothing)" if not plan["rows_computed"] else ""
    console.say(
        f"   Below the cut: {plan['rows_computed']} pictures computed, "
        f"{plan['rows_kept']} taken from the cache{free}"
    )


def _say_predictions(console: Console, done: _Done, photos: Path) -> None:
    """Says what the run makes of the first held-out picture of each class, and of its worst."""
    found = [(Path(said.path), said) for said in done.run.predict([photos / "test"])]
    console.say("Pictures it has not seen:")
    shown: set[str] = set()
    for path, said in found:
        if path.parent.name not in shown:
            shown.add(path.parent.name)
            console.say(f"   {path.parent.name}/{path.name}: {_taken_for(said)}")
    wrong = [(path, said) for path, said in found if said.label != path.parent.name]
    if wrong:
        path, said = max(wrong, key=lambda one: one[1].probability)
        console.say(f"Its worst mistake: {path.parent.name}/{path.name}: {_taken_for(said)}.")
        console.say("   Have a look: is it labelled right?")


def _taken_for(said: Prediction) -> str:
    unsure = ", but unsure" if said.probability < UNSURE else ""
    return f"{said.label}{unsure} ({said.probability:.0%})"


def _say_next(console: Console, done: _Done, photos: Path, seconds: float) -> None:
    run_folder = done.run.path
    console.say(f"\nDone in {seconds:.0f} s. Look at {run_folder}/report.html, then try")
    console.say(f"   frostline predict {run_folder} {photos}/test/shoes")
    console.say("   frostline train photos/ --out runs/photos")
