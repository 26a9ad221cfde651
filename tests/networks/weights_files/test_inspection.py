"""What is told of a weights file: what it is, its totals, its digests."""

import hashlib
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import families, guarded, look
from frostline.networks.weights_files.inspection import digest_of
from networks.weights_files.makers import FILES, expected, make

WHAT = {
    "safetensors": "safetensors weights, three classes; open it with --weights {}",
    "torch_zip": "PyTorch checkpoint, three classes; open it with --weights {}",
    "npy": "NumPy array",
    "keras_1": "Keras 1 weights; open it with --weights {}",
    "keras_2": "Keras 2.3 weights, three classes; open it with --weights {}",
    "keras_full_h5": "Keras 3.15 full model, input of 8 px, three classes; open it with keras:{}",
    "keras_weights_h5": "Keras 3 weights; open it with --weights {}",
    "keras_archive": "Keras 3.15 full model, input of 8 px, three classes; open it with keras:{}",
    "onnx": "ONNX model (opset 17), input of 8 px, three classes; open it with onnx:{}",
    "frozen": "frozen TensorFlow graph, input of 8 px, three classes; open it with tf:{}",
    "tflite": "TFLite model, input of 8 px, three classes; open it with tflite:{}",
    "tfjs_layers": (
        "TensorFlow.js layers-model, input of 8 px, three classes; open it with keras:{}"
    ),
}
REAL = {
    "files/teachable_machine_keras_model.h5": (
        "Keras 2.4 full model, MobileNetV2 0.35 at 224 px, four classes; open it with keras:{}"
    ),
    "mobilenet_v1_imagenet_without_conv_pw_13.h5": (
        "Keras 2.1 weights, MobileNet 1.0; open it with --weights {}"
    ),
    "music_tagger_crnn/music_tagger_crnn_weights_tensorflow.h5": (
        "Keras 1 weights, MusicTaggerCRNN, 50 classes; open it with --weights {}"
    ),
    "resnet20_cifar10.th": (
        "PyTorch checkpoint from before the zip format, ResNet-20, ten classes; "
        "open it with --weights {}"
    ),
    "files/squeezenet1_1_imagenet.pth": (
        "PyTorch weights, SqueezeNet 1.1, 1,000 classes; open it with --weights {}"
    ),
    "mobilenetv2_imagenet": (
        "timm model folder (mobilenetv2_100), MobileNetV2 1.0 in timm's names at 224 px, "
        "1,001 classes; open it with dir:{}"
    ),
    "files/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite": (
        "TFLite model, 8-bit per tensor, MobileNet 1.0 at 224 px; open it with tflite:{}"
    ),
    "files/yamnet_spectra_in.tflite": (
        "TFLite model, 8-bit per channel, YAMNet at 96 × 64, 521 classes; open it with tflite:{}"
    ),
    "files/music_vgg_tf1/model.meta": (
        "TensorFlow 1.11.0 meta graph with its checkpoint, input of 187 × 96, 50 classes; "
        "open it with tf:{}"
    ),
    "files/basic_pitch/nmp.onnx": (
        "ONNX model (opset 15, by tf2onnx 1.15.1 37820d), input of 43844; open it with onnx:{}"
    ),
    "files/basic_pitch/nmp": ("TensorFlow 2.4.1 SavedModel, input of 43844; open it with tf:{}"),
}


@pytest.mark.parametrize("kind", WHAT)
def test_one_sentence_says_what_a_file_is(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path / kind)
    assert look.inspect(path).what == WHAT[kind].format(path)


@pytest.mark.parametrize("name", REAL)
def test_one_sentence_says_what_a_published_file_is(name: str, assets: Path) -> None:
    path = assets / "weights" / name
    assert look.inspect(path).what == REAL[name].format(path)


def test_one_network_in_three_formats_has_the_same_kernels(assets: Path) -> None:
    folder = assets / "weights" / "files" / "basic_pitch"
    onnx, tflite, saved = (
        look.open_file(folder / name).tensors for name in ("nmp.onnx", "nmp.tflite", "nmp")
    )
    # The converters folded batch norms into two of the convolutions, and not into conv2d_2.
    for number, index in ((2, 738), (1, 727), (4, 707)):
        first = onnx[f"const_fold_opt__{index}"].values()
        name = f"model_1/conv2d_{number}/Conv2D;model_1/conv2d_{number}/Conv2D"
        np.testing.assert_allclose(first, tflite[name].values().transpose(0, 3, 1, 2), rtol=1e-5)
    variables = {one.attributes.get("full_name"): one for one in saved.values()}
    kernel = variables["conv2d_2/kernel"].values().transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(onnx["const_fold_opt__738"].values(), kernel)


def test_the_process_apart_tells_the_same(tmp_path: Path) -> None:
    path = make("saved_model", tmp_path / "one")
    here, apart = look.inspect(path, "conv"), guarded.inspect(path, "conv")
    assert apart.what == here.what
    assert [row.name for row in apart.tensors] == [row.name for row in here.tensors]
    assert apart.totals == here.totals
    assert apart.layout == here.layout
    assert apart.digest == digest_of([Path(file["name"]) for file in apart.files])


