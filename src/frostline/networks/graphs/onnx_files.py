"""`onnx:FILE`: a network in ONNX."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from frostline.base.errors import BackboneError
from frostline.networks.graphs import onnx_program
from frostline.networks.graphs.calls import needed
from frostline.networks.graphs.onnx import OPERATIONS
from frostline.networks.graphs.opening import Asked, finished, graph_file, one_of
from frostline.networks.graphs.source import GraphSource, RunSource
from frostline.networks.runtimes.names import ONNX
from frostline.networks.translate.network import TranslatedNetwork
from frostline.networks.weights_files.records import Node, Port


def open_file(path: Path, asked: Asked) -> TranslatedNetwork:
    """Opens an `.onnx` file.

    Args:
        path: The file.
        asked: What else was asked for.

    Raises:
        BackboneError: Where it is another file, or holds what cannot be translated.
        WeightsError: Where it is absent, damaged or not safe to read.
    """
    where = str(path)
    file, graph = graph_file(path, "onnx", "in ONNX")
    port = one_of(graph.inputs, asked.input, "input", where)
    inner = [Port(name, None, "", _title(node)) for node in graph.nodes for name in node.outputs]
    output = one_of(graph.outputs, asked.output, "output", where, inner).name
    opset = file.metadata.get("opset", {}).get("ai.onnx", 13)
    nodes = [
        replace(node, attributes={**node.attributes, "_opset": opset})
        for node in needed(
            graph.nodes, [output], [one.name for one in graph.inputs] + [*file.tensors]
        )
    ]
    read = {name for node in nodes for name in node.inputs}
    others = [one.name for one in graph.inputs if one.name in read and one.name != port.name]
    if others:
        raise BackboneError(
            f"{where}: what it gives depends on further inputs: {', '.join(others[:5])}. Name a "
            "tensor that depends on the picture alone with ?output=NAME."
        )
    source = GraphSource(
        where,
        "channels_first",
        port,
        port.name,
        output,
        nodes,
        {name: one.values() for name, one in file.tensors.items() if name in read},
        OPERATIONS,
        _title,
        RunSource(ONNX, partial(onnx_program.cut, path, port.name), port.name, str),
    )
    return finished(source, asked, path, f"onnx:{path.name}")


def _title(node: Node) -> str:
    # PyTorch begins names with a slash; TensorFlow's converters join several by semicolons.
    return node.name.lstrip("/").partition(";")[0] or node.op
