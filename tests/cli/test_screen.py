"""What `train` says, on a terminal and elsewhere, and what is left in the run folder."""

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import FinishedRun, make_photos, settled
from frostline.cli import main

Capture = pytest.CaptureFixture[str]
NETWORK = ("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64")
FP32 = ("--device", "cpu", "--precision", "fp32")
COLUMNS = 80


def on_terminal(argv: list[str], folder: Path) -> list[tuple[float, str]]:
    """Runs a command in a terminal of 80 columns; returns what came, and after how many seconds."""
    begun = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvp(sys.executable, [sys.executable, "-m", "frostline", *argv])
    came = []
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # The other end is closed.
            break
        if not data:
            break
        came.append((time.monotonic() - begun, data.decode(errors="replace")))
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, "".join(text for _, text in came)
    return came


def lines_left(came: list[tuple[float, str]]) -> list[str]:
    """What stands on the terminal in the end: a carriage return begins a line anew."""
    found = []
    for line in "".join(text for _, text in came).replace("\r\n", "\n").split("\n")[:-1]:
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        found.append(shown.rstrip())
    return found


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[float, str]]]:
    """Sixty pictures in two classes, trained on a terminal with the default recipe."""
    folder = tmp_path_factory.mktemp("screen")
    make_photos(folder / "photos", {"ants": 30, "bees": 30})
    argv = ["train", "photos/", *NETWORK, *FP32, "--cache-dir", "cache", "--time", "20s"]
    return folder, on_terminal(argv, folder)


def test_sixty_pictures_take_at_most_fourteen_lines(
    screen: tuple[Path, list[tuple[float, str]]],
) -> None:
    lines = lines_left(screen[1])
    assert len(lines) <= 14, lines
    assert all(len(line) < COLUMNS for line in lines)
    text = "\n".join(lines)
    assert lines[0] == "60 pictures in 2 classes: ants 30, bees 30"
    assert "Network: test_resnet, 64 × 64 px" in lines[1]
    flat = " ".join(text.split())
    assert re.search(
        r" \d+ to learn from, \d+ kept aside to choose by; \d+ varied views of each", flat
    )
    assert re.search(r"^New last layer: \d+ of \d+ right", text, re.MULTILINE)
    assert re.search(r"^Kept aside: \d+ of \d+ right \(\d+ %\), with so few", text, re.MULTILINE)
    assert re.search(r"always saying '(ants|bees)' would be \d+ %\.", flat)
    assert re.search(r"^Report  runs/photos/report.html", text, re.MULTILINE)
    assert lines[-1] == "Next    frostline predict runs/photos PICTURE"


def test_the_terminal_is_never_silent_for_long(
    screen: tuple[Path, list[tuple[float, str]]],
) -> None:
    text = "".join(text for _, text in screen[1])
    # Redrawn while it takes; the seconds themselves are up to the machine.
    assert "Starting … 0 s" in text
    assert "Measuring this machine … " in text
    assert re.search(r"Looking at pictures  [█░]{20}  \d+/\d+", text)


def test_all_that_was_not_said_is_in_the_log(
    screen: tuple[Path, list[tuple[float, str]]],
) -> None:
    folder, came = screen
    log = (folder / "runs" / "photos" / "log.txt").read_text("utf-8")
    assert re.match(r"\d{4}-\d\d-\d\d\n\d\d:\d\d:\d\d  frostline train photos/ ", log)
    for words in (
        "backbone timm:test_resnet",
        "plan: measured in",
        "head: linear on",
        "60 pictures",
    ):
        assert words in log
    assert "plan: measured in" not in "".join(text for _, text in came)
    assert log.rstrip().endswith("report.html") or "mistake" in log.splitlines()[-1]


def train(photos: Path, *more: str) -> list[str]:
    return ["train", str(photos), *NETWORK, *FP32, *settled(), *more]


