"""Tables and pictures of other kinds, from the command line or Python to a model and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

import frostline
from conftest import make_photos, settled
from frostline.base.console import Console
from frostline.cli import main
from frostline.run.folder import RunFolder

NETWORK = ("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64")
Capture = pytest.CaptureFixture[str]


def train(photos: Path, out: object, *more: object) -> int:
    return main(["train", str(photos), "--out", str(out), *NETWORK, *settled(*more)])


def deep_photos(root: Path, most: int = 3000) -> Path:
    """Writes 16-bit TIFFs that use 12 bits; dark in one class, light in the other."""
    for label, middle in (("dark", 0.2), ("light", 0.8)):
        (root / label).mkdir(parents=True)
        for number in range(8):
            noise = np.random.default_rng(number).normal(middle, 0.05, (48, 48))
            values = (noise.clip(0, 1) * most).astype(np.uint16)
            tifffile.imwrite(root / label / f"{number}.tif", values)
    return root


def test_levels_ride_with_the_model(tmp_path: Path, capsys: Capture) -> None:
    photos = deep_photos(tmp_path / "photos")
    assert train(photos, tmp_path / "run") == 0
    said = capsys.readouterr().err
    assert "pictures of 16-bit integers (16 in all, values " in said
    assert "0 becomes black and 4095 white; --levels BLACK:WHITE sets it." in said
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["frostline"]["levels"] == "uint16=0:4095"
    # One picture alone would be read at other levels; the model's stay.
    run = frostline.open_run(tmp_path / "run")
    alone = run.predict([photos / "dark" / "0.tif"])[0]
    assert alone.label == "dark"
    together = {one.path: one for one in run.predict([photos])}
    assert together[alone.path].probability == pytest.approx(alone.probability, abs=1e-6)
    assert run.evaluate(photos, "all")["accuracy"] == 1.0


def test_levels_that_are_asked_for_are_other_activations(tmp_path: Path) -> None:
    photos = deep_photos(tmp_path / "photos")
    facts = []
    for number, levels in enumerate(("auto", "0:1000", "auto", "uint16=0:4095")):
        cache = ("--cache-dir", tmp_path / "kept")
        assert train(photos, tmp_path / f"run{number}", "--levels", levels, *cache) == 0
        facts.append(RunFolder(tmp_path / f"run{number}").read_plan()["rows_computed"])
    assert facts == [16, 16, 0, 0]


def test_the_size_of_pictures_may_be_limited(tmp_path: Path, capsys: Capture) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 4, "red": 4})
    assert train(photos, tmp_path / "run", "--max-megapixels", "0.001") == 2
    assert "the limit is 1,000 (--max-megapixels moves it)" in capsys.readouterr().err


def test_split_folders_under_other_names_are_trained_and_said(
    tmp_path: Path, capsys: Capture
) -> None:
    for name in ("Training", "dev"):
        make_photos(tmp_path / "photos" / name, {"blue": 4, "red": 4})
    assert train(tmp_path / "photos", tmp_path / "run") == 0
    words = capsys.readouterr().err
    assert "splits are those of the folders: Training is train, dev is val." in words
    assert "16 pictures in 2 classes: blue 8, red 8" in words


def test_parts_of_one_set_stop_with_one_line(tmp_path: Path, capsys: Capture) -> None:
    for name in ("fold1", "fold2"):
        make_photos(tmp_path / "photos" / name, {"blue": 4, "red": 4})
    assert train(tmp_path / "photos", tmp_path / "run") == 2
    assert "so they look like parts of one set and not like classes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train(tmp_path / "photos", tmp_path / "run", "--layout", "classes") == 0


def test_tags_split_by_what_was_asked_for(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 6, "red": 6})
    lines = [f"{one.relative_to(tmp_path)},{one.parent.name}/any" for one in photos.rglob("*.png")]
    table = tmp_path / "table.csv"
    table.write_text("path,label\n" + "\n".join([*lines[:-1], lines[-1].partition("/any")[0]]))
    assert train(table, tmp_path / "run", "--separator", "/") == 0
    labels = RunFolder(tmp_path / "run").read_metrics()["val"]["labels"]
    assert labels == ["any", "blue", "red"]


def test_a_frame_is_trained_on_evaluated_and_gone_on_with(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    photos = make_photos(tmp_path / "photos", {"blue": 6, "red": 6})
    files = sorted(photos.rglob("*.png"))
    frame = pandas.DataFrame({"path": files, "label": [one.parent.name for one in files]})
    options = {
        "backbone": "timm:test_resnet?pretrained=false",
        "recipe": "quick",
        "settings": ["backbone.image_px=64", "compute.engine=eager", "compute.cache=always"],
        "console": Console(None),
    }
    run = frostline.train(frame, out=tmp_path / "run", **options)
    assert run.metrics["val"]["labels"] == ["blue", "red"]
    assert run.evaluate(frame)["n"] == 12
    assert frostline.train(frame, out=tmp_path / "run", **options).metrics == run.metrics


def test_a_tilde_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos", {"blue": 4, "red": 4})
    assert train(Path("~/photos"), "~/runs/x", "--cache-dir", "~/kept") == 0
    assert (tmp_path / "runs" / "x" / "metrics.json").is_file()
    assert not (tmp_path / "~").exists()
    assert main(["predict", "~/runs/x", "~/photos/red/000.png"]) == 0
    assert str(tmp_path / "photos" / "red" / "000.png") in capsys.readouterr().out
    assert frostline.open_run("~/runs/x").predict(["~/photos/red"])[0].label
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "expanduser", _no_home)
    assert train(Path("photos"), "runs/y") == 0


def _no_home(path: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")
