"""Refinements of a search: each kind in a whole run, and all kinds of labels."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline import pipeline
from frostline import recipe as recipes
from frostline.base.console import Console
from frostline.base.paths import cache_folder
from frostline.planner import candidates, refinements
from frostline.planner.candidates import Candidate
from frostline.recipe import (
    BackboneChoice,
    Budget,
    Compute,
    Data,
    HeadChoice,
    Recipe,
    Search,
    Stage,
    Views,
)
from frostline.report import build as report
from frostline.run.folder import RunFolder
from frostline.training import scoring
from frostline.training.scoring import Score

NETWORK = BackboneChoice("timm:test_resnet?pretrained=false&num_classes=7", image_px=48)
FP32 = Compute(device="cpu", precision="fp32", cache="always", engine="eager")
STAGE = Stage(line="auto", epochs=2, lr=1e-3, batch_size=16, suffix_lr=1.0, select="end", ema=0.5)
RECIPE = Recipe(
    backbone=NETWORK,
    compute=FP32,
    data=Data(val=0.3),
    # A probe is fitted on other views in a search; a random head is the same in any run.
    head=HeadChoice(start="random"),
    views=Views(preset="light", count=1),
    budget=Budget(time_min=600.0),
    search=Search(enabled=True, folds=1),
    stages=(STAGE,),
)
KINDS: dict[str, Callable[[Candidate], bool]] = {
    "lower line": lambda one: one.line.name in ("conv1", "conv1.3"),
    "epochs": lambda one: one.stage.epochs > STAGE.epochs,
    "views": lambda one: bool(one.views),
    "no views": lambda one: not one.stage.augment,
    "rate": lambda one: one.stage.lr != STAGE.lr,
    "suffix": lambda one: one.stage.suffix_lr != STAGE.suffix_lr and one.line.name != "pixels",
    "mixup": lambda one: one.stage.mixup > 0,
    "smoothing": lambda one: one.stage.label_smoothing > 0,
    "average": lambda one: one.stage.ema == 0,
    "decay": lambda one: one.stage.weight_decay != STAGE.weight_decay,
    "head": lambda one: bool(one.head),
    "pixels": lambda one: one.line.name == "pixels",
}


def write(root: Path, labels: list[str], groups: list[str] | None = None) -> Path:
    """Writes noisy pictures whose tint goes by their label, and a table of them."""
    tints = {label: 110 + 8 * at for at, label in enumerate(sorted(set(labels)))}
    lines = ["path,label,group"]
    root.mkdir(parents=True)
    for number, label in enumerate(labels):
        draw = np.random.default_rng(number)
        pixels = tints[label] + draw.normal(0, 9) + draw.normal(0, 30, (48, 48, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"{number}.png")
        lines.append(f"{number}.png,{label},{groups[number] if groups else ''}")
    (root / "pictures.csv").write_text("\n".join(lines) + "\n")
    return root / "pictures.csv"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("refine") / "set", ["a", "b", "c"] * 14)


@pytest.fixture
def listed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves one candidate in the list, whose half nobody need be compared at."""
    for name in ("_bolder", "_gentler"):
        monkeypatch.setattr(candidates, name, lambda *_: iter(()))
    monkeypatch.setattr(candidates, "FEW_IMAGES", 1)


def run(photos: Path, out: Path, recipe: Recipe, console: Console | None = None) -> RunFolder:
    return pipeline.train(photos, out, recipe, cache_folder(), console or Console(None))


def searched(made: RunFolder) -> dict[str, Any]:
    found = made.read_search()
    assert found is not None
    return found


def weights_of(made: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in made.model.glob("*.safetensors")}


def only(monkeypatch: pytest.MonkeyPatch, kinds: str) -> None:
    """Lets refinements be of these kinds, one after the other, and each of them win."""
    moves, wanted = refinements._moves, kinds.split(", ")

    def few(center: Candidate, *rest: Any) -> Iterator[Candidate]:
        left = [kind for kind in wanted if not KINDS[kind](center)]
        found = (one for one in moves(center, *rest) if left and KINDS[left[0]](one))
        return iter(list(found)[:1])

    monkeypatch.setattr(refinements, "_moves", few)
    monkeypatch.setattr(scoring, "is_beyond_luck", lambda *_: True)
    monkeypatch.setattr(scoring, "is_far_behind", lambda *_: False)


