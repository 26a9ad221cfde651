"""Sounds from end to end, through the real command line: train, predict, evaluate, report."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import settled
from frostline.cli import main
from frostline.model import predict
from frostline.run.folder import RunFolder
from frostline.sound import spectrograms
from sound_files import make_sounds, tone, write

TINY = ("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64")


def train(sounds: Path, out: Path, *more: str) -> RunFolder:
    argv = ("train", str(sounds), "--sound", "--out", str(out), *TINY, *settled(*more))
    assert main([*argv, "--device", "cpu", "--precision", "fp32"]) == 0
    return RunFolder(out)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_sounds(tmp_path_factory.mktemp("sounds"), each=12)
    # One of each is longer, and has three windows.
    for label, hz in (("high", 2000.0), ("low", 300.0)):
        write(root / label / "long.wav", tone(hz, 3.0))
    (root / "low" / "empty.mp3").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def run(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(sounds, tmp_path_factory.mktemp("run") / "run")


def test_a_run_tells_of_files_and_not_of_windows(run: RunFolder, sounds: Path) -> None:
    rows = table(run.listing)
    assert len(rows) == 27
    assert all("#" not in row["path"] for row in rows)
    assert {row["split"] for row in rows if not row["problem"]} == {"train", "val"}
    assert [row["problem"] for row in rows if row["problem"]] == ["the file is empty (0 bytes)"]
    scores = run.read_scores()["val"]
    predicted = table(run.predictions)
    assert scores["n"] == len(predicted) == sum(row["split"] == "val" for row in rows)
    assert scores["accuracy"] > 0.9


def test_its_model_knows_how_it_hears(run: RunFolder) -> None:
    config = json.loads((run.model / "config.json").read_text())
    heard = config["frostline"]["spectrogram"]
    assert (heard["bands"], heard["frames"]) == (128, 64)
    opened = predict.open_model(str(run.path), "cpu").preprocessing.spectrogram
    assert opened is not None
    assert opened.window_s == pytest.approx(1.0, abs=0.01)


def test_predict_names_classes_with_times(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = np.concatenate([tone(2000.0, 2.0), tone(300.0, 3.0)])
    song = write(tmp_path / "song.flac", both)
    assert main(["predict", str(run.path), str(song), "--device", "cpu", "--top-k", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*song\.flac: low \d\d\.\d%  high \d\d\.\d%", told[0])
    assert re.match(r"  0:00\.0 to 0:02\.0  high ", told[1])
    assert re.match(r"  0:02\.0 to 0:05\.0  low ", told[2])
    assert main(["predict", str(run.path), str(song), "--device", "cpu", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [one["top"][0]["label"] for one in found["windows"]] == ["high"] * 2 + ["low"] * 3
    mean = np.mean(
        [
            one["top"][0]["probability"]
            if one["top"][0]["label"] == "low"
            else 1 - one["top"][0]["probability"]
            for one in found["windows"]
        ]
    )
    assert found["probability"] == pytest.approx(mean)


def test_bad_sounds_are_told_and_status_is_2(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.wav", tone(300.0))
    (tmp_path / "b.mp3").write_bytes(b"\0\0\0\x20ftypisom" + bytes(999))
    assert main(["predict", str(run.path), str(tmp_path), "--device", "cpu"]) == 2
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{tmp_path}/a.wav: low ")
    assert told[1].startswith(f"{tmp_path}/b.mp3: not read: a video and not a sound")


def test_evaluate_scores_files(
    run: RunFolder, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", str(run.path), str(sounds), "--device", "cpu", "--json"]
    assert main([*argv, "--out", str(tmp_path / "judged")]) == 0
    scores = json.loads(capsys.readouterr().out)["all"]
    assert scores["n"] == 26
    assert scores["accuracy"] > 0.9
    assert (tmp_path / "judged" / "report.html").is_file()


@pytest.fixture(scope="module")
def misleading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of three windows in noise, one of which sounds like the other class."""
    root, chance = tmp_path_factory.mktemp("misleading"), np.random.default_rng(0)
    for label, own, other in (("high", 2000.0, 300.0), ("low", 300.0, 2000.0)):
        for number in range(30):
            hz = [own, own, other] if number % 5 else [other, own, other]
            parts = [tone(one * chance.uniform(0.8, 1.25), seed=number) for one in hz]
            noise = chance.normal(0, 0.15, 3 * len(parts[0])).astype(np.float32)
            write(root / label / f"{number:02}.wav", np.concatenate(parts) + noise)
    return root


@pytest.mark.parametrize("select", ["best", "last"])
def test_epochs_are_chosen_by_what_is_reported(
    misleading: Path, tmp_path: Path, select: str
) -> None:
    more = ("--window-s", "1", "--val", "0.4", "--set", "search.folds=1")
    stage = f'stages=[{{line = "last 1 blocks", epochs = 4, select = "{select}"}}]'
    made = train(misleading, tmp_path / "run", *more, "--set", stage)
    metrics, history = made.read_metrics(), made.read_history()
    val, (proof,) = metrics["val"], metrics["stages"]
    told = history[0] if not proof["kept"] else history[proof["best_epoch"]]
    assert val["n"] == sum(row["split"] == "val" for row in table(made.listing)) < 30
    assert told["val_accuracy"] == val["accuracy"]
    assert told["val_loss"] == pytest.approx(val["log_loss"], rel=1e-9)
    for one in history:
        # Shares of files, not of their windows.
        assert one["val_accuracy"] * val["n"] == pytest.approx(
            round(one["val_accuracy"] * val["n"])
        )


