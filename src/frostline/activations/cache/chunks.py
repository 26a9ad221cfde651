"""Activations on disk: a folder of immutable chunks.

A chunk is one safetensors file with a tensor of activations, a tensor of row ids, and a digest
of both. It is written to a temporary name, synced and renamed, so it is there or it is not: a
kill loses at most the chunk under way, several processes may write at once without a lock (a row
written twice is read once), and adding images is adding chunks. No chunk is ever changed.

Rows are read with plain positioned reads in the order they lie in the file. The operating system
keeps what is hot in memory, and unlike a memory map, a file that was cut short is an error
rather than a crash, and what was read does not count as the process's own memory.
"""

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
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
# A chunk is also closed after this long, or this share of the time since the first row, whichever
# is more: a kill loses little at the start, and a long fill does not end in thousands of files.
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
        offset: Where in the file the first row's activation begins.
        dtype: The stored type.
        shape: Of one activation.
        digest: What the file says its content's digest is.
        key: The digest of the key it was written under.
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
class Store:
    """The chunks of one key, as they were when it was opened.

    Attributes:
        folder: Where they lie.
        key: The digest of the key.
        chunks: The whole ones.
        damaged: What was wrong with the others; their rows count as absent.
    """

    folder: Path
    key: str
    chunks: tuple[Chunk, ...]
    damaged: tuple[str, ...] = ()

    @cached_property
    def places(self) -> dict[bytes, tuple[int, int]]:
        """Where each row lies: the chunk's number and the position in it."""
        found: dict[bytes, tuple[int, int]] = {}
        for number, chunk in enumerate(self.chunks):
            for position, row in enumerate(chunk.rows):
                found.setdefault(row, (number, position))
        return found

    def missing(self, rows: Iterable[bytes]) -> list[bytes]:
        """Returns those of `rows` that are not kept yet, each once, in order."""
        return [row for row in dict.fromkeys(rows) if row not in self.places]

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape] in the stored type.

        Raises:
            CacheError: Where a row is not kept, or a chunk has become shorter than it was.
        """
        if not rows:
            raise CacheError(f"{self.folder}: asked for no rows.")
        unknown = self.missing(rows)
        if unknown:
            raise CacheError(f"{self.folder}: {len(unknown)} of {len(rows)} rows are not kept.")
        places = [self.places[row] for row in rows]
        first = self.chunks[places[0][0]]
        out = torch.empty((len(rows), first.row_bytes), dtype=torch.uint8)
        buffer = out.numpy().data.cast("B")
        by_place = sorted(range(len(rows)), key=places.__getitem__)
        start = 0
        while start < len(by_place):
            number = places[by_place[start]][0]
            end = start
            while end < len(by_place) and places[by_place[end]][0] == number:
                end += 1
            wanted = [(index, places[index][1]) for index in by_place[start:end]]
            _read_rows(self.chunks[number], wanted, buffer)
            start = end
        return out.view(first.dtype).reshape(len(rows), *first.shape)


@dataclass(frozen=True)
class Resident:
    """Rows that are held in memory: for heads, which take less time than a read.

    Attributes:
        places: Row id to its place in `values`.
        values: [n, *shape], in the stored type.
    """

    places: Mapping[bytes, int]
    values: Tensor

    def fetch(self, rows: Sequence[bytes]) -> Tensor:
        """Returns the activations of `rows`: [n, *shape]."""
        return self.values[[self.places[row] for row in rows]]


def resident(store: Store, rows: Iterable[bytes], device: torch.device = _CPU) -> Resident:
    """Reads those of `rows` that are kept into a device's memory, each once."""
    rows = [row for row in dict.fromkeys(rows) if row in store.places]
    places = {row: place for place, row in enumerate(rows)}
    first = store.chunks[0]
    values = torch.empty((len(rows), *first.shape), dtype=first.dtype, device=device)
    # A GPU's memory may be larger than this machine's.
    count = max(1, CHUNK_BYTES // first.row_bytes)
    for start in range(0, len(rows), count):
        part = store.fetch(rows[start : start + count])
        values[start : start + len(part)] = part
    return Resident(places, values)


def open_store(cache: Path, key: CacheKey, threads: int = 2) -> Store:
    """Opens the chunks of `key` and checks each one's digest.

    Args:
        cache: The folder of all caches; it need not exist.
        key: What to look for.
        threads: How many chunks are checked at once.
    """
    return _open(key.folder(cache), key.digest, threads)


def _open(folder: Path, key: str, threads: int) -> Store:
    names = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda path: _checked(path, key), names))
    chunks = tuple(result for result in results if isinstance(result, Chunk))
    damaged = tuple(result for result in results if isinstance(result, str))
    return Store(folder, key, chunks, damaged)


