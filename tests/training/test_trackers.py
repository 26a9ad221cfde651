"""Trackers: what TensorBoard reads back, and others through accelerate's classes."""

import contextlib
import json
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from frostline import recipe
from frostline.base.errors import DiskError, RecipeError, TrainingError
from frostline.training import trackers
from frostline.training.trackers import histogram_tensors, open_trackers


def read_back(folder: Path) -> Any:
    """What TensorBoard itself makes of a folder."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return module.EventAccumulator(str(folder), size_guidance=module.STORE_EVERYTHING_SIZE_GUIDANCE)


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read_back(folder).Reload().Scalars(tag)]


class Fake:
    """One of accelerate's trackers, as far as it is used; keeps what it is told."""

    told: list[tuple[Any, ...]]
    fails_at = ""

    def __init__(self, first: str, **options: Any) -> None:
        Fake.told = [("made", first, options)]

    def __getattr__(self, name: str) -> Any:
        def take(*args: Any, **keywords: Any) -> None:
            if name == Fake.fails_at:
                raise RuntimeError("no server\nat all")
            Fake.told.append((name, *args, *keywords.values()))

        return take


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Fake]]:
    """Stands for the packages `wandb` and `aim`, which need not be installed."""
    tracking = pytest.importorskip("accelerate.tracking")
    for name in ("wandb", "aim"):
        monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, Fake)
    monkeypatch.setattr(trackers, "find_spec", lambda name: name)
    monkeypatch.setattr(Fake, "fails_at", "")
    return Fake


def test_scalars_come_back_as_they_were(tmp_path: Path) -> None:
    with_all = {"loss/train": 0.5, "loss/val": None, "lr": math.nan, "accuracy": 1}
    opened = open_trackers(["tensorboard"], tmp_path / "tb", "run", {})
    opened.scalars(with_all, 1)
    opened.scalars({"loss/train": 0.25, "lr": math.inf}, 2)
    opened.scalars({"nothing": None}, 3)
    opened.close()
    assert curve(tmp_path / "tb", "loss/train") == [(1, 0.5), (2, 0.25)]
    assert set(read_back(tmp_path / "tb").Reload().Tags()["scalars"]) == {"loss/train", "accuracy"}


def test_a_run_that_goes_on_has_no_step_twice(tmp_path: Path) -> None:
    first = open_trackers(["tensorboard"], tmp_path, "run", {"a": 1})
    for step in range(1, 6):
        first.scalars({"loss": float(step)}, step)
    # Killed: never closed, and the last record cut off as it was written.
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    again = open_trackers(["tensorboard"], tmp_path, "run", {"a": 1}, purge_step=3)
    for step in range(3, 7):
        again.scalars({"loss": float(-step)}, step)
    again.close()
    assert len(list(tmp_path.iterdir())) == 2, "also within one second"
    assert curve(tmp_path, "loss") == [(1, 1), (2, 2), (3, -3), (4, -4), (5, -5), (6, -6)]
    first.close()


def test_a_record_is_on_disk_at_once_and_nothing_is_imported_before(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; "
        "from frostline.training.trackers import check_names, open_trackers; "
        "check_names(['tensorboard']); open_trackers((), pathlib.Path('x'), 'run', {}); "
        "print([m for m in ('tensorboardX', 'accelerate') if m in sys.modules], flush=True); "
        f"w = open_trackers(['tensorboard'], pathlib.Path({str(tmp_path)!r}), 'run', {{}}); "
        "w.scalars({'loss': 0.5}, 1); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (-9, "[]"), done.stderr
    assert curve(tmp_path, "loss") == [(1, 0.5)]


def test_facts_stand_as_a_table(tmp_path: Path) -> None:
    facts = {"stages": [{"lr": 1e-3}, {"lr": None}], "photos": Path("a|b\udcff"), "n": {"val": 2}}
    open_trackers(["tensorboard"], tmp_path, "run", facts).close()
    (event,) = read_back(tmp_path).Reload().Tensors("facts/text_summary")
    rows = event.tensor_proto.string_val[0].decode().splitlines()[2:]
    assert rows == [
        *("| stages.0.lr | 0.001 |", "| stages.1.lr | None |"),
        *(r"| photos | a\|b\udcff |", "| n.val | 2 |"),
    ]


def test_histograms_hold_the_values(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {
        "weights/ramp": torch.arange(128, dtype=torch.bfloat16).reshape(2, 64),
        "weights/same": torch.full((5,), 2.0),
        "weights/holes": torch.tensor([1.0, math.nan, math.inf, 3.0], requires_grad=True),
        "weights/none": torch.tensor([math.nan]),
        "weights/empty": torch.zeros(0, 3),
    }
    opened = open_trackers(["tensorboard"], tmp_path, "run", {})
    opened.histograms(tensors, 7)
    opened.close()
    read = read_back(tmp_path).Reload()
    assert set(read.Tags()["histograms"]) == {"weights/ramp", "weights/same", "weights/holes"}
    (event,) = read.Histograms("weights/ramp")
    ramp = event.histogram_value
    assert (event.step, ramp.min, ramp.max, ramp.num) == (7, 0.0, 127.0, 128.0)
    assert (ramp.sum, ramp.sum_squares) == (128 * 127 / 2, 127 * 128 * 255 / 6)
    assert ramp.bucket == [2.0] * 64
    assert ramp.bucket_limit[-1] == 127.0
    same = read.Histograms("weights/same")[0].histogram_value
    assert (same.bucket_limit, same.bucket) == ([2.0], [5.0])
    assert read.Histograms("weights/holes")[0].histogram_value.sum == 4.0


def test_frozen_layers_have_weights_and_no_gradients() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))
    module[0].requires_grad_(False)
    module(torch.ones(1, 3)).sum().backward()
    found = histogram_tensors(module, "upper.")
    assert list(found) == [
        *("weights/upper.0.weight", "weights/upper.0.bias"),
        *("weights/upper.1.weight", "gradients/upper.1.weight"),
    ]
    assert not any(tensor.requires_grad for tensor in found.values())
    assert found["weights/upper.1.weight"].data_ptr() == module[1].weight.data_ptr()


