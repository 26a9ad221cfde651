"""The table from Keras's layer classes to operators, for configurations of Keras 2 and 3."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from frostline.base.errors import BackboneError
from frostline.networks.keras.functions import FORMS, activation, initializer

Config = Mapping[str, Any]
Operation = tuple[str, dict[str, Any]]
# From a layer's configuration and Keras's age (1, 2 or 3) to an operator and its settings.
Reader = Callable[[Config, int], Operation]


def operation(class_name: str, config: Config, age: int) -> Operation:
    """Returns the operator of a layer and its settings.

    Args:
        class_name: A key of `LAYERS`.
        config: The layer's configuration, with the keys of Keras 2.
        age: Keras's major version: defaults and functions differ.

    Raises:
        BackboneError: Where a setting is missing, or asks for what is not translated.
    """
    try:
        return LAYERS[class_name](config, age)
    except KeyError as error:
        raise BackboneError(f"its configuration lacks {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BackboneError(f"its configuration cannot be read ({error}).") from error


def with_numbers(class_name: str, inputs: int, numbers: Sequence[tuple[int, Any]]) -> Operation:
    """Returns what arithmetic with a fixed number is: x + 3, x / 127.5, 1 − x.

    Args:
        class_name: `Add`, `Subtract`, `Multiply` or `TrueDivide`.
        inputs: How many layers it reads.
        numbers: Its fixed numbers, each with its position among what it reads.

    Raises:
        BackboneError: Where it is other arithmetic.
    """
    if class_name not in ("Add", "Subtract", "Multiply", "TrueDivide") or (
        inputs,
        len(numbers),
    ) != (1, 1):
        raise BackboneError("fixed numbers among what it reads are not translated.")
    ((position, number),) = numbers
    if isinstance(number, list):
        raise BackboneError("a list of numbers among what it reads is not translated.")
    if class_name == "Add":
        return "affine", {"scale": 1.0, "offset": float(number)}
    if class_name == "Multiply":
        return "affine", {"scale": float(number), "offset": 0.0}
    if class_name == "Subtract":
        sign = 1.0 if position else -1.0
        return "affine", {"scale": sign, "offset": -sign * float(number)}
    if not position or not number:
        raise BackboneError("only division by a number other than 0 is translated.")
    return "affine", {"scale": 1.0 / float(number), "offset": 0.0}


def _pair(value: Any) -> list[int]:
    sizes = [value, value] if isinstance(value, int) else [int(size) for size in value]
    if len(sizes) != 2 or min(sizes) < 1:
        raise ValueError(f"two sizes from 1 up are needed, not {value!r}")
    return sizes


def _sides(value: Any) -> list[list[int]]:
    """Reads a padding: one number, two, or two pairs."""
    rows, columns = (value, value) if isinstance(value, int) else value
    pairs = [
        [one, one] if isinstance(one, int) else [int(side) for side in one]
        for one in (rows, columns)
    ]
    if any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ValueError(f"two pairs of sizes from 0 up are needed, not {value!r}")
    return pairs


def _window(config: Config, kernel: str = "kernel_size") -> dict[str, Any]:
    sizes = _pair(config[kernel])
    padding = str(config["padding"]).lower()
    if padding not in ("same", "valid"):
        raise BackboneError(f"padding {padding!r} is not translated; only same and valid are.")
    strides = config.get("strides")
    return {
        "kernel": sizes,
        "stride": sizes if strides is None else _pair(strides),
        "padding": padding,
    }


def _initial(config: Config, kernel: str = "kernel_initializer") -> dict[str, Any]:
    found = {
        "kernel": initializer(config.get(kernel)),
        "bias": initializer(config.get("bias_initializer")),
    }
    told = {what: how for what, how in found.items() if how is not None}
    return {"initial": told} if told else {}


def _weighted(config: Config, age: int, kernel: str = "kernel_initializer") -> dict[str, Any]:
    return {
        "bias": bool(config["use_bias"]),
        "activation": activation(config.get("activation"), age),
        **_initial(config, kernel),
    }


def _conv2d(config: Config, age: int) -> Operation:
    return "conv2d", {
        **_window(config),
        **_weighted(config, age),
        "filters": int(config["filters"]),
        "dilation": _pair(config.get("dilation_rate", 1)),
        "groups": int(config.get("groups", 1)),
    }


def _depthwise(config: Config, age: int) -> Operation:
    return "depthwise_conv2d", {
        **_window(config),
        **_weighted(config, age, "depthwise_initializer"),
        "multiplier": int(config.get("depth_multiplier", 1)),
        "dilation": _pair(config.get("dilation_rate", 1)),
    }


def _separable(config: Config, age: int) -> Operation:
    return "separable_conv2d", {
        **_window(config),
        **_weighted(config, age, "pointwise_initializer"),
        "filters": int(config["filters"]),
        "multiplier": int(config.get("depth_multiplier", 1)),
        "dilation": _pair(config.get("dilation_rate", 1)),
    }


def _transposed(config: Config, age: int) -> Operation:
    if _pair(config.get("dilation_rate", 1)) != [1, 1] or config.get("output_padding") is not None:
        raise BackboneError("dilation and output_padding of it are not translated.")
    return "conv2d_transpose", {
        **_window(config),
        **_weighted(config, age),
        "filters": int(config["filters"]),
    }


def _dense(config: Config, age: int) -> Operation:
    return "dense", {**_weighted(config, age), "units": int(config["units"])}


def _batch_norm(config: Config, age: int) -> Operation:
    axis = config.get("axis", -1)
    if config.get("renorm"):
        raise BackboneError("batch renormalisation is not translated.")
    return "batch_norm", {
        "axis": int(axis[0] if isinstance(axis, list | tuple) else axis),
        "eps": float(config["epsilon"]),
        # Keras's momentum is what is kept of the old, PyTorch's what is taken of the new.
        "momentum": 1.0 - float(config["momentum"]),
        "scale": bool(config.get("scale", True)),
        "center": bool(config.get("center", True)),
    }


def _layer_norm(config: Config, age: int) -> Operation:
    axis = config.get("axis", -1)
    if config.get("rms_scaling"):
        raise BackboneError("rms_scaling is not translated.")
    return "layer_norm", {
        "axes": [int(one) for one in (axis if isinstance(axis, list | tuple) else [axis])],
        "eps": float(config["epsilon"]),
        "scale": bool(config.get("scale", True)),
        "center": bool(config.get("center", True)),
    }


def _normalization(config: Config, age: int) -> Operation:
    axis = config.get("axis", -1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if list(axes) not in ([-1], [3]) or config.get("invert"):
        raise BackboneError("a Normalization must be over the channels, and not inverted.")
    return "normalize", {key: _plain(config.get(key)) for key in ("mean", "variance")}


def _rescaling(config: Config, age: int) -> Operation:
    return "affine", {"scale": _plain(config["scale"]), "offset": _plain(config.get("offset", 0.0))}


def _activation(config: Config, age: int) -> Operation:
    return "activation", activation(config["activation"], age) or {"function": "linear"}


def _activation_layer(form: Callable[[Config], dict[str, Any]]) -> Reader:
    return lambda config, age: ("activation", form(config))


def _prelu(config: Config, age: int) -> Operation:
    if sorted(config.get("shared_axes") or []) != [1, 2]:
        raise BackboneError("a PReLU must share its slopes over height and width (axes 1 and 2).")
    return "prelu", {}


def _max_pool(config: Config, age: int) -> Operation:
    return "max_pool", _window(config, "pool_size")


def _average_pool(config: Config, age: int) -> Operation:
    return "average_pool", _window(config, "pool_size")


def _global(reduce: str) -> Reader:
    return lambda config, age: (
        "global_pool",
        {"reduce": reduce, "keep_axes": bool(config.get("keepdims", False))},
    )


def _zero_padding(config: Config, age: int) -> Operation:
    return "pad", {"sides": _sides(config["padding"])}


def _cropping(config: Config, age: int) -> Operation:
    return "crop", {"sides": _sides(config["cropping"])}


def _upsampling(config: Config, age: int) -> Operation:
    mode = str(config.get("interpolation", "nearest"))
    if mode not in ("nearest", "bilinear"):
        raise BackboneError(f"interpolation {mode!r} is not translated; nearest and bilinear are.")
    return "upsample", {"factor": _pair(config["size"]), "interpolation": mode}


def _reshape(config: Config, age: int) -> Operation:
    return "reshape", {"shape": [int(size) for size in config["target_shape"]]}


def _permute(config: Config, age: int) -> Operation:
    return "permute", {"axes": [int(axis) for axis in config["dims"]]}


def _dropout(config: Config, age: int) -> Operation:
    rate, shape = float(config["rate"]), config.get("noise_shape")
    if shape is None:
        return "dropout", {"rate": rate}
    if all(size == 1 for size in shape[1:]):
        return "drop_examples", {"rate": rate}
    raise BackboneError(f"noise_shape {shape} is not translated; only whole examples are dropped.")


def _spatial_dropout(config: Config, age: int) -> Operation:
    return "drop_channels", {"rate": float(config["rate"])}


def _stochastic_depth(config: Config, age: int) -> Operation:
    return "drop_examples", {"rate": float(config["drop_path_rate"])}


def _alpha_dropout(config: Config, age: int) -> Operation:
    return "alpha_dropout", {"rate": float(config["rate"])}


def _noise(config: Config, age: int) -> Operation:
    return "noise", {"deviation": float(config["stddev"]), "multiply": False}


def _gaussian_dropout(config: Config, age: int) -> Operation:
    rate = float(config["rate"])
    return "noise", {"deviation": (rate / (1 - rate)) ** 0.5, "multiply": True}


def _merge(how: str) -> Reader:
    return lambda config, age: ("merge", {"how": how})


def _only_with_number(config: Config, age: int) -> Operation:
    raise BackboneError("only division by a fixed number is translated.")


def _scaled_addition(config: Config, age: int) -> Operation:
    return "merge", {"how": "add", "scale": float(config["scale"])}


def _concatenate(config: Config, age: int) -> Operation:
    return "concatenate", {"axis": int(config.get("axis", -1))}


def _layer_scale(config: Config, age: int) -> Operation:
    return "channel_scale", {"value": float(config["init_values"])}


def _gru(config: Config, age: int) -> Operation:
    return "gru", {
        "units": int(config["units"]),
        "reset_after": bool(config.get("reset_after", age == 3)),
        "bias": bool(config.get("use_bias", True)),
        "activation": activation(config.get("activation"), age) or {"function": "linear"},
        "recurrent_activation": activation(config.get("recurrent_activation"), age)
        or {"function": "linear"},
        "all_steps": bool(config.get("return_sequences", False)),
        "backwards": bool(config.get("go_backwards", False)),
        **_initial(config),
    }


def _nothing(config: Config, age: int) -> Operation:
    return "identity", {}


def _plain(value: Any) -> Any:
    """Takes numbers out of the arrays of Keras's configurations."""
    while isinstance(value, Mapping):
        value = value.get("value", value.get("config"))
    return value


