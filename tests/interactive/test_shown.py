"""How objects show themselves: in a line, and in a notebook."""

import csv
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import frostline
from conftest import FinishedRun
from frostline.base.errors import FrostlineError
from frostline.interactive import notebook
from frostline.interactive.finished_run import Run
from frostline.interactive.predictions import Predictions
from frostline.model.predict import Prediction
from frostline.planner import Plan
from frostline.recipe import Recipe
from frostline.training.lr_find import RateSuggestion

NASTY = "<img src=x onerror=alert(1)>\x1b[31m\u202e"
ESTIMATE = {
    "line": "blocks.4",
    "keep": True,
    "engine": "eager-cpu-float32",
    "views": 4,
    "storage": "float16",
    "new_bytes": 5_000_000,
    "first_pass_s": 3.0,
    "epoch_s": 0.25,
    "total_s": 12.0,
}
FACTS = {
    "line": "blocks.4",
    "engine": "eager-cpu-float32",
    "views": 4,
    "cache": "always",
    "why": "it takes least time",
    "estimate": ESTIMATE,
    "options": [ESTIMATE, {**ESTIMATE, "keep": False, "total_s": 60.0}],
}


@pytest.fixture
def run(finished_run: FinishedRun, tmp_path: Path) -> Run:
    """A copy of the finished run in which two predictions are wrong."""
    shutil.copytree(finished_run.path, tmp_path / "run")
    path = tmp_path / "run" / "predictions.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:2]:
        row["predicted"] = next(x for x in ("red", "green", "blue") if x != row["label"])
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return frostline.open_run(tmp_path / "run")


def is_alone(html: str) -> bool:
    """Whether a piece of HTML loads nothing and runs nothing."""
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    return "<script" not in html and all(one.startswith("data:image/") for one in sources)


def objects(run: Run, picture: Path) -> list[Any]:
    said = run.predict(picture, top_k=3)
    return [
        run,
        said,
        said[0],
        Plan(Recipe(), FACTS),
        RateSuggestion((1e-5, 1e-3, 1e-1), (1.0, 0.5, 2.0), 1e-3, "valley"),
        frostline.backbone("timm:test_resnet", pretrained=False),
    ]


def test_each_says_what_it_is_in_a_line_and_in_html(run: Run, finished_run: FinishedRun) -> None:
    for one in objects(run, finished_run.picture):
        said = repr(one)
        assert said.startswith(type(one).__name__)
        assert "\n" not in said
        assert len(said) < 200
        shown = one._repr_html_()
        assert shown.startswith('<div class="frostline">')
        assert is_alone(shown)


def test_the_lines(run: Run, finished_run: FinishedRun) -> None:
    shown = [repr(one) for one in objects(replace(run, path=run.path), finished_run.picture)]
    assert shown[0] == f"Run {run.path}: 10 of 10 right on val (100 %)"
    assert shown[1] == "Predictions of 1 picture: red 1"
    assert re.fullmatch(r"Prediction \S+: red 100\.0%, \w+ 0\.0%, \w+ 0\.0%", shown[2])
    assert shown[3] == (
        "Plan: 4 views of each training image, kept at blocks.4 by eager-cpu-float32, about 12 s"
    )
    assert shown[4] == "RateSuggestion 0.001, of 3 rates from 1e-05 to 0.1 (valley)"
    assert shown[5].startswith("Backbone timm:test_resnet?pretrained=false: test_resnet, ")
    assert "0.5 M parameters" in shown[5]


def test_a_run_shows_score_matrix_and_mistakes(run: Run) -> None:
    shown = run._repr_html_()
    assert "10 of 10 right (100 %)" in shown
    assert '<table class="matrix">' in shown
    assert "2 mistakes, the surest first" in shown
    assert shown.count("data:image/jpeg") == 2
    assert str(run.report) in shown


def test_a_run_of_version_0_1_shows_itself() -> None:
    run = frostline.open_run(Path(__file__).parent.parent / "compat" / "v0_1" / "finished")
    assert "right on val" in repr(run)
    assert "matrix" in run._repr_html_()


def test_a_plan_without_measurements_shows_itself() -> None:
    facts = {key: FACTS[key] for key in ("line", "engine", "views", "cache", "why")} | {"views": 1}
    plan = Plan(Recipe(), facts | {"cache": "never"})
    assert repr(plan) == (
        "Plan: 1 view of each training image, cut at blocks.4 by eager-cpu-float32"
    )
    assert "<table" not in plan._repr_html_()
    assert Plan(Recipe(), FACTS)._repr_html_().count("chosen") == 1