def _checked(path: Path, key: str) -> Chunk | str:
    try:
        chunk = read_chunk(path)
    except FileNotFoundError:
        return f"{path.name}: removed while it was opened"
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        return f"{path.name}: not a whole chunk ({error})"
    if chunk.key != key:
        return f"{path.name}: written under another key"
    if content_digest(chunk) != chunk.digest:
        return f"{path.name}: its content is not what was written"
    return chunk


def read_chunk(path: Path) -> Chunk:
    """Reads what a chunk says of itself, not its activations.

    Raises:
        OSError: Where it cannot be read.
        ValueError: Where it is no chunk; also KeyError or safetensors' own error.
    """
    with safetensors.safe_open(path, framework="np") as opened:
        facts = opened.metadata() or {}
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
        digest=facts["digest"],
        key=facts["key"],
    )


def content_digest(chunk: Chunk) -> str:
    """Returns the digest of a chunk's rows and activations as they lie on disk now."""
    state = hashlib.sha256(b"".join(chunk.rows))
    left = chunk.row_bytes * len(chunk.rows)
    with chunk.path.open("rb", buffering=0) as file:
        file.seek(chunk.offset)
        while left > 0:
            block = file.read(min(_READ_BYTES, left))
            if not block:
                break
            state.update(block)
            left -= len(block)
    return state.hexdigest()


def _read_rows(chunk: Chunk, wanted: list[tuple[int, int]], buffer: memoryview) -> None:
    size = chunk.row_bytes
    try:
        with chunk.path.open("rb", buffering=0) as file:
            for index, position in wanted:
                piece = buffer[index * size : (index + 1) * size]
                got = os.preadv(file.fileno(), [piece], chunk.offset + position * size)
                if got != size:
                    raise CacheError(
                        f"{chunk.path}: ends too early. "
                        "Remove it with `frostline cache verify --remove`, and run again."
                    )
    except OSError as error:
        raise CacheError(f"{chunk.path}: cannot be read: {error.strerror}.") from error


@dataclass
class ChunkWriter:
    """Gathers rows and writes a chunk whenever there are enough.

    Attributes:
        folder: Where chunks go.
        key: The key they are written under.
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
            DiskError: Where a chunk cannot be written; those before it stay.
        """
        self._rows += rows
        self._parts.append(activations)
        self._bytes += activations.nbytes
        now = time.monotonic()
        due_s = max(CLOSE_AFTER_S, CLOSE_AFTER_SHARE * (now - self._begun))
        if self._bytes >= self.chunk_bytes or now - self._closed >= due_s:
            self.close()

    def close(self) -> None:
        """Writes what is gathered, if anything.

        Raises:
            DiskError: Where the chunk cannot be written.
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
        folder: Where to; made, with the key's facts beside the chunks, where it is absent.
        key: The key.
        rows: n row ids.
        activations: [n, *shape], in the stored type.

    Raises:
        DiskError: Where it cannot be written; nothing of it is left.
    """
    activations = activations.detach().cpu().contiguous()
    ids = torch.frombuffer(bytearray(b"".join(rows)), dtype=torch.uint8).reshape(len(rows), -1)
    state = hashlib.sha256(b"".join(rows))
    state.update(activations.reshape(-1).view(torch.uint8).numpy().data)
    facts = {"digest": state.hexdigest(), "key": key.digest}

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from error
    if not (folder / FACTS).exists():
        write_json(folder / FACTS, key.facts())
    path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
    tensors = {"activations": activations, "rows": ids}
    write_atomic(path, lambda temporary: save_tensors(temporary, tensors, facts))
    return path


def facts_of(folder: Path) -> dict[str, Any]:
    """Returns the key's facts that lie beside the chunks; empty where they are absent."""
    try:
        value = json.loads((folder / FACTS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def rows_in(folder: Path) -> set[bytes]:
    """Returns the ids of the rows that chunks in `folder` name, unchecked: for estimates."""
    found: set[bytes] = set()
    for path in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, KeyError, safetensors.SafetensorError):
            found |= set(read_chunk(path).rows)
    return found
