"""A real export of Teachable Machine against NumPy written out, without Keras."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageOps

from frostline.networks.keras.files import open_file

Array = np.ndarray
Layer = Callable[[Array, Mapping[str, Any], Mapping[str, Array]], Array]


def windows(x: Array, config: Mapping[str, Any]) -> Array:
    """Returns [n, h, w, c, i, j]: what each place of the output reads."""
    kernel, stride = config["kernel_size"][0], config["strides"][0]
    if config["padding"] == "same":
        assert stride == 1, "the file has no other"
        x = np.pad(x, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2, (0, 0)))
    return sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


def conv(x: Array, config: Mapping[str, Any], own: Mapping[str, Array]) -> Array:
    return np.einsum("nhwcij,ijcf->nhwf", windows(x, config), own["kernel"], optimize=True)


def depthwise(x: Array, config: Mapping[str, Any], own: Mapping[str, Array]) -> Array:
    kernel = own["depthwise_kernel"][..., 0]
    return np.einsum("nhwcij,ijc->nhwc", windows(x, config), kernel, optimize=True)


def norm(x: Array, config: Mapping[str, Any], own: Mapping[str, Array]) -> Array:
    scale = own["gamma"] / np.sqrt(own["moving_variance"] + config["epsilon"])
    return (x - own["moving_mean"]) * scale + own["beta"]


def dense(x: Array, config: Mapping[str, Any], own: Mapping[str, Array]) -> Array:
    x = x @ own["kernel"] + (own["bias"] if config["use_bias"] else 0.0)
    if config["activation"] == "softmax":
        powers = np.exp(x - x.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)
    assert config["activation"] == "relu"
    return np.maximum(x, 0)


LAYERS: dict[str, Layer] = {
    "InputLayer": lambda x, config, own: x,
    "ZeroPadding2D": lambda x, config, own: np.pad(x, ((0, 0), *config["padding"], (0, 0))),
    "Conv2D": conv,
    "DepthwiseConv2D": depthwise,
    "BatchNormalization": norm,
    "ReLU": lambda x, config, own: np.clip(x, 0, config["max_value"]),
    "GlobalAveragePooling2D": lambda x, config, own: x.mean((1, 2)),
    "Dense": dense,
}


def run(model: Mapping[str, Any], x: Array, weights: h5py.Group) -> Array:
    """Computes a nested model as its configuration says, in float64."""
    values: dict[str, Array] = {}
    for layer in model["config"]["layers"]:
        name, config = layer["config"]["name"], layer["config"]
        calls = layer.get("inbound_nodes")
        if calls:
            x = values[calls[0][0][0]]
        if "layers" in config:
            x = run(layer, x, weights)
        elif layer["class_name"] == "Add":
            x = values[calls[0][0][0]] + values[calls[0][1][0]]
        else:
            arrays = weights.get(name, {})
            own = {key.removesuffix(":0"): arrays[key][()].astype("f8") for key in arrays}
            x = LAYERS[layer["class_name"]](x, config, own)
        values[name] = x
    return x


@pytest.fixture(scope="module")
def exported(assets: Path) -> Path:
    return assets / "weights" / "files" / "teachable_machine_keras_model.h5"


def expected_of(exported: Path, images: Array) -> Array:
    with h5py.File(exported) as file:
        model = json.loads(file.attrs["model_config"])
        # Both groups hold their layers under names that no other has.
        both = {**file["model_weights/sequential_1"], **file["model_weights/sequential_3"]}
        return run(model, images, both)


def photos(assets: Path) -> Array:
    """Four photographs, as the export's own example code prepares them."""
    files = sorted((assets / "data" / "grocery" / "val").glob("*/*"))[::120][:4]
    opened = [Image.open(file).convert("RGB") for file in files]
    fitted = [ImageOps.fit(one, (224, 224), Image.Resampling.LANCZOS) for one in opened]
    return np.stack([np.asarray(one, "f8") for one in fitted]) / 127.5 - 1


def test_its_probabilities_of_photographs_are_those_of_numpy(assets: Path, exported: Path) -> None:
    images = photos(assets)
    network = open_file(exported)
    with torch.no_grad():
        scores = network.module(torch.from_numpy(images).float().permute(0, 3, 1, 2))
    given = torch.softmax(scores, 1).numpy()
    np.testing.assert_allclose(given, expected_of(exported, images), rtol=0, atol=1e-5)


def test_in_double_precision_it_is_numpy_s_where_it_is_not_certain(exported: Path) -> None:
    # Nine blocks of colour each, of which the network is not sure what they are.
    contrasts = {0: 0.2, 3: 0.5, 6: 0.8}
    coarse = [np.random.default_rng(s).uniform(-c, c, (3, 3, 3)) for s, c in contrasts.items()]
    images = np.kron(np.stack(coarse), np.ones((1, 75, 75, 1)))[:, :224, :224]
    expected = expected_of(exported, images)
    with torch.no_grad():
        module = open_file(exported).module.double()
        given = torch.softmax(module(torch.from_numpy(images).permute(0, 3, 1, 2)), 1).numpy()
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-9)
    assert np.ptp(expected, 0).max() > 0.1, "the pictures must differ"
    assert expected.max(1).min() < 0.9, "and not all be certain"


def test_its_labels_names_and_preprocessing_come_along(exported: Path) -> None:
    network = open_file(exported)
    assert network.labels == ("cardboard", "plastic", "glass", "metal")
    assert network.graph.scores == "softmax"
    assert network.classifier == "dense_Dense2"
    assert network.input_shape == (3, 224, 224)
    assert network.module.get_submodule("block_16_project_BN") is not None
    facts = network.preprocessing
    assert facts is not None
    assert (facts.mean, facts.std, facts.crop_mode) == ((0.5,) * 3, (0.5,) * 3, "center")


def test_it_opens_without_keras(exported: Path) -> None:
    check = (
        "import sys; sys.modules['keras'] = sys.modules['tensorflow'] = None\n"
        "from pathlib import Path\n"
        "from frostline.networks.keras.files import open_file\n"
        f"print(len(open_file(Path({str(exported)!r})).graph.nodes))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "158"
