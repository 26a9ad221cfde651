"""What passes between a process and the one that it asks: JSON, and arrays behind it.

A frame is the length of a JSON text (8 bytes, little-endian), the text, and the bytes of the arrays
that it lists.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LENGTH_BYTES = 8
_MOST_TEXT = 64 << 20
_MOST_BYTES = 16 << 30
_DTYPES = ("float32", "uint8")


def write(to: IO[bytes], said: Mapping[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Writes a frame.

    Args:
        to: Where to.
        said: JSON values.
        arrays: Of float32 or uint8.
    """
    listed = [[one.dtype.name, list(one.shape)] for one in arrays]
    text = json.dumps({**said, "arrays": listed}).encode()
    to.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
    to.write(text)
    for one in arrays:
        to.write(np.ascontiguousarray(one).reshape(-1).view(np.uint8).data)
    to.flush()


def read(source: IO[bytes]) -> tuple[dict[str, Any], list[Array]]:
    """Reads a frame.

    Raises:
        EOFError: Where the other side has ended.
        ValueError: Where this is no frame.
    """
    length = int.from_bytes(_exactly(source, _LENGTH_BYTES), "little")
    if length > _MOST_TEXT:
        raise ValueError(f"a text of {length} bytes")
    said = json.loads(_exactly(source, length))
    arrays = [_array(source, *one) for one in said.pop("arrays")]
    return said, arrays


def _array(source: IO[bytes], dtype: str, shape: Sequence[int]) -> Array:
    if dtype not in _DTYPES or any(size < 0 for size in shape):
        raise ValueError(f"an array of {dtype} {list(shape)}")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _MOST_BYTES:
        raise ValueError(f"an array of {size} bytes")
    return np.frombuffer(_exactly(source, size), dtype).reshape(shape)


def _exactly(source: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = source.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        at += count
    return data
