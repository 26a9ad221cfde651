"""The Hugging Face hub, through a cache folder in its layout; no network is used."""

from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from frostline.base.errors import BackboneError
from frostline.networks import hub
from frostline.networks import model_folder as folder
from frostline.networks.catalog import find, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def stored(tmp_path: Path, repository: str, classes: int) -> torch.nn.Module:
    """Puts a network into the hub's cache, as a download would have."""
    root = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    one = find(f"timm:test_resnet?num_classes={classes}", pretrained=False)
    names = [f"class {index}" for index in range(classes)]
    folder.write_folder(root / "snapshots" / COMMIT, one.module, one.record, names)
    (root / "snapshots" / COMMIT / "README.md").write_text("---\nlicense: mit\n---\n")
    return one.module


def test_timms_weights_open_from_the_hubs_cache_without_a_network(tmp_path: Path) -> None:
    module = stored(tmp_path, "timm/test_resnet.r160_in1k", 1000)
    one = find("timm:test_resnet")
    assert (one.record.name, one.record.pretrained_tag) == (
        "timm:test_resnet.r160_in1k",
        "r160_in1k",
    )
    assert one.record.licence == "apache-2.0"
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(one.module(image), module(image))
    assert len(set(one.record.classes)) == 1000
    assert one.record.classes[1] == "goldfish, Carassius auratus"
    assert "crane (n02012849)" in one.record.classes
    assert find("timm:test_resnet?num_classes=0").record.classes == ()


def test_a_hub_model_opens_from_the_cache_without_a_network(tmp_path: Path) -> None:
    module = stored(tmp_path, "someone/net.v1", 3)
    one = find("hub:someone/net.v1")
    assert (one.record.name, one.record.kind) == ("hub:someone/net.v1", "timm")
    assert one.record.classes == ("class 0", "class 1", "class 2")
    assert one.record.licence == "mit"
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(one.module(image), module(image))
    assert find(f"hub:someone/net.v1@{COMMIT}").record.classes == one.record.classes


def test_a_hub_model_that_is_not_here_says_what_to_do() -> None:
    with pytest.raises(BackboneError) as caught:
        find("hub:someone/net")
    assert str(caught.value) == (
        "hub:someone/net is not on this machine and could not be downloaded "
        "(offline mode is on, HF_HUB_OFFLINE is set). With a connection, once: frostline "
        "backbones get hub:someone/net. From another machine: the same there with --out FOLDER, "
        "bring FOLDER here, and name it with --backbone dir:FOLDER. Without any: --backbone "
        "builtin:efficientnet_lite0 ships with Frostline, and frostline demo shows the way."
    )


def test_a_name_that_is_no_repository() -> None:
    with pytest.raises(BackboneError, match="after hub: must stand OWNER/NAME"):
        find("hub:net")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (errors.RepositoryNotFoundError, "the hub has no model a/b, or it is private."),
        (errors.GatedRepoError, "Do so at https://huggingface.co/a/b, then log in with: hf auth"),
        (errors.RevisionNotFoundError, "a/b has no such revision on the hub."),
        (errors.HfHubHTTPError, "could not be downloaded (HfHubHTTPError: told by the hub)"),
    ],
)
def test_what_the_hub_answers_is_told(
    monkeypatch: pytest.MonkeyPatch, kind: type[errors.HfHubHTTPError], said: str
) -> None:
    def answer(*_: object, **__: object) -> None:
        raise kind("told by the hub\nat length", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", answer)
    with pytest.raises(BackboneError) as caught:
        find("hub:a/b@v1")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_are_taken_at_one_commit_and_the_card_may_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path, "someone/net", 3)
    (home := tmp_path / "away").mkdir()
    (tmp_path / "hub").rename(home / "hub")
    source = home / "hub" / "models--someone--net" / "snapshots" / COMMIT
    (source / "README.md").unlink()
    asked = []

    def download(repository: str, file: str, *, revision: str | None) -> str:
        asked.append((repository, file, revision))
        if not (source / file).is_file():
            raise errors.EntryNotFoundError(f"no {file}")
        return str(source / file)

    monkeypatch.setattr(
        huggingface_hub, "get_hf_file_metadata", lambda *_, **__: SimpleNamespace(size=1)
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert hub.fetch(parse("hub:someone/net@v1")) == source
    assert asked == [
        ("someone/net", "config.json", "v1"),
        ("someone/net", "model.safetensors", COMMIT),
        ("someone/net", "README.md", COMMIT),
    ]
    (source / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        hub.fetch(parse("hub:someone/net@v1"))


def test_a_fault_of_our_own_is_not_taken_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", broken)
    with pytest.raises(ZeroDivisionError):
        find("hub:a/b")
