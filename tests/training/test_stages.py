"""Stages from end to end: what is frozen stays so, what is worse is not kept, all kinds train."""

import csv
import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from conftest import make_photos
from frostline import api, frost, pipeline, recipe
from frostline.base.console import QUIET, Console
from frostline.base.errors import (
    BackboneError,
    FrostlineError,
    LineError,
    RecipeError,
    TrainingError,
)
from frostline.base.paths import cache_folder
from frostline.model import predict
from frostline.recipe import (
    OPTIMIZERS,
    SCHEDULES,
    BackboneChoice,
    Budget,
    Compute,
    Data,
    HeadChoice,
    Predict,
    Recipe,
    Stage,
    Views,
    Watch,
)
from frostline.run.folder import RunFolder
from frostline.training import progress, stages

NETWORK = BackboneChoice("timm:test_resnet?pretrained=false", image_px=48)
FP32 = Compute(device="cpu", precision="fp32", cache="always", engine="eager")
RECIPE = Recipe(
    backbone=NETWORK,
    compute=FP32,
    data=Data(val=0.3),
    head=HeadChoice(start="random"),
    stages=(
        Stage(line="top", epochs=2, batch_size=8, lr=0.01),
        Stage(line="layer4", epochs=2, batch_size=8, lr=0.01),
    ),
)


def run(photos: Path, out: Path, wanted: Recipe = RECIPE, console: Console = QUIET) -> RunFolder:
    return pipeline.train(photos, out, wanted, cache_folder(), console)


def only(**changed: Any) -> Recipe:
    """`RECIPE` with one stage."""
    return replace(RECIPE, stages=(replace(RECIPE.stages[0], **changed),))


# What is frozen.


def test_the_proof_counts_what_is_trained_and_what_is_frozen(photos: Path, tmp_path: Path) -> None:
    words = StringIO()
    made = run(photos, tmp_path / "run", console=Console(words, verbose=True))
    proofs = made.read_metrics()["stages"]
    net = timm.create_model("test_resnet", num_classes=0)
    above = list(net.layer4.parameters())
    every = list(net.parameters())
    head = [torch.zeros(3, 96), torch.zeros(3)]
    size = lambda tensors: sum(one.numel() for one in tensors)  # noqa: E731
    assert [proof["line"] for proof in proofs] == ["pooled", "layer4"]
    for proof, trained in zip(proofs, ([], []), strict=True):
        assert proof["trained_tensors"] == len(trained) + 2
        assert proof["trained_parameters"] == size([*trained, *head])
        assert proof["frozen_tensors"] == len(every) - len(trained)
        assert proof["frozen_parameters"] == size(every) - size(trained)
    deeper = run(photos, tmp_path / "deep", only(line="layer3")).read_metrics()["stages"][0]
    assert deeper["trained_tensors"] == len(above) + 2
    assert deeper["trained_parameters"] == size([*above, *head])
    assert deeper["frozen_tensors"] == len(every) - len(above)
    for proof in (*proofs, deeper):
        assert proof["unchanged"] is True
        assert proof["frozen_digest"] == proof["frozen_digest_after"] != ""
        assert proof["cached_against_live"] < 1e-3
    assert (
        f"line pooled, 2 tensors with 291 parameters trained, {len(every)} with "
        f"{size(every):,} frozen; 2 epochs, adamw, rate 0.01 (head)"
    ) in words.getvalue()
    assert "what lies below pooled is unchanged, bit for bit; cached against live" in (
        words.getvalue()
    )


def tampered(monkeypatch: pytest.MonkeyPatch, change: Callable[[nn.Module], None]) -> None:
    run_stage = stages._train_epochs

    def changed(task: stages.StageTask, *arguments: Any) -> None:
        run_stage(task, *arguments)
        change(task.model.module)

    monkeypatch.setattr(stages, "_train_epochs", changed)


