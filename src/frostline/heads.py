"""A head's specification and the layers it stands for."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frostline.errors import RecipeError, did_you_mean

KINDS = ("linear", "mlp")


@dataclass(frozen=True)
class HeadSpec:
    """The new layers, worked out from `linear` or `mlp:WIDTH[,WIDTH…][,dropout=P]`.

    Attributes:
        text: As it was written.
        widths: Of the hidden layers; none for a linear head.
        dropout: Before each layer that follows a hidden one, in [0, 1).
        pooling: `avg`, `max` or `flatten`.
    """

    text: str
    widths: tuple[int, ...]
    dropout: float
    pooling: str

    @property
    def is_linear(self) -> bool:
        """Whether there is one layer only."""
        return not self.widths

    @property
    def is_native(self) -> bool:
        """Whether the backbone's own classifier has this form, so that timm can open it."""
        return self.is_linear and self.pooling == "avg"


def parse(text: str, pooling: str = "avg") -> HeadSpec:
    """Works out a specification.

    Raises:
        RecipeError: Saying what a head may be.
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise RecipeError(
            f"head: must be linear or mlp:WIDTH[,WIDTH…][,dropout=P], not {text!r}."
            + did_you_mean(kind, KINDS)
        )
    widths: list[int] = []
    dropout = 0.0
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals and part.isdecimal() and int(part) > 0:
            widths.append(int(part))
        elif equals and key == "dropout" and _is_share(value):
            dropout = float(value)
        else:
            raise RecipeError(
                f"head: {part!r} in {text!r} must be a width, or dropout=P with P in [0, 1)."
            )
    if (kind == "mlp") != bool(widths) or (kind == "linear" and rest):
        raise RecipeError(f"head: write linear, or mlp with at least one width; got {text!r}.")
    return HeadSpec(text, tuple(widths), dropout, pooling)


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


def features(spec: HeadSpec, shape: tuple[int, ...], channels: int) -> tuple[int, int | None]:
    """Returns how many features the pooling gives, and the axis of `shape` that holds channels.

    Args:
        spec: The head.
        shape: Of one image's activation at the top of the suffix.
        channels: The backbone's number of features, by which the axis is known.
    """
    if len(shape) == 1:
        return shape[0], None
    axis = 0 if shape[0] == channels else len(shape) - 1
    flat = int(torch.Size(shape).numel())
    return (flat if spec.pooling == "flatten" else shape[axis]), axis


def build(spec: HeadSpec, shape: tuple[int, ...], channels: int, classes: int) -> nn.Sequential:
    """Returns the head for activations of `shape`; its last layer is the classifier.

    Weights are drawn from torch's generator (Kaiming, as PyTorch's linear layers do).

    Args:
        spec: The head.
        shape: Of one image's activation at the top of the suffix.
        channels: The backbone's number of features.
        classes: How many scores to give.
    """
    width, axis = features(spec, shape, channels)
    layers: list[nn.Module] = [Pool(spec.pooling, axis)]
    for hidden in spec.widths:
        layers += [nn.Linear(width, hidden), nn.ReLU()]
        if spec.dropout:
            layers.append(nn.Dropout(spec.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) < 1
    except ValueError:
        return False
