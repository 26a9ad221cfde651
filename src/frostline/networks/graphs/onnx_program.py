"""A part of an ONNX file as a file of its own, with all its arrays inside."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from frostline.base.errors import BackboneError
from frostline.networks.weights_files import onnx_file
from frostline.networks.weights_files.protobuf import Message, as_bytes
from frostline.networks.weights_files.sources import of_file, whole
from frostline.networks.weights_files.wire_out import field

# Fields of a ModelProto, a GraphProto, a NodeProto and an AttributeProto.
_IR, _GRAPH, _OPSETS, _FUNCTIONS = 1, 7, 8, 25
_NODES, _NAME, _ARRAYS, _INPUTS, _OUTPUTS = 1, 2, 5, 11, 12
_READ, _GIVEN, _ATTRIBUTES, _BODY_NODES = 1, 2, 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
_ARRAY_NAME = 8


def cut(path: Path, picture: str, outputs: Sequence[str]) -> bytes:
    """Returns what gives `outputs` as a model of its own; onnxruntime finds their types itself.

    Args:
        path: The file; it has been read before, and holds together.
        picture: The input.
        outputs: Names of tensors.

    Raises:
        BackboneError: Where a node keeps an array in another file.
    """
    model = Message(whole(of_file(path)))
    body = model.one(_GRAPH)
    assert body is not None
    arrays = {one.text(_ARRAY_NAME): one for one in body.many(_ARRAYS)}
    nodes, read = _needed(body, outputs, {picture, *arrays})
    functions = model.many(_FUNCTIONS)
    _refuse_files(path, [*nodes, *(one for f in functions for one in f.many(_BODY_NODES))])
    inputs = [one for one in body.many(_INPUTS) if one.text(1) == picture]
    graph = [
        *(field(_NODES, one.span.read()) for one in nodes),
        field(_NAME, "part"),
        *(
            field(_ARRAYS, onnx_file.within(one, path))
            for name, one in arrays.items()
            if name in read
        ),
        *(field(_INPUTS, one.span.read()) for one in inputs),
        *(field(_OUTPUTS, field(1, name)) for name in outputs),
    ]
    whole_model = [
        field(_IR, model.number(_IR)),
        field(_GRAPH, b"".join(graph)),
        *(field(_OPSETS, as_bytes(one)) for one in model.values(_OPSETS)),
        *(field(_FUNCTIONS, one.span.read()) for one in functions),
    ]
    return b"".join(whole_model)


def _needed(
    body: Message, outputs: Sequence[str], given: Iterable[str]
) -> tuple[list[Message], set[str]]:
    """Returns the nodes that outputs depend on, in the file's order, and all names they read."""
    nodes = body.many(_NODES)
    makers = {name: i for i, node in enumerate(nodes) for name in node.texts(_GIVEN) if name}
    there, read, chosen = set(given), set(outputs), set[int]()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in there or name not in makers or makers[name] in chosen:
            continue
        chosen.add(makers[name])
        found = _read_by(nodes[makers[name]])
        read |= found
        waiting += found
    return [nodes[i] for i in sorted(chosen)], read


def _read_by(node: Message) -> set[str]:
    """Returns the names of what a node reads, also within the graphs that it runs."""
    found = set(node.texts(_READ))
    for graph in _graphs_of(node):
        for inner in graph.many(_NODES):
            found |= _read_by(inner)
        # What a graph gives may come from outside of it.
        found |= {one.text(1) for one in graph.many(_OUTPUTS)}
    return found


def _graphs_of(node: Message) -> list[Message]:
    attributes = node.many(_ATTRIBUTES)
    return [
        graph
        for one in attributes
        for number in (_SUBGRAPH, _SUBGRAPHS)
        for graph in one.many(number)
    ]


def _refuse_files(path: Path, nodes: Sequence[Message]) -> None:
    """Makes sure that no runtime is told of another file."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        arrays = [
            one
            for a in node.many(_ATTRIBUTES)
            for number in (_TENSOR, _TENSORS)
            for one in a.many(number)
        ]
        for graph in _graphs_of(node):
            waiting += graph.many(_NODES)
            arrays += graph.many(_ARRAYS)
        if any(onnx_file.is_external(one) for one in arrays):
            raise BackboneError(f"{path}: refused: within {node.text(3)!r} it names another file.")
