"""Convolutions with gaps, as TensorFlow 1 writes them: by spreading a map over a batch.

`SpaceToBatchND` puts every second (third …) place into a picture of its own, a convolution without
padding runs over these, and `BatchToSpaceND` puts the results together again. That is one
convolution with a dilation; what is padded before, and cut off after, is its padding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from frostline.networks.translate.draft import Array
from frostline.networks.weights_files.records import Node

Sides = list[list[int]]
# From a convolution, its dilation and its padding to the same node with both; None where it has
# strides, gaps or padding of its own.
WithGaps = Callable[[Node, tuple[int, int], Sides], Node | None]


@dataclass(frozen=True)
class DilationNames:
    """What a format calls what takes part.

    Attributes:
        spread: What spreads a map.
        gather: What puts it together again.
        convolutions: What may lie between.
        same: What may lie between a convolution and its end without harm, such as a bias.
        hands_on: What only hands on what it reads.
    """

    spread: str
    gather: str
    convolutions: Sequence[str]
    same: Sequence[str]
    hands_on: str


def joined(
    nodes: Sequence[Node],
    names: DilationNames,
    fixed: Callable[[str], Array | None],
    with_gaps: WithGaps,
) -> list[Node]:
    """Returns the operations with each such chain as a convolution with gaps.

    Args:
        nodes: Each after all that it reads.
        names: The format's own.
        fixed: Returns a tensor that is a constant.
        with_gaps: Writes a convolution anew.
    """
    makers = {name: node for node in nodes for name in node.outputs}
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    changed: dict[str, Node] = {}
    unread = set[str]()
    for gather in nodes:
        if gather.op != names.gather:
            continue
        chain = _chain(gather, names, makers, readers)
        how = None if chain is None else _how(chain[0], gather, fixed)
        if chain is None or how is None:
            continue
        spread, conv = chain
        gaps = with_gaps(conv, *how)
        if gaps is None:
            continue
        changed[conv.name] = replace(gaps, inputs=(spread.inputs[0], *conv.inputs[1:]))
        changed[gather.name] = replace(gather, op=names.hands_on, inputs=gather.inputs[:1])
        unread.add(spread.name)
    return [changed.get(node.name, node) for node in nodes if node.name not in unread]


def _chain(
    gather: Node,
    names: DilationNames,
    makers: Mapping[str, Node],
    readers: Mapping[str, Sequence[Node]],
) -> tuple[Node, Node] | None:
    """Returns what spreads and the convolution, where nothing else reads between."""
    name = gather.inputs[0]
    conv = makers.get(name)
    while conv is not None and conv.op in names.same and len(readers[name]) == 1:
        name = conv.inputs[0]
        conv = makers.get(name)
    if conv is None or conv.op not in names.convolutions or len(readers[name]) != 1:
        return None
    spread = makers.get(conv.inputs[0])
    if spread is None or spread.op != names.spread or len(readers[spread.outputs[0]]) != 1:
        return None
    return spread, conv


def _how(
    spread: Node, gather: Node, fixed: Callable[[str], Array | None]
) -> tuple[tuple[int, int], Sides] | None:
    """Returns dilation and padding, where both ends agree and only height and width are spread."""
    block, pads = fixed(spread.inputs[1]), fixed(spread.inputs[2])
    again, crops = fixed(gather.inputs[1]), fixed(gather.inputs[2])
    if block is None or pads is None or again is None or crops is None:
        return None
    if block.tolist() != again.tolist() or block.size != 2 or pads.shape != crops.shape:
        return None
    sides: Sides = (pads.astype(int) - crops.astype(int)).tolist()
    if any(side < 0 for pair in sides for side in pair):
        return None
    return (int(block[0]), int(block[1])), sides
