"""From image files to activations: threads decode ahead while the engine runs."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.data.decode import Unreadable
from frostline.data.views import load_center
from frostline.errors import ListingError
from frostline.preprocessing import Preprocessing

Run = Callable[[Tensor], Tensor]
# Positions that could be read, what they came to, and a reason for each that could not.
Loaded = tuple[list[int], Tensor | None, dict[int, str]]
BATCH = 32


def pixels(paths: Sequence[str], how: Preprocessing, batch_size: int = BATCH) -> Iterator[Loaded]:
    """Decodes images in order, a few batches ahead of whoever takes them.

    Args:
        paths: The files.
        how: What the `center` view looks like.
        batch_size: Images per batch, unreadable ones counted.

    Yields:
        The positions in `paths` that could be read, their pixels (uint8 [n, 3, h, w], or None
        where there are none), and a reason for each position that could not.
    """

    def load(path: str) -> Tensor | str:
        try:
            return load_center(path, how)[0]
        except Unreadable as reason:
            return str(reason)

    with ThreadPoolExecutor(_cores(), thread_name_prefix="decode") as pool:
        ahead: deque[Future[Tensor | str]] = deque()
        left = iter(paths)
        try:
            for start in range(0, len(paths), batch_size):
                for path in left:
                    ahead.append(pool.submit(load, path))
                    if len(ahead) >= 3 * batch_size:
                        break
                count = min(batch_size, len(paths) - start)
                yield _batch(start, [ahead.popleft().result() for _ in range(count)])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def activations(
    paths: Sequence[str], how: Preprocessing, run: Run, batch_size: int = BATCH
) -> Iterator[Loaded]:
    """Like `pixels`, with each batch put through `run`, an engine."""
    for positions, batch, problems in pixels(paths, how, batch_size):
        yield positions, None if batch is None else run(batch), problems


@dataclass(frozen=True)
class Live:
    """Computes activations anew each time they are asked for: what training does without a cache.

    Attributes:
        paths: Row id to a file with that content.
        how: What the `center` view looks like.
        run: The engine.
    """

    paths: Mapping[bytes, str]
    how: Preprocessing
    run: Run

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape].

        Raises:
            ListingError: Where an image can no longer be read.
        """
        files = [self.paths[row] for row in rows]
        (_, found, problems) = next(pixels(files, self.how, len(files)))
        if problems or found is None:
            path, reason = next((files[i], why) for i, why in problems.items())
            raise ListingError(f"{path}: could be read before, and now cannot: {reason}.")
        return self.run(found)


def _batch(start: int, results: list[Tensor | str]) -> Loaded:
    good = {start + i: item for i, item in enumerate(results) if isinstance(item, Tensor)}
    bad = {start + i: item for i, item in enumerate(results) if isinstance(item, str)}
    return list(good), torch.stack(list(good.values())) if good else None, bad


def _cores() -> int:
    # A container may be given fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
