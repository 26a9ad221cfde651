"""A network's own classes: `predict` says what the network's own library says."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frostline.base.console import QUIET
from frostline.base.errors import BackboneError
from frostline.cli import main
from frostline.model import predict

# The same picture is resized by other code, and rounded to 8 bits in between.
PHOTOGRAPHS = 0.01


def photographs(assets: Path, count: int) -> list[Path]:
    found = sorted((assets / "data" / "cats_dogs" / "val").glob("*/*.jpg"))
    return found[:: len(found) // count][:count]


@pytest.fixture
def squares(tmp_path: Path) -> list[Path]:
    """Pictures of 224 px, which nobody need resize."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        y, x = np.mgrid[:224, :224]
        waves = [np.sin(x / (9 + 5 * number + c)) + np.cos(y / (17 - 3 * c)) for c in range(3)]
        noise = np.random.default_rng(number).normal(0, 12, (224, 224, 3))
        pixels = 128 + 50 * np.stack(waves, -1) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return paths


def said(target: str, pictures: list[Path], weights: Path | None = None) -> torch.Tensor:
    """Probabilities [n, classes] in the order of the network's own outputs."""
    model = predict.open_model(target, "cpu", "fp32", weights=weights)
    rows = torch.zeros(len(pictures), len(model.labels), dtype=torch.float64)
    found = predict.predict(model, pictures, len(model.labels), QUIET)
    for row, one in zip(rows, found, strict=True):
        # Two classes of ImageNet are called crane.
        places: dict[str, list[int]] = {}
        for at, label in enumerate(model.labels):
            places.setdefault(label, []).append(at)
        for label, chance in one.top:
            row[places[label].pop()] = chance
    return rows


def softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.double().softmax(1)


@pytest.mark.parametrize("name", ["mobilenetv2_imagenet", "efficientnet_lite0_imagenet"])
def test_timm(assets: Path, name: str) -> None:
    import timm

    folder, pictures = assets / "weights" / name, photographs(assets, 6)
    net = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    how = timm.data.resolve_model_data_config(net)
    transform: Any = timm.data.create_transform(**how, is_training=False)
    with torch.inference_mode():
        images = [transform(Image.open(path).convert("RGB")) for path in pictures]
        theirs = softmax(net(torch.stack(images)))
    ours = said(f"dir:{folder}", pictures)
    # Classes of one name may be exchanged here; none of these pictures shows a crane.
    assert (ours - theirs).abs().max() < PHOTOGRAPHS
    assert torch.equal(ours.argmax(1), theirs.argmax(1))


def test_torchvision(assets: Path, squares: list[Path]) -> None:
    from torchvision import models

    file, pictures = assets / "weights/files/squeezenet1_1_imagenet.pth", photographs(assets, 6)
    net = models.squeezenet1_1(weights=None).eval()
    net.load_state_dict(torch.load(file, weights_only=True))
    enum = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    target = "torchvision:squeezenet1_1?weights=IMAGENET1K_V1"
    for paths, bound in ((pictures, PHOTOGRAPHS), (squares, PHOTOGRAPHS)):
        with torch.inference_mode():
            images = [enum.transforms()(Image.open(path).convert("RGB")) for path in paths]
            theirs = softmax(net(torch.stack(images)))
        ours = said(target, paths, weights=file)
        assert (ours - theirs).abs().max() < bound
        assert torch.equal(ours.argmax(1), theirs.argmax(1))


def test_torchvision_names_its_categories(assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = assets / "weights/files/squeezenet1_1_imagenet.pth"
    cat = assets / "data/cats_dogs/val/cats/cat.4001.jpg"
    target = "torchvision:squeezenet1_1?weights=IMAGENET1K_V1"
    assert main(["predict", target, str(cat), "--weights", str(file), "--top-k", "5"]) == 0
    assert "cat" in capsys.readouterr().out.partition(": ")[2]


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_keras(name: str, squares: list[Path], tmp_path: Path) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend here")
    from keras_twin import shaken

    net = shaken(getattr(keras.applications, name)(weights=None, classes=7))
    file = tmp_path / "net.weights.h5"
    net.save_weights(file)
    module = {"MobileNetV2": "mobilenet_v2", "ResNet50": "resnet50"}
    prepare = getattr(keras.applications, module[name]).preprocess_input
    images = [keras.utils.img_to_array(keras.utils.load_img(path)) for path in squares]
    with torch.inference_mode():
        theirs = np.asarray(net(prepare(np.stack(images)), training=False).cpu())
    ours = said(f"keras:{name}?classes=7&weights={file}", squares)
    assert np.abs(ours.numpy() - theirs).max() < 1e-4
    assert theirs.max() > 0.2


def test_a_network_without_classes_is_told(squares: list[Path]) -> None:
    with pytest.raises(BackboneError, match="has no classes of its own, only features"):
        predict.open_model("keras:VGG16?include_top=false&weights=none&input_px=32")
    with pytest.raises(BackboneError, match="--weights: goes with an architecture by name"):
        predict.open_model(f"dir:{squares[0].parent}", weights=squares[0])