LAYERS: Mapping[str, Reader] = {
    "Conv2D": _conv2d,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Conv2DTranspose": _transposed,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "Activation": _activation,
    **{name: _activation_layer(form) for name, form in FORMS.items()},
    "PReLU": _prelu,
    "MaxPooling2D": _max_pool,
    "AveragePooling2D": _average_pool,
    "GlobalAveragePooling2D": _global("mean"),
    "GlobalMaxPooling2D": _global("max"),
    "ZeroPadding2D": _zero_padding,
    "Cropping2D": _cropping,
    "UpSampling2D": _upsampling,
    "Flatten": lambda config, age: ("flatten", {}),
    "Reshape": _reshape,
    "Permute": _permute,
    "Dropout": _dropout,
    "SpatialDropout2D": _spatial_dropout,
    "AlphaDropout": _alpha_dropout,
    "GaussianDropout": _gaussian_dropout,
    "GaussianNoise": _noise,
    "Add": _merge("add"),
    "Subtract": _merge("subtract"),
    "Multiply": _merge("multiply"),
    "Average": _merge("average"),
    "Maximum": _merge("maximum"),
    "Minimum": _merge("minimum"),
    "TrueDivide": _only_with_number,
    "Concatenate": _concatenate,
    "GRU": _gru,
    "ActivityRegularization": _nothing,
    "Identity": _nothing,
    # Of keras.applications itself: ConvNeXt and Inception-ResNet V2.
    "LayerScale": _layer_scale,
    "StochasticDepth": _stochastic_depth,
    "CustomScaleLayer": _scaled_addition,
}

# They do nothing in prediction; in training Frostline's own views take their place.
AUGMENTATION = (
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomTranslation",
    "RandomContrast",
    "RandomBrightness",
    "RandomCrop",
    "RandomHeight",
    "RandomWidth",
    "RandomShear",
    "RandomHue",
    "RandomSaturation",
    "RandomSharpness",
    "RandomColorJitter",
    "RandomColorDegeneration",
    "RandomGrayscale",
    "RandomInvert",
    "RandomPosterization",
    "RandomGaussianBlur",
    "RandomErasing",
    "RandomPerspective",
    "RandomElasticTransform",
    "RandAugment",
    "AugMix",
)
