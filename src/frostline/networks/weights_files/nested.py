"""Nested tables and lists as one flat list of names, within bounds and without going in circles."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MOST_DEPTH = 100
_MOST_LEAVES = 200_000
_SIMPLE = (bool, int, float, str, bytes, type(None))
# Longer texts and lists are not facts about a file but data.
_MOST_LENGTH = 1000


def leaves(value: Any, separator: str = ".") -> Iterator[tuple[str, Any]]:
    """Yields what lies in nested dicts, lists and tuples, under names joined by `separator`.

    Raises:
        ValueError: Where it holds itself, or far too much.
    """
    count = 0
    # Each with its names, and the containers that it lies in.
    waiting: list[tuple[Any, tuple[str, ...], tuple[int, ...]]] = [(value, (), ())]
    while waiting:
        here, names, above = waiting.pop()
        below = _entries(here)
        if below is None:
            count += 1
            yield separator.join(names), here
        elif id(here) in above:
            raise ValueError(f"{separator.join(names) or 'the file'} holds itself, in a circle")
        else:
            inside = (*above, id(here))
            waiting += [(one, (*names, str(key)), inside) for key, one in reversed(below)]
        if count > _MOST_LEAVES or len(waiting) > _MOST_LEAVES or len(names) > _MOST_DEPTH:
            raise ValueError(f"more than {_MOST_LEAVES} values, or {_MOST_DEPTH} tables deep")


def _entries(value: Any) -> list[tuple[Any, Any]] | None:
    """Returns what a container holds; None for what counts as a value itself.

    What is empty is told as itself, so that every part counts towards the bound.
    """
    if isinstance(value, Mapping) and value:
        return list(value.items())
    if isinstance(value, (list, tuple)) and not all(isinstance(v, _SIMPLE) for v in value):
        return list(enumerate(value))
    return None


def sorted_out(
    value: Any, is_tensor: Callable[[Any], bool], separator: str = "."
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Returns the tensors, the plain facts and the kinds of everything else, each by name.

    Raises:
        ValueError: Where it holds itself, or far too much.
    """
    tensors, facts, others = {}, {}, {}
    for name, leaf in leaves(value, separator):
        if is_tensor(leaf):
            tensors[name] = leaf
        elif is_fact(leaf):
            facts[name] = tuple(leaf) if isinstance(leaf, list) else leaf
        else:
            others[name] = type(leaf).__name__
    return tensors, facts, others


def is_fact(value: Any) -> bool:
    """Says whether a value is plain and short."""
    if isinstance(value, (str, bytes, list, tuple)) and len(value) > _MOST_LENGTH:
        return False
    if isinstance(value, (list, tuple)):
        return all(isinstance(one, _SIMPLE) for one in value)
    return isinstance(value, _SIMPLE)
