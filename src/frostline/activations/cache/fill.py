"""Filling the cache: computing the activations that are missing, and writing them."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from frostline.activations.cache.chunks import (
    CHUNK_BYTES,
    ChunkStore,
    ChunkWriter,
    open_store,
    read_chunk,
)
from frostline.activations.cache.key import CacheKey
from frostline.base.console import Console
from frostline.base.errors import BackboneError, DiskError
from frostline.base.files import is_unicode

T = TypeVar("T")
# The result of one batch: positions in the given sequence, their activations, and a reason for each
# position that has none.
Computed = tuple[list[int], Tensor | None, dict[int, str]]


@dataclass(frozen=True)
class FillResult:
    """What filling the cache did.

    Attributes:
        store: The cache afterwards.
        problems: Row id to reason, for rows that could not be computed.
        cached: How many rows were there before.
        computed: How many rows were computed now.
        row_bytes: Bytes of one row.
        seconds: Wall time.
    """

    store: ChunkStore
    problems: Mapping[bytes, str]
    cached: int
    computed: int
    row_bytes: int
    seconds: float


def fill(
    cache: Path,
    key: CacheKey,
    inputs: Mapping[bytes, T],
    row_bytes: int,
    compute: Callable[[Sequence[T]], Iterator[Computed]],
    console: Console,
    chunk_bytes: int = CHUNK_BYTES,
    store: ChunkStore | None = None,
    what: str = "computing activations",
    step: str = "",
) -> FillResult:
    """Computes the rows of `inputs` that the cache of `key` lacks, and writes them.

    Args:
        cache: The folder of all caches.
        key: The cache key.
        inputs: Row id to what it is computed from, such as a view of an image.
        row_bytes: Bytes of one activation.
        compute: Turns values of `inputs` into activations, batch by batch.
        console: Where progress is shown.
        chunk_bytes: The size at which a chunk is closed.
        store: The opened cache; None to open it.
        what: The label of the progress bar.
        step: Its name in what is to come of the whole job.

    Raises:
        BackboneError: If activations are not finite; those are not written.
        DiskError: If the rows would not fit on the disk, before anything is computed; or if writing
            fails. Finished chunks stay, and the next call continues from there.
    """
    begun = time.perf_counter()
    store = open_store(cache, key) if store is None else store
    for damage in store.damaged:
        console.say(f"cache: ignoring {damage}; its rows are computed again")
    missing = store.missing(inputs)
    cached = len(inputs) - len(missing)
    problems: dict[bytes, str] = {}
    if missing:
        need_room(cache, len(missing) * row_bytes)
        values = [inputs[row] for row in missing]
        writer = ChunkWriter(store.folder, key, chunk_bytes)
        with console.bar(len(values), what, "view", step) as bar:
            try:
                for positions, activations, failed in compute(values):
                    if activations is not None:
                        check_finite(activations, key.line, key.compute)
                        writer.add([missing[index] for index in positions], activations)
                    problems |= {missing[index]: reason for index, reason in failed.items()}
                    bar.advance(len(positions) + len(failed))
            except KeyboardInterrupt:
                writer.close()
                raise
        writer.close()
        # Neither the chunks just written nor those opened before need another check.
        new = tuple(read_chunk(path) for path in writer.written)
        store = replace(store, chunks=(*store.chunks, *new), damaged=())
    return FillResult(
        store=store,
        problems=problems,
        cached=cached,
        computed=len(missing) - len(problems),
        row_bytes=row_bytes,
        seconds=time.perf_counter() - begun,
    )


def check_finite(activations: Tensor, line: str, compute: str) -> None:
    """Checks that all activations are finite.

    Args:
        activations: [n, *shape], in the stored type.
        line: The line they belong to.
        compute: The engine's name, as in a cache key.

    Raises:
        BackboneError: If any is infinite or NaN; says what can be done.
    """
    if not activations.is_floating_point() or bool(activations.isfinite().all()):
        return
    advice = "Choose another --line, or another --backbone: its weights may be NaN."
    if "bfloat16" in compute:
        advice = "Use --precision fp32."
    elif activations.dtype == torch.float16:
        # Its largest number is 65504.
        advice = "Choose another --line, or use --precision bf16."
    count = int((~activations.flatten(1).isfinite().all(1)).sum())
    raise BackboneError(
        f"line {line}: activations must be finite, and those of {count} of "
        f"{len(activations)} images in a batch are not ({compute}, stored as "
        f"{str(activations.dtype).removeprefix('torch.')}). {advice}"
    )


def need_room(folder: Path, need_bytes: int) -> None:
    """Checks that the disk of `folder` has `need_bytes` free.

    Raises:
        DiskError: If not; says what is needed, what is free, and what can be done.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise DiskError(
            f"{folder}: the cache must be a folder, and {existing} is a file. "
            "Name another place with --cache-dir."
        )
    if not is_unicode(str(folder.absolute())):
        raise DiskError(
            f"{folder}: the cache's path must be valid UTF-8: safetensors cannot open others. "
            "Name another place with --cache-dir."
        )
    free_bytes = shutil.disk_usage(existing).free
    if need_bytes > free_bytes:
        raise DiskError(
            f"{folder}: the cache needs {need_bytes / 2**30:.2f} GiB and the disk has "
            f"{free_bytes / 2**30:.2f} GiB free. Make room, name another place with --cache-dir, "
            "choose a later line, or run with --cache never."
        )
