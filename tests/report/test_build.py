"""The report of a run, from the run folder alone."""

import json
import shutil
from pathlib import Path

import pytest

from conftest import FinishedRun
from frostline import recipe
from frostline.errors import RunError
from frostline.report import build
from frostline.runfolder import RunFolder


@pytest.fixture
def run(finished_run: FinishedRun, tmp_path: Path) -> RunFolder:
    """A copy that a test may change."""
    return RunFolder(Path(shutil.copytree(finished_run.path, tmp_path / "run <&>")))


def test_it_is_made_from_the_folder_and_replaces_itself(run: RunFolder) -> None:
    first = run.report.read_text("utf-8")
    run.report.unlink()
    assert build.write(run) == run.report
    again = run.report.read_text("utf-8")
    assert again.replace("run &lt;&amp;&gt;", "run") == first
    assert "<title>" in again


def test_it_says_what_the_run_was(run: RunFolder, finished_run: FinishedRun) -> None:
    build.write(run)
    text = run.report.read_text("utf-8")
    made = recipe.read(run.recipe)
    for words in (
        made.backbone.name,
        "linear, avg pooling, from probe",
        "yes, bit for bit",
        "0 images",
        *("blue", "green", "red"),
    ):
        assert words in text
    counts = [
        len([row for row in _listing(run) if f",{split}," in row]) for split in ("train", "val")
    ]
    assert f"{counts[0]} train, {counts[1]} val" in text


def _listing(run: RunFolder) -> list[str]:
    return run.listing.read_text().splitlines()[1:]


def test_mistakes_are_shown_the_surest_first(run: RunFolder) -> None:
    head, *rows = run.predictions.read_text().splitlines()
    labels = [name.removeprefix("p:") for name in head.split(",")[4:]]
    wrong = []
    for number, row in enumerate(rows[:3]):
        split, path, label, *_ = row.split(",")
        other = next(name for name in labels if name != label)
        chance = 0.5 + number / 10
        shares = [chance if name == other else (1 - chance) / 2 for name in labels]
        wrong.append(",".join([split, path, label, other, *map(str, shares)]))
    run.predictions.write_text("\n".join([head, *wrong, *rows[3:]]) + "\n")
    found = build._mistakes(run.predictions)
    assert [one.probability for one in found] == [0.7, 0.6, 0.5]
    assert found[0].path == rows[2].split(",")[1]
    build.write(run)
    assert "data:image/" in run.report.read_text("utf-8")


def test_pictures_that_are_gone_do_not_matter(run: RunFolder) -> None:
    head, first, *rows = run.predictions.read_text().splitlines()
    split, _, label, *shares = first.split(",")
    wrong = "red" if label != "red" else "blue"
    changed = ",".join([split, "/nowhere/gone.png", label, wrong, *shares[1:]])
    run.predictions.write_text("\n".join([head, changed, *rows]) + "\n")
    build.write(run)
    assert "gone.png" in run.report.read_text("utf-8")


def test_a_run_without_figures_has_a_report(run: RunFolder) -> None:
    run.write_metrics({})
    run.predictions.write_text(run.predictions.read_text().splitlines()[0] + "\n")
    build.write(run)
    assert "bit for bit" in run.report.read_text("utf-8")


def test_frozen_layers_that_changed_are_told(run: RunFolder) -> None:
    plan = run.read_plan()
    plan["frozen"]["unchanged"] = False
    run.plan.write_text(json.dumps(plan))
    build.write(run)
    assert "NO" in run.report.read_text("utf-8")


@pytest.mark.parametrize("name", ["metrics.json", "plan.json", "predictions.csv", "history.jsonl"])
def test_a_damaged_run_is_named(run: RunFolder, name: str) -> None:
    (run.path / name).unlink()
    if name == "history.jsonl":
        (run.path / name).write_text("{")
    with pytest.raises(RunError, match=name):
        build.write(run)
