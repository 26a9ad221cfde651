"""Activations on disk: a folder of immutable files, the chunks.

A chunk is a safetensors file with a tensor of activations, a tensor of row ids, and a digest of
both. It is written under a temporary name, synced and renamed, so it either exists whole or not at
all. A kill therefore loses at most the current chunk. Several processes may write at once without
a lock; a row that was written twice is read once. Adding images adds chunks, and no chunk is ever
changed.

Rows are read with positioned reads, in the order in which they lie in the file. The operating
system's page cache keeps frequently used rows in memory. Unlike with a memory map, a truncated
file is an error rather than a crash, and pages that were read do not count as the process's memory.
"""

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import Tensor

from frostline.activations.cache.key import ROW_ID_BYTES, CacheKey
from frostline.base.errors import CacheError
from frostline.base.files import disk_error, save_tensors, write_atomic, write_json

CHUNK_BYTES = 64 << 20
SUFFIX = ".safetensors"
FACTS = "key.json"
# A chunk is also closed after this many seconds, or this share of the time since the fill began,
# whichever is longer: a kill loses little early on, and a long fill leaves no thousands of files.
CLOSE_AFTER_S = 5.0
CLOSE_AFTER_SHARE = 0.05
_READ_BYTES = 8 << 20
_CPU = torch.device("cpu")
_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "U8": torch.uint8}


@dataclass(frozen=True)
class Chunk:
    """One file of the cache.

    Attributes:
        path: The file.
        rows: The ids of its rows, in order.
        offset: Byte offset of the first row's activation.
        dtype: The stored type.
        shape: Of one activation.
        digest: The digest of its content, as recorded in the file.
        key: The digest of the cache key it was written under.
    """

    path: Path
    rows: tuple[bytes, ...]
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    digest: str
    key: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one activation."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class ChunkStore:
    """The chunks of one cache key, as they were when the store was opened.

    Attributes:
        folder: The key's folder.
        key: The digest of the key.
        chunks: The intact chunks.
        damaged: A message for each damaged chunk; its rows count as missing.
    """

    folder: Path
    key: str
    chunks: tuple[Chunk, ...]
    damaged: tuple[str, ...] = ()

    @cached_property
    def locations(self) -> dict[bytes, tuple[int, int]]:
        """Where each row lies: the index of the chunk, and the position in the chunk."""
        locations: dict[bytes, tuple[int, int]] = {}
        for number, chunk in enumerate(self.chunks):
            for position, row in enumerate(chunk.rows):
                locations.setdefault(row, (number, position))
        return locations

    def missing(self, rows: Iterable[bytes]) -> list[bytes]:
        """Returns those of `rows` that are not cached yet, each once, in order."""
        return [row for row in dict.fromkeys(rows) if row not in self.locations]

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape] in the stored type.

        Raises:
            CacheError: If a row is not cached, or a chunk was truncated since it was opened.
        """
        if not rows:
            raise CacheError(f"{self.folder}: asked for no rows.")
        missing = self.missing(rows)
        if missing:
            raise CacheError(f"{self.folder}: {len(missing)} of {len(rows)} rows are not cached.")
        locations = [self.locations[row] for row in rows]
        first = self.chunks[locations[0][0]]
        out = torch.empty((len(rows), first.row_bytes), dtype=torch.uint8)
        buffer = out.numpy().data.cast("B")
        in_file_order = sorted(range(len(rows)), key=locations.__getitem__)
        for number, indices in groupby(in_file_order, lambda index: locations[index][0]):
            reads = [(index, locations[index][1]) for index in indices]
            _read_rows(self.chunks[number], reads, buffer)
        return out.view(first.dtype).reshape(len(rows), *first.shape)


@dataclass(frozen=True)
class RowsInMemory:
    """Rows held in memory: a step of a small head takes less time than reading its batch.

    Attributes:
        positions: Row id to its index in `values`.
        values: [n, *shape], in the stored type.
    """

    positions: Mapping[bytes, int]
    values: Tensor

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape]."""
        return self.values[[self.positions[row] for row in rows]]


def load_rows(
    store: ChunkStore, rows: Iterable[bytes], device: torch.device = _CPU
) -> RowsInMemory:
    """Reads those of `rows` that are cached into a device's memory, each once."""
    rows = [row for row in dict.fromkeys(rows) if row in store.locations]
    positions = {row: position for position, row in enumerate(rows)}
    first = store.chunks[0]
    values = torch.empty((len(rows), *first.shape), dtype=first.dtype, device=device)
    # Part by part: a GPU's memory may be larger than the host's.
    count = max(1, CHUNK_BYTES // first.row_bytes)
    for start in range(0, len(rows), count):
        part = store.fetch(rows[start : start + count])
        values[start : start + len(part)] = part
    return RowsInMemory(positions, values)


def open_store(cache: Path, key: CacheKey, threads: int = 2) -> ChunkStore:
    """Opens the chunks of `key` and checks the digest of each.

    Args:
        cache: The folder of all caches; it need not exist.
        key: The cache key.
        threads: How many chunks are checked in parallel.
    """
    return _open(key.folder(cache), key.digest, threads)


def _open(folder: Path, key: str, threads: int) -> ChunkStore:
    paths = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda path: _checked(path, key), paths))
    chunks = tuple(result for result in results if isinstance(result, Chunk))
    damaged = tuple(result for result in results if isinstance(result, str))
    return ChunkStore(folder, key, chunks, damaged)


