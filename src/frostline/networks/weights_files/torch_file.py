"""What `torch.save` writes, in a zip and before that: the pickle taken apart, storages in place.

No class is built and nothing is called: a tensor's recipe is read as data, and its numbers are
taken from the storage it names. What torch's own weights-only reader refuses is refused here too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import numpy_pickle, zips
from frostline.networks.weights_files.dtypes import ByteOrder, decode, size_of, stored_size
from frostline.networks.weights_files.nested import is_fact, sorted_out
from frostline.networks.weights_files.pickled import Call, Name, Outside, take_apart
from frostline.networks.weights_files.records import Array, Quantisation, Tensor, WeightsFile
from frostline.networks.weights_files.sources import Span, of_file, whole

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_HEAD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_STORAGES = 200_000

_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "int8",
    "QUInt8": "uint8",
    "QInt32": "int32",
}
_DTYPES = {
    **{name: name for name in ("float64", "float32", "float16", "bfloat16", "bool")},
    **{f"{u}int{bits}": f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)},
    "complex64": "complex64",
    "complex128": "complex128",
    "float8_e4m3fn": "float8_e4m3fn",
    "float8_e5m2": "float8_e5m2",
    "qint8": "int8",
    "quint8": "uint8",
    "qint32": "int32",
}
_REBUILDS = {
    f"torch._utils._rebuild_{kind}"
    for kind in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state", "qtensor")
}
_TABLES = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_PLAIN = (
    *("torch.Size", "torch.device", "builtins.set", "__builtin__.set", "builtins.frozenset"),
    *("builtins.complex", "argparse.Namespace", "torch._tensor._rebuild_from_type_v2"),
    *("torch.nn.parameter.Parameter", "torch.Tensor", "torch.serialization._get_layout"),
    *("torch.per_tensor_affine", "torch.per_channel_affine", "torch.storage.UntypedStorage"),
    *("builtins.int", "builtins.float", "builtins.dict", "builtins.list", "__builtin__.dict"),
)
_ADMITTED = frozenset(
    {*_REBUILDS, *_TABLES, *_PLAIN, *(f"torch.{name}Storage" for name in _STORAGES)}
    | {f"torch.{name}" for name in _DTYPES}
    | numpy_pickle.ADMITTED
)


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _View:
    """A tensor's recipe: a strided view of a storage."""

    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    quantisation: Any = None


def recognise(path: Path, head: bytes) -> bool:
    """Says whether torch saved this, in a zip or before that."""
    if head.startswith(b"PK\x03\x04"):
        return any(name.split("/")[-1] == "data.pkl" for name in zips.members(path))
    return head.startswith(_LEGACY_HEAD)


def read(path: Path) -> WeightsFile:
    """Reads what it holds; the numbers stay on disk.

    Raises:
        ForeignName: Where its pickle needs anything but tensors and plain values.
        ValueError: Where this is no whole file of the kind.
    """
    file = whole(of_file(path))
    if file.read(0, min(4, file.size)) == b"PK\x03\x04":
        value, storages, order = _read_zip(path)
        kind = "in a zip archive (PyTorch 1.6 and later)"
    else:
        value, storages, order = _read_legacy(file)
        kind = "from before the zip format (PyTorch 1.5 and before)"
    found, facts, _ = sorted_out(value, _is_tensor)
    views = {name: _view(name, one) for name, one in found.items()}
    arrays = {name: one for name, one in found.items() if views[name] is None}
    facts |= numpy_pickle.facts_of(arrays)
    tensors = {}
    for name, view in views.items():
        if view is not None:
            tensors[name] = _tensor(name, view, storages, order)
        elif name not in facts:
            tensors[name] = numpy_pickle.tensor(name, arrays[name])
    return WeightsFile(path, "torch", tensors, {**facts, "container": kind}, files=(path,))


