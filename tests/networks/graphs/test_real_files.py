"""Real networks of TFLite, ONNX and TensorFlow, against what TensorFlow makes of the same inputs.

`files/references.npz` was written by `make_references.py`.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import graph_inputs as inputs
from frostline.networks import catalog, model_folder
from frostline.networks.record import OpenedBackbone

REFERENCES = dict(np.load(Path(__file__).parent / "files" / "references.npz"))
MOBILENET = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
PITCH = {"contour": 0, "note": 1, "onset": 2}


@pytest.fixture
def files(assets: Path) -> Path:
    return assets / "weights" / "files"


def run(one: OpenedBackbone, given: Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = one.module(given).numpy()
    return found


def picture(one: OpenedBackbone) -> Tensor:
    how = one.record.preprocessing
    pixels = torch.from_numpy(inputs.picture()).permute(0, 3, 1, 2) / 255
    return (pixels - torch.tensor(how.mean)[:, None, None]) / torch.tensor(how.std)[:, None, None]


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine between two vectors."""
    a, b = a.reshape(-1), b.reshape(-1)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_yamnet_gives_the_scores_of_its_own_spectrogram(files: Path) -> None:
    one = catalog.find(f"tflite:{files / 'yamnet_spectra_in.tflite'}")
    found = 1 / (1 + np.exp(-run(one, torch.from_numpy(inputs.yamnet(files))[:, None])))
    wanted = REFERENCES["yamnet_scores"]
    assert one.extras == {"targets": "multilabel"}
    # It computes in 8 bits; here only its weights are rounded.
    assert np.abs(found - wanted).max() < 0.02
    assert found.argmax() == wanted.argmax()
    assert catalog.trace(one).lines[-1].shape == (1024,)


def test_an_8_bit_mobilenet_gives_its_features_for_pixels_as_its_input_says(files: Path) -> None:
    one = catalog.find(f"tflite:{files / MOBILENET}")
    assert one.record.preprocessing.mean == (128 / 255,) * 3
    assert one.record.preprocessing.std == (128 / 255,) * 3
    assert alike(run(one, picture(one)), REFERENCES["mobilenet_features"]) > 0.998
    assert one.record.num_features == 1024


def test_a_cut_mobilenet_is_saved_and_opened_without_its_file(files: Path, tmp_path: Path) -> None:
    one = catalog.find(f"tflite:{files / MOBILENET}")
    traced = catalog.trace(one)
    prefix, suffix = traced.cut("MobilenetV1/MobilenetV1/Conv2d_6_pointwise/Relu6")
    whole = run(one, picture(one))
    with torch.no_grad():
        np.testing.assert_array_equal(suffix(prefix(picture(one))).numpy(), whole)
    model_folder.write_folder(tmp_path, one.module, one.record, ())
    again = catalog.find(f"dir:{tmp_path}")
    np.testing.assert_array_equal(run(again, picture(one)), whole)
    assert again.record.kind == "tflite"
    assert again.record.preprocessing == one.record.preprocessing


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
def test_it_fills_the_layer_that_the_keras_file_lacks(assets: Path, files: Path) -> None:
    """They are two trainings of one architecture: shapes agree everywhere, numbers do not."""
    file = assets / "weights" / "mobilenet_v1_imagenet_without_conv_pw_13.h5"
    keras = catalog.find("keras:MobileNet", pretrained=False, weights=file, partial=True)
    lite = catalog.find(f"tflite:{files / MOBILENET}")
    assert keras.match is not None
    assert keras.match.missing == ("conv_pw_13.weight",)
    kernels = [
        [m.weight for m in one.module.modules() if isinstance(m, torch.nn.Conv2d)]
        for one in (keras, lite)
    ]
    assert [kernel.shape for kernel in kernels[0][:27]] == [k.shape for k in kernels[1]]
    keras.module.get_submodule("conv_pw_13").weight.data.copy_(kernels[1][-1])
    assert np.isfinite(run(keras, picture(keras))).all()


@pytest.mark.parametrize("output", ["contour", "onset"])
def test_a_network_in_three_formats_gives_one_result(files: Path, output: str) -> None:
    folder, number = files / "basic_pitch", PITCH[output]
    names = (
        f"tf:{folder / 'nmp'}?output={output}",
        f"tflite:{folder / 'nmp.tflite'}?output=StatefulPartitionedCall:{number}",
        f"onnx:{folder / 'nmp.onnx'}?output=StatefulPartitionedCall:{number}",
    )
    sound = torch.from_numpy(inputs.sound())[:, None]
    found = [run(catalog.find(name), sound) for name in names]
    assert np.abs(found[0] - found[1]).max() < 1e-4
    assert np.abs(found[0] - found[2]).max() < 1e-4
    assert np.abs(found[0][:, ::9, ::5] - REFERENCES[f"pitch_{output}"]).max() < 1e-4


def test_a_network_of_tensorflow_1_is_restored_from_its_meta_graph(files: Path) -> None:
    name = f"tf:{files / 'music_vgg_tf1' / 'model.meta'}?output=model/Sigmoid"
    one = catalog.find(name)
    spectra = torch.from_numpy(inputs.spectra())[:, None]
    found = 1 / (1 + np.exp(-run(one, spectra)))
    assert np.abs(found - REFERENCES["music_tags"]).max() < 1e-5
    prefix, suffix = catalog.trace(one).cut("model/3CNN/Relu")
    with torch.no_grad():
        inner = prefix(spectra)
        np.testing.assert_array_equal(suffix(inner).numpy(), run(one, spectra))
    wanted = REFERENCES["music_relu_3"]
    np.testing.assert_allclose(inner.mean((2, 3)).numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_above_a_named_tensor_it_is_trained_and_nothing_else_changes(files: Path) -> None:
    one = catalog.find(f"tf:{files / 'music_vgg_tf1'}?output=model/Sigmoid&num_classes=2")
    before = {name: value.clone() for name, value in one.module.state_dict().items()}
    prefix, suffix = catalog.trace(one).cut("model/4CNN/Relu")
    suffix.eval()
    parameters = [p for p in suffix.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    with torch.no_grad():
        inner = prefix(torch.from_numpy(inputs.spectra())[:, None])
    loss = torch.nn.functional.cross_entropy(suffix(inner), torch.tensor([0, 1]))
    loss.backward()
    optimiser.step()
    after = one.module.state_dict()
    changed = {name.partition(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {
        "model/batch_normalization_4/cond/FusedBatchNorm_1",
        "model/5CNN/Conv2D",
        "model/batch_normalization_5/cond/FusedBatchNorm_1",
        "model/dense/MatMul",
    }
