import io
import os
from pathlib import Path

import pytest

from conftest import make_photos
from frostline.base.console import Console, printable
from frostline.cli import main


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\rb\x00\x07\x7f\x9b", r"a\rb\x00\x07\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("one\u2028two", r"one\u2028two"),
        ("tab\tand line\nfeed, é, 🎉, می‌خواهم", "tab\tand line\nfeed, é, 🎉, می‌خواهم"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    stream = io.StringIO()
    Console(stream).say(text)
    assert stream.getvalue() == shown + "\n"


def test_names_of_files_and_classes_never_steer_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 6, "re\x1b[2Jd": 6})
    odd = photos / "blue" / "000.png"
    odd.rename(odd.with_name("\x1b]0;title\x07.png"))
    (photos / "blue" / "\x1b[1m.png").write_bytes(b"no picture")
    run = tmp_path / "run"
    network = ("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64")
    settled = ("--recipe", "quick", "--cache", "always", "--engine", "eager")
    assert main(["train", str(photos), "--out", str(run), *network, *settled]) == 0
    assert main(["predict", str(run), str(photos)]) == 2
    assert main(["predict", str(run), os.path.join(photos, "\x1b[3Jgone")]) == 2  # noqa: PTH118
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"\x1b]0;title\x07.png" in said.out
