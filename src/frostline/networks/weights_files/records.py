"""What a weights file holds, in plain values: tensors, a graph, and what it says of itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# What attributes and metadata are made of: None, bool, int, float, str, bytes, tuples and dicts
# with string keys of these; as an attribute of a node also a Tensor or a Graph.
Value = Any


@dataclass(frozen=True)
class Quantisation:
    """How stored integers stand for numbers: `scale * (stored - zero_point)`.

    Attributes:
        scale: One number, or one a channel.
        zero_point: As many. Not always whole: TensorFlow.js stores a smallest value instead.
        axis: The axis of the channels; None where one scale holds for all.
    """

    scale: tuple[float, ...]
    zero_point: tuple[float, ...]
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """One named array of a file.

    Attributes:
        name: As the file has it; nested names are joined by the format's own separator.
        shape: Its axes, in the file's order.
        dtype: As it is stored: NumPy's name, or `bfloat16`, `float8_e4m3fn`, `int4`, `string` ….
        load: Reads it; see `array`.
        stored_bytes: What it takes in the file.
        quantisation: What stored integers stand for; None where they are the values.
        attributes: What else the file says of it, such as the name it had in the program.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Array] = field(repr=False, compare=False)
    stored_bytes: int
    quantisation: Quantisation | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    def array(self) -> Array:
        """Reads the array as it is stored; types that NumPy lacks are widened, exactly.

        Raises:
            WeightsError: Where the file does not hold what it declares.
        """
        return self.load()

    def values(self) -> Array:
        """Reads the numbers it stands for: dequantised to float32 where it is quantised.

        Raises:
            WeightsError: Where the file does not hold what it declares.
        """
        stored = self.load()
        return stored if self.quantisation is None else dequantised(stored, self.quantisation)


def dequantised(stored: Array, how: Quantisation) -> Array:
    """Returns the numbers that stored integers stand for, as float32."""
    scale, zero = np.asarray(how.scale), np.asarray(how.zero_point)
    if how.axis is not None:
        along = [1] * stored.ndim
        along[how.axis] = -1
        scale, zero = scale.reshape(along), zero.reshape(along)
    numbers: Array = ((stored.astype(np.float64) - zero) * scale).astype(np.float32)
    return numbers


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: The tensor that comes in or goes out there.
        shape: Its axes, None for an unknown length; None as a whole where the rank is unknown.
        dtype: Its type; empty where unknown.
        label: What a signature calls it, where that is another name.
        quantisation: What stored integers stand for.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    label: str = ""
    quantisation: Quantisation | None = None


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes:
        name: Unique within its graph.
        op: The format's own name of the operation.
        inputs: The tensors or nodes it takes, in order, as the format writes them; an empty
            name is an optional input that is left out.
        outputs: The tensors it gives. GraphDef does not name them: there it is the node's name.
        attributes: Its settings.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A network as its file describes it.

    Attributes:
        nodes: In the file's order.
        inputs: What it takes.
        outputs: What it gives; empty where the file does not say.
        functions: Graphs that nodes call by name.
        returns: Of a function, the tensor behind each of its outputs, by the output's name.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    functions: Mapping[str, "Graph"] = field(default_factory=dict)
    returns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightsFile:
    """A weights file, opened: what is large is still on disk.

    Attributes:
        path: What was asked for.
        format: Its name in `formats.FORMATS`.
        tensors: By name, in the file's order.
        metadata: What the file says of itself.
        graph: The network, where the file holds it.
        files: All files it is made of.
        notes: What a reader should know, one sentence each.
    """

    path: Path
    format: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Value] = field(default_factory=dict)
    graph: Graph | None = None
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