def _read_zip(path: Path) -> tuple[Any, Mapping[str, Span], ByteOrder]:
    names = zips.members(path)
    pickle = next((name for name in names if name.split("/")[-1] == "data.pkl"), None)
    if pickle is None:
        raise ValueError("a zip archive without data.pkl")
    root = pickle.removesuffix("data.pkl")
    if any(name.startswith((f"{root}code/", f"{root}constants.pkl")) for name in names):
        raise WeightsError(
            f"{path}: a TorchScript program, which is code and not weights. Save the state_dict "
            "of the module that it was made from."
        )
    value, _ = take_apart(names[pickle].span(), _ADMITTED, _construct)
    order = names.get(f"{root}byteorder")
    big = order is not None and order.head(3) == b"big"
    spans = {
        name.removeprefix(f"{root}data/"): member.span()
        for name, member in names.items()
        if name.startswith(f"{root}data/") and not member.compressed
    }
    return value, spans, ">" if big else "<"


def _read_legacy(file: Span) -> tuple[Any, Mapping[str, Span], ByteOrder]:
    at = 0
    parts = []
    for _ in range(5):
        value, length = take_apart(file.part(at, file.size - at), _ADMITTED, _construct)
        parts.append(value)
        at += length
    magic, _, system, value, keys = parts
    if magic != _LEGACY_MAGIC or not isinstance(system, dict) or not isinstance(keys, list):
        raise ValueError("it does not begin as torch's files do")
    if len(keys) > _MOST_STORAGES:
        raise ValueError(f"{len(keys)} storages, more than {_MOST_STORAGES}")
    little = bool(system.get("little_endian", True))
    known = {one.key: one for one in _storages(value)}
    spans: dict[str, Span] = {}
    for key in keys:
        if str(key) not in known:
            raise ValueError(f"storage {key} belongs to no tensor")
        count = int.from_bytes(file.read(at, 8), "little" if little else "big")
        size = stored_size(known[str(key)].dtype, (count,))
        spans[str(key)] = file.part(at + 8, size)
        at += 8 + size
    return value, spans, "<" if little else ">"


def _storages(value: Any) -> list[_Storage]:
    found, _, _ = sorted_out(value, _is_tensor)
    views = [_view(name, one) for name, one in found.items()]
    scales = [v.quantisation[part] for v in views if v and v.quantisation for part in (1, 2)]
    views += [_view("scale", one) for one in scales if _is_tensor(one)]
    return [view.storage for view in views if view is not None]


def _construct(what: Name, arguments: tuple[Any, ...]) -> Any:
    full = str(what)
    if full in _TABLES or full.endswith(".dict"):
        pairs = arguments[-1] if arguments and isinstance(arguments[-1], (list, dict)) else {}
        try:
            return dict(pairs)
        except (TypeError, ValueError) as error:
            raise ValueError("a table that is none") from error
    if full in ("torch.Size", "builtins.set", "__builtin__.set", "builtins.frozenset"):
        values = arguments[0] if arguments else ()
        return tuple(values) if isinstance(values, (list, tuple)) else ()
    if full in ("torch.device", "torch.serialization._get_layout"):
        return str(arguments[0]) if arguments else ""
    if full == "argparse.Namespace":
        return Call(what, arguments)
    if full in numpy_pickle.ADMITTED:
        return numpy_pickle.construct(what, arguments)
    return Call(what, arguments)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Call) and (
        str(value.what) in _REBUILDS
        or str(value.what) == "torch._tensor._rebuild_from_type_v2"
        or numpy_pickle.is_array(value)
    )


def _view(name: str, value: Call, depth: int = 0) -> _View | None:
    """Returns a tensor's recipe, or None where it is an array of NumPy's."""
    if numpy_pickle.is_array(value):
        return None
    what, given = str(value.what).rpartition(".")[2], value.arguments
    if depth > 3:
        raise ValueError(f"{name} is a tensor within tensors")
    inner = None
    if what.startswith("_rebuild_parameter"):
        inner = given[0] if given else None
    elif what == "_rebuild_from_type_v2" and len(given) > 2 and isinstance(given[2], tuple):
        inner = Call(given[0], given[2]) if isinstance(given[0], Name) else None
    if inner is not None or not what.startswith(("_rebuild_tensor", "_rebuild_qtensor")):
        if not isinstance(inner, Call) or not _is_tensor(inner):
            raise ValueError(f"{name} is a parameter without a tensor")
        return _view(name, inner, depth + 1)
    if len(given) < 4:
        raise ValueError(f"{name} lacks a storage, an offset, a shape or strides")
    storage = _storage(name, given[0])
    dtype = storage.dtype
    if what == "_rebuild_tensor_v3" and len(given) > 6 and isinstance(given[6], Name):
        dtype = _DTYPES.get(given[6].name, "")
    offset, shape, strides = given[1:4]
    numbers = (offset, *_whole_numbers(name, shape), *_whole_numbers(name, strides))
    if len(shape) != len(strides) or any(type(one) is not int or one < 0 for one in numbers):
        raise ValueError(f"{name} has a shape and strides that do not fit together")
    how = given[4] if what == "_rebuild_qtensor" and len(given) > 4 else None
    if how is not None and not (isinstance(how, tuple) and len(how) >= 3):
        raise ValueError(f"{name} is quantised in a way that is not read")
    return _View(storage, dtype, offset, tuple(shape), tuple(strides), how)


