"""What newcomers and hostile files do: one line that says what is wrong, exit status 2, no harm."""

import contextlib
import csv
import hashlib
import io
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from conftest import FinishedRun, make_photos, settled
from frostline.base import files
from frostline.cli import main
from frostline.images import listing
from frostline.model import classifier

NETWORK = ("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64")

Capture = pytest.CaptureFixture[str]


def typed(*words: object) -> list[str]:
    return [str(word) for word in words]


def train(photos: Path, out: Path, *more: object) -> list[str]:
    return typed("train", photos, "--out", out, "--verbose", *NETWORK, *settled(*more))


def said(capsys: Capture, argv: Sequence[str]) -> str:
    """Runs a command that must succeed and returns what it says."""
    status = main(argv)
    words = capsys.readouterr().err
    assert status == 0, words
    return words


def refused(capsys: Capture, argv: Sequence[str]) -> str:
    """Runs a command that must fail and returns its one line."""
    status = main(argv)
    words = capsys.readouterr().err
    assert status == 2, words
    (line,) = [line for line in words.splitlines() if line.startswith("frostline: ")]
    assert words.endswith(line + "\n")
    assert "Traceback" not in words
    return line.removeprefix("frostline: ")


def fingerprint(root: Path) -> dict[str, tuple[int, str]]:
    """Everything below a folder: when it was changed, and what it holds."""
    return {
        str(path): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in (root, *sorted(root.rglob("*")))
    }


def listed(run: Path) -> dict[str, str]:
    """File name to problem, from `listing.csv`."""
    return {Path(row.path).name: row.problem for row in listing.read_csv(run / "listing.csv").rows}


