"""Going on after a signal, a kill or a mistake: to the last bit what was never interrupted."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import make_photos
from frostline import pipeline, recipe
from frostline.activations import sources as passes
from frostline.base import files
from frostline.base import signals as interrupt
from frostline.base.console import QUIET, Console
from frostline.base.errors import DiskError, LossError, RunError, TrainingError
from frostline.base.paths import cache_folder
from frostline.recipe import (
    BackboneChoice,
    Compute,
    Data,
    HeadChoice,
    Predict,
    Recipe,
    Stage,
    Views,
)
from frostline.run.folder import RunFolder
from frostline.training import checkpoint, stages
from frostline.training.checkpoint import CheckpointClock

NAME = "timm:test_resnet?pretrained=false"
NETWORK = BackboneChoice(NAME, image_px=48)
FP32 = Compute(device="cpu", precision="fp32", cache="always", engine="eager")
RANDOM = HeadChoice("mlp:8,dropout=0.3", start="random", init="kaiming")
# Together all that a stage must remember: moments of every optimiser, averages, drawn numbers.
RECIPE = Recipe(
    backbone=NETWORK,
    compute=FP32,
    head=RANDOM,
    data=Data(val=0.3),
    views=Views(count=3, flip=True, crop=0.7, refresh=0.5),
    predict=Predict(flip=True),
    stages=(
        Stage(line="top", epochs=2, batch_size=8, lr=0.01, mixup=0.3, balance="weights"),
        Stage(
            line="layer4",
            epochs=3,
            batch_size=4,
            accumulate=2,
            lr=0.003,
            optimizer="rmsprop",
            ema=0.8,
            clip=1.0,
            noise=0.1,
            balance="sampling",
            schedule="one-cycle",
        ),
        Stage(
            line="layer3",
            steps=5,
            batch_size=8,
            lr=0.01,
            optimizer="sgd",
            batch_norm="train",
            layer_decay=0.5,
            label_smoothing=0.1,
            dropout=0.2,
        ),
    ),
)
# Checkpoints when each step and each epoch leaves one: 6 steps and 2 epochs in the first stage, 9
# and 3 in the second, 5 and 2 in the third, and one at the start of each and at the end.
EVERY = 1 + (6 + 2 + 1) + (9 + 3 + 1) + (5 + 2 + 1)


def run(photos: Path, out: Path, wanted: Recipe = RECIPE, console: Console = QUIET) -> RunFolder:
    return pipeline.train(photos, out, wanted, cache_folder(), console)


def said(photos: Path, out: Path, wanted: Recipe = RECIPE) -> str:
    words = StringIO()
    run(photos, out, wanted, Console(words, verbose=True))
    return words.getvalue()


def history(folder: Path) -> list[dict[str, Any]]:
    lines = RunFolder(folder).read_history()
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_same(one: Path, other: Path) -> None:
    assert history(one) == history(other)
    for name in ("model.safetensors", "head.safetensors", "config.json"):
        a, b = one / "model" / name, other / "model" / name
        assert a.is_file() == b.is_file()
        assert not a.is_file() or a.read_bytes() == b.read_bytes(), name
    for name in ("metrics.json", "predictions.csv", "recipe.toml", "listing.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert not (other / "checkpoints" / "last.safetensors").exists()


@contextlib.contextmanager
def ends_at(number: int, after: bool = True) -> Iterator[None]:
    """Ends the run with its checkpoint of that number, from 0; each step leaves one."""
    save, count = stages.RunProgress.save, [0]

    def wrapped(*arguments: Any) -> None:
        count[0] += 1
        if count[0] == number + 1 and not after:
            raise interrupt.Interrupted(signal.SIGKILL)
        save(*arguments)
        if count[0] == number + 1:
            raise interrupt.Interrupted(signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CheckpointClock, "is_due", lambda self: True)
        patched.setattr(stages.RunProgress, "save", wrapped)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Pictures, a run of `RECIPE` that nothing interrupted, and its cache."""
    root = tmp_path_factory.mktemp("whole")
    photos = make_photos(root / "photos", {"blue": 12, "green": 8, "red": 12})
    pipeline.train(photos, root / "run", RECIPE, root / "cache", QUIET)
    return photos, root / "run", root / "cache"


