"""The layers of a head, made of its specification.

Whether layers fit each other is worked out by arithmetic, before any weight is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from frostline.base.errors import RecipeError
from frostline.recipe.head import HeadSpec
from frostline.recipe.head_layers import WEIGHTED, LayerSpec, words

Shape = tuple[int, ...]

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Pool(nn.Module):
    """Turns a map or tokens into one vector per image.

    `avg` passes vectors on: the backbone's own pooling made them.
    """

    def __init__(self, pooling: str, channels_axis: int | None) -> None:
        """Takes the pooling, and which axis (without batch) holds channels, None for a vector."""
        super().__init__()
        self.pooling, self.channels_axis = pooling, channels_axis

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, features] for x [n, *shape]."""
        if self.pooling == "flatten" or self.channels_axis is None:
            return x.flatten(1)
        x = x.movedim(self.channels_axis + 1, 1).flatten(2)
        return x.amax(2) if self.pooling == "max" else x.mean(2)


class Arrange(nn.Module):
    """Moves the channels of an activation to where layers look for them."""

    def __init__(self, source: int, target: int) -> None:
        """Takes the channels' axis (without batch), and the axis to move it to."""
        super().__init__()
        self.source, self.target = source, target

    def forward(self, x: Tensor) -> Tensor:
        """Returns x [n, *shape] with its axes in the other order."""
        return x.movedim(self.source + 1, self.target + 1)


def channels_axis(shape: Shape, channels: int) -> int | None:
    """Returns which axis of one image's activation holds its channels; None for a vector.

    The axis of that length, the first before the last. Where no axis has it, as below the top of
    a backbone, a square tells: the odd axis out. Else the first of a map, the last of tokens.

    Args:
        shape: Of the activation, without batch.
        channels: How many there should be.
    """
    if len(shape) == 1:
        return None
    last = len(shape) - 1
    if shape[0] == channels:
        return 0
    is_square_last = len(shape) == 3 and shape[0] == shape[1] != shape[2]
    return last if shape[last] == channels or len(shape) != 3 or is_square_last else 0


def features(spec: HeadSpec, shape: Shape, channels: int) -> tuple[int, int | None]:
    """Returns how many features the pooling gives, and the axis of `shape` that holds channels.

    Args:
        spec: The head, as text.
        shape: Of one image's activation at the top of the suffix.
        channels: The backbone's number of features, by which the axis is known.
    """
    axis = channels_axis(shape, channels)
    if axis is None:
        return shape[0], None
    flat = int(torch.Size(shape).numel())
    return (flat if spec.pooling == "flatten" else shape[axis]), axis


def build(spec: HeadSpec, shape: Shape, channels: int, scores: int) -> nn.Sequential:
    """Returns the head for activations of `shape`; it gives [n, scores].

    Weights are drawn from torch's generator, as `initialise` says.

    Args:
        spec: The head.
        shape: Of one image's activation at the top of the suffix: [c, h, w], [h, w, c],
            tokens [t, d] or a vector [d].
        channels: How many channels the activation has, by which their axis is known.
        scores: How many to give.

    Raises:
        RecipeError: Where a layer does not fit what comes before it, naming it; before any weight
            is made.
    """
    head = _build_layers if spec.layers else _build_text
    made = head(spec, shape, channels, scores)
    initialise(made, spec.init)
    return made


def _build_text(spec: HeadSpec, shape: Shape, channels: int, scores: int) -> nn.Sequential:
    width, axis = features(spec, shape, channels)
    layers: list[nn.Module] = [Pool(spec.pooling, axis)]
    for hidden in spec.widths:
        layers += [nn.Linear(width, hidden), nn.ReLU()]
        if spec.dropout:
            layers.append(nn.Dropout(spec.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, scores))


def _build_layers(spec: HeadSpec, shape: Shape, channels: int, scores: int) -> nn.Sequential:
    made, here = _arranged(shape, channels)
    giver = "the backbone"
    for number, layer in enumerate(spec.layers):
        fitted = _FIT[layer.type](layer, here, scores)
        if isinstance(fitted, str):
            raise RecipeError(
                f"head.layers.{number} ({_called(layer)}): does not fit {_written(here)}, which "
                f"{giver} gives; {fitted}."
            )
        made.append(fitted.make)
        here, giver = fitted.shape, f"layer {number}"
    if here == (scores, 1, 1):
        made.append(nn.Flatten)
    elif here != (scores,):
        raise RecipeError(
            f"head.layers: must give {scores} scores an image, and {giver} gives "
            f"{_written(here)}; {_way_to_scores(spec, here)}."
        )
    return nn.Sequential(*(make() for make in made))


def _way_to_scores(spec: HeadSpec, here: Shape) -> str:
    last = max(number for number, x in enumerate(spec.layers) if x.type in WEIGHTED)
    if len(here) == 1 and spec.layers[last].out:
        return f"leave out = {spec.layers[last].out} of layer {last} away"
    if len(here) == 1:
        return f"nothing that changes the shape may follow layer {last}, unless it is a global pool"
    return "put a pool of kind global at the end, or a flatten before a last linear"


@dataclass(frozen=True)
class _Fitted:
    """A layer that fits: what makes it, and the shape it gives."""

    make: Callable[[], nn.Module]
    shape: Shape


