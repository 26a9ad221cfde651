"""A GraphDef as one list of operations: functions written out, branches chosen, tensors by name.

The first output of a node is called as the node, the others `NAME:1`, `NAME:2`, as TensorFlow does.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs.calls import needed
from frostline.networks.weights_files.records import Array, Graph, Node, Tensor

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Where the file has a node: the function that it lies in, empty for none, and its name there.
ORIGIN = "_frostline_origin"
_MOST_NODES, _DEEPEST = 100_000, 50
# Functions call outputs by name; of operations with several, where each begins.
_OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "Switch": ("output_false", "output_true"),
    "Merge": ("output", "value_index"),
    "FusedBatchNorm": ("y", "batch_mean", "batch_variance"),
    "FusedBatchNormV2": ("y", "batch_mean", "batch_variance"),
    "FusedBatchNormV3": ("y", "batch_mean", "batch_variance"),
    "TopKV2": ("values", "indices"),
    "Unique": ("y", "idx"),
}
_CALL = re.compile(r"(?:Stateful)?PartitionedCall(?:_\d+)?")


def flat(graph: Graph, where: str) -> list[Node]:
    """Returns all operations, those of functions under the name of what calls them.

    Raises:
        BackboneError: Where functions are not there, call themselves, or are far too many.
    """
    found: list[Node] = []
    waiting: list[tuple[str, str, Graph, Mapping[str, str], int]] = [("", "", graph, {}, 0)]
    while waiting:
        prefix, function, body, given, depth = waiting.pop()
        if depth > _DEEPEST:
            raise BackboneError(f"{where}: its functions call each other {depth} deep.")
        ops = {node.name: node.op for node in body.nodes}
        for node in body.nodes:
            inputs = tuple(
                given.get(name) or _tensor(prefix, name, ops)
                for name in node.inputs
                if not name.startswith("^")
            )
            name = f"{prefix}{node.name}"
            if node.op not in CALLS:
                told = {**node.attributes, ORIGIN: (function, node.name)}
                found.append(replace(node, name=name, inputs=inputs, attributes=told))
                continue
            inner = str(node.attributes.get("f"))
            called = graph.functions.get(inner)
            if called is None:
                raise BackboneError(f"{where}: {name!r} calls a function that is not there.")
            names = [port.name for port in called.inputs]
            fed = dict(zip(names, inputs, strict=False))
            waiting.append((f"{name}/", inner, called, fed, depth + 1))
            found += _returned(name, called, fed)
        if len(found) > _MOST_NODES:
            raise BackboneError(f"{where}: its functions make more than {_MOST_NODES} operations.")
    return _with_outputs(found)


def _returned(name: str, called: Graph, given: Mapping[str, str]) -> list[Node]:
    """Returns a node for each output of a call, which hands on what the function returns."""
    ops = {node.name: node.op for node in called.nodes}
    found = []
    for i, port in enumerate(called.outputs):
        told = called.returns.get(port.name, port.name)
        inner = given.get(told) or _tensor(f"{name}/", told, ops)
        found.append(Node(tensor_name(name, i), "Identity", (inner,), (tensor_name(name, i),)))
    return found


def tensor_name(node: str, index: int) -> str:
    """Returns what the output of a node is called."""
    return f"{node}:{index}" if index else node


def plain_name(asked: str) -> str:
    """Returns the name of a tensor as it is here: `scores:0` is `scores`."""
    return asked.removesuffix(":0")


def title(name: str) -> str:
    """Returns a name without the calls of functions that it lies in."""
    parts = name.split("/")
    kept = [part for part in parts[:-1] if not _CALL.fullmatch(part)]
    return "/".join((*kept, parts[-1]))


def _tensor(prefix: str, told: str, ops: Mapping[str, str]) -> str:
    """Reads `a`, `a:1` or, within functions, `a:output:1`."""
    node, *rest = told.split(":")
    number = int(rest[-1]) if rest and rest[-1].isdigit() else 0
    if len(rest) == 2:
        named = _OUTPUTS.get(ops.get(node, ""), ())
        number += named.index(rest[0]) if rest[0] in named else 0
    return tensor_name(f"{prefix}{node}", number)


def _with_outputs(nodes: Sequence[Node]) -> list[Node]:
    """Names as many outputs of each node as others read."""
    most: dict[str, int] = {}
    own = {node.name for node in nodes}
    for node in nodes:
        for name in node.inputs:
            base, _, number = name.rpartition(":")
            if number.isdigit() and base in own:
                most[base] = max(most.get(base, 0), int(number))
    if any(number > _MOST_NODES for number in most.values()):
        raise BackboneError("an operation has too many outputs.")
    return [
        node
        if node.outputs == (node.name,) and ":" in node.name
        else replace(
            node,
            outputs=tuple(tensor_name(node.name, i) for i in range(most.get(node.name, 0) + 1)),
        )
        for node in nodes
    ]


def chosen_branches(nodes: Sequence[Node], truths: Mapping[str, bool]) -> list[Node]:
    """Chooses the branches of conditions that are known, and leaves the others out.

    TensorFlow 1 writes a condition as `Switch`, which hands its input on to one of two branches,
    and `Merge`, which takes what arrives.

    Args:
        nodes: Each after all that it reads.
        truths: Tensors of one truth value that are known, such as `is_training`.

    Returns:
        The nodes, in which each such `Switch` and `Merge` only hands on.
    """
    known = dict(truths)
    dead: set[str] = set()
    found: list[Node] = []
    for node in nodes:
        value = _truth(node, known)
        if value is not None:
            known |= dict.fromkeys(node.outputs, value)
        if node.op == "Merge":
            alive = [name for name in node.inputs if name not in dead]
            if len(alive) == 1:
                node = replace(node, op="Identity", inputs=(alive[0],))
            if not alive:
                dead |= set(node.outputs)
        elif any(name in dead for name in node.inputs):
            dead |= set(node.outputs)
        elif node.op == "Switch" and len(node.inputs) == 2 and node.inputs[1] in known:
            taken = int(known[node.inputs[1]])
            dead.add(tensor_name(node.name, 1 - taken))
            if node.inputs[0] in known:
                known[tensor_name(node.name, taken)] = known[node.inputs[0]]
            node = replace(
                node,
                op="Identity",
                inputs=node.inputs[:1],
                outputs=(tensor_name(node.name, taken),),
            )
        found.append(node)
    return found


def _truth(node: Node, known: Mapping[str, bool]) -> bool | None:
    fixed = node.attributes.get("value")
    if node.op == "Const" and isinstance(fixed, Tensor):
        return (
            bool(fixed.array().reshape(-1)[0])
            if fixed.dtype == "bool" and fixed.size == 1
            else None
        )
    given = [known.get(name) for name in node.inputs]
    if node.op in ("Identity", "PlaceholderWithDefault") and given:
        return given[0]
    if node.op == "LogicalNot" and given and given[0] is not None:
        return not given[0]
    return None


def without_branches(
    nodes: Sequence[Node], outputs: Sequence[str], given: Sequence[str], truths: Mapping[str, bool]
) -> list[Node]:
    """Returns what outputs depend on once the branches of known conditions are chosen."""
    ordered = needed(nodes, outputs, [*given, *truths])
    chosen = chosen_branches(ordered, truths)
    return needed(chosen, outputs, [*given, *truths])


def constant(node: Node) -> Array:
    """Returns the array of a `Const`."""
    found = node.attributes.get("value")
    if not isinstance(found, Tensor):
        raise BackboneError("it has no value.")
    return np.asarray(found.values())
