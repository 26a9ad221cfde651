"""The weights of a TF.js layers-model: a list in `model.json`, and shards beside it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frostline.base.errors import WeightsError
from frostline.networks.keras.weights import FileLayer, split_name

_TYPES = {
    "float32": "<f4",
    "float16": "<f2",
    "int32": "<i4",
    "uint8": "u1",
    "uint16": "<u2",
    "bool": "u1",
}


def read(path: Path, manifest: Any) -> tuple[FileLayer, ...]:
    """Reads the arrays that a manifest lists.

    Args:
        path: The `model.json`; shards lie beside it.
        manifest: Its `weightsManifest`.

    Returns:
        Layers in the manifest's order. Quantised values are turned back: x · scale + min.

    Raises:
        WeightsError: Where a shard is absent, lies elsewhere, or is shorter or longer than the
            arrays in it.
    """
    if not isinstance(manifest, list):
        raise WeightsError(f"{path}: has no weightsManifest.")
    found: dict[tuple[str, int], list[tuple[str, NDArray[Any]]]] = {}
    repeats: dict[tuple[str, str], int] = {}
    for group in manifest:
        shards = b"".join(_shard(path, str(name)) for name in group.get("paths", []))
        offset = 0
        for told in group.get("weights", []):
            array, offset = _array(path, told, shards, offset)
            layer, role = split_name(str(told["name"]), "")
            number = repeats.get((layer, role), 0)
            repeats[(layer, role)] = number + 1
            found.setdefault((layer, number), []).append((role, array))
        if offset != len(shards):
            raise WeightsError(
                f"{path}: its shards hold {len(shards):,} bytes, its arrays take {offset:,}."
            )
    return tuple(FileLayer(name, "", "", tuple(arrays)) for (name, _), arrays in found.items())


def _shard(path: Path, name: str) -> bytes:
    shard = path.parent / name
    if Path(name).name != name or shard.is_symlink():
        raise WeightsError(f"{path}: the shard {name!r} must lie beside it.")
    if not shard.is_file():
        raise WeightsError(f"{path}: the shard {name!r} is absent.")
    return shard.read_bytes()


def _array(
    path: Path, told: Mapping[str, Any], shards: bytes, offset: int
) -> tuple[NDArray[Any], int]:
    shape: Sequence[int] = [int(size) for size in told["shape"]]
    how = told.get("quantization") or {}
    kind = str(how.get("dtype") or told.get("dtype"))
    if kind not in _TYPES or any(size < 0 for size in shape):
        raise WeightsError(f"{path}: array {told.get('name')!r} is of type {kind!r}.")
    count = math.prod(shape)
    end = offset + count * np.dtype(_TYPES[kind]).itemsize
    if end > len(shards):
        raise WeightsError(
            f"{path}: array {told.get('name')!r} ends at byte {end:,}, its shards at "
            f"{len(shards):,}. Fetch it again."
        )
    values = np.frombuffer(shards, _TYPES[kind], count, offset).reshape(shape)
    if "scale" in how:
        values = values.astype(np.float32) * float(how["scale"]) + float(how.get("min", 0.0))
    return values.astype(np.float32), end
