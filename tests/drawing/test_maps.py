"""Feature maps and kernels as pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import FinishedRun
from frostline.cli import main
from frostline.drawing import maps
from frostline.drawing.tiles import Sheet, Tile, coloured, draw_sheet

RESNET, VIT = "timm:test_resnet?pretrained=false", "timm:test_vit?pretrained=false"


def test_maps_lie_where_the_network_has_them() -> None:
    values = torch.arange(24.0)
    assert maps.maps_of(values.view(2, 3, 4), (1, 2)).shape == (2, 3, 4)
    last = maps.maps_of(values.view(3, 4, 2), (0, 1))
    assert torch.equal(last[1], values.view(3, 4, 2)[..., 1])
    # Nine tokens behind one that stands for no place.
    tokens = maps.maps_of(torch.arange(20.0).view(10, 2), None)
    assert torch.equal(tokens[0], torch.arange(2.0, 20, 2).view(3, 3))
    assert maps.maps_of(torch.ones(100), None).shape == (1, 2, 64)


def test_a_sheet_holds_every_tile() -> None:
    tiles = tuple(Tile(str(at), np.full((4, 4, 3), at * 20, np.uint8)) for at in range(10))
    image = np.asarray(draw_sheet([Sheet("ten", tiles)]))
    for at in range(10):
        assert (image == at * 20).all(2).sum() >= 64 * 64
    assert coloured(np.array([[0.0, 1.0]])).tolist() == [[[68, 1, 84], [253, 231, 37]]]


@pytest.mark.parametrize("network", [RESNET, VIT])
def test_the_command_line(
    network: str, finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kernels = tmp_path / "maps.png", tmp_path / "kernels.webp"
    picture = str(finished_run.picture)
    asked = ["look", picture, "--network", network, "--channels", "8"]
    assert main([*asked, "-o", str(out), "--kernels", str(kernels)]) == 0
    said = capsys.readouterr().err
    assert "maps that answer most" in said
    assert "kernels of 3 × " in said
    with Image.open(out) as image, Image.open(kernels) as other:
        assert (image.format, other.format) == ("PNG", "WEBP")


def test_maps_are_those_of_the_picture(finished_run: FinishedRun, tmp_path: Path) -> None:
    made = []
    for number, picture in enumerate(("red/000.png", "red/000.png", "blue/000.png")):
        made.append(tmp_path / f"{number}.png")
        asked = ["look", str(finished_run.photos / picture), "--network", str(finished_run.path)]
        assert main([*asked, "--channels", "4", "-o", str(made[-1])]) == 0
    first, again, other = (path.read_bytes() for path in made)
    assert first == again != other


def test_a_run_and_several_lines(finished_run: FinishedRun, tmp_path: Path) -> None:
    out = tmp_path / "maps.png"
    lines = ["--line", "layer1", "--line", "pooled"]
    asked = ["look", str(finished_run.picture), "--network", str(finished_run.path), *lines]
    assert main([*asked, "-o", str(out)]) == 0
    assert out.is_file()


def test_kernels_of_a_network_that_reads_blue_first(tmp_path: Path) -> None:
    network = maps.open_network("keras:VGG16?weights=none&include_top=false&input_px=32")
    weight = dict(network.opened.module.named_parameters())["block1_conv1.conv.weight"]
    with torch.no_grad():
        weight.zero_()
        weight[:, 0] = 1.0
    out = tmp_path / "kernels.png"
    maps.write_kernels(out, network)
    pixels = np.asarray(Image.open(out))
    # The first channel is blue, and drawn so.
    assert ((pixels == (128, 128, 255)).all(2)).sum() > 64 * 64
    assert not (pixels == (255, 128, 128)).all(2).any()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "look: name a PICTURE"),
        (["{picture}"], "--out: name the file"),
        (["{picture}", "-o", "maps.gif"], "--out: maps.gif must end in .png"),
        (["{picture}", "-o", "maps.png", "--channels", "0"], "--channels: must be at least 1"),
        (["--line", "layer1", "--kernels", "k.png"], "--line: goes with a PICTURE"),
        (["nothing.jpg", "-o", "maps.png"], "nothing.jpg: no such file"),
        (["{folder}", "-o", "maps.png"], "is a folder; name one picture"),
        (["{text}", "-o", "maps.png"], "not an image"),
        (["{picture}", "-o", "maps.png", "--line", "layr1"], "Did you mean layer1"),
    ],
)
def test_what_does_not_hold_is_said(
    words: list[str],
    said: str,
    finished_run: FinishedRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    places = {
        "picture": finished_run.picture,
        "folder": finished_run.photos,
        "text": tmp_path / "text.jpg",
    }
    typed = [word.format(**places) for word in words]
    assert main(["look", *typed, "--network", RESNET]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("maps.png").exists()