# To the last bit.


def test_there_are_as_many_checkpoints_as_counted(
    whole: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    photos, want, _ = whole
    with ends_at(10**6):
        made = run(photos, tmp_path / "run")
    assert_same(want, made.path)
    assert made.read_plan()["checkpoints"]["written"] == EVERY


@pytest.mark.parametrize(
    ("number", "after"),
    [(0, True), (4, False), (9, True), (10, False), (15, True), (22, True), (EVERY - 1, False)],
)
def test_a_run_that_ended_anywhere_goes_on_to_the_last_bit(
    whole: tuple[Path, Path, Path], tmp_path: Path, number: int, after: bool
) -> None:
    photos, want, _ = whole
    with ends_at(number, after), pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run")
    assert_same(want, run(photos, tmp_path / "run").path)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(EVERY))
def test_a_run_that_ended_at_any_step_goes_on_to_the_last_bit(
    whole: tuple[Path, Path, Path], tmp_path: Path, number: int
) -> None:
    photos, want, _ = whole
    with ends_at(number), pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run")
    assert_same(want, run(photos, tmp_path / "run").path)


def test_a_run_that_ends_after_every_few_steps_comes_to_its_end(
    whole: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    photos, want, _ = whole
    for _ in range(EVERY):
        with ends_at(9), contextlib.suppress(KeyboardInterrupt):
            run(photos, tmp_path / "run")
            break
    assert_same(want, tmp_path / "run")


@pytest.mark.parametrize(
    ("live", "keep"),
    [({"live": True}, "auto"), ({"live": True}, "never"), ({"count": 2}, "never")],
    ids=["live", "live and all from pixels", "all from pixels"],
)
def test_without_a_cache_too(photos: Path, tmp_path: Path, live: dict[str, Any], keep: str) -> None:
    compute = Compute(device="cpu", precision="fp32", cache=keep, engine="eager")
    wanted = Recipe(
        backbone=NETWORK,
        compute=compute,
        head=RANDOM,
        data=Data(val=0.3),
        views=Views(rotate=20.0, flip=True, **live),
        stages=(
            Stage(line="layer4", epochs=1, batch_size=8, lr=0.01),
            Stage(line="layer3", epochs=2, batch_size=8, lr=0.01),
        ),
    )
    want = run(photos, tmp_path / "want", wanted)
    settled = recipe.read(want.recipe)
    with ends_at(7), pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "run", settled)
    got = run(photos, tmp_path / "run", settled)
    assert history(want.path) == history(got.path)
    tensors = "model.safetensors"
    assert (want.model / tensors).read_bytes() == (got.model / tensors).read_bytes()


def test_an_interrupted_run_leaves_the_caller_s_random_numbers(
    photos: Path, tmp_path: Path
) -> None:
    before = torch.get_rng_state()
    # Who holds the exception holds all that it came through.
    with ends_at(12), pytest.raises(KeyboardInterrupt) as raised:
        run(photos, tmp_path / "run")
    assert raised.value is not None
    assert torch.equal(torch.get_rng_state(), before)


# Moments that have no step.


def ending(*_: object, **__: object) -> None:
    raise interrupt.Interrupted(signal.SIGTERM)


@pytest.mark.parametrize("moment", ["filling", "deriving", "scoring", "saving", "metrics"])
def test_a_kill_between_the_stages_work_loses_nothing(
    whole: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    photos, want, _ = whole
    with monkeypatch.context() as patched:
        if moment == "filling":
            patched.setattr(passes.CachedSource, "_record", ending)
        elif moment == "deriving":
            patched.setattr(passes, "derived", ending)
        elif moment == "scoring":
            patched.setattr(pipeline.finish.evaluation, "scored", ending)
        elif moment == "saving":
            patched.setattr(pipeline.finish.classifiers, "save", ending)
        else:
            patched.setattr(RunFolder, "write_metrics", ending)
        with pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "run")
    words = said(photos, tmp_path / "run")
    assert_same(want, tmp_path / "run")
    assert "unfinished; going on with it. What is kept is not redone" in words
    if moment in ("scoring", "saving", "metrics"):
        assert "stage 1 of 3" not in words


