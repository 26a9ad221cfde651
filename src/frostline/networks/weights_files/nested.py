"""Nested tables and lists as one flat list of names, within bounds and without going in circles."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MOST_DEPTH = 100
_MOST_LEAVES = 1_000_000
_SIMPLE = (bool, int, float, str, bytes, type(None))
# Longer texts and lists are not facts about a file but data.
_MOST_LENGTH = 1000


def leaves(value: Any, separator: str = ".") -> Iterator[tuple[str, Any]]:
    """Yields what lies in nested dicts, lists and tuples, under names joined by `separator`.

    Raises:
        ValueError: Where it holds itself, or far too much.
    """
    for count, found in enumerate(_walk(value, (), (), separator)):
        if count >= _MOST_LEAVES:
            raise ValueError(f"more than {_MOST_LEAVES} values")
        yield found


def _walk(
    value: Any, names: tuple[str, ...], above: tuple[int, ...], separator: str
) -> Iterator[tuple[str, Any]]:
    # What is empty is told as itself, so that every part counts towards the bound.
    if isinstance(value, Mapping) and value:
        below: Any = value.items()
    elif isinstance(value, (list, tuple)) and not all(isinstance(v, _SIMPLE) for v in value):
        below = enumerate(value)
    else:
        yield separator.join(names), value
        return
    if id(value) in above:
        raise ValueError(f"{separator.join(names) or 'the file'} holds itself, in a circle")
    if len(names) >= _MOST_DEPTH:
        raise ValueError(f"tables within tables, more than {_MOST_DEPTH} deep")
    for key, one in below:
        yield from _walk(one, (*names, str(key)), (*above, id(value)), separator)


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