def a_weight(module: nn.Module) -> None:
    with torch.no_grad():
        module.get_parameter("layer2.0.conv1.weight")[0, 0, 0, 0] += 1e-6


def a_buffer(module: nn.Module) -> None:
    module.get_buffer("layer1.0.bn1.running_mean")[0] += 1e-6


@pytest.mark.parametrize("change", [a_weight, a_buffer])
def test_what_changed_below_the_line_ends_the_run(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[nn.Module], None],
) -> None:
    tampered(monkeypatch, change)
    with pytest.raises(
        TrainingError, match=r"stages.0: training changed what lies below line 'layer3', which is"
    ):
        run(photos, tmp_path / "run", only(line="layer3"), Console(None))
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_what_lies_below_is_the_backbone_s_own_in_the_saved_model(
    photos: Path, tmp_path: Path
) -> None:
    wanted = only(line="layer3", lr=0.05, suffix_lr=1.0, batch_norm="train")
    made = run(photos, tmp_path / "run", wanted)
    with pipeline.prepare.with_seed(0, torch.device("cpu")):
        before = pipeline.prepare.open_backbone(NETWORK).module.state_dict()
    after = timm.create_model(f"local-dir:{made.model}", pretrained=True).state_dict()
    assert made.read_metrics()["stages"][0]["kept"]
    for name, value in after.items():
        if name.startswith(("conv1", "bn1", "layer1", "layer2", "layer3")):
            assert torch.equal(value, before[name]), name
        elif name.startswith("layer4") and name.endswith(("weight", "running_mean")):
            assert not torch.equal(value, before[name]), name


def test_a_stage_that_validation_does_not_like_is_not_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = replace(RECIPE.stages[0], epochs=3, lr=0.02)
    # In each step every weight loses nine tenths of itself.
    awful = Stage(line="layer3", batch_size=8, lr=0.01, weight_decay=90.0, warmup=0.0)
    awful = replace(awful, suffix_lr=1.0, schedule="constant", epochs=2)
    # The head as the first stage left it, before the second.
    heads: list[dict[str, torch.Tensor]] = []
    save = stages.RunProgress.save

    def noted(progress: stages.RunProgress, number: int, trainable: nn.Module, *more: Any) -> None:
        heads.append({key: value.clone() for key, value in trainable.state_dict().items()})
        save(progress, number, trainable, *more)

    monkeypatch.setattr(stages.RunProgress, "save", noted)
    words = StringIO()
    made = run(
        photos,
        tmp_path / "both",
        replace(RECIPE, stages=(good, awful)),
        Console(words, verbose=True),
    )
    first, second = made.read_metrics()["stages"]
    assert first["kept"] is True
    assert second["kept"] is False
    assert second["best_epoch"] == 0
    assert second["val_accuracy"] == second["val_accuracy_before"] == first["val_accuracy"]
    assert "  not kept: validation did not get better; what lies below layer3" in words.getvalue()
    (weight,) = [value for key, value in heads[1].items() if key.endswith("weight")]
    saved = load_file(made.model / "model.safetensors")
    assert torch.equal(saved["fc.weight"], weight)
    with pipeline.prepare.with_seed(0, torch.device("cpu")):
        own = pipeline.prepare.open_backbone(NETWORK).module.state_dict()
    for name, value in saved.items():
        assert name.startswith("fc.") or torch.equal(value, own[name]), name


def test_a_checkpoint_is_bound_to_buffers_that_are_computed_too() -> None:
    module = nn.Linear(2, 2)
    model: Any = SimpleNamespace(module=module)
    module.register_buffer("scale", torch.ones(3), persistent=False)
    before = progress.checkpoint_binding(model, "images")
    assert progress.checkpoint_binding(model, "images") == before
    module.get_buffer("scale")[0] = 2
    assert progress.checkpoint_binding(model, "images")["weights"] != before["weights"]


