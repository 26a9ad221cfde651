"""`frostline demo`, through the real command line; once, for it takes half a minute."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from frostline import demo
from frostline.base.console import QUIET
from frostline.base.errors import RunError
from frostline.cli import main
from frostline.images import listing as listings

RUNS = ("source", "transfer", "second_head", "scratch")


class Shown(NamedTuple):
    folder: Path
    text: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        # It must need no network, and not the user's cache.
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("FROSTLINE_CACHE", str(folder.parent / "unused"))
        lines: list[str] = []
        patch.setattr("frostline.base.console.Console.say", lambda _, text: lines.append(text))
        assert main(["demo", "--out", str(folder), "--seed", "0"]) == 0
    return Shown(folder, "\n".join(lines))


def metrics(shown: Shown, name: str) -> dict[str, object]:
    found = json.loads((shown.folder / "runs" / name / "metrics.json").read_text("utf-8"))
    assert set(found) == {"test", "stages"}
    assert [stage["unchanged"] for stage in found["stages"]] == [True]
    return dict(found["test"])


def plan(shown: Shown, name: str) -> dict[str, object]:
    return dict(json.loads((shown.folder / "runs" / name / "plan.json").read_text("utf-8")))


def test_pictures_are_png_class_folders(shown: Shown) -> None:
    for part, digits in (("old", "01234"), ("new", "56789")):
        listing = listings.scan(shown.folder / "digits" / part)
        assert listing.labels == list(digits)
        assert not listing.problems
    assert len(listing.of("train")) == 50
    assert len(listing.of("train")) + len(listing.of("test")) == 896


def test_transfer_beats_scratch_on_the_same_pictures(shown: Shown) -> None:
    transfer, scratch = metrics(shown, "transfer"), metrics(shown, "scratch")
    assert transfer["n"] == scratch["n"] == 846
    assert float(str(transfer["accuracy"])) > float(str(scratch["accuracy"]))
    assert float(str(metrics(shown, "source")["accuracy"])) > 0.9


def test_another_head_computes_nothing_again(shown: Shown) -> None:
    assert (plan(shown, "transfer")["rows_computed"], plan(shown, "transfer")["rows_kept"]) == (
        896,
        0,
    )
    second = plan(shown, "second_head")
    assert (second["rows_computed"], second["rows_kept"]) == (0, 896)
    assert not (shown.folder.parent / "unused").exists()


def test_what_is_printed_is_what_was_measured(shown: Shown) -> None:
    for name in RUNS:
        assert f"{metrics(shown, name)['accuracy']:.1%} right on" in shown.text
    assert "Below the cut: 0 pictures computed, 896 taken from the cache" in shown.text
    assert len(re.findall(r"^   ([5-9])/\S+\.png: \1, taken for [5-9] \(", shown.text, re.M)) == 5
    for path in ("runs/transfer/report.html", "runs/transfer/model/model.safetensors"):
        assert (shown.folder / path).is_file()
    assert f"Look at {shown.folder}/runs/transfer/report.html" in shown.text


def test_a_finished_demo_can_be_asked_for_again(shown: Shown) -> None:
    before = (shown.folder / "runs/scratch/metrics.json").stat().st_mtime_ns
    assert demo.run(shown.folder, 0, QUIET) == shown.folder
    assert (shown.folder / "runs/scratch/metrics.json").stat().st_mtime_ns == before


def test_another_seed_is_refused_in_the_same_folder(shown: Shown) -> None:
    with pytest.raises(
        RunError, match=r"began with the same seed\. Name another folder with --out"
    ):
        demo.run(shown.folder, 1, QUIET)


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "must be new, empty, or where this demo began" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file: must be new, empty"):
        demo.run(tmp_path / "file", 0, QUIET)