def test_names_from_outside_are_escaped(run: Run, tmp_path: Path) -> None:
    said = Prediction(NASTY, ((NASTY, 0.5),), labels=(NASTY,), sureness=0.5)
    unread = Prediction(NASTY, (), NASTY)
    for one in (said, unread, Predictions((said, unread)), Plan(Recipe(), FACTS | {"why": NASTY})):
        assert is_alone(one._repr_html_())
        assert "<img src=x" not in one._repr_html_()
        assert not set("\x1b\u202e") & set(one._repr_html_() + repr(one))
    labels = [NASTY, "b", "c"]
    val = {**run.metrics["val"], "labels": labels}
    shown = replace(run, metrics={"val": val})._repr_html_()
    assert is_alone(shown)


def test_many_predictions_are_cut_short(finished_run: FinishedRun) -> None:
    said = frostline.open_run(finished_run.path).predict(finished_run.photos)
    assert repr(said).startswith("Predictions of 36 pictures: ")
    shown = said._repr_html_()
    assert shown.count("<li>") == 24
    assert "And 12 more" in shown
    assert isinstance(said[:2], Predictions)
    assert [one.path for one in said[:2]] == [one.path for one in said][:2]


def test_a_picture_in_memory_is_shown(run: Run) -> None:
    (said,) = run.predict(np.full((40, 60, 3), 200, np.uint8))
    assert "data:image/jpeg" in said._repr_html_()
    assert "no longer there" not in said._repr_html_()
    (gone,) = [replace(said, path="gone.jpg", content=None)]
    assert "no longer there" in gone._repr_html_()


def test_frames(run: Run, finished_run: FinishedRun) -> None:
    pytest.importorskip("pandas")
    history = run.history
    lines = (run.path / "history.jsonl").read_text("utf-8").splitlines()
    assert len(history) == len(lines)
    assert set(history.columns) == {key for line in lines for key in json.loads(line)}
    predictions = run.predictions
    assert len(predictions) == 10
    assert predictions[["p:red", "p:green", "p:blue"]].sum(axis=1).tolist() == pytest.approx(
        [1.0] * 10, abs=1e-4
    )
    wrong = run.mistakes()
    assert list(wrong.columns) == ["path", "label", "predicted", "probability", "split"]
    assert len(wrong) == 2
    assert (wrong["label"] != wrong["predicted"]).all()
    said = run.predict([finished_run.picture, run.path / "recipe.toml"]).to_frame()
    assert said["label"].tolist() == ["red", ""]
    assert said["problem"].tolist()[0] == ""
    assert said["problem"].tolist()[1] != ""


def test_a_run_without_mistakes_has_an_empty_frame(finished_run: FinishedRun) -> None:
    pytest.importorskip("pandas")
    wrong = frostline.open_run(finished_run.path).mistakes()
    assert len(wrong) == 0
    assert "predicted" in wrong.columns


def test_missing_pandas_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    words = r"^{}: needs pandas: pip install 'frostline\[notebook\]'\.$"
    for what in ("history", "predictions"):
        with pytest.raises(FrostlineError, match=words.format(what)):
            getattr(run, what)
    with pytest.raises(FrostlineError, match=words.format("mistakes")):
        run.mistakes()
    with pytest.raises(FrostlineError, match=words.format("to_frame")):
        Predictions(()).to_frame()
    assert run._repr_html_()


def test_show_opens_the_report(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    run.report.unlink()
    run.show()
    assert opened == [run.report.as_uri()]
    assert run.report.is_file()
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    run.show()
    assert capsys.readouterr().out == f"Open this in a browser: {run.report}\n"


def test_outside_a_notebook_words_go_to_standard_error() -> None:
    assert not notebook.is_notebook()
    assert notebook.words_to() is sys.stderr


def test_a_line_takes_the_place_of_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notebook, "is_notebook", lambda: True)
    stream = notebook.words_to()
    assert stream.isatty()
    stream.write("first\n")
    stream.write("\rbar: 50%")
    stream.write("second\n")
    stream.write("third\n")
    assert capsys.readouterr().out == "first\n\rbar: 50%\r" + " " * 8 + "\rsecond\nthird\n"
