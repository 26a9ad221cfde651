"""One small network of every family of every kind: from opening it to a trained model folder.

`tests/frost/test_families.py` asks more of the cut itself. Here each network is opened by its name,
as a user has it. A spread runs in CI, all of them with `pytest -m slow`.
"""

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from frostline import planner
from frostline.frost import Line, TracedNetwork
from frostline.frost.choice import find_line
from frostline.networks import catalog, model_folder
from frostline.networks.record import OpenedBackbone
from frostline.networks.registry import kind_of
from timm_families import TIMM

CLOSE = 1e-5
FILES = Path(__file__).parent / "weights_files" / "files"
# Smallest members at small sizes, by family of keras.applications.
KERAS: Mapping[str, str] = {
    "xception": "Xception?input_px=71",
    "vgg16": "VGG16?input_px=32",
    "vgg19": "VGG19?input_px=32",
    "resnet": "ResNet50?input_px=32",
    "resnet_v2": "ResNet50V2?input_px=32",
    "inception_v3": "InceptionV3?input_px=75",
    "inception_resnet_v2": "InceptionResNetV2?input_px=75",
    "mobilenet": "MobileNet?input_px=64&alpha=0.25",
    "mobilenet_v2": "MobileNetV2?input_px=64&alpha=0.35",
    "mobilenet_v3": "MobileNetV3Small?input_px=64&minimalistic=true",
    "densenet": "DenseNet121?input_px=32",
    "nasnet": "NASNetMobile?input_px=64",
    "efficientnet": "EfficientNetB0?input_px=32",
    "efficientnet_v2": "EfficientNetV2B0?input_px=32",
    "convnext": "ConvNeXtTiny?input_px=64",
}
TORCHVISION = (
    *("alexnet", "vgg11_bn", "resnet18", "densenet121", "squeezenet1_1", "googlenet"),
    *("inception_v3", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5"),
    *("efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "swin_t", "vit_b_32", "maxvit_t"),
)
PX = {"alexnet": 64, "squeezenet1_1": 64, "inception_v3": 80, "maxvit_t": 224, "vit_b_32": 224}
_BLOCKS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
_VIT = {**_BLOCKS, "image_size": 32, "patch_size": 16}
_MLP = {"intermediate_size": 32}
_STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_WINDOWS = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
TRANSFORMERS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "vit": ("ViT", "ForImageClassification", {**_VIT, **_MLP}),
    "deit": ("DeiT", "ForImageClassification", {**_VIT, **_MLP}),
    "beit": ("Beit", "ForImageClassification", {**_VIT, **_MLP}),
    "swin": ("Swin", "ForImageClassification", {**_WINDOWS, "image_size": 32}),
    "swinv2": ("Swinv2", "ForImageClassification", {**_WINDOWS, "image_size": 32}),
    "convnext": ("ConvNext", "ForImageClassification", _STAGES),
    "convnextv2": ("ConvNextV2", "ForImageClassification", _STAGES),
    "resnet": ("ResNet", "ForImageClassification", {**_STAGES, "embedding_size": 8}),
    "mobilenet_v2": ("MobileNetV2", "ForImageClassification", {"depth_multiplier": 0.35}),
    "dinov2": ("Dinov2", "Model", _VIT),
    "dinov3": ("DINOv3ViT", "Model", {**_VIT, **_MLP}),
    "siglip": ("SiglipVision", "Model", {**_VIT, **_MLP}),
    "clip": ("CLIPVision", "Model", {**_VIT, **_MLP}),
}
SPREAD = (
    *("keras:mobilenet", "keras:vgg16", "keras:efficientnet", "keras:resnet_v2"),
    *("torchvision:shufflenet_v2_x0_5", "torchvision:squeezenet1_1", "torchvision:mobilenet_v2"),
    *("transformers:vit", "transformers:convnext", "transformers:dinov3", "transformers:siglip"),
    *("transformers:swin", "transformers:clip"),
    *("builtin:small_cnn", "builtin:mnist_cnn", "builtin:efficientnet_lite0", "py:own"),
    *("timm:test_vit", "timm:test_convnext", "timm:test_efficientnet"),
    *("tf:tf1", "tf:saved_model", "onnx:model.onnx", "tflite:float.tflite"),
)
ALL = (
    *(f"keras:{family}" for family in KERAS),
    *(f"torchvision:{name}" for name in TORCHVISION),
    *(f"transformers:{name}" for name in TRANSFORMERS),
    *(f"timm:{name}" for name in TIMM),
)
without_keras = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
without_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is not installed"
)


def cases(names: tuple[str, ...]) -> list[Any]:
    marks = {"keras": (without_keras,), "transformers": (without_transformers,)}
    return [pytest.param(name, marks=marks.get(name.partition(":")[0], ())) for name in names]


