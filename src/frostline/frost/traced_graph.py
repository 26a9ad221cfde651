"""What tracing finds out about a network in one mode."""

from dataclasses import dataclass, field

import torch
from torch import fx


@dataclass(frozen=True)
class TracedGraph:
    """What a network does to its input in one mode, as a graph.

    Attributes:
        graph: Its targets are paths in the network itself; its names are those of the lines.
        inputs: Module path to the name of the node that feeds it, the first call's.
        outputs: Module path to what its calls give, one entry a call: the names of the nodes in
            it, one for a tensor and several for a tuple, a list or a dict.
        constants: Tensors that were made while tracing, by the name the graph knows them by.
        containers: Paths of modules that give a tuple, a list or a dict.
    """

    graph: fx.Graph
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    containers: frozenset[str] = frozenset()


def have_equal_values(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tells whether two tensors are equal; those without values, whether their shapes are."""
    return one.shape == other.shape if one.is_meta else torch.equal(one, other)