@pytest.mark.usefixtures("listed_alone")
@pytest.mark.parametrize(
    "kinds",
    [
        "rate, suffix, mixup, smoothing, average, decay, epochs",
        "lower line, views",
        "no views, head",
        "head, pixels",
    ],
)
def test_the_recipe_of_every_kind_makes_the_run_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: str
) -> None:
    only(monkeypatch, kinds)
    stream = io.StringIO()
    made = run(photos, tmp_path / "run", RECIPE, Console(stream, verbose=True))
    found, recipe = searched(made), recipes.read(made.recipe)
    first, *others = found["candidates"]
    count = len(kinds.split(", "))
    assert [(one["of"], one["won"]) for one in others] == [(n, True) for n in range(count)]
    assert len({first["name"], *(one["name"] for one in others)}) == count + 1
    assert found["chosen"] == count
    name = others[-1]["name"]
    assert f"({name.partition(', ')[2]})" in stream.getvalue()
    page = report.write(made).read_text("utf-8")
    assert name in page
    assert "better by more than the luck of so many tries" in page
    assert made.read_plan()["frozen"] == {"unchanged": True}
    assert not recipe.search.enabled
    assert recipe.stages[0].line == others[-1]["line"]
    again = run(photos, tmp_path / "again", recipe)
    assert not again.search.exists()
    assert again.read_metrics()["val"] == made.read_metrics()["val"]
    assert weights_of(again) == weights_of(made)


