"""A part of a TensorFlow graph as a GraphDef of its own: variables as constants, calls written out.

Attributes are copied as the file has them. Field numbers are those of TensorFlow's `graph.proto`,
`node_def.proto`, `attr_value.proto` and `tensor.proto`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs.calls import needed
from frostline.networks.graphs.tf_flat import ORIGIN
from frostline.networks.translate.draft import Array
from frostline.networks.weights_files import tf_graph_file
from frostline.networks.weights_files.protobuf import Message, as_bytes
from frostline.networks.weights_files.records import Node
from frostline.networks.weights_files.wire_out import field

_NODE, _LIBRARY, _FUNCTION = 1, 2, 1
_SIGNATURE, _FUNCTION_NODE = 1, 3
_NAME, _OP, _READ, _ATTRIBUTE = 1, 2, 3, 5
_TYPE, _TENSOR = 6, 8
_DTYPE, _SHAPE, _CONTENT = 1, 2, 4
_CODES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}
PICTURE = "frostline/picture"
# What only hands on, where nothing else is known of it.
_HANDS_ON = ("Identity", "ReadVariableOp")


@dataclass(frozen=True)
class TensorFlowParts:
    """What a part of a graph is cut from.

    Attributes:
        path: The file.
        kind: Its format.
        nodes: The operations between the picture and an output, each after all that it reads.
        picture: The tensor that the picture is.
        dtype: The picture's type.
        fixed: Values of variables and the like, by tensor.
    """

    path: Path
    kind: str
    nodes: Sequence[Node]
    picture: str
    dtype: str
    fixed: Mapping[str, Array]

    def cut(self, outputs: Sequence[str]) -> bytes:
        """Returns what gives `outputs` as a GraphDef.

        Raises:
            BackboneError: Where an operation is not in the file as it is meant, or a value is of a
                type that constants do not have.
        """
        chosen = needed(self.nodes, outputs, [self.picture, *self.fixed])
        read = {self.name(name) for node in chosen for name in node.inputs}
        made = [_placeholder(self.dtype)]
        made += [_constant(name, value) for name, value in self.fixed.items() if name in read]
        made += [self._node(node) for node in chosen if node.outputs[0] not in self._same]
        library = [field(_FUNCTION, one.span.read()) for one in self._called(chosen)]
        nodes = [field(_NODE, one) for one in made]
        return b"".join((*nodes, *([field(_LIBRARY, b"".join(library))] if library else [])))

    def name(self, tensor: str) -> str:
        """Returns what the part calls a tensor: what only hands on is left out."""
        while tensor in self._same:
            tensor = self._same[tensor]
        return tensor

    @cached_property
    def _body(self) -> Message:
        return tf_graph_file.definition(self.path, self.kind)

    @cached_property
    def _functions(self) -> dict[str, Message]:
        found = [one for library in self._body.many(_LIBRARY) for one in library.many(_FUNCTION)]
        signatures = [one.one(_SIGNATURE) for one in found]
        return {
            told.text(1): one
            for told, one in zip(signatures, found, strict=True)
            if told is not None
        }

    @cached_property
    def _raw(self) -> dict[tuple[str, str], Message]:
        """All nodes of the file, by the function that they lie in and their name."""
        found = {("", one.text(_NAME)): one for one in self._body.many(_NODE)}
        for inside, function in self._functions.items():
            found |= {(inside, one.text(_NAME)): one for one in function.many(_FUNCTION_NODE)}
        return found

    def _called(self, chosen: Sequence[Node]) -> list[Message]:
        """Returns the functions that nodes call, and those that these call."""
        raw = [self._raw.get(node.attributes.get(ORIGIN, ("", ""))) for node in chosen]
        waiting = [one for one in raw if one is not None]
        found: dict[str, Message] = {}
        while waiting:
            for name in _functions_of(waiting.pop()):
                if name in self._functions and name not in found:
                    found[name] = self._functions[name]
                    waiting += found[name].many(_FUNCTION_NODE)
        return list(found.values())

    @cached_property
    def _same(self) -> dict[str, str]:
        """What only hands on, with what it reads: it was put in for a call or a branch."""
        found = {node.outputs[0]: node.inputs[0] for node in self.nodes if self._hands_on(node)}
        return {**found, self.picture: PICTURE}

    def _hands_on(self, node: Node) -> bool:
        if node.op not in _HANDS_ON or len(node.inputs) != 1:
            return False
        found = self._raw.get(node.attributes.get(ORIGIN, ("", "")))
        return node.op == "ReadVariableOp" or found is None or found.text(_OP) != node.op

    def _node(self, node: Node) -> bytes:
        found = self._raw.get(node.attributes.get(ORIGIN, ("", "")))
        if found is None or found.text(_OP) != node.op:
            raise BackboneError(f"{self.path}: {node.name[:80]!r} cannot be run apart.")
        attributes = [
            as_bytes(one)
            for one in found.values(_ATTRIBUTE)
            if not found.below(one).text(1).startswith("_")
        ]
        return b"".join(
            (
                field(_NAME, node.name),
                field(_OP, node.op),
                *(field(_READ, self.name(name)) for name in node.inputs),
                *(field(_ATTRIBUTE, one) for one in attributes),
            )
        )


def _functions_of(node: Message) -> list[str]:
    """Returns the names of the functions that a node calls."""
    found = [node.text(_OP)]
    for value in node.table(_ATTRIBUTE).values():
        listed = value.one(1)
        calls = [*value.many(10), *(listed.many(9) if listed is not None else [])]
        found += [one.text(1) for one in calls]
    return found


def _placeholder(dtype: str) -> bytes:
    kind = field(_TYPE, _CODES.get(dtype, 1))
    return field(_NAME, PICTURE) + field(_OP, "Placeholder") + _attribute("dtype", kind)


def _constant(name: str, value: Array) -> bytes:
    code = _CODES.get(value.dtype.name)
    if code is None:
        raise BackboneError(f"the value of {name[:80]!r} is of type {value.dtype}.")
    sizes = b"".join(field(2, field(1, size)) for size in value.shape)
    content = np.ascontiguousarray(value).tobytes()
    tensor = field(_DTYPE, code) + field(_SHAPE, sizes) + field(_CONTENT, content)
    return b"".join(
        (
            field(_NAME, name),
            field(_OP, "Const"),
            _attribute("dtype", field(_TYPE, code)),
            _attribute("value", field(_TENSOR, tensor)),
        )
    )


def _attribute(name: str, value: bytes) -> bytes:
    return field(_ATTRIBUTE, field(1, name) + field(2, value))
