"""`tf:PATH`: a network of TensorFlow: meta graph with checkpoint, SavedModel, frozen, TF.js."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs import variables
from frostline.networks.graphs.opening import Asked, finished, one_of
from frostline.networks.graphs.source import GraphSource, RunSource
from frostline.networks.graphs.tensorflow import OPERATIONS
from frostline.networks.graphs.tf_flat import (
    flat,
    plain_name,
    title,
    without_branches,
)
from frostline.networks.graphs.tf_further import with_dilations
from frostline.networks.graphs.tf_program import PICTURE, TensorFlowParts
from frostline.networks.runtimes.names import TENSORFLOW
from frostline.networks.translate.draft import Operand
from frostline.networks.translate.network import TranslatedNetwork
from frostline.networks.weights_files import formats, guarded
from frostline.networks.weights_files.records import Graph, Node, Port, WeightsFile

_FORMATS = ("meta_graph", "saved_model", "graph_def", "tfjs")
CHECKPOINTS = ("tf_checkpoint", "meta_graph", "saved_model")
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
_TOLD = 5


def open_file(path: Path, asked: Asked) -> TranslatedNetwork:
    """Opens a `.meta` file with its checkpoint, a SavedModel, a frozen `.pb`, or a TF.js model.

    Args:
        path: The file or folder.
        asked: What else was asked for.

    Raises:
        BackboneError: Where it is another file, or holds what cannot be translated.
        WeightsError: Where it is absent, damaged or not safe to read.
    """
    where, file_path = str(path), _described(path)
    own = asked.pretrained and asked.weights is None
    if own:
        guarded.check(file_path)
    file = (formats.open_file if own else formats.open_structure)(file_path)
    if file.format not in _FORMATS or file.graph is None or _is_layers(file):
        raise BackboneError(
            f"{where}: must be a TensorFlow graph: a .meta file, a SavedModel, a frozen .pb or a "
            f"graph-model of TF.js. It is {file.format}, which "
            f"{'keras: opens.' if _is_layers(file) else 'weights inspect tells more of.'}"
        )
    nodes = flat(file.graph, where)
    truths = dict.fromkeys(_switches(nodes), False)
    ends = _Ends(nodes, _inputs(file.graph, nodes), truths, where)
    output = ends.output(file.graph.outputs, asked)
    port = ends.input(output, asked.input)
    source = plain_name(port.name)
    ordered = without_branches(nodes, [output], [source], truths)
    _refuse_inputs(ordered, where)
    held, match = variables.values_of(ordered, _source(file, asked, where))
    if asked.weights is not None and not match.matched:
        names = len(match.missing) + len(match.mismatched)
        why = "has none of their names" if names else "is frozen and has no variables"
        raise BackboneError(
            f"{asked.weights} into {where}: none of {len(match.unexpected)} tensors is used, as "
            f"the graph {why}. Name the .meta file that the checkpoint belongs to."
        )
    values: dict[str, Operand] = {name: np.array(value) for name, value in truths.items()}
    computed = [_filled(node, file) for node in ordered if node.op not in variables.OPERATIONS]
    fixed = {name: np.asarray(value) for name, value in (values | held).items()}
    parts = TensorFlowParts(file_path, file.format, computed, source, port.dtype, fixed)
    runs = file.format != "tfjs"
    found = GraphSource(
        where,
        _layout(ordered, where),
        port,
        source,
        output,
        with_dilations(computed),
        values | held,
        OPERATIONS,
        lambda node: title(node.name),
        RunSource(TENSORFLOW, parts.cut, PICTURE, parts.name) if runs else None,
        "" if runs else "TensorFlow itself does not read TensorFlow.js.",
    )
    told = f"tf:{path.name} ({file.format.replace('_', ' ')})"
    return finished(found, asked, path, told, match if asked.weights or asked.scope else None)


def _source(file: WeightsFile, asked: Asked, where: str) -> variables.Source:
    """Returns where variables come from: the file's own checkpoint, another one, or nowhere."""
    if asked.weights is not None:
        guarded.check(asked.weights)
        found = formats.open_file(asked.weights)
        if found.format not in CHECKPOINTS:
            raise BackboneError(
                f"{asked.weights}: must be a checkpoint of TensorFlow; it is {found.format}."
            )
        into = f"{asked.weights} into {where}"
        return variables.Source(found.tensors, asked.scope, asked.partial, into)
    tensors = file.tensors if asked.pretrained else None
    return variables.Source(tensors, asked.scope, False, where)


