"""The ways out of `predict` and `evaluate`: pages, tables, sorted copies."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import FinishedRun
from frostline.cli import main

Capture = pytest.CaptureFixture[str]


def typed(capsys: Capture, *words: object, status: int = 0) -> tuple[str, str]:
    """Runs a command and returns what it printed on standard output and standard error."""
    capsys.readouterr()
    assert main(list(map(str, words))) == status
    shown = capsys.readouterr()
    return shown.out, shown.err


@pytest.fixture
def new(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """Three red pictures, one blue, and one that is none."""
    folder = tmp_path / "new"
    folder.mkdir()
    for number in range(3):
        shutil.copy(finished_run.photos / "red" / f"00{number}.png", folder / f"r{number}.png")
    shutil.copy(finished_run.photos / "blue" / "000.png", folder / "b0.png")
    (folder / "bad.png").write_text("no picture")
    return folder


def test_predict_writes_all_that_is_asked_for(
    finished_run: FinishedRun, new: Path, tmp_path: Path, capsys: Capture
) -> None:
    page, table, sorted_to = tmp_path / "sheet.html", tmp_path / "said.csv", tmp_path / "sorted"
    words = ("--html", page, "--out", table, "--sort-into", sorted_to)
    out, err = typed(capsys, "predict", finished_run.path, new, *words, status=2)
    assert out == "", "the table is in the file"
    assert f"{new}/bad.png: not read: not an image" in err
    assert "4 pictures: red 3, blue 1" in err
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["blue", "", "red", "red", "red"]
    found = {str(path.relative_to(sorted_to)) for path in sorted_to.rglob("*.png")}
    assert found == {"blue/b0.png", "red/r0.png", "red/r1.png", "red/r2.png"}
    html = page.read_text("utf-8")
    assert html.count("<img") == 4
    assert str(tmp_path) not in html
    assert len(list(new.iterdir())) == 5, "nothing was moved"


def test_predict_marks_what_it_is_unsure_of(
    finished_run: FinishedRun, new: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("predict", finished_run.path, f"{new}/r*.png", "--unsure", 1)
    out, err = typed(capsys, *words, "--sort-into", tmp_path / "out", "--link")
    assert out.count("  unsure\n") == 3
    assert "3 under 100 % sure" in err
    assert all(path.is_symlink() for path in (tmp_path / "out" / "_unsure").iterdir())
    out, _ = typed(capsys, *words, "--format", "csv")
    assert [row["unsure"] for row in csv.DictReader(io.StringIO(out))] == ["1", "1", "1"]


def test_predict_takes_a_list_and_patterns(
    finished_run: FinishedRun, new: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = io.BytesIO(f"{new}/r0.png\n{new}/b0.png\n".encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=listed))
    out, err = typed(capsys, "predict", finished_run.path, "-", f"{new}/r[12].png", "--json")
    assert [Path(one["path"]).name for one in json.loads(out)] == [
        *("r0.png", "b0.png", "r1.png", "r2.png")
    ]
    assert "4 pictures: red 3, blue 1" in err


def test_one_picture_needs_no_count(finished_run: FinishedRun, new: Path, capsys: Capture) -> None:
    _, err = typed(capsys, "predict", finished_run.path, new / "r0.png")
    assert "pictures" not in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--unsure", "7"), "--unsure: must be from 0 to 1, such as 0.7, not 7."),
        (("--link",), "--link: says how --sort-into FOLDER puts files there; add that."),
        (("--json", "--format", "csv"), "--json: and --format csv ask for two things; name one."),
        (("--html", "sheet.txt"), "--html: sheet.txt must end in .html."),
        (("--out", "x.xlsx"), "--out: x.xlsx must end in .csv, .json, .parquet."),
    ],
)
def test_what_does_not_hold_is_said_before_any_work(
    finished_run: FinishedRun, new: Path, words: tuple[str, ...], told: str, capsys: Capture
) -> None:
    out, err = typed(capsys, "predict", finished_run.path, new, *words, status=2)
    assert out == ""
    assert err == f"frostline: {told}\n"


@pytest.mark.parametrize("option", ["--sort-into", "--html", "--out"])
def test_nothing_is_written_among_the_pictures(
    finished_run: FinishedRun, new: Path, option: str, capsys: Capture
) -> None:
    target = new / {"--sort-into": "sorted", "--html": "x.html", "--out": "x.csv"}[option]
    _, err = typed(capsys, "predict", finished_run.path, new, option, target, status=2)
    assert f"{option}: {target} lies inside {new}" in err
    assert not target.exists()


def test_evaluate_writes_a_report(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "judged"
    shutil.copytree(finished_run.photos, photos)
    # Made anew, so that it is none of those trained on, and with a wrong label.
    shutil.move(photos / "red" / "000.png", photos / "blue" / "wrong.png")
    for _ in range(2):
        _, err = typed(capsys, "evaluate", finished_run.path, photos, "--out", out)
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("report.html", "wrong.csv", "predictions.csv", "metrics.json"),
        *("confusion-all.png", "confusion-all.svg"),
    }
    with (out / "wrong.csv").open() as file:
        wrong = list(csv.DictReader(file))
    assert str(photos / "blue" / "wrong.png") in [row["path"] for row in wrong]
    assert f"wrong.csv beside it lists {len(wrong)} picture" in err
    html = (out / "report.html").read_text("utf-8")
    assert "<h1>photos, judged by run</h1>" in html
    assert "were trained on: on new ones the model will be less right" in html
    assert "How training went" not in html
    assert str(tmp_path) not in html
    scores = json.loads((out / "metrics.json").read_text())
    assert scores["all"]["n"] == 36


def test_evaluate_writes_over_nothing_else(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    words = ("evaluate", finished_run.path, finished_run.photos, "--out")
    _, err = typed(capsys, *words, tmp_path, status=2)
    assert "holds 'mine.txt', and is no earlier evaluation" in err
    _, err = typed(capsys, *words, tmp_path / "mine.txt", status=2)
    assert "is a file; name a folder" in err
    _, err = typed(capsys, *words, finished_run.path, status=2)
    assert "is no earlier evaluation" in err


def test_evaluate_of_what_says_nothing_of_its_training(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    model = finished_run.path / "model"
    words = ("evaluate", model, finished_run.photos, "--out", tmp_path / "out")
    typed(capsys, *words)
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "trained on" not in html
