"""Networks of one's own: by the name of what makes them, and as objects."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import frostline
import own_network
from conftest import make_photos, settled
from frostline.base.errors import BackboneError
from frostline.cli import main
from frostline.networks import catalog, model_folder
from frostline.networks.catalog import find

SIZED = frostline.Preprocessing(height_px=64, width_px=64)


def refusal(name: str, **options: Any) -> str:
    with pytest.raises(BackboneError) as caught:
        find(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(path: Path, factory: str = "small") -> None:
    one = find(f"py:own_network:{factory}?classes=2")
    model_folder.write_folder(path, one.module, one.record, ["a", "b"])


def test_what_a_factory_returns_with_its_preprocessing() -> None:
    one = find("py:own_network:small?classes=3")
    assert isinstance(one.module, own_network.Small)
    assert one.record.preprocessing == own_network.Small.preprocessing
    assert (one.record.num_features, one.record.arguments) == (16, {"classes": 3})
    assert find("py:own_network:Small").record.preprocessing == one.record.preprocessing


def test_its_own_layers_are_lines() -> None:
    names = [line.name for line in catalog.trace(find("py:own_network:small")).lines]
    assert [name for name in names if name in ("stem", "block.1", "block", "pooled")] == [
        "stem",
        "block.1",
        "block",
        "pooled",
    ]


def test_a_weights_file_is_loaded(tmp_path: Path) -> None:
    source = own_network.Small().eval()
    torch.save({"model": source.state_dict()}, tmp_path / "net.pth")
    one = find("py:own_network:small", weights=tmp_path / "net.pth")
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(one.module(image), source(image))
    assert one.match is not None
    assert one.match.wrapping == "model"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_network", "after py: must stand MODULE:FACTORY, with a colon between."),
        ("own_netwrk:small", "there is no module 'own_netwrk'."),
        ("own_network:smal", "own_network has no 'smal'. Did you mean small"),
        ("own_network:NOT_A_FUNCTION", "NOT_A_FUNCTION is a int, not a function."),
        ("own_network:small?foo=1", "small: got an unexpected keyword argument 'foo'."),
        ("own_network:number", "must return a torch.nn.Module, alone or with its preprocessing;"),
        ("own_network:bare", "does not say how an image becomes its input."),
    ],
)
def test_a_name_that_does_not_hold(name: str, said: str) -> None:
    assert said in refusal(f"py:{name}")


def test_a_fault_inside_the_module_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
        find("py:own_broken:make")


def test_a_module_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_here.py").write_text("from own_network import small\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert find("py:own_here:small").record.kind == "py"
    assert sys.path == before


def test_a_folder_is_opened_where_its_code_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = Path(own_network.__file__).read_text()
    (tmp_path / "own_copy.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    one = find("py:own_copy:small?classes=2")
    model_folder.write_folder(tmp_path / "net", one.module, one.record, ["a", "b"])
    assert find(f"dir:{tmp_path}/net").record.classes == ("a", "b")
    (tmp_path / "own_copy.py").write_text(code.replace("2 * x", "3 * x"))
    importlib.invalidate_caches()
    message = refusal(f"dir:{tmp_path}/net")
    assert "the code of own_copy:small has changed since the folder was written." in message
    assert f"py:own_copy:small --weights {tmp_path}/net/model.safetensors" in message
    # Another version is another network to the cache, too.
    assert find("py:own_copy:small?classes=2").record.architecture != one.record.architecture


def test_a_folder_runs_nothing_that_does_not_make_networks(tmp_path: Path) -> None:
    written(tmp_path / "net", "untold")
    assert "own_network:untold does not say that it makes networks, so it is not run." in refusal(
        f"dir:{tmp_path}/net"
    )
    file = tmp_path / "net" / "config.json"
    config = json.loads(file.read_text())
    config["frostline"] |= {"architecture": "os:mkdir@", "arguments": {"path": f"{tmp_path}/ran"}}
    file.write_text(json.dumps(config))
    assert "os:mkdir does not say that it makes networks" in refusal(f"dir:{tmp_path}/net")
    assert not (tmp_path / "ran").exists()


def test_code_from_the_hub_is_never_run(tmp_path: Path) -> None:
    written(tmp_path)
    name = catalog.parse("hub:someone/net")
    with pytest.raises(BackboneError, match="which no folder from elsewhere may run"):
        model_folder.open_at(tmp_path, name)


def test_a_run_is_trained_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_photos(tmp_path / "photos", {"blue": 8, "red": 8})
    argv = ["train", str(photos), "--out", str(tmp_path / "run"), "--device", "cpu"]
    argv += ["--backbone", "py:own_network:small"]
    assert main([*argv, *settled("--line", "stem", "--epochs", 1, "--suffix-lr", 1e-3)]) == 0
    capsys.readouterr()
    picture = str(photos / "red" / "000.png")
    assert main(["predict", str(tmp_path / "run"), picture, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["top"][0]["label"] in ("blue", "red")


def test_an_object_is_cut_like_any_network() -> None:
    network = frostline.backbone(own_network.Small(), preprocessing=SIZED)
    assert not network.module.training
    assert (network.record.kind, network.record.num_features) == ("py", 16)
    prefix, suffix = network.cut("stem")
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(suffix.eval()(prefix.eval()(images)), network.module(images))


def test_an_object_comes_with_its_preprocessing_and_a_name_without() -> None:
    with pytest.raises(BackboneError, match="Linear: preprocessing must be given with a network"):
        frostline.backbone(nn.Linear(2, 2))
    with pytest.raises(BackboneError, match="timm:test_resnet: brings its own preprocessing"):
        frostline.backbone("timm:test_resnet", preprocessing=SIZED)
    with pytest.raises(BackboneError, match="Linear: weights goes with a network by name"):
        frostline.backbone(nn.Linear(2, 2), preprocessing=SIZED, weights="net.pth")
