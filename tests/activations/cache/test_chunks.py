import json
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from frostline.activations.cache import chunks
from frostline.activations.cache.chunks import ChunkWriter, load_rows, open_store, write_chunk
from frostline.activations.cache.key import CacheKey, row_id
from frostline.base.errors import CacheError, DiskError

KEY = CacheKey("net", "block", "00" * 20, {}, "1", "eager", "float32", (3, 4))


def rows_of(count: int, start: int = 0) -> list[bytes]:
    return [row_id(str(number), "center") for number in range(start, start + count)]


def values_of(count: int, start: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    numbers = torch.arange(start, start + count).reshape(-1, 1, 1).expand(-1, 3, 4)
    return (numbers % 200).to(dtype).contiguous()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return KEY.folder(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_rows_come_back_in_the_order_asked(
    tmp_path: Path, folder: Path, dtype: torch.dtype
) -> None:
    for start in (0, 10, 20):
        write_chunk(folder, KEY, rows_of(10, start), values_of(10, start, dtype))
    store = open_store(tmp_path, KEY)
    wanted = [29, 0, 13, 13, 7, 20]
    got = store.fetch([rows_of(1, number)[0] for number in wanted])
    assert got.dtype == dtype
    assert got.shape == (6, 3, 4)
    assert got[:, 0, 0].tolist() == wanted


def test_rows_held_in_memory_are_those_on_disk(tmp_path: Path, folder: Path) -> None:
    write_chunk(folder, KEY, rows_of(10), values_of(10))
    store = open_store(tmp_path, KEY)
    held = load_rows(store, [*rows_of(6, 4), *rows_of(2, 4), *rows_of(1, 99)])
    assert len(held.positions) == 6
    wanted = [rows_of(1, number)[0] for number in (9, 4, 4)]
    assert torch.equal(held.fetch(wanted), store.fetch(wanted))


def test_vectors_work(tmp_path: Path) -> None:
    key = CacheKey("net", "pooled", "00" * 20, {}, "1", "eager", "float32", (5,))
    write_chunk(key.folder(tmp_path), key, rows_of(2), torch.arange(10.0).reshape(2, 5))
    assert open_store(tmp_path, key).fetch(rows_of(2)[::-1])[0].tolist() == [5, 6, 7, 8, 9]


def test_a_row_written_twice_is_read_once(tmp_path: Path, folder: Path) -> None:
    write_chunk(folder, KEY, rows_of(4), values_of(4))
    write_chunk(folder, KEY, rows_of(6, 2), values_of(6, 2))
    store = open_store(tmp_path, KEY)
    assert len(store.locations) == 8
    assert store.fetch(rows_of(8))[:, 0, 0].tolist() == list(range(8))


def test_asking_for_what_is_not_kept_is_an_error(tmp_path: Path, folder: Path) -> None:
    write_chunk(folder, KEY, rows_of(2), values_of(2))
    with pytest.raises(CacheError, match="1 of 2 rows are not cached"):
        open_store(tmp_path, KEY).fetch([*rows_of(1), *rows_of(1, 99)])


def test_the_key_lies_beside_the_chunks_in_words(folder: Path) -> None:
    write_chunk(folder, KEY, rows_of(1), values_of(1))
    assert json.loads((folder / "key.json").read_text())["line"] == "block"


@pytest.mark.parametrize("where", [-1, 9, 200])
def test_a_flipped_bit_is_found_and_the_rows_count_as_absent(
    tmp_path: Path, folder: Path, where: int
) -> None:
    path = write_chunk(folder, KEY, rows_of(4), values_of(4))
    write_chunk(folder, KEY, rows_of(2, 4), values_of(2, 4))
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    store = open_store(tmp_path, KEY)
    assert len(store.damaged) == 1
    assert path.name in store.damaged[0]
    assert store.missing(rows_of(6)) == rows_of(4)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_chunk_cut_short_is_left_out(tmp_path: Path, folder: Path, keep: int) -> None:
    path = write_chunk(folder, KEY, rows_of(4), values_of(4))
    path.write_bytes(path.read_bytes()[:keep])
    store = open_store(tmp_path, KEY)
    assert not store.chunks
    assert len(store.damaged) == 1


def test_a_chunk_of_another_key_is_never_read(tmp_path: Path, folder: Path) -> None:
    other = CacheKey("net", "block", "11" * 20, {}, "1", "eager", "float32", (3, 4))
    path = write_chunk(other.folder(tmp_path), other, rows_of(4), values_of(4))
    folder.mkdir()
    path.rename(folder / path.name)
    assert "another key" in open_store(tmp_path, KEY).damaged[0]


def test_a_chunk_cut_short_after_it_was_opened_is_an_error_not_a_crash(
    tmp_path: Path, folder: Path
) -> None:
    path = write_chunk(folder, KEY, rows_of(4), values_of(4))
    store = open_store(tmp_path, KEY)
    os.truncate(path, store.chunks[0].offset + 8)
    with pytest.raises(CacheError, match=r"is truncated.*cache verify --remove"):
        store.fetch(rows_of(4))


def test_a_writer_closes_a_chunk_when_it_is_big_enough(tmp_path: Path, folder: Path) -> None:
    writer = ChunkWriter(folder, KEY, chunk_bytes=10 * 48)
    for start in range(0, 25, 5):
        writer.add(rows_of(5, start), values_of(5, start))
    assert len(writer.written) == 2
    writer.close()
    writer.close()
    assert len(writer.written) == 3
    assert len(open_store(tmp_path, KEY).locations) == 25


def test_a_writer_closes_a_chunk_when_it_is_old_enough(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CLOSE_AFTER_S", 0.0)
    monkeypatch.setattr(chunks, "CLOSE_AFTER_SHARE", 0.0)
    writer = ChunkWriter(folder, KEY)
    writer.add(rows_of(5), values_of(5))
    assert len(writer.written) == 1


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path: Path, folder: Path) -> None:
    write_chunk(folder, KEY, rows_of(4), values_of(4))
    before = sorted(folder.iterdir())
    # A process that may not write files of more than 4 KiB meets what a full disk gives.
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(DiskError, match="the disk is full; what was finished before is kept"):
            write_chunk(folder, KEY, rows_of(400, 4), values_of(400, 4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(folder.iterdir()) == before
    assert open_store(tmp_path, KEY).fetch(rows_of(4)).shape[0] == 4


def test_what_is_held_is_read_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, values = rows_of(10), values_of(10)
    write_chunk(KEY.folder(tmp_path), KEY, rows, values)
    store = open_store(tmp_path, KEY)
    fetched: list[int] = []
    fetch = chunks.ChunkStore.fetch

    def noted(self: chunks.ChunkStore, rows: Sequence[bytes]) -> torch.Tensor:
        fetched.append(len(rows))
        return fetch(self, rows)

    monkeypatch.setattr(chunks.ChunkStore, "fetch", noted)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4 * store.chunks[0].row_bytes)
    assert torch.equal(load_rows(store, rows).fetch(rows), values)
    assert fetched == [4, 4, 2]
