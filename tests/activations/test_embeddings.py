"""Files of activations, read back by the libraries they are for."""

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors
import torch
from pyarrow import parquet

from frostline.activations import embeddings, hdf5_blocks
from frostline.base.errors import DiskError, RecipeError
from frostline.images.listing import Row

ROWS = (
    Row("a/1.png", "a", "train"),
    Row('b/été, "2"\n.png', "b", "val"),
    Row("c/\udce9.png", "", ""),
)
PATHS = ["a/1.png", 'b/été, "2"\n.png', "c/\\xe9.png"]
LABELS, SPLITS = ["a", "b", ""], ["train", "val", ""]

Read = Callable[[Path], dict[str, Any]]


def read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def read_safetensors(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, "pt") as found:
        texts = {key: json.loads(value) for key, value in found.metadata().items()}
        return {"activations": found.get_tensor("activations").float().numpy(), **texts}


def read_h5(path: Path) -> dict[str, Any]:
    with h5py.File(path) as found:
        texts = {key: found[key].asstr()[()] for key in ("path", "label", "split")}
        return {"activations": found["activations"][()], **texts}


def read_parquet(path: Path) -> dict[str, Any]:
    table = parquet.read_table(path)
    shape = [int(n) for n in table.schema.metadata[b"shape"].decode().split(",") if n]
    values = np.array(table["activations"].to_pylist(), dtype=np.float32)
    texts = {key: table[key].to_pylist() for key in ("path", "label", "split")}
    return {"activations": values.reshape(len(table), *shape), **texts}


def read_csv(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["path", "label", "split", *(f"a{k}" for k in range(len(head) - 3))]
    values = np.array([[float(value) for value in row[3:]] for row in rows], dtype=np.float32)
    texts = {key: [row[index] for row in rows] for index, key in enumerate(head[:3])}
    return {"activations": values, **texts}


READERS: dict[str, Read] = {
    ".csv": read_csv,
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".h5": read_h5,
    ".parquet": read_parquet,
}


@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.uint8])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_each_format_gives_back_what_was_written(
    tmp_path: Path, ending: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    count = int(np.prod(shape))
    values = torch.arange(3 * count).reshape(3, *shape).to(dtype)
    out = tmp_path / f"x{ending}"
    embeddings.write(out, [embeddings.in_memory("l", values)], ROWS)
    found = READERS[ending](out)
    # A table of a map has a column for each of its values.
    assert np.array_equal(found["activations"].reshape(values.shape), values.float().numpy())
    assert list(found["path"]) == PATHS
    assert list(found["label"]) == LABELS
    assert list(found["split"]) == SPLITS


def test_safetensors_keeps_half_types(tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    values = embeddings.in_memory("l", torch.ones(3, 4, dtype=torch.bfloat16))
    embeddings.write(out, [values], ROWS)
    with safetensors.safe_open(out, "pt") as found:
        assert found.get_tensor("activations").dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["x", "x.txt", "x.NPZ", "x.npz.gz"])
def test_an_unknown_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        RecipeError, match=r"must end in \.csv, \.npz, \.safetensors, \.h5, \.parquet"
    ):
        embeddings.writer_for(tmp_path / name)


