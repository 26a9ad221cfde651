"""The lines of a network: where it can be cut, what each is called, and how to find one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from frostline.base.errors import LineError, did_you_mean

PIXELS, POOLED = "pixels", "pooled"


@dataclass(frozen=True)
class Line:
    """A place in a network where it can be cut.

    Most lines lie where exactly one tensor is alive. Where blocks hand on several, the activation
    is all of them, flattened and concatenated to one vector an image.

    Attributes:
        name: The path of the outermost module whose output the activation is (`layer3`,
            `blocks.5`), or else the node's name; `pixels` for the input, `pooled` for the last.
        node: The name of the node in the graph; of several, joined by `+`.
        aliases: Other names that find it: paths of inner modules that give the same tensor, the
            node's name, and what `pixels` and `pooled` would be called otherwise.
        index: Its position among all legal lines; 0 is `pixels`.
        shape: Of one image's activation, without the batch.
        params_below: Parameters that the prefix reads.
        params_above: Parameters that only the suffix reads, the network's classifier included,
            and auxiliary classifiers where training runs them.
        share_below: The share of the forward pass's multiply-adds that lies below, in [0, 1].
        block: Whether it is listed where not all lines are asked for.
        packed: The shapes of the tensors in one image's activation, where there are several.
        shared: Names of parameters that both prefix and suffix read. They belong to the prefix,
            and stay frozen in the suffix.
    """

    name: str
    node: str
    aliases: tuple[str, ...]
    index: int
    shape: tuple[int, ...]
    params_below: int
    params_above: int
    share_below: float
    block: bool
    packed: tuple[tuple[int, ...], ...] = ()
    shared: tuple[str, ...] = ()

    @property
    def is_vector(self) -> bool:
        """Whether the activation is a vector an image, or several vectors, and no map."""
        return all(len(shape) == 1 for shape in self.packed or (self.shape,))

    @property
    def kib_half(self) -> float:
        """Size of one image's activation in half precision, in KiB."""
        return prod(self.shape) * 2 / 1024


def find(lines: Sequence[Line], name: str | int | Line) -> Line:
    """Returns the line of that name.

    Args:
        lines: All legal lines of a network, in order.
        name: A line's name or one of its aliases; `pixels` or `pooled`; or an index, as a number,
            or as text where no line has that name. An index from 0 up is the line's own `index`,
            as it is listed; a negative one counts block-level lines from the end: -1 is the last,
            -2 the block before it.

    Returns:
        The line.

    Raises:
        LineError: Where there is no such line, with the nearest names. `TracedNetwork.find` also
            tells why a place that the network does have is no line.
    """
    if isinstance(name, Line):
        return lines[name.index]
    if isinstance(name, int):
        return _by_index(lines, name)
    # Names come first: in a plain chain the layers' own names are numbers.
    by_name = {alias: line for line in reversed(lines) for alias in line.aliases}
    by_name |= {line.name: line for line in lines}
    if name in by_name:
        return by_name[name]
    if name.removeprefix("-").isdecimal():
        return _by_index(lines, int(name))
    known = did_you_mean(name, by_name)
    blocks = ", ".join(line.name for line in lines if line.block)
    raise LineError(f"line {name!r}: this network has no such line.{known} It has: {blocks}.")


def top_map(lines: Sequence[Line]) -> Line:
    """Returns the last line whose activation is more than a vector: what a head pools.

    A map of a single point is taken only where there is no larger one; a network all of whose
    lines are vectors has none.

    Args:
        lines: All legal lines of a network, in order.

    Raises:
        LineError: Where every activation is a vector.
    """
    maps = [line for line in lines if len(line.shape) > 1]
    wide = [line for line in maps if prod(line.shape) > max(line.shape)]
    if not maps:
        raise LineError("this network has no line with a map to pool, only vectors.")
    return (wide or maps)[-1]


def _by_index(lines: Sequence[Line], index: int) -> Line:
    blocks = [line for line in lines if line.block]
    if index < 0 and -index <= len(blocks):
        return blocks[index]
    if 0 <= index < len(lines):
        return lines[index]
    raise LineError(
        f"line {index}: an index must lie in 0 to {len(lines) - 1}, "
        f"or in -{len(blocks)} to -1 to count blocks from the end."
    )
