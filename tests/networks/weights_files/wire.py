"""Protocol buffers and LevelDB tables, written: for the tests of what reads them."""

from pathlib import Path

from frostline.networks.weights_files import crc32c

Value = int | bytes | str


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes([value])


def field(number: int, value: Value) -> bytes:
    """One field: a whole number as a varint, anything else by its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields: tuple[int, Value]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


def masked(data: bytes) -> int:
    """The checksum of `data` in the form that tables store."""
    crc = crc32c.checksum(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def table(entries: dict[str, bytes]) -> bytes:
    """A LevelDB table of one block."""
    data = b"".join(
        varint(0) + varint(len(key)) + varint(len(value)) + key.encode() + value
        for key, value in sorted(entries.items())
    )
    blocks = _block(data)
    place = varint(0) + varint(len(blocks) - 5)
    last = max(entries).encode()
    index_at = len(blocks)
    index = _block(varint(0) + varint(len(last)) + varint(len(place)) + last + place)
    # No block of metadata: an empty handle stands for it.
    handles = varint(0) + varint(0) + varint(index_at) + varint(len(index) - 5)
    magic = (0xDB4775248B80FB57).to_bytes(8, "little")
    return blocks + index + handles.ljust(40, b"\0") + magic


def _block(data: bytes) -> bytes:
    whole = data + (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"\0"
    return whole + masked(whole).to_bytes(4, "little")


def node(name: str, op: str, *inputs: str) -> tuple[int, bytes]:
    """A node of a GraphDef, as a field of it."""
    return 1, message((1, name), (2, op), *((3, one) for one in inputs))


def graph(path: Path, *nodes: tuple[int, bytes]) -> Path:
    path.write_bytes(message(*nodes))
    return path
