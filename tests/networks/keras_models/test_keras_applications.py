"""Every family of keras.applications, translated, against Keras itself."""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx

from frostline.networks.keras.families import APPLICATIONS
from frostline.networks.keras.sizes import SIZE_DEPENDENT, make_size_independent
from frostline.networks.translate.build import Built, build
from keras_twin import (
    BOUND,
    keras,
    keras_says,
    noise,
    only_norms_train,
    shaken,
    still,
    translated,
    we_say,
)

# The smallest of each family; sizes are even and odd.
SMALLEST: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "xception": ("Xception", {}, (72, 71)),
    "vgg16": ("VGG16", {"include_top": False, "pooling": "max"}, (64, 37)),
    "vgg19": ("VGG19", {"include_top": False, "pooling": "avg"}, (32, 47)),
    "resnet": ("ResNet50", {}, (64, 65)),
    "resnet_v2": ("ResNet50V2", {}, (64, 65)),
    "inception_v3": ("InceptionV3", {}, (76, 75)),
    "inception_resnet_v2": ("InceptionResNetV2", {}, (76, 75)),
    "mobilenet": ("MobileNet", {"alpha": 0.25, "depth_multiplier": 2}, (64, 49)),
    "mobilenet_v2": ("MobileNetV2", {"alpha": 0.35}, (64, 65)),
    "mobilenet_v3": ("MobileNetV3Small", {"alpha": 0.75}, (64, 65)),
    "densenet": ("DenseNet121", {}, (64, 65)),
    "nasnet": ("NASNet", {}, (64, 65)),
    "efficientnet": ("EfficientNetB0", {}, (64, 65)),
    "efficientnet_v2": ("EfficientNetV2B0", {}, (64, 65)),
    "convnext": ("ConvNeXtTiny", {}, (64, 65)),
}


def make(family: str, px: int) -> Any:
    name, options, _ = SMALLEST[family]
    shape = {"weights": None, "input_shape": (px, px, 3)}
    if options.get("include_top", True):
        shape |= {"classes": 10, "classifier_activation": None}
    if name == "NASNet":
        # Keras does not build NASNetMobile on torch; this is a narrow one of its kind.
        from keras.src.applications.nasnet import NASNet

        return NASNet(
            penultimate_filters=192,
            num_blocks=1,
            stem_block_filters=8,
            skip_reduction=False,
            filter_multiplier=2,
            **shape,
        )
    return getattr(keras.applications, name)(**options, **shape)


@pytest.mark.parametrize("family", SMALLEST)
def test_a_translated_network_gives_what_keras_gives(family: str) -> None:
    even, odd = SMALLEST[family][2]
    model = shaken(make(family, even))
    reading, built = translated(model, even)
    compare(model, built)
    # What was configured for one size holds for another, as Keras configures it for that.
    other = make(family, odd)
    other.set_weights(model.get_weights())
    graph = make_size_independent(reading.graph) if family in SIZE_DEPENDENT else reading.graph
    again = build(replace(graph, input_shape=(3, odd, odd)), family)
    again.module.load_state_dict(built.module.state_dict())
    compare(other, again)
    still(model)
    only_norms_train(built)
    # Of fewer images, the statistics of a map of one place say too little.
    images = noise(built, 8, seed=2)
    theirs = keras_says(model, images, training=True)
    np.testing.assert_allclose(we_say(built.module, images), theirs, rtol=0, atol=BOUND)


def compare(model: Any, built: Built) -> None:
    for images in (noise(built, 1), noise(built, 3, seed=1)):
        theirs = keras_says(model, images)
        ours = we_say(built.module, images)
        assert 0.05 < np.abs(theirs).max() < 50, "the test's own weights are of no use"
        assert np.abs(theirs - theirs.mean(0)).max() > 1e-3 or len(images) == 1
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=BOUND)


def test_the_table_has_every_network_and_size_of_keras_applications() -> None:
    functions = dict(inspect.getmembers(keras.applications, inspect.isfunction))
    assert set(APPLICATIONS) == set(functions)
    assert {one.family for one in APPLICATIONS.values()} == set(SMALLEST)


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_fx_traces_it_with_every_layer_under_its_name(name: str) -> None:
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    _, built = translated(model, 64, settle=False)
    traced = fx.symbolic_trace(built.module)
    images = noise(built, 2)
    torch.testing.assert_close(traced(images), built.module(images), rtol=0, atol=0)
    paths = {path for path, _ in built.module.named_modules()}
    named = {layer.name for layer in model.layers} - {model.layers[0].name}
    assert named <= paths
