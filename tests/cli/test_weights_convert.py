"""`frostline weights convert`: from a file of any format to a model folder."""

import json
import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from frostline.cli import main
from frostline.networks import catalog
from frostline.networks.textbook import MnistCnn
from frostline.run.folder import RunFolder

Capture = pytest.CaptureFixture[str]
DIGITS = "builtin:mnist_cnn?classes=4"
FILES = Path(__file__).parent.parent / "networks" / "weights_files" / "files"


def digits_file(path: Path, **more: np.ndarray) -> Path:
    """Writes weights of the digits network as TensorFlow holds them, with other names."""
    torch.manual_seed(0)
    state = {name: tensor.numpy() for name, tensor in MnistCnn(4).state_dict().items()}
    rows = state["fc1.weight"].reshape(50, 20, 4, 4).transpose(0, 2, 3, 1).reshape(50, 320)
    held = {
        "a/kernel": state["conv1.weight"].transpose(2, 3, 1, 0),
        "a/bias": state["conv1.bias"],
        "b/kernel": state["conv2.weight"].transpose(2, 3, 1, 0),
        "b/bias": state["conv2.bias"],
        "c/kernel": rows.T,
        "c/bias": state["fc1.bias"],
        "d/kernel": state["fc2.weight"].T,
        "d/bias": state["fc2.bias"],
    }
    np.savez(path, **held, **more)  # type: ignore[arg-type]
    return path


def convert(file: Path, to: str, out: Path, *more: str) -> int:
    return main(["weights", "convert", str(file), "--to", to, "--out", str(out), *more])


def test_a_file_becomes_a_model_folder(tmp_path: Path, capsys: Capture) -> None:
    file = digits_file(tmp_path / "digits.npz")
    assert convert(file, DIGITS, tmp_path / "net") == 0
    said = capsys.readouterr().err
    assert "matched          8  paired by order" in said
    assert f"Name it dir:{tmp_path / 'net'}" in said
    one = catalog.find(f"dir:{tmp_path / 'net'}")
    torch.manual_seed(0)
    source = MnistCnn(4).eval()
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(one.module(images), source(images))


def test_what_was_left_out_is_named(tmp_path: Path, capsys: Capture) -> None:
    file = digits_file(tmp_path / "digits.npz", **{"e/kernel": np.zeros((4, 2), np.float32)})
    assert convert(file, DIGITS, tmp_path / "net") == 0
    assert "of the file, not used: e/kernel" in capsys.readouterr().err
    assert convert(file, DIGITS, tmp_path / "told", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["unexpected"], told["missing"], told["way"]) == (["e/kernel"], [], "order")
    assert len(told["matched"]) == 8


@pytest.mark.parametrize(
    ("to", "more", "said"),
    [
        ("builtin:mnist_cnn?classes=3", (), "6 of the network's 8 tensors are filled, by order, "),
        ("builtin:mnist_cnn?classes=3", (), "(at the network's fc2 the file has d [50, 4] and [4"),
        ("timm:test_resnet", (), "no layer of the file fits the network's (at the network's "),
        (DIGITS, ("--by", "graph"), "holds no graph with weights in it; pair by name or by order."),
        ("dir:somewhere", (), "--weights goes with an architecture by name"),
        ("keras:NoSuch", (), "no network of that name"),
    ],
)
def test_a_file_that_does_not_fit_writes_nothing(
    to: str, more: tuple[str, ...], said: str, tmp_path: Path, capsys: Capture
) -> None:
    file = digits_file(tmp_path / "digits.npz")
    assert convert(file, to, tmp_path / "net", *more) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "net").exists()


def _code(path: Path) -> Path:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (path.with_name("ran"),))  # type: ignore[return-value]

    path.write_bytes(pickle.dumps({"w": Runs()}))
    return path


def _external_set(path: Path) -> Path:
    (path.parent / "secret.bin").write_bytes(bytes(64))
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (4,), "f4", external=[(str(path.parent / "secret.bin"), 0, 16)])
    return path


def _declared(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (1 << 40,), "f4", chunks=(1024,))
    return path


def _elsewhere(path: Path) -> Path:
    """ONNX whose arrays lie outside its folder."""
    inside = path.parent / "inside"
    inside.mkdir()
    data = (FILES / "external" / "model.onnx").read_bytes().replace(b"model.bin", b"../ab.bin")
    (inside / path.name).write_bytes(data)
    (path.parent / "ab.bin").write_bytes((FILES / "external" / "model.bin").read_bytes())
    return inside / path.name


