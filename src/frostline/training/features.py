"""Features of images, read block by block, so that they need not all be in memory as float32."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from frostline.base.errors import TrainingError

T = TypeVar("T")
R = TypeVar("R")

# A block is 4 MiB of float32: large enough for fast products, small enough for the caches.
BLOCK_VALUES = 1 << 20
# Features up to this size are held in float32, larger ones in half precision.
FLOAT32_BYTES = 256 << 20
_LARGEST_HALF = 65504.0


class Features(Protocol):
    """Features of images in a fixed order, wherever they lie."""

    @property
    def shape(self) -> tuple[int, int]:
        """How many images, and how many features each has."""

    def blocks(self) -> Iterator[Tensor]:
        """Yields all rows in order: [b, d] each, of any float type; the same ones every time."""


@dataclass(frozen=True)
class Held:
    """Features in memory, of any float type.

    Attributes:
        values: [n, d].
        block_rows: How many rows a block has; 0 for what suits `d`.
    """

    values: Tensor
    block_rows: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """How many images, and how many features each has."""
        return self.values.shape[0], self.values.shape[1]

    def blocks(self) -> Iterator[Tensor]:
        """Yields slices of `values`."""
        yield from torch.split(self.values, self.block_rows or rows_a_block(self.values.shape[1]))


@dataclass(frozen=True)
class Chosen:
    """Some rows of other features, picked out anew whenever they are read.

    Attributes:
        of: The features.
        mask: [n], bool, on the CPU: which rows.
    """

    of: Features
    mask: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """How many images, and how many features each has."""
        return int(self.mask.sum()), self.of.shape[1]

    def blocks(self) -> Iterator[Tensor]:
        """Yields what is chosen of each block; blocks without any are left out."""
        start = 0
        for block in self.of.blocks():
            inside = self.mask[start : start + len(block)]
            start += len(block)
            if inside.any():
                yield block[inside.nonzero().flatten().to(block.device)]


def rows_a_block(width: int) -> int:
    """Returns how many rows of `width` values a block should have."""
    return max(1, BLOCK_VALUES // max(width, 1))


def of(features: "Tensor | Features") -> Features:
    """Returns a tensor [n, d] as features, and features as they are."""
    return Held(features) if isinstance(features, Tensor) else features


def read(features: Features) -> Tensor:
    """Returns all rows in memory, as float32: [n, d]."""
    return torch.cat([block.float() for block in features.blocks()])


def each(work: Callable[[T], R], items: Iterable[T], cores: int) -> Iterator[R]:
    """Yields what `work` makes of each item, in order.

    Each core takes items by itself, on one thread: a block is too small for several, which would
    wait for each other. So what comes is the same, to the bit, on any number of cores.

    Args:
        work: What is done.
        items: Blocks, with whatever goes with them.
        cores: How many to use; with 1, no threads are started.
    """
    if cores == 1:
        yield from map(work, items)
        return
    under_way: deque[Future[R]] = deque()
    with ThreadPoolExecutor(cores, "frostline", partial(torch.set_num_threads, 1)) as pool:
        for item in items:
            if len(under_way) > cores:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, item))
        while under_way:
            yield under_way.popleft().result()


def with_targets(features: Features, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields blocks [b, d], each with its targets [b, ...]."""
    start = 0
    for block in features.blocks():
        yield block, targets[start : start + len(block)]
        start += len(block)


def gather(batches: Iterable[Tensor], count: int) -> Tensor:
    """Joins batches in memory of their final size: in float32 while small, else half precision.

    Half precision is float16, or bfloat16 from the first value on that float16 cannot hold.

    Args:
        batches: [b, d] each.
        count: Rows in all of them together.

    Returns:
        [count, d].
    """
    held: Tensor | None = None
    start = 0
    for batch in batches:
        if held is None:
            small = 4 * count * batch.shape[1] <= FLOAT32_BYTES
            dtype = torch.float32 if small else torch.float16
            held = torch.empty(count, batch.shape[1], dtype=dtype, device=batch.device)
        if held.dtype == torch.float16 and batch.abs().max() > _LARGEST_HALF:
            held = held.bfloat16()
        held[start : start + len(batch)] = batch
        start += len(batch)
    assert held is not None
    assert start == count
    return held


@dataclass(frozen=True)
class Moments:
    """Of each feature, over all rows, in float64.

    Attributes:
        mean: [d].
        spread: [d], the standard deviation (divided by n).
    """

    mean: Tensor
    spread: Tensor


def moments(features: Features) -> Moments:
    """Returns mean and spread of each feature in one reading.

    Raises:
        TrainingError: Where a value is not finite.
    """
    count = features.shape[0]
    shift: Tensor | None = None
    sums: list[Tensor] = []
    for block in features.blocks():
        x = block.float()
        if shift is None:
            # Near the mean, so that squares do not cancel.
            shift = x.mean(0)
            sums = [torch.zeros_like(shift, dtype=torch.float64) for _ in range(2)]
        x = x - shift
        sums[0] += x.sum(0)
        sums[1] += x.square_().sum(0)
    assert shift is not None
    off = sums[0] / count
    mean = shift.double() + off
    variance = (sums[1] / count - off.square()).clamp_min(0)
    check_finite(variance.sum().item())
    return Moments(mean, variance.sqrt())


def check_finite(number: float) -> None:
    """Refuses features of which a sum is not finite.

    Raises:
        TrainingError: Saying what to do.
    """
    if not math.isfinite(number):
        raise TrainingError(
            "the probe: activations at the head are no numbers, or too large to be any. Try "
            "--precision fp32, or another --backbone."
        )
