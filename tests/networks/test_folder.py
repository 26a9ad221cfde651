"""Model folders: read like timm reads them, written so that timm reads them."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import SafetensorError
from torch import nn

from frostline.base.errors import BackboneError, DiskError, WeightsError
from frostline.networks import model_folder as folder
from frostline.networks.catalog import find
from frostline.networks.record import OpenedBackbone

CLASSES = ("ant", "bee", "wasp")


def opened(arguments: str = "", architecture: str = "test_resnet") -> OpenedBackbone:
    torch.manual_seed(3)
    one = find(f"timm:{architecture}?num_classes={len(CLASSES)}{arguments}", pretrained=False)
    for module in one.module.modules():
        if isinstance(module, nn.BatchNorm2d):  # so that the buffers matter
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    return one


def written(path: Path, **options: Any) -> OpenedBackbone:
    one = opened(**options)
    folder.write_folder(path, one.module, one.record, CLASSES)
    return one


def change(path: Path, **values: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    config.update(values)
    kept = {key: value for key, value in config.items() if value is not ...}
    (path / "config.json").write_text(json.dumps(kept))


def refusal(name: str) -> str:
    with pytest.raises(BackboneError) as caught:
        find(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "arguments", "size"),
    [
        ("mobilenetv2_100", "&pad_type=same&bn_eps=0.01", 65),
        ("test_resnet", "&global_pool=max", 64),
        ("test_vit", "&img_size=96", 96),
        ("test_convnext", "", 64),
    ],
)
def test_timm_and_our_reader_open_it_with_equal_outputs(
    tmp_path: Path, architecture: str, arguments: str, size: int
) -> None:
    one = written(tmp_path, arguments=arguments, architecture=architecture)
    image = torch.rand(2, 3, size, size)
    with torch.no_grad():
        want = one.module(image)
        through_timm = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
        assert torch.equal(through_timm(image), want)
        again = find(f"dir:{tmp_path}")
        assert torch.equal(again.module(image), want)
    config = through_timm.pretrained_cfg
    assert (config["num_classes"], tuple(config["label_names"])) == (3, CLASSES)
    assert again.record.preprocessing == one.record.preprocessing
    assert again.record.classes == CLASSES
    assert again.record.name == f"dir:{tmp_path}"
    assert (
        again.record.arguments.items()
        >= {k: v for k, v in one.record.arguments.items() if k != "num_classes"}.items()
    )
    data = timm.data.resolve_model_data_config(through_timm)
    assert data["input_size"][1] == one.record.preprocessing.height_px
    assert data["crop_pct"] == one.record.preprocessing.crop_pct
    assert tuple(data["mean"]) == one.record.preprocessing.mean


def test_the_real_weights_open_with_their_facts(assets: Path) -> None:
    path = assets / "weights" / "mobilenetv2_imagenet"
    one = find(f"dir:{path}")
    record = one.record
    assert (record.architecture, record.pretrained_tag) == ("mobilenetv2_100", "imagenet1001")
    assert record.arguments == {"pad_type": "same", "bn_eps": 0.001}
    assert (len(record.classes), record.classes[0]) == (1001, "background")
    assert record.preprocessing.interpolation == "bilinear"
    assert record.preprocessing.mean == (0.5, 0.5, 0.5)
    assert record.parameters == 3_506_153
    assert (record.num_features, record.licence) == (1280, "")
    image = torch.rand(1, 3, 224, 224)
    through_timm = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    assert torch.equal(one.module(image), through_timm(image))


def test_arguments_in_the_name_win(tmp_path: Path) -> None:
    written(tmp_path, arguments="&global_pool=avg")
    record = find(f"dir:{tmp_path}?global_pool=max").record
    assert record.arguments["global_pool"] == "max"
    assert record.name == f"dir:{tmp_path}?global_pool=max"


def test_it_opens_without_its_classifier(tmp_path: Path) -> None:
    written(tmp_path)
    change(tmp_path, frostline={"line": "pooled"})
    one = find(f"dir:{tmp_path}?num_classes=0")
    assert one.record.classes == ()
    assert one.module(torch.zeros(1, 3, 64, 64)).shape == (1, 96)


def test_a_classifier_of_other_size_is_never_random(tmp_path: Path) -> None:
    written(tmp_path)
    message = refusal(f"dir:{tmp_path}?num_classes=9")
    assert "fc.weight: network [9, 96], file [3, 96]" in message
    assert message.endswith("or the name's arguments change the network.")


def test_random_weights_of_a_folder(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    record = find(f"dir:{tmp_path}", pretrained=False).record
    assert (record.classes, record.name) == ((), f"dir:{tmp_path}?pretrained=false")


def test_what_timm_cannot_say_rides_along(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one = find("timm:test_resnet?num_classes=0", pretrained=False)
    extras = {"format": 1, "head": "mlp:256"}
    folder.write_folder(tmp_path, one.module, one.record, CLASSES, extras)
    again = find(f"dir:{tmp_path}")
    assert (again.extras, again.record.classes) == (extras, CLASSES)
    assert find(f"dir:{tmp_path}?num_classes=2", pretrained=False).record.classes == ()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(again.module(image), one.module(image))
    through_timm = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert torch.equal(through_timm(image), one.module(image))


def test_a_run_stands_for_its_model(tmp_path: Path) -> None:
    written(tmp_path / "run" / "model")
    assert find(f"dir:{tmp_path}/run").record.classes == CLASSES


def test_a_relative_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a b?c")
    monkeypatch.chdir(tmp_path)
    assert find("dir:a b?c").record.name == f"dir:{tmp_path}/a b?c"


@pytest.mark.parametrize(
    ("config", "readme", "licence"),
    [
        ({}, "", ""),
        ({"license": "MIT"}, "---\nlicense: other\n---\n", "mit"),
        ({}, "---\ntags:\n- timm\nlicense: apache-2.0\n---\n# A net\n", "apache-2.0"),
        ({}, "---\nlicense: other\nlicense_name: 'dinov3-license'\n---\n", "dinov3-license"),
        ({}, "# license: none of this\n", ""),
    ],
)
def test_the_licence_is_found(
    tmp_path: Path, config: dict[str, str], readme: str, licence: str
) -> None:
    written(tmp_path)
    change(tmp_path, **config)
    (tmp_path / "README.md").write_text(readme)
    assert find(f"dir:{tmp_path}").record.licence == licence


def test_pickled_weights_are_read_with_care(tmp_path: Path) -> None:
    one = written(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(one.module.state_dict(), tmp_path / "pytorch_model.bin")
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(find(f"dir:{tmp_path}").module(image), one.module(image))
    torch.save(one.module, tmp_path / "pytorch_model.bin")
    assert "refused: this pickle needs timm.models" in refusal(f"dir:{tmp_path}")


def test_label_names_in_other_forms(tmp_path: Path) -> None:
    written(tmp_path)
    names = {str(index): name for index, name in enumerate(CLASSES)}
    change(tmp_path, label_names=dict(reversed(names.items())))
    assert find(f"dir:{tmp_path}").record.classes == CLASSES
    change(tmp_path, label_names=["ant"])
    assert "1 label_names for 3 classes; there must be one a class." in refusal(f"dir:{tmp_path}")


def test_the_older_form_of_config_is_read(tmp_path: Path) -> None:
    written(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    flat = {**config["pretrained_cfg"], "architecture": "test_resnet", "labels": list(CLASSES)}
    (tmp_path / "config.json").write_text(json.dumps(flat))
    record = find(f"dir:{tmp_path}").record
    assert (record.classes, record.preprocessing.crop_pct) == (CLASSES, 0.95)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    written(tmp_path / "mobilenet")
    assert refusal(f"dir:{tmp_path}/mobilnet").endswith("no such folder. Did you mean mobilenet?")
    assert refusal(f"dir:{tmp_path}/no/where").endswith("no such folder.")
    (tmp_path / "net.pth").touch()
    assert f"write timm:ARCHITECTURE --weights {tmp_path}/net.pth" in refusal(
        f"dir:{tmp_path}/net.pth"
    )


def test_a_config_that_does_not_hold(tmp_path: Path) -> None:
    name = f"dir:{tmp_path}"
    assert "no config.json in it." in refusal(name)
    (tmp_path / "config.json").write_text("{")
    assert "config.json: cannot be read as JSON" in refusal(name)
    (tmp_path / "config.json").write_bytes(b'{"architecture": "\xff"}')
    assert "config.json: cannot be read as JSON" in refusal(name)
    (tmp_path / "config.json").write_text("[]")
    assert "must name timm's 'architecture', and does not. Folders" in refusal(name)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    assert (
        f"It seems to be a transformers model ('vit'). Name it transformers:{tmp_path}."
        in refusal(name)
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"architecture": "test_resnt"}, "no architecture 'test_resnt'. Did you mean test_resnet?"),
        ({"model_args": {"foo": 1}}, "the architecture takes no argument 'foo'."),
        ({"model_args": [1]}, "'model_args' must be a table, not [1]."),
        ({"pretrained_cfg": {"mean": [1, 2]}}, "its preprocessing does not hold"),
        ({"pretrained_cfg": {"interpolation": "magic"}}, "asks for interpolation 'magic'"),
        ({"num_classes": "three"}, "cannot be built with this configuration"),
    ],
)
def test_a_config_with_a_wrong_value(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    written(tmp_path)
    change(tmp_path, **values)
    assert said in refusal(f"dir:{tmp_path}")


def test_weights_that_are_missing_or_another_networks(tmp_path: Path) -> None:
    one = written(tmp_path / "net")
    written(tmp_path / "other", architecture="test_efficientnet")
    shutil.copy(tmp_path / "other" / "model.safetensors", tmp_path / "net")
    message = refusal(f"dir:{tmp_path}/net")
    assert f"{tmp_path}/net/model.safetensors into test_resnet: the weights do not fit" in message
    assert "missing (conv1.0.weight," in message
    (tmp_path / "net" / "model.safetensors").write_bytes(b"short")
    assert "not a whole safetensors file" in refusal(f"dir:{tmp_path}/net")
    (tmp_path / "net" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no weights in it; one of model\.safetensors, "):
        find(f"dir:{tmp_path}/net")
    assert one.record.parameters > 0


def test_classes_must_be_one_an_output(tmp_path: Path) -> None:
    one = opened()
    with pytest.raises(BackboneError, match="has 3 outputs and 2 class names are given"):
        folder.write_folder(tmp_path / "net", one.module, one.record, CLASSES[:2])
    assert not (tmp_path / "net").exists()


def test_shared_tensors_are_written_apart(tmp_path: Path) -> None:
    one = opened()
    weight = one.module.state_dict()["fc.bias"]
    state = {"a": weight, "b": weight, "c": torch.rand(2, 3, 4, 4).mT}
    got = folder._separate(state)
    assert got["a"].data_ptr() != got["b"].data_ptr()
    assert got["c"].is_contiguous()


@pytest.mark.parametrize("kind", ["os", "safetensors"])
def test_a_full_disk_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    one = written(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def full(*_: object, **__: object) -> None:
        if kind == "os":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(DiskError, match="the disk is full"):
        folder.write_folder(tmp_path, one.module, one.record, CLASSES)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
