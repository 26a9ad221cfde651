"""Activations of pictures at a line, as one file for other tools."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from frostline.base.errors import RecipeError
from frostline.base.files import save_tensors, write_atomic
from frostline.images.listing import Row

Write = Callable[[Path, Tensor, tuple[Row, ...]], None]


def writer_for(out: Path) -> Write:
    """Returns what writes files with the ending of `out`.

    Raises:
        RecipeError: Where the ending is unknown, or its library is not installed.
    """
    if out.suffix not in _WRITERS:
        raise RecipeError(f"--out: {out} must end in {', '.join(_WRITERS)}.")
    needs = {".h5": "h5py", ".parquet": "pyarrow"}.get(out.suffix)
    if needs:
        try:
            __import__(needs)
        except ImportError as error:
            raise RecipeError(
                f"--out: {out.suffix} needs {needs}: pip install 'frostline[tables]'."
            ) from error
    return _WRITERS[out.suffix]


def write(out: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    """Writes `activations` [n, *shape] with path, label and split of each row, atomically.

    Half types become float32, except in safetensors, which keeps them.

    Raises:
        RecipeError: Where the ending of `out` is unknown.
        DiskError: Where it cannot be written.
    """
    chosen = writer_for(out)
    write_atomic(out, lambda temporary: chosen(temporary, activations, rows))


def _texts(rows: tuple[Row, ...]) -> dict[str, list[str]]:
    def plain(text: str) -> str:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

    return {
        "path": [plain(row.path) for row in rows],
        "label": [plain(row.label) for row in rows],
        "split": [row.split for row in rows],
    }


def _array(activations: Tensor) -> "np.ndarray[Any, Any]":
    whole = activations.float() if activations.is_floating_point() else activations
    return whole.numpy()


def _npz(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    with path.open("wb") as file:
        texts = {key: np.array(values) for key, values in _texts(rows).items()}
        np.savez(file, allow_pickle=False, activations=_array(activations), **texts)


def _safetensors(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    texts = {key: json.dumps(values) for key, values in _texts(rows).items()}
    save_tensors(path, {"activations": activations.contiguous()}, texts)


def _h5(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    import h5py

    # In memory first: on a full disk HDF5 does not report an error, it crashes.
    whole = io.BytesIO()
    with h5py.File(whole, "w") as file:
        file.create_dataset("activations", data=_array(activations))
        for key, values in _texts(rows).items():
            file.create_dataset(key, data=values, dtype=h5py.string_dtype("utf-8"))
    path.write_bytes(whole.getbuffer())


def _parquet(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    flat = _array(activations).reshape(len(rows), -1)
    values = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
    shape = {"shape": ",".join(map(str, activations.shape[1:]))}
    table = pa.table({**_texts(rows), "activations": values})
    parquet.write_table(table.replace_schema_metadata(shape), path)


def _csv(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    flat = _array(activations).reshape(len(rows), -1)
    texts = _texts(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*texts, *(f"a{number}" for number in range(flat.shape[1]))])
        for *words, values in zip(*texts.values(), flat, strict=True):
            # Nine digits give every float32 back as it was.
            table.writerow([*words, *(f"{value:.9g}" for value in values.tolist())])


_WRITERS: dict[str, Write] = {
    ".csv": _csv,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".h5": _h5,
    ".parquet": _parquet,
}