def _whole_numbers(name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, tuple):
        raise ValueError(f"{name} has a shape that is none")
    return values


def _storage(name: str, value: Any) -> _Storage:
    key = value.key if isinstance(value, Outside) else None
    if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
        raise ValueError(f"{name} has no storage")
    kind = key[1].name.removesuffix("Storage") if isinstance(key[1], Name) else ""
    dtype = "uint8" if kind == "Untyped" else _STORAGES.get(kind, "")
    if not dtype or type(key[4]) is not int or key[4] < 0:
        raise ValueError(f"{name} has a storage of an unknown kind")
    if len(key) > 5 and key[5] is not None:
        raise ValueError(f"{name} has a storage that is a part of another, which is not read")
    return _Storage(str(key[2]), dtype, key[4])


def _tensor(name: str, view: _View, storages: Mapping[str, Span], order: ByteOrder) -> Tensor:
    span = storages.get(view.storage.key)
    size = stored_size(view.storage.dtype, (view.storage.count,))
    if span is None or span.size != size:
        got = "is absent" if span is None else f"has {span.size} bytes, not {size}"
        raise ValueError(f"the storage of {name} {got}")
    width = stored_size(view.dtype, (1,))
    last = sum((length - 1) * step for length, step in zip(view.shape, view.strides, strict=True))
    elements = size_of(view.shape)
    if elements and (view.offset + last + 1) * width > size:
        raise ValueError(f"{name} reaches beyond its storage")
    # A view may repeat a storage, by strides of zero; more than this is no weight.
    if elements * width > zips.MOST_RATIO * max(size, 1):
        raise ValueError(f"{name} declares far more numbers than its storage holds")
    first, length = view.offset * width, (last + 1) * width if elements else 0
    load = partial(_load, span.part(min(first, size), length), view, order)
    how = _quantisation(name, view.quantisation, storages, order) if view.quantisation else None
    said = {"storage": view.storage.key}
    return Tensor(name, view.shape, view.dtype, load, elements * width, how, said)


def _load(span: Span, view: _View, order: ByteOrder) -> Array:
    if not size_of(view.shape):
        return decode(b"", view.dtype, view.shape, order)
    width = stored_size(view.dtype, (1,))
    flat = decode(span.read(), view.dtype, (span.size // width,), order)
    steps = tuple(step * flat.itemsize for step in view.strides)
    return np.lib.stride_tricks.as_strided(flat, view.shape, steps, writeable=False)


def _quantisation(
    name: str, how: tuple[Any, ...], storages: Mapping[str, Span], order: ByteOrder
) -> Quantisation:
    kind, scale, zero = how[:3]
    if isinstance(kind, Name) and kind.name == "per_tensor_affine":
        if not (is_fact(scale) and is_fact(zero)):
            raise ValueError(f"{name} has a scale that is no number")
        return Quantisation((float(scale),), (float(zero),))
    views = [_view(name, one) if _is_tensor(one) else None for one in (scale, zero)]
    if len(how) < 4 or type(how[3]) is not int or None in views:
        raise ValueError(f"{name} is quantised in a way that is not read")
    read = [_tensor(name, one, storages, order).load().reshape(-1) for one in views if one]
    return Quantisation(tuple(map(float, read[0])), tuple(map(float, read[1])), how[3])
