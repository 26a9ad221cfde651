"""A search that is interrupted goes on to the same result, to the last bit."""

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline import pipeline
from frostline.base.console import QUIET
from frostline.base.paths import cache_folder
from frostline.base.signals import Interrupted
from frostline.pipeline import fold_search
from frostline.recipe import BackboneChoice, Budget, Compute, Data, Recipe, Search, Stage, Views
from frostline.run.folder import RunFolder
from frostline.training import checkpoint
from frostline.training.checkpoint import CheckpointClock

RECIPE = Recipe(
    backbone=BackboneChoice("timm:test_resnet?pretrained=false", image_px=48),
    compute=Compute(device="cpu", precision="fp32", cache="always", engine="eager"),
    data=Data(val=0.4),
    views=Views(count=2, flip=True, crop=0.7),
    search=Search(enabled=True, candidates=3, folds=1),
    stages=(
        Stage(
            line="layer3", epochs=4, batch_size=8, lr=0.01, suffix_lr=1.0, ema=0.8, select="last"
        ),
    ),
)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes whose tints overlap, so that the probe does not get them all."""
    root = tmp_path_factory.mktemp("hard")
    for tint, label in enumerate(("a", "b", "c")):
        for number in range(14):
            draw = np.random.default_rng([tint, number])
            pixels = 110 + 12 * tint + draw.normal(0, 14) + draw.normal(0, 30, (48, 48, 3))
            (root / label).mkdir(exist_ok=True)
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def whole(hard: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that nothing interrupted, and its cache."""
    root = tmp_path_factory.mktemp("whole")
    pipeline.train(hard, root / "run", RECIPE, root / "cache", QUIET)
    return root / "run", root / "cache"


@contextlib.contextmanager
def ends_at(number: int) -> Iterator[None]:
    """Ends the run with its checkpoint of that number, from 0; each step leaves one."""
    write, count = checkpoint.write, [0]

    def wrapped(*arguments: Any) -> None:
        write(*arguments)
        count[0] += 1
        if count[0] == number + 1:
            raise Interrupted(signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CheckpointClock, "is_due", lambda self: True)
        patched.setattr(checkpoint, "write", wrapped)
        yield


def facts_of(run: Path) -> dict[str, Any]:
    """Returns what must be the same: scores, history and search, but for seconds."""
    folder = RunFolder(run)
    searched = json.loads(folder.search.read_text())
    for one in searched["candidates"]:
        one.pop("seconds", None)
        one.pop("estimate_s", None)
    history = [{k: v for k, v in one.items() if k != "seconds"} for one in folder.read_history()]
    return {"metrics": folder.read_metrics(), "history": history, "search": searched}


@pytest.mark.parametrize("number", [0, 1, 3, 8, 13, 18, 21])
def test_an_interrupted_search_ends_with_the_same_result(
    hard: Path, whole: tuple[Path, Path], tmp_path: Path, number: int
) -> None:
    run, cache = whole
    with ends_at(number), contextlib.suppress(Interrupted):
        pipeline.train(hard, tmp_path / "run", RECIPE, cache, QUIET)
    assert not RunFolder(tmp_path / "run").is_finished()
    pipeline.train(hard, tmp_path / "run", RECIPE, cache, QUIET)
    assert facts_of(tmp_path / "run") == facts_of(run)
    weights = "model/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (run / weights).read_bytes()
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_the_recipe_of_the_winner_makes_the_run_again_without_a_search(
    hard: Path, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    run, cache = whole
    found = json.loads((run / "search.json").read_text())
    made = RunFolder(run)
    from frostline import recipe as recipes

    wanted = recipes.read(made.recipe)
    assert not wanted.search.enabled
    assert len(wanted.stages) == (0 if found["chosen"] == "probe" else 1)
    pipeline.train(hard, tmp_path / "run", wanted, cache, QUIET)
    again, before = RunFolder(tmp_path / "run").read_metrics(), made.read_metrics()
    assert again["val"]["accuracy"] == pytest.approx(before["val"]["accuracy"], abs=0.07)
    assert not RunFolder(tmp_path / "run").search.exists()


def test_choosing_and_reporting_are_the_same_computation(whole: tuple[Path, Path]) -> None:
    run, _ = whole
    found = json.loads((run / "search.json").read_text())
    chosen = found["chosen"]
    best = found["probe"] if chosen == "probe" else found["candidates"][chosen]["final"]
    val = RunFolder(run).read_metrics()["val"]
    assert val["accuracy"] == best["accuracy"]
    assert val["log_loss"] == pytest.approx(best["loss"], rel=1e-9)


def test_without_validation_images_the_recipe_is_kept(hard: Path, tmp_path: Path) -> None:
    wanted = replace(RECIPE, data=Data(val=0.0))
    run = pipeline.train(hard, tmp_path / "run", wanted, cache_folder(), QUIET)
    assert not run.search.exists()
    assert [one["kind"] for one in run.read_history()].count("train") == 4


# With time for whatever there is to refine, and an end to it by number.
REFINED = replace(
    RECIPE,
    budget=Budget(time_min=600.0),
    search=Search(enabled=True, candidates=6, folds=1),
)


@pytest.fixture(scope="module")
def refined(hard: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with refinements that nothing interrupted, and its cache."""
    root = tmp_path_factory.mktemp("refined")
    pipeline.train(hard, root / "run", REFINED, root / "cache", QUIET)
    return root / "run", root / "cache"


@pytest.mark.parametrize("number", [24, 33, 41, 52])
def test_an_interrupted_refinement_ends_with_the_same_result(
    hard: Path, refined: tuple[Path, Path], tmp_path: Path, number: int
) -> None:
    run, cache = refined
    found = json.loads((run / "search.json").read_text())["candidates"]
    assert [one["when"] for one in found].count("refining") >= 2
    # Both have an interruption behind them: in the list, and in what follows it.
    for at in (number, 9):
        with ends_at(at), contextlib.suppress(Interrupted):
            pipeline.train(hard, tmp_path / "run", REFINED, cache, QUIET)
        assert not RunFolder(tmp_path / "run").is_finished()
    pipeline.train(hard, tmp_path / "run", REFINED, cache, QUIET)
    assert facts_of(tmp_path / "run") == facts_of(run)
    weights = "model/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (run / weights).read_bytes()
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_an_interrupted_refinement_by_folds_ends_with_the_same_result(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = replace(REFINED, search=Search(enabled=True, candidates=4, folds=2))
    pipeline.train(hard, tmp_path / "whole", wanted, cache_folder(), QUIET)
    real, count = fold_search._trained, [0]

    def ends(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise Interrupted(signal.SIGKILL)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(fold_search, "_trained", ends)
        with pytest.raises(Interrupted):
            pipeline.train(hard, tmp_path / "run", wanted, cache_folder(), QUIET)
    pipeline.train(hard, tmp_path / "run", wanted, cache_folder(), QUIET)
    assert facts_of(tmp_path / "run") == facts_of(tmp_path / "whole")
