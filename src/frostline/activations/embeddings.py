"""Writing activations (embeddings) of images as one file for other tools."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frostline.base.errors import RecipeError
from frostline.base.files import save_tensors, write_atomic
from frostline.images.listing import Row

# What is read and written at once.
BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class LineValues:
    """The activations of all images at one line, read block by block.

    Attributes:
        name: The line's.
        shape: Of one image's activation.
        dtype: The type they are kept in.
        fetch: Returns those of images number `start` to `end` (not included): [n, *shape].
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    fetch: Callable[[int, int], Tensor]

    def blocks(self, count: int) -> Iterator[tuple[int, Tensor]]:
        """Gives the first image's number and the values of each block of `count` images."""
        rows = max(1, BLOCK_BYTES // max(1, 4 * prod(self.shape)))
        for start in range(0, count, rows):
            yield start, self.fetch(start, min(start + rows, count))


Writer = Callable[[Path, Sequence[tuple[str, LineValues]], tuple[Row, ...]], None]


def in_memory(name: str, values: Tensor) -> LineValues:
    """Returns activations [n, *shape] that are in memory as those of a line."""
    shape = tuple(values.shape[1:])
    return LineValues(name, shape, values.dtype, lambda start, end: values[start:end])


def channels_last(values: LineValues) -> LineValues:
    """Returns maps [c, h, w] as [h, w, c], as Keras and TensorFlow have them."""
    channels, *places = values.shape

    def fetch(start: int, end: int) -> Tensor:
        return values.fetch(start, end).movedim(1, -1)

    return LineValues(values.name, (*places, channels), values.dtype, fetch)


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


def write(out: Path, lines: Sequence[LineValues], rows: tuple[Row, ...]) -> None:
    """Writes activations with path, label and split of each row, atomically.

    Half-precision types become float32, except in safetensors, which can store them. Of one line
    they are called `activations`, of several `activations/LINE`. `.h5`, `.parquet` and `.csv` are
    written block by block, so they may be larger than memory.

    Raises:
        RecipeError: If the suffix of `out` is unknown.
        DiskError: If it cannot be written.
    """
    writer = writer_for(out)
    several = len(lines) > 1
    named = [(f"activations/{one.name}" if several else "activations", one) for one in lines]
    write_atomic(out, lambda temporary: writer(temporary, named, rows))


def columns(rows: tuple[Row, ...]) -> dict[str, list[str]]:
    """Returns path, label and split of each row, as text that UTF-8 can hold."""

    def utf8(text: str) -> str:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

    return {
        "path": [utf8(row.path) for row in rows],
        "label": [utf8(row.label) for row in rows],
        "split": [row.split for row in rows],
    }


def array(activations: Tensor) -> NDArray[Any]:
    """Returns activations as an array; NumPy lacks one of the half-precision types."""
    values = activations.float() if activations.is_floating_point() else activations
    return np.ascontiguousarray(values.numpy())


def _whole(values: LineValues, count: int) -> Tensor:
    return torch.cat([part for _, part in values.blocks(count)])


def _npz(path: Path, lines: Sequence[tuple[str, LineValues]], rows: tuple[Row, ...]) -> None:
    texts = {key: np.array(values) for key, values in columns(rows).items()}
    arrays = {key: array(_whole(values, len(rows))) for key, values in lines}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **texts)


def _safetensors(
    path: Path, lines: Sequence[tuple[str, LineValues]], rows: tuple[Row, ...]
) -> None:
    metadata = {key: json.dumps(values) for key, values in columns(rows).items()}
    tensors = {key: _whole(values, len(rows)).contiguous() for key, values in lines}
    save_tensors(path, tensors, metadata)


def _h5(path: Path, lines: Sequence[tuple[str, LineValues]], rows: tuple[Row, ...]) -> None:
    from frostline.activations import hdf5_blocks

    shapes = {key: ((len(rows), *values.shape), _dtype(values.dtype)) for key, values in lines}
    places = hdf5_blocks.prepare(path, shapes, columns(rows))
    with path.open("r+b") as file:
        for key, values in lines:
            row_bytes = prod(values.shape) * shapes[key][1].itemsize
            for start, part in values.blocks(len(rows)):
                file.seek(places[key] + start * row_bytes)
                file.write(array(part).data)


def _parquet(path: Path, lines: Sequence[tuple[str, LineValues]], rows: tuple[Row, ...]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    texts = columns(rows)
    # Rows are written together, so that one line's blocks say how many.
    widest = max((values for _, values in lines), key=lambda values: prod(values.shape))
    shapes = {
        "shape" if len(lines) == 1 else f"shape/{values.name}": ",".join(map(str, values.shape))
        for _, values in lines
    }
    kinds = {key: _dtype(values.dtype) for key, values in lines}
    fields = [(key, pa.string()) for key in texts] + [
        (key, pa.list_(pa.from_numpy_dtype(kinds[key]), prod(values.shape)))
        for key, values in lines
    ]
    with parquet.ParquetWriter(path, pa.schema(fields, shapes)) as file:
        for start, part in widest.blocks(len(rows)):
            end = start + len(part)
            table = {key: words[start:end] for key, words in texts.items()}
            for key, values in lines:
                flat = array(values.fetch(start, end)).reshape(len(part), -1)
                lists = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
                table[key] = lists
            file.write_table(pa.table(table, pa.schema(fields, shapes)))


def _csv(path: Path, lines: Sequence[tuple[str, LineValues]], rows: tuple[Row, ...]) -> None:
    texts = columns(rows)
    widest = max((values for _, values in lines), key=lambda values: prod(values.shape))
    heads = [
        f"a{number}" if len(lines) == 1 else f"{values.name}:{number}"
        for _, values in lines
        for number in range(prod(values.shape))
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*texts, *heads])
        for start, part in widest.blocks(len(rows)):
            end = start + len(part)
            flat = np.concatenate(
                [array(values.fetch(start, end)).reshape(len(part), -1) for _, values in lines], 1
            )
            words = zip(*(column[start:end] for column in texts.values()), strict=True)
            for row, numbers in zip(words, flat, strict=True):
                # Nine digits give every float32 back as it was.
                table.writerow([*row, *(f"{value:.9g}" for value in numbers.tolist())])


def _dtype(kept: torch.dtype) -> "np.dtype[Any]":
    """The type of the file: float32 for all floating-point numbers."""
    return array(torch.empty(0, dtype=kept)).dtype


_WRITERS: dict[str, Writer] = {
    ".csv": _csv,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".h5": _h5,
    ".parquet": _parquet,
}
