"""Options of keras.applications, its preprocessing, and ImageNet's weights from Keras's cache."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frostline.activations.engines.eager import Normalise, fold_batch_norm
from frostline.base.console import Console
from frostline.base.errors import BackboneError
from frostline.images import views
from frostline.networks import catalog, model_folder
from frostline.networks.keras.applications import open_application
from frostline.networks.keras.families import APPLICATIONS, MODES
from frostline.networks.translate.padding import KernelPaddedConv2d
from frostline.pipeline import messages
from keras_twin import BOUND, keras, keras_says, shaken


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("MobilNet", {}, r"no network of that name.* Did you mean MobileNet"),
        ("MobileNet", {"alhpa": 0.5}, r"takes no argument 'alhpa'; .* Did you mean alpha\?"),
        ("MobileNet", {"input_px": 31}, "input_px must be at least 32, not 31"),
        ("InceptionV3", {"input_px": 74}, "input_px must be at least 75, not 74"),
        ("MobileNet", {"input_px": "64by64"}, "input_px must be a side or HEIGHTxWIDTH"),
        ("MobileNet", {"channels": 0}, "channels must be a whole number"),
        ("MobileNet", {"classes": -1}, "Keras cannot give it with classes=-1"),
        ("MobileNet", {"weights": "/no/such.h5"}, "no such weights file"),
    ],
)
def test_options_that_do_not_hold_are_told(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BackboneError, match=said) as caught:
        open_application(name, options)
    assert "\n" not in str(caught.value)


def test_options_are_those_of_keras() -> None:
    options = {"include_top": False, "pooling": "avg", "input_px": "40x70", "alpha": 0.25}
    network = open_application("MobileNet", {**options, "channels": 1})
    assert network.input_shape == (1, 40, 70)
    assert network.shapes[network.graph.output] == (256,)
    assert (network.classifier, network.graph.scores, network.labels) == ("", "none", None)
    whole = open_application("MobileNet", {"classes": 5, "alpha": 0.25})
    assert (whole.classifier, whole.graph.scores) == ("conv_preds", "softmax")
    assert network.shapes["conv_pw_13_relu"] == (256, 1, 2)


def test_a_network_has_the_same_names_however_often_it_is_opened() -> None:
    options = {"include_top": False, "input_px": 75}
    first, again = (open_application("InceptionV3", options) for _ in range(2))
    assert first.digest == again.digest
    names = [node.name for node in first.graph.nodes]
    assert {"conv2d", "conv2d_93", "batch_normalization", "activation_93", "mixed10"} <= set(names)


def test_nasnet_mobile_opens_though_keras_does_not_run_it_on_torch() -> None:
    network = open_application("NASNetMobile", {"classes": 10, "input_px": 64})
    count = sum(tensor.numel() for tensor in network.module.parameters())
    statistics = sum(
        tensor.numel()
        for name, tensor in network.module.named_buffers()
        if not name.endswith("num_batches_tracked")
    )
    # Keras counts 5,326,716 with a thousand classes.
    assert count + statistics == 5_326_716 - 990 * (1056 + 1)
    assert network.module(torch.rand(1, 3, 64, 64)).shape == (1, 10)


def test_imagenets_weights_come_from_keras_and_hold_at_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    (tmp_path / "models").mkdir()
    model = shaken(keras.applications.MobileNet(weights=None, alpha=0.25))
    # Keras looks here before it downloads.
    model.save(tmp_path / "models" / "mobilenet_2_5_224_tf.h5")
    options = {"weights": "imagenet", "alpha": 0.25}
    network = open_application("MobileNet", options)
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    ours = torch.softmax(network.module(images), 1).detach().numpy()
    np.testing.assert_allclose(ours, keras_says(model, images), rtol=0, atol=BOUND)
    assert network.labels is not None
    assert [label.partition(",")[0] for label in network.labels[:2]] == ["tench", "goldfish"]
    assert len(set(network.labels)) == 1000
    smaller = open_application("MobileNet", {**options, "input_px": 97})
    other = keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(97, 97, 3))
    other.set_weights(model.get_weights())
    images = torch.rand(2, 3, 97, 97) * 2 - 1
    ours = torch.softmax(smaller.module(images), 1).detach().numpy()
    np.testing.assert_allclose(ours, keras_says(other, images), rtol=0, atol=BOUND)
    opened = catalog.find("keras:MobileNet?alpha=0.25&classes=4")
    assert opened.record.classes == ()
    assert opened.module(images).shape == (2, 4)


def test_weights_that_cannot_be_had_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", offline)
    with pytest.raises(BackboneError, match="cannot give it with weights='imagenet'") as caught:
        open_application("MobileNet", {"weights": "imagenet"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "unit"])
def test_every_mode_is_what_keras_makes_of_pixels(mode: str) -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    last = pixels.permute(0, 2, 3, 1).numpy().astype("float32")
    if mode != "inside":
        last = keras.applications.imagenet_utils.preprocess_input(last, mode=mode)
    named = {
        "tf": "MobileNetV2",
        "caffe": "VGG16",
        "torch": "DenseNet121",
        "inside": "ConvNeXtTiny",
    }
    assert APPLICATIONS[named[mode]].mode == mode
    name = f"keras:{named[mode]}?weights=none&include_top=false&input_px=32"
    how = catalog.find(name).record.preprocessing
    expected = last.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(Normalise(how)(pixels).numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(views.normalise(pixels, how).numpy(), expected, atol=1e-4)


def test_a_blue_green_red_network_stays_one_in_its_folder(tmp_path: Path) -> None:
    name = "keras:ResNet50?weights=none&input_px=32&classes=3"
    opened = catalog.find(name)
    model_folder.write_folder(tmp_path / "net", opened.module, opened.record, ["a", "b", "c"])
    again = catalog.find(f"dir:{tmp_path / 'net'}")
    assert again.record.preprocessing == opened.record.preprocessing
    assert again.record.preprocessing.channel_order == "bgr"


def test_norms_fold_into_convolutions_that_pad_their_kernels() -> None:
    opened = catalog.find("keras:MobileNet?weights=none&alpha=0.25&input_px=64&include_top=false")
    with torch.no_grad():
        for norm in opened.module.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2.0)
    prefix, _ = catalog.trace(opened).cut("conv_pw_5_relu")
    images = torch.rand(2, 3, 64, 64)
    before = prefix.eval()(images)
    folded = fold_batch_norm(prefix)
    padded = [one for one in folded.modules() if isinstance(one, KernelPaddedConv2d)]
    assert len(padded) == 3
    assert all(one.bias is not None for one in padded)
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in folded.modules())
    torch.testing.assert_close(folded(images), before, rtol=1e-3, atol=1e-4)


def test_what_was_left_out_of_a_model_is_said(tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.RandomFlip(name="flip"),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Conv2D(4, 3, name="conv"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, name="fc"),
        ]
    )
    model.save(tmp_path / "own.keras")
    opened = catalog.find(f"keras:{tmp_path / 'own.keras'}")
    (note,) = opened.notes
    assert note.endswith("is left out: views are varied instead.")
    words = io.StringIO()
    messages.backbone(opened, Console(words))
    assert note in words.getvalue()


def test_a_name_of_a_file_takes_a_mode_and_labels(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(1, activation="sigmoid", name="top"),
        ]
    )
    path = tmp_path / "net.keras"
    model.save(path)
    with pytest.raises(BackboneError, match=r"how pixels become its input. Add \?mode=tf"):
        catalog.find(f"keras:{path}")
    with pytest.raises(BackboneError, match=r"mode 'tensorflow': must be one of tf, caffe"):
        catalog.find(f"keras:{path}?mode=tensorflow")
    with pytest.raises(BackboneError, match=r"takes no argument 'alpha'; of a file"):
        catalog.find(f"keras:{path}?mode=tf&alpha=1")
    (tmp_path / "mine.txt").write_text("no\nyes\n")
    opened = catalog.find(f"keras:{path}?mode=tf&labels={tmp_path / 'mine.txt'}")
    assert opened.record.classes == ("no", "yes")
    assert opened.extras == {"targets": "binary"}
    assert opened.record.architecture.startswith("net.keras@")
    assert opened.record.num_features == 4
    fresh = catalog.find(f"keras:{path}?mode=tf&pretrained=false")
    assert not torch.equal(fresh.module.conv.weight, opened.module.conv.weight)


def test_without_keras_a_network_by_name_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "from frostline.networks import catalog\n"
        "from frostline.base.errors import BackboneError\n"
        "try:\n    catalog.find('keras:VGG16')\n"
        "except BackboneError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'frostline[keras]'" in done.stdout
