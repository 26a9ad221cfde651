"""What every runtime can do, inside the process apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from frostline.networks.runtimes.frames import Array


class RefusedError(Exception):
    """A graph that a runtime must not, or cannot, run."""


@dataclass(frozen=True)
class Program:
    """A graph for a runtime.

    Attributes:
        data: The graph, in the runtime's own format.
        input: The tensor that the pictures go into.
        outputs: The tensors that are asked for.
        one_by_one: Whether it takes a single picture at a time.
    """

    data: bytes
    input: str
    outputs: tuple[str, ...]
    one_by_one: bool


class Session(Protocol):
    """A graph, ready to run."""

    def run(self, pictures: Array) -> Sequence[Array | None]:
        """Returns what the outputs are for pictures [n, …]: float32, or None for no numbers."""


def as_numbers(value: object) -> Array | None:
    """Returns a tensor of any type of numbers as float32; None for what is none."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "biuf":
        return None
    return np.ascontiguousarray(value, np.float32)


def joined(parts: Sequence[Sequence[Array | None]]) -> list[Array | None]:
    """Puts what single pictures gave behind one another."""
    columns = zip(*parts, strict=True)
    return [
        None if any(one is None for one in column) else np.concatenate(list(column))
        for column in columns
    ]


def in_turn(
    run: Callable[[Array], Sequence[Array | None]], pictures: Array, one_by_one: bool
) -> list[Array | None]:
    """Runs all pictures at once, or each by itself."""
    if not one_by_one:
        return list(run(pictures))
    return joined([run(pictures[i : i + 1]) for i in range(len(pictures))])
