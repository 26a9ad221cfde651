"""The whole way on pictures that are there already: no network, only what is installed.

A small network learns scikit-learn's handwritten digits 0 to 4 from scratch. What it learned is
carried over to 5 to 9, with few pictures of each, beside the same network trained on these alone.
"""

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from frostline import api
from frostline.activations import engines
from frostline.base import files
from frostline.base.console import QUIET, Console
from frostline.base.errors import RunError
from frostline.recipe import BackboneChoice, Compute, Data, HeadChoice, Recipe, Stage
from frostline.run.folder import RunFolder

NETWORK = "timm:test_resnet?pretrained=false"
LINE = "layer1"
SECOND_HEAD = "mlp:64"
SIDE_PX = 32
FEW = 10
HELD_OUT = 36
DRAWN = 4
EPOCHS_OLD = 4
EPOCHS_NEW = 40
MARK = "demo.json"


@dataclass(frozen=True)
class _Done:
    """A run, and how many seconds it took."""

    run: api.Run
    seconds: float


def run(out: Path | None, seed: int, console: Console) -> Path:
    """Writes pictures, trains on them in four ways, and says what came of it.

    Args:
        out: Where to write: a new or empty folder, or one where this very demo began; None makes
            a temporary folder, which stays.
        seed: Decides which pictures are few, how they are drawn, and all training.
        console: Where words go.

    Returns:
        The folder, with `digits/`, `runs/` and `cache/` in it.

    Raises:
        RunError: Where `out` holds something else.
        DiskError: Where it cannot be written.
    """
    begun = time.perf_counter()
    folder = _claim(out, seed)
    console.say(f"Handwritten digits from scikit-learn, written to {folder}/digits\n")
    old, new = _write_digits(folder / "digits", seed)

    console.say(
        f"1  A small network learns 0 to 4 from scratch, on {_count(old / 'train')} pictures"
    )
    source = _train(folder, "source", old, _recipe(NETWORK, "pixels", EPOCHS_OLD, seed))
    _say_score(console, source)

    few = _count(new / "train")
    learned = f"dir:{source.run.model}"
    console.say(f"2  It is cut at {LINE!r}; what lies above learns 5 to 9, on {few} pictures")
    transfer = _train(folder, "transfer", new, _recipe(learned, LINE, EPOCHS_NEW, seed))
    _say_score(console, transfer)
    _say_cache(console, transfer)

    console.say("3  The same with another head")
    second = _train(
        folder, "second_head", new, _recipe(learned, LINE, EPOCHS_NEW, seed, SECOND_HEAD)
    )
    _say_score(console, second)
    _say_cache(console, second)

    console.say(f"4  For comparison: 5 to 9 from scratch, on the same {few} pictures")
    scratch = _train(folder, "scratch", new, _recipe(NETWORK, "pixels", EPOCHS_NEW, seed))
    _say_score(console, scratch)

    console.say(
        f"\n5 to 9: {_accuracy(transfer):.1%} right with what 0 to 4 taught, "
        f"{_accuracy(scratch):.1%} without\n"
    )
    _say_predictions(console, transfer, new)
    _say_next(console, transfer, new, time.perf_counter() - begun)
    return folder


def _recipe(backbone: str, line: str, epochs: int, seed: int, head: str = "linear") -> Recipe:
    """Trains all that lies above `line` at one rate; above `pixels`, that is the whole network."""
    stage = Stage(line=line, epochs=epochs, lr=3e-3, suffix_lr=1.0, batch_norm="train")
    start = "random" if line == "pixels" else "auto"
    return Recipe(
        seed=seed,
        # Ten pictures are few enough: none is set aside, and nothing is chosen by looking.
        data=Data(val=0.0),
        backbone=BackboneChoice(name=backbone, image_px=SIDE_PX),
        head=HeadChoice(spec=head, start=start),
        # So small a network gains nothing from a GPU, and nothing is worth measuring.
        compute=Compute(device="cpu", precision="fp32", cache="always", engine="eager"),
        stages=(stage,),
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


def _write_digits(folder: Path, seed: int) -> tuple[Path, Path]:
    """Writes PNG class folders, with train and test: 0 to 4 in `old/`, 5 to 9 in `new/`.

    There is no val: where ten pictures are all there is, nothing may be chosen on hundreds more.
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    for digit in range(10):
        numbers = np.flatnonzero(loaded.target == digit)
        np.random.default_rng((seed, digit)).shuffle(numbers)
        if digit < 5:
            parts = {"old/test": (numbers[:HELD_OUT], 1), "old/train": (numbers[HELD_OUT:], DRAWN)}
        else:
            parts = {"new/train": (numbers[:FEW], 1), "new/test": (numbers[FEW:], 1)}
        for part, (chosen, drawings) in parts.items():
            _write_class(folder / part / str(digit), loaded.images, chosen, drawings, seed)
    return folder / "old", folder / "new"


def _write_class(
    folder: Path, images: np.ndarray, chosen: Iterable[int], drawings: int, seed: int
) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in chosen:
            for drawing in range(drawings):
                rng = np.random.default_rng((seed, int(number), drawing))
                _draw(images[number], rng).save(folder / f"{number:04}-{drawing}.png")
    except OSError as error:
        raise files.disk_error(error, folder) from error


def _draw(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Puts a digit on a grey picture: at some place, in some size, tilted, with noise.

    As they come (8 × 8, upright, centred), ten of each teach any classifier enough, and there
    would be nothing left to transfer.

    Args:
        ink: [8, 8], from 0 to 16.
        rng: Decides everything.
    """
    side_px = int(rng.integers(20, 25))
    left, top = (int(at) for at in rng.integers(0, SIDE_PX - side_px + 1, 2))
    digit = Image.fromarray((ink * 255 / 16).astype(np.uint8))
    picture = Image.new("L", (SIDE_PX, SIDE_PX))
    picture.paste(digit.resize((side_px, side_px), Image.Resampling.BICUBIC), (left, top))
    middle = (left + side_px / 2, top + side_px / 2)
    tilted = picture.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC, center=middle)
    noisy = np.asarray(tilted) + rng.normal(0, 15, (SIDE_PX, SIDE_PX))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*.png"))


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
    console.say(
        f"   Below the cut: {plan['rows_computed']} pictures computed, "
        f"{plan['rows_kept']} taken from the cache"
    )


def _say_predictions(console: Console, done: _Done, new: Path) -> None:
    """Says what the run makes of the first held-out picture of each class."""
    chosen = [min(folder.glob("*.png")) for folder in sorted((new / "test").iterdir())]
    console.say("Pictures it has not seen:")
    for said in done.run.predict(chosen):
        path = Path(said.path)
        console.say(
            f"   {path.parent.name}/{path.name}: {path.parent.name}, "
            f"taken for {said.label} ({said.probability:.0%})"
        )


def _say_next(console: Console, done: _Done, new: Path, seconds: float) -> None:
    run_folder = done.run.path
    console.say(f"\nDone in {seconds:.0f} s. Look at {run_folder}/report.html, then try")
    console.say(f"   frostline predict {run_folder} {new}/test/7")
    console.say("   frostline train photos/ --out runs/photos")
