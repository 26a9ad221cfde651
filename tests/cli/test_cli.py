"""Each command as it is typed, on a run that is made once."""

import argparse
import csv
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import FinishedRun, make_photos
from frostline import api
from frostline.cli import main
from frostline.cli.parser import make_parser

NETWORK = "timm:test_resnet?pretrained=false"
SPLIT_KEYS = [
    "n",
    "accuracy",
    "accuracy_ci95",
    "log_loss",
    "macro_f1",
    "per_class",
    "confusion",
    "labels",
]

Capture = pytest.CaptureFixture[str]


def typed(*words: object) -> list[str]:
    return [str(word) for word in words]


def printed(capsys: Capture, *words: object, status: int = 0) -> str:
    """Runs a command and returns what it prints as its result."""
    capsys.readouterr()
    got = main(typed(*words))
    shown = capsys.readouterr()
    assert got == status, shown.err
    return shown.out


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Every command's parser by what is typed for it, those below commands too."""
    found = {}

    def walk(name: str, parser: argparse.ArgumentParser) -> None:
        found[name] = parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, below in action.choices.items():
                    walk(f"{name} {word}".strip(), below)

    walk("", make_parser())
    return found


# Help.


def test_there_are_the_commands_of_the_readme() -> None:
    assert set(parsers()) == {
        *("", "train", "plan", "lr-find", "predict", "evaluate", "summary", "lines", "backbones"),
        *("completion", "embed", "demo", "recipe", "recipe list", "recipe show", "recipe check"),
        *("cache", "cache list", "cache verify", "cache remove"),
        *("draw", "look", "weights", "weights convert", "weights inspect"),
    }


@pytest.mark.parametrize("name", parsers())
def test_help_says_something_of_everything(name: str, capsys: Capture) -> None:
    for action in parsers()[name]._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
    shown = printed(capsys, *name.split(), "--help")
    assert shown.startswith(f"usage: frostline {name}".rstrip())


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    check = (
        "import sys; from frostline.cli import main; main(['train', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'sklearn', 'numpy')))"
    )
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Processor time: the time on the wall is up to whatever else the machine does.
    assert min(spent) < 0.5


def test_the_module_and_the_version_answer_alike(capsys: Capture) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "frostline", "--version"], capture_output=True, check=True, text=True
    )
    assert said.stdout == printed(capsys, "--version") != ""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("trian photos", "Did you mean train? See frostline --help."),
        ("train", "the following arguments are required: PHOTOS. See frostline train --help."),
        ("cache lst", "Did you mean list? See frostline cache --help."),
        ("predict run x.jpg --format jsn", "Did you mean json? See frostline predict --help."),
        (
            "predict run x.jpg --topk 3",
            "unrecognized arguments: --topk 3. Did you mean --top-k? See frostline predict",
        ),
        ("predict run x.jpg --top-k", "expected one argument. See frostline predict --help."),
    ],
)
def test_a_slip_of_the_pen_gets_one_line(argv: str, words: str, capsys: Capture) -> None:
    assert main(argv.split()) == 2
    line = capsys.readouterr().err
    assert line.startswith("frostline: ")
    assert line.count("\n") == 1
    assert words in line


# Ends that are no answers.


def test_an_interruption_is_130(
    photos: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "train", interrupted)
    assert main(typed("train", photos, "--out", tmp_path / "run")) == 130
    assert capsys.readouterr().err == (
        "Starting\nfrostline: interrupted; the same command goes on from what is kept\n"
    )


def test_what_the_system_refuses_unforeseen_is_one_line(
    photos: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "x"))

    monkeypatch.setattr(api, "train", refused)
    assert main(typed("train", photos, "--out", tmp_path / "run")) == 2
    assert capsys.readouterr().err == f"Starting\nfrostline: {tmp_path}/x: Permission denied.\n"


def test_a_bug_is_a_traceback(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(api, "train", wrong)
    with pytest.raises(ZeroDivisionError):
        main(typed("train", photos, "--out", tmp_path / "run"))


def test_a_reader_that_went_away_is_141_without_a_word() -> None:
    # Only torch's import is left out: what is tested is the end.
    talk = (
        "import sys; from frostline import cli; from frostline.cli import commands; "
        "commands.cache = lambda _: print('x' * 10_000_000) or 0; "
        "sys.exit(cli.main(['cache', 'list']))"
    )
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", talk], stdout=writer, stderr=subprocess.PIPE
    ) as process:
        os.close(writer)
        os.close(reader)
        _, words = process.communicate(timeout=60)
    assert process.returncode == 141
    assert words == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_the_output_is_one_line() -> None:
    talk = (
        "import sys; from frostline import cli; from frostline.cli import commands; "
        "commands.cache = lambda _: print('x') or 0; sys.exit(cli.main(['cache', 'list']))"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", talk],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == (
        "frostline: standard output: cannot be written: No space left on device.\n"
    )


