"""The first pass: computing the activations that are not kept yet, and keeping them."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from frostline.cache.chunks import CHUNK_BYTES, Store, Writer, open_store
from frostline.cache.key import Key
from frostline.console import Console
from frostline.errors import DiskError
from frostline.files import is_unicode

# What a batch of paths comes to: positions in the sequence that was given, their activations,
# and a reason for each position that has none.
Computed = tuple[list[int], Tensor | None, dict[int, str]]
Compute = Callable[[Sequence[str]], Iterator[Computed]]


@dataclass(frozen=True)
class Filled:
    """What a first pass did.

    Attributes:
        store: The cache after it.
        problems: Path to reason, for images that could not be read.
        kept: Rows that were there before.
        computed: Rows that were computed now.
        row_bytes: Bytes of one row.
        seconds: What the pass took.
    """

    store: Store
    problems: Mapping[str, str]
    kept: int
    computed: int
    row_bytes: int
    seconds: float


def fill(
    cache: Path,
    key: Key,
    wanted: Mapping[bytes, str],
    row_bytes: int,
    compute: Compute,
    console: Console,
    chunk_bytes: int = CHUNK_BYTES,
) -> Filled:
    """Brings the cache of `key` to hold every row of `wanted`.

    Args:
        cache: The folder of all caches.
        key: What the activations are of.
        wanted: Row id to the path of an image that has this content.
        row_bytes: Bytes of one activation.
        compute: Turns paths into activations, batch by batch.
        console: Where progress is shown.
        chunk_bytes: The size at which a chunk is closed.

    Raises:
        DiskError: Before anything is computed, where the rows would not fit on the disk; or while
            writing. What was finished before is kept, and the next call goes on from there.
    """
    begun = time.perf_counter()
    store = open_store(cache, key)
    for damage in store.damaged:
        console.say(f"cache: left out {damage}; its rows are computed again")
    missing = store.missing(wanted)
    kept = len(wanted) - len(missing)
    problems: dict[str, str] = {}
    if missing:
        need_room(cache, len(missing) * row_bytes)
        paths = [wanted[row] for row in missing]
        writer = Writer(store.folder, key, chunk_bytes)
        with console.bar(len(paths), "computing activations") as bar:
            try:
                for positions, activations, failed in compute(paths):
                    if activations is not None:
                        writer.add([missing[index] for index in positions], activations)
                    problems |= {paths[index]: reason for index, reason in failed.items()}
                    bar.advance(len(positions) + len(failed))
            except KeyboardInterrupt:
                writer.close()
                raise
        writer.close()
        store = open_store(cache, key)
    return Filled(
        store=store,
        problems=problems,
        kept=kept,
        computed=len(missing) - len(problems),
        row_bytes=row_bytes,
        seconds=time.perf_counter() - begun,
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
