"""What is known of a network, whatever kind it is.

Importing this module imports neither torch nor any library of networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from frostline.networks.weights import Match


@dataclass(frozen=True)
class BackboneRecord:
    """The facts that ride with a network.

    Attributes:
        name: The canonical name, which opens the same network again.
        kind: What builds it, a key of `frostline.networks.registry.KINDS`; for a model folder
            the kind of the network in it.
        architecture: The name of the architecture, as its library has it.
        arguments: What the architecture was built with, as JSON values.
        pretrained_tag: The library's name of the weights; empty for random or local ones.
        preprocessing: How an image becomes its input.
        parameters: The number of parameters of the whole network as opened.
        licence: Of the weights; empty where unknown.
        classes: The names of the weights' own classes, one an output; empty where unknown.
        num_features: The width of the features before the classifier.
    """

    name: str
    kind: str
    architecture: str
    arguments: Mapping[str, Any]
    pretrained_tag: str
    preprocessing: Preprocessing
    parameters: int
    licence: str
    classes: tuple[str, ...]
    num_features: int


@dataclass(frozen=True)
class OpenedBackbone:
    """A network and its facts.

    Attributes:
        record: The facts.
        module: The network, in eval mode.
        extras: The `frostline` block of a model folder's `config.json`; empty elsewhere.
        match: What became of each tensor of `--weights`; None where no such file was given.
        notes: What was left out or assumed when it was opened, a sentence each.
    """

    record: BackboneRecord
    module: "nn.Module"
    extras: Mapping[str, Any] = field(default_factory=dict)
    match: "Match | None" = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BackboneEntry:
    """One line of the list of backbones.

    Attributes:
        name: Opens it.
        input_px: The side of its input.
        licence: Of the weights; empty where unknown.
        interpolation: Of its preprocessing.
        classes: How many the weights tell apart; 0 for features alone.
        default: The device it is the default for, `cpu` or `cuda`, or nothing.
    """

    name: str
    input_px: int
    licence: str
    interpolation: str
    classes: int
    default: str = ""


@dataclass(frozen=True)
class LocalWeights:
    """A weights file that takes the place of the library's own weights.

    Attributes:
        file: Where it lies.
        partial: Load what matches of it and leave the rest random.
        by: How its layers are paired with the network's: `name`, `order`, `graph`, or `auto`.
    """

    file: Path
    partial: bool = False
    by: str = "auto"


def known_licence(value: Any) -> str:
    """Returns a licence's identifier in lower case, or nothing where it says nothing."""
    text = str(value or "").strip().lower()
    return "" if text in {"unknown", "none", "other"} else text
