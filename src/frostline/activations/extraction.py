"""From image files to activations, with every core busy.

On a CPU each core takes a batch from file to activation by itself, on one thread: decoding and
the network never wait for each other, and a core that another program takes away holds up only
its own batch. On a GPU the cores decode ahead and one caller feeds the device.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from frostline.base.errors import ListingError
from frostline.images.augment import CENTER, View, load
from frostline.images.decode import Unreadable
from frostline.images.preprocessing import Preprocessing

Run = Callable[[Tensor], Tensor]
# Positions that could be read, what they came to, and a reason for each that could not.
Loaded = tuple[list[int], Tensor | None, dict[int, str]]
BATCH = 16


@dataclass(frozen=True)
class ImageView:
    """One view of one picture.

    Attributes:
        path: The file.
        content: The digest of its bytes; `center` needs none.
        view: Which view.
    """

    path: str
    content: str = ""
    view: View = CENTER


def pixels(
    items: Sequence[ImageView], how: Preprocessing, batch_size: int = BATCH
) -> Iterator[Loaded]:
    """Decodes pictures in order, a few batches ahead of whoever takes them.

    Views of one picture that follow each other are made from one decoding.

    Args:
        items: What to make.
        how: The backbone's preprocessing.
        batch_size: Views per batch, unreadable ones counted; more where one picture has more.

    Yields:
        The positions in `items` that could be read, their pixels (uint8 [n, 3, h, w], or None
        where there are none), and a reason for each position that could not.
    """
    yield from _ahead(partial(_load, how=how, run=None), items, batch_size)


def activations(
    items: Sequence[ImageView],
    how: Preprocessing,
    run: Run,
    on_cpu: bool,
    batch_size: int = BATCH,
) -> Iterator[Loaded]:
    """Like `pixels`, with each batch put through `run`, an engine.

    Args:
        items: What to make.
        how: The backbone's preprocessing.
        run: Pixels to activations.
        on_cpu: Whether it computes on this machine's cores rather than on a GPU.
        batch_size: Views per batch, unreadable ones counted.
    """
    if on_cpu:
        yield from _ahead(partial(_load, how=how, run=run), items, batch_size)
    else:
        for positions, batch, problems in pixels(items, how, batch_size):
            yield positions, None if batch is None else run(batch), problems


@dataclass(frozen=True)
class LiveActivations:
    """Computes activations anew each time they are asked for: what training does without a cache.

    Attributes:
        how: The backbone's preprocessing.
        run: The engine.
        on_cpu: Whether it computes on this machine's cores.
        items: Row id to what it is an activation of.
    """

    how: Preprocessing
    run: Run
    on_cpu: bool
    items: MutableMapping[bytes, ImageView] = field(default_factory=dict)

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape].

        Raises:
            ListingError: Where an image can no longer be read.
        """
        wanted = [self.items[row] for row in rows]
        share = -(-len(wanted) // _cores())
        # On a GPU every core decodes, and what they come to is put through at once.
        each = self.run if self.on_cpu else None
        parts = []
        for _, part, problems in _ahead(partial(_load, how=self.how, run=each), wanted, share):
            for position, reason in problems.items():
                raise ListingError(
                    f"{wanted[position].path}: could be read before, and now cannot: {reason}."
                )
            parts += [] if part is None else [part]
        made = torch.cat(parts)
        return made if self.on_cpu else self.run(made)


def _load(items: Sequence[ImageView], start: int, how: Preprocessing, run: Run | None) -> Loaded:
    good: list[int] = []
    images: list[Tensor] = []
    bad: dict[int, str] = {}
    for (path, content), group in itertools.groupby(
        enumerate(items, start), lambda pair: (pair[1].path, pair[1].content)
    ):
        positions, same = zip(*group, strict=True)
        try:
            images += load(path, how, [item.view for item in same], content)
            good += positions
        except Unreadable as reason:
            bad |= dict.fromkeys(positions, str(reason))
    batch = torch.stack(images) if images else None
    return good, run(batch) if run and batch is not None else batch, bad


def _batches(
    items: Sequence[ImageView], batch_size: int
) -> Iterator[tuple[int, Sequence[ImageView]]]:
    """Yields where each batch begins, and the batch; a picture's views stay together."""
    start = 0
    while start < len(items):
        end = min(start + batch_size, len(items))
        while end < len(items) and items[end].path == items[end - 1].path:
            end += 1
        yield start, items[start:end]
        start = end


def _ahead(
    load_batch: Callable[[Sequence[ImageView], int], Loaded],
    items: Sequence[ImageView],
    batch_size: int,
) -> Iterator[Loaded]:
    """Yields batches in order while two more for each core are under way or ready."""
    cores = _cores()
    # Each worker has one core to itself. What PyTorch gives to threads made later is put back.
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(cores, "frostline", partial(torch.set_num_threads, 1)) as pool:
        waiting: deque[Future[Loaded]] = deque()
        try:
            for start, batch in _batches(items, batch_size):
                waiting.append(pool.submit(load_batch, batch, start))
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
