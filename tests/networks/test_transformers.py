"""Networks of transformers: folders as `save_pretrained` writes them, and the hub's cache."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from conftest import make_photos, settled
from frostline.base.errors import BackboneError, WeightsError
from frostline.cli import main
from frostline.images import views
from frostline.networks import catalog, model_folder
from frostline.networks.catalog import find

transformers = pytest.importorskip("transformers")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViT", {**BLOCKS, "intermediate_size": 32, "image_size": 32, "patch_size": 16}),
    "deit": ("DeiT", {**BLOCKS, "intermediate_size": 32, "image_size": 32, "patch_size": 16}),
    "beit": ("Beit", {**BLOCKS, "intermediate_size": 32, "image_size": 32, "patch_size": 16}),
    "dinov2": ("Dinov2", {**BLOCKS, "image_size": 32, "patch_size": 16}),
    "dinov2_with_registers": (
        "Dinov2WithRegisters",
        {**BLOCKS, "image_size": 32, "patch_size": 16},
    ),
    "swin": (
        "Swin",
        {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "image_size": 32},
    ),
    "convnext": ("ConvNext", STAGES),
    "convnextv2": ("ConvNextV2", STAGES),
    "resnet": ("ResNet", {**STAGES, "embedding_size": 8, "layer_type": "basic"}),
    "regnet": ("RegNet", {**STAGES, "embedding_size": 8, "groups_width": 8}),
    "mobilenet_v2": ("MobileNetV2", {"depth_multiplier": 0.35}),
}
PROCESSOR = {
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
}


def saved(path: Path, kind: str = "vit", **processor: Any) -> Any:
    torch.manual_seed(0)
    prefix, settings = SMALL[kind]
    config = getattr(transformers, f"{prefix}Config")(
        **settings, id2label={0: "ant", 1: "bee", 2: "wasp"}, label2id={}
    )
    model = getattr(transformers, f"{prefix}ForImageClassification")(config).eval()
    model.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **processor}))
    return model


def refusal(name: str, **options: Any) -> str:
    with pytest.raises((BackboneError, WeightsError)) as caught:
        find(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", SMALL)
@torch.no_grad()
def test_a_family_opens_and_is_cut_exactly(tmp_path: Path, kind: str) -> None:
    model = saved(tmp_path, kind)
    one = find(f"transformers:{tmp_path}")
    images = torch.rand(2, 3, 32, 32)
    want = model(images).logits
    assert torch.equal(one.module(images), want)
    assert one.record.classes == ("ant", "bee", "wasp")
    assert one.record.parameters == sum(p.numel() for p in model.parameters())
    assert one.module.state_dict().keys() == model.state_dict().keys()
    traced = catalog.trace(one)
    assert len([line for line in traced.lines if line.block]) > 3
    assert traced.lines[-1].shape == (one.record.num_features,)
    for line in (*traced.lines[1::3], traced.lines[-1]):
        prefix, suffix = traced.cut(line, verify=False)
        assert torch.equal(suffix.eval()(prefix.eval()(images)), want), line.name


@torch.no_grad()
def test_a_model_folder_opens_here_and_in_transformers(tmp_path: Path) -> None:
    saved(tmp_path / "source")
    one = find(f"transformers:{tmp_path / 'source'}")
    model_folder.write_folder(tmp_path / "net", one.module, one.record, ["x", "y", "z"])
    images = torch.rand(2, 3, 32, 32)
    again = find(f"dir:{tmp_path / 'net'}")
    assert torch.equal(again.module(images), one.module(images))
    assert (again.record.classes, again.record.kind) == (("x", "y", "z"), "transformers")
    assert again.record.preprocessing == one.record.preprocessing
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "net").eval()
    assert torch.equal(theirs(images).logits, one.module(images))
    assert theirs.config.id2label == {0: "x", 1: "y", 2: "z"}


def test_a_run_is_trained_written_and_predicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "source")
    photos = make_photos(tmp_path / "photos", {"blue": 8, "red": 8})
    argv = ["train", str(photos), "--device", "cpu"]
    argv += ["--backbone", f"transformers:{tmp_path / 'source'}"]
    first = settled("--line", "vit.layers.0", "--epochs", 1, "--suffix-lr", 1e-3)
    assert main([*argv, "--out", str(tmp_path / "run"), *first]) == 0
    picture = str(photos / "red" / "000.png")
    assert main(["predict", str(tmp_path / "run"), picture]) == 0
    assert main([*argv, "--out", str(tmp_path / "mlp"), "--head", "mlp:4", *settled()]) == 0
    assert main(["predict", str(tmp_path / "mlp"), picture]) == 0
    capsys.readouterr()


@torch.no_grad()
def test_a_file_of_weights_takes_the_place_of_the_folders_own(tmp_path: Path) -> None:
    saved(tmp_path / "source")
    name = f"transformers:{tmp_path / 'source'}"
    config = transformers.ViTConfig.from_pretrained(tmp_path / "source")
    other = transformers.ViTForImageClassification(config).eval()
    other.save_pretrained(tmp_path / "other")  # Under the names that earlier versions had.
    torch.save({"state_dict": other.state_dict()}, tmp_path / "net.pth")
    images = torch.rand(2, 3, 32, 32)
    want = other(images).logits
    (tmp_path / "source" / "model.safetensors").unlink()
    for file in (tmp_path / "other" / "model.safetensors", tmp_path / "net.pth"):
        one = find(name, weights=file)
        assert torch.equal(one.module(images), want)
        assert one.record.classes == ("ant", "bee", "wasp")
        assert one.match is not None
        assert one.match.complete
    half = {key: value for key, value in other.state_dict().items() if "layers.1" not in key}
    torch.save(half, tmp_path / "half.pth")
    assert "16 missing (vit.layers.1." in refusal(name, weights=tmp_path / "half.pth")
    part = find(name, weights=tmp_path / "half.pth", partial=True)
    assert part.match is not None
    assert len(part.match.missing) == 16
    assert part.record.classes == ()
    saved(tmp_path / "swin", "swin")
    message = refusal(name, weights=tmp_path / "swin" / "model.safetensors")
    assert "the weights do not fit" in message


def test_a_model_of_the_hub_opens_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    root = tmp_path / "hub" / "models--someone--net"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    saved(root / "snapshots" / COMMIT)
    (root / "snapshots" / COMMIT / "README.md").write_text("---\nlicense: mit\n---\n")
    one = find("transformers:someone/net")
    assert (one.record.name, one.record.licence) == ("transformers:someone/net", "mit")
    message = refusal("transformers:someone/other")
    assert "could not be downloaded" in message
    assert "--weights" not in message
    assert "after transformers: must stand OWNER/NAME" in refusal("transformers:net")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, (32, 1.0, "squash")),
        ({"size": 48}, (48, 1.0, "squash")),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224},
            (224, 0.875, "center"),
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 0.875, "center")),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 1.0, "squash")),
        ({"size": {"shortest_edge": 224}}, (224, 1.0, "center")),
    ],
)
def test_the_processors_sizes(tmp_path: Path, facts: dict[str, Any], expected: Any) -> None:
    saved(tmp_path, **facts)
    how = find(f"transformers:{tmp_path}?pretrained=false").record.preprocessing
    assert (how.height_px, how.crop_pct, how.crop_mode) == expected
    assert (how.interpolation, how.mean) == ("bicubic", (0.5, 0.5, 0.5))


def test_pixels_are_those_of_its_own_processor(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    saved(tmp_path, size={"height": 48, "width": 32}, image_processor_type="ViTImageProcessor")
    how = find(f"transformers:{tmp_path}?pretrained=false").record.preprocessing
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    ours = views.normalise(views.center(noise, how), how)
    processor = transformers.ViTImageProcessor.from_pretrained(tmp_path)
    theirs = processor(Image.fromarray(noise), return_tensors="pt")["pixel_values"][0]
    assert ours.shape == theirs.shape == (3, 48, 32)
    assert float((ours - theirs).abs().mean()) < 1 / 255 / 0.5


def test_code_and_pickles_of_a_model_are_not_read(tmp_path: Path) -> None:
    saved(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "auto_map": {"AutoConfig": "evil.Config"}}))
    assert "code that a model brings along is not run." in refusal(f"transformers:{tmp_path}")
    file.write_text(json.dumps({**config, "model_type": "evil"}))
    assert "has no model type 'evil' of its own" in refusal(f"transformers:{tmp_path}")
    file.write_text(json.dumps(config))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert "no safetensors in it" in refusal(f"transformers:{tmp_path}")


def test_what_does_not_hold_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "net")
    name = f"transformers:{tmp_path / 'net'}"
    assert "takes no argument 'foo'" in refusal(f"{name}?foo=1")
    assert "takes no argument 'num_classes'" in refusal(f"{name}?num_classes=5")
    assert "no such weights file" in refusal(name, weights=tmp_path / "net.pth")
    saved(tmp_path / "net", rescale_factor=0.5)
    assert "preprocessor_config.json: its preprocessing is not one" in refusal(name)
    (tmp_path / "net" / "preprocessor_config.json").unlink()
    assert "has no preprocessor_config.json" in refusal(name)
    (tmp_path / "net" / "config.json").unlink()
    assert "no config.json in it." in refusal(name)


def test_weights_without_a_classifier_are_told(tmp_path: Path) -> None:
    model = saved(tmp_path / "net")
    saved(tmp_path / "bare")
    model.vit.save_pretrained(tmp_path / "bare")
    shutil.copy(tmp_path / "net" / "config.json", tmp_path / "bare" / "config.json")
    message = refusal(f"transformers:{tmp_path / 'bare'}")
    assert "its weights are not those of an image classifier; missing 2 (classifier.bias" in message


def test_features_without_a_classifier(tmp_path: Path) -> None:
    saved(tmp_path)
    one = find(f"transformers:{tmp_path}?num_classes=0")
    assert one.module(torch.rand(2, 3, 32, 32)).shape == (2, one.record.num_features)
    assert one.record.classes == ()