def _arranged(shape: Shape, channels: int) -> tuple[list[Callable[[], nn.Module]], Shape]:
    """Returns what brings an activation into the order of [c, h, w] or [t, d], and its shape."""
    if not 1 <= len(shape) <= 3:
        raise RecipeError(
            f"head.layers: take a map, tokens or a vector, not {_written(shape)}, which the "
            "backbone gives; put the head elsewhere."
        )
    source, target = channels_axis(shape, channels), 0 if len(shape) == 3 else 1
    if source is None or source == target:
        return [], shape
    rest = [size for axis, size in enumerate(shape) if axis != source]
    rest.insert(target, shape[source])
    return [partial(Arrange, source, target)], tuple(rest)


_NEEDS_MAP = (
    "it needs a map of channels × height × width, so place it before any flatten, linear or "
    "global pool, and the head where the backbone gives a map"
)


def _fit_conv(layer: LayerSpec, shape: Shape, scores: int) -> _Fitted | str:
    if len(shape) != 3:
        return _NEEDS_MAP
    stride, out = layer.stride or 1, layer.out or scores
    same = layer.kernel // 2 if stride == 1 and layer.kernel % 2 else 0
    padding = same if layer.padding < 0 else layer.padding
    sides = _slide(shape, layer.kernel, stride, padding)
    if isinstance(sides, str):
        return sides
    make = partial(nn.Conv2d, shape[0], out, layer.kernel, stride, padding, bias=layer.bias)
    return _Fitted(make, (out, *sides))


def _fit_pool(layer: LayerSpec, shape: Shape, scores: int) -> _Fitted | str:
    if layer.kind == "global" and len(shape) > 1:
        axis = 0 if len(shape) == 3 else 1
        return _Fitted(partial(Pool, "avg", axis), (shape[axis],))
    if len(shape) != 3:
        return _NEEDS_MAP if layer.kind != "global" else "it is a vector already"
    stride, padding = layer.stride or layer.kernel, max(layer.padding, 0)
    sides = _slide(shape, layer.kernel, stride, padding)
    if isinstance(sides, str):
        return sides
    kind = nn.AvgPool2d if layer.kind == "avg" else nn.MaxPool2d
    return _Fitted(partial(kind, layer.kernel, stride, padding), (shape[0], *sides))


def _slide(shape: Shape, kernel: int, stride: int, padding: int) -> Shape | str:
    """Returns height and width of what a window makes of [c, h, w]."""
    widest = min(shape[1:]) + 2 * padding
    if kernel > widest:
        return f"its window must be at most {widest}"
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in shape[1:])


def _fit_linear(layer: LayerSpec, shape: Shape, scores: int) -> _Fitted | str:
    if len(shape) == 3:
        return "put a flatten, or a pool of kind global, before it"
    out = layer.out or scores
    return _Fitted(partial(nn.Linear, shape[-1], out, bias=layer.bias), (*shape[:-1], out))


def _fit_norm(layer: LayerSpec, shape: Shape, scores: int) -> _Fitted | str:
    if layer.kind == "layer":
        layer_norm: Callable[[], nn.Module] = partial(nn.LayerNorm, shape[-1])
        return _Fitted(partial(nn.GroupNorm, 1, shape[0]) if len(shape) == 3 else layer_norm, shape)
    if len(shape) == 2:
        return "batch norm takes a map or a vector, and layer norm takes tokens"
    return _Fitted(partial(nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d, shape[0]), shape)


def _fit_flatten(layer: LayerSpec, shape: Shape, scores: int) -> _Fitted | str:
    return _Fitted(nn.Flatten, (int(torch.Size(shape).numel()),))


def _fit_activation(layer: LayerSpec, shape: Shape, scores: int) -> _Fitted | str:
    return _Fitted(_ACTIVATIONS[layer.kind], shape)


def _fit_dropout(layer: LayerSpec, shape: Shape, scores: int) -> _Fitted | str:
    return _Fitted(partial(nn.Dropout, layer.rate), shape)


_FIT: Mapping[str, Callable[[LayerSpec, Shape, int], _Fitted | str]] = {
    "conv": _fit_conv,
    "pool": _fit_pool,
    "flatten": _fit_flatten,
    "linear": _fit_linear,
    "norm": _fit_norm,
    "activation": _fit_activation,
    "dropout": _fit_dropout,
}


def _called(layer: LayerSpec) -> str:
    """Returns a layer's name in a message: `pool 5 × 5`."""
    return f"{layer.type} {layer.kernel} × {layer.kernel}" if layer.kernel else words(layer)


def _written(shape: Shape) -> str:
    if len(shape) == 1:
        return f"{shape[0]} values"
    if len(shape) == 2:
        return f"{shape[0]} tokens of {shape[1]} values"
    return " × ".join(str(size) for size in shape)


def initialise(head: nn.Module, init: str) -> None:
    """Draws the weights of every conv and linear layer anew, from torch's generator.

    `default` leaves PyTorch's own, uniform within 1/√fan_in. The others set biases to zero:
    `normal` has a deviation of 0.01; `xavier` is uniform (Glorot & Bengio, AISTATS 2010);
    `kaiming` is normal with variance 2/fan_in (He et al., ICCV 2015), for it is the fan in that
    keeps few scores of many features small: 2/fan_out would be 1 for two of them.

    Args:
        head: The layers.
        init: One of `INITS`.
    """
    for layer in head.modules() if init != "default" else ():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        if init == "normal":
            nn.init.normal_(layer.weight, std=0.01)
        elif init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def last_layer(head: nn.Sequential) -> nn.Module:
    """Returns the layer that gives the scores: the last linear or conv of what `build` made."""
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