def test_totals_tell_constants_from_weights(tmp_path: Path) -> None:
    totals = look.inspect(make("tf1_meta", tmp_path / "one")).totals
    numbers = sum(array.size for array in expected().values())
    assert totals["kinds"]["weights"]["numbers"] == numbers
    assert totals["kinds"]["constant"]["numbers"] > numbers
    sums = [one["numbers"] for one in totals["kinds"].values()]
    assert totals["numbers"] == sum(sums)


def test_only_lists_what_it_names(tmp_path: Path) -> None:
    path = make("npz", tmp_path / "one")
    for only, names in (("KERNEL", 3), ("fc/*", 2), ("conv/bias", 1)):
        found = look.inspect(path, only)
        assert len(found.tensors) == names
        assert found.totals["tensors"] == 5
    with pytest.raises(WeightsError, match="Did you mean conv/bias"):
        look.inspect(path, "conv/bios")
    with pytest.raises(WeightsError, match=r"--histogram fc: no tensor of that name"):
        look.inspect(path, histogram="fc")


def test_a_histogram_counts_every_finite_value(tmp_path: Path) -> None:
    values = np.array([0, 0, 1, 2, np.nan, np.inf, -3], np.float32)
    np.savez(tmp_path / "a.npz", w=values, one=np.full(4, 7), half=np.full(9, 60000, np.float16))
    found = look.inspect(tmp_path / "a.npz", histogram="w").histogram
    assert found is not None
    assert (found["count"], found["finite"], found["zeros"]) == (7, 5, 2)
    assert (found["min"], found["max"], found["mean"]) == (-3, 2, 0)
    assert sum(found["counts"]) == 5
    for name, mean in (("one", 7), ("half", 60000)):
        found = look.inspect(tmp_path / "a.npz", histogram=name).histogram
        assert found is not None
        assert found["mean"] == mean
        assert sum(found["counts"]) == found["count"]


def test_values_too_far_apart_have_no_histogram(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.array([-1.7e308, 1.7e308]))
    with pytest.raises(WeightsError, match="have no histogram"):
        look.inspect(tmp_path / "a.npz", histogram="w")


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_spread_beyond_all_numbers_is_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.array([0, 1.7e308]))
    found = guarded.inspect(tmp_path / "a.npz", histogram="w").histogram
    assert found is not None
    assert (found["max"], found["std"]) == (1.7e308, None)


def test_a_histogram_is_of_dequantised_values(tmp_path: Path) -> None:
    path = make("tflite_int8", tmp_path / "one")
    found = look.inspect(path, histogram="Conv2D").histogram
    assert found is not None
    assert found["max"] == pytest.approx(expected()["conv/kernel"].max(), rel=0.01)


def test_the_digest_of_one_file_is_what_sha256sum_says(tmp_path: Path) -> None:
    path = make("npy", tmp_path / "one")
    said = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert guarded.inspect(path).digest == said.split()[0]
    assert digest_of([path]) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_layout_is_that_of_names_types_and_shapes(tmp_path: Path) -> None:
    for name, factor in (("one", 1.0), ("two", 2.0)):
        state = {"b": torch.ones(3) * factor, "a": torch.zeros(2, 2)}
        save_file(state, tmp_path / f"{name}.safetensors")
    save_file({"b": torch.ones(4), "a": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    one, two, other = (
        look.inspect(tmp_path / f"{name}.safetensors").layout for name in ("one", "two", "other")
    )
    assert one == two != other


def test_an_optimiser_in_a_full_model_is_told_apart(tmp_path: Path) -> None:
    path = make("keras_full_h5", tmp_path / "one")
    with h5py.File(path, "a") as file:
        file.create_group("optimizer_weights")["adam/m"] = np.ones(5)
    kinds = look.inspect(path).totals["kinds"]
    assert kinds["optimizer"]["numbers"] == 5


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnet18", "ResNet-18"),
        ("resnet50", "ResNet-50"),
        ("vgg16", "VGG-16"),
        ("vgg11", "VGG-11"),
        ("alexnet", "AlexNet"),
        ("squeezenet1_0", "SqueezeNet 1.0"),
        ("densenet121", "DenseNet-121"),
        ("mobilenet_v2", "MobileNetV2 1.0"),
    ],
)
def test_networks_of_torchvision_are_known_by_their_names(name: str, family: str) -> None:
    import torchvision

    with torch.device("meta"):
        state = torchvision.models.get_model(name, weights=None).state_dict()
    shapes = [(key, tuple(tensor.shape)) for key, tensor in state.items()]
    assert families.name_of(list(state), shapes) == family


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (
            "vit_tiny_patch16_224",
            "vision transformer with patches of 16 px, width 192 and 12 blocks",
        ),
        ("mobilenetv2_050", "MobileNetV2 0.5 in timm's names"),
        ("efficientnet_b0", "EfficientNet in timm's names"),
        ("convnext_tiny", "ConvNeXt"),
        ("swin_tiny_patch4_window7_224", "Swin transformer"),
        ("resnet34", "ResNet-34"),
        ("edgenext_small", ""),
    ],
)
def test_networks_of_timm_are_known_by_their_names_or_not_named(name: str, family: str) -> None:
    import timm

    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    shapes = [(key, tuple(tensor.shape)) for key, tensor in state.items()]
    assert families.name_of(list(state), shapes) == family


def test_the_fixtures_are_small() -> None:
    assert sum(file.stat().st_size for file in FILES.rglob("*") if file.is_file()) < 200_000
