"""LevelDB's sorted tables, as TensorFlow uses them: an index of blocks of keys and values.

The layout is that of LevelDB's `table_format.md`; every block carries a CRC-32C of its own.
"""

from collections.abc import Iterator

from frostline.networks.weights_files import crc32c
from frostline.networks.weights_files.sources import Span

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_MOST_BLOCK_BYTES = 64 << 20


def is_table(span: Span) -> bool:
    """Says whether a stretch ends as a table does."""
    return span.size >= _FOOTER_BYTES and span.read(span.size - 8, 8) == _MAGIC


def entries(span: Span) -> Iterator[tuple[bytes, bytes]]:
    """Yields all keys and values, in order.

    Raises:
        ValueError: Where this is no whole table, or a checksum is wrong.
    """
    if not is_table(span):
        raise ValueError("it does not end as a table of names does: it may be cut short")
    footer = span.read(span.size - _FOOTER_BYTES, _FOOTER_BYTES)
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    end = span.size - _FOOTER_BYTES
    for _, place in _block(span, index, end):
        yield from _block(span, _handle(place, 0)[0], end)


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(span: Span, place: tuple[int, int], end: int) -> list[tuple[bytes, bytes]]:
    offset, size = place
    if size > _MOST_BLOCK_BYTES or offset + size + _TRAILER_BYTES > end:
        raise ValueError(f"a block of {size} bytes at {offset} lies beyond the end")
    data = span.read(offset, size + _TRAILER_BYTES)
    told = crc32c.unmasked(int.from_bytes(data[-4:], "little"))
    if crc32c.checksum(data[:-4]) != told:
        raise ValueError(f"wrong CRC: the block at byte {offset} is not what was written")
    if data[size]:
        raise ValueError("its blocks are compressed, which TensorFlow does not do")
    return list(_pairs(data[:size]))


def _pairs(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A key is what it shares with the one before, and the rest."""
    if len(data) < 4:
        raise ValueError("a block without an end")
    restarts = int.from_bytes(data[-4:], "little")
    stop = len(data) - 4 - 4 * restarts
    at, key = 0, b""
    while at < stop:
        shared, at = _varint(data, at)
        rest, at = _varint(data, at)
        length, at = _varint(data, at)
        if shared > len(key) or at + rest + length > stop:
            raise ValueError("an entry reaches beyond its block")
        key = key[:shared] + data[at : at + rest]
        at += rest
        yield key, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number is cut short")
