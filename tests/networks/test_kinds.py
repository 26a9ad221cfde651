"""What every kind of network must do, on one small network of each, with random weights."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from frostline.base.errors import BackboneError
from frostline.networks import catalog, model_folder
from frostline.networks.record import OpenedBackbone
from frostline.networks.registry import KINDS, kind_of

FILES = Path(__file__).parent / "weights_files" / "files"
SMALL = {
    "timm": "timm:test_resnet?pretrained=false&num_classes=7",
    "py": "py:own_network:small?classes=7",
    "keras": "keras:MobileNetV2?alpha=0.35&input_px=64&num_classes=7&pretrained=false",
    "tf": f"tf:{FILES / 'tf1'}?mode=tf&num_classes=7&pretrained=false",
    "onnx": f"onnx:{FILES / 'model.onnx'}?mode=tf&num_classes=7&pretrained=false",
    "tflite": f"tflite:{FILES / 'float.tflite'}?mode=tf&num_classes=7&pretrained=false",
    "torchvision": "torchvision:shufflenet_v2_x0_5?pretrained=false&num_classes=7",
}
SIDE_PX = 64
# A folder that is written for each test.
WRITTEN = ("transformers",)
without_keras = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
TRIED = [pytest.param(kind, marks=without_keras if kind == "keras" else ()) for kind in KINDS]
each_kind = pytest.mark.parametrize("kind", TRIED)


@pytest.fixture
def name(kind: str, tmp_path: Path) -> str:
    """A name of that kind."""
    if kind not in WRITTEN:
        return SMALL[kind]
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE_PX,
        patch_size=32,
        num_labels=7,
    )
    config.save_pretrained(tmp_path / "source")
    (tmp_path / "source" / "preprocessor_config.json").write_text(f'{{"size": {SIDE_PX}}}')
    return f"transformers:{tmp_path / 'source'}?pretrained=false"


def opened(name: str) -> OpenedBackbone:
    torch.manual_seed(4)
    one = catalog.find(name)
    for module in one.module.modules():
        if isinstance(module, nn.BatchNorm2d):  # so that the buffers matter
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    return one


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(1))


def bare_output(one: OpenedBackbone) -> torch.Tensor:
    """What a network without its last layer gives; what comes after that layer is left out."""
    prefix, _ = catalog.trace(one, SIDE_PX).cut("pooled", verify=False)
    features: torch.Tensor = prefix.eval()(images())
    if one.record.kind != "py":  # What a network of one's own does to its scores stays.
        assert torch.equal(one.module(images()), features)
    return features


def test_every_kind_is_tried_here() -> None:
    assert {*SMALL, *WRITTEN} == KINDS.keys()


@pytest.mark.parametrize("module", ["names", "record", "registry", "catalog"])
def test_names_and_records_import_no_library(module: str) -> None:
    code = (
        f"import sys, frostline.networks.{module}; "
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'huggingface_hub'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LISTED = [one for one in TRIED if KINDS[str(one.values[0])].listed]
each_listed_kind = pytest.mark.parametrize("kind", LISTED)


@each_listed_kind
def test_its_pretrained_networks_are_listed_by_names_that_parse(kind: str) -> None:
    entries = catalog.search(f"{kind}:")
    assert len(entries) > 30
    for entry in entries:
        assert catalog.parse(entry.name).kind == kind
        assert str(catalog.parse(entry.name)) == entry.name
        assert entry.input_px > 0
    assert len({entry.name for entry in entries}) == len(entries)


@each_listed_kind
def test_its_example_parses_and_its_architectures_are_known(kind: str) -> None:
    path = catalog.parse(KINDS[kind].form.example).path
    assert path.partition(".")[0] in kind_of(kind).architectures()
    with pytest.raises(BackboneError, match="Did you mean "):
        catalog.parse(path.partition(".")[0].replace("_", "-") + "x")


@each_kind
def test_the_records_name_opens_the_same_network_again(kind: str, name: str) -> None:
    record = opened(name).record
    assert (record.kind, record.name) == (kind, str(catalog.parse(name)))
    assert (record.classes, record.licence, record.pretrained_tag) == ((), "", "")
    assert catalog.find(record.name).record == record
    assert catalog.find(name).extras == {}


@each_kind
def test_it_opens_in_eval_mode_with_all_weights_trainable(kind: str, name: str) -> None:
    one = opened(name)
    assert not any(module.training for module in one.module.modules())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in one.module.parameters())
    assert one.record.parameters == sum(p.numel() for p in one.module.parameters())
    assert one.module(images()).shape == (3, 7)
    assert kind_of(kind).outputs(one.module) == 7


@each_kind
@torch.no_grad()
def test_it_is_cut_exactly_at_every_line(kind: str, name: str) -> None:
    one = opened(name)
    traced = catalog.trace(one, SIDE_PX)
    assert [traced.lines[0].name, traced.lines[-1].name] == ["pixels", "pooled"]
    assert traced.lines[-1].shape == (one.record.num_features,)
    want = one.module(images())
    for line in traced.lines:
        prefix, suffix = traced.cut(line, verify=False)
        assert torch.equal(suffix.eval()(prefix.eval()(images())), want), line.name


@each_kind
def test_a_proven_cut_holds_the_networks_own_weights(kind: str, name: str) -> None:
    one = opened(name)
    traced = catalog.trace(one, SIDE_PX)
    prefix, suffix = traced.cut(traced.lines[len(traced.lines) // 2])
    own = dict(one.module.named_parameters())
    parts = {**dict(prefix.named_parameters()), **dict(suffix.named_parameters())}
    assert parts.keys() == own.keys()
    assert all(parts[name] is own[name] for name in own)


@each_kind
@torch.no_grad()
def test_a_model_folder_opens_again_with_equal_outputs(
    kind: str, name: str, tmp_path: Path
) -> None:
    one = opened(name)
    names = [f"class {index}" for index in range(7)]
    model_folder.write_folder(tmp_path / "net", one.module, one.record, names)
    again = catalog.find(f"dir:{tmp_path / 'net'}")
    assert torch.equal(again.module(images()), one.module(images()))
    assert again.record.name == f"dir:{tmp_path / 'net'}"
    assert (again.record.kind, again.record.classes) == (kind, tuple(names))
    assert again.record.architecture == one.record.architecture
    assert again.record.preprocessing == one.record.preprocessing
    assert again.record.num_features == one.record.num_features
    features = catalog.find(f"dir:{tmp_path / 'net'}?pretrained=false&num_classes=0")
    assert features.record.classes == ()
    assert features.module(images()).shape == (3, one.record.num_features)


@each_kind
@torch.no_grad()
def test_the_bare_network_is_written_with_what_the_head_needs(
    kind: str, name: str, tmp_path: Path
) -> None:
    one = opened(name)
    traced = catalog.trace(one, SIDE_PX)
    pooled = traced.cut("pooled", verify=False)[0].eval()(images())
    kind_of(kind).remove_classifier(one.module)
    assert kind_of(kind).outputs(one.module) == 0
    assert torch.equal(bare_output(one), pooled)
    extras = {"head": {"spec": "linear"}, "line": "pooled"}
    model_folder.write_folder(tmp_path, one.module, one.record, ["a", "b"], extras)
    again = catalog.find(f"dir:{tmp_path}")
    assert again.extras.items() >= extras.items()
    assert again.record.classes == ("a", "b")
    assert torch.equal(bare_output(again), pooled)
    assert catalog.trace(again, SIDE_PX).lines[-1].shape == (one.record.num_features,)


@each_kind
@torch.no_grad()
def test_a_new_last_layer_is_fed_what_lies_at_pooled(kind: str, name: str) -> None:
    one = opened(name)
    layer = kind_of(kind).replace_classifier(one.module, 5)
    if kind == "py":
        assert (layer, one.module(images()).shape) == (None, (3, 7))
        return
    assert layer is not None
    assert (layer.in_features, layer.out_features) == (one.record.num_features, 5)
    pooled = catalog.trace(one, SIDE_PX).cut("pooled", verify=False)[0].eval()(images())
    assert torch.equal(one.module(images()), layer(pooled))


@each_kind
def test_a_wrong_number_of_class_names_writes_nothing(kind: str, name: str, tmp_path: Path) -> None:
    one = opened(name)
    with pytest.raises(BackboneError, match="has 7 outputs and 2 class names are given"):
        model_folder.write_folder(tmp_path / "net", one.module, one.record, ["a", "b"])
    assert not (tmp_path / "net").exists()


@each_listed_kind
def test_an_architecture_or_argument_that_it_does_not_have(kind: str, name: str) -> None:
    with pytest.raises(BackboneError, match=rf"^{kind}:nothing_of_that_name: {kind} .*has no "):
        catalog.find(f"{kind}:nothing_of_that_name")
    name = f"{name}&foo=1"
    with pytest.raises(BackboneError, match="the architecture takes no argument 'foo'"):
        catalog.find(name)


def test_a_library_that_is_missing_is_named() -> None:
    code = (
        "import sys; sys.modules['transformers'] = None; from frostline.cli import main; "
        "sys.exit(main(['lines', 'transformers:someone/net']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "transformers: is not installed. Run: pip install 'frostline[transformers]'"
    )


def test_a_folder_of_an_unknown_kind_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"frostline": {"kind": "torchvison"}}))
    with pytest.raises(BackboneError) as caught:
        catalog.find(f"dir:{tmp_path}")
    assert str(caught.value) == (
        f"{tmp_path}/config.json, frostline.kind: unknown kind of network 'torchvison'; known are "
        "timm, torchvision, transformers, keras, tflite, onnx, tf, py. "
        "Did you mean torchvision?"
    )
