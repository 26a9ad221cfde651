"""Image towers in OpenCLIP's folders: the values of the published network, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from conftest import make_photos, settled
from frostline.base.errors import BackboneError, WeightsError
from frostline.cli import main
from frostline.networks import catalog, model_folder
from frostline.networks.catalog import find

VISION: dict[str, Any] = {
    "image_size": 32,
    "layers": 2,
    "width": 64,
    "head_width": 16,
    "patch_size": 8,
}
MODEL: dict[str, Any] = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": {"width": 32}}
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "resize_mode": "squash"}


class Block(nn.Module):
    """A block as Radford et al. (2021) publish it, under OpenCLIP's names."""

    def __init__(self, width: int, heads: int, act: nn.Module) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", act)
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        mixed: Tensor = self.mlp(self.ln_2(x))
        return x + mixed


class QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Tower(nn.Module):
    """CLIP's vision transformer, under OpenCLIP's names."""

    def __init__(self, act: nn.Module, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 8, stride=8, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(17, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*(Block(width, 4, act) for _ in range(depth)))
        self.proj = nn.Parameter(0.1 * torch.randn(width, 24))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1)
        blocks = self.transformer.get_submodule("resblocks")
        x = blocks(self.ln_pre(x + self.positional_embedding))
        return self.ln_post(x[:, 0]) @ self.proj


def write(folder: Path, model: dict[str, Any], visual: nn.Module, prefix: str = "visual.") -> None:
    """Writes a folder as OpenCLIP does, with something of a tower of text in it."""
    folder.mkdir(exist_ok=True)
    config = {"model_cfg": model, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = {f"{prefix}{name}": tensor for name, tensor in visual.state_dict().items()}
    text = {"logit_scale": torch.ones(()), "token_embedding.weight": torch.rand(9, 32)}
    save_file({**state, **text}, folder / "open_clip_model.safetensors")


def shaken(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


def refusal(name: str) -> str:
    with pytest.raises((BackboneError, WeightsError)) as caught:
        find(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("quick", [False, True])
@torch.no_grad()
def test_a_vision_transformer_gives_the_published_values(tmp_path: Path, quick: bool) -> None:
    torch.manual_seed(0)
    tower = shaken(Tower(QuickGelu() if quick else nn.GELU()))
    write(tmp_path, {**MODEL, "quick_gelu": quick}, tower)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    one = find(f"dir:{tmp_path}")
    images = torch.randn(3, 3, 32, 32)
    assert torch.allclose(one.module(images), tower(images), atol=1e-5)
    how = one.record.preprocessing
    assert (how.mean, how.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert (how.crop_mode, how.crop_pct, how.interpolation) == ("squash", 1.0, "bicubic")
    assert one.record.licence == "mit"
    assert one.record.classes == ()
    assert one.notes == ("of OpenCLIP, the image tower alone is opened",)
    traced = catalog.trace(one)
    assert traced.lines[-1].shape == (64,)
    traced.cut("blocks.0")
    model_folder.write_folder(tmp_path / "net", one.module, one.record, ["x"] * 24)
    assert torch.equal(find(f"dir:{tmp_path / 'net'}").module(images), one.module(images))


@torch.no_grad()
def test_towers_of_timm_give_timms_values(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vision = {"image_size": 64, "timm_model_name": "test_resnet", "timm_proj": "linear"}
    trunk = timm.create_model("test_resnet", num_classes=0)
    visual = nn.Sequential()
    visual.add_module("trunk", trunk)
    head = nn.Sequential()
    head.add_module("proj", nn.Linear(trunk.num_features, 24, bias=False))
    visual.add_module("head", head)
    write(tmp_path, {"embed_dim": 24, "vision_cfg": {**vision, "timm_pool": ""}}, shaken(visual))
    images = torch.randn(3, 3, 64, 64)
    one = find(f"dir:{tmp_path}")
    assert one.record.architecture == "test_resnet"
    assert one.record.preprocessing.input_shape == (3, 64, 64)
    assert torch.allclose(one.module(images), visual(images), atol=1e-5)


@torch.no_grad()
def test_attention_pooling_is_cut_as_well(tmp_path: Path) -> None:
    """The query of SigLIP's pooling is a view of a parameter, which the count stumbled over."""
    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_proj": "none"}
    settings = {"embed_dim": 64, "vision_cfg": {**vision, "timm_pool": "map"}}
    visual = nn.Sequential()
    visual.add_module("trunk", timm.create_model("test_vit", num_classes=0, global_pool="map"))
    write(tmp_path, settings, shaken(visual))
    one = find(f"dir:{tmp_path}")
    images = torch.randn(2, 3, 160, 160)
    assert torch.allclose(one.module(images), visual(images), atol=1e-5)
    traced = catalog.trace(one)
    prefix, suffix = traced.cut(traced.lines[len(traced.lines) // 2])
    assert torch.equal(suffix(prefix(images)), one.module(images))


def test_a_run_is_trained_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "clip", MODEL, shaken(Tower(nn.GELU())))
    photos = make_photos(tmp_path / "photos", {"blue": 8, "red": 8})
    argv = ["train", str(photos), "--device", "cpu", "--backbone", str(tmp_path / "clip")]
    assert main([*argv, "--out", str(tmp_path / "run"), *settled()]) == 0
    assert main(["predict", str(tmp_path / "run"), str(photos / "red" / "000.png")]) == 0
    assert "red" in capsys.readouterr().out


def test_what_is_no_tower_of_timms_is_refused(tmp_path: Path) -> None:
    name = f"dir:{tmp_path}"
    tower = Tower(nn.GELU())
    for key, value, told in (
        ("attentional_pool", True, "vision_cfg.attentional_pool = True: timm's networks have no"),
        ("layers", [3, 4, 6, 3], "a residual tower; only vision transformers and towers of timm"),
        ("head_width", 0, "is not as OpenCLIP writes it"),
        ("timm_model_name", "resnet5", "timm 1.0"),
    ):
        write(tmp_path, {**MODEL, "vision_cfg": {**VISION, key: value}}, tower)
        assert told in refusal(name)
    write(tmp_path, {"embed_dim": 24}, tower)
    assert "open_clip_config.json: 'vision_cfg' must be a table, not None" in refusal(name)
    write(tmp_path, MODEL, tower, prefix="text.")
    assert "the weights do not fit: 0 of the network's" in refusal(name)
    (tmp_path / "open_clip_model.safetensors").unlink()
    assert "one of open_clip_model.safetensors, open_clip_pytorch_model.bin must be" in refusal(
        name
    )


def test_transformers_configuration_may_lie_beside_it(tmp_path: Path) -> None:
    write(tmp_path, MODEL, Tower(nn.GELU()))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert find(f"dir:{tmp_path}").record.architecture == "vit_base_patch16_clip_224"
