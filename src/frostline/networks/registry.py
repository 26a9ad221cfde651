"""The kinds of network there are, in one table; a kind's library is imported when it is needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks.names import NameForm

if TYPE_CHECKING:
    from frostline.networks.kind import NetworkKind


def _timm() -> "NetworkKind":
    from frostline.networks import timm_networks

    return timm_networks


def _torchvision() -> "NetworkKind":
    from frostline.networks import torchvision_networks

    return torchvision_networks


def _keras() -> "NetworkKind":
    from frostline.networks import keras_networks

    return keras_networks


def _python() -> "NetworkKind":
    from frostline.networks import python_networks

    return python_networks


def _transformers() -> "NetworkKind":
    from frostline.networks import transformers_networks

    return transformers_networks


def _tflite() -> "NetworkKind":
    from frostline.networks import graph_networks

    return graph_networks.TFLITE


def _onnx() -> "NetworkKind":
    from frostline.networks import graph_networks

    return graph_networks.ONNX


def _tensorflow() -> "NetworkKind":
    from frostline.networks import graph_networks

    return graph_networks.TENSORFLOW


@dataclass(frozen=True)
class RegisteredKind:
    """A kind of network.

    Attributes:
        form: How its names are written.
        load: Imports what opens it.
        listed: Whether there is a list of its networks; where not, none is asked for.
    """

    form: NameForm
    load: "Callable[[], NetworkKind]"
    listed: bool = False


KINDS: Mapping[str, RegisteredKind] = {
    "timm": RegisteredKind(NameForm("timm:mobilenetv4_conv_small.e2400_r224_in1k"), _timm, True),
    "torchvision": RegisteredKind(NameForm("torchvision:resnet50"), _torchvision, True),
    "transformers": RegisteredKind(
        NameForm("transformers:OWNER/NAME", path="sometimes"), _transformers
    ),
    "keras": RegisteredKind(NameForm("keras:MobileNetV2", path="sometimes"), _keras, True),
    "tflite": RegisteredKind(NameForm("tflite:model.tflite", path="always"), _tflite),
    "onnx": RegisteredKind(NameForm("onnx:model.onnx", path="always"), _onnx),
    "tf": RegisteredKind(NameForm("tf:model.meta", path="always"), _tensorflow),
    "py": RegisteredKind(NameForm("py:package.module:factory"), _python),
}

# Names of folders, which hold a network of any kind.
FOLDERS: Mapping[str, NameForm] = {
    "dir": NameForm("dir:runs/ants/model", path="always"),
    "hub": NameForm("hub:OWNER/NAME"),
    "builtin": NameForm("builtin:efficientnet_lite0"),
}

FORMS: Mapping[str, NameForm] = {**{name: one.form for name, one in KINDS.items()}, **FOLDERS}


def kind_of(kind: str, where: str = "") -> "NetworkKind":
    """Returns the kind of that name.

    Args:
        kind: A key of `KINDS`, such as a record's `kind`.
        where: What asked for it, for messages.

    Raises:
        BackboneError: Where there is no such kind.
    """
    if kind not in KINDS:
        raise BackboneError(
            f"{where}: unknown kind of network {kind!r}; known are {', '.join(KINDS)}."
            + did_you_mean(kind, KINDS)
        )
    return KINDS[kind].load()
