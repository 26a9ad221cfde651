"""NumPy's files: one array (`.npy`), a zip of them (`.npz`), or a pickle with arrays in it.

A `.npy` file may hold a pickle instead of numbers (old weights often do: a dict of arrays). It is
taken apart like any other pickle: nothing but NumPy's arrays and plain values is admitted.
"""

import ast
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from frostline.networks.weights_files import numpy_pickle, zips
from frostline.networks.weights_files.dtypes import MOST_BYTES, size_of
from frostline.networks.weights_files.nested import sorted_out
from frostline.networks.weights_files.pickled import Call, take_apart
from frostline.networks.weights_files.records import Array, Tensor, WeightsFile
from frostline.networks.weights_files.sources import Span, of_file, whole

_MAGIC = b"\x93NUMPY"
_MOST_HEADER_BYTES = 1 << 16
_FIXED_BYTES = 12  # magic, version, and a length of two or four bytes
# How pickles of protocols 0 to 5 can begin, where what they hold is a dict, list, tuple or array.
_PICKLES = (*(bytes([0x80, protocol]) for protocol in range(2, 6)), b"(d", b"(l", b"}", b"]", b"cn")


def recognise_npy(path: Path, head: bytes) -> bool:
    """Says whether this is one array."""
    return head.startswith(_MAGIC)


def recognise_npz(path: Path, head: bytes) -> bool:
    """Says whether this is a zip of arrays."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    names = zips.members(path)
    return bool(names) and all(name.endswith(".npy") for name in names)


def recognise_pickle(path: Path, head: bytes) -> bool:
    """Says whether this may be a pickle."""
    return head.startswith(_PICKLES)


def read_npy(path: Path) -> WeightsFile:
    """Reads one array's header, or takes apart the pickle in its place."""
    file = whole(of_file(path))
    dtype, shape, fortran, at = _header(file.read(0, min(file.size, _MOST_HEADER_BYTES)))
    data = file.part(at, file.size - at)
    if dtype.hasobject:
        return _read_pickle(path, data, "npy")
    tensor = _tensor("array", data, dtype, shape, fortran)
    return WeightsFile(path, "npy", {"array": tensor}, files=(path,))


def read_npz(path: Path) -> WeightsFile:
    """Reads the headers of all arrays."""
    tensors: dict[str, Tensor] = {}
    notes = []
    for full, member in zips.members(path).items():
        name = full.removesuffix(".npy")
        dtype, shape, fortran, at = _header(member.head(_MOST_HEADER_BYTES))
        if dtype.hasobject:
            notes.append(f"{name} is a pickle within the archive, and is not read.")
            continue
        need = _bytes_of(dtype, shape)
        if member.size - at != need:
            raise ValueError(f"{name} has {member.size - at} bytes, and its header says {need}")
        load = partial(_load_member, member, at, dtype, shape, fortran)
        kind = numpy_pickle.dtype_name(dtype)
        tensors[name] = Tensor(name, shape, kind, load, member.stored_bytes)
    return WeightsFile(path, "npz", tensors, files=(path,), notes=tuple(notes))


def read_pickle(path: Path) -> WeightsFile:
    """Takes a pickle apart; all but NumPy's arrays and plain values is refused."""
    return _read_pickle(path, whole(of_file(path)), "pickle")


def _read_pickle(path: Path, span: Span, kind: str) -> WeightsFile:
    value, _ = take_apart(span, numpy_pickle.ADMITTED, numpy_pickle.construct)
    # An array of no axes around a dict is how `np.save` writes a dict.
    if kind == "npy" and isinstance(value, Call) and isinstance(value.state, tuple):
        value = _only_object(value)
    arrays, facts, _ = sorted_out(value, numpy_pickle.is_array, "/")
    facts |= numpy_pickle.facts_of(arrays)
    tensors = {
        name or "array": numpy_pickle.tensor(name or "array", found)
        for name, found in arrays.items()
        if name not in facts
    }
    if not tensors:
        raise ValueError("a pickle without arrays")
    return WeightsFile(path, kind, tensors, facts, files=(path,))


def _only_object(value: Call) -> Any:
    data = value.state[-1]
    if isinstance(data, list):
        return data[0] if len(data) == 1 else data
    return value


def _header(data: bytes) -> tuple["np.dtype[Any]", tuple[int, ...], bool, int]:
    """Returns type, shape, whether columns come first, and where the numbers begin."""
    if not data.startswith(_MAGIC) or len(data) < _FIXED_BYTES:
        raise ValueError("it does not begin as NumPy's files do")
    code = "<H" if data[6] == 1 else "<I"
    begin = 8 + struct.calcsize(code)
    length = struct.unpack(code, data[8:begin])[0]
    if begin + length > len(data):
        raise ValueError(f"a header of {length} bytes")
    said = _literal(data[begin : begin + length].decode("latin-1"))
    if not isinstance(said, dict) or not {"descr", "shape", "fortran_order"} <= set(said):
        raise ValueError("its header lacks type, shape or order")
    shape, descr = said["shape"], said["descr"]
    if not isinstance(shape, tuple) or not all(type(one) is int for one in shape):
        raise ValueError("its shape is none")
    size_of(shape)
    if not isinstance(descr, str):
        raise ValueError("its type is a table of fields, which is no type for weights")
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"type {descr[:20]!r} is unknown") from error
    return dtype, shape, bool(said["fortran_order"]), begin + length


def _literal(text: str) -> Any:
    # Python 2 wrote long numbers with an L, which no literal of Python 3 has.
    try:
        return ast.literal_eval(text.replace("L,", ",").replace("L)", ")").strip())
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("its header is no table") from error


def _bytes_of(dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> int:
    if dtype.kind not in "biufcSU" or dtype.hasobject:
        raise ValueError(f"type {dtype} is no type for weights")
    return size_of(shape) * dtype.itemsize


def _tensor(
    name: str, data: Span, dtype: "np.dtype[Any]", shape: tuple[int, ...], fortran: bool
) -> Tensor:
    need = _bytes_of(dtype, shape)
    if data.size != need:
        raise ValueError(f"{data.size} bytes follow its header, which says {need}")
    load = partial(_load, data, dtype, shape, fortran)
    return Tensor(name, shape, numpy_pickle.dtype_name(dtype), load, need)


def _load(data: Span, dtype: "np.dtype[Any]", shape: tuple[int, ...], fortran: bool) -> Array:
    return np.frombuffer(data.read(), dtype).reshape(shape, order="F" if fortran else "C")


def _load_member(
    member: zips.Member, at: int, dtype: "np.dtype[Any]", shape: tuple[int, ...], fortran: bool
) -> Array:
    span = member.span()
    if span.size - at > MOST_BYTES:
        raise ValueError(f"{span.size - at} bytes, more than {MOST_BYTES}")
    return _load(span.part(at, span.size - at), dtype, shape, fortran)