@pytest.mark.parametrize(("ending", "library"), [(".h5", "h5py"), (".parquet", "pyarrow")])
def test_a_library_that_is_not_there_is_named(
    tmp_path: Path, ending: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(RecipeError, match=rf"needs {library}: pip install 'frostline\[tables\]'"):
        embeddings.writer_for(tmp_path / f"x{ending}")


@pytest.mark.parametrize("ending", READERS)
def test_what_stood_there_stays_where_writing_fails(tmp_path: Path, ending: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DiskError, match=r"cannot be written: .*Name another place"):
        embeddings.write(
            tmp_path / "file" / f"x{ending}", [embeddings.in_memory("l", torch.ones(3, 4))], ROWS
        )
    assert (tmp_path / "file").read_text() == "mine"


def test_several_lines_lie_side_by_side(tmp_path: Path) -> None:
    maps, vectors = torch.rand(3, 2, 4, 4), torch.rand(3, 5)
    lines = [embeddings.in_memory("layer1", maps), embeddings.in_memory("pooled", vectors)]
    for ending in READERS:
        embeddings.write(tmp_path / f"x{ending}", lines, ROWS)
    with h5py.File(tmp_path / "x.h5") as found:
        assert np.array_equal(found["activations/layer1"][()], maps.numpy())
        assert np.array_equal(found["activations/pooled"][()], vectors.numpy())
    with np.load(tmp_path / "x.npz") as found:
        assert np.array_equal(found["activations/layer1"], maps.numpy())
    with safetensors.safe_open(tmp_path / "x.safetensors", "pt") as found:
        assert torch.equal(found.get_tensor("activations/pooled"), vectors)
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.schema.metadata == {b"shape/layer1": b"2,4,4", b"shape/pooled": b"5"}
    assert np.allclose(table["activations/pooled"].to_pylist(), vectors.numpy())
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        head, first, *_ = csv.reader(file)
    assert (head[3], head[-1], len(head)) == ("layer1:0", "pooled:4", 3 + 32 + 5)
    assert np.array_equal(np.float32(first[-5:]), vectors[0].numpy())


@pytest.mark.parametrize("ending", [".h5", ".parquet", ".csv"])
def test_blocks_are_bounded(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "BLOCK_BYTES", 4 * 12 * 7)
    values, asked = torch.rand(50, 3, 2, 2), []

    def fetch(start: int, end: int) -> torch.Tensor:
        asked.append(end - start)
        return values[start:end]

    line = embeddings.LineValues("l", (3, 2, 2), torch.float32, fetch)
    rows = tuple(Row(f"{number}.png", "a", "") for number in range(50))
    embeddings.write(tmp_path / f"x{ending}", [line], rows)
    assert max(asked) == 7
    found = READERS[ending](tmp_path / f"x{ending}")
    assert np.array_equal(found["activations"].reshape(50, 3, 2, 2), values.numpy())


def test_an_hdf5_file_is_there_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "BLOCK_BYTES", 4 * 5 * 2)
    values = torch.rand(6, 5)
    rows = tuple(Row(f"{number}.png", "a", "") for number in range(6))
    out = tmp_path / "x.h5"

    def fetch(start: int, end: int) -> torch.Tensor:
        assert not out.exists()
        if fails and start == 4:
            raise KeyboardInterrupt
        return values[start:end]

    fails = True
    line = embeddings.LineValues("l", (5,), torch.float32, fetch)
    with pytest.raises(KeyboardInterrupt):
        embeddings.write(out, [line], rows)
    assert list(tmp_path.iterdir()) == []
    fails = False
    embeddings.write(out, [line], rows)
    # Several readers may have it open.
    with h5py.File(out) as one, h5py.File(out) as other:
        assert np.array_equal(one["activations"][()], other["activations"][()])


def test_a_full_disk_is_said_and_does_not_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskError, match="the disk is full"):
        embeddings.write(tmp_path / "x.h5", [embeddings.in_memory("l", torch.ones(3, 4))], ROWS)
    assert list(tmp_path.iterdir()) == []


def test_many_texts_and_large_arrays_go_into_an_hdf5_file(tmp_path: Path) -> None:
    texts = {"path": [f"{'x' * 50}{number}" for number in range(5000)]}
    arrays = {"a": ((5000, 3), np.dtype("float32")), "g/b": ((7,), np.dtype("uint8"))}
    places = hdf5_blocks.prepare(tmp_path / "x.h5", arrays, texts)
    with (tmp_path / "x.h5").open("r+b") as file:
        for key, (shape, kind) in arrays.items():
            file.seek(places[key])
            file.write(np.arange(np.prod(shape)).astype(kind).tobytes())
    with h5py.File(tmp_path / "x.h5") as found:
        assert found["path"].asstr()[4999] == texts["path"][4999]
        assert found["a"][4999].tolist() == [14997, 14998, 14999]
        assert found["g/b"][()].tolist() == list(range(7))


def test_channels_last() -> None:
    values = torch.rand(3, 2, 4, 5)
    made = embeddings.channels_last(embeddings.in_memory("l", values))
    assert made.shape == (4, 5, 2)
    assert torch.equal(made.fetch(1, 3), values[1:3].permute(0, 2, 3, 1))
