"""Searches and cross-validation, on a few pictures that are hard to tell apart."""

import csv
import errno
import html
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from frostline import pipeline
from frostline import recipe as recipes
from frostline.base import files
from frostline.base.console import Console
from frostline.base.errors import DiskError, LossError, RecipeError
from frostline.base.paths import cache_folder
from frostline.cli.options import recipe_of
from frostline.cli.parser import make_parser
from frostline.images.listing import Listing, Row
from frostline.pipeline import fit, fold_search, folds, planning
from frostline.pipeline import search as search_module
from frostline.pipeline.search import is_solved
from frostline.pipeline.search_record import FINAL, SearchRecord, Trained
from frostline.planner import candidates
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
from frostline.training.scoring import Score

NETWORK = BackboneChoice("timm:test_resnet?pretrained=false&num_classes=7", image_px=48)
FP32 = Compute(device="cpu", precision="fp32", cache="always", engine="eager")
STAGE = Stage(line="layer3", epochs=2, batch_size=16, suffix_lr=1.0, select="last")
PROBE = Recipe(backbone=NETWORK, compute=FP32, data=Data(val=0.3))
SEARCH = replace(PROBE, search=Search(enabled=True, candidates=2, folds=3), stages=(STAGE,))


def picture(path: Path, tint: float, number: int) -> None:
    """Writes noise about a tint that differs from picture to picture, as the classes' do."""
    chance = np.random.default_rng([number, int(tint)])
    pixels = tint + chance.normal(0, 4) + chance.normal(0, 25, (48, 48, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def hard(tmp_path: Path) -> Path:
    """Twelve pictures each of `dark` and `light`, whose tints overlap."""
    for label, tint in (("dark", 118), ("light", 124)):
        for number in range(12):
            picture(tmp_path / "hard" / label / f"{number:03}.png", tint, number)
    return tmp_path / "hard"


def table(root: Path, labels: Sequence[str], groups: Sequence[str] = ()) -> Path:
    """Writes a picture for each label, and the CSV that names them."""
    tints = {label: 60 + 20 * at for at, label in enumerate(sorted(set(labels)))}
    lines = ["path,label,group"]
    for number, label in enumerate(labels):
        picture(root / f"{number}.png", tints[label], number)
        lines.append(f"{number}.png,{label},{groups[number] if groups else ''}")
    (root / "pictures.csv").write_text("\n".join(lines) + "\n")
    return root / "pictures.csv"


def run(photos: Path, out: Path, recipe: Recipe, console: Console | None = None) -> RunFolder:
    return pipeline.train(photos, out, recipe, cache_folder(), console or Console(None))


def said(photos: Path, out: Path, recipe: Recipe) -> str:
    stream = io.StringIO()
    run(photos, out, recipe, Console(stream, verbose=True))
    return stream.getvalue()


def page_of(made: RunFolder) -> str:
    return report.write(made).read_text("utf-8")


def searched(made: RunFolder) -> dict[str, Any]:
    found = made.read_search()
    assert found is not None
    return found


def test_few_pictures_are_cross_validated_beside_the_held_out_ones(
    hard: Path, tmp_path: Path
) -> None:
    words = said(hard, tmp_path / "run", PROBE)
    found = RunFolder(tmp_path / "run").read_metrics()
    scores = found["cross_validation"]
    assert (scores["of"], scores["folds"], scores["n"]) == ("probe", 10, 24)
    correct = scores["accuracy"] * 24
    assert correct == pytest.approx(round(correct))
    low, high = scores["accuracy_ci95"]
    assert 0 <= low < scores["accuracy"] < high <= 1
    assert 0 <= scores["fold_accuracy_std"] <= 0.6
    # Folds of two or three pictures: their mean is near the whole, and not the same.
    assert scores["fold_accuracy_mean"] == pytest.approx(scores["accuracy"], abs=0.1)
    line = "10-fold cross-validation of the probe over all 24 images of train and val"
    assert f"{line}: {correct:.0f} right, " in words
    page = html.unescape(page_of(RunFolder(tmp_path / "run")))
    assert f"{line}: {correct:.0f} right, " in page
    assert found["val"]["n"] < 24


@pytest.mark.parametrize(
    ("train", "val", "asked", "count"),
    [
        (160, 39, 0, 10),
        (160, 40, 0, 0),
        (400, 39, 0, 10),
        (3000, 39, 0, 0),
        (3000, 39, 7, 7),
        (20, 5, 1, 0),
        (5, 3, 0, 8),
        (1, 0, 0, 0),
    ],
)
def test_few_is_fewer_than_200_or_40_held_out(train: int, val: int, asked: int, count: int) -> None:
    splits = ["train"] * train + ["val"] * val + ["test"] * 50
    rows = [Row(str(n), "a", split, digest=str(n)) for n, split in enumerate(splits)]
    assert folds.fold_count(Listing(tuple(rows)), asked, 10) == count


def test_more_folds_than_groups_are_refused_before_any_pass(tmp_path: Path) -> None:
    photos = table(tmp_path / "set", ["a", "b"] * 6, ["x", "y", "z"] * 4)
    recipe = replace(PROBE, search=Search(folds=4))
    with pytest.raises(RecipeError) as raised:
        run(photos, tmp_path / "run", recipe)
    assert str(raised.value) == (
        "search.folds must be at most the number of groups in train and val, which is 3, not 4."
    )
    assert not (tmp_path / "run" / "recipe.toml").exists()


@pytest.mark.parametrize(
    ("labels", "targets"),
    [
        (["a", "b", "c"] * 6 + ["only"], "auto"),
        (["a", "b"] * 9, "binary"),
        (["a", "b", "a;b"] * 6, "auto"),
    ],
    ids=["a class of one picture", "binary", "multilabel"],
)
def test_all_kinds_of_labels_are_searched_by_cross_validation(
    tmp_path: Path, labels: list[str], targets: str
) -> None:
    photos = table(tmp_path / "set", labels)
    recipe = replace(SEARCH, data=Data(val=0.3, targets=targets))
    recipe = replace(recipe, search=Search(enabled=True, candidates=1, folds=3))
    # With time given, nothing is left out for being right already.
    made = run(photos, tmp_path / "run", replace(recipe, budget=Budget(time_min=5.0)))
    scores, found = made.read_metrics(), searched(made)
    assert scores["cross_validation"]["n"] == len(labels)
    assert scores["cross_validation"]["several"] == any(";" in label for label in labels)
    assert (found["scored_on"], found["folds"]) == ("cross-validation", 3)
    (candidate,) = found["candidates"]
    assert candidate["cross_validated"]["count"] == found["probe"]["count"] == len(labels)
    if "only" in labels:
        # Whoever never saw a class cannot name it.
        assert found["probe"]["accuracy"] < 1
        assert candidate["cross_validated"]["accuracy"] < 1


def test_a_group_stays_in_one_fold_and_intervals_go_by_group(tmp_path: Path) -> None:
    groups = [f"day {number // 3}" for number in range(24)]
    photos = table(tmp_path / "set", ["a", "b"] * 12, groups)
    recipe = replace(SEARCH, budget=Budget(time_min=5.0), data=Data(val=0.3))
    stream = io.StringIO()
    made = run(photos, tmp_path / "run", recipe, Console(stream, verbose=True))
    scores = made.read_metrics()
    assert scores["cross_validation"]["groups"] == 8
    assert scores["val"]["groups"] < 8
    assert f"(95 % interval by {scores['val']['groups']} groups " in stream.getvalue()
    by_fold = {}
    with (tmp_path / "run" / "listing.csv").open() as file:
        rows = [
            Row(r["path"], r["label"], r["split"], r["digest"], group=r["group"])
            for r in csv.DictReader(file)
        ]
    model = type("Model", (), {"labels": ("a", "b"), "targets": "multiclass"})()
    dealt = folds.deal(Listing(tuple(rows)), model, 3, 0)
    for row, fold in zip(dealt.rows, dealt.fold.tolist(), strict=True):
        assert by_fold.setdefault(row.group, fold) == fold
    for number in range(3):
        inside = dealt.listing_without(Listing(tuple(rows)), number)
        held = {row.group for row in inside.of("val")}
        assert held
        assert not held & {row.group for row in inside.of("train")}


def test_candidates_are_compared_by_folds_and_the_winner_is_trained_on_train_alone(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever the candidates come to, the second is to win.
    real, calls = fold_search._trained, []

    def second_wins(*arguments: Any) -> Any:
        calls.append(real(*arguments))
        assert calls[-1].score.count == 24
        score = Score(0.1, len(calls) / 2, 24, 0.1)
        return replace(calls[-1], score=score)

    monkeypatch.setattr(fold_search, "_trained", second_wins)
    made = run(hard, tmp_path / "run", SEARCH)
    found = searched(made)
    assert len(calls) == 2
    assert found["chosen"] == 1
    (stage,) = recipes.read(made.recipe).stages
    assert found["candidates"][1]["name"].startswith(f"layer3, rate {stage.lr:g}, ")
    assert stage.select == "end"
    assert not recipes.read(made.recipe).search.enabled
    (proof,) = made.read_metrics()["stages"]
    assert proof["best_epoch"] == stage.epochs
    # The recipe alone makes the run again.
    again = run(hard, tmp_path / "again", recipes.read(made.recipe))
    assert again.read_metrics()["val"] == made.read_metrics()["val"]
    assert not again.search.exists()


def test_no_fold_is_seen_by_what_it_is_scored_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Labels by chance: whoever saw a picture knows its label, and nobody else can.
    labels = [str(np.random.default_rng(7).integers(0, 2, 60)[number]) for number in range(60)]
    for number in range(60):
        picture(tmp_path / "chance" / labels[number] / f"{number}.png", 120, number)
    monkeypatch.setattr(candidates, "FEW_IMAGES", 1)
    stage = replace(STAGE, lr=1e-3, epochs=8)
    recipe = replace(SEARCH, stages=(stage,), search=Search(True, 1, 4), data=Data(val=0.2))
    found = searched(run(tmp_path / "chance", tmp_path / "run", recipe))
    assert found["probe"]["accuracy"] < 0.75
    assert found["candidates"][0]["cross_validated"]["accuracy"] < 0.75


def test_a_search_that_diverges_everywhere_says_so_and_keeps_the_probe(
    hard: Path, tmp_path: Path
) -> None:
    stage = replace(STAGE, lr=50.0, optimizer="sgd", warmup=0.0, epochs=6)
    for asked, name in ((3, "folds"), (1, "val")):
        recipe = replace(SEARCH, stages=(stage,), search=Search(True, 1, asked))
        words = said(hard, tmp_path / name, recipe)
        made = RunFolder(tmp_path / name)
        found = searched(made)
        assert "no longer a number" in found["candidates"][0]["failure"]
        assert found["chosen"] == "probe"
        assert "the losses of all candidates were no longer numbers, so the probe it is" in words
        assert recipes.read(made.recipe).stages == ()
        # To the digit: what is scored in the end is the probe that won.
        loss = made.read_metrics()["val"]["log_loss"]
        assert loss == pytest.approx(made.read_history()[0]["val_loss"], rel=1e-6)


def test_a_random_head_whose_candidates_diverge_is_no_classifier(
    hard: Path, tmp_path: Path
) -> None:
    stage = replace(STAGE, lr=50.0, optimizer="sgd", warmup=0.0, epochs=6)
    recipe = replace(SEARCH, stages=(stage,), head=HeadChoice("mlp:8"))
    with pytest.raises(LossError, match="no candidate was better than the new head at random"):
        run(hard, tmp_path / "run", recipe)


def test_a_loss_beyond_all_sense_is_divergence_too(tmp_path: Path) -> None:
    record = SearchRecord(RunFolder(tmp_path), [], Score(0.7, 0.5, 100, 0.7))
    record.facts["candidates"] = [{"name": "wild"}, {"name": "bad"}]
    # More are right than by the probe, and their probabilities are worth nothing.
    record.note(0, FINAL, Trained(Score(1e23, 0.6, 100, 5e22), 1.0))
    record.note(1, FINAL, Trained(Score(9.0, 0.4, 100, 3.0), 1.0))
    wild, bad = record.facts["candidates"]
    assert (wild[FINAL], wild["failure"]) == (None, "the log-loss came to 1e+23")
    assert bad[FINAL]["loss"] == 9.0
    assert "failure" not in bad


@pytest.mark.parametrize("helped", [True, False])
def test_candidates_without_varied_views_depend_on_whether_these_helped_the_probe(
    hard: Path, tmp_path: Path, helped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def noted(listed: Sequence[Candidate], is_behind: bool, views_helped: bool) -> list[int]:
        told.append(views_helped)
        return candidates.taking_part(listed, is_behind, views_helped)

    monkeypatch.setattr(search_module, "taking_part", noted)
    monkeypatch.setattr(
        fit, "choose_probe", lambda filled, views: fit.fit_probe(filled, views if helped else ())
    )
    monkeypatch.setattr(fit, "choose_probe_again", lambda filled, views, before: dict(before))
    views = Views(preset="standard", count=2)
    made = run(hard, tmp_path / "run", replace(SEARCH, search=Search(True, 2, 1), views=views))
    assert set(told) == {helped}
    assert (made.read_history()[0]["views"] > 1) == helped


@pytest.mark.parametrize("spec", ["linear", "mlp:8"])
def test_a_second_is_too_short_and_no_error(hard: Path, tmp_path: Path, spec: str) -> None:
    budget, search = Budget(time_min=1 / 60), Search(True, 0, 1)
    recipe = replace(SEARCH, search=search, budget=budget, head=HeadChoice(spec))
    made = run(hard, tmp_path / "run", recipe)
    # A random head must be trained, however little time there is.
    assert len(searched(made)["candidates"]) == (spec != "linear")


def test_a_search_counts_whole_epochs(tmp_path: Path) -> None:
    for changed in ({"steps": 20}, {"stop_after": 2}):
        wanted = replace(SEARCH, stages=(replace(STAGE, **changed),))
        with pytest.raises(RecipeError, match="a search counts whole epochs; --no-search"):
            recipes.validate(wanted)


@pytest.mark.parametrize("asked", [0, 1])
def test_five_seconds_are_enough_for_the_probe_alone(
    hard: Path, tmp_path: Path, asked: int
) -> None:
    recipe = replace(SEARCH, search=Search(True, 0, asked), budget=Budget(time_min=5 / 60))
    words = said(hard, tmp_path / "run", recipe)
    made = RunFolder(tmp_path / "run")
    assert "search: 0 candidates besides the probe" in words
    assert searched(made)["candidates"] == []
    assert searched(made)["chosen"] == "probe"
    assert made.read_metrics()["stages"] == []
    assert made.read_metrics()["val"]["n"] > 0


def test_a_full_disk_in_the_search_loses_the_candidate_under_way_alone(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = run(hard, tmp_path / "whole", SEARCH)
    write, count = files.write_json, [0]

    def full(path: Path, value: Any) -> None:
        count[0] += path.name == "search.json"
        if path.name == "search.json" and count[0] == 2:
            raise DiskError(f"{path}: the disk is full")
        write(path, value)

    real, tried = fold_search._trained, []

    def noted(filled: Any, candidate: Any, *rest: Any) -> Any:
        tried.append(candidate.name)
        return real(filled, candidate, *rest)

    monkeypatch.setattr(fold_search, "_trained", noted)
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_json", full)
        with pytest.raises(DiskError):
            run(hard, tmp_path / "run", SEARCH)
    first, second = tried
    made = run(hard, tmp_path / "run", SEARCH)
    assert tried == [first, second, second]

    def scores(one: RunFolder) -> Any:
        return [row["cross_validated"] for row in searched(one)["candidates"]]

    assert scores(made) == scores(want)
    assert made.read_metrics() == want.read_metrics()


def test_a_full_disk_under_a_candidates_checkpoint_is_gone_on_from(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SEARCH, search=Search(True, 2, 1))
    want = run(hard, tmp_path / "whole", recipe)
    count, save = [0], files.save_tensors

    def full(path: Path, *arguments: Any) -> None:
        count[0] += path.parent.name == "checkpoints"
        # The run's own and that of the first candidate are written.
        if count[0] == 3:
            path.write_bytes(b"a part of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr("frostline.training.checkpoint.save_tensors", full)
        with pytest.raises(DiskError, match="the disk is full"):
            run(hard, tmp_path / "run", recipe)
    made = run(hard, tmp_path / "run", recipe)
    assert made.read_metrics() == want.read_metrics()
    assert (made.model / "model.safetensors").read_bytes() == (
        want.model / "model.safetensors"
    ).read_bytes()


def test_a_run_that_ended_after_the_probe_won_still_has_its_probe(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SEARCH, stages=(replace(STAGE, lr=50.0, optimizer="sgd", epochs=6),))
    want = run(hard, tmp_path / "whole", recipe)
    assert searched(want)["chosen"] == "probe"

    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("frostline.pipeline.run.finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(hard, tmp_path / "run", recipe)
    assert recipes.read(RunFolder(tmp_path / "run").recipe).stages == ()
    made = run(hard, tmp_path / "run", recipe)
    assert made.read_metrics() == want.read_metrics()


def test_seeds_make_the_run_several_times_from_one_cache(hard: Path, tmp_path: Path) -> None:
    # Weights from a file: random ones would be others with each seed.
    torch.manual_seed(1)
    net = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    network = replace(NETWORK, weights=str(tmp_path / "net.safetensors"))
    recipe = replace(PROBE, backbone=network)
    words = said(hard, tmp_path / "run", replace(recipe, seeds=3))
    made = RunFolder(tmp_path / "run")
    found = made.read_metrics()["seeds"]
    assert found["seeds"] == [0, 1, 2]
    each = found["val"]["accuracy"]
    alone = [run(hard, tmp_path / str(n), replace(recipe, seed=n)) for n in range(3)]
    assert each == [one.read_metrics()["val"]["accuracy"] for one in alone]
    # The folder of one seed alone computes nothing that the three did not.
    assert [one.read_plan()["rows_computed"] for one in alone] == [0, 0, 0]
    assert found["val"]["mean"] == pytest.approx(np.mean(each))
    assert found["val"]["std"] == pytest.approx(np.std(each, ddof=1))
    assert made.read_metrics()["val"]["accuracy"] == each[0]
    assert "Seed 2: val accuracy" in words
    assert f"3 seeds: val accuracy {np.mean(each):.4f} on average" in words
    assert not (made.path / "seeds").exists()


def test_the_options_are_keys_of_the_recipe() -> None:
    def typed(*words: str) -> Recipe:
        return recipe_of(make_parser().parse_args(["train", "photos", "--out", "run", *words]))

    assert typed().search.enabled
    assert not typed("--no-search").search.enabled
    chosen = typed("--folds", "5", "--seeds", "3")
    assert (chosen.search.folds, chosen.seeds) == (5, 3)
    planned = make_parser().parse_args(["plan", "photos", "--no-search", "--folds", "1"])
    assert recipe_of(planned).search == Search(enabled=False, folds=1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"search": Search(folds=-1)}, "search.folds must be 0 (where images are few), 1 (none)"),
        ({"seeds": 0}, "seeds must be 1 to 100, with seed + seeds at most 4294967296, not 0."),
        ({"seed": 2**32 - 1, "seeds": 2}, "seeds must be 1 to 100"),
    ],
)
def test_counts_that_cannot_be_are_told(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as raised:
        recipes.validate(replace(PROBE, **changed))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("first_s", "folds", "seconds"),
    [(1.0, 0, 40.0), (10.0, 0, 45.0), (30.0, 0, 72.0), (2.0, 5, 45.0), (4.5, 5, 72.0)],
)
def test_few_pictures_are_searched_shortly_in_each_fold(
    first_s: float, folds: int, seconds: float
) -> None:
    assert planning.least_search_s(first_s, folds) == seconds


def test_cross_validated_candidates_cost_a_training_for_each_fold() -> None:
    one = candidates.Candidate(STAGE, None, 10.0)  # type: ignore[arg-type]
    assert candidates.total_s([one, replace(one, estimate_s=4.0)], folds=5) == 4 * 14.0 + 10.0
    assert candidates.total_s([], folds=5) == 0.0


def test_search_json_holds_what_the_files_page_says(hard: Path, tmp_path: Path) -> None:
    made = run(hard, tmp_path / "run", SEARCH)
    assert json.loads(made.search.read_text()).keys() == {
        *("rule", "scored_on", "folds", "probe", "candidates", "chosen")
    }


@pytest.mark.parametrize(
    ("score", "solved"),
    [
        (Score(0.0, 1.0, 40, 0.001), True),
        (Score(0.0, 1.0, 39, 0.001), False),
        (Score(0.1, 1.0, 40, 0.05), False),
        (Score(0.0, 0.98, 50, 0.001), False),
        (Score(0.1, 0.99, 100, 0.05), True),
    ],
)
def test_a_probe_that_is_sure_of_all_leaves_nothing_to_search(score: Score, solved: bool) -> None:
    filled = SimpleNamespace(planned=SimpleNamespace(recipe=Recipe()))
    assert is_solved(cast(Any, filled), score) is solved
