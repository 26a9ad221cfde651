"""`frostline demo`, through the real command line; once, for it takes a quarter of a minute."""

import csv
import json
import re
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pytest

from frostline import demo
from frostline.base.console import QUIET
from frostline.base.errors import RunError
from frostline.cli import main
from frostline.images import listing as listings

RUNS = ("transfer", "second_head", "scratch")
KINDS = ["hat", "pants", "shoes", "shorts", "tshirt"]


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
    assert "val" not in found
    assert all(stage["unchanged"] for stage in found["stages"])
    return dict(found["test"])


def accuracy(shown: Shown, name: str) -> float:
    return float(str(metrics(shown, name)["accuracy"]))


def rows(shown: Shown, name: str) -> tuple[int, int]:
    """Returns how many pictures were computed below the line, and how many were kept."""
    found = json.loads((shown.folder / "runs" / name / "plan.json").read_text("utf-8"))
    return int(found["rows_computed"]), int(found["rows_kept"])


def test_photographs_are_class_folders(shown: Shown) -> None:
    listing = listings.scan(shown.folder / "photos")
    assert listing.labels == KINDS
    assert not listing.problems
    assert (len(listing.of("train")), len(listing.of("test"))) == (70, 60)
    assert {max(row.width, row.height) for row in listing.rows} == {192}


def test_photographs_are_small_and_their_source_is_told() -> None:
    shipped = resources.files("frostline") / "demo_photos"
    photos = list(Path(str(shipped)).rglob("*.jpg"))
    assert len({path.read_bytes() for path in photos}) == 130
    assert sum(path.stat().st_size for path in photos) < 1e6
    assert "alexeygrigorev/clothing-dataset, CC0" in (shipped / "README.md").read_text("utf-8")


def test_nobody_sent_in_pictures_of_both_parts(assets: Path) -> None:
    with (assets / "data" / "clothing" / "pictures.csv").open(encoding="utf-8") as file:
        table = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    photos = Path(str(resources.files("frostline") / "demo_photos" / "clothing"))
    senders: dict[str, set[str]] = {"train": set(), "test": set()}
    for path in photos.rglob("*.jpg"):
        row = table[path.stem]
        assert row["label"] == path.parent.name
        senders[path.parent.parent.name].add(row["group"])
    assert not senders["train"] & senders["test"]


def test_what_imagenet_taught_helps(shown: Shown) -> None:
    assert metrics(shown, "transfer")["n"] == metrics(shown, "scratch")["n"] == 60
    assert accuracy(shown, "transfer") >= 0.85
    assert accuracy(shown, "second_head") >= 0.85
    assert accuracy(shown, "transfer") - accuracy(shown, "scratch") > 0.3


def test_another_head_computes_nothing_again(shown: Shown) -> None:
    assert rows(shown, "transfer") == (130, 0)
    assert rows(shown, "second_head") == (0, 130)
    assert not (shown.folder.parent / "unused").exists()


def test_what_is_printed_is_what_was_measured(shown: Shown) -> None:
    for name in RUNS:
        assert f"{accuracy(shown, name):.1%} right on 60 others" in shown.text
    assert "0 pictures computed, 130 taken from the cache (so trying another" in shown.text
    assert (
        f"Of 60 pictures: {accuracy(shown, 'transfer'):.1%} right with what ImageNet taught, "
        f"{accuracy(shown, 'scratch'):.1%} without, 20.0% by guessing"
    ) in shown.text
    for path in ("runs/transfer/report.html", "runs/transfer/model/model.safetensors"):
        assert (shown.folder / path).is_file()
    assert f"Look at {shown.folder}/runs/transfer/report.html" in shown.text


def test_predictions_are_shown_with_their_probabilities(shown: Shown) -> None:
    pattern = r"^   (\w+)/\S+\.jpg: (\w+)(, but unsure)? \((\d+)%\)$"
    said = re.findall(pattern, shown.text, re.MULTILINE)
    assert [one[0] for one in said] == KINDS
    assert sum(truth == label for truth, label, _, _ in said) >= 4
    assert all(bool(unsure) == (int(share) < 70) for _, _, unsure, share in said)
    worst = re.search(r"^Its worst mistake: (\w+)/(\S+): (\w+)", shown.text, re.MULTILINE)
    assert worst is not None
    assert worst[1] != worst[3]
    assert (shown.folder / "photos" / "test" / worst[1] / worst[2]).is_file()


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
