"""The pages for those who come from elsewhere: commands and examples run, and print what they say.

They run on random weights and tiny pictures, and train for one epoch. What is counted is counted
of the real networks.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from conftest import ROOT, make_photos
from frostline.cli import main

PAGES = [ROOT / "docs" / f"coming-from-{name}.md" for name in ("keras", "pytorch", "tensorflow")]
CODE = re.compile(r"`([^`]+)`")


def rows(page: Path) -> Iterator[tuple[list[str], list[str]]]:
    """The commands of each row of a page's tables, and what they print."""
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) < 3 or cells[0] in ("step", "---"):
            continue
        commands = [code for code in CODE.findall(cells[2]) if code.startswith("frostline ")]
        yield commands, CODE.findall(cells[3]) if len(cells) > 3 else []


def untrained(text: str, px: int) -> str:
    """Names networks without weights, which would have to be downloaded."""

    def without(found: re.Match[str]) -> str:
        kind, name, options = found[1], found[2], found[3] or ""
        given = options.removeprefix("?").split("&") if options else []
        given += ["weights=none" if kind == "keras" else "pretrained=false"]
        given += [f"input_px={px}"] if kind == "keras" and px else []
        return f"{kind}:{name}?{'&'.join(given)}"

    return re.sub(r"\b(keras|torchvision):([A-Za-z]\w+)(\?[\w=&.]+)?(?![\w.])", without, text)


def shortened(words: list[str]) -> list[str]:
    """Takes one epoch, small pictures and no measuring for what trains or reads pictures."""
    if words[0] not in ("train", "plan", "embed"):
        return words
    words = list(words)
    size = "75" if "Inception" in " ".join(words) else "64"
    if words[0] != "embed" or "--channels-last" not in words:
        if "--image-px" in words:
            words[words.index("--image-px") + 1] = size
        else:
            words += ["--image-px", size]
    if "--epochs" in words:
        words[words.index("--epochs") + 1] = "1"
    return [*words, "--device", "cpu"] + (["--engine", "eager"] if words[0] == "train" else [])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures, as the pages have it."""
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos", {"cats": 10, "dogs": 10})
    Image.open(tmp_path / "photos/cats/000.png").convert("RGB").save(tmp_path / "new.jpg")
    torch.manual_seed(0)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_is_so(page: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    for commands, said in rows(page):
        printed = ""
        for command in commands:
            words = shortened(shlex.split(untrained(command, 0))[1:])
            if "FILE" in words:
                continue
            assert main(words) == 0, (words, capsys.readouterr().err)
            caught = capsys.readouterr()
            printed += caught.out + caught.err
            count += 1
        for words in said if commands else ():
            assert words in printed, (commands, printed[-2000:])
    assert count > 5
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        text = untrained(block, 32).replace("lr=1e-4", 'lr=1e-4, epochs=1, device="cpu"')
        exec(compile(text, page.name, "exec"), names)
    caught = capsys.readouterr()
    for number in re.findall(r"\)  # (\d+)$", page.read_text("utf-8"), re.MULTILINE):
        assert f"{number}\n" in caught.out


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.stem)
def test_vgg16_takes_twelve_lines(page: Path) -> None:
    text = page.read_text("utf-8")
    block = re.search(r"VGG16 in twelve lines.*?```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    assert len([line for line in block[1].splitlines() if line.strip()]) <= 12


def test_layers_have_the_numbers_that_the_tutorials_give_them() -> None:
    keras = pytest.importorskip("keras")
    options = {"weights": None, "include_top": False}
    vgg = [layer.name for layer in keras.applications.VGG16(**options).layers]
    assert (vgg[:15][-1], vgg[15]) == ("block4_pool", "block5_conv1")
    mobile = [layer.name for layer in keras.applications.MobileNet(**options).layers]
    assert (mobile[:80][-1], mobile[80]) == ("conv_pw_12_relu", "conv_dw_13")
    inception = [layer.name for layer in keras.applications.InceptionV3(**options).layers]
    assert inception[:249][-1] == "mixed8"


def test_the_table_of_backbones_is_what_the_script_writes() -> None:
    import runpy

    script = runpy.run_path(str(ROOT / "benchmarks" / "backbones.py"))
    rows = script["stored"]()
    assert script["page_of"](rows) == (ROOT / "docs" / "backbones.md").read_text("utf-8")
    assert list(rows) == list(script["networks"]())
    for name in (
        *("keras:MobileNet", "torchvision:squeezenet1_1", "timm:resnet10t"),
        *("transformers:ConvNextForImageClassification", "builtin:efficientnet_lite0", "py:own"),
        *("tf:tf1", "onnx:model.onnx", "tflite:float.tflite"),
    ):
        assert script["row_of"](name, rows[name].rate) == rows[name]
