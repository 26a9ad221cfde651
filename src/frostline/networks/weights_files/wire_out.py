"""Protocol buffers, written: the fields that `protobuf.py` reads."""

_BITS_64 = (1 << 64) - 1


def varint(value: int) -> bytes:
    """Returns a whole number of at most 64 bits, signed or not."""
    value &= _BITS_64
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number: int, value: int | bytes | str) -> bytes:
    """Returns a field: a whole number as a varint, anything else by its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data
