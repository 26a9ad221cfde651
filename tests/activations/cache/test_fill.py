import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from frostline.activations.cache import chunks
from frostline.activations.cache.chunks import open_store
from frostline.activations.cache.fill import Computed, fill
from frostline.activations.cache.key import CacheKey, row_id
from frostline.base.console import QUIET
from frostline.base.errors import BackboneError, DiskError

KEY = CacheKey("net", "block", "00" * 20, {}, "1", "eager", "float32", (8,))
ROW_BYTES = 32
BATCH = 4


def wanted(count: int) -> dict[bytes, str]:
    return {row_id(str(number), "center"): f"{number}.png" for number in range(count)}


def compute(paths: Sequence[str], log: Path | None = None, wait_s: float = 0) -> Iterator[Computed]:
    """Stands for decoding and a prefix: the activation of `7.png` is 7; `bad…` cannot be read."""
    for start in range(0, len(paths), BATCH):
        part = range(start, min(start + BATCH, len(paths)))
        good = [index for index in part if not paths[index].startswith("bad")]
        time.sleep(wait_s)
        values = [torch.full((8,), float(paths[index].split(".")[0])) for index in good]
        if log:
            with log.open("a") as file:
                file.writelines(f"{paths[index]}\n" for index in good)
        bad = {index: "truncated" for index in part if index not in good}
        yield good, torch.stack(values) if values else None, bad


def test_adding_ten_to_a_thousand_computes_ten(tmp_path: Path) -> None:
    first = fill(tmp_path, KEY, wanted(1000), ROW_BYTES, compute, QUIET)
    assert (first.cached, first.computed) == (0, 1000)
    log = tmp_path / "log"
    more = fill(tmp_path, KEY, wanted(1010), ROW_BYTES, lambda p: compute(p, log), QUIET)
    assert (more.cached, more.computed) == (1000, 10)
    assert log.read_text().split() == [f"{number}.png" for number in range(1000, 1010)]
    assert more.store.fetch(list(wanted(1010)))[:, 0].tolist() == list(map(float, range(1010)))


def test_nothing_is_computed_where_all_is_kept(tmp_path: Path) -> None:
    fill(tmp_path, KEY, wanted(9), ROW_BYTES, compute, QUIET)

    def never(paths: Sequence[str]) -> Iterator[Computed]:
        raise AssertionError(paths)

    assert fill(tmp_path, KEY, wanted(9), ROW_BYTES, never, QUIET).cached == 9


def test_images_that_cannot_be_read_are_named_and_nothing_stands_for_them(tmp_path: Path) -> None:
    rows = {**wanted(5), row_id("x", "center"): "bad.png"}
    filled = fill(tmp_path, KEY, rows, ROW_BYTES, compute, QUIET)
    assert filled.problems == {row_id("x", "center"): "truncated"}
    assert filled.computed == 5
    assert filled.store.missing(rows) == [row_id("x", "center")]


def test_room_is_checked_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))

    def never(paths: Sequence[str]) -> Iterator[Computed]:
        raise AssertionError(paths)

    with pytest.raises(DiskError, match=r"needs .* GiB free\. Make room, .*--cache-dir"):
        fill(tmp_path / "new" / "cache", KEY, wanted(100), ROW_BYTES, never, QUIET)


def test_a_damaged_chunk_is_computed_again(tmp_path: Path) -> None:
    first = fill(tmp_path, KEY, wanted(6), ROW_BYTES, compute, QUIET)
    path = first.store.chunks[0].path
    path.write_bytes(path.read_bytes()[:-1])
    again = fill(tmp_path, KEY, wanted(6), ROW_BYTES, compute, QUIET)
    assert again.computed == 6
    assert again.store.fetch(list(wanted(6)))[:, 0].tolist() == list(map(float, range(6)))


def in_a_child(cache: Path, count: int, log: Path, chunk_rows: int, wait_s: float) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            slow = lambda paths: compute(paths, log, wait_s)  # noqa: E731
            fill(cache, KEY, wanted(count), ROW_BYTES, slow, QUIET, chunk_rows * ROW_BYTES)
            status = 0
        finally:
            os._exit(status)
    return child