def of_transformers(name: str, folder: Path) -> str:
    import transformers

    prefix, ending, settings = TRANSFORMERS[name]
    labels = {"id2label": {i: f"c{i}" for i in range(5)}} if "For" in ending else {}
    config = getattr(transformers, f"{prefix}Config")(**settings, **labels)
    config.architectures = [f"{prefix}{ending}"]
    config.save_pretrained(folder)
    side = {"size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(side))
    return f"transformers:{folder}?pretrained=false"


def of_timm(module: str, folder: Path) -> str:
    name, _, arguments = TIMM.get(module, module).partition("@")[0].partition("?")
    return f"timm:{name}?pretrained=false&num_classes=5" + (f"&{arguments}" if arguments else "")


def px_of(case: str) -> int:
    """Returns the side of a network's images; 0 for its own."""
    kind, _, name = case.partition(":")
    if kind == "timm":
        return int(TIMM.get(name, "").partition("@")[2] or 0)
    return PX.get(name, 64) if kind == "torchvision" else 0


OPENING: Mapping[str, Callable[[str, Path], str]] = {
    "keras": lambda name, folder: f"keras:{KERAS[name]}&pretrained=false&classes=5",
    "torchvision": lambda name, folder: f"torchvision:{name}?pretrained=false&num_classes=5",
    "transformers": of_transformers,
    "builtin": lambda name, folder: (
        f"builtin:{name}" + ("" if name == "efficientnet_lite0" else "?pretrained=false")
    ),
    "py": lambda name, folder: "py:own_network:small?classes=5",
    "timm": of_timm,
    **{
        kind: lambda name, folder, kind=kind: f"{kind}:{FILES / name}?mode=tf&pretrained=false"
        for kind in ("tf", "onnx", "tflite")
    },
}


@pytest.mark.parametrize("case", cases(SPREAD))
def test_a_spread_of_families_holds(case: str, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(tuple(name for name in ALL if name not in SPREAD)))
def test_every_family_holds(case: str, tmp_path: Path) -> None:
    check(case, tmp_path)


def check(case: str, folder: Path) -> None:
    """Opens, lists, cuts, trains, saves, opens again, and compares."""
    kind, _, name = case.partition(":")
    torch.manual_seed(0)
    one = catalog.find(OPENING[kind](name, folder))
    awake(one.module)
    traced = catalog.trace(one, px_of(case))
    batch = torch.randn(3, *traced.input_shape, generator=torch.Generator().manual_seed(1))
    check_cuts(traced, batch)
    check_default_line(traced)
    train_a_step(traced, batch)
    check_folder(one, batch, folder / "net")


def awake(net: nn.Module) -> None:
    """Gives every tensor values that matter: norms, scales and statistics are not 0 or 1."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() < 2 or parameter.numel() < 2 or float(parameter.std()) < 1e-4:
                parameter.add_(0.05 * torch.randn_like(parameter))
        for module in net.modules():
            if isinstance(getattr(module, "running_mean", None), torch.Tensor):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]


@torch.no_grad()
def check_cuts(traced: TracedNetwork, batch: torch.Tensor) -> None:
    """At every third line: exact, no weight on both sides, no mode that follows the other side."""
    assert [traced.lines[0].name, traced.lines[-1].name] == ["pixels", "pooled"]
    whole = traced.net(batch.clone())
    step = max(3, len(traced.lines) // 8)
    for line in (*traced.lines[::step], traced.lines[-1]):
        assert traced.find(line.name) is line
        prefix, suffix = traced.cut(line, verify=False)
        below = {id(parameter) for parameter in prefix.parameters()}
        assert below.isdisjoint(id(parameter) for parameter in suffix.parameters()), line.name
        kept = prefix.eval()(batch.clone())
        assert torch.equal(suffix.eval()(kept.clone()), whole), line.name
        suffix.train()
        assert not any(module.training for module in prefix.modules()), line.name
        assert torch.equal(prefix(batch.clone()), kept), line.name
        suffix.eval()


def check_default_line(traced: TracedNetwork) -> None:
    """Where `auto` lies first, something is left to train."""
    top = traced.lines[-1]
    line = find_line(traced, planner.DEFAULT_LINE, top)
    assert line.params_above > top.params_above, line.name


def train_a_step(traced: TracedNetwork, batch: torch.Tensor) -> None:
    """A step above the middle moves what lies above, and nothing below."""
    line = middle(traced)
    prefix, suffix = traced.cut(line, verify=False)
    with torch.no_grad():
        kept = prefix.eval()(batch.clone())
    frozen = {name: p.detach().clone() for name, p in prefix.named_parameters()}
    suffix.train()(kept.clone()).float().square().mean().backward()
    moved = [parameter for parameter in suffix.parameters() if parameter.grad is not None]
    assert moved
    with torch.no_grad():
        for parameter in moved:
            parameter -= 1e-3 * parameter.grad.sign()  # type: ignore[union-attr]
        assert torch.equal(prefix(batch.clone()), kept), line.name
    assert all(torch.equal(p, frozen[name]) for name, p in prefix.named_parameters())
    suffix.eval()


def middle(traced: TracedNetwork) -> Line:
    useful = [line for line in traced.lines if line.params_above > traced.lines[-1].params_above]
    return useful[len(useful) // 2]


@torch.no_grad()
def check_folder(one: OpenedBackbone, batch: torch.Tensor, folder: Path) -> None:
    """Saved after the step and opened again, it gives the same."""
    count = kind_of(one.record.kind).outputs(one.module)
    names = [f"class {index}" for index in range(count)]
    module = one.module.eval()
    model_folder.write_folder(folder, module, one.record, names)
    again = catalog.find(f"dir:{folder}")
    want, got = module(batch), again.module(batch)
    assert float((want - got).abs().max()) <= CLOSE * float(want.abs().max())
    assert again.record.classes == tuple(names)
