"""Keras's weights files, of every age, as layers with arrays in the order of the file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from frostline.base.errors import WeightsError
from frostline.networks.keras import hdf5

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
_MOST_LAYERS = 100_000
_DEEPEST = 64


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
class WeightsFile:
    """What a weights file holds.

    Attributes:
        layers: Those with arrays, in the file's order.
        version: Keras's version; empty where it is not told.
        backend: What Keras ran on; empty where it is not told.
        numbered: Whether layers are only numbered, as before Keras 1.
    """

    layers: tuple[FileLayer, ...]
    version: str = ""
    backend: str = ""
    numbered: bool = False


def read_h5(file: Path | BinaryIO, where: str) -> WeightsFile:
    """Reads the weights of an `.h5` file: of a model or of weights alone, of any age of Keras.

    Args:
        file: A path, or an open file.
        where: Its name, for messages.

    Raises:
        WeightsError: Where it is no whole HDF5 file, holds no Keras weights, or leads elsewhere.
    """
    with hdf5.opened(file, where) as root:
        return read_group(root, where)


def read_group(root: Any, where: str) -> WeightsFile:
    """Reads the weights below an open HDF5 group; see `read_h5`."""
    group = hdf5.member(root, "model_weights", where) if hdf5.has(root, "model_weights") else root
    if "layer_names" in group.attrs or "layer_names0" in group.attrs:
        layers = list(_legacy(group, where))
    elif "nb_layers" in group.attrs:
        layers = list(_numbered(group, where))
    elif hdf5.has(group, "layers") or hdf5.has(group, "_layer_checkpoint_dependencies"):
        layers = list(_stored(group, where))
    else:
        raise WeightsError(
            f"{where}: holds no weights of Keras: there must be layer_names, nb_layers or layers."
        )
    return WeightsFile(
        layers=tuple(layers),
        version=hdf5.text(group, "keras_version") or hdf5.text(root, "keras_version"),
        backend=hdf5.text(group, "backend") or hdf5.text(root, "backend"),
        numbered="nb_layers" in group.attrs,
    )


def _legacy(group: Any, where: str) -> Iterator[FileLayer]:
    for name in hdf5.texts(group, "layer_names", where):
        inner = hdf5.member(group, name, where)
        found: dict[str, list[tuple[str, Array]]] = {}
        repeats: dict[tuple[str, str], int] = {}
        for weight in hdf5.texts(inner, "weight_names", where):
            layer, role = split_name(weight, name)
            number = repeats.get((layer, role), 0)
            repeats[(layer, role)] = number + 1
            # The same name again: a layer of that name in another model within this one.
            key = f"{layer}\0{number}" if role else layer
            found.setdefault(key, []).append((role, hdf5.array(inner, weight, where)))
        for key, arrays in found.items():
            yield FileLayer(key.partition("\0")[0], name, "", tuple(arrays))


def split_name(weight: str, group: str) -> tuple[str, str]:
    """Splits `block/conv1/kernel:0` into layer and role; the role is empty where none is known."""
    plain = weight.rpartition(":")[0] or weight
    path, _, last = plain.rpartition("/")
    last_plain = re.sub(r"_\d+$", "", last)
    for word in (last, last_plain):
        if word in _ROLES:
            return path.rpartition("/")[2] or group, _ROLES[word]
    old = _OLD.match(last)
    if old:
        layer = group if last.startswith(f"{group}_") else old["layer"]
        return layer, _ROLES[old["role"]]
    return path.rpartition("/")[2] or group, ""


def _numbered(group: Any, where: str) -> Iterator[FileLayer]:
    count = int(group.attrs["nb_layers"])
    if not 0 <= count <= _MOST_LAYERS:
        raise WeightsError(f"{where}: nb_layers is {count}.")
    for number in range(count):
        inner = hdf5.member(group, f"layer_{number}", where)
        names = [f"param_{index}" for index in range(int(inner.attrs.get("nb_params", 0)))]
        arrays = tuple(("", hdf5.array(inner, name, where)) for name in names)
        if arrays:
            yield FileLayer("", f"layer_{number}", "", arrays)


def _stored(group: Any, where: str) -> Iterator[FileLayer]:
    """Walks a Keras 3 file: `layers/functional/layers/conv2d_1/vars/0`."""
    waiting = [(name, f"{name}") for name in _members(group) if _is_layers(name)]
    while waiting:
        path, told = waiting.pop(0)
        if path.count("/") > _DEEPEST:
            raise WeightsError(f"{where}: groups more than {_DEEPEST} deep.")
        node = hdf5.member(group, path, where)
        if not hasattr(node, "keys"):
            continue
        names = sorted(_members(node), key=_natural)
        if path.endswith("/vars"):
            arrays = tuple(("", hdf5.array(node, name, where)) for name in names)
            store = told.removesuffix("/vars").replace("_layer_checkpoint_dependencies", "layers")
            if arrays:
                name = hdf5.text(node, "name")
                yield FileLayer(name, store.split("/")[1], store, arrays)
            continue
        waiting += [(f"{path}/{name}", f"{told}/{name}") for name in names]


def _members(group: Any) -> list[str]:
    names = list(group.keys())
    if len(names) > _MOST_LAYERS:
        raise WeightsError(f"{group.name}: has {len(names)} members.")
    return names


def _is_layers(name: str) -> bool:
    return name in ("layers", "_layer_checkpoint_dependencies")


def _natural(name: str) -> tuple[str, int]:
    stem, _, number = name.rpartition("_")
    if name.isdigit():
        return "", int(name)
    return (stem, int(number)) if number.isdigit() else (name, 0)
