from pathlib import Path

import pytest
import torch

from frostline import frost
from frostline.activations import engines
from frostline.activations.engines import by_name, openvino_engine
from frostline.base.errors import BackboneError
from frostline.images.preprocessing import Preprocessing
from frostline.networks import catalog

HOW = Preprocessing(height_px=64, width_px=64)
CPU = torch.device("cpu")
SHAPE = (3, 64, 64)


@pytest.fixture(scope="module")
def eager() -> engines.Engine:
    torch.manual_seed(0)
    net = catalog.find("timm:test_resnet?pretrained=false").module
    prefix, _ = frost.cut(net, "pooled", SHAPE)
    line = frost.find(frost.lines(net, SHAPE), "pooled")
    return engines.prepare(prefix, HOW, line.shape, CPU, torch.float32)


def test_what_can_be_had_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: True)
    monkeypatch.setattr(by_name, "_can_compile", lambda: True)
    assert engines.candidates(CPU) == ("eager", "openvino")
    assert engines.candidates(torch.device("cuda")) == ("eager", "compile")
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: False)
    monkeypatch.setattr(by_name, "_can_compile", lambda: False)
    assert engines.candidates(CPU) == ("eager",)
    assert engines.candidates(torch.device("cuda")) == ("eager",)
    assert set(engines.candidates(CPU)) <= set(engines.NAMES)


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(by_name.shutil, "which", lambda name: None)
    assert engines.candidates(torch.device("cuda")) == ("eager",)


def test_the_eager_engine_is_given_back(eager: engines.Engine, tmp_path: Path) -> None:
    assert engines.make("eager", eager, SHAPE, tmp_path) is eager


@pytest.mark.parametrize("name", engines.NAMES)
def test_at_the_line_pixels_there_is_nothing_to_run(name: str, tmp_path: Path) -> None:
    prefix, _ = frost.cut(torch.nn.Conv2d(3, 2, 3), "pixels", SHAPE)
    pixels = engines.prepare(prefix, HOW, SHAPE, CPU, torch.float32, is_pixels=True)
    assert engines.make(name, pixels, SHAPE, tmp_path) is pixels
    assert engines.exact(prefix, HOW, CPU, is_pixels=True).module is None


def test_an_unknown_engine_gets_the_nearest(eager: engines.Engine, tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as caught:
        engines.make("opnevino", eager, SHAPE, tmp_path)
    assert str(caught.value) == (
        "engine: must be one of eager, compile, openvino, not 'opnevino'. Did you mean openvino?"
    )


def test_a_compiled_engine_has_its_own_name(
    eager: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: lambda x: module(x))
    made = engines.make("compile", eager, SHAPE, tmp_path)
    assert made.name == "compile-cpu-float32-folded"
    pixels = torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    assert torch.equal(made(pixels), eager(pixels))
    assert (made.compute, made.storage) == (eager.compute, eager.storage)


def test_a_failure_is_said_in_one_line(
    eager: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(module: torch.nn.Module) -> None:
        raise RuntimeError("\nno operation fft.\nmany\nmore lines")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(BackboneError) as caught:
        engines.make("compile", eager, SHAPE, tmp_path)
    assert str(caught.value) == (
        "engine compile: cannot run this network: no operation fft. Use the engine eager."
    )


def test_an_engine_that_froze_the_batch_is_refused(
    eager: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: lambda x: module(x)[:1])
    with pytest.raises(BackboneError) as caught:
        engines.make("compile", eager, SHAPE, tmp_path)
    width = eager(torch.zeros(1, *SHAPE, dtype=torch.uint8)).shape[1]
    assert str(caught.value) == (
        f"engine compile-cpu-float32-folded: gives activations of shape (1, {width}) for a batch "
        f"of 3, not (3, {width}). Use the engine eager."
    )


def test_openvino_that_is_not_installed_is_said(
    eager: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: False)
    with pytest.raises(BackboneError) as caught:
        engines.make("openvino", eager, SHAPE, tmp_path)
    assert str(caught.value) == (
        "engine openvino: the package openvino is not installed. Install frostline[openvino], or "
        "use the engine eager."
    )
    assert not list(tmp_path.iterdir())