def test_what_a_backbone_wants_spared_is_not_decayed() -> None:
    net = timm.create_model("test_vit", pretrained=False).eval()
    traced = frost.trace(net, (3, 160, 160))
    _, suffix = traced.cut(traced.find("pixels"), top=traced.find("pooled"))
    model = SimpleNamespace(
        module=net, trainable=SimpleNamespace(suffix=suffix, head=nn.Linear(4, 2))
    )
    task: Any = SimpleNamespace(model=model, stage=Stage(weight_decay=0.1))
    decayed = {
        id(value)
        for group in stages.make_optimizer(task).param_groups
        for value in group["params"]
        if group["weight_decay"]
    }
    assert id(net.get_parameter("blocks.0.attn.qkv.weight")) in decayed
    assert not {id(net.get_parameter(name)) for name in ("pos_embed", "cls_token")} & decayed


# What is wrong.


def refused(photos: Path, out: Path, wanted: Recipe, kind: type[FrostlineError]) -> str:
    with pytest.raises(kind) as raised:
        run(photos, out, wanted)
    assert not (out / "recipe.toml").exists(), "it left a run behind"
    return str(raised.value)


def test_a_line_above_that_of_an_earlier_stage(photos: Path, tmp_path: Path) -> None:
    wanted = replace(RECIPE, stages=(Stage(line="layer3"), Stage(line="layer4")))
    assert refused(photos, tmp_path / "run", wanted, RecipeError) == (
        "stages.1.line: 'layer4' lies above 'layer3', the line of stages.0: what was thawed there "
        "would be frozen again and its activations would no longer be true. Lines must go down "
        "from stage to stage."
    )


def test_a_line_that_is_none(photos: Path, tmp_path: Path) -> None:
    words = refused(photos, tmp_path / "run", only(line="layer44"), LineError)
    assert "Did you mean layer4" in words


@pytest.mark.parametrize(
    ("layers", "on", "words"),
    [
        (
            ({"type": "conv", "out": 8, "kernel": 8}, {"type": "linear"}),
            "layer3",
            "head.layers.0",
        ),
        (
            (
                {"type": "conv", "out": 8, "kernel": 3},
                {"type": "pool", "kind": "avg", "kernel": 5},
                {"type": "flatten"},
                {"type": "linear"},
            ),
            "layer3",
            "head.layers.1",
        ),
    ],
)
def test_a_head_that_does_not_fit_names_its_layer(
    photos: Path, tmp_path: Path, layers: tuple[dict[str, Any], ...], on: str, words: str
) -> None:
    wanted = replace(only(), head=HeadChoice(layers=layers, on=on, start="random"))
    assert words in refused(photos, tmp_path / "run", wanted, RecipeError)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(disk_gib=1e-6), "budget: nothing fits within disk 1.05 KiB (needs "),
        (Budget(time_min=1e-6), "budget: nothing fits within time 6e-05 s (needs "),
        (Budget(memory_gib=1e-3), "budget: nothing fits within memory 1.02 MiB (needs "),
    ],
)
def test_a_budget_that_nothing_fits_in(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: Budget, words: str
) -> None:
    monkeypatch.setattr("frostline.planner.measure.AT_LEAST_S", 0.01)
    said = refused(photos, tmp_path / "run", replace(only(), budget=budget), RecipeError)
    assert said.startswith(words)
    assert said.endswith("). Raise it, choose a later line, fewer views or fewer epochs.")


def test_an_unknown_tracker_is_refused_before_anything_is_done(
    photos: Path, tmp_path: Path
) -> None:
    wanted = replace(only(), watch=Watch(trackers=("tensorbord",)))
    words = refused(photos, tmp_path / "run", wanted, RecipeError)
    assert words.startswith("recipe: watch.trackers.0 must be one of tensorboard, aim, ")
    assert not list(cache_folder().rglob("*.safetensors"))