# Commands.


def test_train_says_what_comes_next(finished_run: FinishedRun, capsys: Capture) -> None:
    assert main(finished_run.argv) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"Next    frostline predict {finished_run.path} PICTURE" in shown.err


def test_train_json_is_metrics_json(finished_run: FinishedRun, capsys: Capture) -> None:
    shown = json.loads(printed(capsys, *finished_run.argv, "--json"))
    assert shown == json.loads((finished_run.path / "metrics.json").read_text())
    assert list(shown) == ["val", "stages", "cross_validation"]
    assert list(shown["val"]) == SPLIT_KEYS
    assert list(shown["val"]["per_class"]["red"]) == ["n", "precision", "recall", "f1"]


def test_predict_as_a_table(finished_run: FinishedRun, capsys: Capture) -> None:
    shown = printed(capsys, "predict", finished_run.path, finished_run.picture, "--top-k", 9)
    assert shown.startswith(f"{finished_run.picture}: red ")
    assert sorted(word for word in shown.split() if word.isalpha()) == ["blue", "green", "red"]


def test_predict_as_json(finished_run: FinishedRun, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    words = ("predict", finished_run.path, finished_run.picture, tmp_path, "--top-k", 2)
    good, bad = json.loads(printed(capsys, *words, "--format", "json", status=2))
    assert list(good) == ["path", "label", "probability", "labels", "top", "problem"]
    assert good["labels"] == ["red"]
    assert good["label"] == good["top"][0]["label"] == "red"
    assert good["probability"] == good["top"][0]["probability"] > 0.5
    assert len(good["top"]) == 2
    assert good["problem"] == ""
    assert bad == {
        "path": str(tmp_path / "text.jpg"),
        "label": "",
        "probability": 0.0,
        "labels": [],
        "top": [],
        "problem": "not an image",
    }


def test_predict_as_csv(finished_run: FinishedRun, capsys: Capture) -> None:
    words = ("predict", finished_run.path, finished_run.photos / "red", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *words, "--top-k", 3))))
    assert list(rows[0]) == ["path", "rank", "label", "probability", "problem"]
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 12
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    for first in rows[::3]:
        assert first["label"] == "red"


def test_predict_from_a_backbone_with_its_own_classes(
    finished_run: FinishedRun, capsys: Capture
) -> None:
    shown = printed(capsys, "predict", NETWORK, finished_run.picture, "--format", "json")
    (one,) = json.loads(shown)
    assert 0 <= int(one["label"]) < 1000


def test_evaluate(finished_run: FinishedRun, capsys: Capture) -> None:
    shown = printed(capsys, "evaluate", finished_run.path, finished_run.photos)
    first, sentence, head, *rows = shown.splitlines()
    assert first.startswith("all: accuracy ")
    assert "n = 36" in first
    assert sentence.endswith("always saying 'blue' would be 33 %.")
    assert head.split() == ["class", "n", "precision", "recall", "f1"]
    assert [row.split()[:2] for row in rows] == [["blue", "12"], ["green", "12"], ["red", "12"]]
    shown = printed(capsys, "evaluate", finished_run.path, finished_run.photos, "--json")
    scores = json.loads(shown)
    assert list(scores) == ["all"]
    assert list(scores["all"]) == SPLIT_KEYS


