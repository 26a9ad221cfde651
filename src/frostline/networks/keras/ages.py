"""Keras 1, 2 and 3: telling them apart, and saying old configurations in today's words."""

import re
from collections.abc import Mapping
from typing import Any

from frostline.base.errors import BackboneError

_CLASSES = {
    "Convolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "AtrousConvolution2D": "Conv2D",
    "MaxPool2D": "MaxPooling2D",
    "AvgPool2D": "AveragePooling2D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "DepthwiseConvolution2D": "DepthwiseConv2D",
    "GRUV2": "GRU",
    "RandomHorizontalFlip": "RandomFlip",
}
# Keys of Keras 1, and what they are called since.
_KEYS = {
    "nb_filter": "filters",
    "subsample": "strides",
    "border_mode": "padding",
    "bias": "use_bias",
    "output_dim": "units",
    "p": "rate",
    "init": "kernel_initializer",
    "dim_ordering": "data_format",
    "inner_activation": "recurrent_activation",
    "sigma": "stddev",
}
_FORMATS = {"tf": "channels_last", "th": "channels_first", "default": None}
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
}
# Arithmetic between layers, as Keras 2 writes it.
_FUNCTIONS = {
    "__operators__.add": "Add",
    "math.add": "Add",
    "math.subtract": "Subtract",
    "math.multiply": "Multiply",
    "math.truediv": "TrueDivide",
    "math.divide": "TrueDivide",
}
# `bias` and `p` mean other things in other layers.
_ONLY = {
    "bias": ("Conv2D", "Dense", "SeparableConv2D", "DepthwiseConv2D", "Conv2DTranspose"),
    "p": ("Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout"),
}


def age_of(model: Mapping[str, Any], version: str) -> int:
    """Returns Keras's major version, as it is told or as the configuration looks."""
    if told := re.match(r"(\d+)\.", version):
        return min(int(told[1]), 3)
    words = str(model)[:200_000]
    if "'module'" in words:
        return 3
    return 1 if "'border_mode'" in words or "'output_dim'" in words else 2


def modern(model: Mapping[str, Any], age: int, where: str) -> dict[str, Any]:
    """Says a model of any age in the keys and class names of Keras 2 and 3.

    Raises:
        BackboneError: Where it does not look like a model at all.
    """
    if not isinstance(model, Mapping):
        raise BackboneError(f"{where}: its configuration is no model of Keras.")
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, Mapping) else config
    if not isinstance(layers, list) or not isinstance(model.get("class_name"), str):
        raise BackboneError(f"{where}: its configuration must be a Sequential or Functional model.")
    named = dict(config) if isinstance(config, Mapping) else {}
    kind = "Sequential" if model["class_name"] == "Sequential" else "Functional"
    if kind == "Functional" and "input_layers" not in named:
        raise BackboneError(
            f"{where}: {model['class_name']} is written in code that the file does not hold; "
            "only Sequential and Functional models can be opened."
        )
    inner = [_layer(layer, number, age, where) for number, layer in enumerate(layers)]
    name = model.get("name") or named.get("name") or "model"
    calls = {"inbound_nodes": model["inbound_nodes"]} if "inbound_nodes" in model else {}
    return {"class_name": kind, "config": {**named, "name": name, "layers": inner}, **calls}


def first_names(model: Mapping[str, Any]) -> Any:
    """Gives layers without names of their own those that the first model of a process gets.

    Keras numbers them on through a process (`conv2d_94`), so the same network would have other
    names each time.
    """
    numbered: dict[str, dict[str, int]] = {}
    for layer in model["config"]["layers"]:
        stem, name = snake_case(str(layer["class_name"])), str(layer["config"]["name"])
        told = re.fullmatch(rf"{stem}(?:_(\d+))?", name)
        if told:
            numbered.setdefault(stem, {})[name] = int(told[1] or 0)
    renamed = {}
    for stem, numbers in numbered.items():
        first = min(numbers.values())
        for name, number in numbers.items():
            renamed[name] = f"{stem}_{number - first}" if number > first else stem
    return _renamed(model, renamed)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def snake_case(name: str) -> str:
    """Writes a class name as Keras does in its weights files: `Conv2D` becomes `conv2d`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _layer(layer: Any, number: int, age: int, where: str) -> dict[str, Any]:
    if not isinstance(layer, Mapping) or not isinstance(layer.get("class_name"), str):
        raise BackboneError(f"{where}: layer {number} of a model is not written as a layer is.")
    config = layer.get("config")
    inner = config.get("layers") if isinstance(config, Mapping) else config
    if isinstance(inner, list) and layer["class_name"] in ("Sequential", "Functional", "Model"):
        return modern(layer, age, where)
    if not isinstance(config, Mapping):
        raise BackboneError(f"{where}: layer {number} ({layer['class_name']}) has no settings.")
    kind = str(_CLASSES.get(layer["class_name"], layer["class_name"]))
    plain = dict(config)
    if kind == "TFOpLambda":
        # The name of one of TensorFlow's functions, and no code.
        function = str(plain.get("function"))
        kind = _FUNCTIONS.get(function, f"TFOpLambda of {function}")
    if age == 1:
        kind, plain = _since_first(kind, plain)
    plain["name"] = str(layer.get("name") or plain.get("name") or f"layer_{number}")
    calls = {"inbound_nodes": layer["inbound_nodes"]} if "inbound_nodes" in layer else {}
    return {"class_name": kind, "config": plain, **calls}


def _since_first(kind: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Says a layer of Keras 1 in the words of Keras 2."""
    plain = {}
    for key, value in config.items():
        if key in _KEYS and kind in _ONLY.get(key, (kind,)):
            key = _KEYS[key]
        plain[key] = value
    if "nb_row" in plain:
        plain["kernel_size"] = [plain["nb_row"], plain["nb_col"]]
    if "data_format" in plain:
        plain["data_format"] = _FORMATS.get(plain["data_format"], plain["data_format"])
    if "atrous_rate" in plain:
        plain["dilation_rate"] = plain["atrous_rate"]
    if kind == "Merge":
        kind = _MERGES.get(str(plain.get("mode")), f"Merge of mode {plain.get('mode')}")
        plain["axis"] = plain.get("concat_axis", -1)
    if kind == "GRU":
        plain["reset_after"] = False
    if kind in ("Conv2D", "Dense", "SeparableConv2D"):
        plain.setdefault("use_bias", True)
    return kind, plain