@contextlib.contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """Meets a process that writes more bytes into one file with what a full disk gives."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".*.part"))


# The pictures.


def test_an_empty_folder(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    line = refused(capsys, train(tmp_path / "empty", tmp_path / "run"))
    assert "empty: holds no images" in line
    assert "Name a folder of class folders" in line
    assert not (tmp_path / "run").exists()


def test_one_class(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos", {"only": 3})
    line = refused(capsys, train(tmp_path / "photos", tmp_path / "run"))
    assert "needs at least 2 classes, and this has only 'only'" in line
    assert "Put each class into a folder of its own." in line


def test_no_images(tmp_path: Path, capsys: Capture) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "notes.txt").write_text("no picture")
    line = refused(capsys, train(tmp_path / "photos", tmp_path / "run"))
    assert "holds no images; 2 other and 0 hidden files were passed over" in line


def test_pictures_without_class_folders(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos", {"red": 3})
    line = refused(capsys, train(tmp_path / "photos" / "red", tmp_path / "run"))
    assert "3 images but no class folders, so nothing says what they show" in line


def test_a_wrong_path_gets_the_nearest_name(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    line = refused(capsys, train(tmp_path / "fotos", tmp_path / "run"))
    assert "there is no such file or folder. Did you mean photos?" in line


def test_a_class_with_one_picture_is_said_and_trained(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos", {"blue": 5, "green": 5, "red": 1})
    words = said(capsys, train(tmp_path / "photos", tmp_path / "run"))
    assert "class 'red' is missing in val: nothing there tests it" in words
    assert "class 'red' is shown by one image only" in words
    assert "11 pictures in 3 classes: blue 5, green 5, red 1" in words


def test_two_classes_of_one_picture_each(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos", {"blue": 1, "red": 1})
    words = said(capsys, train(tmp_path / "photos", tmp_path / "run"))
    assert "val: no images, so nothing tells how right the model is" in words
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (list(found), found["stages"]) == (["stages", "cross_validation"], [])


def test_a_class_missing_in_val_is_said(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos" / "train", {"blue": 4, "red": 4})
    make_photos(tmp_path / "photos" / "val", {"blue": 2})
    words = said(capsys, train(tmp_path / "photos", tmp_path / "run"))
    assert "class 'red' is missing in val" in words


def test_a_class_missing_in_train_is_refused(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos" / "train", {"blue": 2, "red": 2})
    make_photos(tmp_path / "photos" / "val", {"blue": 2, "rde": 2})
    line = refused(capsys, train(tmp_path / "photos", tmp_path / "run"))
    assert "class 'rde' is in val but not in train, so it cannot be learned" in line


def test_names_that_are_not_utf8_pass_from_training_to_prediction(
    tmp_path: Path, capsys: Capture
) -> None:
    make_photos(tmp_path / "photos", {"blue": 5, "red": 5})
    strange = os.fsdecode(b"caf\xe9\xff")
    (tmp_path / "photos" / "red").rename(tmp_path / "photos" / strange)
    picture = tmp_path / "photos" / strange / os.fsdecode(b"\xfe\xe8.png")
    (tmp_path / "photos" / strange / "000.png").rename(picture)
    run = tmp_path / "run"
    said(capsys, train(tmp_path / "photos", run))
    assert {row.label for row in listing.read_csv(run / "listing.csv").rows} == {"blue", strange}
    assert picture.name in listed(run)
    assert json.loads((run / "metrics.json").read_text("utf-8"))["val"]["labels"][1] == strange
    assert timm.create_model(f"local-dir:{run}/model", pretrained=True).num_classes == 2
    (run / "report.html").read_text("utf-8")
    assert main(typed("predict", run, picture, "--format", "json")) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["path"] == str(picture)
    assert one["label"] == strange


def test_folders_to_write_must_be_utf8(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    strange = tmp_path / os.fsdecode(b"run-\xe9")
    line = refused(capsys, train(photos, strange))
    assert "is not UTF-8, and safetensors opens no such file. Name another folder." in line
    line = refused(capsys, train(photos, tmp_path / "run", "--cache-dir", strange))
    assert "the cache's path must be valid UTF-8" in line
    assert not strange.exists()


def test_a_recipe_may_name_files_that_are_not_utf8(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    weights = tmp_path / os.fsdecode(b"w\xe9.pth")
    torch.save(timm.create_model("test_resnet").state_dict(), weights)
    named = ("--backbone", "timm:test_resnet", "--weights", weights)
    argv = train(photos, tmp_path / "run", *named)
    said(capsys, argv)
    assert "already finished" in said(capsys, argv)


def test_very_long_names(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos", {"blue": 4, "r" * 255: 4})
    old = tmp_path / "photos" / "blue" / "000.png"
    old.rename(old.with_name("x" * 251 + ".png"))
    said(capsys, train(tmp_path / "photos", tmp_path / "run"))
    assert "x" * 251 + ".png" in listed(tmp_path / "run")
    line = refused(capsys, train(tmp_path / "photos", tmp_path / ("n" * 300)))
    assert line.startswith("--out: File name too long: ")
    assert "there is no such file" in refused(
        capsys, train(tmp_path / ("n" * 300), tmp_path / "other")
    )


def test_odd_class_names_come_through_whole(tmp_path: Path, capsys: Capture) -> None:
    names = ["train", "a,b", 'q"uote', "new\nline", "émoji 🎉", "<b>&amp;", "=1+1", " x"]
    make_photos(tmp_path / "photos", dict.fromkeys(names, 3))
    run = tmp_path / "run"
    said(capsys, train(tmp_path / "photos", run))
    assert json.loads((run / "metrics.json").read_text())["val"]["labels"] == sorted(names)
    assert "<b>&amp;" not in (run / "report.html").read_text()
    for name in names:
        picture = tmp_path / "photos" / name / "000.png"
        assert main(typed("predict", run, picture, "--format", "csv", "--top-k", 8)) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert {row["label"] for row in rows} == set(names)


def test_odd_labels_in_a_csv_name_no_files(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos", {"blue": 4, "red": 4})
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for path in sorted((tmp_path / "photos").rglob("*.png")):
            writer.writerow([path, "../x" if path.parent.name == "red" else "a/b"])
    said(capsys, train(table, tmp_path / "run"))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["val"]["labels"] == ["../x", "a/b"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == [
        "photos",
        "run",
        "table.csv",
    ]


def test_symbolic_link_loops(tmp_path: Path, capsys: Capture) -> None:
    make_photos(tmp_path / "photos", {"blue": 4, "red": 4})
    (tmp_path / "photos" / "red" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "blue" / "me").symlink_to("me")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "blue" / "gone.png").symlink_to("nowhere.png")
    said(capsys, train(tmp_path / "photos", tmp_path / "run"))
    found = listed(tmp_path / "run")
    assert len(found) == 5 + 4 - 4  # both classes have the names 000 to 003
    assert found["gone.png"] == "no such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_pictures_that_may_not_be_read(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    (photos / "red" / "000.png").chmod(0)
    said(capsys, train(photos, tmp_path / "run"))
    rows = listing.read_csv(tmp_path / "run" / "listing.csv").rows
    assert [row.problem for row in rows if row.problem] == ["permission denied"]


def test_pictures_that_may_not_be_read_told_by_the_system(
    photos: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = photos / "red" / "000.png"
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    words = said(capsys, train(photos, tmp_path / "run"))
    assert f"left out: 1 file: {locked}: permission denied" in words


def hostile_files(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("I am no picture.")
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")
    Image.new("RGB", (1, 1), (3, 4, 5)).save(folder / "dot.png")
    frames = [Image.new("P", (20, 20), number) for number in range(4)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])


def test_hostile_files_are_left_out_with_their_reasons(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    hostile_files(photos / "red")
    assert (photos / "red" / "bomb.png").stat().st_size < 300_000
    words = said(capsys, train(photos, tmp_path / "run"))
    found = listed(tmp_path / "run")
    bad = {name: problem for name, problem in found.items() if problem}
    assert set(bad) == {"cut.jpg", "zero.jpg", "text.jpg", "bomb.png"}
    assert "damaged or cut short: image file is truncated" in bad["cut.jpg"]
    assert bad["zero.jpg"] == "the file is empty (0 bytes)"
    assert bad["text.jpg"] == "not an image"
    assert bad["bomb.png"].startswith("too large: 30000 x 30000 = 900,000,000 pixels")
    assert found["dot.png"] == found["moving.gif"] == ""
    assert "left out: 4 files: " in words
    assert main(typed("predict", tmp_path / "run", photos / "red", "--format", "csv")) == 2
    shown = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(shown) == 12 + 6
    assert {Path(row["path"]).name for row in shown if row["problem"]} == set(bad)


def test_strict_refuses_them_before_any_work(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    (photos / "red" / "text.jpg").write_text("I am no picture.")
    line = refused(capsys, train(photos, tmp_path / "run", "--strict"))
    assert "1 image cannot be read (--strict), the first: " in line
    assert line.endswith("text.jpg: not an image.")
    assert not (tmp_path / "run").exists()


def test_strict_refuses_what_only_decoding_shows(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    cut = photos / "red" / "000.png"
    cut.write_bytes(cut.read_bytes()[:700])
    line = refused(capsys, train(photos, tmp_path / "run", "--strict"))
    assert "(--strict)" in line
    assert "truncated" in line
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_csv_faults(tmp_path: Path, capsys: Capture) -> None:
    for content, words in (
        ("", "there is no column path"),
        ("pth,label\nx,y\n", "It names pth, label. Did you mean pth?"),
        ("path,label\ngone.png,red\n", "line 2: "),
        ("path,label\n", "holds no images"),
        ('path,label\n"gone.png,red\n', "table.csv: "),
    ):
        (tmp_path / "table.csv").write_text(content)
        assert words in refused(capsys, train(tmp_path / "table.csv", tmp_path / "run"))
    assert "column path" not in refused(
        capsys, typed("embed", *NETWORK[1:], tmp_path / "table.csv", "--out", tmp_path / "x.npz")
    )


# The network.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet5O", "no architecture 'resnet5O'. Did you mean resnet50"),
        (
            "tim:resnet50",
            (
                "unknown kind 'tim'; known are timm, torchvision, transformers, keras, tflite, "
                "onnx, tf, py, dir, hub, builtin. "
                "Did you mean timm?"
            ),
        ),
        ("resnet50", "For timm's network write timm:resnet50"),
        ("timm:test_resnet?pretrained=false&depth=3", "takes no argument 'depth'"),
        ("dir:nowhere", "no such folder"),
    ],
)
def test_an_unknown_backbone(
    photos: Path, tmp_path: Path, capsys: Capture, name: str, words: str
) -> None:
    assert words in refused(capsys, train(photos, tmp_path / "run", "--backbone", name))
    assert not (tmp_path / "run" / "recipe.toml").exists()


def test_an_unknown_line_leaves_nothing_in_the_way_of_the_right_one(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    line = refused(capsys, train(photos, tmp_path / "run", "--line", "layer9", "--epochs", 1))
    assert "line 'layer9': this network has no such line. Did you mean layer4" in line
    said(capsys, train(photos, tmp_path / "run", "--line", "layer4", "--epochs", 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--line", "99"), "line 99: an index must lie in 0 to"),
        (("--line", "pooled", "--pooling", "max"), "'pooled'"),
        (("--head", "lineer"), "not 'lineer'. Did you mean linear?"),
        (("--head", "mlp"), "mlp with at least one width"),
        (("--head", "mlp:8,dropout=2"), "dropout=P with P in [0, 1)"),
        (("--pooling", "avgg"), "Did you mean avg?"),
        (("--optimizer", "adamx"), "Did you mean adam, adamw?"),
        (("--epochz", "3"), "unrecognized arguments: --epochz 3. Did you mean --epochs?"),
        (("--epochs", "-1"), "epochs must be at least 1, not -1"),
        (("--seed", "many"), "argument --seed: invalid int value: 'many'"),
        (("--lr", "0"), "lr must be above 0 and below 100, not 0.0"),
        (("--lr", "nan"), "stages.0.lr must be a finite number, not nan"),
        (("--batch-size", "0"), "batch_size must be at least 1, not 0"),
        (
            ("--batch-size", "1", "--batch-norm", "train"),
            "batch_size must be at least 3 where batch norms are trained, not 1",
        ),
        (("--weight-decay", "-1"), "weight_decay must be at least 0, not -1.0"),
        (("--val", "1.5"), "data.val must be a share in [0, 1), not 1.5"),
        (("--val", "0.6", "--test", "0.5"), "data.val + data.test must be below 1"),
        (("--test", "-0.1"), "data.test must be a share in [0, 1), not -0.1"),
        (("--seed", "-1"), "seed must be 0 to 4294967295, not -1"),
        (("--seed", str(2**70)), "seed must be 0 to 4294967295"),
        (("--image-px", "7"), "image_px must be 0 or 16 to 4096, not 7"),
        (("--device", "tpu"), "compute.device must be auto, cpu, cuda or cuda:N, not 'tpu'"),
        (("--partial",), "--partial goes with --weights FILE"),
    ],
)
def test_options_that_do_not_hold(
    photos: Path, tmp_path: Path, capsys: Capture, options: tuple[str, ...], words: str
) -> None:
    assert words in refused(capsys, train(photos, tmp_path / "run", *options))
    assert not (tmp_path / "run" / "recipe.toml").exists()


@pytest.mark.parametrize("command", ["lines", "embed"])
def test_an_image_size_that_does_not_hold(
    photos: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    argv = typed(command, NETWORK[1], "--image-px", -5)
    argv += typed(photos, "--out", tmp_path / "x.npz") if command == "embed" else []
    assert "image_px must be 0 or 16 to 4096, not -5" in refused(capsys, argv)


@pytest.mark.parametrize("val", [0.2, 0])
def test_a_loss_that_is_no_number(
    photos: Path, tmp_path: Path, capsys: Capture, val: float
) -> None:
    wild = ("--epochs", 1, "--val", val)
    line = refused(capsys, train(photos, tmp_path / "run", *wild, "--weight-decay", 1e40))
    assert "the loss is no longer a number in epoch" in line
    assert "the state of before this stage is kept" in line
    assert "learning rate ten times smaller or clip = 1.0, with which the same command goes" in line
    assert not (tmp_path / "run" / "metrics.json").exists()
    # The advice can be followed in the same folder.
    tame = train(photos, tmp_path / "run", *wild, "--lr", 0.001)
    words = said(capsys, tame)
    assert "unfinished; going on with it from stages.0, changed as asked" in words
    # It once stayed the run of the first command.
    assert "already finished" in said(capsys, tame)


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("how", ["pickle", "torch", "torch in a state dict"])
def test_a_malicious_pickle_is_refused_and_nothing_runs(
    photos: Path, tmp_path: Path, capsys: Capture, how: str
) -> None:
    marker, file = tmp_path / "it-ran", tmp_path / "weights.pth"
    if how == "pickle":
        file.write_bytes(pickle.dumps(Evil(marker)))
    else:
        torch.save(Evil(marker) if how == "torch" else {"state_dict": {"w": Evil(marker)}}, file)
    named = ("--backbone", "timm:test_resnet", "--weights", file)
    line = refused(capsys, train(photos, tmp_path / "run", *named))
    assert str(file) in line
    assert not marker.exists()
    assert not (tmp_path / "run" / "recipe.toml").exists()


def test_weights_that_do_not_fit(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    state = timm.create_model("test_resnet").state_dict()
    state["conv1.0.weight"] = torch.zeros(5, 3, 3, 3)
    state["extra"] = state.pop("layer1.0.conv1.weight")
    torch.save(state, tmp_path / "weights.pth")
    named = ("--backbone", "timm:test_resnet", "--weights", tmp_path / "weights.pth")
    line = refused(capsys, train(photos, tmp_path / "run", *named))
    assert "the weights do not fit" in line
    assert "1 missing (layer1.0.conv1.weight)" in line
    assert "conv1.0.weight: network [" in line
    assert "file [5, 3, 3, 3]" in line
    assert "1 left over (extra)" in line
    assert "--partial" in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.pth", "no such weights file"),
        ("cut.safetensors", "not a whole safetensors file"),
        ("text.pth", "text.pth"),
        ("odd.xyz", "odd.xyz: no weights file of a known format; known are .safetensors, "),
    ],
)
def test_weights_that_are_none(
    photos: Path, tmp_path: Path, capsys: Capture, name: str, words: str
) -> None:
    if name != "gone.pth":
        (tmp_path / name).write_bytes(b"I am no weights file, and I am long enough")
    named = ("--backbone", "timm:test_resnet", "--weights", tmp_path / name)
    assert words in refused(capsys, train(photos, tmp_path / "run", *named))


def test_weights_do_not_go_with_a_folder(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    named = ("--backbone", f"dir:{finished_run.path}", "--weights", tmp_path / "x.pth")
    line = refused(capsys, train(finished_run.photos, tmp_path / "run", *named))
    assert "dir: brings its own weights" in line


# The disk.


def test_a_full_disk_while_filling_loses_nothing(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    argv = train(photos, tmp_path / "run")
    before = fingerprint(photos)
    with files_of_at_most(8192):
        line = refused(capsys, argv)
    assert "the disk is full; what was finished before is kept" in line
    assert "run the same command again" in line
    assert not leftovers(tmp_path)
    assert "unfinished; going on with it" in said(capsys, argv)
    assert fingerprint(photos) == before


@pytest.mark.parametrize(
    ("options", "limit", "name"),
    [
        ((), 200_000, "model.safetensors"),
        (("--head", "mlp:8192", "--epochs", 1), 1_600_000, "head.safetensors"),
    ],
)
def test_a_full_disk_at_the_model_leaves_no_half_of_it(
    photos: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    limit: int,
    name: str,
) -> None:
    argv = train(photos, tmp_path / "run", *options)
    save = classifier.save

    def save_on_a_full_disk(*given: Any) -> None:
        # Checkpoints hold the head too; they are larger, and come before.
        with files_of_at_most(limit):
            save(*given)

    with monkeypatch.context() as patch:
        patch.setattr(classifier, "save", save_on_a_full_disk)
        line = refused(capsys, argv)
    assert f"{tmp_path}/run/model/{name}: the disk is full" in line
    assert not leftovers(tmp_path)
    assert not (tmp_path / "run" / "model" / name).exists()
    assert "this run is unfinished" in refused(capsys, typed("predict", tmp_path / "run", photos))
    words = said(capsys, argv)
    assert "unfinished; going on with it" in words
    assert "36 activations were cached, 0 computed" in words
    assert "epoch 1" not in words


def test_a_full_disk_at_a_checkpoint_loses_nothing_before_it(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    argv = train(photos, tmp_path / "run", "--head", "mlp:8192", "--epochs", 1)
    with files_of_at_most(1_600_000):
        line = refused(capsys, argv)
    assert f"{tmp_path}/run/checkpoints/last.safetensors: the disk is full" in line
    assert not leftovers(tmp_path)
    words = said(capsys, argv)
    assert "unfinished; going on with it" in words
    assert "36 activations were cached, 0 computed" in words


@pytest.mark.parametrize("ending", ["npz", "safetensors", "h5", "parquet"])
def test_a_full_disk_under_embed(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture, ending: str
) -> None:
    out = tmp_path / f"features.{ending}"
    argv = typed("embed", f"dir:{finished_run.path}", finished_run.photos, "--out", out)
    argv += typed("--cache-dir", finished_run.cache, "--precision", "fp32")
    with files_of_at_most(2048):
        line = refused(capsys, argv)
    assert line.startswith(f"{out}: ")
    assert "full" in line
    assert not list(tmp_path.iterdir())


def test_too_little_room_is_found_before_any_work(
    photos: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    line = refused(capsys, train(photos, tmp_path / "run"))
    assert "the cache needs" in line
    assert "or run with --cache never" in line
    assert not (tmp_path / "cache").exists()


def test_places_that_cannot_be_written(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for argv, words in (
        (train(photos, file), "file: is a file; --out must name a folder"),
        (train(photos, file / "run"), "Not a directory. Name another place"),
        (train(photos, tmp_path / "full"), "contains 'mine.txt' and is not a run folder"),
        (train(photos, Path("/proc/run")), "/proc/run"),
        (train(photos, tmp_path / "a", "--cache-dir", file), "file is a file. Name another place"),
        (train(photos, tmp_path / "b", "--cache-dir", file / "x"), "is a file. Name another place"),
    ):
        assert words in refused(capsys, argv)
    assert file.read_text() == "mine"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("inside", ["run", "red", "red/run", "."])
def test_nothing_is_written_among_the_pictures(
    photos: Path, tmp_path: Path, capsys: Capture, inside: str
) -> None:
    before = fingerprint(photos)
    line = refused(capsys, train(photos, photos / inside))
    assert "and what is trained on is never written to. Name a folder elsewhere." in line
    line = refused(capsys, train(photos, tmp_path / "run", "--cache-dir", photos / inside))
    assert line.startswith("--cache-dir: ")
    (tmp_path / "link").symlink_to(photos)
    refused(capsys, train(photos, tmp_path / "link" / inside))
    out, cache = photos / inside / "x.npz", ("--cache-dir", photos / inside)
    name = NETWORK[1]
    for option, argv in (
        ("--cache-dir", typed("plan", photos, *NETWORK, *cache)),
        ("--cache-dir", typed("lr-find", photos, "--out", tmp_path / "rates", *NETWORK, *cache)),
        ("--out", typed("lr-find", photos, "--out", photos / inside / "rates", *NETWORK)),
        ("--cache-dir", typed("embed", name, photos, "--out", tmp_path / "x.npz", *cache)),
        ("--out", typed("embed", name, photos, "--out", out)),
    ):
        assert refused(capsys, argv).startswith(f"{option}: ")
    assert fingerprint(photos) == before


def test_the_users_pictures_are_never_touched(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    (photos / "red" / "text.jpg").write_text("I am no picture.")
    before = fingerprint(photos)
    run = tmp_path / "run"
    said(capsys, train(photos, run))
    main(typed("predict", run, photos))
    main(typed("evaluate", run, photos))
    main(typed("embed", f"dir:{run}", photos, "--out", tmp_path / "x.npz"))
    assert fingerprint(photos) == before


# The run folder.


def test_a_run_folder_in_use(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    with files.locked(tmp_path / "run" / ".lock", "the other"):
        line = refused(capsys, train(photos, tmp_path / "run"))
    assert "run: in use by another process. Wait for it to end, or choose another --out." in line


def test_a_finished_run_again(finished_run: FinishedRun, capsys: Capture) -> None:
    before = fingerprint(finished_run.path / "model")
    begun = time.process_time()
    words = said(capsys, finished_run.argv)
    assert time.process_time() - begun < 2
    assert "already finished with this recipe and these pictures" in words
    assert fingerprint(finished_run.path / "model") == before


def test_a_finished_run_with_another_recipe_or_other_pictures(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    before = fingerprint(finished_run.path)
    line = refused(capsys, [*finished_run.argv, "--seed", "5"])
    assert "holds a finished run of another recipe (seed: 0 and 5). To train anew" in line
    assert "--out " + str(finished_run.path) + "-2" in line
    others = make_photos(tmp_path / "others", {"blue": 4, "red": 4})
    argv = [str(others) if word == str(finished_run.photos) else word for word in finished_run.argv]
    assert "was made from other pictures than these" in refused(capsys, argv)
    assert fingerprint(finished_run.path) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", '{"val'),
        ("plan.json", "[]"),
        ("plan.json", None),
        ("history.jsonl", "{x"),
        ("recipe.toml", "[["),
        ("listing.csv", None),
        ("predictions.csv", None),
    ],
)
def test_a_damaged_run_folder(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture, name: str, content: str | None
) -> None:
    copy = shutil.copytree(finished_run.path, tmp_path / "run")
    (copy / name).unlink()
    (copy / "report.html").unlink()  # It is made again, from all the others.
    if content is not None:
        (copy / name).write_text(content)
    argv = [str(copy) if word == str(finished_run.path) else word for word in finished_run.argv]
    line = refused(capsys, argv)
    assert name in line


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"line": "nowhere"}, "line 'nowhere'"),
        ({"compute": "fp7"}, "frostline.compute must be one of auto, bf16, fp32, not 'fp7'"),
        ({"head": {"spec": "mlp:8"}}, "head.safetensors: no such weights file"),
        ({"head": {"spec": "whatever"}}, "not 'whatever'"),
        ({"head": "mlp:8"}, "frostline.head must be a table, not 'mlp:8'"),
    ],
)
def test_a_damaged_model_folder(
    finished_run: FinishedRun,
    tmp_path: Path,
    capsys: Capture,
    block: dict[str, str],
    words: str,
) -> None:
    copy = shutil.copytree(finished_run.path / "model", tmp_path / "model")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "frostline": block}))
    assert words in refused(capsys, typed("predict", copy, finished_run.picture))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("rnu", "no such run or model folder, and no KIND:NAME. Did you mean run?"),
        ("photos", "no config.json in it"),
        ("photos/red/000.png", "no such run or model folder"),
        ("begun", "this run is unfinished. Run its `frostline train` command again"),
    ],
)
def test_what_is_no_model(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture, target: str, words: str
) -> None:
    root = finished_run.path.parent
    if target == "begun":
        (tmp_path / "begun").mkdir()
        shutil.copy(finished_run.path / "recipe.toml", tmp_path / "begun")
        root = tmp_path
    for command in ("predict", "evaluate"):
        assert words in refused(capsys, typed(command, root / target, finished_run.photos))


def test_pictures_that_are_not_there(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    line = refused(capsys, typed("predict", finished_run.path, tmp_path / "gone.jpg"))
    assert "gone.jpg: there is no such file or folder" in line
    line = refused(capsys, typed("predict", finished_run.path, tmp_path))
    assert "holds no images. Name image files, or folders of them." in line


def test_a_class_that_the_model_does_not_know(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    make_photos(tmp_path / "photos", {"blue": 2, "gren": 2})
    line = refused(capsys, typed("evaluate", finished_run.path, tmp_path / "photos"))
    assert "class 'gren' is unknown to the model, which knows blue, green, red" in line
    assert "Did you mean green?" in line


def test_fewer_than_one_class_is_asked_for(finished_run: FinishedRun, capsys: Capture) -> None:
    for count in (0, -3):
        line = refused(
            capsys, typed("predict", finished_run.path, finished_run.picture, "--top-k", count)
        )
        assert line == f"--top-k: must be at least 1, not {count}."


# Several processes, and their end.

# Chunks are closed at once, so that a small run has many.
MANY_CHUNKS = """
import sys
from frostline.activations.cache import chunks
from frostline.cli import main
chunks.CLOSE_AFTER_S = chunks.CLOSE_AFTER_SHARE = 0.0
sys.exit(main(sys.argv[1:]))
"""


def test_a_kill_while_filling_and_two_runs_at_once(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 96, "red": 96})
    cache = tmp_path / "shared"

    def argv(out: str) -> list[str]:
        named = ("--backbone", f"dir:{finished_run.path}", "--image-px", 160)
        stage = ("--recipe", "quick", "--set", "stages=[{line='layer4', epochs=1}]")
        more = ("--cache-dir", cache, *stage, "--precision", "fp32")
        return typed("train", photos, "--out", tmp_path / out, *named, *more)

    def begin(out: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", MANY_CHUNKS, *argv(out)]
        return subprocess.Popen(words, stderr=subprocess.PIPE)

    killed = begin("one")
    until = time.monotonic() + 120
    while len(list(cache.glob("*/*.safetensors"))) < 2:
        assert killed.poll() is None, killed.stderr.read().decode() if killed.stderr else ""
        assert time.monotonic() < until
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "one" / "metrics.json").exists()

    at_once = begin("two")
    words = said(capsys, argv("one"))
    _, other = at_once.communicate(timeout=120)
    assert at_once.returncode == 0, other.decode()
    assert "unfinished; going on with it" in words
    plans = [json.loads((tmp_path / out / "plan.json").read_text()) for out in ("one", "two")]
    assert plans[0]["rows_kept"] >= 32
    assert plans[0]["rows_kept"] + plans[0]["rows_computed"] == 192
    keys = [[source["cache_key"] for source in plan["passes"]] for plan in plans]
    assert keys[0] == keys[1]
    metrics = [(tmp_path / out / "metrics.json").read_text() for out in ("one", "two")]
    assert metrics[0] == metrics[1]
    assert main(typed("cache", "verify", "--remove", "--cache-dir", cache)) == 0
    assert ", 0 damaged and " in capsys.readouterr().out