def test_an_engine_that_is_not_installed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def absent(name: str, *more: Any) -> Any:
        return None if name.startswith("openvino") else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", absent)
    wanted = replace(only(line="layer3"), compute=replace(FP32, engine="openvino"))
    words = refused(photos, tmp_path / "run", wanted, BackboneError)
    assert words == (
        "engine openvino: the package openvino is not installed. Install frostline[openvino], or "
        "use the engine eager."
    )


# What is told apart.


def binary(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "two", {"no": 14, "yes": 12})


@pytest.mark.parametrize("spec", ["linear", "mlp:8"])
@pytest.mark.parametrize("start", ["auto", "random"])
def test_two_classes_by_one_sigmoid(tmp_path: Path, spec: str, start: str) -> None:
    photos = binary(tmp_path)
    wanted = replace(
        RECIPE,
        data=Data(val=0.4, targets="binary"),
        head=HeadChoice(spec, start=start),
        stages=(
            replace(RECIPE.stages[0], label_smoothing=0.1, balance="weights"),
            RECIPE.stages[1],
        ),
    )
    words = StringIO()
    made = run(photos, tmp_path / "run", wanted, Console(words, verbose=True))
    assert "one sigmoid\n" in words.getvalue()
    scores = made.read_metrics()["val"]
    assert scores["labels"] == ["no", "yes"]
    # With one score there is one row of weights.
    assert made.read_metrics()["stages"][0]["trained_parameters"] == (
        97 if spec == "linear" else 97 * 8 + 9
    )
    model = predict.open_model(str(made.path), "cpu")
    agrees_with_metrics(made, model)
    net = timm.create_model(f"local-dir:{made.model}", pretrained=True).eval()
    x = torch.randn(2, 3, 48, 48)
    assert net(x).shape == ((2, 2) if spec == "linear" else (2, 96))
    if spec == "linear":
        with torch.inference_mode():
            probabilities = model.score(model.prefix(x))
            torch.testing.assert_close(
                net(x).double().softmax(1), probabilities, rtol=1e-4, atol=1e-5
            )


def agrees_with_metrics(made: RunFolder, model: Any, several: bool = False) -> None:
    """Predicting the val images says what `predictions.csv` and `metrics.json` say."""
    with made.predictions.open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    labels = made.read_metrics()["val"]["labels"]
    said = list(predict.predict(model, [Path(row["path"]) for row in rows], 9, QUIET))
    right = 0
    for one, row in zip(said, rows, strict=True):
        assert one.path == row["path"]
        told = dict(one.top)
        for label in labels:
            assert told[label] == pytest.approx(float(row[f"p:{label}"]), rel=5e-3, abs=2e-4)
        assert ";".join(one.labels) == row["predicted"]
        right += row["predicted"] == row["label"]
    assert right / len(rows) == pytest.approx(made.read_metrics()["val"]["accuracy"])


