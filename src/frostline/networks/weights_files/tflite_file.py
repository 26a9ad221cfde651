"""TensorFlow Lite: a FlatBuffer with graphs, tensors and buffers."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from frostline.networks.weights_files import flatbuffers, order
from frostline.networks.weights_files.dtypes import NAMES, decode, stored_size
from frostline.networks.weights_files.flatbuffers import Table
from frostline.networks.weights_files.records import (
    Array,
    Graph,
    Node,
    Port,
    Quantisation,
    Tensor,
    WeightsFile,
)
from frostline.networks.weights_files.sources import Span, of_file, whole
from frostline.networks.weights_files.tflite_schema import (
    ACTIVATIONS,
    CUSTOM,
    DTYPES,
    OPERATIONS,
    OPTIONS,
    PADDINGS,
)

_MAGIC = b"TFL3"
_SCHEMA = 3
_MOST_TENSORS = 1_000_000


def recognise(path: Path, head: bytes) -> bool:
    """Says whether this is a model of TensorFlow Lite."""
    return head[4:8] == _MAGIC


def read(path: Path) -> WeightsFile:
    """Reads the graphs; the arrays stay on disk.

    A tensor without a buffer is computed: it is no weight. Where two tensors bear one name, the
    later ones get their number added.

    Raises:
        ValueError: Where this is no whole file of the kind.
    """
    span = whole(of_file(path))
    if span.read(0, min(8, span.size))[4:] != _MAGIC:
        raise ValueError("it does not begin as a model of TensorFlow Lite does")
    model = flatbuffers.root(span)
    if (version := model.number(0, "uint32")) != _SCHEMA:
        raise ValueError(f"version {version} of the schema, where {_SCHEMA} must be")
    buffers = [_buffer(one, span) for one in model.tables(4)]
    codes = [_operation(one) for one in model.tables(1)]
    graphs, tensors = [], dict[str, Tensor]()
    for i, one in enumerate(model.tables(2)):
        graph, held = _graph(one, codes, buffers, f"{one.text(4) or i}/" if i else "")
        graphs.append(graph)
        tensors |= held
    if not graphs:
        raise ValueError("it holds no graph")
    functions = {str(i): graph for i, graph in enumerate(graphs) if i}
    main = graphs[0]
    graph = Graph(main.nodes, main.inputs, main.outputs, functions)
    said = {"description": model.text(3), "metadata": tuple(m.text(0) for m in model.tables(6))}
    metadata = {key: value for key, value in said.items() if value}
    return WeightsFile(path, "tflite", tensors, metadata, graph, (path,))


def numbers_of(path: Path) -> dict[str, int]:
    """Returns the number of each tensor of the main graph, by the name that `read` gives it.

    Args:
        path: A file that has been read before.
    """
    main = flatbuffers.root(whole(of_file(path))).tables(2)[0]
    return {port.name: i for i, port in enumerate(_ports(main.tables(0), ""))}


def _buffer(found: Table, span: Span) -> Span | None:
    # Files above 2 GiB keep their data behind the FlatBuffer, by offset and size.
    offset, size = found.number(1, "uint64"), found.number(2, "uint64")
    data = span.part(offset, size) if offset > 1 else found.stretch(0)
    return data if data is not None and data.size else None


def _operation(found: Table) -> str:
    # The old field is a byte; where it does not suffice, the new one holds more.
    code = max(found.number(0, "int8"), found.number(3, "int32"))
    if code == CUSTOM:
        return f"CUSTOM.{found.text(1)}"
    return OPERATIONS[code] if 0 <= code < len(OPERATIONS) else f"OPERATION_{code}"


def _graph(
    found: Table, codes: Sequence[str], buffers: Sequence[Span | None], prefix: str
) -> tuple[Graph, dict[str, Tensor]]:
    rows = found.tables(0)
    if len(rows) > _MOST_TENSORS:
        raise ValueError(f"{len(rows)} tensors, more than {_MOST_TENSORS}")
    ports = _ports(rows, prefix)
    held: dict[str, Tensor] = {}
    for row, port in zip(rows, ports, strict=True):
        number = row.number(2, "uint32")
        if number >= len(buffers):
            raise ValueError(f"{port.name} has buffer {number} of {len(buffers)}")
        data = buffers[number]
        if data is not None and not row.number(5, "bool"):
            held[port.name] = _tensor(row, port, data)
    nodes = tuple(_node(one, codes, ports, i) for i, one in enumerate(found.tables(3)))
    inputs, outputs = (_chosen(found.numbers(slot, "int32"), ports) for slot in (1, 2))
    graph = Graph(nodes, inputs, outputs)
    known = [port.name for port in inputs] + list(held)
    # State that is kept between calls is there without a node that gives it.
    known += [p.name for row, p in zip(rows, ports, strict=True) if row.number(5, "bool")]
    order.check(graph, known)
    return graph, held


def _ports(rows: Sequence[Table], prefix: str) -> list[Port]:
    ports: list[Port] = []
    seen: set[str] = set()
    for i, row in enumerate(rows):
        name = prefix + (row.text(3) or f"tensor_{i}")
        name = f"{name}#{i}" if name in seen else name
        seen.add(name)
        code = row.number(1, "int8")
        if not 0 <= code < len(DTYPES):
            raise ValueError(f"{name} is of type {code}, which is unknown")
        shape = row.numbers(7, "int32") or row.numbers(0, "int32")
        axes = tuple(None if axis < 0 else int(axis) for axis in shape)
        ports.append(Port(name, axes, DTYPES[code], "", _quantisation(row, name)))
    return ports


def _quantisation(row: Table, name: str) -> Quantisation | None:
    found = row.table(4)
    scales = found.numbers(2, "float32") if found else ()
    if found is None or not scales:
        return None
    zeros = found.numbers(3, "int64") or (0,) * len(scales)
    if len(zeros) != len(scales):
        raise ValueError(f"{name} has {len(scales)} scales and {len(zeros)} zero points")
    axis = found.number(6, "int32") if len(scales) > 1 else None
    shape = row.numbers(0, "int32")
    if axis is not None and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        raise ValueError(f"{name} has {len(scales)} scales along axis {axis} of {list(shape)}")
    return Quantisation(tuple(map(float, scales)), tuple(map(float, zeros)), axis)


def _tensor(row: Table, port: Port, data: Span) -> Tensor:
    shape = tuple(int(axis) for axis in row.numbers(0, "int32"))
    if port.dtype not in NAMES:
        # Texts and other such constants: how many bytes, and no numbers.
        return Tensor(port.name, shape, port.dtype, partial(_refuse, port), data.size)
    if row.table(6) is not None:
        raise ValueError(f"{port.name} is stored sparsely, which is not read")
    size = stored_size(port.dtype, shape)
    if data.size != size:
        raise ValueError(f"{port.name} has {data.size} bytes, not {size}")
    load = partial(_load, data, port.dtype, shape)
    return Tensor(port.name, shape, port.dtype, load, size, port.quantisation)


def _node(found: Table, codes: Sequence[str], ports: Sequence[Port], index: int) -> Node:
    code = found.number(0, "uint32")
    if code >= len(codes):
        raise ValueError(f"an operation of number {code} of {len(codes)}")
    inputs, outputs = (
        tuple(port.name for port in _chosen(found.numbers(slot, "int32"), ports, absent=True))
        for slot in (1, 2)
    )
    name = outputs[0] if outputs else f"{codes[code]}_{index}"
    return Node(name, codes[code], inputs, outputs, _options(found))


_ABSENT = Port("", None, "")


def _chosen(
    numbers: Sequence[int | float], ports: Sequence[Port], absent: bool = False
) -> tuple[Port, ...]:
    for number in numbers:
        if not (0 <= number < len(ports) or (absent and number == -1)):
            raise ValueError(f"tensor {number} of {len(ports)}")
    return tuple(_ABSENT if number == -1 else ports[int(number)] for number in numbers)


def _options(found: Table) -> dict[str, Any]:
    kind, table = found.number(3, "uint8"), found.table(4)
    if table is None:
        custom = found.stretch(5)
        return {"custom_options": custom.read()} if custom else {}
    plan = OPTIONS.get(kind, ())
    return {
        name: _option(table, slot, how, default)
        for slot, (name, how, default) in enumerate(plan)
        if name
    }


def _option(table: Table, slot: int, kind: str, default: float) -> Any:
    if kind.endswith("[]"):
        return table.numbers(slot, kind.removesuffix("[]"))
    if kind == "float32":
        return table.real(slot, default)
    if kind == "bool":
        return bool(table.number(slot, "bool", int(default)))
    words = {"activation": ACTIVATIONS, "padding": PADDINGS, "dtype": DTYPES}.get(kind)
    if words is None:
        return table.number(slot, kind, int(default))
    code = table.number(slot, "int8", int(default))
    if not 0 <= code < len(words):
        raise ValueError(f"{kind} {code} is unknown")
    return words[code]


def _load(span: Span, dtype: str, shape: tuple[int, ...]) -> Array:
    return decode(span.read(), dtype, shape)


def _refuse(port: Port) -> Array:
    raise ValueError(f"{port.name} is of type {port.dtype}, which has no numbers")