def test_twenty_kills_lose_at_most_a_chunk_each(tmp_path: Path) -> None:
    count, chunk_rows, kills = 400, 16, 20
    log, chance = tmp_path / "log", random.Random(5)
    cache = tmp_path / "cache"
    for _ in range(kills):
        child = in_a_child(cache, count, log, chunk_rows, 0.002)
        time.sleep(chance.uniform(0.005, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    filled = fill(cache, KEY, wanted(count), ROW_BYTES, lambda p: compute(p, log), QUIET)
    assert filled.store.fetch(list(wanted(count)))[:, 0].tolist() == list(map(float, range(count)))
    assert not filled.store.damaged
    computed = len(log.read_text().split())
    assert computed <= count + kills * (chunk_rows + BATCH)


def test_two_processes_fill_one_cache_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    children = [in_a_child(cache, 80, tmp_path / f"log{n}", 8, 0.003) for n in range(2)]
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0
    store = open_store(cache, KEY)
    assert not store.damaged
    assert store.fetch(list(wanted(80)))[:, 0].tolist() == list(map(float, range(80)))


def test_an_interruption_keeps_what_was_computed(tmp_path: Path) -> None:
    def interrupted(paths: Sequence[str]) -> Iterator[Computed]:
        for number, batch in enumerate(compute(paths)):
            if number == 3:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, KEY, wanted(40), ROW_BYTES, interrupted, QUIET)
    assert fill(tmp_path, KEY, wanted(40), ROW_BYTES, compute, QUIET).cached == 3 * BATCH


def test_a_row_may_be_computed_of_anything(tmp_path: Path) -> None:
    rows = {row_id("a", "center"): (3, "left"), row_id("a", "v1"): (4, "right")}

    def of_pairs(values: Sequence[tuple[int, str]]) -> Iterator[Computed]:
        assert values == [(3, "left"), (4, "right")]
        yield [1], torch.full((1, 8), float(values[1][0])), {0: f"no {values[0][1]}"}

    filled = fill(tmp_path, KEY, rows, ROW_BYTES, of_pairs, QUIET)
    assert filled.problems == {row_id("a", "center"): "no left"}
    assert filled.store.fetch([row_id("a", "v1")])[0, 0] == 4
    assert (filled.cached, filled.computed) == (0, 1)


def test_two_rows_of_one_picture_have_a_problem_each(tmp_path: Path) -> None:
    rows = {row_id("x", view): "bad.png" for view in ("center", "v1")}
    filled = fill(tmp_path, KEY, rows, ROW_BYTES, compute, QUIET)
    assert filled.problems == dict.fromkeys(rows, "truncated")
    assert filled.computed == 0
    assert filled.store.chunks == ()


def test_an_opened_store_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fill(tmp_path, KEY, wanted(6), ROW_BYTES, compute, QUIET)
    opened = open_store(tmp_path, KEY)

    def never(*rest: object) -> None:
        raise AssertionError(rest)

    monkeypatch.setattr(chunks, "content_digest", never)
    same = fill(tmp_path, KEY, wanted(6), ROW_BYTES, compute, QUIET, store=opened)
    assert (same.cached, same.computed) == (6, 0)
    assert same.store == opened == first.store
    more = fill(tmp_path, KEY, wanted(9), ROW_BYTES, compute, QUIET, store=opened)
    assert (more.cached, more.computed) == (6, 3)
    assert more.store.chunks[0] == opened.chunks[0]
    assert len(opened.chunks) == 1


def test_what_was_written_just_now_is_found_without_checking_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    real = chunks.content_digest
    monkeypatch.setattr(
        chunks, "content_digest", lambda chunk: (checked.append(chunk.path), real(chunk))[1]
    )
    filled = fill(tmp_path, KEY, wanted(40), ROW_BYTES, compute, QUIET, 8 * ROW_BYTES)
    assert len(filled.store.chunks) == 5
    assert checked == []
    want = list(map(float, range(40)))
    assert filled.store.fetch(list(wanted(40)))[:, 0].tolist() == want
    assert not open_store(tmp_path, KEY).damaged
    assert len(checked) == 5


def test_a_damaged_chunk_of_an_opened_store_is_told_once(
    tmp_path: Path,
) -> None:
    first = fill(tmp_path, KEY, wanted(6), ROW_BYTES, compute, QUIET)
    path = first.store.chunks[0].path
    path.write_bytes(path.read_bytes()[:-1])
    opened = open_store(tmp_path, KEY)
    assert len(opened.damaged) == 1
    told: list[str] = []
    console = SimpleNamespace(say=told.append, bar=QUIET.bar)
    filled = fill(tmp_path, KEY, wanted(6), ROW_BYTES, compute, console, store=opened)
    assert told == [f"cache: ignoring {opened.damaged[0]}; its rows are computed again"]
    assert filled.store.damaged == ()
    again = fill(tmp_path, KEY, wanted(6), ROW_BYTES, compute, console, store=filled.store)
    assert (len(told), again.cached) == (1, 6)


@pytest.mark.parametrize(
    ("dtype", "engine", "advice"),
    [
        (torch.float16, "eager-cpu-float32-folded", "another --line, or use --precision bf16."),
        (torch.bfloat16, "eager-cpu-bfloat16-folded", "Use --precision fp32."),
        (torch.float32, "eager-cpu-bfloat16-folded via x", "Use --precision fp32."),
        (torch.float32, "eager-cpu-float32-folded", "its weights may be NaN."),
    ],
)
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_is_refused(
    tmp_path: Path, dtype: torch.dtype, engine: str, advice: str, value: float
) -> None:
    key = CacheKey(
        "net", "block", "00" * 20, {}, "1", engine, str(dtype).removeprefix("torch."), (8,)
    )
    many = wanted(10)

    def broken(paths: Sequence[str]) -> Iterator[Computed]:
        for positions, made, bad in compute(paths):
            assert made is not None
            if 5 in positions:
                made[1, 3] = value
            yield positions, made.to(dtype), bad

    with pytest.raises(BackboneError) as raised:
        fill(tmp_path, key, many, 8 * dtype.itemsize, broken, QUIET)
    words = str(raised.value)
    assert words.startswith("line block: activations must be finite, and those of 1 of 4 ")
    assert words.endswith(advice)
    assert not open_store(tmp_path, key).locations
