from pathlib import Path

import pytest
import torch

from frostline.activations.cache import maintenance
from frostline.activations.cache.chunks import write_chunk
from frostline.activations.cache.key import CacheKey, row_id
from frostline.base.errors import CacheError

KEYS = [CacheKey("net", line, "00" * 20, {}, "1", "eager", "float32", (2,)) for line in ("a", "b")]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for number, key in enumerate(KEYS):
        rows = [row_id(str(n), "center") for n in range(3 + number)]
        write_chunk(key.folder(tmp_path), key, rows, torch.zeros(3 + number, 2))
    (tmp_path / "not-ours").mkdir()
    (tmp_path / "not-ours" / "file.safetensors").write_text("mine")
    return tmp_path


def test_entries_say_what_is_kept(cache: Path) -> None:
    found = maintenance.entries(cache)
    assert [(entry.line, entry.rows, entry.chunks) for entry in found] == [("a", 3, 1), ("b", 4, 1)]
    assert all(entry.bytes > 0 for entry in found)


def test_an_absent_cache_is_empty(tmp_path: Path) -> None:
    assert maintenance.entries(tmp_path / "none") == []
    assert maintenance.verify(tmp_path / "none") == (0, [], [])


def test_verify_finds_damage_and_leftovers_and_removes_them_when_asked(cache: Path) -> None:
    folder = KEYS[0].folder(cache)
    damaged = next(folder.glob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
    (folder / ".abc.part").write_text("half")
    checked, wrong, left = maintenance.verify(cache)
    assert (checked, len(wrong), len(left)) == (2, 1, 1)
    assert damaged.exists()
    maintenance.verify(cache, remove=True)
    assert maintenance.verify(cache) == (1, [], [])


def test_remove_takes_only_what_is_named_and_ours(cache: Path) -> None:
    freed = maintenance.remove(cache, [KEYS[0].folder(cache).name])
    assert freed > 0
    assert [entry.line for entry in maintenance.entries(cache)] == ["b"]
    maintenance.remove(cache, None)
    assert maintenance.entries(cache) == []
    assert (cache / "not-ours" / "file.safetensors").read_text() == "mine"


def test_an_unknown_name_removes_nothing(cache: Path) -> None:
    name = KEYS[0].folder(cache).name
    with pytest.raises(CacheError, match="Did you mean"):
        maintenance.remove(cache, [KEYS[1].folder(cache).name, name[:-1] + "z"])
    assert len(maintenance.entries(cache)) == 2
