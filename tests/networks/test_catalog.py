"""Names of backbones, and opening timm's."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import timm
import torch

from conftest import FinishedRun
from frostline.base.errors import BackboneError
from frostline.networks.catalog import DEFAULTS, default_name, find, parse, search
from frostline.networks.names import BackboneName


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def refusal(name: str, **options: object) -> str:
    with pytest.raises(BackboneError) as caught:
        find(name, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_importing_the_catalogue_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys, frostline.networks.catalog as c; c.parse('timm:resnet50?a=1'); "
        "c.default_name('cpu'); sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("timm:resnet50.a1_in1k", "timm:resnet50.a1_in1k"),
        ("timm:mobilenetv2_100?pad_type=same", "timm:mobilenetv2_100?pad_type=same"),
        ("timm:a?z=1&b=0.50&c=True&d=none", "timm:a?b=0.5&c=true&d=none&z=1"),
        ("timm:a?b=1e-3", "timm:a?b=0.001"),
        ("timm:a?pretrained=false&b=-3", "timm:a?b=-3&pretrained=false"),
        ("timm:a?pretrained=true", "timm:a"),
        ("hub:timm/resnet18.a1_in1k@v2", "hub:timm/resnet18.a1_in1k@v2"),
        ("dir:/a/b?c=d/e", "dir:/a/b?c=d/e"),
        ("dir:/what?/is this", "dir:/what?/is this"),
    ],
)
def test_a_name_is_parsed_and_written_canonically(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical
    assert parse(str(parse(text))) == parse(text)


def test_values_have_the_type_they_look_like() -> None:
    arguments = parse("timm:a?i=3&f=1.5&e=2e3&t=true&n=None&s=same&u=1_0").arguments
    assert arguments == {"i": 3, "f": 1.5, "e": 2e3, "t": True, "n": None, "s": "same", "u": "1_0"}


def test_dir_names_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/folders/of/someone")
    assert parse("dir:a/../b").path == str(tmp_path / "b")
    assert parse("dir:~/b?num_classes=0") == BackboneName(
        "dir", "/folders/of/someone/b", {"num_classes": 0}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "tim:resnet18",
            (
                "unknown kind 'tim'; known are timm, torchvision, transformers, keras, "
                "py, dir, hub, builtin. Did you mean timm?"
            ),
        ),
        ("timm:", "a name must follow 'timm', such as timm:mobilenetv4"),
        ("timm:a?b", "after the question mark must stand key=value, joined by &; got 'b'"),
        ("timm:a?b=1&b=2", "timm:a?b=1&b=2: the argument 'b' is given twice."),
        ("timm:a?pretrained=7", "pretrained must be true or false, not 7"),
        ("resnet18", "For timm's network write timm:resnet18"),
        ("resnt18", "Did you mean timm:resnet18,"),
        ("timm/resnet18", "On the hub it would be hub:timm/resnet18"),
    ],
)
def test_a_name_that_does_not_hold_says_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_a_bare_path_is_named_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net.pth").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError, match=r"neither a run nor a model folder$"):
        parse("net")
    with pytest.raises(BackboneError, match=r"write timm:ARCHITECTURE --weights net\.pth$"):
        parse("net.pth")


def test_random_weights_need_no_network() -> None:
    opened = find("timm:test_resnet?num_classes=7", pretrained=False)
    record = opened.record
    assert record.name == "timm:test_resnet?num_classes=7&pretrained=false"
    assert (record.kind, record.architecture) == ("timm", "test_resnet")
    assert (record.classes, record.licence, record.pretrained_tag) == ((), "", "")
    assert (record.preprocessing.height_px, record.preprocessing.crop_pct) == (160, 0.95)
    assert record.parameters == sum(p.numel() for p in opened.module.parameters())
    assert record.num_features == 96
    assert not opened.module.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in opened.module.parameters())
    assert opened.module(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert opened.match is None
    assert opened.extras == {}
    assert find(record.name).record == record


def test_the_input_size_follows_the_argument() -> None:
    record = find("timm:test_vit?img_size=96&pretrained=false").record
    assert (record.preprocessing.height_px, record.preprocessing.width_px) == (96, 96)


def test_without_a_network_it_says_what_to_do() -> None:
    message = refusal("timm:resnet18.a1_in1k")
    assert message.startswith(
        "timm:resnet18.a1_in1k (about 47 MB) is not on this machine and could not be downloaded "
        "(offline mode is on, HF_HUB_OFFLINE is set). With a connection, once: "
        "frostline backbones get timm:resnet18.a1_in1k. From another machine: "
    )
    assert "--backbone dir:FOLDER" in message
    assert message.endswith("and frostline demo shows the way.")
    # What can be pasted into a shell is quoted for it.
    assert "get 'timm:resnet18?num_classes=3'." in refusal("timm:resnet18?num_classes=3")


def test_a_dead_connection_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)

    def fail(*_: object, **__: object) -> None:
        raise ConnectionResetError("no route")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    assert "(ConnectionResetError: no route)" in refusal("timm:resnet18")


def test_a_connection_lost_while_downloading_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        huggingface_hub, "get_hf_file_metadata", lambda *_, **__: SimpleNamespace(size=1)
    )
    assert "could not be downloaded (LocalEntryNotFoundError" in refusal("timm:test_resnet")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnt18", "has no architecture 'resnt18'. Did you mean resnet18,"),
        ("timm:resnet18.a1_in", "no weights 'a1_in' of resnet18; known are a1_in1k,"),
        ("timm:resnet18?foo=1", "timm:resnet18?foo=1: the architecture takes no argument 'foo'."),
        ("timm:mobilenetv2_100?foo=1", "the architecture takes no argument 'foo'."),
        ("timm:resnet18?block=none2", "cannot be built with block='none2' (AttributeError"),
        ("timm:resnet18?in_chans=1", "in_chans must be 3; Frostline feeds RGB."),
        ("timm:resnet18?checkpoint_path=x", "cannot be given in a name. Use --weights FILE."),
        ("timm:resnet18?features_only=true", "Cut the network at a line instead."),
        ("timm:vit_base_patch16_224_in21k", "it is now called vit_base_patch16_224.augreg_in21k"),
    ],
)
def test_a_network_that_timm_does_not_have(name: str, said: str) -> None:
    assert said in refusal(name, pretrained=False)


def test_an_architecture_without_weights_says_so() -> None:
    message = refusal("timm:test_coatnet")
    assert "timm has no pretrained weights of it" in message
    assert message.endswith("timm:test_coatnet?pretrained=false")


def test_weights_go_with_an_architecture(tmp_path: Path) -> None:
    assert "--weights goes with an architecture" in refusal(f"dir:{tmp_path}", weights=tmp_path)
    assert "--partial goes with --weights FILE" in refusal("timm:test_resnet", partial=True)


def test_local_weights_are_loaded_by_name(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", num_classes=5).eval()
    torch.save({"state_dict": source.state_dict(), "epoch": 3}, tmp_path / "net.pth")
    opened = find("timm:test_resnet?num_classes=5", weights=tmp_path / "net.pth")
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(opened.module(image), source(image))
    assert opened.record.name == "timm:test_resnet?num_classes=5"
    assert opened.match is not None
    assert (opened.match.complete, opened.match.wrapping) == (True, "state_dict")


def test_weights_of_another_number_of_classes_say_how_many(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", num_classes=5)
    torch.save(source.state_dict(), tmp_path / "net.bin")
    message = refusal("timm:test_resnet", weights=tmp_path / "net.bin")
    assert message.startswith(f"{tmp_path}/net.bin into timm:test_resnet: the weights do not fit")
    assert "fc.weight: network [1000, 96], file [5, 96]" in message
    assert "add num_classes=5 to the name (timm:NAME?num_classes=5)" in message
    opened = find("timm:test_resnet", weights=tmp_path / "net.bin", partial=True)
    assert opened.match is not None
    assert [name for name, _, _ in opened.match.mismatched] == ["fc.weight", "fc.bias"]
    got = opened.module.state_dict()["conv1.0.weight"]
    assert torch.equal(got, source.state_dict()["conv1.0.weight"])


def test_a_classifier_may_be_left_over_from_a_network_without_one(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet")
    torch.save(source.state_dict(), tmp_path / "net.pth")
    opened = find("timm:test_resnet?num_classes=0", weights=tmp_path / "net.pth")
    assert opened.match is not None
    assert opened.match.unexpected == ("fc.weight", "fc.bias")


def test_position_embeddings_are_resampled_by_timm(tmp_path: Path) -> None:
    source = timm.create_model("test_vit")
    torch.save(source.state_dict(), tmp_path / "net.pth")
    opened = find("timm:test_vit?img_size=96", weights=tmp_path / "net.pth")
    assert opened.match is not None
    assert opened.match.complete
    assert opened.module(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)


def test_real_weights_that_do_not_fit_are_refused(assets: Path) -> None:
    file = assets / "weights" / "resnet20_cifar10.th"
    message = refusal("timm:resnet18", weights=file)
    assert "the weights do not fit: 0 of the network's 102 tensors match" in message
    assert "conv1.weight: network [64, 3, 7, 7], file [16, 3, 3, 3]" in message
    assert "Choose the architecture that the weights were made for." in message


def test_search_lists_what_timm_has() -> None:
    everything = search()
    assert len(everything) > 1000
    assert {entry.name: entry.default for entry in everything[:2]} == {
        name: device for device, name in DEFAULTS.items()
    }
    small = search("mobilenetv4_conv_s*")
    assert small == search("timm:MobileNetV4_conv_s*")
    assert small[0].name == default_name("cpu")
    assert (small[0].input_px, small[0].classes) == (224, 1000)
    assert small[0].interpolation == "bicubic"
    assert [entry.name for entry in search("tiny.in12k_ft_in1k") if entry.default] == [
        default_name("cuda:1")
    ]
    assert search("no such thing") == []


def test_the_defaults_are_permissive() -> None:
    assert {entry.licence for entry in search() if entry.default} == {"apache-2.0"}


def test_a_run_is_a_network_wherever_one_is_named(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find(str(finished_run.path)).record.name == f"dir:{finished_run.path}"
    assert find(str(finished_run.path / "model")).record.name == f"dir:{finished_run.path}/model"
    monkeypatch.chdir(finished_run.path.parent)
    assert parse("run").kind == "dir"
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "recipe.toml").touch()
    with pytest.raises(BackboneError, match="this run is unfinished"):
        find(str(unfinished))