def test_without_names_nothing_happens(tmp_path: Path) -> None:
    opened = open_trackers((), tmp_path / "tb", "run", {"a": 1})
    opened.scalars({"loss": 1.0}, 1)
    opened.histograms({"w": torch.ones(2)}, 1)
    opened.close()
    assert not list(tmp_path.iterdir())


def test_an_unknown_tracker_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        open_trackers(["tensorbord"], tmp_path, "run", {})
    assert str(caught.value).startswith(
        "watch: there is no tracker 'tensorbord'. Did you mean tensorboard"
    )
    assert "Known are aim, clearml, comet_ml, dvclive, mlflow, swanlab, tensor" in str(caught.value)


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as caught:
        open_trackers(["wandb"], tmp_path, "run", {})
    assert str(caught.value) == (
        "watch: wandb is not installed. Run: pip install 'frostline[trackers]' wandb"
    )


def test_a_tracker_is_told_everything(fake: type[Fake], tmp_path: Path) -> None:
    opened = open_trackers(["wandb", "wandb"], tmp_path, "run-7", {"stages": [{"lr": 1e-3}]})
    opened.scalars({"loss": 0.5, "lr": math.nan}, 1)
    opened.histograms({"w": torch.ones(2)}, 1)
    opened.close()
    assert fake.told == [
        ("made", "frostline", {"name": "run-7"}),
        ("start",),
        ("store_init_configuration", {"run": "run-7", "stages.0.lr": 1e-3}),
        ("log", {"loss": 0.5}, 1),
        ("finish",),
    ]


def test_several_are_told_alike(fake: type[Fake], tmp_path: Path) -> None:
    opened = open_trackers(["tensorboard", "aim"], tmp_path, "run", {})
    opened.scalars({"loss": 0.5}, 1)
    opened.close()
    assert curve(tmp_path, "loss") == [(1, 0.5)]
    assert fake.told[0] == ("made", "run", {})
    assert fake.told[3] == ("log", {"loss": 0.5}, 1)


@pytest.mark.parametrize("at", ["start", "store_init_configuration"])
def test_a_tracker_that_does_not_start_is_said_in_one_line(
    at: str, fake: type[Fake], tmp_path: Path
) -> None:
    fake.fails_at = at
    with pytest.raises(RecipeError) as caught:
        open_trackers(["tensorboard", "wandb"], tmp_path, "run", {})
    assert str(caught.value) == (
        "watch: wandb did not start: no server at all. "
        "Set wandb up by its own means, or leave it out."
    )


@pytest.mark.parametrize("at", ["log", "finish"])
def test_a_tracker_that_fails_later_is_said_too(at: str, fake: type[Fake], tmp_path: Path) -> None:
    fake.fails_at = at
    opened = open_trackers(["wandb"], tmp_path, "run", {})

    def go_on() -> None:
        opened.scalars({"loss": 0.5}, 1)
        opened.close()

    with pytest.raises(TrainingError, match=r"watch: wandb failed: no server at all\. What was"):
        go_on()


def test_every_name_is_a_class_of_accelerate() -> None:
    tracking = pytest.importorskip("accelerate.tracking")
    assert {*trackers.TRACKERS, "tensorboard"} == set(tracking.LOGGER_TYPE_TO_CLASS)
    for name in trackers.TRACKERS:
        assert hasattr(tracking.LOGGER_TYPE_TO_CLASS[name], "start"), name


@pytest.mark.slow
def test_a_real_tracker_keeps_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    code = (
        "import pathlib; from frostline.training.trackers import open_trackers; "
        "w = open_trackers(['trackio'], pathlib.Path('tb'), 'run-7', {'seed': 3}); "
        "[w.scalars({'loss': 1 / step}, step) for step in (1, 2)]; w.close()"
    )
    own = {**os.environ, "TRACKIO_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-c", code], env=own, check=True, capture_output=True, cwd=tmp_path
    )
    with contextlib.closing(sqlite3.connect(tmp_path / "frostline.db")) as base:
        rows = base.execute("select run_name, step, metrics from metrics order by step").fetchall()
    kept = [(name, step, json.loads(values)) for name, step, values in rows]
    assert [row for row in kept if "loss" in row[2]] == [
        ("run-7", 1, {"loss": 1.0}),
        ("run-7", 2, {"loss": 0.5}),
    ]


def test_a_folder_that_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        open_trackers(["tensorboard"], tmp_path / "file", "run", {})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_trackers(["tensorboard"], tmp_path, "run", {})
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(opened._parts[0], "_file", full)  # type: ignore[attr-defined]
        with pytest.raises(DiskError, match="the disk is full"):
            opened.scalars({"loss": 0.5}, 1)
    opened.close()


def test_a_recipe_knows_the_same_names() -> None:
    assert set(recipe.TRACKERS) == {trackers.TENSORBOARD, *trackers.TRACKERS}
