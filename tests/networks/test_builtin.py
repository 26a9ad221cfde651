"""The network that ships with Frostline, and what takes it where no other can be had."""

from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file

import frostline
from conftest import ROOT, make_photos
from frostline import pipeline
from frostline import recipe as recipes
from frostline.base.console import QUIET, Console
from frostline.base.errors import BackboneError, DownloadError
from frostline.base.paths import cache_folder
from frostline.images import augment
from frostline.model import predict
from frostline.networks import builtin_networks, catalog
from frostline.networks import model_folder as folder
from frostline.networks.builtin_networks import FALLBACK
from frostline.recipe import BackboneChoice, Compute, Data, Recipe
from frostline.run.folder import RunFolder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DEFAULT = "timm:test_resnet.r160_in1k"
RECIPE = Recipe(
    backbone=BackboneChoice(image_px=64),
    compute=Compute(device="cpu", precision="fp32", cache="always", engine="eager"),
    data=Data(val=0.3),
)


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    # A default that is small: what is tried is the choice.
    monkeypatch.setitem(catalog.DEFAULTS, "cpu", DEFAULT)


def put_default_here(tmp_path: Path) -> None:
    """Puts the default network into the hub's cache, as a download would have."""
    root = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    one = catalog.find("timm:test_resnet?pretrained=false")
    names = [str(number) for number in range(1000)]
    folder.write_folder(root / "snapshots" / COMMIT, one.module, one.record, names)


def train(photos: Path, out: Path, said: list[str], recipe: Recipe = RECIPE) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Console, "say", lambda _, text: said.append(text))
        patch.setattr(Console, "detail", lambda _, text: said.append(text))
        return pipeline.train(photos, out, recipe, cache_folder(), Console())


def network_of(run: RunFolder) -> str:
    return recipes.read(run.recipe).backbone.name


def test_it_opens_with_its_facts_and_without_a_connection() -> None:
    one = catalog.find(FALLBACK)
    record = one.record
    assert (record.name, record.kind, record.licence) == (FALLBACK, "timm", "apache-2.0")
    assert (record.architecture, record.num_features) == ("tf_efficientnet_lite0", 1280)
    assert record.parameters == 4_652_008
    assert (record.preprocessing.height_px, record.preprocessing.crop_pct) == (224, 0.875)
    assert (len(set(record.classes)), record.classes[1]) == (1000, "goldfish, Carassius auratus")
    assert all(p.dtype == torch.float32 and p.requires_grad for p in one.module.parameters())
    assert not one.module.training
    assert catalog.find(record.name).record == record
    assert catalog.find(f"{FALLBACK}?num_classes=0").record.classes == ()


def test_it_is_listed_behind_the_defaults() -> None:
    (alone,) = catalog.search("builtin:")
    assert (alone.name, alone.input_px, alone.classes) == (FALLBACK, 224, 1000)
    assert (alone.licence, alone.interpolation, alone.default) == ("apache-2.0", "bicubic", "")
    assert catalog.search("efficientnet_lite0")[0] == alone
    assert [entry.name for entry in catalog.search()][2] == FALLBACK


def test_names_that_are_not_among_them() -> None:
    with pytest.raises(BackboneError) as caught:
        catalog.find("builtin:efficientnet_lite1")
    assert str(caught.value) == (
        "builtin:efficientnet_lite1: no such network ships with Frostline; known are "
        "efficientnet_lite0, small_cnn, mnist_cnn, music_tagger_crnn. Did you mean "
        "efficientnet_lite0?"
    )
    with pytest.raises(BackboneError, match=r"ships with Frostline write builtin:efficientnet_"):
        catalog.find("efficientnet_lite0")
    with pytest.raises(BackboneError, match="builtin: brings its own weights"):
        catalog.find(FALLBACK, weights=Path("some.pth"))


