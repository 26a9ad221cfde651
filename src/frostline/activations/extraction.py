"""From image files to activations (feature extraction), on all cores.

On a CPU each worker takes a batch all the way from files to activations, on a single thread:
decoding and the network never wait for each other, and a core taken by another program delays only
its own batch. On a GPU the workers decode ahead, and the caller feeds the device.
"""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from frostline.base import machine
from frostline.base.errors import ListingError
from frostline.base.memory import Parts
from frostline.images.augment import CENTER, View
from frostline.images.decode import Unreadable
from frostline.images.preprocessing import Preprocessing
from frostline.sound.loading import load

EngineCall = Callable[[Tensor], Tensor]
# The positions that could be read, their tensors, and a reason for each position that could not.
LoadedBatch = tuple[list[int], Tensor | None, dict[int, str]]
BATCH = 16


@dataclass(frozen=True)
class ImageView:
    """One view of one image.

    Attributes:
        path: The image file.
        content: The digest of its bytes; not needed for `center`.
        view: The view.
    """

    path: str
    content: str = ""
    view: View = CENTER


def pixels(
    views: Sequence[ImageView], preprocessing: Preprocessing, batch_size: int = BATCH
) -> Generator[LoadedBatch, None, None]:
    """Decodes images in order, a few batches ahead of the consumer.

    Consecutive views of one image are made from a single decoding.

    Args:
        views: What to load.
        preprocessing: The backbone's preprocessing.
        batch_size: Views per batch, unreadable ones included; more if one image has more views.

    Yields:
        The positions in `views` that could be read, their pixels ([n, c, h, w]; None if there
        are none), and a reason for each position that could not.
    """
    load_batch = partial(_load, preprocessing=preprocessing, engine=None)
    yield from _prefetched(load_batch, views, batch_size)


def activations(
    views: Sequence[ImageView],
    preprocessing: Preprocessing,
    engine: EngineCall,
    on_cpu: bool,
    batch_size: int = BATCH,
) -> Generator[LoadedBatch, None, None]:
    """Like `pixels`, with each batch run through an engine.

    Args:
        views: What to load.
        preprocessing: The backbone's preprocessing.
        engine: Pixels to activations.
        on_cpu: Whether the engine runs on the CPU rather than on a GPU.
        batch_size: Views per batch, unreadable ones included.
    """
    if on_cpu:
        load_batch = partial(_load, preprocessing=preprocessing, engine=engine)
        yield from _prefetched(load_batch, views, batch_size)
    else:
        for positions, batch, problems in pixels(views, preprocessing, batch_size):
            yield positions, None if batch is None else _through(engine, batch), problems


@dataclass(frozen=True)
class LiveActivations:
    """Computes activations each time they are requested, as training does without a cache.

    Attributes:
        preprocessing: The backbone's preprocessing.
        engine: Pixels to activations.
        on_cpu: Whether the engine runs on the CPU.
        views: Row id to the view it stands for.
    """

    preprocessing: Preprocessing
    engine: EngineCall
    on_cpu: bool
    views: MutableMapping[bytes, ImageView] = field(default_factory=dict)

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape].

        Raises:
            ListingError: If an image can no longer be read.
        """
        views = [self.views[row] for row in rows]
        batch_size = -(-len(views) // machine.cores())
        # For a GPU, every core decodes its part, and all parts run through the engine at once.
        engine = self.engine if self.on_cpu else None
        load_batch = partial(_load, preprocessing=self.preprocessing, engine=engine)
        parts = []
        for _, part, problems in _prefetched(load_batch, views, batch_size):
            for position, reason in problems.items():
                raise ListingError(
                    f"{views[position].path}: could be read before, and now cannot: {reason}."
                )
            parts += [] if part is None else [part]
        batch = torch.cat(parts)
        return batch if self.on_cpu else _through(self.engine, batch)


def _load(
    views: Sequence[ImageView],
    start: int,
    preprocessing: Preprocessing,
    engine: EngineCall | None,
) -> LoadedBatch:
    """Loads one batch, whose first view has position `start`."""
    readable: list[int] = []
    images: list[Tensor] = []
    problems: dict[int, str] = {}
    for (path, content), group in itertools.groupby(
        enumerate(views, start), lambda pair: (pair[1].path, pair[1].content)
    ):
        positions, same_image = zip(*group, strict=True)
        try:
            images += load(path, preprocessing, [item.view for item in same_image], content)
            readable += positions
        except Unreadable as reason:
            problems |= dict.fromkeys(positions, str(reason))
    batch = torch.stack(images) if images else None
    return readable, _through(engine, batch) if engine and batch is not None else batch, problems


def _through(engine: EngineCall, batch: Tensor) -> Tensor:
    """Runs a batch through an engine, in smaller parts where memory runs out."""
    parts = Parts().through(engine, batch)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _batches(
    views: Sequence[ImageView], batch_size: int
) -> Iterator[tuple[int, Sequence[ImageView]]]:
    """Yields the start of each batch, and the batch; the views of one image stay together."""
    start = 0
    while start < len(views):
        end = min(start + batch_size, len(views))
        while end < len(views) and views[end].path == views[end - 1].path:
            end += 1
        yield start, views[start:end]
        start = end


def _prefetched(
    load_batch: Callable[[Sequence[ImageView], int], LoadedBatch],
    views: Sequence[ImageView],
    batch_size: int,
) -> Generator[LoadedBatch, None, None]:
    """Yields batches in order, with up to two more per core in progress or ready."""
    cores = machine.cores()
    # Each worker uses one thread. The setting for threads created later is restored at the end.
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(cores, "frostline", partial(torch.set_num_threads, 1)) as pool:
        pending: deque[Future[LoadedBatch]] = deque()
        try:
            for start, batch in _batches(views, batch_size):
                pending.append(pool.submit(load_batch, batch, start))
                if len(pending) > 2 * cores:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)
