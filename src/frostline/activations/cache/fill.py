"""The first pass: computing the activations that are not kept yet, and keeping them."""

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
    ChunkWriter,
    Store,
    open_store,
    read_chunk,
)
from frostline.activations.cache.key import CacheKey
from frostline.base.console import Console
from frostline.base.errors import BackboneError, DiskError
from frostline.base.files import is_unicode

T = TypeVar("T")
# What a batch comes to: positions in the sequence that was given, their activations, and a reason
# for each position that has none.
Computed = tuple[list[int], Tensor | None, dict[int, str]]


@dataclass(frozen=True)
class FillResult:
    """What a first pass did.

    Attributes:
        store: The cache after it.
        problems: Row to reason, for what could not be computed.
        kept: Rows that were there before.
        computed: Rows that were computed now.
        row_bytes: Bytes of one row.
        seconds: What the pass took.
    """

    store: Store
    problems: Mapping[bytes, str]
    kept: int
    computed: int
    row_bytes: int
    seconds: float


def fill(
    cache: Path,
    key: CacheKey,
    wanted: Mapping[bytes, T],
    row_bytes: int,
    compute: Callable[[Sequence[T]], Iterator[Computed]],
    console: Console,
    chunk_bytes: int = CHUNK_BYTES,
    store: Store | None = None,
    what: str = "computing activations",
) -> FillResult:
    """Brings the cache of `key` to hold every row of `wanted`.

    Args:
        cache: The folder of all caches.
        key: What the activations are of.
        wanted: Row id to what it is computed of, such as a view of an image.
        row_bytes: Bytes of one activation.
        compute: Turns values of `wanted` into activations, batch by batch.
        console: Where progress is shown.
        chunk_bytes: The size at which a chunk is closed.
        store: The cache as it is, where it was opened before.
        what: Words for the progress.

    Raises:
        BackboneError: Where activations are not finite; those are not kept.
        DiskError: Before anything is computed, where the rows would not fit on the disk; or while
            writing. What was finished before is kept, and the next call goes on from there.
    """
    begun = time.perf_counter()
    store = open_store(cache, key) if store is None else store
    for damage in store.damaged:
        console.say(f"cache: left out {damage}; its rows are computed again")
    missing = store.missing(wanted)
    kept = len(wanted) - len(missing)
    problems: dict[bytes, str] = {}
    if missing:
        need_room(cache, len(missing) * row_bytes)
        values = [wanted[row] for row in missing]
        writer = ChunkWriter(store.folder, key, chunk_bytes)
        with console.bar(len(values), what) as bar:
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
        # What was written just now need not be checked again, nor what was checked before.
        new = tuple(read_chunk(path) for path in writer.written)
        store = replace(store, chunks=(*store.chunks, *new), damaged=())
    return FillResult(
        store=store,
        problems=problems,
        kept=kept,
        computed=len(missing) - len(problems),
        row_bytes=row_bytes,
        seconds=time.perf_counter() - begun,
    )


def check_finite(activations: Tensor, line: str, compute: str) -> None:
    """Checks activations as they were computed: none may be infinite, or no number.

    Args:
        activations: [n, *shape], as they are stored.
        line: Where they were read off.
        compute: How they were computed, as a key says it.

    Raises:
        BackboneError: Saying what can be done.
    """
    if not activations.is_floating_point() or bool(activations.isfinite().all()):
        return
    advice = "Choose another --line, or another --backbone: its weights may be no numbers."
    if "bfloat16" in compute:
        advice = "Use --precision fp32."
    elif activations.dtype == torch.float16:
        # Its largest number is 65504.
        advice = "Choose another --line, or use --precision bf16."
    count = int((~activations.flatten(1).isfinite().all(1)).sum())
    raise BackboneError(
        f"line {line}: activations must be finite numbers, and those of {count} of "
        f"{len(activations)} pictures in a batch are not ({compute}, stored as "
        f"{str(activations.dtype).removeprefix('torch.')}). {advice}"
    )


def need_room(folder: Path, need_bytes: int) -> None:
    """Checks that the disk under `folder` has room.

    Raises:
        DiskError: Saying what is needed, what is free, and what can be done.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise DiskError(
            f"{folder}: the cache must be a folder, and {there} is a file. "
            "Name another place with --cache-dir."
        )
    if not is_unicode(str(folder.absolute())):
        raise DiskError(
            f"{folder}: the cache's name must be UTF-8, since safetensors opens no other file. "
            "Name another place with --cache-dir."
        )
    free_bytes = shutil.disk_usage(there).free
    if need_bytes > free_bytes:
        raise DiskError(
            f"{folder}: the cache needs {need_bytes / 2**30:.2f} GiB and the disk has "
            f"{free_bytes / 2**30:.2f} GiB free. Make room, name another place with --cache-dir, "
            "choose a later line, or run with --cache never."
        )
