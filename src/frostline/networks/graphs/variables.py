"""The variables of a TensorFlow graph: loaded from a checkpoint, all or some, or drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from frostline.base.errors import BackboneError
from frostline.networks.translate.draft import Array
from frostline.networks.translate.initialize import draw
from frostline.networks.weights import Match
from frostline.networks.weights_files.records import Node, Tensor

OPERATIONS = ("Variable", "VariableV2", "VarHandleOp")
# What a variable of one axis is drawn as, by the last part of its name: else nought.
_ONES = ("gamma", "scale", "moving_variance", "variance", "population_variance")
_TOLD = 5


@dataclass(frozen=True)
class Source:
    """Where the values of variables come from.

    Attributes:
        tensors: What the checkpoint holds, by name; None where all are drawn.
        scope: What the names of those that are loaded begin with.
        partial: Whether those that the checkpoint lacks are drawn.
        where: The checkpoint, for messages.
    """

    tensors: Mapping[str, Tensor] | None
    scope: str
    partial: bool
    where: str


def values_of(nodes: Sequence[Node], source: Source) -> tuple[dict[str, Array], Match]:
    """Returns the values of all variables among the nodes.

    Args:
        nodes: Operations of a graph.
        source: Where values come from.

    Returns:
        By node, and what became of each variable and each tensor of the checkpoint.

    Raises:
        BackboneError: Where values are lacking or of another shape, or none has the scope.
    """
    wanted = {node.name: node for node in nodes if node.op in OPERATIONS}
    names = {name: shared_name(node) for name, node in wanted.items()}
    held = _by_full_name(source.tensors or {})
    chosen = [name for name in names.values() if _in_scope(name, source.scope)]
    if source.scope and not chosen:
        raise BackboneError(
            f"{source.where}: no variable begins with {source.scope!r}; the first are "
            f"{_few(list(names.values()))}."
        )
    loaded, lost = dict[str, Array](), list[str]()
    other: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    for node, name in names.items():
        if source.tensors is None or name not in chosen:
            continue
        if name not in held:
            lost.append(name)
            continue
        shape = _shape(wanted[node])
        if shape is not None and shape != held[name].shape:
            other.append((name, shape, held[name].shape))
        else:
            loaded[node] = held[name].values()
    if (lost or other) and not source.partial:
        raise BackboneError(_refusal(source.where, lost, [name for name, _, _ in other]))
    drawn = {node: _drawn(wanted[node], names[node]) for node in names if node not in loaded}
    apart = {name for name, _, _ in other}
    match = Match(
        matched=tuple(names[node] for node in loaded),
        missing=tuple(names[node] for node in drawn if names[node] not in apart),
        unexpected=tuple(name for name in source.tensors or {} if name not in names.values()),
        mismatched=tuple(other),
    )
    return loaded | drawn, match


def shared_name(node: Node) -> str:
    """Returns the name under which a variable is kept."""
    shared = node.attributes.get("shared_name") or b""
    text = shared.decode("utf-8", "backslashreplace") if isinstance(shared, bytes) else ""
    return text or node.name


def _refusal(where: str, lost: Sequence[str], other: Sequence[str]) -> str:
    told = [f"{len(lost)} variables without values: {_few(lost)}"] if lost else []
    told += [f"{len(other)} of another shape: {_few(other)}"] if other else []
    return (
        f"{where}: {'; '.join(told)}. Fetch the checkpoint that belongs to the graph, or load a "
        "part of it: with --weights and --partial, or ?scope=NAME."
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_TOLD]) + (", …" if len(names) > _TOLD else "")


def _in_scope(name: str, scope: str) -> bool:
    plain = scope.rstrip("/")
    return not plain or name == plain or name.startswith(f"{plain}/")


def _by_full_name(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names variables as their program did, where the file keeps it."""
    named = {str(one.attributes.get("full_name")): one for one in tensors.values()}
    return {**named, **tensors}


def _shape(node: Node) -> tuple[int, ...] | None:
    told = node.attributes.get("shape")
    if not isinstance(told, tuple) or any(size is None for size in told):
        return None
    return tuple(int(size) for size in told)


def _drawn(node: Node, name: str) -> Array:
    """Draws a variable: a kernel [h, w, in, out] or [in, out] by Glorot's rule."""
    shape = _shape(node)
    if shape is None or sum(shape) > 1 << 28:
        raise BackboneError(f"the shape of the variable {name!r} is not told.")
    # Drawn with channels in front, where the rule expects them.
    tensor = torch.zeros(*reversed(shape), device="cpu")
    if len(shape) > 1:
        draw(tensor, {"kind": "scaled", "scale": 1.0, "mode": "average", "shape": "uniform"})
    elif name.rpartition("/")[2] in _ONES:
        tensor.fill_(1.0)
    array: Array = tensor.permute(*reversed(range(len(shape)))).numpy()
    return array