def test_without_a_place_it_goes_on_and_more_pictures_make_a_new_run(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos", {"blue": 6, "red": 6})
    argv = train(Path("photos"))
    assert main(argv) == 0
    assert "predict runs/photos PICTURE" in capsys.readouterr().err
    assert main(argv) == 0
    assert "runs/photos: already finished" in capsys.readouterr().err
    make_photos(tmp_path / "more", {"blue": 1, "green": 9})
    (tmp_path / "more" / "green").rename(photos / "green")
    assert main(argv) == 0
    assert "predict runs/photos-2 PICTURE" in capsys.readouterr().err
    assert "12" in (tmp_path / "runs/photos-2/plan.json").read_text()
    # Other settings too; and what is there already stays what it is.
    assert main([*argv, "--seed", "3"]) == 0
    assert "predict runs/photos-3 PICTURE" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "photos",
        "photos-2",
        "photos-3",
    ]
    # Where a place is named, it is said how to keep both.
    assert main([*argv, "--out", "runs/photos"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "was made from other pictures than these: of the images 9 added" in line
    assert "--out runs/photos-4" in line


def test_an_unfinished_run_without_a_place_is_gone_on_with(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos", {"blue": 6, "red": 6})
    argv = train(Path("photos"))
    assert main(argv) == 0
    (tmp_path / "runs/photos/metrics.json").unlink()
    capsys.readouterr()
    assert main(argv) == 0
    assert "runs/photos: unfinished; going on with it" in capsys.readouterr().err
    assert not (tmp_path / "runs/photos-2").exists()


@pytest.mark.parametrize(
    "more",
    [
        ("--backbone", "timm:no_such_network"),
        ("--head", "nonsense"),
        ("--set", "stages=[{line='nowhere'}]"),
    ],
)
def test_an_error_leaves_no_run_folder(
    tmp_path: Path, capsys: Capture, more: tuple[str, ...]
) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 6, "red": 6})
    out = tmp_path / "runs" / "deep" / "one"
    assert main([*train(photos), "--out", str(out), *more]) == 2
    assert not (tmp_path / "runs").exists()
    # A folder that was there stays.
    out.mkdir(parents=True)
    assert main([*train(photos), "--out", str(out), *more]) == 2
    assert out.is_dir()
    assert "Traceback" not in capsys.readouterr().err


def test_quiet_prints_the_result_alone(
    finished_run: FinishedRun, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*finished_run.argv, "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert re.match(r"Kept aside: \d+ of 10 right ", said.out)
    assert main([*finished_run.argv, "--quiet", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("{")


def test_verbose_says_all(tmp_path: Path, capsys: Capture) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 6, "red": 6})
    out = tmp_path / "run"
    stage = ("--set", "stages=[{line='top', epochs=1}]")
    assert main([*train(photos), *stage, "--out", str(out), "--verbose"]) == 0
    said = capsys.readouterr().err
    assert "stage 1 of 1: line " in said
    assert "  epoch 1/1: train loss " in said
    assert "is unchanged, bit for bit" in said


def test_what_is_wrong_with_pictures_comes_before_the_network(
    tmp_path: Path, capsys: Capture
) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 6, "red": 6, "tiny": 1})
    (photos / "blue" / "broken.png").write_bytes(b"no picture")
    assert main([*train(photos), "--out", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().err.splitlines()
    (first,) = [at for at, line in enumerate(lines) if "13 pictures in 3 classes" in line]
    (network,) = [at for at, line in enumerate(lines) if line.startswith("Network: ")]
    between = "\n".join(lines[first:network])
    assert "left out: 1 file: " in between
    assert "class 'tiny' is shown by one image only" in between


def test_what_was_assumed_of_pictures_reaches_the_report(tmp_path: Path) -> None:
    for name in ("Training", "dev"):
        make_photos(tmp_path / "photos" / name, {"blue": 4, "red": 4})
    (tmp_path / "photos" / "Training" / "blue" / "notes.txt").write_text("x")
    out = tmp_path / "run"
    assert main([*train(tmp_path / "photos"), "--out", str(out)]) == 0
    page = (out / "report.html").read_text("utf-8")
    assert "plits are those of the folders: Training is train, dev is val." in page
    assert "assed over: 1 that are no images by name." in page
    assert str(tmp_path) not in page


def test_piped_the_first_words_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from frostline.cli import main; "
        "main(['train', 'photos'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr.startswith("Starting\n")
