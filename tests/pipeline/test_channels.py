"""Networks of one and of several input channels, from the command line to a model and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor, nn

import frostline
from conftest import settled
from frostline import frost
from frostline.cli import main
from frostline.images import feeding, listing
from frostline.images.preprocessing import Preprocessing


def digits(root: Path) -> Path:
    """Writes grey pictures: upright bars in one class, lying ones in the other."""
    for label, axis in (("lying", 0), ("upright", 1)):
        (root / label).mkdir(parents=True)
        for number in range(16):
            pixels = np.random.default_rng(number).normal(30, 10, (28, 28))
            middle = 6 + number
            pixels[(slice(middle, middle + 4), slice(4, 24))[:: 1 - 2 * axis]] += 180
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                root / label / f"{number}.png"
            )
    return root


def stacks(root: Path) -> Path:
    """Writes TIFFs of five pages, of which the fourth alone tells the classes apart."""
    for label, level in (("high", 180), ("low", 60)):
        (root / label).mkdir(parents=True)
        for number in range(12):
            pages = np.random.default_rng(number).integers(100, 140, (5, 32, 32), dtype=np.uint8)
            pages[3] = pages[3] - 120 + level
            tifffile.imwrite(root / label / f"{number}.tif", pages, photometric="minisblack")
    return root


def train(photos: Path, out: Path, backbone: str, *more: object) -> int:
    scratch = ("--recipe", "scratch", "--backbone", backbone, "--device", "cpu")
    return main(["train", str(photos), "--out", str(out), *scratch, *map(str, more)])


def test_the_digits_network_learns_from_scratch_on_grey_pictures(tmp_path: Path) -> None:
    photos = digits(tmp_path / "photos")
    how = (
        "--set",
        "stages.0.epochs=12",
        "--set",
        "views.live=false",
        "--augment",
        "none",
        "--val",
        0.3,
        "--precision",
        "fp32",
    )
    assert train(photos, tmp_path / "run", "builtin:mnist_cnn", *how) == 0
    run = frostline.open_run(tmp_path / "run")
    assert run.evaluate(photos, "all")["accuracy"] >= 0.9
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["frostline"]["preprocessing"]["mean"] == [0.1307]
    first = run.predict([photos])
    # The same from the model folder, which holds no code of the user's.
    again = frostline.backbone(f"dir:{tmp_path / 'run' / 'model'}")
    assert again.record.preprocessing.channels == 1
    assert {one.label for one in first} == {"lying", "upright"}


def test_stacked_pictures_train_a_network_of_as_many_channels(tmp_path: Path) -> None:
    photos = stacks(tmp_path / "photos")
    backbone = ("--backbone", "timm:test_resnet?pretrained=false&in_chans=5", "--image-px", "32")
    argv = ["train", str(photos), "--out", str(tmp_path / "run"), *backbone, "--device", "cpu"]
    assert main([*argv, "--precision", "fp32", *settled("--val", 0.25)]) == 0
    run = frostline.open_run(tmp_path / "run")
    assert run.evaluate(photos, "all")["accuracy"] == 1.0
    assert run.predict([photos / "low" / "0.tif"])[0].label == "low"


def test_pictures_of_other_channels_are_left_out_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = stacks(tmp_path / "photos")
    Image.new("RGB", (32, 32)).save(photos / "low" / "colours.png")
    backbone = ("--backbone", "timm:test_resnet?pretrained=false&in_chans=5", "--image-px", "32")
    argv = ["train", str(photos), "--out", str(tmp_path / "run"), *backbone, "--device", "cpu"]
    assert main([*argv, "--precision", "fp32", *settled("--val", 0.25)]) == 0
    said = capsys.readouterr().err
    assert "colours.png" in said
    assert "holds one picture of 3 channels, and the network takes 5 channels" in said


class _Viewing(nn.Module):
    """Asks for memory in one order after a map, as many textbooks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.fc = nn.Linear(4 * 15 * 15, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        scores: Tensor = self.fc(x.view(x.size(0), -1))
        return scores


def test_a_part_above_a_view_takes_activations_in_any_order_of_memory() -> None:
    net = _Viewing().eval()
    traced = frost.trace(net, (3, 32, 32))
    prefix, suffix = traced.cut("conv")
    images = torch.rand(3, 3, 32, 32)
    maps = prefix(images)
    assert torch.equal(suffix(maps), net(images))
    assert torch.equal(suffix(maps.to(memory_format=torch.channels_last)), net(images))


def test_pictures_that_cannot_be_fed_are_told_before_anything_is_computed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = ("--backbone", "timm:test_resnet?pretrained=false&in_chans=4")
    for argv in (("plan",), ("train", "--out", str(tmp_path / "run"))):
        assert main([*argv[:1], str(photos), *argv[1:], *backbone, "--device", "cpu"]) != 0
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert "takes 4 channels, and none of 16 pictures looked at has as many" in line
        assert "000.png: holds one picture of 3 channels. Give stacks of 4, or a network" in line
    assert not (tmp_path / "run").exists()


def test_colours_that_are_made_grey_are_told(photos: Path) -> None:
    how = Preprocessing(height_px=32, width_px=32, crop_pct=1.0, mean=(0.5,), std=(0.5,))
    listed = listing.scan(photos)
    told = feeding.check_channels(listed, how, "net")
    assert told == ("the network takes one channel: 36 of 36 pictures are made grey",)
    for file in photos.rglob("*.png"):
        Image.open(file).convert("L").save(file)
    assert feeding.check_channels(listing.scan(photos), how, "net") == ()