def _checked(path: Path, key: str) -> Chunk | str:
    try:
        chunk = read_chunk(path)
    except FileNotFoundError:
        return f"{path.name}: removed while it was opened"
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        return f"{path.name}: not an intact chunk ({error})"
    if chunk.key != key:
        return f"{path.name}: written under another key"
    if content_digest(chunk) != chunk.digest:
        return f"{path.name}: its content does not match its digest"
    return chunk


def read_chunk(path: Path) -> Chunk:
    """Reads a chunk's header and row ids, not its activations.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a chunk; also KeyError or safetensors' own error.
    """
    with safetensors.safe_open(path, framework="np") as opened:
        metadata = opened.metadata() or {}
        ids = opened.get_tensor("rows")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))["activations"]
    if entry["shape"][0] != len(ids) or ids.shape[1:] != (ROW_ID_BYTES,):
        raise ValueError("its rows and activations do not agree")
    return Chunk(
        path=path,
        rows=tuple(bytes(row) for row in ids),
        offset=8 + length + entry["data_offsets"][0],
        dtype=_DTYPES[entry["dtype"]],
        shape=tuple(entry["shape"][1:]),
        digest=metadata["digest"],
        key=metadata["key"],
    )


def content_digest(chunk: Chunk) -> str:
    """Returns the digest of a chunk's rows and activations as they are on disk now."""
    state = hashlib.sha256(b"".join(chunk.rows))
    remaining = chunk.row_bytes * len(chunk.rows)
    with chunk.path.open("rb", buffering=0) as file:
        file.seek(chunk.offset)
        while remaining > 0:
            block = file.read(min(_READ_BYTES, remaining))
            if not block:
                break
            state.update(block)
            remaining -= len(block)
    return state.hexdigest()


def _read_rows(chunk: Chunk, reads: list[tuple[int, int]], buffer: memoryview) -> None:
    """Reads rows into `buffer`; `reads` holds pairs of its index there and in the chunk."""
    size = chunk.row_bytes
    try:
        with chunk.path.open("rb", buffering=0) as file:
            for index, position in reads:
                target = buffer[index * size : (index + 1) * size]
                file.seek(chunk.offset + position * size)
                if file.readinto(target) != size:
                    raise CacheError(
                        f"{chunk.path}: is truncated. "
                        "Remove it with `frostline cache verify --remove`, and run again."
                    )
    except OSError as error:
        raise CacheError(f"{chunk.path}: cannot be read: {error.strerror}.") from error


@dataclass
class ChunkWriter:
    """Collects rows and writes a chunk whenever there are enough.

    Attributes:
        folder: Where chunks are written.
        key: The cache key.
        chunk_bytes: The size at which a chunk is closed.
        written: Paths of the chunks written so far.
    """

    folder: Path
    key: CacheKey
    chunk_bytes: int = CHUNK_BYTES
    written: list[Path] = field(default_factory=list)
    _rows: list[bytes] = field(default_factory=list)
    _parts: list[Tensor] = field(default_factory=list)
    _bytes: int = 0
    _begun: float = field(default_factory=time.monotonic)
    _closed: float = field(default_factory=time.monotonic)

    def add(self, rows: Sequence[bytes], activations: Tensor) -> None:
        """Adds `activations` [n, *shape], in the stored type, under `rows`.

        Raises:
            DiskError: If a chunk cannot be written; earlier ones stay.
        """
        self._rows += rows
        self._parts.append(activations)
        self._bytes += activations.nbytes
        now = time.monotonic()
        due_s = max(CLOSE_AFTER_S, CLOSE_AFTER_SHARE * (now - self._begun))
        if self._bytes >= self.chunk_bytes or now - self._closed >= due_s:
            self.close()

    def close(self) -> None:
        """Writes the rows collected so far, if any.

        Raises:
            DiskError: If the chunk cannot be written.
        """
        if self._rows:
            self.written.append(
                write_chunk(self.folder, self.key, self._rows, torch.cat(self._parts))
            )
        self._rows, self._parts, self._bytes = [], [], 0
        self._closed = time.monotonic()


def write_chunk(folder: Path, key: CacheKey, rows: Sequence[bytes], activations: Tensor) -> Path:
    """Writes one chunk and returns its path.

    Args:
        folder: The key's folder; created, together with a file that describes the key, if absent.
        key: The cache key.
        rows: n row ids.
        activations: [n, *shape], in the stored type.

    Raises:
        DiskError: If it cannot be written; no partial file is left.
    """
    activations = activations.detach().cpu().contiguous()
    ids = torch.frombuffer(bytearray(b"".join(rows)), dtype=torch.uint8).reshape(len(rows), -1)
    state = hashlib.sha256(b"".join(rows))
    state.update(activations.reshape(-1).view(torch.uint8).numpy().data)
    metadata = {"digest": state.hexdigest(), "key": key.digest}

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from error
    if not (folder / FACTS).exists():
        write_json(folder / FACTS, key.facts())
    path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
    tensors = {"activations": activations, "rows": ids}
    write_atomic(path, lambda temporary: save_tensors(temporary, tensors, metadata))
    return path


def facts_of(folder: Path) -> dict[str, Any]:
    """Returns the description of the key beside the chunks; empty if there is none."""
    try:
        value = json.loads((folder / FACTS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def rows_in(folder: Path) -> set[bytes]:
    """Returns the row ids of all chunks in `folder`; digests are not checked: for estimates."""
    rows: set[bytes] = set()
    for path in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, KeyError, safetensors.SafetensorError):
            rows |= set(read_chunk(path).rows)
    return rows
