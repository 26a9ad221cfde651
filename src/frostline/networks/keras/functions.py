"""Keras's activation functions and initialisers, as the translator's graph has them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from frostline.base.errors import BackboneError, did_you_mean

_SAME = (
    *("relu", "relu6", "silu", "hard_silu", "hard_sigmoid", "sigmoid", "tanh", "elu", "selu"),
    *("celu", "mish", "softplus", "softsign", "exponential", "softmax", "log_softmax"),
    *("log_sigmoid", "gelu"),
)
ACTIVATIONS: Mapping[str, Mapping[str, Any]] = {
    **{name: {"function": name} for name in _SAME},
    "swish": {"function": "silu"},
    "hard_swish": {"function": "hard_silu"},
    "leaky_relu": {"function": "leaky_relu", "negative_slope": 0.2},
}


def _relu(config: Mapping[str, Any]) -> dict[str, Any]:
    bends = {
        "max_value": config.get("max_value"),
        "negative_slope": float(_one(config.get("negative_slope")) or 0.0),
        "threshold": float(config.get("threshold") or 0.0),
    }
    most = bends["max_value"]
    if bends["negative_slope"] == bends["threshold"] == 0.0 and most in (None, 6):
        return {"function": "relu" if most is None else "relu6"}
    return {"function": "bent_relu", **bends}


def _leaky_relu(config: Mapping[str, Any]) -> dict[str, Any]:
    slope = config["negative_slope"] if "negative_slope" in config else config["alpha"]
    return {"function": "leaky_relu", "negative_slope": float(_one(slope))}


def _elu(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"function": "elu", "alpha": float(_one(config.get("alpha", 1.0)))}


def _thresholded(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"function": "bent_relu", "threshold": float(_one(config["theta"]))}


def _softmax(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"function": "softmax", "axis": int(config.get("axis", -1))}


def _one(value: Any) -> Any:
    """Takes a number out of the arrays that Keras 2 wrote for it."""
    while isinstance(value, Mapping):
        value = value.get("value", value.get("config"))
    return value[0] if isinstance(value, list | tuple) else value


# Layers that are activations, which may also stand where a function is asked for.
FORMS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "ThresholdedReLU": _thresholded,
    "Softmax": _softmax,
}


def activation(value: Any, age: int) -> dict[str, Any] | None:
    """Reads an activation.

    Args:
        value: A name, or a function or layer as Keras 2 and 3 write them.
        age: Keras's major version: `hard_sigmoid` has another slope since 3.

    Returns:
        Settings of the operator `activation`; None for the linear one.

    Raises:
        BackboneError: Where there is none of that name.
    """
    if isinstance(value, Mapping):
        name, config = value.get("class_name"), value.get("config")
        if name in FORMS and isinstance(config, Mapping):
            return FORMS[str(name)](config)
        value = config if isinstance(config, str) else value.get("registered_name", name)
    if value is None or value == "linear":
        return None
    if value == "hard_sigmoid" and age < 3:
        return {"function": "hard_sigmoid_fifth"}
    if value not in ACTIVATIONS:
        near = did_you_mean(str(value), ACTIVATIONS)
        raise BackboneError(f"its activation {str(value)!r} is not known, and is not run.{near}")
    return dict(ACTIVATIONS[value])


# Scale, what is counted, and the shape of Keras's named initialisers.
_SCALED = {
    "glorotuniform": (1.0, "average", "uniform"),
    "glorotnormal": (1.0, "average", "cut_normal"),
    "heuniform": (2.0, "input", "uniform"),
    "henormal": (2.0, "input", "cut_normal"),
    "lecununiform": (1.0, "input", "uniform"),
    "lecunnormal": (1.0, "input", "cut_normal"),
}
_MODES = {"fan_in": "input", "fan_out": "output", "fan_avg": "average"}
_SHAPES = {
    "uniform": "uniform",
    "normal": "cut_normal",
    "truncated_normal": "cut_normal",
    "untruncated_normal": "normal",
}


def initializer(value: Any) -> dict[str, Any] | None:
    """Reads an initialiser; None where it is the usual one, or one that is not known.

    Only how weights are drawn before training depends on it, never what a file holds.
    """
    if isinstance(value, str):
        value = {"class_name": value, "config": {}}
    if not isinstance(value, Mapping):
        return None
    name = str(value.get("class_name", "")).replace("_", "").lower()
    config = value.get("config") or {}
    if name in _SCALED:
        scale, mode, shape = _SCALED[name]
        return {"kind": "scaled", "scale": scale, "mode": mode, "shape": shape}
    if name == "variancescaling":
        return {
            "kind": "scaled",
            "scale": float(config.get("scale", 1.0)),
            "mode": _MODES.get(config.get("mode", "fan_in"), "input"),
            "shape": _SHAPES.get(config.get("distribution", "truncated_normal"), "cut_normal"),
        }
    if name in ("randomnormal", "truncatednormal"):
        kind = "normal" if name == "randomnormal" else "cut_normal"
        mean, deviation = config.get("mean", 0.0), config.get("stddev", 0.05)
        return {"kind": kind, "mean": float(mean), "deviation": float(deviation)}
    if name == "randomuniform":
        low, high = config.get("minval", -0.05), config.get("maxval", 0.05)
        return {"kind": "uniform", "low": float(low), "high": float(high)}
    if name in ("zeros", "ones", "constant"):
        number = config.get("value", 0.0) if name == "constant" else float(name == "ones")
        usable = isinstance(number, int | float) and math.isfinite(number)
        return {"kind": "constant", "value": float(number)} if usable else None
    if name == "orthogonal":
        return {"kind": "orthogonal", "gain": float(config.get("gain", 1.0))}
    return None
