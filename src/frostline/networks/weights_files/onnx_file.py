"""ONNX: a protocol buffer with the graph and, inside or beside it, the arrays.

Field numbers are those of the `onnx.proto` of the ONNX specification, IR version 13.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import order, protobuf
from frostline.networks.weights_files.dtypes import MOST_BYTES, decode, size_of, stored_size
from frostline.networks.weights_files.paths import beside
from frostline.networks.weights_files.protobuf import Message
from frostline.networks.weights_files.records import Array, Graph, Node, Port, Tensor, WeightsFile
from frostline.networks.weights_files.sources import Span, of_file, whole
from frostline.networks.weights_files.wire_out import field

_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    19: "float8_e5m2",
    21: "uint4",
    22: "int4",
}
_EXTERNAL = 1
# Which field of a TensorProto holds numbers of a type, and how wide each is there.
_FLOATS, _INTS, _LONGS, _DOUBLES, _ULONGS = 4, 5, 7, 10, 11
_NUMBERS = {
    "float32": (_FLOATS, 4),
    "complex64": (_FLOATS, 4),
    "float64": (_DOUBLES, 8),
    "complex128": (_DOUBLES, 8),
    "int64": (_LONGS, 0),
    "uint32": (_ULONGS, 0),
    "uint64": (_ULONGS, 0),
}


def recognise(path: Path, head: bytes) -> bool:
    """Says whether this is a protocol buffer with the fields of a model in ONNX."""
    if not head.startswith(b"\x08"):
        return False
    model = Message(whole(of_file(path)))
    numbers = {number for number, _ in model.fields}
    graph = model.one(7)
    return {1, 7} <= numbers and graph is not None and 8 in numbers


def read(path: Path) -> WeightsFile:
    """Reads the graph; the arrays stay on disk.

    Raises:
        ValueError: Where this is no whole file of the kind.
        WeightsError: Where its arrays lie outside its folder.
    """
    model = Message(whole(of_file(path)))
    body = model.one(7)
    if body is None:
        raise ValueError("a model without a graph")
    tensors = {one.name: one for one in (_tensor(found, path) for found in body.many(5))}
    graph = _graph(body, path, model)
    sparse = [named.text(8) for one in body.many(15) if (named := one.one(1)) is not None]
    order.check(graph, [*tensors, *sparse, *(port.name for port in graph.inputs)])
    files = {found for one in body.many(5) if (found := _external(one, path)) is not None}
    opsets = {one.text(1) or "ai.onnx": one.number(2) for one in model.many(8)}
    metadata = {
        "producer": f"{model.text(2)} {model.text(3)}".strip(),
        "ir_version": model.number(1),
        "opset": opsets,
        "doc": model.text(6),
        **{one.text(1): one.text(2) for one in model.many(14)},
    }
    said = {key: value for key, value in metadata.items() if value not in ("", {})}
    notes = ("It holds sparse arrays, which are not read.",) if body.many(15) else ()
    return WeightsFile(path, "onnx", tensors, said, graph, (path, *sorted(files)), notes)


def is_external(array: Message) -> bool:
    """Tells whether a TensorProto names another file, or any place in one."""
    return array.number(14) == _EXTERNAL or bool(array.values(13))


def within(array: Message, path: Path) -> bytes:
    """Returns a TensorProto that holds its array itself, wherever it lay.

    Raises:
        WeightsError: Where it lies outside the file's folder, or is cut short.
    """
    span = _external_span(array, path)
    if span is None:
        return array.span.read()
    head = [field(1, size) for size in array.numbers(1)]
    named = field(2, array.number(2)) + field(8, array.text(8))
    return b"".join((*head, named, field(9, span.read())))


def _graph(body: Message, path: Path, model: Message | None = None) -> Graph:
    initial = {one.text(8) for one in body.many(5)}
    inputs = tuple(port for port in map(_port, body.many(11)) if port.name not in initial)
    functions = {one.text(1): _function(one, path) for one in model.many(25)} if model else {}
    nodes = tuple(_node(one, i, path) for i, one in enumerate(body.many(1)))
    return Graph(nodes, inputs, tuple(map(_port, body.many(12))), functions)


def _function(body: Message, path: Path) -> Graph:
    nodes = tuple(_node(one, i, path) for i, one in enumerate(body.many(7)))
    inputs = tuple(Port(name, None, "") for name in body.texts(4))
    return Graph(nodes, inputs, tuple(Port(name, None, "") for name in body.texts(5)))


def _node(found: Message, index: int, path: Path) -> Node:
    outputs, op = found.texts(2), found.text(4)
    domain = found.text(7)
    # Names are optional; what a node gives is not, and is unique.
    name = found.text(3) or (outputs[0] if outputs else f"{op}_{index}")
    attributes = {one.text(1): _attribute(one, path) for one in found.many(5)}
    known = domain in ("", "ai.onnx")
    return Node(name, op if known else f"{domain}.{op}", found.texts(1), outputs, attributes)


def _attribute(found: Message, path: Path) -> Any:
    kind, values = found.number(20), dict(found.fields)
    if not kind:
        kind = next((k for k, at in ((1, 2), (2, 3), (3, 4), (4, 5)) if at in values), 0)
    if kind == 1:
        return protobuf.as_float(values.get(2, 0))
    if kind == 2:
        return found.number(3)
    if kind == 3:
        return found.text(4)
    if kind == 4:
        tensor = found.one(5)
        return None if tensor is None else _tensor(tensor, path)
    if kind == 5:
        graph = found.one(6)
        return None if graph is None else _graph(graph, path)
    if kind == 6:
        data = protobuf.packed(found.values(7), 4)
        return tuple(map(float, np.frombuffer(data, "<f4")))
    if kind == 7:
        return found.numbers(8)
    if kind == 8:
        return found.texts(9)
    if kind == 9:
        return tuple(_tensor(one, path) for one in found.many(10))
    if kind == 10:
        return tuple(_graph(one, path) for one in found.many(11))
    raise ValueError(f"attribute {found.text(1)} is of kind {kind}, which is not read")


def _port(found: Message) -> Port:
    kind = found.one(2)
    tensor = kind.one(1) if kind else None
    if tensor is None:
        return Port(found.text(1), None, "")
    shape = tensor.one(2)
    axes = None
    if shape is not None:
        dims = [dict(one.fields) for one in shape.many(1)]
        axes = tuple(protobuf.as_signed(one[1]) if 1 in one else None for one in dims)
    return Port(found.text(1), axes, _DTYPES.get(tensor.number(1), ""))


def _tensor(found: Message, path: Path) -> Tensor:
    name, shape = found.text(8), found.numbers(1)
    code = found.number(2)
    dtype = _DTYPES.get(code)
    if dtype is None:
        raise ValueError(f"{name} is of type {code}, which is unknown")
    if dtype == "string":
        texts = list(map(protobuf.as_bytes, found.values(6)))
        if len(texts) != size_of(shape):
            raise ValueError(f"{name} has {len(texts)} texts, not {size_of(shape)}")
        return Tensor(name, shape, dtype, partial(_texts, texts, shape), sum(map(len, texts)))
    size = stored_size(dtype, shape)
    span = _external_span(found, path) or _raw(found)
    if span is not None:
        if span.size != size:
            raise ValueError(f"{name} has {span.size} bytes, and {dtype} {list(shape)} is {size}")
        return Tensor(name, shape, dtype, partial(_load, span, dtype, shape), size)
    values = _values(found, dtype, size_of(shape))
    if len(values) != size:
        raise ValueError(f"{name} has numbers for {len(values)} bytes, not {size}")
    return Tensor(name, shape, dtype, partial(decode, values, dtype, shape), size)


def _raw(found: Message) -> Span | None:
    raw = found.values(9)
    return raw[-1] if raw and isinstance(raw[-1], Span) else None


def _values(found: Message, dtype: str, count: int) -> bytes:
    if count > MOST_BYTES:
        raise ValueError(f"{count} numbers")
    field, width = _NUMBERS.get(dtype, (_INTS, 0))
    if width:
        return protobuf.packed(found.values(field), width)
    bits = np.array([one & ((1 << 64) - 1) for one in found.numbers(field)], np.uint64)
    # Narrow types lie in wide fields, floats of 16 and 8 bits as their bits; two int4 in one.
    width = max(stored_size(dtype, (1,)), 1)
    return bits.astype(f"<u{width}").tobytes()


def _external(found: Message, path: Path) -> Path | None:
    if found.number(14) != _EXTERNAL:
        return None
    return beside(path, _entries(found).get("location", ""))


def _external_span(found: Message, path: Path) -> Span | None:
    place = _external(found, path)
    if place is None:
        return None
    entries = _entries(found)
    span = whole(of_file(place))
    try:
        start = int(entries.get("offset", "0"))
        length = int(entries.get("length", span.size - start))
        return span.part(start, length)
    except ValueError as error:
        raise WeightsError(
            f"{place}: cut short: {found.text(8)} of {path.name} lies beyond its end. "
            "Fetch it again."
        ) from error


def _entries(found: Message) -> Mapping[str, str]:
    return {one.text(1): one.text(2) for one in found.many(13)}


def _load(span: Span, dtype: str, shape: tuple[int, ...]) -> Array:
    return decode(span.read(), dtype, shape)


def _texts(texts: list[bytes], shape: tuple[int, ...]) -> Array:
    return np.array(texts, np.bytes_).reshape(shape)
