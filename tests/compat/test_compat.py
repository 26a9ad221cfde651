"""What the code of version 0.1.0 wrote, before its files were put in order, still opens.

`v0_1/` was made by `make.py`; see there.
"""

import json
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import torch

import frostline
from frostline import pipeline, recipe
from frostline.activations.cache import maintenance
from frostline.base.console import Console
from frostline.run.folder import RunFolder

HERE = Path(__file__).resolve().parent / "v0_1"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of all that was made, and the current folder: paths in it are relative."""
    folder = tmp_path / "made"
    shutil.copytree(HERE, folder)
    monkeypatch.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def same_torch() -> None:
    """Skips where random weights and the text of layers may be those of another PyTorch."""
    wrote = (HERE / "made_with.txt").read_text().split()[1]
    here = torch.__version__.partition("+")[0]
    if wrote.split(".")[:2] != here.split(".")[:2]:
        pytest.skip(f"made with PyTorch {wrote}, and this is {here}")


def test_a_run_predicts_what_it_predicted(made: Path) -> None:
    run = frostline.open_run("finished")
    lines = (made / "finished" / "predictions.csv").read_text().splitlines()[1:]
    expected = {}
    for line in lines:
        _, path, _, label, *probabilities = line.split(",")
        expected[path] = (label, max(float(value) for value in probabilities))
    assert len(expected) == 7
    for said in run.predict(sorted(expected)):
        label, probability = expected[str(said.path)]
        assert said.label == label
        assert said.probability == pytest.approx(probability, rel=1e-4)


def test_its_scores_are_those_it_had(made: Path) -> None:
    run = frostline.open_run("finished")
    assert run.metrics == json.loads((made / "finished" / "metrics.json").read_text())
    assert run.metrics["val"]["accuracy"] == 1.0


def test_its_model_folder_is_a_backbone(made: Path) -> None:
    network = frostline.backbone("dir:finished/model")
    assert network.record.classes == ("blue", "green", "red")
    network.cut("layer3")


def test_its_recipe_reads_and_writes_the_same(made: Path) -> None:
    wanted = recipe.read(made / "finished" / "recipe.toml")
    recipe.write(wanted, made / "again.toml")
    assert recipe.read(made / "again.toml") == wanted
    assert [stage.line for stage in wanted.stages] == ["top", "layer4"]


def test_its_cache_verifies(made: Path) -> None:
    assert tuple(maintenance.verify(made / "cache")) == (3, [], [])


@pytest.mark.usefixtures("same_torch")
def test_its_cache_is_hit(made: Path) -> None:
    wanted = recipe.read(made / "recipe.toml")
    pipeline.train(Path("photos"), Path("new"), wanted, Path("cache"), Console(None))
    facts = RunFolder(made / "new").read_plan()
    assert [one["rows_computed"] for one in facts["passes"]] == [0, 0]
    before = json.loads((made / "finished" / "metrics.json").read_text())
    after = RunFolder(made / "new").read_metrics()
    assert after["stages"][-1]["frozen_digest"] == before["stages"][-1]["frozen_digest"]


@pytest.mark.usefixtures("same_torch")
def test_a_finished_run_is_known_as_finished(made: Path) -> None:
    wanted = recipe.read(made / "recipe.toml")
    words = StringIO()
    pipeline.train(
        Path("photos"), Path("finished"), wanted, Path("cache"), Console(words, verbose=True)
    )
    assert "already finished" in words.getvalue()


@pytest.mark.usefixtures("same_torch")
def test_an_unfinished_run_goes_on_to_the_same_end(made: Path) -> None:
    wanted = recipe.read(made / "recipe.toml")
    words = StringIO()
    pipeline.train(
        Path("photos"), Path("unfinished"), wanted, Path("cache"), Console(words, verbose=True)
    )
    assert "goes on in epoch 2" in words.getvalue() or "goes on in epoch 3" in words.getvalue()
    whole, resumed = RunFolder(made / "finished"), RunFolder(made / "unfinished")

    def scores(run: RunFolder) -> list[float]:
        history = run.read_history()
        return [one[key] for one in history for key in ("val_loss", "train_loss") if key in one]

    assert scores(resumed) == pytest.approx(scores(whole), rel=1e-5)
    assert resumed.read_metrics()["val"]["accuracy"] == 1.0
