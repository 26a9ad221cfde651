"""Writing activations (embeddings) of images as one file for other tools."""

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

Writer = Callable[[Path, Tensor, tuple[Row, ...]], None]


def writer_for(out: Path) -> Writer:
    """Returns the function that writes files with the suffix of `out`.

    Raises:
        RecipeError: If the suffix is unknown, or its library is not installed.
    """
    if out.suffix not in _WRITERS:
        raise RecipeError(f"--out: {out} must end in {', '.join(_WRITERS)}.")
    package = {".h5": "h5py", ".parquet": "pyarrow"}.get(out.suffix)
    if package:
        try:
            __import__(package)
        except ImportError as error:
            raise RecipeError(
                f"--out: {out.suffix} needs {package}: pip install 'frostline[tables]'."
            ) from error
    return _WRITERS[out.suffix]


def write(out: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    """Writes `activations` [n, *shape] with path, label and split of each row, atomically.

    Half-precision types become float32, except in safetensors, which can store them.

    Raises:
        RecipeError: If the suffix of `out` is unknown.
        DiskError: If it cannot be written.
    """
    writer = writer_for(out)
    write_atomic(out, lambda temporary: writer(temporary, activations, rows))


def _columns(rows: tuple[Row, ...]) -> dict[str, list[str]]:
    def utf8(text: str) -> str:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

    return {
        "path": [utf8(row.path) for row in rows],
        "label": [utf8(row.label) for row in rows],
        "split": [row.split for row in rows],
    }


def _array(activations: Tensor) -> "np.ndarray[Any, Any]":
    values = activations.float() if activations.is_floating_point() else activations
    return values.numpy()


def _npz(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    with path.open("wb") as file:
        columns = {key: np.array(values) for key, values in _columns(rows).items()}
        np.savez(file, allow_pickle=False, activations=_array(activations), **columns)


def _safetensors(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    metadata = {key: json.dumps(values) for key, values in _columns(rows).items()}
    save_tensors(path, {"activations": activations.contiguous()}, metadata)


def _h5(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    import h5py

    # In memory first: on a full disk HDF5 crashes instead of reporting an error.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("activations", data=_array(activations))
        for key, values in _columns(rows).items():
            file.create_dataset(key, data=values, dtype=h5py.string_dtype("utf-8"))
    path.write_bytes(content.getbuffer())


def _parquet(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    flat = _array(activations).reshape(len(rows), -1)
    values = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
    shape = {"shape": ",".join(map(str, activations.shape[1:]))}
    table = pa.table({**_columns(rows), "activations": values})
    parquet.write_table(table.replace_schema_metadata(shape), path)


def _csv(path: Path, activations: Tensor, rows: tuple[Row, ...]) -> None:
    flat = _array(activations).reshape(len(rows), -1)
    texts = _columns(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*texts, *(f"a{number}" for number in range(flat.shape[1]))])
        for *words, values in zip(*texts.values(), flat, strict=True):
            # Nine digits give every float32 back as it was.
            table.writerow([*words, *(f"{value:.9g}" for value in values.tolist())])


_WRITERS: dict[str, Writer] = {
    ".csv": _csv,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".h5": _h5,
    ".parquet": _parquet,
}