@pytest.mark.parametrize("folds", [1, 3])
def test_candidates_are_chosen_by_what_is_reported(
    misleading: Path, tmp_path: Path, folds: int
) -> None:
    more = (
        "--window-s",
        "1",
        "--val",
        "0.4",
        "--set",
        f"search.folds={folds}",
        "--time",
        "2m",
        "--epochs",
        "2",
    )
    argv = ("train", str(misleading), "--sound", "--out", str(tmp_path / "run"), *TINY, *more)
    assert main([*argv, "--device", "cpu", "--precision", "fp32"]) == 0
    made = RunFolder(tmp_path / "run")
    metrics, search = made.read_metrics(), made.read_search()
    files = [row["split"] for row in table(made.listing)]
    assert search is not None
    assert any("seconds" in one for one in search["candidates"])
    assert search["probe"]["count"] == (files.count("val") if folds == 1 else 60)
    if folds == 1:
        chosen = search["chosen"]
        found = search["probe"] if chosen == "probe" else search["candidates"][chosen]["final"]
        assert found["accuracy"] == metrics["val"]["accuracy"]
        assert found["loss"] == pytest.approx(metrics["val"]["log_loss"], rel=1e-9)
    else:
        crossed = metrics["cross_validation"]
        assert crossed["n"] == 60
        assert search["probe"]["accuracy"] == crossed["accuracy"]
        assert search["probe"]["loss"] == pytest.approx(crossed["log_loss"], rel=1e-9)


def test_the_report_shows_spectrograms_with_players(run: RunFolder, sounds: Path) -> None:
    page = run.report.read_text()
    players = re.findall(r'<audio controls preload="none" src="(file:[^"]+)">', page)
    assert players
    assert all(Path(one.removeprefix("file://")).is_relative_to(sounds) for one in players)
    assert "media-src file:" in page
    # Sounds are linked and not embedded.
    assert "data:audio" not in page
    with Image.open(run.views) as sheet:
        assert sheet.width > 200


def test_a_spectrogram_of_a_tone_has_one_bright_row(sounds: Path, tmp_path: Path) -> None:
    path = tmp_path / "drawn.jpg"
    path.write_bytes(spectrograms.drawn(str(sounds / "high" / "long.wav")))
    with Image.open(path) as image:
        rows = np.asarray(image.convert("L"), dtype=float).mean(1)
    assert len(rows) == 128
    # 2 kHz is in the upper half on the mel scale up to 11 kHz, or close to its middle.
    assert rows.argmax() == pytest.approx(128 - 128 * 25.3 / 50.0, abs=3)


def test_layers_are_trained_on_varied_views(sounds: Path, tmp_path: Path) -> None:
    more = ("--line", "last 1 blocks", "--epochs", "2", "--augment", "standard", "--views", "2")
    made = train(sounds, tmp_path / "run", *more)
    assert made.read_scores()["val"]["accuracy"] > 0.9
    recorded = made.recipe.read_text()
    assert "sound = true" in recorded
    assert all(one["unchanged"] for one in made.read_metrics()["stages"])


def test_a_table_with_groups_and_several_labels(tmp_path: Path) -> None:
    root = make_sounds(tmp_path / "sounds", each=10)
    lines = ["path,label,group"]
    for label in ("high", "low"):
        for path in sorted((root / label).iterdir()):
            lines.append(f"{label}/{path.name},{label};tone,{path.stem}")
    both = tone(2000.0) / 2 + tone(300.0, seed=1) / 2
    for number in range(6):
        write(root / "both" / f"{number}.wav", both)
        lines.append(f"both/{number}.wav,high;low;tone,b")
    (root / "sounds.csv").write_text("\n".join(lines) + "\n")
    made = train(root / "sounds.csv", tmp_path / "run")
    rows = table(made.listing)
    by_group: dict[str, set[str]] = {}
    for row in rows:
        by_group.setdefault(row["group"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in by_group.values())
    assert made.read_scores()["val"]["labels"] == ["high", "low", "tone"]


def test_longer_windows_are_asked_for(sounds: Path, tmp_path: Path) -> None:
    made = train(sounds, tmp_path / "run", "--window-s", "2.5")
    config = json.loads((made.model / "config.json").read_text())
    assert config["frostline"]["spectrogram"]["hop"] == round(2.5 * 22_050 / 63)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sound", "--flip"), "predict.flip: a sound has no mirror image"),
        (("--sound", "--set", "views.rotate=5"), "views.rotate: varies pictures, and these are"),
        (("--set", "views.gain=3"), "views.gain: varies sounds, and these are not"),
        (("--window-s", "2"), "data.window_s: goes with sounds; add data.sound = true"),
        (("--sound", "--window-s", "0.001"), "data.window_s must be 0 .* or 0.1 to 600"),
        (("--sound", "--set", "views.masks=0.9"), r"views.masks must be a share in \[0, 0.5\]"),
    ],
)
def test_what_means_nothing_is_refused(
    sounds: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    argv = ["train", str(sounds), "--out", str(tmp_path / "run"), *TINY, *options]
    assert main(argv) == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line != "Starting"]
    assert re.search(message, told)


def test_sounds_given_as_pictures_are_told(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(sounds), "--out", str(tmp_path / "run"), *TINY]) == 2
    assert "holds no images; 27 other" in (told := capsys.readouterr().err)
    assert "Of sounds say --sound." in told


def test_pictures_given_as_sounds_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a" / "a.png")
    argv = ["train", str(tmp_path / "photos"), "--sound", "--out", str(tmp_path / "run"), *TINY]
    assert main(argv) == 2
    assert "holds no sounds; 1 other" in capsys.readouterr().err
