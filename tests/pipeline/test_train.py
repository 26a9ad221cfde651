"""The whole way, on small pictures and a small network with random weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from conftest import make_photos
from frostline import api, pipeline
from frostline import recipe as recipes
from frostline.base.console import QUIET
from frostline.base.errors import (
    BackboneError,
    DiskError,
    LineError,
    ListingError,
    RecipeError,
    RunError,
)
from frostline.base.paths import cache_folder
from frostline.model import predict
from frostline.recipe import BackboneChoice, Compute, Data, HeadChoice, Recipe, Stage
from frostline.run.folder import RunFolder

NETWORK = BackboneChoice("timm:test_resnet?pretrained=false&num_classes=7", image_px=48)
FP32 = Compute(device="cpu", precision="fp32", cache="always", engine="eager")
PROBE = Recipe(backbone=NETWORK, compute=FP32, data=Data(val=0.3))


def run(photos: Path, out: Path, recipe: Recipe = PROBE) -> RunFolder:
    return pipeline.train(photos, out, recipe, cache_folder(), QUIET)


def stage(**changed: object) -> tuple[Stage, ...]:
    return (Stage(**{"line": "layer3", "epochs": 2, "batch_size": 8, **changed}),)


def test_a_run_holds_what_the_design_says(photos: Path, tmp_path: Path) -> None:
    made = run(photos, tmp_path / "run")
    there = {path.name for path in made.path.iterdir()}
    assert there >= {"recipe.toml", "listing.csv", "plan.json", "history.jsonl", "metrics.json"}
    scores = made.read_metrics()["val"]
    assert list(scores) == [
        "n",
        "accuracy",
        "accuracy_ci95",
        "log_loss",
        "macro_f1",
        "per_class",
        "confusion",
        "labels",
    ]
    assert scores["labels"] == ["blue", "green", "red"]
    assert sum(map(sum, scores["confusion"])) == scores["n"]
    assert scores["accuracy"] > 0.5
    assert made.read_plan()["frozen"]["unchanged"]


def test_the_model_folder_is_timms_with_equal_logits(photos: Path, tmp_path: Path) -> None:
    made = run(photos, tmp_path / "run")
    model = predict.open_model(str(made.path), "cpu")
    net = timm.create_model(f"local-dir:{made.model}", pretrained=True).eval()
    assert net.pretrained_cfg["label_names"] == ["blue", "green", "red"]
    x = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(model.module(x), net(x), rtol=0, atol=0)
        torch.testing.assert_close(
            model.trainable(model.prefix(x)),
            net(x),
            rtol=1e-5,
            atol=1e-5 * net(x).abs().max().item(),
        )


@pytest.mark.parametrize(
    "recipe",
    [
        PROBE,
        Recipe(backbone=NETWORK, compute=FP32, data=Data(val=0.3), stages=stage()),
        Recipe(
            backbone=NETWORK,
            compute=FP32,
            data=Data(val=0.3),
            head=HeadChoice("mlp:16,dropout=0.5", "max"),
            stages=stage(optimizer="sgd"),
        ),
        Recipe(
            backbone=NETWORK,
            compute=FP32,
            data=Data(val=0.3),
            stages=stage(line="pixels", epochs=1),
        ),
    ],
    ids=["probe", "suffix", "mlp on max", "pixels"],
)
def test_evaluate_gives_the_numbers_of_training(
    photos: Path, tmp_path: Path, recipe: Recipe
) -> None:
    made = run(photos, tmp_path / "run", recipe)
    want = made.read_metrics()["val"]
    model = predict.open_model(str(made.path), "cpu")
    rows = [line.split(",") for line in made.predictions.read_text().splitlines()[1:]]
    said = list(predict.predict(model, [Path(row[1]) for row in rows], 3, QUIET))
    assert [one.label for one in said] == [row[3] for row in rows]
    right = sum(one.label == row[2] for one, row in zip(said, rows, strict=True))
    assert right / len(rows) == pytest.approx(want["accuracy"])
    for one, row in zip(said, rows, strict=True):
        listed = dict(zip(want["labels"], map(float, row[4:]), strict=True))
        for label, chance in one.top:
            assert chance == pytest.approx(listed[label], rel=2e-3, abs=1e-4)


def test_two_stages_move_the_line_down_and_what_lies_below_stays(
    photos: Path, tmp_path: Path
) -> None:
    stages = (*stage(line="layer4"), *stage(line="layer3", lr=1e-2))
    made = run(photos, tmp_path / "run", Recipe(backbone=NETWORK, compute=FP32, stages=stages))
    kinds = [(line["stage"], line["kind"]) for line in made.read_history()]
    assert kinds == [(0, "probe"), (1, "train"), (1, "train"), (2, "train"), (2, "train")]
    plan = made.read_plan()
    assert plan["line"] == "layer3"
    assert plan["frozen"]["unchanged"]


# A probe is fitted on activations that were derived from kept ones, rounded as those are kept.
@pytest.mark.parametrize(("start", "within"), [("random", 1e-5), ("probe", 1e-2)])
def test_cached_training_is_live_training(
    photos: Path, tmp_path: Path, start: str, within: float
) -> None:
    curves = []
    for keep in ("always", "never"):
        recipe = Recipe(
            backbone=NETWORK,
            compute=replace(FP32, cache=keep),
            data=Data(val=0.3),
            head=HeadChoice(start=start),
            stages=stage(epochs=3),
        )
        made = run(photos, tmp_path / keep, recipe)
        curves.append([line.get("train_loss", 0.0) for line in made.read_history()])
    # Losses of a hundred-thousandth are all rounding.
    assert curves[0] == pytest.approx(curves[1], rel=within, abs=1e-6)
    assert len(curves[0]) == 3 + (start == "probe")


def test_the_probe_of_a_network_trained_from_pixels_fits_it(photos: Path, tmp_path: Path) -> None:
    # What was derived from pixels once went without being normalised, and bf16 took what fp32 kept.
    keys = set()
    for precision in ("fp32", "bf16"):
        compute = replace(FP32, precision=precision)
        stages = stage(line="pixels", epochs=1)
        made = run(photos, tmp_path / precision, replace(PROBE, compute=compute, stages=stages))
        (proof,) = made.read_metrics()["stages"]
        assert proof["val_accuracy_before"] == made.read_history()[0]["val_accuracy"]
        keys |= {source["cache_key"] for source in made.read_plan()["passes"]}
    # Pixels are the same for both; activations at the top are not.
    assert len(keys) == 3


def test_ten_more_pictures_compute_ten(photos: Path, tmp_path: Path) -> None:
    assert run(photos, tmp_path / "one").read_plan()["rows_computed"] == 36
    make_photos(tmp_path / "more", {"red": 22})
    for number in range(12, 22):
        (tmp_path / "more" / "red" / f"{number:03}.png").rename(photos / "red" / f"{number:03}.png")
    plan = run(photos, tmp_path / "two").read_plan()
    assert (plan["rows_kept"], plan["rows_computed"]) == (36, 10)


def test_other_weights_or_another_size_reuse_nothing(photos: Path, tmp_path: Path) -> None:
    keys = set()
    for number, (seed, side_px) in enumerate([(0, 48), (1, 48), (0, 64)]):
        network = BackboneChoice(NETWORK.name, image_px=side_px)
        recipe = Recipe(seed=seed, backbone=network, compute=FP32)
        plan = run(photos, tmp_path / str(number), recipe).read_plan()
        assert plan["rows_kept"] == 0
        (source,) = plan["passes"]
        keys.add(source["cache_key"])
    assert len(keys) == 3


def test_renaming_relabelling_and_resplitting_compute_nothing(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "one")
    for path in list((photos / "red").iterdir())[:4]:
        path.rename(photos / "blue" / f"was-{path.name}")
    recipe = Recipe(backbone=NETWORK, compute=FP32, data=Data(val=0.5), seed=0)
    assert run(photos, tmp_path / "two", recipe).read_plan()["rows_computed"] == 0


def test_a_run_is_the_backbone_of_the_next_and_shares_its_cache(
    photos: Path, tmp_path: Path
) -> None:
    first = run(photos, tmp_path / "one")
    again = BackboneChoice(f"dir:{first.model}")
    made = run(photos, tmp_path / "two", Recipe(backbone=again, compute=FP32, data=Data(val=0.3)))
    assert made.read_plan()["rows_computed"] == 0
    assert made.read_metrics()["val"]["n"] == first.read_metrics()["val"]["n"]


def test_an_unreadable_picture_is_left_out_and_listed(photos: Path, tmp_path: Path) -> None:
    bad = photos / "red" / "000.png"
    bad.write_bytes(bad.read_bytes()[:700])
    made = run(photos, tmp_path / "run")
    listed = [line for line in made.listing.read_text().splitlines() if "000.png" in line]
    assert any("truncated" in line for line in listed)
    strict = Recipe(backbone=NETWORK, compute=FP32, data=Data(strict=True))
    with pytest.raises(
        ListingError, match=r"1 image cannot be read \(--strict\), the first: .*000"
    ):
        run(photos, tmp_path / "strict", strict)


def test_a_class_whose_every_picture_is_unreadable_is_no_class(
    photos: Path, tmp_path: Path
) -> None:
    for path in (photos / "red").iterdir():
        path.write_bytes(path.read_bytes()[:700])
    made = run(photos, tmp_path / "run")
    assert made.read_metrics()["val"]["labels"] == ["blue", "green"]


def test_a_test_split_is_scored_once_and_apart(photos: Path, tmp_path: Path) -> None:
    recipe = Recipe(backbone=NETWORK, compute=FP32, data=Data(val=0.25, test=0.25))
    scores = run(photos, tmp_path / "run", recipe).read_metrics()
    assert set(scores) == {"val", "test", "stages", "cross_validation"}
    assert scores["stages"] == []
    assert 3 <= scores["test"]["n"] <= 18


def test_a_finished_run_is_not_done_again_nor_mixed_with_another(
    photos: Path, tmp_path: Path
) -> None:
    made = run(photos, tmp_path / "run")
    stamp = made.metrics.stat().st_mtime_ns
    assert run(photos, tmp_path / "run").metrics.stat().st_mtime_ns == stamp
    with pytest.raises(RunError, match="another recipe"):
        run(photos, tmp_path / "run", Recipe(backbone=NETWORK, compute=FP32, seed=5))
    (photos / "red" / "000.png").unlink()
    with pytest.raises(RunError, match="other pictures"):
        run(photos, tmp_path / "run")


def test_an_unfinished_run_goes_on(photos: Path, tmp_path: Path) -> None:
    made = run(photos, tmp_path / "run")
    before = json.loads(made.metrics.read_text())
    made.metrics.unlink()
    assert run(photos, tmp_path / "run").read_metrics() == before


def test_a_stage_that_is_added_to_an_unfinished_run_is_carried_out(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(PROBE, stages=stage(line="layer4"))
    two = replace(PROBE, stages=(*one.stages, *stage(line="auto")))

    def stopped(*_: object) -> None:
        raise DiskError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("frostline.model.classifier.save", stopped)
        for recipe in (one, two):
            with pytest.raises(DiskError, match="stopped"):
                run(photos, tmp_path / "run", recipe)
    made = run(photos, tmp_path / "run", two)
    assert [(line["stage"], line.get("epoch")) for line in made.read_history()] == [
        *((0, None), (1, 1), (1, 2)),
        *((2, 1), (2, 2)),
    ]
    assert len(made.read_metrics()["stages"]) == 2
    assert run(photos, tmp_path / "run", two).read_metrics() == made.read_metrics()


def test_a_line_above_the_head_is_refused(photos: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        backbone=NETWORK, compute=FP32, head=HeadChoice(pooling="max"), stages=stage(line="pooled")
    )
    with pytest.raises(LineError, match="'pooled': lies above 'layer4'"):
        run(photos, tmp_path / "run", recipe)


def test_the_python_way(photos: Path, tmp_path: Path) -> None:
    made = api.train(photos, out=tmp_path / "run", recipe=PROBE, console=QUIET)
    assert made.metrics["val"]["n"] > 0
    said = made.predict([photos / "red" / "000.png", photos / "blue"], top_k=2)
    assert len(said) == 13
    assert len(said[0].top) == 2
    assert said[0].probability >= said[0].top[1][1]
    assert (made.path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert api.open_run(made.path) == made
    card = (made.model / "README.md").read_text()
    assert "Tells 3 classes apart: blue, green, red." in card
    assert f"| val | {made.metrics['val']['n']} |" in card


def test_a_recipe_may_be_a_path_and_settings_go_with_it(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(recipes.to_toml(PROBE))
    planned = api.plan(photos, recipe=path, settings=["seed=3"], console=QUIET)
    assert planned.recipe.seed == 3
    assert planned.facts["line"] == "pooled"
    made = api.train(photos, out=tmp_path / "run", recipe=path, settings=["seed=3"], console=QUIET)
    assert recipes.read(made.path / "recipe.toml") == planned.recipe
    with pytest.raises(RecipeError, match=r"^backbone: goes with a recipe by name"):
        api.plan(photos, recipe=PROBE, backbone="timm:resnet50")
    with pytest.raises(RecipeError, match="lr-find: the recipe has no stages"):
        api.lr_find(photos, recipe=path, settings=["seed=3"], console=QUIET)


def test_activations_in_python(photos: Path) -> None:
    name = "timm:test_resnet?pretrained=false"
    torch.manual_seed(0)
    values, rows = api.activations(photos, backbone=name, line="layer3", console=QUIET)
    assert len(values) == len(rows) == 36
    assert {row.label for row in rows} == {"blue", "green", "red"}
    torch.manual_seed(0)
    again, _ = api.activations(photos, backbone=name, line="layer3", console=QUIET)
    assert torch.equal(values, again)


def test_a_name_that_cannot_be_is_told_before_pictures_are_read(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="resnet50"):
        api.train(tmp_path / "absent", out=tmp_path / "run", backbone="resnet50")


def test_a_backbone_in_python() -> None:
    network = api.backbone("timm:test_resnet", pretrained=False)
    lines = network.lines()
    assert lines[0].name == "pixels"
    assert "pooled" in (lines[-1].name, *lines[-1].aliases)
    prefix, suffix = network.cut("layer3")
    side = network.record.preprocessing.height_px
    x = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(suffix(prefix(x)), network.module(x))
