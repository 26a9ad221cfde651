"""A Keras model and what was translated from it, with the same random weights."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from frostline.networks.keras.arrays import as_tensor, roles_of
from frostline.networks.keras.config import MODELS, Reading, read
from frostline.networks.translate.arrays import to_state
from frostline.networks.translate.build import Built, build
from frostline.networks.translate.modules import Affine, NormalizeChannels

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend here", allow_module_level=True)

BOUND = 1e-4


def leaves(model: Any) -> Iterator[Any]:
    """Yields the layers that are no models."""
    for layer in model.layers:
        if type(layer).__name__ in MODELS:
            yield from leaves(layer)
        else:
            yield layer


def shaken(model: Any, seed: int = 0) -> Any:
    """Draws all weights anew, so that signals neither vanish nor grow and no branch is silent."""
    draw = np.random.default_rng(seed)
    for layer in leaves(model):
        for weight in layer.weights:
            kind, shape = weight.path.rpartition("/")[2], tuple(weight.shape)
            if kind == "count":
                continue
            if "kernel" in kind:
                alone = "depthwise" in kind or type(layer).__name__ == "DepthwiseConv2D"
                inputs = np.prod(shape[:2] if alone else shape[:-1])
                values = draw.normal(0, (2 / inputs) ** 0.5, shape)
            elif kind == "beta":
                # Around zero, half of each map would be cut off and rounding would grow.
                values = draw.normal(1, 0.1, shape)
            elif kind == "bias" or "mean" in kind:
                values = draw.normal(0, 0.1, shape)
            else:
                values = draw.uniform(0.7, 1.3, shape)
            weight.assign(values.astype("float32"))
    return model


def translated(model: Any, px: int, settle: bool = True) -> tuple[Reading, Built]:
    """Translates a Keras model; its batch norms first take the statistics of noise, as ours do."""
    reading = read(json.loads(model.to_json()), "twin", keras.__version__, (px, px))
    built = build(reading.graph, "twin")
    pairs = list(paired(model, reading))
    arrays = {
        (layer.path, role): as_tensor(
            layer.op, role, keras.ops.convert_to_numpy(weight), False, False
        )
        for source, layer in pairs
        for role, weight in zip(roles_of(layer.op, layer.settings), source.weights, strict=True)
    }
    built.module.load_state_dict(to_state(reading.graph, built, arrays), strict=False)
    if settle:
        _settle(built, [pair for pair in pairs if pair[1].op == "batch_norm"])
    return reading, built


def paired(model: Any, reading: Reading) -> Iterator[tuple[Any, Any]]:
    """Yields each Keras layer with weights beside what was read of it."""
    sources = [layer for layer in leaves(model) if layer.weights]
    layers = [layer for layer in reading.layers if roles_of(layer.op, layer.settings)]
    for source, layer in zip(sources, layers, strict=True):
        assert type(source).__name__ == layer.class_name
        yield source, layer


def _settle(built: Built, pairs: list[tuple[Any, Any]]) -> None:
    norms = [built.module.get_submodule(layer.path) for _, layer in pairs]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    only_norms_train(built)
    with torch.no_grad():
        built.module(noise(built, 12, seed=9))
    built.module.eval()
    for norm, momentum, (source, _) in zip(norms, momenta, pairs, strict=True):
        norm.momentum = momentum
        norm.running_var.clamp_(min=0.05)
        source.moving_mean.assign(norm.running_mean.numpy())
        source.moving_variance.assign(norm.running_var.numpy())


def only_norms_train(built: Built) -> None:
    """Puts batch norms into training mode and keeps what is random still."""
    built.module.train()
    for module in built.module.modules():
        if type(module).__name__ in ("Dropout", "DropExamples"):
            module.eval()


def still(model: Any) -> Any:
    """Takes the chance out of a Keras model's training mode."""
    for layer in leaves(model):
        for rate in ("rate", "drop_path_rate"):
            if hasattr(layer, rate):
                setattr(layer, rate, 0.0)
    return model


def noise(built: Built, images: int, seed: int = 0) -> torch.Tensor:
    """Returns blots [n, c, h, w] from -1 to 1, or 0 to 255 where the first layers scale pixels.

    Pixels of pure noise give pictures so much alike that differences drown in rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = built.shapes[next(iter(built.shapes))]
    first = type(next(built.module.children()))
    scale = (255.0, 0.0) if first in (Affine, NormalizeChannels) else (2.0, -1.0)
    coarse = torch.rand(images, shape[0], 5, 5, generator=generator)
    blots = functional.interpolate(coarse, shape[1:], mode="bilinear")
    fine = torch.rand(images, *shape, generator=generator)
    return (0.7 * blots + 0.3 * fine) * scale[0] + scale[1]


def keras_says(model: Any, images: torch.Tensor, training: bool = False) -> np.ndarray:
    """What Keras makes of [n, c, h, w]."""
    with torch.no_grad():
        last = model(images.permute(0, 2, 3, 1).contiguous(), training=training)
    return np.asarray(keras.ops.convert_to_numpy(last))


def we_say(run: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> np.ndarray:
    """What a translated network makes of it, in Keras's layout."""
    with torch.no_grad():
        last = run(images)
    return last.movedim(1, -1).numpy() if last.dim() == 4 else last.numpy()
