"""Files of activations, read back by the libraries they are for."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors
import torch
from pyarrow import parquet

from frostline.activations import embeddings
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
    embeddings.write(out, values, ROWS)
    found = READERS[ending](out)
    # A table of a map has a column for each of its values.
    assert np.array_equal(found["activations"].reshape(values.shape), values.float().numpy())
    assert list(found["path"]) == PATHS
    assert list(found["label"]) == LABELS
    assert list(found["split"]) == SPLITS


def test_safetensors_keeps_half_types(tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    embeddings.write(out, torch.ones(3, 4, dtype=torch.bfloat16), ROWS)
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
        embeddings.write(tmp_path / "file" / f"x{ending}", torch.ones(3, 4), ROWS)
    assert (tmp_path / "file").read_text() == "mine"
