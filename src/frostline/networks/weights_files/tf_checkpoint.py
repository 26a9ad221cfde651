"""TensorFlow's checkpoints: `NAME.index`, a table of what lies where, and `NAME.data-*` with it.

Messages are those of TensorFlow's `tensor_bundle.proto` and `trackable_object_graph.proto`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import crc32c, leveldb
from frostline.networks.weights_files.dtypes import ByteOrder, decode, size_of, stored_size
from frostline.networks.weights_files.protobuf import Message
from frostline.networks.weights_files.records import Array, Tensor, WeightsFile
from frostline.networks.weights_files.sources import MemorySource, Span, of_file, whole
from frostline.networks.weights_files.tf_protos import dtype_of, shape_of

_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MOST_SHARDS = 10_000
_LATEST = re.compile(r'^model_checkpoint_path: "(?P<name>[^"]+)"', re.MULTILINE)


def recognise(path: Path, head: bytes) -> bool:
    """Says whether this is a checkpoint: its common beginning, either of its files, its folder."""
    index = index_of(path)
    return index is not None and leveldb.is_table(whole(of_file(index)))


def index_of(path: Path) -> Path | None:
    """Returns the index of the checkpoint that a path names, or None where there is none."""
    if path.is_dir():
        latest = path / "checkpoint"
        found = _LATEST.search(latest.read_text("utf-8", "replace")) if latest.is_file() else None
        if found and "/" not in found["name"]:
            return index_of(path / found["name"])
        indices = sorted(path.glob("*.index"))
        return indices[0] if len(indices) == 1 else None
    if path.name == "checkpoint":
        return index_of(path.parent)
    if path.name.endswith(".index"):
        return path if path.is_file() else None
    stem = _DATA.sub("", path.name)
    index = path.with_name(f"{stem}.index")
    return index if index.is_file() else None


def read(path: Path) -> WeightsFile:
    """Reads the index; the arrays stay in their shards.

    Raises:
        ValueError: Where a file is damaged.
        WeightsError: Where a shard is absent or cut short.
    """
    index = index_of(path)
    if index is None:
        raise WeightsError(f"{path}: no checkpoint; a file NAME.index must be there.")
    table = {key.decode("utf-8", "backslashreplace"): value for key, value in _entries(index)}
    header = Message(whole(MemorySource(table.pop("", b""))))
    shards = _shards(index, header.number(1))
    order: ByteOrder = ">" if header.number(2) else "<"
    messages = {name: Message(whole(MemorySource(value))) for name, value in table.items()}
    sliced = [name for name, one in messages.items() if one.many(7)]
    if sliced:
        raise WeightsError(
            f"{index}: {len(sliced)} variables are stored in slices ({sliced[0]}), which are not "
            "read. Save the checkpoint without partitioned variables."
        )
    tensors = {name: _tensor(name, one, shards, order) for name, one in messages.items()}
    objects = tensors.pop(_OBJECTS, None)
    named = _with_full_names(tensors, objects) if objects is not None else tensors
    said = {"shards": len(shards), "objects": objects is not None}
    return WeightsFile(index, "tf_checkpoint", named, said, files=(index, *shards))


def _entries(index: Path) -> list[tuple[bytes, bytes]]:
    return list(leveldb.entries(whole(of_file(index))))


def _shards(index: Path, count: int) -> list[Path]:
    if not 0 < count <= _MOST_SHARDS:
        raise ValueError(f"{count} shards")
    stem = index.name.removesuffix(".index")
    shards = [index.with_name(f"{stem}.data-{i:05}-of-{count:05}") for i in range(count)]
    absent = [shard.name for shard in shards if not shard.is_file()]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise WeightsError(f"{index}: its data {absent[0]}{more} is not there. Fetch it as well.")
    return shards


@dataclass(frozen=True)
class _Place:
    """Where an array lies, and its checksum."""

    name: str
    span: Span
    dtype: str
    shape: tuple[int, ...]
    order: ByteOrder
    crc: int


def _tensor(name: str, found: Message, shards: list[Path], order: ByteOrder) -> Tensor:
    dtype = dtype_of(found.number(1))
    axes = shape_of(found.one(2)) or ()
    shape = tuple(int(axis or 0) for axis in axes)
    shard, offset, size = found.number(3), found.number(4), found.number(5)
    if not 0 <= shard < len(shards):
        raise ValueError(f"{name} lies in shard {shard} of {len(shards)}")
    data = whole(of_file(shards[shard]))
    if offset < 0 or size < 0 or offset + size > data.size:
        raise WeightsError(
            f"{shards[shard]}: cut short: {name} ends at byte {offset + size}, the file at "
            f"{data.size}. Fetch it again."
        )
    if dtype not in ("string", "variant", "resource") and stored_size(dtype, shape) != size:
        raise ValueError(f"{name} has {size} bytes, which {dtype} {list(shape)} is not")
    crc = crc32c.unmasked(found.number(6))
    place = _Place(name, data.part(offset, size), dtype, shape, order, crc)
    return Tensor(name, shape, dtype, partial(_load, place), size)


def _load(place: _Place) -> Array:
    data = place.span.read()
    if place.dtype == "string":
        return np.array(_texts(place, data), np.object_).reshape(place.shape)
    if crc32c.checksum(data) != place.crc:
        raise ValueError(f"wrong CRC: {place.name} is not what was written")
    return decode(data, place.dtype, place.shape, place.order)


def _texts(place: _Place, data: bytes) -> list[bytes]:
    """Texts: all lengths as varints, their checksum in four bytes, then one after the other."""
    lengths, at = [], 0
    for _ in range(size_of(place.shape)):
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise ValueError(f"the lengths of {place.name} are cut short")
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        lengths.append(value)
    at += 4
    if at + sum(lengths) != len(data):
        raise ValueError(f"{place.name} has {len(data)} bytes, which its lengths are not")
    found = []
    for length in lengths:
        found.append(data[at : at + length])
        at += length
    return found


def _with_full_names(tensors: Mapping[str, Tensor], objects: Tensor) -> dict[str, Tensor]:
    """Adds the name that each variable had in its program, where the checkpoint keeps it."""
    graph = Message(whole(MemorySource(bytes(objects.load().reshape(-1)[0]))))
    names = {}
    for node in graph.many(1):
        for one in node.many(2):
            names[one.text(3)] = one.text(2)
    return {
        key: replace(one, attributes={"full_name": names[key]}) if names.get(key) else one
        for key, one in tensors.items()
    }
