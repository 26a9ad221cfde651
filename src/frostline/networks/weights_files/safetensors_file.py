"""Safetensors: a length, a table in JSON, and the arrays one after another."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from frostline.networks.weights_files.dtypes import decode, stored_size
from frostline.networks.weights_files.paths import beside
from frostline.networks.weights_files.records import Array, Tensor, WeightsFile
from frostline.networks.weights_files.sources import Span, of_file, whole

_MOST_HEADER_BYTES = 100_000_000
INDEX_ENDING = ".safetensors.index.json"
_IN_FOLDER = ("model.safetensors", f"model{INDEX_ENDING}")
_DTYPES = {
    "BOOL": "bool",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def recognise(path: Path, head: bytes) -> bool:
    """Says whether this is a safetensors file, a folder with one, or the index of several."""
    if path.is_dir():
        return any((path / name).is_file() for name in _IN_FOLDER)
    if path.name.endswith(INDEX_ENDING):
        return True
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MOST_HEADER_BYTES


def read(path: Path) -> WeightsFile:
    """Reads the tables; the arrays stay on disk.

    Raises:
        ValueError: Where this is no whole file of the kind.
    """
    if path.is_dir():
        path = next(path / name for name in _IN_FOLDER if (path / name).is_file())
    if path.name.endswith(INDEX_ENDING):
        return _read_shards(path)
    tensors, said = _read_one(path)
    return WeightsFile(path, "safetensors", tensors, dict(said), files=(path,))


def _read_shards(path: Path) -> WeightsFile:
    index = json.loads(path.read_text("utf-8"))
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        raise ValueError("its index has no table 'weight_map' of names and files")
    names = sorted(set(places.values()))
    shards = [beside(path, name) for name in names]
    held: dict[str, Mapping[str, Tensor]] = {}
    for name, shard in zip(names, shards, strict=True):
        held[name] = _read_one(shard)[0]
    absent = [name for name, place in places.items() if name not in held[place]]
    if absent:
        raise ValueError(f"{absent[0]} is not in {places[absent[0]]}, where the index has it")
    tensors = {name: held[place][name] for name, place in places.items()}
    said = index.get("metadata")
    metadata = said if isinstance(said, dict) else {}
    return WeightsFile(path, "safetensors", tensors, metadata, files=(path, *shards))


def _read_one(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    file = whole(of_file(path))
    length = int.from_bytes(file.read(0, 8), "little")
    if length > min(_MOST_HEADER_BYTES, file.size - 8):
        raise ValueError(f"{path.name} has a table of {length} bytes, and {file.size - 8} are left")
    table = json.loads(file.read(8, length))
    if not isinstance(table, dict):
        raise ValueError(f"the table of {path.name} is none")
    said = table.pop("__metadata__", None) or {}
    if not isinstance(said, dict):
        raise ValueError(f"the metadata of {path.name} is no table")
    data = file.part(8 + length, file.size - 8 - length)
    return {name: _tensor(name, entry, data) for name, entry in table.items()}, said


def _tensor(name: str, entry: Any, data: Span) -> Tensor:
    try:
        shape, (start, stop) = tuple(entry["shape"]), entry["data_offsets"]
        dtype = _DTYPES.get(entry["dtype"], str(entry["dtype"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name} lacks a shape, a type or offsets") from error
    if not all(type(one) is int for one in (*shape, start, stop)):
        raise ValueError(f"{name} has a shape or offsets that are no whole numbers")
    if stored_size(dtype, shape) != stop - start:
        raise ValueError(f"{name} has {stop - start} bytes, which {dtype} {list(shape)} is not")
    load = partial(_load, data.part(start, stop - start), dtype, shape)
    return Tensor(name, shape, dtype, load, stop - start)


def _load(span: Span, dtype: str, shape: tuple[int, ...]) -> Array:
    return decode(span.read(), dtype, shape)
