"""The messages that TensorFlow's files share: types, shapes, arrays, attributes, nodes, functions.

Field numbers are those of TensorFlow's `tensor.proto`, `attr_value.proto`, `node_def.proto` and
`function.proto`.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from frostline.networks.weights_files import protobuf
from frostline.networks.weights_files.dtypes import decode, size_of, stored_size
from frostline.networks.weights_files.protobuf import Message
from frostline.networks.weights_files.records import Array, Graph, Node, Port, Tensor
from frostline.networks.weights_files.sources import Span

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "int8",
    12: "uint8",
    13: "int32",
    14: "bfloat16",
    15: "int16",
    16: "uint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    29: "int4",
    30: "uint4",
}
# The fields of a TensorProto with numbers one by one, and how wide each is there (0: varint).
_NUMBERS = {
    "float32": (5, 4),
    "float64": (6, 8),
    "complex64": (9, 4),
    "complex128": (12, 8),
    "int64": (10, 0),
    "bool": (11, 0),
    "uint32": (16, 0),
    "uint64": (17, 0),
    "float16": (13, 0),
    "bfloat16": (13, 0),
    "string": (8, 0),
}
_INTS = (7, 0)
# One number may stand for a whole array; an array of so many is no weight.
_MOST_REPEATED = 1 << 26


def dtype_of(code: int) -> str:
    """Returns a type's name; references to variables count as what they refer to.

    Raises:
        ValueError: Where it is unknown.
    """
    name = DTYPES.get(code - 100 if code > 100 else code)
    if name is None:
        raise ValueError(f"type {code} is unknown")
    return name


def shape_of(found: Message | None) -> tuple[int | None, ...] | None:
    """Returns a TensorShapeProto's axes, or None where the rank is unknown."""
    if found is None or found.number(3):
        return None
    sizes = [one.number(1) for one in found.many(2)]
    return tuple(None if size < 0 else size for size in sizes)


def tensor_of(name: str, found: Message) -> Tensor:
    """Returns a TensorProto as an array by name.

    Raises:
        ValueError: Where type, shape and content do not agree.
    """
    dtype = dtype_of(found.number(1))
    axes = shape_of(found.one(2)) or ()
    if any(axis is None for axis in axes):
        raise ValueError(f"{name} has an axis of unknown length")
    shape = tuple(int(axis or 0) for axis in axes)
    if dtype in ("resource", "variant"):
        raise ValueError(f"{name} is of type {dtype}, which has no numbers")
    content = found.values(4)
    if content and isinstance(content[-1], Span) and content[-1].size and dtype != "string":
        span = content[-1]
        if span.size != stored_size(dtype, shape):
            raise ValueError(f"{name} has {span.size} bytes, which {dtype} {list(shape)} is not")
        return Tensor(name, shape, dtype, partial(_load, span, dtype, shape), span.size)
    return _listed(name, found, dtype, shape)


