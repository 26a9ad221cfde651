"""`frostline backbones get`, with a hub that is simulated: its cache, and its answers."""

import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import timm.models._hub
import torch

from frostline.base.errors import BackboneError
from frostline.cli import main
from frostline.networks import catalog
from frostline.networks import model_folder as folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "timm:test_resnet.r160_in1k"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache on this machine, which is empty; there is no connection."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_here(hub: Path, classes: int = 1000) -> torch.nn.Module:
    root = hub / "models--timm--test_resnet.r160_in1k"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    one = catalog.find(f"timm:test_resnet?num_classes={classes}", pretrained=False)
    names = [f"class {index}" for index in range(classes)]
    folder.write_folder(root / "snapshots" / COMMIT, one.module, one.record, names)
    return one.module


def get(*words: str) -> int:
    return main(["backbones", "get", *words])


def test_its_size_is_told_before_it_is_fetched(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def answer(url: str, timeout: float) -> SimpleNamespace:
        asked.append(url.rpartition("/")[2])
        return SimpleNamespace(size=15_100_000)

    def download(repo_id: str, filename: str, **_: object) -> str:
        told = capsys.readouterr().err
        assert told == f"{NAME}: 15 MB, from the Hugging Face hub\n"
        put_here(hub)
        found = huggingface_hub.try_to_load_from_cache(repo_id, filename)
        assert isinstance(found, str)
        return found

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", answer)
    monkeypatch.setattr(timm.models._hub, "hf_hub_download", download)
    assert get(NAME) == 0
    assert asked[0] == "model.safetensors"
    assert capsys.readouterr().err == f"next: frostline train PHOTOS --out RUN --backbone {NAME}\n"


def test_what_is_here_is_written_for_another_machine(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = put_here(hub)
    out = tmp_path / "bring"
    assert get(NAME, "--out", str(out), "--json") == 0
    printed = capsys.readouterr()
    assert "1.9 MB, on this machine already" in printed.err
    assert json.loads(printed.out) == {
        "name": NAME,
        "bytes": (hub / f"models--timm--test_resnet.r160_in1k/snapshots/{COMMIT}")
        .joinpath("model.safetensors")
        .stat()
        .st_size,
        "downloaded": False,
        "licence": "apache-2.0",
        "folder": str(out),
    }
    hub.rename(tmp_path / "away")
    there = catalog.find(f"dir:{out}")
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(there.module(image), source(image))
    assert (there.record.licence, len(there.record.classes)) == ("apache-2.0", 1000)
    assert timm.create_model(f"local-dir:{out}", pretrained=True).num_classes == 1000


def test_classes_without_names_may_have_none_in_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "bring"
    assert get("timm:test_resnet?num_classes=21841&pretrained=false", "--out", str(out)) == 0
    there = catalog.find(f"dir:{out}")
    assert there.record.classes == ()
    assert there.module(torch.rand(1, 3, 64, 64)).shape == (1, 21841)


def test_without_a_connection_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert get(NAME) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"frostline: {NAME} (about 1.9 MB) is not on this machine and could not")
    assert told.count("\n") == 1
    assert get("hub:someone/net") == 2
    assert capsys.readouterr().err.startswith("frostline: hub:someone/net is not on this machine")


@pytest.mark.parametrize(
    "name",
    [
        "builtin:efficientnet_lite0",
        "timm:test_resnet?pretrained=false",
        "py:own_network:small",
        "keras:MobileNetV2?weights=none",
        "transformers:./here",
    ],
)
def test_some_networks_are_never_fetched(name: str) -> None:
    assert catalog.download_of(name) is None


def test_torchvision_states_its_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    found = catalog.download_of("torchvision:resnet18")
    assert found is not None
    assert (found.source, found.here) == ("download.pytorch.org", False)
    assert found.size_bytes == pytest.approx(46.8e6, rel=0.01)


def test_a_folder_that_holds_something_is_left_alone(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_here(hub)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.txt").write_text("mine")
    assert get(NAME, "--out", str(tmp_path / "mine")) == 2
    assert "--out: " in (told := capsys.readouterr().err)
    assert "must be a new or an empty folder" in told
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get"], "backbones get: name a network, as frostline backbones lists them."),
        (["mobilenet", "more"], "backbones: more goes with get: frostline backbones get NAME"),
        (["mobilenet", "--out", "f"], "backbones: --out goes with get: frostline backbones get"),
        (["get", "timm:resnt18"], "no architecture 'resnt18'. Did you mean resnet18"),
        (["get", "timm:resnet18.nothing"], "timm has no weights 'nothing' of resnet18"),
    ],
)
def test_what_cannot_be_meant_is_said(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backbones", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_download_that_is_lost_on_its_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(
        huggingface_hub, "get_hf_file_metadata", lambda *_, **__: SimpleNamespace(size=9)
    )
    monkeypatch.setattr(timm.models._hub, "hf_hub_download", lost)
    with pytest.raises(BackboneError, match=r"could not be downloaded \(ConnectionResetError"):
        catalog.find(NAME)
