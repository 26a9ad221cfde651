"""Activations at lines as files: from any network, at several lines, and after a kill."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import frostline
from conftest import FinishedRun
from frostline.activations import embeddings
from frostline.base.console import QUIET
from frostline.base.errors import LineError
from frostline.cli import main
from frostline.images.augment import CENTER, load

OFF = ["--device", "cpu", "--precision", "fp32"]


def test_several_lines_from_one_pass(finished_run: FinishedRun, tmp_path: Path) -> None:
    out = tmp_path / "x.h5"
    asked = ["embed", str(finished_run.path), str(finished_run.photos), "--out", str(out), *OFF]
    # Not in order: the lowest is computed first all the same.
    assert main([*asked, "--line", "pooled", "--line", "layer2"]) == 0
    network = frostline.backbone(f"dir:{finished_run.path}/model")
    prefix, _ = network.cut("layer2")
    top, _ = network.cut("pooled")
    with h5py.File(out) as found:
        paths = found["path"].asstr()[()]
        how = network.record.preprocessing
        pixels = torch.stack([load(path, how, [CENTER], "")[0] for path in paths[:3]])
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (how.mean, how.std))
        with torch.inference_mode():
            images = (pixels / 255 - mean) / std
            maps, vectors = prefix(images), top(images)
        assert found["activations/layer2"].shape == (36, *maps.shape[1:])
        # They are kept in half precision.
        assert np.allclose(found["activations/layer2"][:3], maps, rtol=2e-3, atol=2e-3)
        assert np.allclose(found["activations/pooled"][:3], vectors, rtol=1e-2, atol=1e-2)


def test_a_kill_while_writing_costs_no_activation(
    finished_run: FinishedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "sub" / "x.h5"
    asked = ["embed", str(finished_run.path), str(finished_run.photos), "--line", "layer2"]
    asked += ["--out", str(out), *OFF, "--cache-dir", str(tmp_path / "kept")]
    monkeypatch.setattr(embeddings, "BLOCK_BYTES", 1 << 16)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(embeddings, "array", stop)
        assert main(asked) == 130
    assert not out.exists()
    files = sorted(path.name for path in (tmp_path / "kept").rglob("*.safetensors"))
    assert main(asked) == 0
    assert files == sorted(path.name for path in (tmp_path / "kept").rglob("*.safetensors"))
    with h5py.File(out) as found:
        assert len(found["activations"]) == 36


def test_vgg16_without_its_top_gives_seven_by_seven(finished_run: FinishedRun) -> None:
    values, rows = frostline.activations(
        finished_run.picture,
        backbone="keras:VGG16?include_top=false&weights=none",
        line="block5_pool",
        channels_last=True,
        console=QUIET,
    )
    assert tuple(values.shape) == (1, 7, 7, 512)
    assert len(rows) == 1


def test_what_is_no_map_stays_as_it_is(finished_run: FinishedRun) -> None:
    values, _ = frostline.activations(
        finished_run.picture,
        backbone="timm:test_vit?pretrained=false",
        line=["blocks.0", "pooled"],
        channels_last=True,
        console=QUIET,
    )
    assert tuple(values["blocks.0"].shape) == (1, 101, 64)
    assert tuple(values["pooled"].shape) == (1, 64)


def test_a_line_that_is_named_twice(finished_run: FinishedRun) -> None:
    with pytest.raises(LineError, match="'layer1' is named twice"):
        frostline.activations(
            finished_run.picture,
            backbone=str(finished_run.path),
            line=["layer1", "layer1.0"],
            console=QUIET,
        )