def _listed(name: str, found: Message, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """An array whose numbers are listed; the last one stands for all that are missing."""
    field, width = _NUMBERS.get(dtype, _INTS)
    size = size_of(shape)
    if dtype == "string":
        values = np.array(list(map(protobuf.as_bytes, found.values(8))), np.bytes_)
    elif width:
        data = protobuf.packed(found.values(field), width)
        one = stored_size(dtype, (1,))
        values = decode(data, dtype, (len(data) // one,))
    else:
        bits = np.array([n & ((1 << 64) - 1) for n in found.numbers(field)], np.uint64)
        one = stored_size(dtype, (1,))
        values = decode(bits.astype(f"<u{one}").tobytes(), dtype, bits.shape)
    if len(values) > size or (size > _MOST_REPEATED and size > len(values)):
        raise ValueError(f"{name} lists {len(values)} numbers for shape {list(shape)}")
    stored = int(values.nbytes)
    return Tensor(name, shape, dtype, partial(_spread, values, shape), stored)


def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    size = size_of(shape)
    if not len(values):
        return np.zeros(shape, values.dtype)
    if len(values) == 1:
        return np.broadcast_to(values.reshape((1,) * len(shape)), shape)
    rest = np.repeat(values[-1:], size - len(values))
    return np.concatenate([values, rest]).reshape(shape)


def _load(span: Span, dtype: str, shape: tuple[int, ...]) -> Array:
    return decode(span.read(), dtype, shape)


def attribute_of(found: Message, name: str = "") -> Any:
    """Returns an AttrValue as a plain value: types by name, shapes as tuples, functions by name.

    Raises:
        ValueError: Where it is none.
    """
    for number, value in found.fields:
        if number == 1:
            return _list_of(found.below(value), name)
        if number == 2:
            return protobuf.as_bytes(value)
        if number == 3:
            return protobuf.as_signed(value)
        if number == 4:
            return protobuf.as_float(value)
        if number == 5:
            return bool(value)
        if number == 6:
            return dtype_of(protobuf.as_signed(value))
        if number == 7:
            return shape_of(found.below(value))
        if number == 8:
            return tensor_of(name, found.below(value))
        if number == 10:
            return found.below(value).text(1)
    return None


def _list_of(found: Message, name: str) -> tuple[Any, ...]:
    floats = protobuf.packed(found.values(4), 4)
    return (
        *map(protobuf.as_bytes, found.values(2)),
        *found.numbers(3),
        *map(float, np.frombuffer(floats, "<f4")),
        *map(bool, found.numbers(5)),
        *(dtype_of(code) for code in found.numbers(6)),
        *(shape_of(one) for one in found.many(7)),
        *(tensor_of(f"{name}_{i}", one) for i, one in enumerate(found.many(8))),
        *(one.text(1) for one in found.many(9)),
    )


def node_of(found: Message) -> Node:
    """Returns a NodeDef as a node; an array among its attributes bears the node's name."""
    name = found.text(1)
    attributes = {key: attribute_of(value, name) for key, value in found.table(5).items()}
    if device := found.text(4):
        attributes["_device"] = device
    return Node(name, found.text(2), found.texts(3), (name,), attributes)


def graph_of(found: Message) -> Graph:
    """Returns a GraphDef as a graph, with its functions by name."""
    nodes = tuple(map(node_of, found.many(1)))
    library = found.one(2)
    functions = {}
    for one in library.many(1) if library else ():
        signature = one.one(1)
        if signature is not None:
            functions[signature.text(1)] = _function(one, signature)
    return Graph(nodes, _placeholders(nodes), (), functions)


def _function(found: Message, signature: Message) -> Graph:
    returns = {entry.text(1): entry.text(2) for entry in found.many(4)}
    nodes = tuple(map(node_of, found.many(3)))
    inputs, outputs = map(_arguments, (signature.many(2), signature.many(3)))
    return Graph(nodes, inputs, outputs, {}, returns)


def _arguments(found: list[Message]) -> tuple[Port, ...]:
    return tuple(Port(one.text(1), None, DTYPES.get(one.number(3), "")) for one in found)


def _placeholders(nodes: tuple[Node, ...]) -> tuple[Port, ...]:
    found = [node for node in nodes if node.op == "Placeholder"]
    return tuple(
        Port(node.name, node.attributes.get("shape"), str(node.attributes.get("dtype") or ""))
        for node in found
    )


def constants(graph: Graph) -> dict[str, Tensor]:
    """Returns the arrays that a graph holds, by the name of the node that gives each."""
    found = {
        node.name: node.attributes["value"]
        for node in graph.nodes
        if node.op == "Const" and isinstance(node.attributes.get("value"), Tensor)
    }
    for name, function in graph.functions.items():
        for key, one in constants(function).items():
            found[f"{name}/{key}"] = replace(one, name=f"{name}/{key}")
    return found
