"""The measurements: they are of the right size, they change nothing, they leave nothing."""

import shutil
from pathlib import Path

import pytest
import torch

from frostline import pipeline
from frostline.activations.extraction import ImageView
from frostline.base.console import QUIET
from frostline.base.errors import DiskError
from frostline.images import listing
from frostline.model import classifier, heads
from frostline.planner import measure
from frostline.recipe import OPTIMIZERS, BackboneChoice, Stage

NETWORK = BackboneChoice("timm:test_resnet?pretrained=false", image_px=48)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "AT_LEAST_S", 0.02)
    monkeypatch.setattr(measure, "DISK_BYTES", 1 << 16)


def network(line: str = "layer3", targets: str = "multiclass") -> classifier.Classifier:
    torch.manual_seed(0)
    opened = pipeline.prepare.open_backbone(NETWORK)
    labels = ("a", "b") if targets == "binary" else ("a", "b", "c")
    head = heads.parse("mlp:8,dropout=0.5")
    return classifier.assemble(opened, labels, head, line, CPU, torch.float32, "", targets)


def items(photos: Path) -> list[ImageView]:
    return [ImageView(row.path, row.digest) for row in listing.scan(photos, QUIET).usable]


def test_a_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = measure.disk(tmp_path / "new" / "cache")
    assert 0 < found.free <= shutil.disk_usage(tmp_path).total
    assert found.write > 0
    assert found.read > 0
    assert list((tmp_path / "new" / "cache").iterdir()) == []


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DiskError, match="cannot be written"):
        measure.disk(tmp_path / "file" / "cache")


def test_from_file_to_activation_takes_longer_than_to_pixels(photos: Path) -> None:
    model = network("layer4")
    assert 0 < measure.rows_per_s(model, items(photos)) < 1e6
    assert 0 < measure.decoded_per_s(model, items(photos)) < 1e6


def test_one_picture_is_enough_to_measure(photos: Path) -> None:
    assert measure.rows_per_s(network(), items(photos)[:1]) > 0


def test_a_picture_that_cannot_be_read_does_not_stop_it(photos: Path) -> None:
    for path in list((photos / "red").iterdir())[:6]:
        path.write_bytes(path.read_bytes()[:500])
    assert measure.rows_per_s(network(), items(photos)) > 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("line", ["top", "layer3", "pixels"])
def test_a_step_is_measured_and_changes_nothing(line: str, optimizer: str) -> None:
    model = network(line)
    before = {name: value.clone() for name, value in model.trainable.state_dict().items()}
    random = torch.get_rng_state()
    stage = Stage(
        line=line,
        batch_size=4,
        optimizer=optimizer,
        ema=0.9,
        clip=1.0,
        mixup=0.2,
        noise=0.1,
        batch_norm="train",
    )
    found = measure.step(model, stage)
    assert 0 < found.eval_s < 1
    assert 0 < found.train_s < 1
    after = model.trainable.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("targets", ["multiclass", "binary", "multilabel"])
def test_a_step_of_every_kind_of_target(targets: str) -> None:
    assert measure.step(network("top", targets), Stage(batch_size=4)).train_s > 0


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_step_of_every_size(batch_size: int) -> None:
    assert measure.step(network("top"), Stage(batch_size=batch_size)).train_s > 0


def test_deriving_is_measured(photos: Path) -> None:
    model = network("top")
    below = classifier.recut(model, "layer3").line
    assert 0 < measure.derived_s(model, below) < 1


def test_a_probe_of_more_images_or_scores_is_expected_to_take_longer() -> None:
    measure.probe_s(2000, 64, 2)  # The first product in a process takes longer.
    assert 0 < measure.probe_s(2000, 64, 4) < measure.probe_s(200_000, 64, 4)
