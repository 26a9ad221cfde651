"""What an operator is: how its module is made, and where that keeps its weights."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

Settings = Mapping[str, Any]
Shape = tuple[int, ...]
# From an operator's settings, the shapes it is fed (batch first, as held here) and the source's
# layout to a module.
Build = Callable[[Settings, Sequence[Shape], str], nn.Module]


@dataclass(frozen=True)
class Operator:
    """What an operator becomes.

    Attributes:
        build: Makes its module.
        weights: For each of its weights the part of the module, where it has parts, and the
            tensor's name there.
        by_feature: Whether it treats each feature of a vector by itself, so that their order
            means nothing to it.
    """

    build: Build
    weights: Mapping[str, tuple[str, str]]
    by_feature: bool = False


def chain(**parts: nn.Module | None) -> nn.Module:
    """Returns the only part, or all in a row under their names."""
    kept = OrderedDict((name, part) for name, part in parts.items() if part is not None)
    return next(iter(kept.values())) if len(kept) == 1 else nn.Sequential(kept)