def _described(path: Path) -> Path:
    """Returns the file that describes the graph: the `.meta` beside a checkpoint."""
    stem = path.with_name(path.name.removesuffix(".index"))
    if path.is_dir() and (path / "checkpoint").is_file():
        found = sorted(path.glob("*.meta"))
        return found[-1] if found else path
    beside = stem.with_name(f"{stem.name}.meta")
    return beside if not path.is_dir() and beside.is_file() else path


def _is_layers(file: WeightsFile) -> bool:
    return file.format == "tfjs" and file.metadata.get("kind") != "graph-model"


@dataclass(frozen=True)
class _Ends:
    """Where a network begins and ends.

    Attributes:
        nodes: All operations of the file.
        inputs: What it is fed, apart from truth values.
        truths: Truth values that it is fed, such as `is_training`.
        where: The file, for messages.
    """

    nodes: Sequence[Node]
    inputs: Sequence[Port]
    truths: Mapping[str, bool]
    where: str

    def output(self, outputs: Sequence[Port], asked: Asked) -> str:
        """Returns the tensor that is meant: one that depends on a single input."""
        ends = outputs or _loose(self.nodes)
        plain = [replace(one, name=plain_name(one.name)) for one in ends]
        if asked.output:
            found = one_of(plain, plain_name(asked.output), "output", self.where, self._inner())
            return found.name
        fed = [one for one in plain if len(self._read_by(one.name, asked.input)) == 1]
        return one_of(fed, "", "output", self.where).name

    def input(self, output: str, asked: str) -> Port:
        """Returns the input that is meant: the one that the output depends on."""
        if asked:
            return one_of(self.inputs, plain_name(asked), "input", self.where, self._inner())
        return one_of(self._read_by(output, ""), "", "input", self.where)

    def _read_by(self, output: str, asked: str) -> list[Port]:
        names = [plain_name(asked)] if asked else [plain_name(one.name) for one in self.inputs]
        try:
            ordered = without_branches(self.nodes, [output], names, self.truths)
        except BackboneError:
            return []
        read = {name for node in ordered for name in node.inputs}
        return [one for one in self.inputs if plain_name(one.name) in read & {*names}]

    def _inner(self) -> list[Port]:
        return [
            Port(name, _declared(node, i), "", title(name))
            for node in self.nodes
            for i, name in enumerate(node.outputs)
        ]


def _loose(nodes: Sequence[Node]) -> list[Port]:
    """Returns what nothing reads."""
    read = {name for node in nodes for name in node.inputs}
    return [Port(node.name, None, "") for node in nodes if not read & {*node.outputs}]


def _switches(nodes: Sequence[Node]) -> list[str]:
    """Returns the truth values that a graph is fed: whether it trains, which it does not here."""
    return [
        node.name
        for node in nodes
        if node.op in _PLACEHOLDERS and node.attributes.get("dtype") == "bool"
    ]


def _inputs(graph: Graph, nodes: Sequence[Node]) -> list[Port]:
    shapes = {node.name: node.attributes.get("shape") for node in nodes}
    return [
        replace(port, shape=port.shape or shapes.get(plain_name(port.name)))
        for port in graph.inputs
        if port.dtype != "bool"
    ]


def _declared(node: Node, index: int) -> tuple[int | None, ...] | None:
    shapes = node.attributes.get("_output_shapes", ())
    found = shapes[index] if isinstance(shapes, tuple) and index < len(shapes) else None
    return found if isinstance(found, tuple) else None


def _refuse_inputs(nodes: Sequence[Node], where: str) -> None:
    others = [node.name for node in nodes if node.op in _PLACEHOLDERS]
    if others:
        raise BackboneError(
            f"{where}: what it gives depends on further inputs: {', '.join(others[:_TOLD])}. Name "
            "a tensor that depends on the picture alone with ?output=NAME, or one above them as "
            "the picture with ?input=NAME."
        )


def _layout(nodes: Sequence[Node], where: str) -> str:
    told = {node.attributes.get("data_format") for node in nodes}
    found = {one for one in told if one in (b"NHWC", b"NCHW")}
    if len(found) > 1:
        raise BackboneError(f"{where}: its operations hold channels both first and last.")
    return "channels_first" if found == {b"NCHW"} else "channels_last"


def _filled(node: Node, file: WeightsFile) -> Node:
    """Gives a constant of TF.js its array, which lies in a file beside the graph."""
    if node.op != "Const" or file.format != "tfjs" or node.name not in file.tensors:
        return node
    return replace(node, attributes={**node.attributes, "value": file.tensors[node.name]})
