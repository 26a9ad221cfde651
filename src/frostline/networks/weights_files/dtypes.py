"""Element types by name, and bytes to arrays; those that NumPy lacks are widened, exactly."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from frostline.networks.weights_files.records import Array

# One array that is read at a time may take so much, whatever a file declares.
MOST_BYTES = 1 << 30
MOST_AXES = 32

ByteOrder = Literal["<", ">"]

_BITS = {
    "bool": 8,
    "int4": 4,
    "uint4": 4,
    "bfloat16": 16,
    "float8_e4m3fn": 8,
    "float8_e5m2": 8,
    "complex64": 64,
    "complex128": 128,
    **{f"{kind}int{bits}": bits for kind in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": bits for bits in (16, 32, 64)},
}
NAMES = tuple(_BITS)


def stored_size(dtype: str, shape: Sequence[int]) -> int:
    """Returns how many bytes an array takes.

    Raises:
        ValueError: Where the type is unknown, an axis is negative or there are too many.
    """
    if dtype not in _BITS:
        raise ValueError(f"type {dtype} is unknown")
    return (size_of(shape) * _BITS[dtype] + 7) // 8


def size_of(shape: Sequence[int]) -> int:
    """Returns how many elements a shape has.

    Raises:
        ValueError: Where an axis is negative or there are more than `MOST_AXES`.
    """
    if len(shape) > MOST_AXES:
        raise ValueError(f"{len(shape)} axes, more than {MOST_AXES}")
    if any(length < 0 for length in shape):
        raise ValueError(f"an axis of negative length in shape {list(shape)}")
    return math.prod(shape)


def decode(data: bytes, dtype: str, shape: Sequence[int], order: ByteOrder = "<") -> Array:
    """Returns the array that `data` holds, row by row.

    Args:
        data: Exactly the array's bytes.
        dtype: Its element type.
        shape: Its axes.
        order: `<` for little-endian, `>` for big-endian.

    Raises:
        ValueError: Where the sizes disagree, the type is unknown or the array is too large.
    """
    if len(data) != stored_size(dtype, shape):
        need = stored_size(dtype, shape)
        raise ValueError(f"{len(data)} bytes, where {dtype} of shape {list(shape)} takes {need}")
    if dtype in ("int4", "uint4"):
        flat = _nibbles(np.frombuffer(data, np.uint8), dtype, size_of(shape))
    elif dtype == "bfloat16":
        wide = np.frombuffer(data, f"{order}u2").astype(np.uint32) << np.uint32(16)
        flat = wide.view(np.float32)
    elif dtype.startswith("float8"):
        flat = _float8_table(dtype)[np.frombuffer(data, np.uint8)]
    elif dtype == "bool":
        flat = np.frombuffer(data, np.uint8) != 0
    else:
        flat = np.frombuffer(data, np.dtype(dtype).newbyteorder(order))
    return flat.reshape(tuple(shape))


def _nibbles(packed: Array, dtype: str, size: int) -> Array:
    """Two numbers a byte, the low half first."""
    flat = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[:size]
    if dtype == "uint4":
        return flat
    return ((flat.astype(np.int8) ^ 8) - 8).astype(np.int8)


def _float8_table(dtype: str) -> Array:
    """All 256 values; e4m3fn has no infinities and one NaN a sign, e5m2 is cut-off float16."""
    codes = np.arange(256, dtype=np.uint32)
    if dtype == "float8_e5m2":
        return (codes.astype(np.uint16) << np.uint16(8)).view(np.float16).astype(np.float32)
    exponent, mantissa = (codes >> 3) & 15, codes & 7
    normal = np.ldexp(1 + mantissa / 8, exponent.astype(np.int32) - 7)
    size = np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    size = np.where((exponent == 15) & (mantissa == 7), np.nan, size)
    return np.where(codes >> 7, -size, size).astype(np.float32)
