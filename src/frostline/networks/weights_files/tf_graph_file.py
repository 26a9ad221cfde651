"""TensorFlow's graphs on disk: a frozen GraphDef, a MetaGraph with its checkpoint, a SavedModel.

Nothing is executed. Field numbers are those of TensorFlow's `meta_graph.proto`,
`saved_model.proto` and `graph.proto`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import order, tf_checkpoint
from frostline.networks.weights_files.protobuf import Message
from frostline.networks.weights_files.records import Graph, Port, Tensor, WeightsFile
from frostline.networks.weights_files.sources import of_file, whole
from frostline.networks.weights_files.tf_protos import DTYPES, constants, graph_of, shape_of

SAVED_MODEL = "saved_model.pb"
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
_SHOWN = 3


def recognise_saved_model(path: Path, head: bytes) -> bool:
    """Says whether this is the folder of a SavedModel, or the file in it."""
    if path.is_dir():
        return (path / SAVED_MODEL).is_file()
    return path.name == SAVED_MODEL or head[:3] == b"\x08\x01\x12"


def recognise_meta_graph(path: Path, head: bytes) -> bool:
    """Says whether this is a meta graph: a description first, then a graph."""
    if not head.startswith(b"\x0a"):
        return False
    message = Message(whole(of_file(path)))
    about = message.one(1)
    numbers = {number for number, _ in message.fields}
    return about is not None and 2 in numbers and not about.text(2).isidentifier()


def recognise_graph(path: Path, head: bytes) -> bool:
    """Says whether this is a graph: nodes, each with a name and an operation."""
    if not head.startswith(b"\x0a"):
        return False
    message = Message(whole(of_file(path)))
    first = next(iter(message.many(1)), None)
    return first is not None and bool(first.text(1)) and first.text(2).isidentifier()


def read_graph(path: Path) -> WeightsFile:
    """Reads a frozen graph: its arrays are constants of its nodes.

    Raises:
        ValueError: Where it is damaged.
        WeightsError: Where it has variables, whose values are elsewhere.
    """
    graph = _checked(graph_of(Message(whole(of_file(path)))))
    lost = _variables(graph)
    if lost:
        raise WeightsError(
            f"{path}: {len(lost)} variables without values ({_few(lost)}). Name the checkpoint or "
            "the meta graph that belongs to it, or freeze the graph."
        )
    outputs = _loose_ends(graph)
    return WeightsFile(
        path, "graph_def", constants(graph), {}, replace(graph, outputs=outputs), (path,)
    )


def read_meta_graph(path: Path) -> WeightsFile:
    """Reads a meta graph, and the checkpoint of the same name beside it.

    Raises:
        ValueError: Where either is damaged.
        WeightsError: Where it has variables and there is no checkpoint.
    """
    stem = path.with_name(path.name.removesuffix(".meta"))
    return _with_checkpoint(path, "meta_graph", Message(whole(of_file(path))), stem)


def read_structure(path: Path) -> WeightsFile:
    """Reads a meta graph without the values of its variables.

    Raises:
        ValueError: Where it is damaged.
    """
    meta = Message(whole(of_file(path)))
    body = meta.one(2)
    if body is None:
        raise ValueError("it holds no graph")
    signatures = {name: _signature(one) for name, one in meta.table(5).items()}
    graph = _checked(_with_ports(graph_of(body), signatures))
    return WeightsFile(path, "meta_graph", {}, {}, graph, (path,))


def read_saved_model(path: Path) -> WeightsFile:
    """Reads a SavedModel: its first graph that is for serving, and `variables/`.

    Raises:
        ValueError: Where either is damaged.
        WeightsError: Where it has variables and their values are not there.
    """
    file = path / SAVED_MODEL if path.is_dir() else path
    model = Message(whole(of_file(file)))
    graphs = model.many(2)
    chosen = _served(graphs)
    found = _with_checkpoint(file, "saved_model", chosen, file.parent / "variables" / "variables")
    notes = found.notes
    if len(graphs) > 1:
        told = ", ".join("+".join(_tags(one)) or "untagged" for one in graphs)
        notes += (f"It holds {len(graphs)} graphs ({told}); one is read.",)
    return replace(found, path=path, notes=notes)


def definition(path: Path, kind: str) -> Message:
    """Returns the GraphDef of a file that has been read before, as it lies there.

    Args:
        path: The file, or the folder of a SavedModel.
        kind: Its format: `graph_def`, `meta_graph` or `saved_model`.

    Raises:
        ValueError: Where it holds none.
    """
    model = Message(whole(of_file(path / SAVED_MODEL if path.is_dir() else path)))
    if kind == "graph_def":
        return model
    body = (_served(model.many(2)) if kind == "saved_model" else model).one(2)
    if body is None:
        raise ValueError("it holds no graph")
    return body


def _served(graphs: Sequence[Message]) -> Message:
    """Returns the first graph that is for serving, else the first one."""
    if not graphs:
        raise ValueError("it holds no graph")
    serving = [one for one in graphs if "serve" in _tags(one)]
    return (serving or graphs)[0]


def _with_checkpoint(path: Path, kind: str, meta: Message, stem: Path) -> WeightsFile:
    body = meta.one(2)
    if body is None:
        raise ValueError("it holds no graph")
    signatures = {name: _signature(one) for name, one in meta.table(5).items()}
    graph = _checked(_with_ports(graph_of(body), signatures))
    wanted = _variables(graph)
    tensors: dict[str, Tensor] = {}
    files, notes = [path], []
    if tf_checkpoint.index_of(stem) is not None:
        values = tf_checkpoint.read(stem)
        tensors |= values.tensors
        files += values.files
        lost = _without_values(wanted, values.tensors)
        if lost:
            notes.append(f"Variables without values: {len(lost)} ({_few(lost)}).")
    elif wanted:
        raise WeightsError(
            f"{path}: {len(wanted)} variables without values ({_few(wanted)}): "
            f"{stem.name}.index is not there. Fetch the checkpoint as well."
        )
    fixed = {
        name: replace(one, attributes={"kind": "constant"})
        for name, one in constants(graph).items()
        if name not in tensors and one.dtype != "string"
    }
    about = meta.one(1)
    said: dict[str, Any] = {
        "tensorflow_version": about.text(5) if about else "",
        "tags": _tags(meta),
        "signatures": tuple(signatures),
        "collections": tuple(sorted(meta.table(4))),
        "functions": len(graph.functions),
        "variables": wanted,
    }
    metadata = {key: value for key, value in said.items() if value not in ("", (), 0)}
    return WeightsFile(path, kind, tensors | fixed, metadata, graph, tuple(files), tuple(notes))


def _tags(meta: Message) -> tuple[str, ...]:
    about = meta.one(1)
    return about.texts(4) if about else ()


def _signature(found: Message) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    inputs, outputs = (
        tuple(
            Port(one.text(1), shape_of(one.one(3)), DTYPES.get(one.number(2), ""), label)
            for label, one in found.table(number).items()
        )
        for number in (1, 2)
    )
    return inputs, outputs


def _with_ports(graph: Graph, signatures: Mapping[str, Any]) -> Graph:
    """Takes inputs and outputs from the signature for serving, else from the graph itself."""
    usual = [name for name in signatures if name == "serving_default"]
    named = [name for name in signatures if not name.startswith("__")]
    for name in (*usual, *named):
        inputs, outputs = signatures[name]
        if inputs and outputs:
            return replace(graph, inputs=inputs, outputs=outputs)
    return replace(graph, outputs=_loose_ends(graph))


# What ends a graph without being an output of the network.
_NO_OUTPUT = ("Const", "NoOp", "Assign", "SaveV2", "RestoreV2", "Placeholder", "MergeV2Checkpoints")
_NO_OUTPUT_PARTS = ("save/", "gradients/", "report_uninitialized", "init", "Adam", "Initializer")


def _loose_ends(graph: Graph) -> tuple[Port, ...]:
    used = {order.node_behind(name) for node in graph.nodes for name in node.inputs}
    ends = [
        node
        for node in graph.nodes
        if node.name not in used
        and node.op not in (*_NO_OUTPUT, *_VARIABLES)
        and not any(part in node.name for part in _NO_OUTPUT_PARTS)
        and not node.op.startswith(("Assign", "Apply", "Save", "Restore"))
    ]
    return tuple(Port(node.name, None, str(node.attributes.get("T") or "")) for node in ends)


def _checked(graph: Graph) -> Graph:
    order.check(graph, by_node=True)
    for function in graph.functions.values():
        order.check(function, [port.name for port in function.inputs], by_node=True)
    return graph


def _variables(graph: Graph) -> tuple[str, ...]:
    """Returns the names under which a graph keeps its variables."""
    found = []
    for node in graph.nodes:
        if node.op in _VARIABLES:
            shared = node.attributes.get("shared_name") or b""
            text = shared.decode("utf-8", "backslashreplace") if isinstance(shared, bytes) else ""
            found.append(text or node.name)
    return tuple(dict.fromkeys(found))


def _without_values(wanted: tuple[str, ...], held: Mapping[str, Tensor]) -> tuple[str, ...]:
    known = set(held) | {str(one.attributes.get("full_name")) for one in held.values()}
    if any("/.ATTRIBUTES/" in name for name in held):
        # Objects of TensorFlow 2 need not keep their variables' full names.
        return ()
    return tuple(name for name in wanted if name not in known)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