def test_evaluate_takes_the_split_that_is_asked_for(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        make_photos(tmp_path / split, {"red": count, "blue": count})
    for asked, count in (("auto", 4), ("train", 6), ("test", 2), ("all", 12)):
        shown = printed(capsys, "evaluate", finished_run.path, tmp_path, "--split", asked, "--json")
        ((name, scores),) = json.loads(shown).items()
        assert name == ("val" if asked == "auto" else asked)
        assert scores["n"] == count
        assert scores["per_class"]["green"] == {
            "n": 0,
            "precision": None,
            "recall": None,
            "f1": None,
        }


def test_lines(capsys: Capture) -> None:
    words = ("lines", NETWORK, "--image-px", 64)
    table = printed(capsys, *words)
    names = [line.split()[0] for line in table.splitlines()[1:-1]]
    assert names[0] == "pixels"
    assert names[-1] == "pooled"
    assert "layer3" in names
    assert table.splitlines()[-1].endswith("in half precision.")
    few = json.loads(printed(capsys, *words, "--json"))
    every = json.loads(printed(capsys, *words, "--json", "--all"))
    assert [line["name"] for line in few] == names
    assert [line["index"] for line in every] == list(range(len(every)))
    assert len(every) > len(few)
    wanted = {"name", "index", "shape", "kib_half", "params_below", "params_above", "share_below"}
    for line in few:
        assert wanted <= set(line)
        assert line in every
    assert few[0]["shape"] == [3, 64, 64]
    assert few[0]["kib_half"] == 3 * 64 * 64 * 2 / 1024


def test_lines_say_what_is_packed_and_what_is_shared(capsys: Capture) -> None:
    words = ("lines", "timm:efficientvim_m1", "--image-px", 128)
    table = printed(capsys, *words, "--all")
    (row,) = [line for line in table.splitlines() if line.startswith("stages.0.downsample ")]
    assert "128 × 49 + 192 × 4 × 4" in row
    shared = ["stages.0.blocks.0.alpha", "stages.0.blocks.1.alpha"]
    assert table.splitlines()[-1].endswith("which stay frozen: " + ", ".join(shared) + ".")
    found = json.loads(printed(capsys, *words, "--all", "--json"))
    assert {name for line in found for name in line["shared"]} == set(shared)


def test_backbones(capsys: Capture) -> None:
    table = printed(capsys, "backbones", "test_resnet")
    assert table.splitlines()[1].split()[:3] == ["timm:test_resnet.r160_in1k", "160", "1000"]
    (one,) = json.loads(printed(capsys, "backbones", "timm:test_resn*", "--json"))
    assert list(one) == ["name", "input_px", "licence", "interpolation", "classes", "default"]
    every = printed(capsys, "backbones").splitlines()
    assert "default on " in every[1]
    assert len(every) > 1000
    assert main(["backbones", "resnet5O"]) == 2
    assert "no pretrained network of that name. Did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["npz", "safetensors", "h5", "parquet"])
def test_embed(finished_run: FinishedRun, tmp_path: Path, capsys: Capture, ending: str) -> None:
    out = tmp_path / "new" / f"features.{ending}"
    words = ("embed", f"dir:{finished_run.path}", finished_run.photos, "--out", out)
    assert printed(capsys, *words, "--line", "layer4", "--cache-dir", finished_run.cache) == ""
    assert out.stat().st_size > 36 * 96 * 4
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_embed_takes_what_has_no_labels(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    for source, count in ((finished_run.picture, 1), (finished_run.photos / "red", 12)):
        words = ("embed", f"dir:{finished_run.path}", source, "--out", tmp_path / "x.npz")
        printed(capsys, *words, "--cache-dir", finished_run.cache)
        with np.load(tmp_path / "x.npz") as found:
            assert found["activations"].shape == (count, 96)
            assert set(found["label"]) == {""}


def test_the_cache_is_listed_checked_and_removed(
    finished_run: FinishedRun, tmp_path: Path, capsys: Capture
) -> None:
    cache = shutil.copytree(finished_run.cache, tmp_path / "copy")
    where = ("--cache-dir", cache)
    kept = json.loads(printed(capsys, "cache", "list", "--json", *where))
    assert list(kept[0]) == ["name", "architecture", "line", "compute", "rows", "chunks", "bytes"]
    table = printed(capsys, "cache", "list", *where)
    assert table.splitlines()[0].split() == ["name", "line", "engine", "rows", "chunks", "size"]
    assert kept[0]["name"] in table

    assert ", 0 damaged and 0 parts found" in printed(capsys, "cache", "verify", *where)
    chunk = next((cache / kept[0]["name"]).glob("*.safetensors"))
    chunk.write_bytes(chunk.read_bytes()[:-8])
    (chunk.parent / ".left.part").write_bytes(b"x")
    shown = printed(capsys, "cache", "verify", *where, status=2)
    assert f"{kept[0]['name']}/{chunk.name}: not an intact chunk" in shown
    assert "1 damaged and 1 parts removed" in printed(capsys, "cache", "verify", "--remove", *where)
    assert not chunk.exists()

    assert main(typed("cache", "remove", *where)) == 2
    assert main(typed("cache", "remove", kept[0]["name"], "--all", *where)) == 2
    assert main(typed("cache", "remove", kept[0]["name"] + "x", *where)) == 2
    assert f"Did you mean {kept[0]['name']}" in capsys.readouterr().err
    printed(capsys, "cache", "remove", kept[0]["name"], *where)
    assert not (cache / kept[0]["name"]).exists()
    printed(capsys, "cache", "remove", "--all", *where)
    assert json.loads(printed(capsys, "cache", "list", "--json", *where)) == []


def test_an_absent_cache_is_an_empty_one(tmp_path: Path, capsys: Capture) -> None:
    where = ("--cache-dir", tmp_path / "none")
    assert json.loads(printed(capsys, "cache", "list", "--json", *where)) == []
    assert "0 chunks checked" in printed(capsys, "cache", "verify", *where)
    assert not (tmp_path / "none").exists()
