"""From image files to activations, with every core busy.

On a CPU each core takes a batch from file to activation by itself, on one thread: decoding and
the network never wait for each other, and a core that another program takes away holds up only
its own batch. On a GPU the cores decode ahead and one caller feeds the device.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from frostline.data.decode import Unreadable
from frostline.data.views import load_center
from frostline.errors import ListingError
from frostline.preprocessing import Preprocessing

Run = Callable[[Tensor], Tensor]
# Positions that could be read, what they came to, and a reason for each that could not.
Loaded = tuple[list[int], Tensor | None, dict[int, str]]
BATCH = 16


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
    yield from _ahead(partial(_load, how=how, run=None), paths, batch_size)


def activations(
    paths: Sequence[str],
    how: Preprocessing,
    run: Run,
    on_cpu: bool,
    batch_size: int = BATCH,
) -> Iterator[Loaded]:
    """Like `pixels`, with each batch put through `run`, an engine.

    Args:
        paths: The files.
        how: What the `center` view looks like.
        run: Pixels to activations.
        on_cpu: Whether it computes on this machine's cores rather than on a GPU.
        batch_size: Images per batch, unreadable ones counted.
    """
    if on_cpu:
        yield from _ahead(partial(_load, how=how, run=run), paths, batch_size)
    else:
        for positions, batch, problems in pixels(paths, how, batch_size):
            yield positions, None if batch is None else run(batch), problems


@dataclass(frozen=True)
class Live:
    """Computes activations anew each time they are asked for: what training does without a cache.

    Attributes:
        paths: Row id to a file with that content.
        how: What the `center` view looks like.
        run: The engine.
        on_cpu: Whether it computes on this machine's cores.
    """

    paths: Mapping[bytes, str]
    how: Preprocessing
    run: Run
    on_cpu: bool

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape].

        Raises:
            ListingError: Where an image can no longer be read.
        """
        files = [self.paths[row] for row in rows]
        share = -(-len(files) // _cores()) if self.on_cpu else len(files)
        parts = []
        for _, part, problems in activations(files, self.how, self.run, self.on_cpu, share):
            for position, reason in problems.items():
                raise ListingError(
                    f"{files[position]}: could be read before, and now cannot: {reason}."
                )
            parts += [] if part is None else [part]
        return torch.cat(parts)


def _load(paths: Sequence[str], start: int, how: Preprocessing, run: Run | None) -> Loaded:
    good, images, bad = [], [], {}
    for position, path in enumerate(paths, start):
        try:
            images.append(load_center(path, how)[0])
            good.append(position)
        except Unreadable as reason:
            bad[position] = str(reason)
    batch = torch.stack(images) if images else None
    return good, run(batch) if run and batch is not None else batch, bad


def _ahead(
    load: Callable[[Sequence[str], int], Loaded], paths: Sequence[str], batch_size: int
) -> Iterator[Loaded]:
    """Yields batches in order while two more for each core are under way or ready."""
    cores = _cores()
    # Each worker has one core to itself. What PyTorch gives to threads made later is put back.
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(cores, "frostline", partial(torch.set_num_threads, 1)) as pool:
        waiting: deque[Future[Loaded]] = deque()
        try:
            for start in range(0, len(paths), batch_size):
                waiting.append(pool.submit(load, paths[start : start + batch_size], start))
                if len(waiting) > 2 * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)


def _cores() -> int:
    # A container may be given fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