@pytest.mark.usefixtures("listed_alone")
def test_what_took_over_is_what_the_next_ones_change(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wins = iter([False, True, False, True])
    monkeypatch.setattr(scoring, "is_beyond_luck", lambda *_: next(wins))
    monkeypatch.setattr(scoring, "is_far_behind", lambda *_: False)
    recipe = replace(RECIPE, search=Search(True, 5, 1))
    made = run(photos, tmp_path / "run", recipe)
    found = searched(made)
    assert [one.get("of") for one in found["candidates"]] == [None, 0, 0, 2, 2]
    assert [one.get("won") for one in found["candidates"]] == [None, False, True, False, True]
    assert found["chosen"] == 4
    (stage,) = recipes.read(made.recipe).stages
    assert found["candidates"][4]["name"].startswith(f"{stage.line}, rate {stage.lr:g}, ")
    assert not (tmp_path / "run" / "checkpoints" / "candidate-00.safetensors").exists()


@pytest.mark.usefixtures("listed_alone")
def test_what_is_far_behind_at_its_half_is_ended(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frostline.pipeline.search_record import SearchRecord

    monkeypatch.setattr(SearchRecord, "goes_on", lambda *_: False)
    made = run(photos, tmp_path / "run", replace(RECIPE, search=Search(True, 4, 1)))
    first, *others = searched(made)["candidates"]
    assert "final" in first
    assert len(others) == 3
    assert all("half" in one and "final" not in one for one in others)
    assert not any(one["won"] for one in others)


@pytest.mark.usefixtures("listed_alone")
def test_nothing_is_refined_without_a_given_time_nor_where_all_is_right(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(photos, tmp_path / "default", replace(RECIPE, budget=Budget()))
    assert len(searched(made)["candidates"]) == 1
    assert made.read_plan()["search"]["refining"] is None
    monkeypatch.setattr("frostline.pipeline.search.leaves_nothing", lambda *_: True)
    made = run(photos, tmp_path / "solved", RECIPE)
    assert len(searched(made)["candidates"]) == 1
    assert made.read_plan()["search"]["refining"]["most"] == 0


@pytest.mark.usefixtures("listed_alone")
def test_a_refinement_that_diverges_is_told_and_left_out(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = replace(STAGE, optimizer="sgd", warmup=0.0, epochs=6, lr=1e-3)
    monkeypatch.setattr(refinements, "RATE_FACTORS", (1e5,))
    monkeypatch.setattr(refinements, "FEW_IMAGES", 1)
    monkeypatch.setattr(refinements, "FURTHEST", 1e9)
    monkeypatch.setattr(refinements, "LARGEST_RATE", 1e9)
    fixed = ("epochs", "views", "suffix_lr", "head")
    recipe = replace(RECIPE, stages=(stage,), search=Search(True, 3, 1, fixed))
    recipe = replace(recipe, head=HeadChoice(), budget=Budget(time_min=600.0, memory_gib=64.0))
    made = run(photos, tmp_path / "run", recipe)
    found = searched(made)
    diverged = [one for one in found["candidates"][1:] if one.get("failure")]
    assert diverged
    assert "no longer a number" in diverged[0]["failure"]
    assert diverged[0]["won"] is False
    assert made.is_finished()


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize(
    ("labels", "targets", "groups"),
    [
        (["a", "b"] * 15, "binary", None),
        (["a", "b", "a;b"] * 10, "auto", None),
        (["a", "b"] * 15, "auto", [f"day {number // 3}" for number in range(30)]),
    ],
    ids=["binary", "multilabel", "groups"],
)
def test_all_kinds_of_labels_are_refined(
    tmp_path: Path, labels: list[str], targets: str, groups: list[str] | None, folds: int
) -> None:
    photos = write(tmp_path / "set", labels, groups)
    recipe = replace(RECIPE, data=Data(val=0.4, targets=targets), head=HeadChoice())
    recipe = replace(recipe, search=Search(True, 5, folds))
    made = run(photos, tmp_path / "run", recipe)
    found = searched(made)
    refined = [one for one in found["candidates"] if one["when"] == "refining"]
    assert refined
    for one in refined:
        kind = "cross_validated" if folds > 1 else "half"
        assert one[kind]["count"] == (30 if folds > 1 else made.read_metrics()["val"]["n"])
        assert one[kind]["loss_error"] >= 0
    json.dumps(found, allow_nan=False)


@pytest.mark.usefixtures("listed_alone")
def test_a_winner_by_folds_may_have_another_head_and_views(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "views, head")
    asked = replace(RECIPE, search=Search(True, 0, 3))
    made = run(photos, tmp_path / "run", asked)
    recipe = recipes.read(made.recipe)
    assert recipe.head.spec == refinements.MLP
    assert (recipe.views.preset, recipe.views.rotate) == ("standard", 10.0)
    again = run(photos, tmp_path / "again", recipe)
    assert weights_of(again) == weights_of(made)
    # A finished run is known by what was asked for.
    stream = io.StringIO()
    run(photos, tmp_path / "run", asked, Console(stream))
    assert "already finished" in stream.getvalue()


@pytest.mark.usefixtures("listed_alone")
def test_a_run_that_ended_after_its_search_goes_on_with_what_won(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "views, head, pixels")
    want = run(photos, tmp_path / "whole", RECIPE)

    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("frostline.pipeline.run.finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "run", RECIPE)
    made = run(photos, tmp_path / "run", RECIPE)
    assert made.read_metrics() == want.read_metrics()
    assert weights_of(made) == weights_of(want)


def test_where_the_probe_won_it_is_what_refinements_must_beat(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Score, int]] = []

    def noted(score: Score, other: Score, tries: int) -> bool:
        asked.append((other, tries))
        return False

    monkeypatch.setattr(scoring, "best_of", lambda scores: 0)
    monkeypatch.setattr(scoring, "is_beyond_luck", noted)
    monkeypatch.setattr(scoring, "is_far_behind", lambda *_: False)
    recipe = replace(RECIPE, head=HeadChoice(), search=Search(True, 4, 1))
    found = searched(run(photos, tmp_path / "run", recipe))
    assert found["chosen"] == "probe"
    probe = Score(**found["probe"])
    assert asked == [(probe, tries) for tries in range(1, len(asked) + 1)]
    assert asked
