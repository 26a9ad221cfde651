import pytest
import timm
import torch

from frostline import frost
from frostline.activations import engines
from frostline.base.errors import RecipeError
from frostline.images.preprocessing import Preprocessing
from frostline.images.views import normalise

HOW = Preprocessing(height_px=64, width_px=64)
CPU = torch.device("cpu")


def network(name: str, **arguments: object) -> torch.nn.Module:
    torch.manual_seed(0)
    net = timm.create_model(name, **arguments).eval()
    for module in net.modules():
        if hasattr(module, "running_mean") and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net


@pytest.mark.parametrize(
    "name", ["mobilenetv2_100", "resnet18", "densenet121", "resnetv2_50", "test_efficientnet"]
)
def test_a_folded_prefix_gives_the_same_activations(name: str) -> None:
    net = network(name)
    prefix, _ = frost.cut(net, "pooled", (3, 64, 64))
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        want = prefix(normalise(pixels, HOW))
    line = frost.find(frost.lines(net, (3, 64, 64)), "pooled")
    engine = engines.prepare(prefix, HOW, line.shape, CPU, torch.float32)
    got = engine(pixels)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * want.abs().max().item())


def test_folding_takes_norms_away_and_leaves_the_network_alone() -> None:
    net = network("mobilenetv2_100", pad_type="same")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    prefix, _ = frost.cut(net, "blocks.5", (3, 64, 64))
    engine = engines.prepare(prefix, HOW, (160, 2, 2), CPU, torch.bfloat16)
    norms = [m for m in engine.module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not norms
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.conv_stem.weight.dtype == torch.float32
    assert engine.storage == torch.bfloat16
    assert "bfloat16" in engine.name


def test_weights_that_are_standardised_in_every_pass_are_not_folded() -> None:
    net = network("resnetv2_50x1_bit")
    prefix, _ = frost.cut(net, "stages.0", (3, 64, 64))
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        want = prefix(normalise(pixels, HOW))
    got = engines.prepare(prefix, HOW, tuple(want.shape[1:]), CPU, torch.float32)(pixels)
    torch.testing.assert_close(got.float(), want, rtol=1e-2, atol=1e-2 * want.abs().max().item())


def test_the_line_pixels_runs_nothing() -> None:
    prefix, _ = frost.cut(network("resnet18"), "pixels", (3, 64, 64))
    engine = engines.prepare(prefix, HOW, (3, 64, 64), CPU, torch.float32, is_pixels=True)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(engine(pixels), pixels)


def test_normalising_in_the_network_is_what_the_views_say() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(engines.Normalise(HOW)(pixels), normalise(pixels, HOW))


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "meta", "gpu 1"])
def test_a_device_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(RecipeError, match="--device"):
        engines.pick_device(name)


def test_precision_can_be_asked_for() -> None:
    assert engines.pick_precision("fp32", CPU) == torch.float32
    assert engines.pick_precision("bf16", CPU) == torch.bfloat16
    assert engines.pick_precision("auto", CPU) in (torch.float32, torch.bfloat16)
