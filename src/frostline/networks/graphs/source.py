"""What a file gives to be translated, whatever its format is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from frostline.networks.graphs.calls import Translate
from frostline.networks.translate.draft import Operand
from frostline.networks.weights_files.records import Node, Port


@dataclass(frozen=True)
class RunSource:
    """How a source's own runtime runs a part of a file.

    Attributes:
        runtime: A key of `runtimes.names.RUNTIMES`.
        cut: Writes what gives some tensors of the picture as a graph of its own.
        input: What the runtime calls the picture.
        name: What the runtime calls a tensor of the file.
    """

    runtime: str
    cut: Callable[[Sequence[str]], bytes]
    input: str
    name: Callable[[str], str]


@dataclass(frozen=True)
class GraphSource:
    """The operations of a file between a picture and an output.

    Attributes:
        where: The file, for messages.
        layout: Where its maps hold channels.
        port: The input, as the file declares it.
        input: The tensor that the input is.
        output: The tensor that the network gives.
        nodes: The operations, each after all that it reads.
        constants: What is there by name, the picture apart.
        table: From the names of the format's operations to functions.
        title: What a node is to be called.
        run: How the source's own runtime runs it; None where none does.
        refused: Why none does, a sentence; empty where nothing is to be said.
    """

    where: str
    layout: str
    port: Port
    input: str
    output: str
    nodes: Sequence[Node]
    constants: Mapping[str, Operand]
    table: Mapping[str, Translate]
    title: Callable[[Node], str]
    run: RunSource | None = None
    refused: str = ""
