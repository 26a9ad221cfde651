from collections.abc import Sequence

import pytest

from frostline.base.errors import did_you_mean, nearest

OPTIONS = ("--backbone", "--format", "--out", "--time", "--tracker", "--version", "--weights")


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("cats", ("ants", "bees"), []),
        ("dogs", ("frogs", "cats"), []),
        ("cat", ("cats", "dogs"), ["cats"]),
        ("fotos", ("photos", "runs"), ["photos"]),
        ("lable", ("path", "label"), ["label"]),
        ("tarin", ("train", "val", "test"), ["train"]),
        ("layer9", ("layer1", "layer4", "pooled"), ["layer1", "layer4"]),
        ("resnt18", ("timm:resnet18", "timm:vit"), ["timm:resnet18"]),
        ("resnet5O", ("resnet50.a1_in1k", "vit.b"), ["resnet50.a1_in1k"]),
        ("mobilenet", ("mobilenetv2_100", "resnet50"), ["mobilenetv2_100"]),
        ("Oneclass", ("oneClass",), ["oneClass"]),
        ("net.pt", ("net.pth", "notes"), ["net.pth"]),
        ("--model", OPTIONS, []),
        ("--json", OPTIONS, []),
        ("--imgsz", OPTIONS, []),
        ("--weight", OPTIONS, ["--weights"]),
        ("", ("a", ""), []),
    ],
)
def test_only_what_is_a_slip_away_is_suggested(
    name: str, names: Sequence[str], expected: list[str]
) -> None:
    assert sorted(nearest(name, names)) == sorted(expected)


def test_nothing_near_adds_no_word() -> None:
    assert did_you_mean("cats", ["ants"]) == ""
    assert did_you_mean("ant", ["ants"]) == " Did you mean ants?"
