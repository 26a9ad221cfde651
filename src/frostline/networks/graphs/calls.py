"""Going through a file's operations in order, each translated by the table of its format."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.translate.draft import Array, Draft, Operand, Value
from frostline.networks.weights_files.records import Graph, Node

_TOLD = 20
# What settings that cannot be make of NumPy and torch.
_FAILURES = (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError)


@dataclass(frozen=True)
class Call:
    """One operation of a file, about to be translated.

    Attributes:
        draft: The graph in the making.
        name: What the node is to be called.
        node: The operation, as the file has it.
        operands: What it reads, in order; None for an input that is left out.
    """

    draft: Draft
    name: str
    node: Node
    operands: tuple[Operand | None, ...]

    def __getitem__(self, index: int) -> Operand:
        """Returns an operand that must be there."""
        found = self.optional(index)
        if found is None:
            raise BackboneError(f"its input {index + 1} is missing.")
        return found

    def optional(self, index: int) -> Operand | None:
        """Returns an operand, or None where it is left out."""
        return self.operands[index] if index < len(self.operands) else None

    def array(self, index: int) -> Array:
        """Returns an operand that must be a constant."""
        found = self[index]
        if isinstance(found, Value):
            raise BackboneError(f"its input {index + 1} must not depend on the picture.")
        return found

    def integers(self, index: int) -> list[int]:
        """Returns an operand that must be whole numbers, such as a shape."""
        return [int(number) for number in self.array(index).reshape(-1)]

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a setting of the operation."""
        found = self.node.attributes.get(key)
        return default if found is None else found


# What an operation gives: one operand, or one for each of its outputs.
Translate = Callable[[Call], Operand | tuple[Operand, ...]]


def needed(nodes: Iterable[Node], outputs: Sequence[str], given: Iterable[str]) -> list[Node]:
    """Returns the operations that outputs depend on, each after all that it reads.

    Args:
        nodes: All of them, in any order, without circles.
        outputs: Names of tensors.
        given: Names of tensors that are there already.

    Raises:
        BackboneError: Where a tensor comes from nowhere, or from itself.
    """
    makers = {name: node for node in nodes for name in node.outputs if name}
    there, ordered = set(given), list[Node]()
    waiting: list[tuple[str, bool]] = [(name, False) for name in reversed(outputs)]
    opened: set[str] = set()
    while waiting:
        name, read = waiting.pop()
        if name in there or not name:
            continue
        node = makers.get(name)
        if node is None:
            raise BackboneError(f"nothing gives the tensor {name!r}.")
        if read:
            there |= set(node.outputs)
            ordered.append(node)
            continue
        if node.name in opened:
            raise BackboneError(f"its graph runs in a circle through {node.name!r}.")
        opened.add(node.name)
        waiting.append((name, True))
        waiting += [(one, False) for one in reversed(node.inputs) if one not in there]
    return ordered


class UntranslatableError(BackboneError):
    """A graph has operations that are not known, or not as they are used there."""


class Elsewhere(Protocol):
    """What knows the shapes of tensors that cannot be translated, since it runs them itself."""

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """Returns a tensor's shape; None where it is no tensor of numbers, or varies."""


def translate(
    draft: Draft,
    nodes: Sequence[Node],
    values: dict[str, Operand],
    table: Mapping[str, Translate],
    title: Callable[[Node], str],
    elsewhere: Elsewhere | None = None,
) -> None:
    """Translates operations one after the other.

    Args:
        draft: The graph in the making.
        nodes: Each after all that it reads.
        values: What is there by name; what the operations give is added.
        table: From the names of the format's operations to functions.
        title: What a node is to be called.
        elsewhere: Where given, what cannot be translated leaves a hole of the shape it has there.

    Raises:
        UntranslatableError: Where operations are not known, all of which are named at once; or
            where one cannot be translated.
    """
    unknown = Counter(node.op for node in nodes if node.op not in table)
    if unknown and elsewhere is None:
        raise UntranslatableError(
            f"{draft.where}: operations that are not known: {counted(unknown)}. Name a tensor "
            "below them with ?output=NAME, and the network ends there."
        )
    for node in nodes:
        try:
            outputs = _translated(draft, node, values, table, title)
        except (BackboneError, *_FAILURES) as error:
            if elsewhere is None:
                told = str(error).removeprefix(f"{draft.where}: ") or type(error).__name__
                raise UntranslatableError(
                    f"{draft.where}: operation {node.name[:80]!r} ({' '.join(node.op.split())}): "
                    f"{' '.join(told.split())[:300]}"
                ) from error
            _leave_holes(draft, node, values, title, elsewhere)
        else:
            values |= zip(node.outputs, outputs, strict=False)


def counted(unknown: "Counter[str]") -> str:
    """Returns the names of operations with how often each is met."""
    # Names from a file may hold line breaks.
    counts = [(" ".join(op.split()), count) for op, count in unknown.most_common(_TOLD)]
    told = ", ".join(f"{op} ({count}×)" for op, count in counts)
    return told + (f" and {len(unknown) - _TOLD} more" if len(unknown) > _TOLD else "")


def _translated(
    draft: Draft,
    node: Node,
    values: Mapping[str, Operand],
    table: Mapping[str, Translate],
    title: Callable[[Node], str],
) -> tuple[Operand, ...]:
    operands = tuple(values[name] if name else None for name in node.inputs)
    # Damaged constants may be infinite.
    with np.errstate(all="ignore"):
        found = table[node.op](Call(draft, title(node), node, operands))
    return found if isinstance(found, tuple) else (found,)


def _leave_holes(
    draft: Draft,
    node: Node,
    values: dict[str, Operand],
    title: Callable[[Node], str],
    elsewhere: Elsewhere,
) -> None:
    """Adds a hole for each output whose shape is known; what reads the others is a hole, too."""
    read = [values[name] for name in dict.fromkeys(_read_by(node)) if name in values]
    fed = [one for one in read if isinstance(one, Value)]
    for name in node.outputs:
        shape = elsewhere.shape(name) if name else None
        if shape is not None:
            values[name] = draft.hole(title(node), node.op, fed, shape)


def _read_by(node: Node) -> list[str]:
    """Returns the names of what a node reads, also by the graphs that it runs."""
    names = list(node.inputs)
    waiting = list(node.attributes.values())
    while waiting:
        held = waiting.pop()
        if isinstance(held, Graph):
            for inner in held.nodes:
                names += inner.inputs
                waiting += inner.attributes.values()
        elif isinstance(held, tuple):
            waiting += [one for one in held if isinstance(one, Graph)]
    return names
