"""A graph of operators in the making, for sources whose graphs compute with tensors freely.

TensorFlow, TFLite and ONNX compute with shapes as they do with pictures. So while nodes are added,
every shape is known: whatever is computed from shapes and constants alone is a NumPy array by then,
and what depends on the picture is a `Value`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frostline.base.errors import BackboneError
from frostline.networks.translate import geometry
from frostline.networks.translate.graph import Graph, Node
from frostline.networks.translate.names import safe_name
from frostline.networks.translate.operators import OPERATORS

Array = NDArray[Any]
# Where a source leaves the number of pictures open, it is this, which no layer has as a size.
OPEN_BATCH = 7919
_MOST_NODES = 20_000
# What settings that cannot be make of torch's layers.
_FAILURES = (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError)
# Stands in a graph for what is not known, until a runtime is put in its place.
HOLE = "hole"
# Of one picture, in one place of a network: 1 GiB.
_MOST_NUMBERS = 1 << 28
# With a number behind, a name is still short enough for a module.
_MOST_CHARACTERS = 190


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the picture.

    Attributes:
        node: The node that gives it.
        shape: In the source's axes, the batch included.
    """

    node: str
    shape: tuple[int, ...]


Operand = Value | Array


@dataclass
class Draft:
    """A graph in the making.

    Attributes:
        where: Its name or file, for messages.
        layout: Where the source holds channels; see `graph.LAYOUTS`.
        batch: How many pictures the source's shapes speak of.
        input_shape: Channels, height and width of the picture.
        made_for: How many pictures the source's own numbers speak of, where it was written for so
            many and is translated for any number; else 0.
        nodes: Those so far.
        arrays: What the layers hold, by layer and role, with axes as PyTorch has them.
    """

    where: str
    layout: str
    batch: int
    input_shape: tuple[int, int, int]
    made_for: int = 0
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    _held: dict[str, Tensor] = field(default_factory=dict)
    _values: dict[str, Value] = field(default_factory=dict)
    _nodes: dict[str, Node] = field(default_factory=dict)

    def picture(self, name: str) -> Value:
        """Adds the input: [n, h, w, c] or [n, c, h, w], as the layout says."""
        if math.prod(self.input_shape) > _MOST_NUMBERS:
            raise BackboneError(f"{self.where}: an input of {list(self.input_shape)} is too large.")
        node = Node(self._free(name), "input", (), {})
        return self._added(node, torch.empty(self.batch, *self.input_shape, device="meta"))

    def add(
        self,
        name: str,
        op: str,
        inputs: Sequence[Value],
        settings: Mapping[str, Any],
        arrays: Mapping[str, Array] | None = None,
    ) -> Value:
        """Adds a node, and finds the shape of what it gives.

        Args:
            name: What the source calls it.
            op: A key of `operators.OPERATORS`.
            inputs: What it reads.
            settings: The operator's.
            arrays: What it holds, by role, with axes as PyTorch has them.

        Raises:
            BackboneError: Where the operator cannot be as its settings ask.
        """
        if len(self.nodes) >= _MOST_NODES:
            raise BackboneError(f"{self.where}: has more than {_MOST_NODES} operations.")
        node = Node(self._free(name), op, tuple(one.node for one in inputs), dict(settings))
        held = [self._held[one.node] for one in inputs]
        try:
            with torch.device("meta"):
                shapes = [tuple(one.shape) for one in held]
                module: nn.Module = OPERATORS[op].build(node.settings, shapes, self.layout).eval()
                given: Tensor = module(*held)
        except (BackboneError, *_FAILURES) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            sizes = " and ".join(str(list(one.shape[1:])) for one in inputs)
            raise BackboneError(
                f"{self.where}: {name!r} ({op}) cannot take {sizes}: {reason}"
            ) from error
        for role, array in (arrays or {}).items():
            self.arrays[(node.name, role)] = tensor_of(array)
        return self._added(node, given)

    def hole(self, name: str, op: str, inputs: Sequence[Value], shape: Sequence[int]) -> Value:
        """Adds a node that cannot be translated; what runs it instead is put in its place later.

        Args:
            name: What the source calls it.
            op: What the source calls its operation.
            inputs: What it reads of the picture; the picture itself where nothing is known.
            shape: Of what it gives, in the source's axes.
        """
        read = tuple(one.node for one in inputs) or (self.nodes[0].name,)
        node = Node(self._free(name), HOLE, read, {"op": op})
        order = geometry.from_source(len(shape), self.layout) or range(len(shape))
        return self._added(node, torch.empty([shape[axis] for axis in order], device="meta"))

    def shape_of(self, node: str) -> tuple[int, ...]:
        """Returns the shape of what a node gives, in the source's axes."""
        return self._values[node].shape

    def held_shape(self, node: str) -> tuple[int, ...]:
        """Returns the shape of what a node gives, in the axes held here."""
        return tuple(self._held[node].shape)

    def graph(self, output: Value, scores: str = "none") -> Graph:
        """Returns the graph whose output is `output`."""
        return Graph(tuple(self.nodes), output.node, self.input_shape, self.layout, scores)

    def node(self, value: Value) -> Node:
        """Returns the node that gives a value."""
        return self._nodes[value.node]

    def read_by(self, value: Value) -> list[Value]:
        """Returns what the node of a value reads."""
        return [self._values[name] for name in self.node(value).inputs]

    def _added(self, node: Node, held: Tensor) -> Value:
        if held.numel() > _MOST_NUMBERS * self.batch:
            raise BackboneError(
                f"{self.where}: {node.name[:80]!r} gives {list(held.shape[1:])} for one picture."
            )
        self.nodes.append(node)
        self._nodes[node.name] = node
        self._held[node.name] = held
        order = geometry.to_source(held.dim(), self.layout) or range(held.dim())
        value = Value(node.name, tuple(held.shape[axis] for axis in order))
        self._values[node.name] = value
        return value

    def _free(self, name: str) -> str:
        plain, number = safe_name(name), 1
        found = plain
        while found in self._nodes:
            number += 1
            found = f"{plain[:_MOST_CHARACTERS]}#{number}"
        return found


def tensor_of(array: Array) -> Tensor:
    """Returns a tensor of its own for an array, of 32 bits where it has fractions."""
    if array.dtype.kind == "f":
        return torch.from_numpy(np.ascontiguousarray(array, np.float32).copy())
    return torch.from_numpy(np.ascontiguousarray(array).copy())
