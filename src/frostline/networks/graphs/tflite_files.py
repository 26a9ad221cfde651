"""`tflite:FILE`: a network of TensorFlow Lite, dequantised."""

from pathlib import Path

from frostline.networks.graphs.calls import needed
from frostline.networks.graphs.opening import Asked, finished, graph_file, one_of
from frostline.networks.graphs.source import GraphSource, RunSource
from frostline.networks.graphs.tflite import OPERATIONS, with_dilations
from frostline.networks.runtimes.names import TFLITE
from frostline.networks.translate.network import TranslatedNetwork
from frostline.networks.weights_files import tflite_file
from frostline.networks.weights_files.records import Graph, Node, Port


def open_file(path: Path, asked: Asked) -> TranslatedNetwork:
    """Opens a `.tflite` file.

    Args:
        path: The file.
        asked: What else was asked for.

    Raises:
        BackboneError: Where it is another file, or holds what cannot be translated.
        WeightsError: Where it is absent, damaged or not safe to read.
    """
    where = str(path)
    file, graph = graph_file(path, "tflite", "of TensorFlow Lite")
    port = one_of(graph.inputs, asked.input, "input", where)
    output = _output(graph, asked.output, where)
    nodes = needed(graph.nodes, [output], [port.name, *file.tensors])
    read = {name for node in nodes for name in node.inputs}
    custom = [node.op for node in nodes if node.op.startswith("CUSTOM.")]
    source = GraphSource(
        where,
        "channels_last",
        port,
        port.name,
        output,
        with_dilations(nodes, file.tensors),
        {name: one.values() for name, one in file.tensors.items() if name in read},
        OPERATIONS,
        _title,
        None if custom else _run(path, port.name),
        f"Custom operations are code from elsewhere, and are not run: {', '.join(custom)}."
        if custom
        else "",
    )
    return finished(source, asked, path, f"tflite:{path.name}")


def _run(path: Path, picture: str) -> RunSource:
    """Runs the file as it is; its tensors have numbers."""
    numbers = tflite_file.numbers_of(path)
    return RunSource(
        TFLITE, lambda outputs: path.read_bytes(), str(numbers[picture]), lambda t: str(numbers[t])
    )


def _output(graph: Graph, asked: str, where: str) -> str:
    """Returns the tensor that is meant: an output of the file, or any other by its full name."""
    inner = [
        Port(name, None, "", name.partition(";")[0])
        for node in graph.nodes
        for name in node.outputs
    ]
    return one_of(graph.outputs, asked, "output", where, inner).name


def _title(node: Node) -> str:
    # The converter joins the names of all that it made one operation of.
    return node.name.partition(";")[0]
