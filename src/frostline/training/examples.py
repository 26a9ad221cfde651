"""What a stage trains on: row ids with targets, fetched batch by batch."""

import itertools
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from frostline.scores import pooling

Fetch = Callable[[Sequence[bytes]], Tensor]


@dataclass(frozen=True)
class Examples:
    """Row ids, and for each its target.

    Attributes:
        rows: n of them.
        targets: [n] or [n, c].
        files: [n], the number of the file that each row is a part of, as windows of sounds are;
            None where each row is a file of its own.
    """

    rows: tuple[bytes, ...]
    targets: Tensor
    files: Tensor | None = None

    @property
    def count(self) -> int:
        """How many files are scored."""
        return pooling.count(len(self.rows), self.files)


def batches(
    fetch: Fetch, examples: Examples, order: Sequence[int], batch_size: int, skip: int = 0
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Yields activations and targets in `order`; a thread fetches one batch ahead.

    Batches are as even as can be and at most `batch_size` long: a last one of a picture or two
    would weigh as much as a whole one, and a batch norm cannot learn from a single vector.

    Args:
        fetch: Row ids to activations.
        examples: What to fetch.
        order: Positions in `examples`.
        batch_size: At most so many at once.
        skip: Batches that are left out at the start.
    """
    ends = batch_ends(len(order), batch_size)
    parts = [order[start:end] for start, end in itertools.pairwise(ends)][skip:]

    def load(part: Sequence[int]) -> tuple[Tensor, Tensor]:
        return fetch([examples.rows[i] for i in part]), examples.targets[list(part)]

    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
        ahead = pool.submit(load, parts[0]) if parts else None
        for number in range(len(parts)):
            assert ahead is not None
            ready = ahead.result()
            ahead = pool.submit(load, parts[number + 1]) if number + 1 < len(parts) else None
            yield ready


def batch_count(images: int, batch_size: int) -> int:
    """Returns how many batches `batches` makes."""
    return -(-images // batch_size)


def batch_ends(images: int, batch_size: int) -> list[int]:
    """Returns where batches end, and 0 first."""
    count = batch_count(images, batch_size)
    return [images * number // max(1, count) for number in range(count + 1)]
