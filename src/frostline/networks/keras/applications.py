"""`keras:NAME`: the networks of keras.applications, translated once.

Keras gives their configuration, and ImageNet's weights; it computes nothing.
"""

import contextlib
import importlib
import inspect
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks.keras import ages
from frostline.networks.keras import weights as keras_files
from frostline.networks.keras.arrays import as_tensor, roles_of
from frostline.networks.keras.config import MODELS, Reading, read
from frostline.networks.keras.families import APPLICATIONS, Application, facts
from frostline.networks.keras.matching import load_weights
from frostline.networks.keras.sizes import SIZE_DEPENDENT, make_size_independent
from frostline.networks.translate.arrays import Slot, to_state
from frostline.networks.translate.build import Built, build
from frostline.networks.translate.graph import Graph
from frostline.networks.translate.network import TranslatedNetwork, classifier_of
from frostline.networks.weights import Match

# What a name may ask for besides the arguments of Keras's own function.
_OWN = ("input_px", "channels", "weights")
_NOT_ASKED = ("input_tensor", "input_shape", "name", "classifier_activation", "weights")


def open_application(
    name: str,
    options: Mapping[str, Any] | None = None,
    partial: bool = False,
    way: str = "auto",
) -> TranslatedNetwork:
    """Opens a network of keras.applications.

    Args:
        name: Such as `MobileNetV2`.
        options: Those of Keras's own function (`alpha`, `include_top`, `pooling`, `classes`…) and
            `weights` (`none`, `imagenet` or a file; none where absent), `input_px` (a side in
            pixels, or `HEIGHTxWIDTH`) and `channels`.
        partial: Load what matches of a weights file, and leave the rest as it is.
        way: How a weights file's layers are paired with the network's: `auto`, `name`, `order`.

    Raises:
        BackboneError: Where the name or an option is unknown, the input is below the smallest,
            Keras is not installed, or ImageNet's weights are not to be had.
        WeightsError: Where a weights file does not fit.
    """
    where = f"keras:{name}"
    if name not in APPLICATIONS:
        near = did_you_mean(name, APPLICATIONS)
        raise BackboneError(
            f"{where}: keras has no network of that name in its applications.{near}"
        )
    application, given = APPLICATIONS[name], dict(options or {})
    keras = _keras(where)
    function = _function(keras, name)
    _check_options(function, given, where)
    size = _input_px(given.pop("input_px", None), application, where)
    channels = given.pop("channels", 3)
    if not isinstance(channels, int) or channels < 1:
        raise BackboneError(
            f"{where}: channels must be a whole number from 1 up, not {channels!r}."
        )
    asked = given.pop("weights", None)
    pretrained = str(asked).lower() == "imagenet"
    # With ImageNet's top, Keras builds for one size alone; the weights are the same for all.
    fixed = pretrained and given.get("include_top", True)
    own = (application.input_px, application.input_px) if fixed else size
    given |= {"weights": "imagenet" if pretrained else None, "input_shape": (*own, channels)}
    model, said = _built(keras, function, given, where)
    config = ages.first_names(json.loads(model.to_json()))
    reading = read(config, where, str(keras.__version__), own)
    reading = replace(reading, graph=_at_size(reading.graph, application, size))
    built = build(reading.graph, where)
    match: Match | None = None
    if pretrained:
        _take_weights(keras, model, reading, built, where)
    elif asked not in (None, "none"):
        file = Path(str(asked)).expanduser()
        into = f"{file} into {where}"
        match = load_weights(reading, built, keras_files.weights_of(file), into, partial, way).match
    inside = given.get("include_preprocessing", True) or not application.outside
    return TranslatedNetwork(
        module=built.module,
        graph=reading.graph,
        shapes=built.shapes,
        preprocessing=facts(application.mode if inside else application.outside, channels),
        labels=_labels(built, reading) if pretrained else None,
        classifier=classifier_of(reading.graph, built.shapes),
        source=f"{where} (Keras {keras.__version__})",
        digest=reading.graph.digest,
        notes=said,
        match=match,
    )


def _at_size(graph: Graph, application: Application, size: tuple[int, int]) -> Graph:
    graph = make_size_independent(graph) if application.family in SIZE_DEPENDENT else graph
    return replace(graph, input_shape=(graph.input_shape[0], *size))


def _keras(where: str) -> Any:
    """Imports Keras on its torch backend, unless the process runs it already on another."""
    if (loaded := sys.modules.get("keras")) is not None:
        return loaded
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        return importlib.import_module("keras")
    except ImportError as error:
        raise BackboneError(
            f"{where}: networks of keras.applications need Keras, which is not installed. "
            "Install it: pip install 'frostline[keras]'."
        ) from error
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before


