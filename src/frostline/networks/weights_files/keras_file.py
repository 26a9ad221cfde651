"""Keras's files of all ages: full models and weights in HDF5, and the `.keras` archive.

- Weights of Keras 2, and those of a full model: `layer_names`, and `weight_names` of each layer.
- Weights of Keras 1's first year: `nb_layers`, and `nb_params` of each layer.
- Weights of Keras 3: groups `vars` with members 0, 1 …
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frostline.networks.weights_files import hdf5, keras_config, zips
from frostline.networks.weights_files.records import Graph, Tensor, Value, WeightsFile
from frostline.networks.weights_files.sources import Span, of_file, whole

_CONFIG, _WEIGHTS, _ABOUT = "config.json", "model.weights.h5", "metadata.json"
_MOST_JSON_BYTES = 64 << 20
_OPTIMIZER = "optimizer"
# What Keras writes into a full model besides its weights, and says nothing of a network.
_DROPPED = ("layer_names", "weight_names", "model_config", "training_config")


def recognise_h5(path: Path, head: bytes) -> bool:
    """Says whether this is an HDF5 file."""
    return head.startswith(hdf5.MAGIC)


def recognise_archive(path: Path, head: bytes) -> bool:
    """Says whether this is a `.keras` archive."""
    return head.startswith(b"PK\x03\x04") and {_CONFIG, _WEIGHTS} <= set(zips.members(path))


def read_h5(path: Path) -> WeightsFile:
    """Reads names, shapes and descriptions; the arrays stay on disk.

    Raises:
        ValueError: Where it is damaged, or a data set is not safe to read.
        WeightsError: Where h5py is not installed.
    """
    span = whole(of_file(path))
    tensors, said = _weights(span)
    config = hdf5.json_of(said, "model_config")
    graph = keras_config.graph_of(config)
    metadata = {key: value for key, value in said.items() if not key.startswith(_DROPPED)}
    if config is not None:
        metadata["model_config"] = config
    if (training := hdf5.json_of(said, "training_config")) is not None:
        metadata["training_config"] = training
    return WeightsFile(path, "keras_h5", tensors, metadata, graph, (path,))


def read_archive(path: Path) -> WeightsFile:
    """Reads a `.keras` archive: its description, and the weights within.

    Raises:
        ValueError: Where it is damaged, or a data set is not safe to read.
        WeightsError: Where h5py is not installed.
    """
    members = zips.members(path)
    if not {_CONFIG, _WEIGHTS} <= set(members):
        raise ValueError(f"an archive without {_CONFIG} and {_WEIGHTS}")
    config = _json(members[_CONFIG])
    about = _json(members[_ABOUT]) if _ABOUT in members else {}
    tensors, said = _weights(members[_WEIGHTS].span())
    graph: Graph | None = keras_config.graph_of(config)
    facts = about if isinstance(about, dict) else {}
    metadata = {**said, **facts, "model_config": config}
    return WeightsFile(path, "keras", tensors, metadata, graph, (path,))


def _json(member: zips.Member) -> Any:
    if member.size > _MOST_JSON_BYTES:
        raise ValueError(f"{member.name} is larger than {_MOST_JSON_BYTES} bytes")
    return json.loads(member.span().read())


def _weights(span: Span) -> tuple[dict[str, Tensor], dict[str, Value]]:
    with hdf5.opened(span) as file:
        said = hdf5.attributes(file)
        root, base = file, ""
        if "model_weights" in file:
            root, base = hdf5.member(file, "model_weights"), "model_weights/"
            # Versions are told with the weights, in Keras 1 files only there.
            said = {**hdf5.attributes(root), **said}
        found: dict[str, Tensor] = {}
        for name, path, item, about in _listed(root, said, base):
            tensor = hdf5.tensor(name, path, item, span, about)
            if tensor is not None:
                found[name] = tensor
        if base:
            found |= _optimizer(file, span)
    return found, said


_Listed = Iterator[tuple[str, str, Any, dict[str, Value]]]


def _listed(root: Any, said: Mapping[str, Value], base: str) -> _Listed:
    """Yields each weight's name, its path in the file, the data set and what is said of it."""
    layers = hdf5.names(dict(said), "layer_names")
    if layers is not None:
        yield from _by_layer_names(root, layers, base)
    elif type(said.get("nb_layers")) is int:
        yield from _by_number(root, said["nb_layers"], base)
    else:
        for path, item in hdf5.datasets(root):
            yield path, f"{base}{path}", item, _keras3(root, path)


def _by_layer_names(root: Any, layers: tuple[str, ...], base: str) -> _Listed:
    for layer in layers:
        group = hdf5.member(root, layer)
        for weight in hdf5.names(hdf5.attributes(group), "weight_names") or ():
            path = f"{layer}/{weight}"
            item = hdf5.checked(path, hdf5.member(group, weight))
            yield path, f"{base}{path}", item, {"layer": layer, "weight": weight}


def _by_number(root: Any, count: int, base: str) -> _Listed:
    for number in range(count):
        layer = f"layer_{number}"
        group = hdf5.member(root, layer)
        params = hdf5.attributes(group).get("nb_params")
        for i in range(params if type(params) is int else 0):
            path = f"{layer}/param_{i}"
            item = hdf5.checked(path, hdf5.member(group, f"param_{i}"))
            yield path, f"{base}{path}", item, {"layer": layer}


def _keras3(root: Any, path: str) -> dict[str, Value]:
    """What Keras 3 says of a variable: recent versions keep the layer's real name."""
    above, _, _ = path.rpartition("/")
    about: dict[str, Value] = {"kind": _OPTIMIZER} if path.startswith(_OPTIMIZER) else {}
    name = hdf5.attributes(hdf5.member(root, above)).get("name") if above else None
    return about | ({"layer": name} if name else {})


def _optimizer(file: Any, span: Span) -> dict[str, Tensor]:
    if "optimizer_weights" not in file:
        return {}
    found = {}
    for path, item in hdf5.datasets(hdf5.member(file, "optimizer_weights")):
        name = f"optimizer_weights/{path}"
        tensor = hdf5.tensor(name, name, item, span, {"kind": _OPTIMIZER})
        if tensor is not None:
            found[name] = tensor
    return found
