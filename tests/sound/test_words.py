"""Sounds are called sounds, from the first line on screen to the report."""

import re

import pytest

from conftest import settled
from frostline.cli import main
from frostline.images import nouns
from sound_files import make_sounds

# Addresses, names of settings and of parts of a page are no words for people.
_NO_WORDS = re.compile(r"<style>.*?</style>|<img[^>]*>|data:image/\w+|image-px|<[^>]+>", re.S)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run of sounds of three windows each, and a prediction, say in all places."""
    sounds = make_sounds(tmp_path_factory.mktemp("sounds"), each=8, length_s=2.5)
    (sounds / "low" / "empty.wav").write_bytes(b"")
    run = tmp_path_factory.mktemp("run") / "run"
    argv = ["train", str(sounds), "--sound", "--out", str(run), "--window-s", "1", *settled()]
    argv += ["--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64"]
    assert main([*argv, "--device", "cpu", "--precision", "fp32"]) == 0
    sheet = run.parent / "sheet.html"
    assert main(["predict", str(run), str(sounds), "--device", "cpu", "--html", str(sheet)]) == 2
    argv = ["evaluate", str(run), str(sounds), "--device", "cpu", "--out", str(run.parent / "e")]
    assert main(argv) == 0
    places = {
        "log": run / "log.txt",
        "report": run / "report.html",
        "card": run / "model" / "README.md",
        "sheet": sheet,
        "evaluation": run.parent / "e" / "report.html",
    }
    return {name: _NO_WORDS.sub(" ", path.read_text()) for name, path in places.items()}


@pytest.mark.parametrize("place", ["log", "report", "card", "sheet", "evaluation"])
def test_no_sound_is_called_a_picture(told: dict[str, str], place: str) -> None:
    wrong = re.findall(r".{0,40}\b(?:picture|image|photo)s?\b.{0,40}", told[place], re.I)
    assert wrong == []


def test_windows_and_files_are_told_apart(told: dict[str, str]) -> None:
    assert "16 sounds in 2 classes" in told["log"]
    assert re.search(r"\d+ to learn from, \d+ kept aside to choose by, in 48 windows", told["log"])
    assert "views: 1 of each window" in told["log"]
    assert re.search(r"cross-validation of the probe over all 16 sounds", told["log"])


def test_counts_are_in_plain_words() -> None:
    assert nouns.SOUNDS.many(1) == "1 sound"
    assert nouns.nouns_of(False).many(1200) == "1,200 pictures"