def _function(keras: Any, name: str) -> Callable[..., Any]:
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        # Keras refuses to run it on torch, and so to build it; here it need not run.
        return _nasnet_mobile
    function: Callable[..., Any] = getattr(keras.applications, name)
    return function


def _nasnet_mobile(
    include_top: bool = True,
    weights: str | None = None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
) -> Any:
    general = importlib.import_module("keras.src.applications.nasnet").NASNet
    return general(
        input_shape,
        penultimate_filters=1056,
        num_blocks=4,
        stem_block_filters=32,
        skip_reduction=False,
        filter_multiplier=2,
        include_top=include_top,
        weights=weights,
        pooling=pooling,
        classes=classes,
        default_size=224,
        name="nasnet_mobile",
    )


def _check_options(function: Callable[..., Any], given: Mapping[str, Any], where: str) -> None:
    taken = set(inspect.signature(function).parameters)
    known = sorted((taken - set(_NOT_ASKED)) | set(_OWN))
    for key in given:
        if key not in known:
            raise BackboneError(
                f"{where}: the architecture takes no argument {key!r}; known are "
                f"{', '.join(known)}."
                f"{did_you_mean(key, known)}"
            )


def read_size(value: Any, where: str) -> tuple[int, int]:
    """Reads a size: a side in pixels, or `HEIGHTxWIDTH`.

    Raises:
        BackboneError: Where it is neither.
    """
    told = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
    if told is None:
        raise BackboneError(f"{where}: input_px must be a side or HEIGHTxWIDTH, not {value!r}.")
    return int(told[1]), int(told[2] or told[1])


def _input_px(value: Any, application: Application, where: str) -> tuple[int, int]:
    if value is None:
        return application.input_px, application.input_px
    height, width = read_size(value, where)
    if min(height, width) < application.smallest_px:
        raise BackboneError(
            f"{where}: input_px must be at least {application.smallest_px}, not {value}."
        )
    return height, width


def _built(
    keras: Any, function: Callable[..., Any], given: Mapping[str, Any], where: str
) -> tuple[Any, tuple[str, ...]]:
    """Lets Keras build a model on the CPU; returns it with what Keras warned of."""
    try:
        # What it says of its downloads must not get among what is printed for programs.
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(sys.stderr),
            keras.device("cpu"),
        ):
            warnings.simplefilter("always", UserWarning)
            model = function(**given)
    except Exception as error:
        told = {key: value for key, value in given.items() if key != "input_shape"}
        asked = ", ".join(f"{key}={value!r}" for key, value in told.items())
        reason = " ".join(str(error).split())[:200]
        raise BackboneError(f"{where}: Keras cannot give it with {asked}: {reason}") from error
    return model, tuple(" ".join(str(one.message).split()) for one in caught)


def _take_weights(keras: Any, model: Any, reading: Reading, built: Built, where: str) -> None:
    """Copies a Keras model's weights into the network that was translated from it."""
    sources = [layer for layer in _leaves(model) if layer.weights]
    layers = [layer for layer in reading.layers if roles_of(layer.op, layer.settings)]
    arrays: dict[Slot, torch.Tensor] = {}
    for source, layer in zip(sources, layers, strict=True):
        for role, variable in zip(roles_of(layer.op, layer.settings), source.weights, strict=True):
            arrays[(layer.path, role)] = as_tensor(
                layer.op, role, _array(keras, variable), False, False
            )
    state, own = to_state(reading.graph, built, arrays), built.module.state_dict()
    if any(own[name].shape != tensor.shape for name, tensor in state.items()):
        h, w = reading.graph.input_shape[1:]
        raise BackboneError(
            f"{where}: its top was trained at another size than {h} × {w} px and fits no other. "
            "Leave it out with include_top=false."
        )
    built.module.load_state_dict(state, strict=False)


def _array(keras: Any, variable: Any) -> NDArray[Any]:
    with warnings.catch_warnings():
        # Keras calls NumPy in a way that it warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        values: NDArray[Any] = keras.ops.convert_to_numpy(variable)
    return values


def _leaves(model: Any) -> list[Any]:
    found = []
    for layer in model.layers:
        found += _leaves(layer) if type(layer).__name__ in MODELS else [layer]
    return found


def _labels(built: Built, reading: Reading) -> tuple[str, ...] | None:
    """The names of ImageNet's classes, which stand in the order of their synsets in Keras too."""
    from timm.data import ImageNetInfo

    if built.shapes[reading.graph.output] != (1000,):
        return None
    info = ImageNetInfo("imagenet-1k")
    names = [info.index_to_description(index) for index in range(1000)]
    return tuple(
        f"{name} ({info.index_to_label_name(index)})" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    )
