"""What a model says of pictures, whatever its head, its line and where it was opened from."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from PIL import Image, ImageOps

import frostline
from conftest import FinishedRun, settled
from frostline.base.console import QUIET
from frostline.base.errors import BackboneError, ListingError, RunError
from frostline.cli import main
from frostline.images import augment
from frostline.images import listing as listings
from frostline.images.augment import CENTER
from frostline.images.views import normalise
from frostline.model import predict

NETWORK = ("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "48")


def made(photos: Path, out: Path, *more: object) -> Path:
    assert main([*map(str, ("train", photos, "--out", out)), *NETWORK, *settled(*more)]) == 0
    return out


def table_of(run: Path, split: str) -> Path:
    """Writes the images of one split of a run as a CSV, and returns its path."""
    rows = listings.read_csv(run / "listing.csv").of(split)
    out = run.parent / f"{run.name}-{split}.csv"
    out.write_text("path,label\n" + "".join(f"{row.path},{row.label}\n" for row in rows))
    return out


@pytest.mark.parametrize(
    "options",
    [
        ("--test", 0.3, "--precision", "fp32"),
        ("--test", 0.3, "--precision", "bf16", "--epochs", 1, "--line", "layer3"),
        ("--head", "mlp:8,dropout=0.5", "--pooling", "max", "--epochs", 2),
        ("--head", "mlp:8", "--pooling", "flatten", "--epochs", 1, "--line", "layer4"),
        ("--pooling", "flatten"),
        ("--pooling", "max", "--cache", "never"),
        ("--epochs", 1, "--line", "pixels", "--batch-norm", "train", "--batch-size", 100),
        ("--epochs", 1, "--line", "-2", "--cache", "never"),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_evaluate_gives_the_figures_of_training(
    photos: Path, tmp_path: Path, options: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(photos, tmp_path / "run", *options)
    wanted = json.loads((run / "metrics.json").read_text())
    proofs = wanted.pop("stages")
    # So few images are cross-validated too.
    wanted.pop("cross_validation", None)
    assert len(proofs) == ("--epochs" in options)
    assert all(proof["unchanged"] for proof in proofs)
    assert set(wanted) == ({"val", "test"} if "--test" in options else {"val"})
    for split, scores in wanted.items():
        capsys.readouterr()
        assert main(["evaluate", str(run), str(table_of(run, split)), "--json"]) == 0
        got = json.loads(capsys.readouterr().out)["all"]
        assert got["accuracy"] == scores["accuracy"]
        assert got["confusion"] == scores["confusion"]
        assert got["log_loss"] == pytest.approx(scores["log_loss"], rel=1e-4)


def test_predict_gives_the_probabilities_of_training(finished_run: FinishedRun) -> None:
    lines = (finished_run.path / "predictions.csv").read_text().splitlines()
    head, *rows = [line.split(",") for line in lines]
    model = predict.open_model(str(finished_run.path))
    said = list(predict.predict(model, [Path(row[1]) for row in rows], 3, QUIET))
    assert [one.path for one in said] == [row[1] for row in rows]
    for one, row in zip(said, rows, strict=True):
        kept = dict(zip(head[4:], map(float, row[4:]), strict=True))
        for label, chance in one.top:
            assert chance == pytest.approx(kept[f"p:{label}"], rel=1e-4, abs=1e-7)
        assert sum(chance for _, chance in one.top) == pytest.approx(1)


def test_run_model_folder_and_backbone_say_the_same(finished_run: FinishedRun) -> None:
    path = finished_run.path
    said = [
        list(predict.predict(predict.open_model(target), [finished_run.picture], 3, QUIET))
        for target in (str(path), str(path / "model"), f"dir:{path}", f"dir:{path / 'model'}")
    ]
    assert all(one == said[0] for one in said)


def test_timm_opens_the_model_with_equal_logits(finished_run: FinishedRun) -> None:
    net = timm.create_model(f"local-dir:{finished_run.path / 'model'}", pretrained=True).eval()
    model = predict.open_model(str(finished_run.path))
    (pixels,) = augment.load(finished_run.picture, model.preprocessing, [CENTER], "")
    with torch.inference_mode():
        theirs = net(normalise(pixels, model.preprocessing)[None]).double().softmax(1)
        ours = model.score(model.engine(pixels[None]))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert tuple(net.pretrained_cfg["label_names"]) == model.labels


def test_a_run_is_a_backbone(finished_run: FinishedRun, tmp_path: Path) -> None:
    words = ("--backbone", f"dir:{finished_run.path / 'model'}", "--image-px", 0)
    words += ("--cache-dir", finished_run.cache, "--precision", "fp32", "--device", "cpu")
    run = made(finished_run.photos, tmp_path / "run", *words)
    plan = json.loads((run / "plan.json").read_text())
    assert (plan["rows_kept"], plan["rows_computed"]) == (36, 0)


def test_a_run_with_a_head_of_its_own_is_a_backbone_too(photos: Path, tmp_path: Path) -> None:
    first = made(photos, tmp_path / "one", "--head", "mlp:8", "--epochs", 1)
    made(photos, tmp_path / "two", "--backbone", f"dir:{first}")
    assert timm.create_model(f"local-dir:{first / 'model'}", pretrained=True).num_classes == 0


def test_a_folder_that_reads_like_arguments_is_opened(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    odd = shutil.copytree(finished_run.path, tmp_path / "run?num_classes=7")
    assert predict.open_model(str(odd)).labels == ("blue", "green", "red")


def test_pictures_keep_their_order_and_folders_are_entered(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    model = predict.open_model(str(finished_run.path))
    named = [finished_run.photos / "red", tmp_path / "bad.jpg", finished_run.photos / "blue"]
    said = list(predict.predict(model, named, 1, QUIET))
    assert len(said) == 25
    assert [Path(one.path).parent.name for one in said[:12]] == ["red"] * 12
    assert (said[12].label, said[12].probability, said[12].top) == ("", 0.0, ())
    assert said[12].problem == "not an image"
    assert all(len(one.top) == 1 for one in said if not one.problem)


def test_a_picture_that_header_and_body_disagree_on_is_reported(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    whole = finished_run.picture.read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    model = predict.open_model(str(finished_run.path))
    (one,) = predict.predict(model, [tmp_path], 1, QUIET)
    assert one.problem.startswith("damaged or cut short: ")


def test_errors_are_of_their_kind(finished_run: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no such run or model folder"):
        predict.open_model(str(tmp_path / "nothing"))
    with pytest.raises(ListingError, match="there is no such file"):
        frostline.open_run(finished_run.path).predict([tmp_path / "nothing.jpg"])
    with pytest.raises(RunError, match="no such run folder"):
        frostline.open_run(tmp_path / "nothing")
    with pytest.raises(frostline.FrostlineError, match="not a run folder"):
        frostline.open_run(tmp_path)


@pytest.fixture
def several(finished_run: FinishedRun) -> Any:
    """The model of the run as if its classes were told by themselves: red is always half sure."""
    model = predict.open_model(str(finished_run.path))

    def score(activations: torch.Tensor) -> torch.Tensor:
        probabilities = model.score(activations).clone()
        probabilities[:, 2] = 0.5
        return probabilities

    return SimpleNamespace(
        preprocessing=model.preprocessing,
        engine=model.engine,
        labels=model.labels,
        score=score,
        targets="multilabel",
        flip=False,
    )


def test_several_labels_are_all_that_are_likely(several: Any, finished_run: FinishedRun) -> None:
    pictures = [finished_run.photos / name / "000.png" for name in ("blue", "green", "red")]
    for top_k in (1, 3):
        said = list(predict.predict(several, pictures, top_k, QUIET))
        assert [len(one.top) for one in said] == [top_k] * 3
        for one, label in zip(said, ("blue", "green", "red"), strict=True):
            assert one.labels == tuple(sorted({label, "red"}))
            probabilities = [chance for _, chance in one.top]
            assert probabilities == sorted(probabilities, reverse=True)


def test_the_one_label_is_the_likeliest_and_bad_pictures_have_none(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    model = predict.open_model(str(finished_run.path))
    said = list(predict.predict(model, [finished_run.picture, tmp_path / "bad.jpg"], 2, QUIET))
    assert [one.labels for one in said] == [("red",), ()]


def test_a_model_of_one_label_is_not_evaluated_on_several(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    root = finished_run.photos
    table.write_text(f"path,label\n{root}/blue/000.png,blue;red\n{root}/red/000.png,\n")
    with pytest.raises(ListingError) as error:
        predict.evaluate_on(predict.open_model(str(finished_run.path)), table, "all", QUIET)
    assert str(error.value) == (
        f"{table}: some of its cells hold several labels (with ; between them), and the model says "
        "one class of each picture. Give each picture one label, or evaluate a model that was "
        "trained with --targets multilabel."
    )


def test_evaluate_on_several_labels(
    several: Any, finished_run: FinishedRun, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    lines = [("blue", "red; blue"), ("green", "green"), ("red", "red")]
    root = finished_run.photos
    table.write_text(
        "path,label\n" + "".join(f"{root}/{name}/000.png,{text}\n" for name, text in lines)
    )
    found, listing = predict.evaluate_on(several, table, "auto", QUIET)
    assert listing.several
    assert found.several
    assert [row.label for row in found.rows] == ["blue;red", "green", "red"]
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)
    assert found.metrics["confusion"][2] == [[0, 1], [0, 2]]
    table.write_text(f"path,label\n{root}/blue/000.png,\n")
    alone, _ = predict.evaluate_on(several, table, "all", QUIET)
    assert alone.metrics["mean_average_precision"] is None
    table.write_text(f"path,label\n{root}/blue/000.png,blu;red\n")
    with pytest.raises(ListingError) as error:
        predict.evaluate_on(several, table, "all", QUIET)
    assert str(error.value) == (
        f"{table}: class 'blu' is unknown to the model, which knows blue, green, red. "
        "Did you mean blue?"
    )


def test_the_python_way(finished_run: FinishedRun) -> None:
    run = frostline.open_run(finished_run.path)
    assert run.metrics == json.loads((finished_run.path / "metrics.json").read_text())
    assert run.model == finished_run.path / "model"
    (one,) = run.predict([str(finished_run.picture)], top_k=3)
    assert one.label == "red"
    assert [len(said.top) for said in run.predict([finished_run.photos], top_k=2)] == [2] * 36
    val = table_of(finished_run.path, "val")
    assert run.evaluate(val)["accuracy"] == run.metrics["val"]["accuracy"]


def test_a_mirrored_picture_has_a_say_where_it_is_asked_for(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = predict.open_model(str(finished_run.path))
    both = predict.open_model(str(finished_run.path), flip=True)
    assert not plain.flip
    assert both.flip
    mirror = tmp_path / "mirror.png"
    ImageOps.mirror(Image.open(finished_run.picture)).save(mirror)
    alone = [one.top for one in predict.predict(plain, [finished_run.picture, mirror], 3, QUIET)]
    (mean,) = predict.predict(both, [finished_run.picture], 3, QUIET)
    for label, chance in mean.top:
        expected = sum(dict(top)[label] for top in alone) / 2
        assert chance == pytest.approx(expected, abs=1e-5)
    words = ("predict", str(finished_run.path), str(finished_run.picture), "--flip")
    capsys.readouterr()
    assert main([*words, "--format", "json", "--top-k", "3"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["probability"] == pytest.approx(mean.probability)


def test_without_validation_the_run_works_and_has_no_figures(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(photos, tmp_path / "run", "--val", 0, "--epochs", 1)
    assert "val: no images, so nothing tells how right the model is" in capsys.readouterr().err
    assert list(json.loads((run / "metrics.json").read_text())) == ["stages", "cross_validation"]
    assert frostline.open_run(run).predict([photos / "red"])[0].label
    assert (run / "report.html").is_file()
