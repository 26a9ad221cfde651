"""Curves as pictures: what is on them, and that the same numbers give the same files."""

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from PIL import Image

from frostline.base.errors import DiskError
from frostline.report.curves import write_curves, write_lr
from frostline.report.stages import results

SVG = "{http://www.w3.org/2000/svg}"


def epochs(stage: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "stage": stage,
            "kind": "train",
            "epoch": number,
            "train_loss": 1 / number,
            "train_accuracy": 1 - 0.2 / number,
            "val_loss": 1.2 / number,
            "val_accuracy": 1 - 0.3 / number,
        }
        for number in range(1, count + 1)
    ]


PROBE = {"stage": 0, "kind": "probe", "val_accuracy": 0.875}
HISTORY = [PROBE, *epochs(1, 3), *epochs(2, 2)]


def words(svg: Path) -> list[str]:
    found = ElementTree.parse(svg).getroot().iter(f"{SVG}text")
    return ["".join(text.itertext()).strip() for text in found]


def test_loss_and_accuracy_of_all_stages_are_drawn_with_the_probe(tmp_path: Path) -> None:
    png, svg = write_curves(HISTORY, tmp_path) or (None, None)
    assert (png, svg) == (tmp_path / "curves.png", tmp_path / "curves.svg")
    with Image.open(png) as image:
        assert (image.format, image.size) == ("PNG", (1350, 540))
    told = words(svg)
    for word in ("loss", "accuracy", "epoch, through all stages", "stage 1", "stage 2"):
        assert word in told, word
    assert told.count("training") == told.count("validation") == 2
    assert told.count("probe, val.") == 1
    assert "5" in told, "five epochs in all"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "curves.svg"]


def test_what_was_kept_and_what_was_left_out_is_marked(tmp_path: Path) -> None:
    proofs = [
        {"stage": 1, "line": "top", "kept": False, "best_epoch": 0},
        {"stage": 2, "line": "blocks.5", "kept": True, "best_epoch": 2},
    ]
    _, svg = write_curves(HISTORY, tmp_path, results(HISTORY, proofs)) or (None, None)
    assert svg
    told = words(svg)
    assert told.count("stage 1, left out") == 2
    assert told.count("kept") == 2
    assert "kept" not in words((write_curves(HISTORY, tmp_path / "bare") or (svg, svg))[1])


def test_the_same_numbers_give_the_same_files(tmp_path: Path) -> None:
    first = write_curves(HISTORY, tmp_path / "a")
    again = write_curves(HISTORY, tmp_path / "b")
    assert [p.read_bytes() for p in first or ()] == [p.read_bytes() for p in again or ()]
    assert first
    assert b"<dc:date>" not in first[1].read_bytes()


@pytest.mark.parametrize("history", [[], [PROBE]])
def test_nothing_is_drawn_where_nothing_was_trained(
    history: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert write_curves(history, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_what_was_not_measured_has_no_curve(tmp_path: Path) -> None:
    bare = [
        {"stage": 1, "kind": "train", "epoch": 1, "train_loss": 0.5, "train_accuracy": 0.5},
        {"stage": 1, "kind": "train", "epoch": 2, "train_loss": math.nan, "train_accuracy": None},
    ]
    _, svg = write_curves(bare, tmp_path) or (None, None)
    assert svg
    assert words(svg).count("training") == 2
    assert "validation" not in words(svg)
    assert "probe, val." not in words(svg)


def test_a_short_stage_among_long_ones_is_told_by_its_number(tmp_path: Path) -> None:
    history = [*epochs(1, 30), *epochs(2, 1), *epochs(3, 30)]
    _, svg = write_curves(history, tmp_path) or (None, None)
    assert svg
    assert words(svg).count("stage 1") == words(svg).count("stage 3") == 2
    assert "stage 2" not in words(svg)


def test_the_learning_rate_picture_marks_the_suggestion(tmp_path: Path) -> None:
    rates = [10 ** (number / 4 - 6) for number in range(25)]
    losses = [0.7 - 0.4 / (1 + math.exp(-number + 12)) for number in range(24)] + [50.0]
    png, svg = write_lr(rates, losses, rates[12], tmp_path / "lr.find")
    assert (png, svg) == (tmp_path / "lr.find.png", tmp_path / "lr.find.svg")
    told = words(svg)
    assert {"learning rate", "smoothed loss", "suggested: 0.001"} <= set(told)
    assert "50" not in told, "where training breaks, the loss leaves the picture"


def test_settings_of_matplotlib_are_left_aside_and_left_alone(tmp_path: Path) -> None:
    plain = write_curves(HISTORY, tmp_path / "plain")
    with matplotlib.rc_context({"lines.linewidth": 9, "text.usetex": True}):
        own = write_curves(HISTORY, tmp_path / "own")
        assert matplotlib.rcParams["lines.linewidth"] == 9
    assert [p.read_bytes() for p in plain or ()] == [p.read_bytes() for p in own or ()]


def test_a_folder_that_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"curves\.png: cannot be written"):
        write_curves(HISTORY, tmp_path / "file")


def test_nothing_heavy_is_imported_and_no_window_is_looked_for(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from frostline.report import curves; "
        "assert 'matplotlib' not in sys.modules; "
        f"curves.write_lr([1e-3, 1e-2], [2.0, 1.0], 1e-2, pathlib.Path({str(tmp_path / 'lr')!r})); "
        "print([m for m in ('torch', 'timm', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
