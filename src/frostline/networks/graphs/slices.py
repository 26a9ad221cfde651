"""Strided slices, as TensorFlow and TFLite write them: begin, end, strides and five masks."""

from collections.abc import Sequence
from dataclasses import dataclass

from frostline.base.errors import BackboneError
from frostline.networks.translate import tensors
from frostline.networks.translate.draft import Draft, Operand


@dataclass(frozen=True)
class Masks:
    """Bits that say of each entry what else it means; see TensorFlow's `StridedSlice`."""

    begin: int = 0
    end: int = 0
    ellipsis: int = 0
    new_axis: int = 0
    shrink: int = 0


def strided_slice(
    draft: Draft,
    name: str,
    x: Operand,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    masks: Masks,
) -> Operand:
    """Adds what a strided slice takes of a tensor.

    Raises:
        BackboneError: Where it speaks of more axes than there are, or steps by nought.
    """
    slices: dict[int, tuple[int, int, int]] = {}
    shape: list[int] = []
    axis = 0
    entries = _entries(len(begin), len(x.shape), masks)
    for at in entries:
        if at is not None and masks.new_axis >> at & 1:
            shape.append(1)
            continue
        if axis >= len(x.shape):
            raise BackboneError(f"it takes slices of {len(entries)} axes of {len(x.shape)}.")
        size = x.shape[axis]
        if at is None:
            shape.append(size)
        elif masks.shrink >> at & 1:
            start = begin[at] + size if begin[at] < 0 else begin[at]
            if not 0 <= start < size:
                raise BackboneError(f"it takes place {begin[at]} of {size}.")
            slices[axis] = (start, start + 1, 1)
        else:
            first = None if masks.begin >> at & 1 else begin[at]
            last = None if masks.end >> at & 1 else end[at]
            slices[axis] = slice(first, last, strides[at]).indices(size)
            shape.append(len(range(*slices[axis])))
        axis += 1
    shape += x.shape[axis:]
    if len(shape) == len(x.shape) and not (masks.new_axis or masks.shrink):
        return tensors.take_slices(draft, name, x, slices)
    part = tensors.take_slices(draft, f"{name}/part", x, slices)
    return tensors.reshape(draft, name, part, shape)


def _entries(count: int, rank: int, masks: Masks) -> list[int | None]:
    """Returns the entries with the ellipsis written out: None for each axis it stands for."""
    found: list[int | None] = []
    for at in range(count):
        if masks.ellipsis >> at & 1:
            new = sum(masks.new_axis >> i & 1 for i in range(count) if i != at)
            found += [None] * (rank - (count - 1 - new))
        else:
            found.append(at)
    return found
