"""NumPy's arrays in pickles: the few names that make them, as data."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from frostline.networks.weights_files.dtypes import MOST_BYTES, size_of
from frostline.networks.weights_files.pickled import Call, LongText, Name
from frostline.networks.weights_files.records import Array, Tensor
from frostline.networks.weights_files.sources import Span

_RECONSTRUCT = {f"{core}.multiarray._reconstruct" for core in ("numpy.core", "numpy._core")}
_SCALAR = {f"{core}.multiarray.scalar" for core in ("numpy.core", "numpy._core")}
_FROM_BUFFER = {f"{core}.numeric._frombuffer" for core in ("numpy.core", "numpy._core")}
_ENCODE = {"_codecs.encode"}
# NumPy's own names, and `_codecs.encode`, with which Python 3 writes bytes in old protocols.
ADMITTED = frozenset(
    {"numpy.ndarray", "numpy.dtype"} | _RECONSTRUCT | _SCALAR | _FROM_BUFFER | _ENCODE
)
_KINDS = "biufcSU"


def construct(what: Name, arguments: tuple[Any, ...]) -> Any:
    """Makes bytes of what encodes them; all else stays a call."""
    if str(what) in _ENCODE:
        if len(arguments) != 2 or arguments[1] not in ("latin1", "latin-1"):
            raise ValueError("an encoding other than latin1")
        text = arguments[0]
        return text if isinstance(text, LongText) else str(text).encode("latin-1")
    return Call(what, arguments)


def is_array(value: Any) -> bool:
    """Says whether a value is an array or a NumPy number, as it came out of a pickle."""
    return isinstance(value, Call) and str(value.what) in _RECONSTRUCT | _SCALAR | _FROM_BUFFER


def tensor(name: str, value: Call) -> Tensor:
    """Returns an array of a pickle by name; its numbers may still be on disk.

    Raises:
        ValueError: Where it is not what NumPy writes.
    """
    shape, dtype, fortran, data = _parts(value)
    if dtype.kind not in _KINDS:
        raise ValueError(f"{name} is an array of {dtype}, which is no type for weights")
    need = size_of(shape) * dtype.itemsize
    have = data.span.size if isinstance(data, LongText) else _length(data)
    # As text, each byte above 127 takes two.
    fits = need <= have <= 2 * need if isinstance(data, LongText) else need == have
    if not fits or need > MOST_BYTES:
        raise ValueError(f"{name} holds {have} bytes, and {dtype} of shape {list(shape)} is {need}")
    order: Any = "F" if fortran else "C"
    load = partial(_load, data, dtype, shape, order)
    return Tensor(name, shape, dtype_name(dtype), load, have)


def dtype_name(dtype: "np.dtype[Any]") -> str:
    """Returns the name of a NumPy type, whatever its byte order."""
    return "string" if dtype.kind in "SU" else dtype.newbyteorder("=").name


def _parts(value: Call) -> tuple[tuple[int, ...], "np.dtype[Any]", bool, Any]:
    what, arguments = str(value.what), value.arguments
    if what in _SCALAR and len(arguments) == 2:
        return (), _dtype(arguments[0]), False, arguments[1]
    if what in _FROM_BUFFER and len(arguments) == 4:
        data, dtype, shape, order = arguments
        return _shape(shape), _dtype(dtype), order == "F", data
    if what in _RECONSTRUCT and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, fortran, data = value.state
        return _shape(shape), _dtype(dtype), bool(fortran), data
    raise ValueError(f"a call of {what} that NumPy does not write")


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(one) is int for one in shape):
        raise ValueError("a shape that is none")
    size_of(shape)
    return shape


def _dtype(value: Any) -> "np.dtype[Any]":
    if not isinstance(value, Call) or str(value.what) != "numpy.dtype" or not value.arguments:
        raise ValueError("a type that is none")
    code, state = value.arguments[0], value.state
    code = code.decode("latin-1") if isinstance(code, bytes) else code
    if not isinstance(code, str) or code[:1] not in (*_KINDS, "O", "V") or len(code) > 12:
        raise ValueError("a type that is none")
    if code[:1] in "OV":
        raise ValueError(f"an array of type {code}, which is no type for weights")
    swapped = isinstance(state, tuple) and len(state) > 1 and state[1] in (">", b">")
    try:
        return np.dtype((">" if swapped else "<") + code)
    except TypeError as error:
        raise ValueError(f"type {code!r} is unknown") from error


def _length(data: Any) -> int:
    if isinstance(data, Span):
        return data.size
    if not isinstance(data, (bytes, bytearray, str)):
        raise ValueError("an array without bytes")
    return len(data)


def _load(data: Any, dtype: "np.dtype[Any]", shape: tuple[int, ...], order: Any) -> Array:
    if isinstance(data, LongText):
        data = data.span.read().decode("utf-8", "surrogatepass").encode("latin-1")
    elif isinstance(data, Span):
        data = data.read()
    elif isinstance(data, str):
        data = data.encode("latin-1")
    if len(data) != size_of(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes, where {dtype} of shape {list(shape)} must be")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def plain(value: Any) -> Any:
    """Returns a NumPy number as a plain one, and anything else as it is."""
    if isinstance(value, Call) and str(value.what) in _SCALAR:
        return tensor("a number", value).load().item()
    return value


def facts_of(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of a pickle's arrays that are single NumPy numbers, as plain ones."""
    return {name: plain(value) for name, value in tensors.items() if str(value.what) in _SCALAR}
