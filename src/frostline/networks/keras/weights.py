"""Keras's files, of every age, as layers with arrays in the order of the file.

They are read by `networks/weights_files`, which runs nothing of a file and follows none elsewhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from frostline.base.errors import BackboneError, WeightsError
from frostline.networks.weights_files import guarded
from frostline.networks.weights_files.records import Tensor, WeightsFile

Array = NDArray[Any]

_ROLES = {
    "W": "kernel",
    "b": "bias",
    "kernel": "kernel",
    "depthwise_kernel": "depthwise_kernel",
    "pointwise_kernel": "pointwise_kernel",
    "recurrent_kernel": "recurrent_kernel",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "running_mean": "mean",
    # In files of Keras 1 this is the variance, whatever it is called.
    "running_std": "variance",
    "mean": "mean",
    "variance": "variance",
    "count": "count",
    "alpha": "alpha",
    **{f"{kind}_{gate}": f"{kind}_{gate}" for kind in "WUb" for gate in "zrh"},
}
_OLD = re.compile(
    rf"^(?P<layer>.+?)_(?P<role>{'|'.join(sorted(_ROLES, key=len, reverse=True))})(_\d+)?$"
)
_FORMATS = ("keras_h5", "keras", "tfjs")
_OLDER_LAYERS = "_layer_checkpoint_dependencies"


@dataclass(frozen=True)
class FileLayer:
    """A layer of a weights file.

    Attributes:
        name: The layer's name in Keras; empty where the file does not tell.
        group: The name of the group it lies in: itself, or a model around it.
        store: The path of a Keras 3 file; empty in others.
        arrays: Each with its role, such as `kernel`; empty where the file does not tell.
    """

    name: str
    group: str
    store: str
    arrays: tuple[tuple[str, Array], ...]


@dataclass(frozen=True)
class KerasFile:
    """What a file of Keras holds.

    Attributes:
        layers: Those with arrays, in the file's order; each is read when it is asked for.
        config: The model's configuration; None in a file of weights alone.
        version: Keras's version; empty where it is not told.
        backend: What Keras ran on; empty where it is not told.
        numbered: Whether layers are only numbered, as before Keras 1.
        made_by: What kind of file it is, for people.
    """

    layers: tuple[FileLayer, ...]
    config: Mapping[str, Any] | None = None
    version: str = ""
    backend: str = ""
    numbered: bool = False
    made_by: str = ""


def read(path: Path) -> KerasFile:
    """Reads a `.keras` archive, an `.h5` file of any age, or the `model.json` of TF.js.

    Raises:
        BackboneError: Where it is another file.
        WeightsError: Where it is absent, damaged, or not safe to read.
    """
    file = guarded.open_file(path)
    if file.format not in _FORMATS:
        raise BackboneError(
            f"{path}: must be a .keras archive, an .h5 file or a TF.js model.json of Keras; it is "
            f"{file.format}."
        )
    if file.metadata.get("kind") == "graph-model":
        raise BackboneError(f"{path}: is a graph-model of TF.js; layers-models are opened here.")
    version = str(file.metadata.get("keras_version", ""))
    told = {"keras": ".keras", "keras_h5": ".h5", "tfjs": "TF.js layers-model"}[file.format]
    return KerasFile(
        layers=tuple(_layers(file)),
        config=file.metadata.get("model_config"),
        version=version,
        backend=str(file.metadata.get("backend", "")),
        numbered="nb_layers" in file.metadata,
        made_by=f"{told} of Keras {version or '1'}",
    )


def weights_of(path: Path) -> KerasFile:
    """Reads a file for its weights.

    Raises:
        BackboneError: Where it is no file of Keras.
        WeightsError: Where it holds no weights, or is not safe to read.
    """
    found = read(path)
    if not found.layers:
        raise WeightsError(f"{path}: holds no weights of Keras.")
    return found


def _layers(file: WeightsFile) -> Iterator[FileLayer]:
    plain = [one for one in file.tensors.values() if one.attributes.get("kind") != "optimizer"]
    if any(re.search(r"(^|/)vars/\d+$", one.name) for one in plain):
        yield from _stored(plain)
    elif "nb_layers" in file.metadata:
        yield from _grouped(plain, lambda one: (str(one.attributes["layer"]), "", "", 0))
    else:
        yield from _grouped(plain, _Named())


def _stored(tensors: list[Tensor]) -> Iterator[FileLayer]:
    """Reads a Keras 3 file: `layers/functional/layers/conv2d_1/vars/0`."""

    def order(one: Tensor) -> tuple[str, int]:
        store, _, number = one.name.rpartition("/vars/")
        return store, int(number)

    ordered = sorted((one for one in tensors if "/vars/" in one.name), key=order)
    for store in dict.fromkeys(order(one)[0] for one in ordered):
        own = [one for one in ordered if order(one)[0] == store]
        plain = store.replace(_OLDER_LAYERS, "layers")
        group = plain.split("/")[1] if "/" in plain else plain
        name = str(own[0].attributes.get("layer", ""))
        yield FileLayer(name, group, plain, tuple(("", one.values()) for one in own))


# From a tensor to its layer: group, layer, role, and which of several layers of that name.
_Place = tuple[str, str, str, int]


def _grouped(tensors: list[Tensor], place: Callable[[Tensor], _Place]) -> Iterator[FileLayer]:
    found: dict[tuple[str, str, int], list[tuple[str, Array]]] = {}
    for one in tensors:
        group, layer, role, number = place(one)
        found.setdefault((group, layer, number), []).append((role, one.values()))
    for (group, layer, _), arrays in found.items():
        yield FileLayer(layer, group, "", tuple(arrays))


class _Named:
    """Finds the layer of each tensor of a file in the legacy layout, whose names may repeat."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], int] = {}

    def __call__(self, one: Tensor) -> _Place:
        group = str(one.attributes.get("layer", ""))
        layer, role = split_name(str(one.attributes.get("weight", one.name)), group)
        if not role:
            return group, layer, role, 0
        # The same name again: a layer of that name in another model within this one.
        number = self._seen.get((group, layer, role), 0)
        self._seen[(group, layer, role)] = number + 1
        return group, layer, role, number


def split_name(weight: str, group: str) -> tuple[str, str]:
    """Splits `block/conv1/kernel:0` into layer and role; the role is empty where none is known."""
    plain = weight.rpartition(":")[0] or weight
    path, _, last = plain.rpartition("/")
    for word in (last, re.sub(r"_\d+$", "", last)):
        if word in _ROLES:
            return path.rpartition("/")[2] or group, _ROLES[word]
    old = _OLD.match(last)
    if old:
        layer = group if last.startswith(f"{group}_") else old["layer"]
        return layer, _ROLES[old["role"]]
    return path.rpartition("/")[2] or group, ""
