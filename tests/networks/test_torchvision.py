"""torchvision's networks: all families, their weights, and what their enums say of them."""

import json
import math
import shutil
import urllib.request
from collections.abc import Iterable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from conftest import make_photos, settled
from frostline.base.errors import BackboneError, WeightsError
from frostline.cli import main
from frostline.images import views
from frostline.networks import catalog, model_folder
from frostline.networks import torchvision_networks as kind
from frostline.networks.catalog import find

# The smallest network of each family and of each class of networks, with an input that it takes.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_x_400mf": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "vgg11": 32,
    "vit_b_32?image_size=64": 64,
}


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for downloads, and no connection."""

    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(urllib.request, "urlopen", fail)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def refusal(name: str, **options: Any) -> str:
    with pytest.raises((BackboneError, WeightsError)) as caught:
        find(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def downloaded(hub: Path, enum: Any, **arguments: Any) -> nn.Module:
    """Puts random weights where torchvision keeps those of `enum`; returns a network of them."""
    torch.manual_seed(0)
    name = type(enum).__name__.removesuffix("_Weights").lower()
    builder = next(n for n in kind.architectures() if n.replace("_", "") == name.replace("_", ""))
    module: nn.Module = models.get_model(builder, **arguments).eval()
    torch.save(module.state_dict(), hub / Path(enum.url).name)
    return module


def test_every_family_is_tried_here() -> None:
    def files(names: Iterable[str]) -> set[str]:
        return {models.get_model_builder(name).__module__ for name in names}

    assert files(name.partition("?")[0] for name in FAMILIES) == files(kind.architectures())


def every_third_line() -> Iterator[Any]:
    for architecture in FAMILIES:
        slow = architecture == "maxvit_t"  # It has 131 lines, and takes one size of images.
        yield pytest.param(architecture, 3, marks=[pytest.mark.slow] if slow else [])
    yield "maxvit_t", 24


@pytest.mark.parametrize(("architecture", "step"), list(every_third_line()))
@torch.no_grad()
def test_a_family_is_cut_exactly(architecture: str, step: int) -> None:
    torch.manual_seed(1)
    joined = "&" if "?" in architecture else "?"
    one = find(f"torchvision:{architecture}{joined}weights=none&num_classes=5")
    side_px = FAMILIES[architecture]
    traced = catalog.trace(one, side_px)
    assert traced.training is not None
    images = torch.rand(2, 3, side_px, side_px)
    want = one.module(images)
    assert traced.lines[-1].shape[0] == one.record.num_features
    assert kind.outputs(one.module) == 5
    for line in (*traced.lines[1::step], traced.lines[-1]):
        prefix, suffix = traced.cut(line, verify=False)
        assert torch.equal(suffix.eval()(prefix.eval()(images)), want), line.name


def test_layers_are_named_by_their_index() -> None:
    with torch.device("meta"):
        one = find("torchvision:vgg16?weights=none")
        traced = catalog.trace(one)
    assert traced.find("features.24").shape == (512, 14, 14)
    assert traced.find("features.30").name == "features"
    assert traced.lines[-1].shape == (4096,)
    # All of it is trained but the convolutions: the classifier alone.
    assert traced.find("avgpool").params_below == 14_714_688
    assert one.record.parameters == 138_357_544


def test_dropout_of_the_own_classifier_is_an_argument() -> None:
    with torch.device("meta"):
        one = find("torchvision:vgg16?dropout=0.2&weights=none")
    rates = [m.p for m in one.module.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.2, 0.2]
    assert one.record.arguments == {"dropout": 0.2}


def test_a_convolutional_classifier_is_cut_below_it_and_never_taken_over() -> None:
    one = find("torchvision:squeezenet1_1?weights=none&num_classes=4")
    assert catalog.trace(one, 64).lines[-1].shape == (512, 3, 3)
    assert kind.replace_classifier(one.module, 3) is None
    assert kind.outputs(one.module) == 3
    kind.remove_classifier(one.module)
    assert catalog.trace(one, 64).lines[-1].shape == (512, 3, 3)
    assert one.module(torch.rand(2, 3, 64, 64)).shape == (2, 512)


def test_every_preset_becomes_the_same_resize_and_crop() -> None:
    entries = list(kind.entries())
    assert len(entries) > 100
    for architecture in kind.architectures():
        for enum in models.get_model_weights(architecture):
            how, preset = kind._preprocessing(enum), enum.transforms()
            assert preset.antialias is True
            assert [how.height_px, how.width_px] == preset.crop_size * 2
            assert math.floor(how.height_px / how.crop_pct) == preset.resize_size[0]


@pytest.mark.parametrize("size", [(300, 401), (150, 130)])
@pytest.mark.parametrize("name", ["resnet50", "maxvit_t", "inception_v3"])
def test_pixels_are_those_of_the_weights_own_transforms(name: str, size: tuple[int, int]) -> None:
    enum = models.get_model_weights(name).DEFAULT
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    how = kind._preprocessing(enum)
    ours = views.normalise(views.center(noise, how), how)
    theirs = enum.transforms()(Image.fromarray(noise))
    # Two levels of 255, as torch's and Pillow's kernels round differently.
    assert float((ours - theirs).abs().max()) < 2.1 / 255 / 0.2


def test_weights_come_with_preprocessing_categories_and_their_name(hub: Path) -> None:
    module = downloaded(hub, models.ResNet18_Weights.IMAGENET1K_V1)
    one = find("torchvision:resnet18")
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(one.module(image), module(image))
    assert one.record.name == "torchvision:resnet18?weights=IMAGENET1K_V1"
    assert one.record.pretrained_tag == "IMAGENET1K_V1"
    assert one.record.classes[:2] == ("tench", "goldfish")
    assert len(set(one.record.classes)) == 1000
    for spelling in ("IMAGENET1K_V1", "DEFAULT", "ResNet18_Weights.IMAGENET1K_V1"):
        assert find(f"torchvision:resnet18?weights={spelling}").record == one.record


def test_other_outputs_keep_the_weights_below_them(hub: Path) -> None:
    module = downloaded(hub, models.ResNet18_Weights.IMAGENET1K_V1)
    one = find("torchvision:resnet18?num_classes=3")
    assert one.record.classes == ()
    assert one.module(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    assert torch.equal(one.module.conv1.weight, module.conv1.weight)  # type: ignore[union-attr, arg-type]
    features = find("torchvision:resnet18?num_classes=0")
    assert features.module(torch.rand(1, 3, 64, 64)).shape == (1, 512)


def test_swag_weights_say_their_size_and_licence() -> None:
    with torch.device("meta"):
        record = find("torchvision:vit_b_16?weights=IMAGENET1K_SWAG_E2E_V1&pretrained=false").record
    assert record.preprocessing.height_px == record.arguments["image_size"] == 384
    assert (
        record.name == "torchvision:vit_b_16?pretrained=false&weights=IMAGENET1K_SWAG_E2E_V1"
        or (record.name == "torchvision:vit_b_16?weights=IMAGENET1K_SWAG_E2E_V1&pretrained=false")
    )
    licences = {entry.name: entry.licence for entry in catalog.search("torchvision:vit_b_16")}
    assert licences["torchvision:vit_b_16?weights=IMAGENET1K_SWAG_E2E_V1"] == "cc-by-nc-4.0"
    assert licences["torchvision:vit_b_16?weights=IMAGENET1K_V1"] == ""


@pytest.mark.parametrize("architecture", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_are_left_over(tmp_path: Path, architecture: str) -> None:
    torch.manual_seed(2)
    whole = models.get_model(architecture, aux_logits=True, init_weights=False).eval()
    whole.transform_input = True
    torch.save(whole.state_dict(), tmp_path / "net.pth")
    one = find(f"torchvision:{architecture}", weights=tmp_path / "net.pth")
    image = torch.rand(1, 3, 96, 96)
    assert torch.equal(one.module(image), whole(image))
    assert one.match is not None
    assert {name.partition(".")[0] for name in one.match.unexpected} <= {
        "aux1",
        "aux2",
        "AuxLogits",
    }
    assert (one.match.missing, one.record.arguments["transform_input"]) == ((), True)
    with_them = find(f"torchvision:{architecture}?aux_logits=true", weights=tmp_path / "net.pth")
    assert with_them.match is not None
    assert with_them.match.complete


def test_old_names_of_densenet_are_read(tmp_path: Path) -> None:
    torch.manual_seed(2)
    source = models.densenet121(num_classes=3).eval()
    old = {
        name.replace(".norm1", ".norm.1").replace(".conv2", ".conv.2"): tensor
        for name, tensor in source.state_dict().items()
    }
    torch.save(old, tmp_path / "net.pth")
    one = find("torchvision:densenet121?num_classes=3", weights=tmp_path / "net.pth")
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(one.module(image), source(image))


def test_position_embeddings_are_resampled(tmp_path: Path) -> None:
    torch.save(models.vit_b_32(num_classes=3).state_dict(), tmp_path / "net.pth")
    name = "torchvision:vit_b_32?image_size=96&num_classes=3"
    one = find(name, weights=tmp_path / "net.pth")
    assert one.record.preprocessing.height_px == 96
    assert one.module(torch.zeros(1, 3, 96, 96)).shape == (1, 3)
    assert one.match is not None
    assert one.match.complete


def test_a_classifier_is_left_over_where_features_are_asked_for(tmp_path: Path) -> None:
    torch.save(models.alexnet(num_classes=3).state_dict(), tmp_path / "net.pth")
    one = find("torchvision:alexnet?num_classes=0", weights=tmp_path / "net.pth")
    assert one.match is not None
    assert one.match.unexpected == ("classifier.6.weight", "classifier.6.bias")


def test_the_real_weights_file(assets: Path) -> None:
    file = assets / "weights" / "files" / "squeezenet1_1_imagenet.pth"
    one = find("torchvision:squeezenet1_1", weights=file)
    source = models.squeezenet1_1().eval()
    source.load_state_dict(torch.load(file, weights_only=True))
    image = torch.rand(2, 3, 224, 224)
    assert torch.equal(one.module(image), source(image))
    assert one.record.preprocessing.mean == (0.485, 0.456, 0.406)
    assert (one.record.classes, one.record.pretrained_tag) == ((), "")
    named = find("torchvision:squeezenet1_1?weights=IMAGENET1K_V1", weights=file)
    assert named.record.classes[281] == "tabby"


def test_its_own_classes_are_predicted(
    assets: Path, hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = assets / "weights" / "files" / "squeezenet1_1_imagenet.pth"
    shutil.copy(file, hub / Path(models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url).name)
    picture = assets / "data" / "cats_dogs" / "val" / "cats" / "cat.4001.jpg"
    argv = ["predict", "torchvision:squeezenet1_1", str(picture), "--format", "json"]
    assert main([*argv, "--precision", "fp32", "--device", "cpu", "--top-k", "3"]) == 0
    said = json.loads(capsys.readouterr().out)[0]["top"]
    enum = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    net = models.squeezenet1_1().eval()
    net.load_state_dict(torch.load(file, weights_only=True))
    with Image.open(picture) as image, torch.inference_mode():
        theirs = net(enum.transforms()(image.convert("RGB"))[None]).softmax(1)[0]
    best = theirs.topk(3)
    assert [one["label"] for one in said] == [enum.meta["categories"][i] for i in best.indices]
    # JPEGs are decoded by another library here, and pixels may differ by two levels.
    for one, want in zip(said, best.values.tolist(), strict=True):
        assert one["probability"] == pytest.approx(want, abs=0.02)


def test_without_a_connection_it_says_what_to_do() -> None:
    assert refusal("torchvision:resnet18?num_classes=3").startswith(
        "torchvision:resnet18?num_classes=3 (about 47 MB) is not on this machine and could not be "
        "downloaded (URLError: <urlopen error no route to host>). With a connection, once: "
        "frostline backbones get 'torchvision:resnet18?num_classes=3'. From another machine: "
    )


def test_lines_need_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lines", "torchvision:resnet18", "--image-px", "64"]) == 0
    assert "layer4" in capsys.readouterr().out
    assert main(["lines", "torchvision:resnet18", "--partial"]) == 2
    assert "--partial goes with --weights FILE" in capsys.readouterr().err


def test_what_is_downloaded_must_have_the_digest_in_its_name(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for opener in ("urllib.request.urlopen", "torch.hub.urlopen"):
        monkeypatch.setattr(opener, lambda *_, **__: Answer(b"something else"))
    assert "could not be downloaded (RuntimeError: invalid hash" in refusal("torchvision:resnet18")
    assert list(hub.iterdir()) == []


class Answer:
    """What a server answers, as torch's download reads it."""

    def __init__(self, body: bytes) -> None:
        self._parts = [body]

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def info(self) -> Message:
        return Message()

    def read(self, _: int) -> bytes:
        return self._parts.pop() if self._parts else b""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnt18", "has no classification network 'resnt18'. Did you mean resnet18,"),
        ("fcn_resnet50", "has no classification network 'fcn_resnet50'."),
        ("resnet18?weights=IMAGENET1K_V3", "known are IMAGENET1K_V1, DEFAULT and none. Did you"),
        ("vgg16?weights=IMAGENET1K_FEATURES", "known are IMAGENET1K_V1, DEFAULT and none."),
        ("resnet18?weights=none&foo=1", "the architecture takes no argument 'foo'."),
        ("resnet18?weights=none&progress=true", "'progress' cannot be given in a name."),
        ("vgg11?weights=none&dropout=many", "cannot be built with dropout='many' (TypeError"),
        ("resnet18?weights=none&num_classes=no", "cannot be built with num_classes='no'"),
    ],
)
def test_a_name_that_does_not_hold(name: str, said: str) -> None:
    assert said in refusal(f"torchvision:{name}")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(models.alexnet(num_classes=3).state_dict(), tmp_path / "net.pth")
    message = refusal("torchvision:resnet18", weights=tmp_path / "net.pth")
    assert message.startswith(f"{tmp_path}/net.pth into torchvision:resnet18: the weights do not")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("architecture", "resnt18", "has no classification network 'resnt18'."),
        ("architecture", ..., "has no classification network 'None'."),
        ("arguments", {"foo": 1}, "the architecture takes no argument 'foo'."),
        ("arguments", [1], "frostline.arguments must be a table, not [1]."),
        ("preprocessing", ..., "frostline.preprocessing must be a table, not None."),
        (
            "preprocessing",
            {"mean": [1, 2]},
            "preprocessing.mean and std must have as many values as the network",
        ),
        ("preprocessing", {"crop_pct": 1.5}, "preprocessing.crop_pct does not hold: 1.5."),
        ("preprocessing", {"width_px": 0}, "preprocessing.width_px does not hold: 0."),
        ("preprocessing", {"interpolation": "magic"}, "asks for interpolation 'magic'"),
        ("preprocessing", {"heigth_px": 1}, "no 'heigth_px'. Did you mean height_px"),
    ],
)
def test_a_model_folder_that_does_not_hold(tmp_path: Path, key: str, value: Any, said: str) -> None:
    one = find("torchvision:shufflenet_v2_x0_5?weights=none&num_classes=2")
    model_folder.write_folder(tmp_path, one.module, one.record, ["a", "b"])
    config = json.loads((tmp_path / "config.json").read_text())
    config["frostline"][key] = value
    if value is ...:
        del config["frostline"][key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert said in refusal(f"dir:{tmp_path}")


def test_a_run_is_trained_written_and_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 8, "red": 8})
    run = tmp_path / "run"
    argv = ["train", str(photos), "--out", str(run), "--image-px", "32", "--device", "cpu"]
    argv += ["--backbone", "torchvision:shufflenet_v2_x0_5?weights=none"]
    assert main([*argv, *settled("--line", "stage4", "--epochs", 1, "--suffix-lr", 1e-3)]) == 0
    block = json.loads((run / "model" / "config.json").read_text())["frostline"]
    assert (block["kind"], block["architecture"]) == ("torchvision", "shufflenet_v2_x0_5")
    assert "library_name: torchvision" in (run / "model" / "README.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert all(stage["unchanged"] for stage in metrics["stages"])
    capsys.readouterr()
    for target in (str(run), f"dir:{run / 'model'}"):
        assert main(["predict", target, str(photos / "red" / "000.png"), "--format", "json"]) == 0
    first, second = capsys.readouterr().out.strip().split("\n]\n[")
    assert first.strip("[]\n") == second.strip("[]\n")
    # Its network is a backbone again, under a head that its own classifier cannot be.
    argv = ["train", str(photos), "--out", str(tmp_path / "next"), "--image-px", "32"]
    argv += ["--backbone", f"dir:{run}", "--head", "mlp:8", "--device", "cpu"]
    assert main([*argv, *settled()]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "next"), str(photos), "--json"]) == 0