def test_more_than_two_classes_are_not_binary(photos: Path, tmp_path: Path) -> None:
    wanted = replace(RECIPE, data=Data(val=0.3, targets="binary"))
    words = refused(photos, tmp_path / "run", wanted, FrostlineError)
    assert "binary" in words
    assert "3" in words


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A CSV whose pictures show blue, green, both or neither."""
    photos = make_photos(tmp_path / "many", {"blue": 10, "green": 10, "cyan": 10, "red": 6})
    tags = {"blue": "blue", "green": "green", "cyan": "blue;green", "red": ""}
    path = tmp_path / "many.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label"])
        for picture in sorted(photos.rglob("*.png")):
            table.writerow([picture, tags[picture.parent.name]])
    return path


@pytest.mark.parametrize("start", ["auto", "random"])
@pytest.mark.parametrize("balance", recipe.BALANCES)
def test_several_labels_an_image(several: Path, tmp_path: Path, start: str, balance: str) -> None:
    wanted = replace(
        RECIPE,
        data=Data(val=0.4),
        head=HeadChoice(start=start),
        stages=(replace(RECIPE.stages[0], balance=balance), RECIPE.stages[1]),
    )
    words = StringIO()
    made = run(several, tmp_path / "run", wanted, Console(words, verbose=True))
    assert "a sigmoid for each class\n" in words.getvalue()
    assert "36 pictures in 2 classes, several for a picture: blue 20, green" in words.getvalue()
    scores = made.read_metrics()["val"]
    assert scores["labels"] == ["blue", "green"]
    assert {"n", "accuracy", "log_loss", "macro_f1", "mean_average_precision", "per_class"} <= set(
        scores
    )
    model = predict.open_model(str(made.path), "cpu")
    agrees_with_metrics(made, model, several=True)


def test_several_labels_an_image_are_evaluated_and_reported(several: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(several.read_text().splitlines()))
    with several.open("w", newline="") as file:
        table = csv.DictWriter(file, ["path", "label", "split"])
        table.writeheader()
        for number, row in enumerate(rows):
            table.writerow({**row, "split": "val" if number % 3 == 0 else "train"})
    out = tmp_path / "run"
    made = api.train(several, out=out, recipe=RECIPE, console=QUIET)
    model = predict.open_model(str(out), "cpu")
    scored, _ = predict.evaluate_on(model, several, "auto", QUIET)
    want = made.metrics["val"]
    assert scored.split == "val"
    assert set(scored.metrics) == set(want)
    assert scored.metrics["n"] == want["n"] == 12
    for key in ("accuracy", "log_loss", "macro_f1", "mean_average_precision"):
        assert scored.metrics[key] == pytest.approx(want[key], rel=5e-3), key
    page = (out / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "blue" in page
    assert (out / "model" / "README.md").is_file()


# Heads on an intermediate line.

LAYERS: tuple[dict[str, Any], ...] = (
    {"type": "conv", "out": 8, "kernel": 3},
    {"type": "norm", "kind": "batch"},
    {"type": "activation", "kind": "relu"},
    {"type": "pool", "kind": "avg", "kernel": 3},
    {"type": "dropout", "rate": 0.2},
    {"type": "conv", "kernel": 1},
    {"type": "flatten"},
)


def test_a_head_of_layers_on_an_intermediate_line(photos: Path, tmp_path: Path) -> None:
    wanted = replace(
        RECIPE,
        head=HeadChoice(layers=LAYERS, on="layer3", init="xavier"),
        stages=(RECIPE.stages[0], replace(RECIPE.stages[1], line="layer2")),
    )
    made = run(photos, tmp_path / "run", wanted)
    assert [proof["line"] for proof in made.read_metrics()["stages"]] == ["layer3", "layer2"]
    model = predict.open_model(str(made.path), "cpu")
    assert model.top.name == "layer3"
    agrees_with_metrics(made, model)
    again = recipe.read(made.recipe)
    assert again.head.layers == wanted.head.layers


# Ways to train.


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_with_every_schedule(
    photos: Path, tmp_path: Path, optimizer: str, schedule: str
) -> None:
    wanted = only(line="layer3", optimizer=optimizer, schedule=schedule, epochs=1, lr=1e-3)
    made = run(photos, tmp_path / "run", wanted)
    (line,) = made.read_history()
    assert line["step"] == 3 or line["step"] == 4
    assert 0 <= line["lr"] <= 1e-3
    assert 0 < line["train_loss"] < 10


@pytest.mark.parametrize(
    "changed",
    [
        {"ema": 0.9},
        {"accumulate": 3},
        {"balance": "sampling"},
        {"balance": "weights"},
        {"clip": 0.1},
        {"mixup": 0.4},
        {"noise": 0.2},
        {"layer_decay": 0.5},
        {"batch_norm": "train"},
        {"patience": 1, "epochs": 6, "lr": 1e-9},
        {"steps": 2},
        {"batch_size": 1},
        {"batch_size": 1000},
        {"augment": False},
    ],
    ids=lambda changed: next(iter(changed)) + str(next(iter(changed.values()))),
)
def test_every_way_to_train(photos: Path, tmp_path: Path, changed: dict[str, Any]) -> None:
    base = replace(
        only(**{"line": "layer3", "epochs": 1, "lr": 1e-3, **changed}),
        views=Views(count=2, flip=True),
    )
    made = run(photos, tmp_path / "run", base)
    trained = made.read_history()
    if "patience" in changed:
        assert len(trained) < 6
    if "steps" in changed:
        assert trained[-1]["step"] == 2
    same = replace(base, stages=only(line="layer3", epochs=1, lr=1e-3).stages)
    plain = run(photos, tmp_path / "plain", same)
    for line in (*trained, *(others := plain.read_history())):
        del line["seconds"]
    assert trained != others


@pytest.mark.parametrize("init", recipe.INITS)
def test_new_layers_begin_as_asked_and_the_seed_decides(
    photos: Path, tmp_path: Path, init: str
) -> None:
    wanted = replace(only(epochs=1), head=HeadChoice("mlp:8", start="random", init=init))
    first = run(photos, tmp_path / "one", wanted).read_history()[0]["train_loss"]
    again = run(photos, tmp_path / "two", wanted).read_history()[0]["train_loss"]
    other = run(photos, tmp_path / "other", replace(wanted, seed=4)).read_history()[0]
    assert first == again != other["train_loss"]


def test_the_mean_over_mirror_images_is_what_evaluate_gives(photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.png"):
        split = "val" if int(path.stem) % 3 == 0 else "train"
        place = tmp_path / "splits" / split / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    plain = run(tmp_path / "splits", tmp_path / "plain").read_metrics()["val"]
    wanted = replace(RECIPE, predict=Predict(flip=True))
    made = run(tmp_path / "splits", tmp_path / "run", wanted)
    want = made.read_metrics()["val"]
    assert want["log_loss"] != plain["log_loss"]
    model = predict.open_model(str(made.path), "cpu")
    assert model.flip
    scored, _ = predict.evaluate_on(model, tmp_path / "splits", "auto", QUIET)
    assert scored.metrics["log_loss"] == pytest.approx(want["log_loss"], rel=1e-3)
    assert scored.metrics["confusion"] == want["confusion"]
    agrees_with_metrics(made, model)
    block = json.loads((made.model / "config.json").read_text())
    assert "flip" in json.dumps(block)


@pytest.mark.parametrize("spec", ["mlp:8,dropout=0.1", "linear"])
def test_dropout_is_set_where_there_is_one(photos: Path, tmp_path: Path, spec: str) -> None:
    base = replace(only(epochs=1), head=HeadChoice(spec, start="random"))
    words = StringIO()
    dropped = replace(base, stages=(replace(base.stages[0], dropout=0.9),))
    made = run(photos, tmp_path / "run", dropped, Console(words, verbose=True))
    plain = run(photos, tmp_path / "plain", base)
    losses = [one.read_history()[0]["train_loss"] for one in (made, plain)]
    assert (losses[0] == losses[1]) is (spec == "linear")
    none = "  dropout = 0.9: there is no dropout above this line\n"
    assert (none in words.getvalue()) is (spec == "linear")


# The learning-rate finder.


def test_the_finder_trains_as_the_stage_does(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One step an epoch, so that the history holds the loss of each.
    stage = Stage(line="layer4", epochs=3, batch_size=4, accumulate=99, lr=0.05, warmup=0.0)
    stage = replace(stage, schedule="constant", mixup=0.3, noise=0.2, clip=0.1, balance="weights")
    stage = replace(stage, label_smoothing=0.1, layer_decay=0.5, optimizer="sgd")
    head = HeadChoice("mlp:8,dropout=0.3", start="random")
    views = Views(count=3, flip=True, crop=0.7)
    wanted = replace(RECIPE, head=head, views=views, stages=(stage,))
    losses: list[float] = []

    def swept(step: Callable[[float], float], *rates: Any) -> None:
        losses.extend(step(0.05) for _ in range(3))
        step(1e30)
        losses.append(step(1e30))

    monkeypatch.setattr(pipeline.rate_finder.lr_find, "sweep", swept)
    drawn = torch.get_rng_state()
    pipeline.find_rate(photos, wanted, None, (1e-3, 1.0, 20), cache_folder(), QUIET)
    assert torch.equal(torch.get_rng_state(), drawn)
    lines = run(photos, tmp_path / "run", wanted).read_history()
    assert losses[:3] == [line["train_loss"] for line in lines]
    assert math.isnan(losses[3])


# Corners.


@pytest.mark.parametrize("patience", [0, 1])
def test_without_validation_images_the_last_state_stays(
    photos: Path, tmp_path: Path, patience: int
) -> None:
    wanted = replace(only(epochs=3, patience=patience), data=Data(val=0.0))
    words = StringIO()
    made = run(photos, tmp_path / "run", wanted, Console(words, verbose=True))
    assert [line["epoch"] for line in made.read_history()] == [1, 2, 3]
    assert all("val_loss" not in line for line in made.read_history())
    (proof,) = made.read_metrics()["stages"]
    assert proof["kept"] is True
    assert proof["best_epoch"] == 3
    assert proof["val_accuracy"] is None
    assert "val: no images, so nothing tells how right the model is; see --val\n" in (
        words.getvalue()
    )


@pytest.mark.parametrize("views", [Views(flip=True, count=2), Views(flip=True, live=True)])
def test_stages_on_varied_views_need_no_validation_images(
    photos: Path, tmp_path: Path, views: Views
) -> None:
    two = (Stage(line="top", epochs=1), Stage(line="layer3", epochs=1))
    cache = "auto" if views.live else "always"
    wanted = replace(
        only(),
        data=Data(val=0.0),
        views=views,
        stages=two,
        head=HeadChoice("mlp:4"),
        compute=replace(only().compute, cache=cache),
    )
    made = run(photos, tmp_path / "run", wanted)
    proofs = made.read_metrics()["stages"]
    assert [proof["line"] for proof in proofs] == ["pooled", "layer3"]
    assert all(proof["cached_against_live"] < 0.01 for proof in proofs)


@pytest.mark.parametrize(
    ("views", "wanted", "words"),
    [
        (Views(count=5, flip=True), only(epochs=2), "views: 2 of each training image, varied by"),
        (Views(count=2, flip=True), only(epochs=5), "views: 2 of each training image, varied by"),
        (
            Views(count=2, flip=True),
            only(augment=False),
            "views: 1 of each image, center; no augmentation",
        ),
        (
            Views(count=2, flip=True),
            replace(RECIPE, head=HeadChoice(), stages=()),
            "views: 1 of each image, center; no augmentation",
        ),
        (
            Views(live=True, flip=True),
            only(),
            "views: new ones in every epoch, computed live, varied by flip",
        ),
    ],
    ids=["few epochs", "many epochs", "not augmented", "probe alone", "live"],
)
def test_as_many_views_are_told_as_there_were(
    photos: Path, tmp_path: Path, views: Views, wanted: Recipe, words: str
) -> None:
    said = StringIO()
    keep = replace(FP32, cache="auto" if views.live else "always")
    run(
        photos,
        tmp_path / "run",
        replace(wanted, views=views, compute=keep),
        Console(said, verbose=True),
    )
    assert words in said.getvalue()


def test_a_class_that_no_training_image_shows(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos" / "train", {"blue": 8, "green": 8})
    make_photos(tmp_path / "photos" / "val", {"blue": 4, "green": 4, "red": 4})
    for balance in recipe.BALANCES:
        try:
            made = run(tmp_path / "photos", tmp_path / balance, only(balance=balance))
        except FrostlineError as error:
            assert "red" in str(error)  # noqa: PT017
        else:
            assert made.read_metrics()["val"]["labels"] == ["blue", "green", "red"]