def test_a_signal_after_the_last_step_of_a_stage_loses_no_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = stages._freeze_proof

    def killing(*arguments: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return prove(*arguments)

    monkeypatch.setattr(CheckpointClock, "is_due", lambda self: False)
    with monkeypatch.context() as patched:
        patched.setattr(stages, "_freeze_proof", killing)
        with interrupt.at_once(), pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "run")
    found = checkpoint.read(RunFolder(tmp_path / "run").checkpoint)
    assert found is not None
    assert found.facts["stage"] == 1
    assert len(found.facts["proofs"]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 6, 8, 18])
def test_a_signal_loses_no_step(
    whole: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    step: int,
) -> None:
    photos, want, _ = whole
    done = [0]
    average = stages.loop._average

    def counted(*arguments: Any) -> None:
        average(*arguments)
        done[0] += 1
        if done[0] == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(CheckpointClock, "is_due", lambda self: False)
    with monkeypatch.context() as patched:
        patched.setattr(stages.loop, "_average", counted)
        with interrupt.at_once(), pytest.raises(interrupt.Interrupted) as raised:
            run(photos, tmp_path / "run")
    assert raised.value.number == number
    assert done[0] == step
    found = checkpoint.read(RunFolder(tmp_path / "run").checkpoint)
    assert found is not None
    before = (0, 6, 6 + 9)[found.facts["stage"]]
    assert before + found.facts["state"]["step"] == step
    assert_same(want, run(photos, tmp_path / "run").path)


# The real command.

ARGUMENTS = (
    *("--recipe", "RECIPE", "--backbone", NAME, "--image-px", "48", "--device", "cpu"),
    *("--precision", "fp32", "--engine", "eager", "--cache", "always", "--views", "2", "--json"),
)
TWO_STAGES = """
[head]
start = "random"

[data]
val = 0.3

[views]
preset = "light"

[[stages]]
line = "top"
epochs = 40
batch_size = 4
lr = 0.01

[[stages]]
line = "layer3"
epochs = 12
batch_size = 4
lr = 0.003
"""


