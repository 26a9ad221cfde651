"""How much of the picture a number in an activation sees: its receptive field.

Along each axis a unit sees a span of pixels: where the first unit's span begins, how long it is,
and how far apart the spans of neighbours are (the jump). Every operator changes these in a known
way (Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill
2019). What is followed is each operator that PyTorch really runs, whatever module calls it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod

HEIGHT, WIDTH, BOTH, OTHER = "h", "w", "hw", ""


@dataclass(frozen=True)
class Span:
    """What units see along one axis, in pixels.

    Attributes:
        start: Where the first unit's span begins; below 0 it begins in padding.
        size: How long a span is; infinite where each unit sees the whole axis.
        jump: How far the next unit's span is from this one's.
    """

    start: float = 0.0
    size: float = 1.0
    jump: float = 1.0

    def windowed(self, kernel: int, stride: int, before: int, dilation: int = 1) -> "Span":
        """Returns what units see through a window over these; `before` is padding in front."""
        return Span(
            self.start - before * self.jump,
            self.size + (kernel - 1) * dilation * self.jump,
            self.jump * stride,
        )

    def joined(self, other: "Span") -> "Span":
        """Returns what a unit sees that reads one of each."""
        if inf in (self.size, other.size):
            return WHOLE
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Span(start, end - start, max(self.jump, other.jump))


WHOLE = Span(-inf, inf, 0.0)


@dataclass(frozen=True)
class Factor:
    """A part of an axis: several pictures' axes may lie in one.

    Attributes:
        axis: Of the picture, `h` or `w`, or `hw` for both; empty for the batch and for channels.
        size: How many steps it has.
        is_piece: Whether it is a piece of the picture's axis, as in windows and patches.
    """

    axis: str
    size: int
    is_piece: bool = False


Dim = tuple[Factor, ...]


@dataclass(frozen=True)
class Seen:
    """What is known of a tensor.

    Attributes:
        dims: Which axes of the picture lie in each of its own.
        spans: What a unit sees, by axis; None where that is not known.
    """

    dims: tuple[Dim, ...]
    spans: tuple[Span, Span] | None

    def axes_in(self, dims: Sequence[int]) -> list[Factor]:
        """Returns the axes of the picture that lie in some dimensions."""
        inside = [factor for dim in dims for factor in self.dims[dim]]
        return [factor for factor in inside if factor.axis and factor.size > 1]

    @property
    def axes(self) -> list[Factor]:
        """All axes of the picture in it."""
        return self.axes_in(range(len(self.dims)))

    @property
    def has_place(self) -> bool:
        """Whether units still stand for places."""
        return bool(self.axes)

    def mixed(self, factors: Sequence[Factor]) -> "Seen":
        """Returns this with units that see along whole axes of the picture."""
        if self.spans is None or any(factor.is_piece for factor in factors):
            return replace(self, spans=None)
        axes = "".join(factor.axis for factor in factors)
        high, wide = self.spans
        spans = (WHOLE if HEIGHT in axes else high, WHOLE if WIDTH in axes else wide)
        return replace(self, spans=spans)


def picture(shape: Sequence[int]) -> Seen:
    """Returns what is known of a batch of pictures [n, c, h, w]."""
    images, channels, height, width = shape
    dims = ((OTHER, images), (OTHER, channels), (HEIGHT, height), (WIDTH, width))
    return Seen(tuple((Factor(axis, size),) for axis, size in dims), (Span(), Span()))


def plain(shape: Sequence[int]) -> tuple[Dim, ...]:
    """Returns dimensions in which no axis of the picture lies."""
    return tuple((Factor(OTHER, size),) for size in shape)


def joined(several: Sequence[Seen]) -> tuple[Span, Span] | None:
    """Returns what a unit sees that reads one of each."""
    found = several[0].spans
    for one in several[1:]:
        if found is None or one.spans is None:
            return None
        found = found[0].joined(one.spans[0]), found[1].joined(one.spans[1])
    return found


def reshaped(seen: Seen, shape: Sequence[int]) -> Seen:
    """Returns what is known after a view of another shape: axes are merged or taken apart."""
    left = [factor for dim in seen.dims for factor in dim if factor.size != 1]
    dims: list[Dim] = []
    for size in shape:
        taken: list[Factor] = []
        while prod(factor.size for factor in taken) < size and left:
            factor, lacking = left.pop(0), size // prod(one.size for one in taken)
            if factor.size > lacking:
                if factor.size % lacking:
                    return Seen(plain(shape), None if seen.has_place else seen.spans)
                left.insert(0, Factor(factor.axis, factor.size // lacking, bool(factor.axis)))
                factor = Factor(factor.axis, lacking, bool(factor.axis))
            taken.append(factor)
        if prod(factor.size for factor in taken) != size:
            return Seen(plain(shape), None if seen.has_place else seen.spans)
        dims.append(tuple(taken))
    return replace(seen, dims=tuple(dims))
