"""Networks of transformers without a classifier: backbones, and the image towers of pairs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import make_photos, settled
from frostline.base.errors import BackboneError
from frostline.cli import main
from frostline.networks import catalog, model_folder
from frostline.networks.catalog import find

transformers = pytest.importorskip("transformers")
BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VIT = {**BLOCKS, "image_size": 32, "patch_size": 16}
MLP = {"intermediate_size": 32}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
SMALL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dinov2": ("Dinov2Config", "Dinov2Model", VIT),
    "dinov2 backbone": ("Dinov2Config", "Dinov2Backbone", VIT),
    "dinov3": ("DINOv3ViTConfig", "DINOv3ViTModel", {**VIT, **MLP}),
    "dinov3 convnext": ("DINOv3ConvNextConfig", "DINOv3ConvNextModel", STAGES),
    "siglip tower": ("SiglipVisionConfig", "SiglipVisionModel", {**VIT, **MLP}),
    "clip tower": ("CLIPVisionConfig", "CLIPVisionModel", {**VIT, **MLP}),
    "vit": ("ViTConfig", "ViTModel", {**VIT, **MLP}),
    "convnext": ("ConvNextConfig", "ConvNextModel", STAGES),
    "resnet": ("ResNetConfig", "ResNetModel", {**STAGES, "embedding_size": 8}),
    "swin": (
        "SwinConfig",
        "SwinModel",
        {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "image_size": 32},
    ),
}
PROCESSOR = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def saved(path: Path, kind: str) -> Any:
    torch.manual_seed(0)
    config, model, settings = SMALL[kind]
    made = getattr(transformers, model)(getattr(transformers, config)(**settings)).eval()
    made.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return made


@pytest.mark.parametrize("kind", SMALL)
@torch.no_grad()
def test_it_opens_is_cut_exactly_saved_and_opened_again(kind: str, tmp_path: Path) -> None:
    made = saved(tmp_path / "net", kind)
    one = find(f"transformers:{tmp_path / 'net'}")
    images = torch.rand(2, 3, 32, 32)
    given = one.module(images)
    assert given.shape == (2, one.record.num_features)
    if "backbone" not in kind:
        own = made(images).pooler_output.flatten(1)
        assert torch.equal(given, own)
    assert one.record.classes == ()
    traced = catalog.trace(one)
    assert (traced.lines[-1].name, traced.lines[-1].shape) == ("pooled", (given.shape[1],))
    assert len(traced.lines) > 4
    for line in traced.lines[::3]:
        prefix, suffix = traced.cut(line, verify=False)
        assert torch.equal(suffix.eval()(prefix.eval()(images)), given), line.name
    model_folder.write_folder(tmp_path / "saved", one.module, one.record, ())
    again = find(f"dir:{tmp_path / 'saved'}")
    assert torch.equal(again.module(images), given)
    assert again.record.preprocessing == one.record.preprocessing


@torch.no_grad()
def test_of_a_pair_the_image_tower_alone_is_opened(tmp_path: Path) -> None:
    vision = {**VIT, **MLP}
    text = {**BLOCKS, **MLP, "vocab_size": 50, "max_position_embeddings": 8}
    for name in ("Siglip", "CLIP"):
        config = getattr(transformers, f"{name}Config")(text_config=text, vision_config=vision)
        pair = getattr(transformers, f"{name}Model")(config).eval()
        folder = tmp_path / name
        pair.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        one = find(f"transformers:{folder}")
        images = torch.rand(2, 3, 32, 32)
        assert torch.equal(one.module(images), pair.vision_model(images).pooler_output)
        assert not any("text" in name for name, _ in one.module.named_parameters())


def test_a_pooling_layer_without_weights_is_left_out(tmp_path: Path) -> None:
    saved(tmp_path / "net", "vit")
    config, _, settings = SMALL["vit"]
    bare = transformers.ViTModel(
        getattr(transformers, config)(**settings), add_pooling_layer=False
    ).eval()
    bare.save_pretrained(tmp_path / "net")
    one = find(f"transformers:{tmp_path / 'net'}")
    images = torch.rand(2, 3, 32, 32)
    want = bare(images).last_hidden_state[:, 0]
    assert torch.equal(one.module(images), want)
    model_folder.write_folder(tmp_path / "saved", one.module, one.record, ())
    assert torch.equal(find(f"dir:{tmp_path / 'saved'}").module(images), want)


def test_a_run_on_dinov2_is_trained_and_predicts(tmp_path: Path) -> None:
    saved(tmp_path / "net", "dinov2")
    photos = make_photos(tmp_path / "photos", {"blue": 8, "red": 8})
    argv = ["train", str(photos), "--device", "cpu", "--out", str(tmp_path / "run")]
    argv += ["--backbone", f"transformers:{tmp_path / 'net'}"]
    assert main([*argv, *settled("--line", "encoder.layer.0", "--epochs", 1)]) == 0
    assert main(["predict", str(tmp_path / "run"), str(photos / "red" / "000.png")]) == 0
    again = find(f"dir:{tmp_path / 'run' / 'model'}")
    assert again.record.classes == ("blue", "red")


def test_a_network_that_takes_no_images_is_refused(tmp_path: Path) -> None:
    transformers.BertConfig(hidden_size=16, num_attention_heads=2).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    with pytest.raises(BackboneError, match="no image classifier and no image tower of type 'bert"):
        find(f"transformers:{tmp_path}?pretrained=false")
