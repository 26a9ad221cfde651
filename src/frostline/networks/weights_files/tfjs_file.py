"""TensorFlow.js: `model.json` of two kinds, and shards of bytes beside it.

A layers-model describes Keras layers, a graph-model a GraphDef in JSON. Arrays may be quantised:
a number is `scale * stored + min`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import keras_config, order, tf_protos
from frostline.networks.weights_files.dtypes import decode, stored_size
from frostline.networks.weights_files.paths import beside
from frostline.networks.weights_files.records import (
    Array,
    Graph,
    Node,
    Port,
    Quantisation,
    Tensor,
    WeightsFile,
)
from frostline.networks.weights_files.sources import of_file, whole

_MOST_JSON_BYTES = 256 << 20
_QUANTISED = ("uint8", "uint16")


def recognise(path: Path, head: bytes) -> bool:
    """Says whether this is a model.json with a list of weights, or the folder of one."""
    if path.is_dir():
        return (path / "model.json").is_file()
    if not head.lstrip().startswith(b"{"):
        return False
    return b'"weightsManifest"' in path.read_bytes()[:_MOST_JSON_BYTES]


def read(path: Path) -> WeightsFile:
    """Reads the description; the arrays stay in their shards.

    Raises:
        ValueError: Where this is no whole file of the kind.
        WeightsError: Where a shard is absent, cut short or outside the folder.
    """
    file = path / "model.json" if path.is_dir() else path
    if file.stat().st_size > _MOST_JSON_BYTES:
        raise ValueError(f"more than {_MOST_JSON_BYTES} bytes of JSON")
    model = _table(json.loads(file.read_bytes()), "the file")
    tensors: dict[str, Tensor] = {}
    shards: list[Path] = []
    for group in _list(model.get("weightsManifest"), "weightsManifest"):
        held, used = _group(file, _table(group, "a group of weights"))
        tensors |= held
        shards += used
    topology = model.get("modelTopology")
    is_graph = isinstance(topology, dict) and "node" in topology
    graph = _graph(_table(topology, ""), model) if is_graph else keras_config.graph_of(topology)
    said = {
        "kind": "graph-model" if is_graph else "layers-model",
        "generated_by": model.get("generatedBy"),
        "converted_by": model.get("convertedBy"),
        "keras_version": topology.get("keras_version") if isinstance(topology, dict) else None,
        "model_config": None if is_graph else keras_config.config_of(topology),
        "user_metadata": model.get("userDefinedMetadata"),
    }
    metadata = {key: value for key, value in said.items() if value is not None}
    return WeightsFile(path, "tfjs", tensors, metadata, graph, (file, *shards))


@dataclass(frozen=True)
class _Joined:
    """Shards as one stretch: arrays run across their borders."""

    shards: tuple[Path, ...]
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def read(self, start: int, length: int) -> bytes:
        parts, begin = [], 0
        for shard, size in zip(self.shards, self.sizes, strict=True):
            first, last = max(start, begin), min(start + length, begin + size)
            if first < last:
                parts.append(whole(of_file(shard)).read(first - begin, last - first))
            begin += size
        return b"".join(parts)


def _group(file: Path, group: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[Path]]:
    names = _list(group.get("paths"), "paths")
    shards = tuple(beside(file, name) for name in names if isinstance(name, str))
    joined = _Joined(shards, tuple(shard.stat().st_size for shard in shards))
    tensors: dict[str, Tensor] = {}
    at = 0
    for entry in _list(group.get("weights"), "weights"):
        found = _tensor(_table(entry, "a weight"), joined, at)
        at += found.stored_bytes
        tensors[found.name] = found
    if at > joined.size:
        raise WeightsError(
            f"{shards[-1] if shards else file}: cut short: the arrays of {file.name} take {at} "
            f"bytes, its shards hold {joined.size}. Fetch them again."
        )
    return tensors, list(shards)


def _tensor(entry: Mapping[str, Any], joined: _Joined, at: int) -> Tensor:
    name, shape, dtype = entry.get("name"), entry.get("shape"), entry.get("dtype")
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise ValueError("a weight without a name or a type")
    if not isinstance(shape, list) or not all(type(one) is int for one in shape):
        raise ValueError(f"{name} has a shape that is none")
    if dtype == "string":
        raise WeightsError(
            f"{joined.shards[0]}: refused: {name} holds texts, which are no weights."
        )
    how = entry.get("quantization")
    stored, quantisation = dtype, None
    if how is not None:
        stored, quantisation = _quantised(name, _table(how, f"the quantization of {name}"))
    size = stored_size(stored, shape)
    load = partial(_load, joined, at, size, stored, tuple(shape))
    said = {"original_dtype": dtype} if how is not None else {}
    return Tensor(name, tuple(shape), stored, load, size, quantisation, said)


def _quantised(name: str, how: Mapping[str, Any]) -> tuple[str, Quantisation | None]:
    dtype = how.get("dtype")
    if dtype == "float16":
        return "float16", None
    scale, least = how.get("scale"), how.get("min", 0)
    numbers = all(isinstance(one, (int, float)) for one in (scale, least))
    if dtype not in _QUANTISED or not numbers or not scale:
        raise ValueError(f"{name} is quantised in a way that is not read")
    return str(dtype), Quantisation((float(scale),), (-float(least) / float(scale),))


def _load(joined: _Joined, at: int, size: int, dtype: str, shape: tuple[int, ...]) -> Array:
    return decode(joined.read(at, size), dtype, shape)


def _graph(topology: Mapping[str, Any], model: Mapping[str, Any]) -> Graph:
    library = topology.get("library") or {}
    functions = {}
    for one in _list(_table(library, "library").get("function", []), "function"):
        found = _table(one, "a function")
        signature = _table(found.get("signature"), "a signature")
        body = _nodes(_list(found.get("nodeDef", []), "nodeDef"))
        arguments = _list(signature.get("inputArg", []), "inputArg")
        inputs = tuple(Port(str(_table(a, "an input").get("name")), None, "") for a in arguments)
        functions[str(signature.get("name"))] = Graph(body, inputs)
    nodes = _nodes(_list(topology.get("node"), "node"))
    inputs, outputs = (_signed(model, key) for key in ("inputs", "outputs"))
    if not inputs:
        found_ports = [node for node in nodes if node.op == "Placeholder"]
        inputs = tuple(Port(n.name, n.attributes.get("shape"), "") for n in found_ports)
    graph = Graph(nodes, inputs, outputs, functions)
    order.check(graph, by_node=True)
    return graph


def _signed(model: Mapping[str, Any], key: str) -> tuple[Port, ...]:
    signature = model.get("signature") or _table(model.get("userDefinedMetadata") or {}, "").get(
        "signature"
    )
    ports = signature.get(key) if isinstance(signature, dict) else None
    if not isinstance(ports, dict):
        return ()
    return tuple(
        Port(str(one.get("name", label)), _shape(one.get("tensorShape")), "", label)
        for label, one in ports.items()
        if isinstance(one, dict)
    )


def _nodes(found: Sequence[Any]) -> tuple[Node, ...]:
    nodes = []
    for one in found:
        node = _table(one, "a node")
        name = str(node.get("name"))
        attributes = _table(node.get("attr", {}), f"the attributes of {name}")
        inputs = tuple(str(i) for i in _list(node.get("input", []), "input"))
        plain = {key: _attribute(_table(v, key)) for key, v in attributes.items()}
        nodes.append(Node(name, str(node.get("op")), inputs, (name,), plain))
    return tuple(nodes)


def _attribute(value: Mapping[str, Any]) -> Any:
    for kind, one in value.items():
        if kind == "s":
            return base64.b64decode(str(one))
        if kind == "i":
            return int(one)
        if kind == "f":
            return float(one)
        if kind == "b":
            return bool(one)
        if kind == "type":
            return _dtype(one)
        if kind == "shape":
            return _shape(one)
        if kind == "func":
            return str(_table(one, "a function").get("name"))
        if kind == "list":
            found = _table(one, "a list")
            return tuple(
                _attribute({key: entry}) for key, several in found.items() for entry in several
            )
    return None


def _dtype(value: Any) -> str:
    if isinstance(value, int):
        return tf_protos.dtype_of(value)
    names = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}
    text = str(value)
    return names.get(text, text.removeprefix("DT_").lower())


def _shape(value: Any) -> tuple[int | None, ...] | None:
    if not isinstance(value, dict) or value.get("unknownRank"):
        return None
    sizes = [int(_table(one, "an axis").get("size", 0)) for one in value.get("dim", [])]
    return tuple(None if size < 0 else size for size in sizes)


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no table")
    return value


def _list(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is no list")
    return value
