"""The report of a run, from the run folder alone."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from conftest import FinishedRun
from frostline import recipe
from frostline.base.errors import RunError
from frostline.images import listing as listings
from frostline.images.rows import Row
from frostline.report import build, card
from frostline.run.folder import RunFolder
from frostline.scores import evaluation as evaluate


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
        "0 files",
        *("blue", "green", "red"),
    ):
        assert words in text
    counts = [
        len([row for row in _listing(run) if f",{split}," in row]) for split in ("train", "val")
    ]
    assert f"{counts[0]} train, {counts[1]} val" in text
    about = json.loads(run.about.read_text())
    assert f"Frostline {about['frostline']}" in text
    assert "frostline train …/photos --out …/run --cache-dir …/cache" in text


def test_nothing_tells_where_the_pictures_lie(run: RunFolder, finished_run: FinishedRun) -> None:
    listing = run.listing.read_text()
    run.listing.write_text(listing + f"{finished_run.photos}/red/bad.png,red,,,0,0,,damaged,\n")
    build.write(run)
    card.write(run)
    for path in (run.report, run.model / "README.md"):
        text = path.read_text("utf-8")
        for folder in (*finished_run.photos.parents, *run.path.parents):
            assert len(folder.parts) < 2 or str(folder) not in text
    assert "red/bad.png: damaged" in run.report.read_text("utf-8")


def test_a_run_of_an_older_version_has_no_date_and_no_command(run: RunFolder) -> None:
    run.about.unlink()
    build.write(run)
    text = run.report.read_text("utf-8")
    assert "byline" not in text.partition("</style>")[2]
    assert "command" not in text.partition("</style>")[2]


def test_files_for_slides_and_spreadsheets_lie_beside_the_report(run: RunFolder) -> None:
    names = {path.name for path in run.path.iterdir()}
    assert {
        "confusion-val.png",
        "confusion-val.svg",
        "results.csv",
        "views.jpg",
        "run.json",
    } <= names


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
    build.write(run)
    shown = re.findall(r'class="chance">(\d+)&nbsp;%', run.report.read_text("utf-8"))
    assert shown[:3] == ["70", "60", "50"]
    assert "data:image/" in run.report.read_text("utf-8")


def test_pictures_that_are_gone_do_not_matter(run: RunFolder) -> None:
    head, first, *rows = run.predictions.read_text().splitlines()
    split, _, label, *shares = first.split(",")
    wrong = "red" if label != "red" else "blue"
    changed = ",".join([split, "/nowhere/gone.png", label, wrong, *shares[1:]])
    run.predictions.write_text("\n".join([head, changed, *rows]) + "\n")
    build.write(run)
    assert "gone.png" in run.report.read_text("utf-8")


def several(run: RunFolder) -> None:
    """Makes the run one of several labels an image, as far as its report can tell."""
    rows = [
        Row("/gone/0.png", "blue;red", "val"),
        Row("/gone/1.png", "", "val"),
        Row("/gone/2.png", "green", "val"),
    ]
    probabilities = torch.tensor([[0.9, 0.8, 0.6], [0.1, 0.2, 0.3], [0.1, 0.01, 0.6]])
    labels = ("blue", "green", "red")
    part = evaluate.scored("val", rows, probabilities, labels, several=True)
    listings.write_csv(listings.Listing(tuple(rows), several=True), run.listing)
    evaluate.write_predictions(run.predictions, labels, [part])
    run.write_metrics({"val": part.metrics})


def test_a_run_of_several_labels_has_a_report(run: RunFolder) -> None:
    several(run)
    build.write(run)
    text = run.report.read_text("utf-8")
    assert "1 of 3 with every label right (33&nbsp;%)" in text
    assert "always saying nothing would be 33&nbsp;%" in text
    assert "What is missed, and what is said wrongly" in text
    assert "calibration error" not in text
    # The surest mistake first: green was missed at 0.01, and said at 0.8 where it is not.
    shown = re.findall(r'(\w+) <span class="chance">(\d+)&nbsp;%</span>, ([\w ]+)<', text)
    assert shown == [("green", "1", "missed"), ("green", "80", "said wrongly")]


def test_the_card_of_several_labels(run: RunFolder) -> None:
    card.write(run)
    plain = (run.model / "README.md").read_text("utf-8")
    assert "Tells 3 classes apart: blue, green, red." in plain
    assert "| split | images | accuracy | 95 % interval | log-loss | macro F1 |" in plain
    several(run)
    card.write(run)
    text = (run.model / "README.md").read_text("utf-8")
    assert "Says which of 3 classes are in a picture: blue, green, red." in text
    assert "| split | images | exact match | 95 % interval | mAP | log-loss | macro F1 |" in text
    assert "| val | 3 | 0.3333 | 0.061 to 0.792 | 0.6111 | 0.9486 | 0.5556 |" in text


def test_a_run_without_figures_has_a_report(run: RunFolder) -> None:
    run.write_metrics({})
    run.predictions.write_text(run.predictions.read_text().splitlines()[0] + "\n")
    build.write(run)
    assert "bit for bit" in run.report.read_text("utf-8")


@pytest.mark.parametrize("whose", ["the run", "a stage"])
def test_frozen_layers_that_changed_are_told(run: RunFolder, whose: str) -> None:
    if whose == "the run":
        run.plan.write_text(json.dumps({**run.read_plan(), "frozen": {"unchanged": False}}))
    else:
        stages = [{"unchanged": True}, {"unchanged": False}]
        run.write_metrics({**run.read_metrics(), "stages": stages})
    build.write(run)
    assert "NO" in run.report.read_text("utf-8")


@pytest.mark.parametrize("name", ["metrics.json", "plan.json", "predictions.csv", "history.jsonl"])
def test_a_damaged_run_is_named(run: RunFolder, name: str) -> None:
    (run.path / name).unlink()
    if name == "history.jsonl":
        (run.path / name).write_text("{")
    with pytest.raises(RunError, match=name):
        build.write(run)
