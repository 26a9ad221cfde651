"""Networks at another input size, and without weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from frostline.base.errors import BackboneError
from frostline.networks import catalog, hub
from frostline.networks.opening import open_at_size, open_bare

VIT = "timm:vit_tiny_patch16_224?depth=1"


def test_a_network_made_for_one_size_is_built_for_another(tmp_path: Path) -> None:
    own = catalog.find(VIT, pretrained=False).module
    file = tmp_path / "own.safetensors"
    save_file(own.state_dict(), file)
    opened = open_at_size(VIT, 160, weights=file)
    size = opened.record.preprocessing
    assert (size.height_px, size.width_px) == (160, 160)
    assert opened.record.arguments["img_size"] == 160
    assert opened.module(torch.zeros(1, 3, 160, 160)).shape == (1, 1000)
    # Position embeddings are resampled: a class token, and 10 x 10 patches instead of 14 x 14.
    there, here = (net.get_parameter("pos_embed").detach() for net in (own, opened.module))
    assert (there.shape[1], here.shape[1]) == (1 + 14 * 14, 1 + 10 * 10)
    assert torch.equal(there[:, :1], here[:, :1])
    assert abs(float(there[:, 1:].mean() - here[:, 1:].mean())) < 1e-3
    weight = "blocks.0.mlp.fc1.weight"
    assert torch.equal(own.get_parameter(weight), opened.module.get_parameter(weight))


@pytest.mark.parametrize("image_px", [0, 224])
def test_the_network_s_own_size_changes_nothing(image_px: int) -> None:
    opened = open_at_size(VIT, image_px, pretrained=False)
    assert "img_size" not in opened.record.arguments
    assert opened.record.preprocessing.height_px == 224


def test_a_network_for_any_size_is_fed_the_size() -> None:
    opened = open_at_size("timm:test_resnet", 96, pretrained=False)
    assert dict(opened.record.arguments) == {}
    assert opened.record.preprocessing.height_px == 96


def test_two_sizes_exclude_each_other() -> None:
    with pytest.raises(
        BackboneError,
        match=r"img_size=128: is built for 128 × 128 px by its name, and images of 160",
    ):
        open_at_size(f"{VIT}&img_size=128", 160, pretrained=False)
    assert open_at_size(f"{VIT}&img_size=128", 128, pretrained=False).module is not None


def test_lines_need_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keys: object) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr(hub, "check_reachable", refuse)
    opened = open_bare("timm:resnet18", 64)
    assert {parameter.device.type for parameter in opened.module.parameters()} == {"meta"}
    assert opened.record.preprocessing.height_px == 64
    with pytest.raises(BackboneError, match="has no architecture 'resnet_18'"):
        open_bare("timm:resnet_18")