@dataclass(frozen=True)
class Command:
    """A two-stage run as it is typed, and what it comes to if nothing interrupts it."""

    photos: Path
    recipe: Path
    want: Path

    def start(self, out: Path, cache: Path) -> subprocess.Popen[str]:
        words = ("train", self.photos, "--out", out, "--cache-dir", cache, *ARGUMENTS)
        typed = [str(self.recipe) if word == "RECIPE" else str(word) for word in words]
        return subprocess.Popen(
            [sys.executable, "-m", "frostline", *typed],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    root = tmp_path_factory.mktemp("command")
    photos = make_photos(root / "photos", {"blue": 12, "green": 12, "red": 12})
    (root / "recipe.toml").write_text(TWO_STAGES)
    made = Command(photos, root / "recipe.toml", root / "run")
    process = made.start(root / "run", root / "cache")
    out, words = process.communicate(timeout=120)
    assert process.returncode == 0, words
    assert json.loads(out) == json.loads((root / "run" / "metrics.json").read_text())
    return made


def wait_for(words: str, process: subprocess.Popen[str]) -> str:
    """Reads what a process says until it says `words`; returns all of it."""
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if words in line:
            return read
    raise AssertionError(f"{words!r} was never said:\n{read}")


MOMENTS = [
    "head: ",
    "cache at layer3",
    "stage 1 of 2",
    "  epoch 7/40",
    "stage 2 of 2",
    "epoch 5/12",
]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_same_command_goes_on_to_the_last_bit(
    command: Command, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    process = command.start(tmp_path / "run", tmp_path / "cache")
    read = wait_for(moment, process)
    process.send_signal(number)
    _, words = process.communicate(timeout=60)
    assert "Traceback" not in words, read + words
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert words.endswith(
            "frostline: interrupted; the same command goes on from what is kept\n"
        )
    process = command.start(tmp_path / "run", tmp_path / "cache")
    out, words = process.communicate(timeout=60)
    assert process.returncode == 0, words
    assert json.loads(out) == json.loads((command.want / "metrics.json").read_text())
    assert_same(command.want, tmp_path / "run")
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_sigterm_ends_with_143_and_loses_no_step(command: Command, tmp_path: Path) -> None:
    process = command.start(tmp_path / "run", tmp_path / "cache")
    wait_for("  epoch 3/12", process)
    process.terminate()
    _, words = process.communicate(timeout=60)
    assert process.returncode == 143
    assert words.count("\n") <= 11, words
    found = checkpoint.read(RunFolder(tmp_path / "run").checkpoint)
    assert found is not None
    assert found.facts["stage"] == 1
    assert len([line for line in found.facts["history"] if line["stage"] == 2]) >= 3
    process = command.start(tmp_path / "run", tmp_path / "cache")
    _, words = process.communicate(timeout=60)
    state = found.facts["state"]
    assert f"goes on in epoch {state['epoch']} after step {state['step']}\n" in words
    assert_same(command.want, tmp_path / "run")


# What changed since.


def interrupted(photos: Path, out: Path, number: int = 4, wanted: Recipe = RECIPE) -> RunFolder:
    with ends_at(number), pytest.raises(KeyboardInterrupt):
        run(photos, out, wanted)
    return RunFolder(out)


def advice(photos: Path) -> str:
    return (
        f" Put back what {photos} and the backbone were, and the same command goes on; or name "
        "another folder with --out (or remove this one) to begin anew."
    )


def change_added(photos: Path) -> None:
    make_photos(photos.parent / "more", {"red": 14})
    for number in (12, 13):
        (photos.parent / "more/red" / f"{number:03}.png").rename(photos / f"red/{number:03}.png")


def change_removed(photos: Path) -> None:
    (photos / "blue" / "003.png").unlink()


def change_relabelled(photos: Path) -> None:
    (photos / "blue" / "003.png").rename(photos / "green" / "from-blue.png")


def change_class(photos: Path) -> None:
    make_photos(photos.parent / "more", {"violet": 5})
    (photos.parent / "more" / "violet").rename(photos / "violet")


def change_all(photos: Path) -> None:
    change_added(photos)
    change_removed(photos)
    (photos / "blue" / "004.png").rename(photos / "green" / "from-blue.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_added, "of the images 2 added"),
        (change_removed, "of the images 1 removed"),
        (change_relabelled, "of the images 1 labelled otherwise"),
        (change_class, "of the images 5 added"),
        (change_all, "of the images 2 added, 1 removed, 1 labelled otherwise"),
    ],
)
def test_other_images_are_told_and_put_back(
    photos: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    made = interrupted(photos, tmp_path / "run")
    kept = made.checkpoint.read_bytes()
    change(photos)
    with pytest.raises(RunError) as raised:
        run(photos, made.path)
    assert str(raised.value) == (
        f"{made.path}: this unfinished run was begun with other input: {words}." + advice(photos)
    )
    assert made.checkpoint.read_bytes() == kept
    for path in photos.rglob("*.png"):
        path.unlink()
    for path in photos.iterdir():
        if not any(one.parent == path for one in before):
            path.rmdir()
    for path, data in before.items():
        path.write_bytes(data)
    assert "goes on in epoch" in said(photos, made.path)


@pytest.mark.parametrize(
    "wanted", [RECIPE, replace(RECIPE, head=HeadChoice())], ids=["random", "probe"]
)
def test_renamed_images_are_the_same_images(photos: Path, tmp_path: Path, wanted: Recipe) -> None:
    want = run(photos, tmp_path / "want", wanted)
    made = interrupted(photos, tmp_path / "run", 4, wanted)
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(path.with_name(f"{(number * 7) % 100:02}-renamed.png"))
    assert "goes on in epoch" in said(photos, made.path, wanted)
    anew = run(photos, tmp_path / "anew", wanted)
    for other in (made, anew):
        assert history(other.path) == history(want.path)
        for name in ("model.safetensors", "head.safetensors"):
            assert (other.model / name).is_file() == (want.model / name).is_file()
        tensors = load_file(want.model / "model.safetensors")
        assert all(
            torch.equal(value, tensors[name])
            for name, value in load_file(other.model / "model.safetensors").items()
        )


@pytest.fixture
def splits(photos: Path, tmp_path: Path) -> Path:
    """The pictures as `train/` and `val/`."""
    for path in sorted(photos.rglob("*.png")):
        split = "val" if int(path.stem) % 3 == 0 else "train"
        place = tmp_path / "splits" / split / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    return tmp_path / "splits"


def test_images_moved_to_another_split_are_told(splits: Path, tmp_path: Path) -> None:
    made = interrupted(splits, tmp_path / "run")
    moves = [("train/blue/001.png", "val"), ("val/blue/003.png", "train")]
    for name, split in moves:
        (splits / name).rename(splits / split / "blue" / Path(name).name)
    with pytest.raises(RunError, match="other input: of the images 2 moved to another split"):
        run(splits, made.path)
    for name, split in moves:
        (splits / split / "blue" / Path(name).name).rename(splits / name)
    assert "goes on in epoch" in said(splits, made.path)
    assert "already finished" in said(splits, made.path)
    (splits / moves[0][0]).rename(splits / "val" / "blue" / "001.png")
    with pytest.raises(RunError, match="was made from other pictures than these"):
        run(splits, made.path)


def test_a_source_with_training_images_alone_goes_on_with_its_split(
    splits: Path, tmp_path: Path
) -> None:
    for folder in (splits / "val").iterdir():
        for path in folder.iterdir():
            path.rename(splits / "train" / folder.name / path.name)
        folder.rmdir()
    (splits / "val").rmdir()
    # Found to be unreadable only by the first pass, which then splits anew.
    (splits / "train" / "blue" / "000.png").write_bytes(
        (splits / "train" / "blue" / "001.png").read_bytes()[:-60]
    )
    want = run(splits, tmp_path / "want")
    made = interrupted(splits, tmp_path / "run")
    assert "goes on in epoch" in said(splits, made.path)
    assert_same(want.path, made.path)
    assert "already finished" in said(splits, made.path)


def test_other_weights_are_told(photos: Path, tmp_path: Path) -> None:
    name = "timm:test_resnet?num_classes=0"
    first = run(photos, tmp_path / "first", replace(RECIPE, stages=RECIPE.stages[:1]))
    weights = tmp_path / "weights.safetensors"
    own = {
        key: value
        for key, value in load_file(first.model / "model.safetensors").items()
        if not key.startswith("fc.")
    }
    save_file(own, weights)
    wanted = replace(RECIPE, backbone=BackboneChoice(name, weights=str(weights), image_px=48))
    made = interrupted(photos, tmp_path / "run", 4, wanted)
    save_file(
        {key: value + 1e-3 if value.ndim == 4 else value for key, value in own.items()}, weights
    )
    with pytest.raises(RunError) as raised:
        run(photos, made.path, wanted)
    assert str(raised.value) == (
        f"{made.path}: this unfinished run was begun with other input: the backbone's weights are "
        "others." + advice(photos)
    )
    save_file(own, weights)
    assert "goes on in epoch" in said(photos, made.path, wanted)


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_another_thread_count_is_said_and_the_run_goes_on(
    photos: Path, tmp_path: Path, threads: int
) -> None:
    torch.set_num_threads(1)
    interrupted(photos, tmp_path / "run")
    torch.set_num_threads(2)
    words = said(photos, tmp_path / "run")
    assert (
        "threads: the checkpoint is of 1, and the run goes on with 2; results agree, but not to "
        "the last bit\n"
    ) in words
    assert RunFolder(tmp_path / "run").is_finished()


@pytest.mark.parametrize("number", [4, 12])
def test_the_same_thread_count_is_not_said_in_any_stage(
    photos: Path, tmp_path: Path, threads: int, number: int
) -> None:
    torch.set_num_threads(2)
    interrupted(photos, tmp_path / "run", number)
    assert "threads:" not in said(photos, tmp_path / "run")


def test_other_ground_is_said_and_the_run_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(photos, tmp_path / "run")
    checkpoint_environment = pipeline.fit.checkpoint_environment

    def elsewhere(model: Any) -> dict[str, str]:
        return {
            **checkpoint_environment(model),
            "device": "cuda",
            "precision": "bf16",
            "engine": "compile",
        }

    with monkeypatch.context() as patched:
        patched.setattr(pipeline.fit, "checkpoint_environment", elsewhere)
        interrupted(photos, tmp_path / "run", 3)
    assert RunFolder(tmp_path / "run").checkpoint.is_file()
    words = said(photos, tmp_path / "run")
    more = "; results agree, but not to the last bit\n"
    assert f"device: the checkpoint is of cuda, and the run goes on with cpu{more}" in words
    assert f"precision: the checkpoint is of bf16, and the run goes on with fp32{more}" in words
    assert f"engine: the checkpoint is of compile, and the run goes on with eager{more}" in words
    assert "threads:" not in words


def test_the_recipe_of_a_run_says_what_it_computed_in_and_the_same_command_goes_on(
    photos: Path, tmp_path: Path
) -> None:
    wanted = replace(RECIPE, compute=replace(FP32, precision="auto"))
    made = interrupted(photos, tmp_path / "run", 4, wanted)
    precision = recipe.read(made.recipe).compute.precision
    assert precision in ("bf16", "fp32")
    assert made.read_plan()["asked"]["compute"]["precision"] == "auto"
    assert "goes on in epoch" in said(photos, made.path, wanted)
    assert "already finished" in said(photos, made.path, wanted)
    assert "already finished" in said(photos, made.path, recipe.read(made.recipe))


def test_what_a_kill_left_in_the_folder_is_removed(photos: Path, tmp_path: Path) -> None:
    made = run(photos, tmp_path / "run")
    parts = [made.path, made.model, made.checkpoint.parent]
    parts = [folder / ".abcd_123.part" for folder in parts]
    for path in (*parts, made.checkpoint, made.path / ".mine.part"):
        path.write_bytes(b"half")
    assert "already finished" in said(photos, made.path)
    assert not any(path.exists() for path in (*parts, made.checkpoint))
    assert (made.path / ".mine.part").exists()


def test_each_epoch_s_examples_are_asked_for_once_and_none_after_the_last(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    run_stage = stages.run_stage

    def noting(task: stages.StageTask, *more: Any) -> None:
        def examples_of(epoch: int) -> Any:
            asked.append((task.number, epoch))
            return task.examples_of(epoch)

        run_stage(replace(task, examples_of=examples_of), *more)

    monkeypatch.setattr(stages, "run_stage", noting)
    # Its last epoch is in the checkpoint, but not its end.
    interrupted(photos, tmp_path / "run", 8)
    assert asked == [(0, 1), (0, 2)]
    run(photos, tmp_path / "run")
    assert asked[2:] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]


def test_a_kill_in_a_long_scoring_loses_the_scoring_alone(
    whole: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, want, _ = whole
    score, count = stages.loop.score, [0]

    def killed(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(CheckpointClock, "is_due", lambda self: False)
    with monkeypatch.context() as patched:
        patched.setattr(stages, "LONG_S", -1.0)
        patched.setattr(stages.loop, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "run")
    found = checkpoint.read(RunFolder(tmp_path / "run").checkpoint)
    assert found is not None
    assert found.facts["state"]["step"] == 6
    assert_same(want, run(photos, tmp_path / "run").path)


def test_a_full_disk_while_checkpointing_leaves_the_one_before(
    whole: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, want, _ = whole
    count, save = [0], files.save_tensors

    def full(path: Path, *arguments: Any) -> None:
        count[0] += path.parent.name == "checkpoints"
        if count[0] > 12:
            path.write_bytes(b"a part of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, *arguments)

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(CheckpointClock, "is_due", lambda self: True)
        patched.setattr(checkpoint, "save_tensors", full)
        with pytest.raises(DiskError) as raised:
            run(photos, out)
    assert str(raised.value) == (
        f"{RunFolder(out).checkpoint}: the disk is full; what was finished before is kept. Make "
        "room, or name another place, and run the same command again."
    )
    assert [path.name for path in RunFolder(out).checkpoint.parent.iterdir()] == [
        "last.safetensors"
    ]
    words = said(photos, out)
    assert "stage 1 of 3" not in words
    assert "goes on in epoch 1 after step 2\n" in words
    assert_same(want, out)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_is_told_and_once_removed_training_begins_anew(
    whole: tuple[Path, Path, Path], tmp_path: Path, damage: str
) -> None:
    photos, want, _ = whole
    made = interrupted(photos, tmp_path / "run")
    data = bytearray(made.checkpoint.read_bytes())
    data[-9] ^= 1
    made.checkpoint.write_bytes(
        {"cut": data[:-100], "flipped": data, "empty": b"", "text": b"no checkpoint"}[damage]
    )
    with pytest.raises(RunError) as raised:
        run(photos, made.path)
    assert str(raised.value).startswith(f"{made.checkpoint}: ")
    assert str(raised.value).endswith(" Remove it, and the run begins its training anew.")
    made.checkpoint.unlink()
    run(photos, made.path)
    assert_same(want, made.path)


# A tracker that fails.


class Failing:
    """A tracker whose server is gone the third time."""

    def __init__(self) -> None:
        self.count = 0

    def scalars(self, values: Any, step: int) -> None:
        self.count += 1
        if self.count == 3:
            raise TrainingError("watch: mlflow failed: no server.")

    def histograms(self, tensors: Any, step: int) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_tracker_that_fails_costs_no_training(
    whole: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, want, _ = whole
    with monkeypatch.context() as patched:
        patched.setattr(pipeline.fit.trackers, "open_trackers", lambda *_, **__: Failing())
        with pytest.raises(TrainingError) as raised:
            run(photos, tmp_path / "run")
    assert str(raised.value) == "watch: mlflow failed: no server."
    found = checkpoint.read(RunFolder(tmp_path / "run").checkpoint)
    assert found is not None
    assert (found.facts["stage"], found.facts["state"]["epoch"]) == (1, 2)
    assert len(found.facts["history"]) == 3
    assert "goes on in epoch 2 after step 3\n" in said(photos, tmp_path / "run")
    assert_same(want, tmp_path / "run")


# A loss that is no number.


def test_activations_that_are_no_numbers_before_the_first_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = replace(RECIPE, compute=replace(FP32, precision="bf16"))
    score = stages.loop.score
    with monkeypatch.context() as patched:
        patched.setattr(
            stages.loop, "score", lambda *arguments: replace(score(*arguments), loss=float("nan"))
        )
        with pytest.raises(LossError) as raised:
            run(photos, tmp_path / "run", wanted)
    assert str(raised.value) == (
        "stages.0: the loss on validation is no number before the first step: the activations of "
        "the network itself are too large. Try --precision fp32 with another --out."
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_probe_on_activations_that_are_no_numbers(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    features = pipeline.head_probe.features

    def broken(*arguments: Any) -> torch.Tensor:
        made = features(*arguments).clone()
        made[-1, 0] = value
        return made

    monkeypatch.setattr(pipeline.head_probe, "features", broken)
    with pytest.raises(TrainingError) as raised:
        run(photos, tmp_path / "run", replace(RECIPE, head=HeadChoice()))
    assert str(raised.value) == (
        "the probe: activations at the head are no numbers, or too large to be any. Try "
        "--precision fp32, or another --backbone."
    )


def explosive(**changed: Any) -> Recipe:
    stage = Stage(line="layer3", epochs=2, batch_size=8, lr=90.0, suffix_lr=10.0, optimizer="sgd")
    first = replace(RECIPE.stages[0], epochs=3)
    return replace(RECIPE, stages=(first, replace(stage, **{"schedule": "constant", **changed})))


def test_a_loss_that_is_no_number_stops_at_once_and_keeps_the_best_state(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(TrainingError) as raised:
        run(photos, out, explosive())
    found = re.fullmatch(
        r"stages\.1: the loss is no longer a number in epoch [12], step (\d+); the state of before "
        r"this stage is kept\. Try a learning rate ten times smaller or clip = 1\.0, with which "
        r"the same command goes on from there\.",
        str(raised.value),
    )
    assert found, str(raised.value)
    kept = checkpoint.read(RunFolder(out).checkpoint)
    assert kept is not None
    assert kept.facts["stage"] == 1
    assert "state" not in kept.facts
    assert all(bool(value.isfinite().all()) for value in kept.tensors.values())
    with pytest.raises(TrainingError):
        run(photos, out, explosive())


def test_a_smaller_rate_goes_on_from_there_and_may_be_interrupted_itself(
    photos: Path, tmp_path: Path
) -> None:
    out, calm = tmp_path / "run", explosive(lr=0.01, suffix_lr=0.1)
    want = run(photos, tmp_path / "want", calm)
    with pytest.raises(TrainingError):
        run(photos, out, explosive())
    words = StringIO()
    with ends_at(4), pytest.raises(KeyboardInterrupt):
        run(photos, out, calm, Console(words, verbose=True))
    assert f"{out}: unfinished; going on with it from stages.1, changed as asked\n" in (
        words.getvalue()
    )
    assert "stage 1 of 2" not in words.getvalue()
    again = said(photos, out, calm)
    assert "begun anew" not in again
    assert "goes on in epoch" in again
    assert recipe.read(RunFolder(out).recipe) == recipe.read(want.recipe)
    assert "already finished" in said(photos, out, calm)
    trained = [line for line in history(out) if line["stage"] == 2]
    assert trained[-2:] == [line for line in history(want.path) if line["stage"] == 2]


def test_another_recipe_does_not_throw_a_checkpoint_away(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    interrupted(photos, out)
    before = RunFolder(out).checkpoint.read_bytes()
    with pytest.raises(RunError) as raised:
        run(photos, out, replace(RECIPE, seed=3))
    assert re.fullmatch(
        rf"{out}: holds an unfinished run of another recipe \(seed: 0 and 3\), with a checkpoint "
        r"in stages\.\d\. The command that began it goes on with it; name another folder with "
        r"--out, or remove this one, to begin anew\.",
        str(raised.value),
    )
    assert RunFolder(out).checkpoint.read_bytes() == before


def test_another_number_of_stages_after_a_loss_that_is_no_number(
    photos: Path, tmp_path: Path
) -> None:
    calm = explosive(lr=0.01, suffix_lr=0.1).stages
    for name, changed in {"more": (*calm, Stage(line="auto", epochs=1)), "fewer": calm[:1]}.items():
        with pytest.raises(TrainingError):
            run(photos, tmp_path / name, explosive())
        other = replace(explosive(), stages=changed)
        if name == "fewer":
            with pytest.raises(RunError, match="holds an unfinished run of another recipe"):
                run(photos, tmp_path / name, other)
            continue
        words = said(photos, tmp_path / name, other)
        assert "going on with it from stages.1, changed as asked\n" in words
        assert "stage 1 of" not in words
        made = RunFolder(tmp_path / name)
        assert len(made.read_metrics()["stages"]) == len(changed)
        assert all(stage.line != "auto" for stage in recipe.read(made.recipe).stages)