@pytest.mark.parametrize(
    ("write", "name", "said"),
    [
        (_code, "a.pkl", "pickles can run code; nothing was run."),
        (_external_set, "a.h5", "w is external"),
        (_declared, "a.h5", "w is oversized: it declares 4398046511104 bytes and stores 0"),
        (_elsewhere, "a.onnx", "lies outside its folder"),
    ],
)
@pytest.mark.parametrize("to", [DIGITS, "timm:test_resnet"])
def test_a_hostile_file_costs_one_line(
    write: Callable[[Path], Path],
    name: str,
    said: str,
    to: str,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    assert convert(write(tmp_path / name), to, tmp_path / "net") == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "net").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
def test_two_files_for_one_network_are_refused(tmp_path: Path, capsys: Capture) -> None:
    file = digits_file(tmp_path / "digits.npz")
    assert convert(file, "keras:MobileNet?weights=other.h5", tmp_path / "net") == 2
    assert f"names the weights other.h5, and --weights names {file}." in capsys.readouterr().err


def test_what_matches_is_loaded_in_part_when_asked_for(tmp_path: Path, capsys: Capture) -> None:
    file = digits_file(tmp_path / "digits.npz")
    to = "builtin:mnist_cnn?classes=3"
    assert convert(file, to, tmp_path / "net", "--partial") == 0
    said = capsys.readouterr().err
    assert "not filled: fc2.weight" in said
    assert "of the file, not used: d/kernel" in said


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: Capture) -> None:
    file = digits_file(tmp_path / "digits.npz")
    assert convert(file, DIGITS, tmp_path) == 2
    assert "must be a new or an empty folder." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["digits.npz"]


def test_a_network_without_its_last_layer_takes_a_file_of_the_whole(
    tmp_path: Path, capsys: Capture
) -> None:
    file = digits_file(tmp_path / "digits.npz")
    assert convert(file, "builtin:mnist_cnn?num_classes=0", tmp_path / "net") == 0
    said = capsys.readouterr().err
    assert "of the file, not used: d/kernel" in said
    assert catalog.find(f"dir:{tmp_path / 'net'}").module(torch.rand(1, 1, 28, 28)).shape == (1, 50)


needs_keras = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")


@needs_keras
def test_eight_bit_weights_of_tflite_fill_a_network_of_keras(
    assets: Path, tmp_path: Path, capsys: Capture
) -> None:
    name = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
    file = assets / "weights" / "files" / name
    assert convert(file, "keras:MobileNet?include_top=false", tmp_path / "net") == 0
    said = capsys.readouterr().err
    assert "matched        135  paired by graph" in said
    assert "left over        0" in said


@needs_keras
@pytest.mark.parametrize("line", ["conv_dw_6_relu", "conv_pw_12_relu"])
def test_a_mobilenet_in_part_is_cut_and_trained_with_a_convolutional_head(
    line: str, assets: Path, tmp_path: Path, capsys: Capture
) -> None:
    photos = tmp_path / "photos"
    for label in ("ants", "bees"):
        (photos / label).mkdir(parents=True)
        found = sorted((assets / "data" / "ants_bees" / "train" / label).glob("*.jpg"))[:24]
        for picture in found:
            (photos / label / picture.name).symlink_to(picture)
    file = assets / "weights" / "mobilenet_v1_imagenet_without_conv_pw_13.h5"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
[backbone]
name = "keras:MobileNet"
weights = "{file}"
partial = true
image_px = 128
[data]
val = 0.25
[head]
on = "{line}"
layers = [
  {{ type = "conv", out = 32, kernel = 3 }},
  {{ type = "activation", kind = "relu" }},
  {{ type = "conv", kernel = 1 }},
  {{ type = "pool", kind = "global" }},
]
[views]
count = 1
[[stages]]
line = "top"
epochs = 8
lr = 3e-3
""",
        encoding="utf-8",
    )
    argv = ["train", str(photos), "--out", str(tmp_path / "run"), "--recipe", str(recipe)]
    assert main([*argv, "--device", "cpu", "--precision", "fp32", "--engine", "eager"]) == 0
    said = capsys.readouterr().err
    assert "missing          1  conv_pw_13.weight" in said
    metrics = RunFolder(tmp_path / "run").read_metrics()
    assert metrics["stages"][0]["unchanged"] is True
    assert metrics["val"]["accuracy"] > 0.6