def test_its_weights_are_in_half_precision_and_told_of() -> None:
    place = builtin_networks.folder(catalog.parse(FALLBACK))
    tensors = load_file(place / "model.safetensors")
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    assert (place / "model.safetensors").stat().st_size < 10e6
    notice = (ROOT / "NOTICE").read_text("utf-8")
    package = Path(frostline.__file__).parent
    in_source = "src/frostline/" + place.relative_to(package).as_posix()
    for words in (in_source, "Apache License", "0.1.0", "CC0"):
        assert words in notice


@torch.no_grad()
def test_it_agrees_with_the_float32_weights(assets: Path) -> None:
    source = assets / "weights" / "efficientnet_lite0_imagenet"
    full, half = catalog.find(f"dir:{source}"), catalog.find(FALLBACK)
    rounded = half.module.state_dict()
    for name, tensor in full.module.state_dict().items():
        want = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(rounded[name], want), name
    files = sorted((assets / "data" / "ants_bees" / "val" / "ants").glob("*.jpg"))[:8]
    how = half.record.preprocessing
    assert how == full.record.preprocessing
    views = [augment.load(file.read_bytes(), how, [augment.CENTER], "")[0] for file in files]
    images = (torch.stack(views).float() - 127) / 128
    want, got = full.module(images), half.module(images)
    assert (got - want).abs().max() < 0.1 * want.std()
    assert torch.equal(got.argmax(1), want.argmax(1))


def test_training_falls_back_to_it_and_goes_on_with_it(photos: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = train(photos, tmp_path / "run", said)
    assert network_of(run) == FALLBACK
    assert "test_resnet cannot be downloaded: efficientnet_lite0 instead" in said
    (told,) = [text for text in said if DEFAULT in text]
    assert told.startswith(f"{DEFAULT} (about ")
    assert told.endswith(
        "is not on this machine and could not be downloaded (offline mode is on, HF_HUB_OFFLINE "
        f"is set). With a connection: frostline backbones get {DEFAULT}"
    )
    # It is now here, and the run remains what it was.
    put_default_here(tmp_path)
    said.clear()
    assert network_of(train(photos, tmp_path / "run", said)) == FALLBACK
    assert any("already finished" in text for text in said)
    # A plain timm folder, whoever opens it.
    theirs = timm.create_model(f"local-dir:{run.model}", pretrained=True).eval()
    ours = predict.open_model(f"dir:{run.model}")
    assert ours.labels == ("blue", "green", "red")
    image = torch.rand(2, 3, 64, 64)
    again = catalog.find(f"dir:{run.model}")
    assert torch.allclose(theirs(image), again.module(image), atol=1e-5)
    assert again.record.licence == "apache-2.0"


def test_the_default_is_taken_where_it_is_here(photos: Path, tmp_path: Path) -> None:
    put_default_here(tmp_path)
    said: list[str] = []
    assert network_of(train(photos, tmp_path / "run", said)) == DEFAULT
    assert not any("ships with Frostline" in text for text in said)
    # Without the download, a run that began with it says what is missing; it takes no other.
    (tmp_path / "hub").rename(tmp_path / "gone")
    (tmp_path / "run" / "metrics.json").unlink()
    with pytest.raises(DownloadError, match="frostline backbones get timm:test_resnet"):
        train(photos, tmp_path / "run", said)


@pytest.mark.parametrize(
    "changed", [{"name": "timm:test_vit.r160_in1k"}, {"name": DEFAULT}, {"name": "timm:resnet18"}]
)
def test_a_network_that_was_named_is_never_replaced(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    photos = make_photos(tmp_path / "few", {"cats": 2, "dogs": 2})
    named = replace(RECIPE, backbone=replace(RECIPE.backbone, **changed))
    with pytest.raises(DownloadError, match=changed["name"]):
        pipeline.train(photos, tmp_path / "run", named, cache_folder(), QUIET)


def test_random_weights_need_no_other_network(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "few", {"cats": 4, "dogs": 4})
    drawn = replace(RECIPE, backbone=replace(RECIPE.backbone, pretrained=False))
    assert network_of(train(photos, tmp_path / "run", [], drawn)) == DEFAULT
