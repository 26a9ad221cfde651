"""What lies below the formats: checksums, protocol buffers, FlatBuffers, tables, types."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.networks.weights_files import crc32c, flatbuffers, leveldb
from frostline.networks.weights_files.dtypes import decode, stored_size
from frostline.networks.weights_files.pickled import take_apart
from frostline.networks.weights_files.protobuf import Message, as_float
from frostline.networks.weights_files.sources import MemorySource, Span, SpanFile, whole
from networks.weights_files import wire


def span(data: bytes) -> Span:
    return whole(MemorySource(data))


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, section B.4.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums_are_those_of_the_standard(data: bytes, checksum: int) -> None:
    assert crc32c.checksum(data) == checksum


def test_a_checksum_of_many_bytes_is_that_of_one_byte_after_the_other() -> None:
    for length in (65_535, 65_536, 65_537, 300_001):
        data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
        # After the bytes, their own checksum leaves the same rest, whatever they are.
        rest = crc32c.checksum(data + struct.pack("<I", crc32c.checksum(data)))
        assert rest == 0x48674BC7


def test_a_stored_checksum_is_unmasked() -> None:
    assert crc32c.unmasked(wire.masked(b"123456789")) == 0xE3069283


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(-(2**63), 2**63 - 1) | st.binary())))
@settings(max_examples=50, deadline=None)
def test_a_message_is_read_as_it_was_written(fields: list[tuple[int, int | bytes]]) -> None:
    read = Message(span(wire.message(*fields)))
    numbers = [number for number, _ in read.fields]
    assert numbers == [number for number, _ in fields]
    for (_, got), (_, wanted) in zip(read.fields, fields, strict=True):
        if isinstance(wanted, bytes):
            assert isinstance(got, Span)
            assert got.read() == wanted
        else:
            assert got == wanted % (1 << 64)


def test_fields_of_a_message_are_found_by_number() -> None:
    packed = b"".join(map(wire.varint, (1, 300, -1)))
    inner = wire.message((1, "a"), (1, "b"))
    data = (
        wire.message((1, packed), (1, 7), (2, inner), (3, "text"))
        + b"\x25"
        + struct.pack("<f", 1.5)
    )
    read = Message(span(data))
    assert read.numbers(1) == (1, 300, -1, 7)
    assert read.many(2)[0].texts(1) == ("a", "b")
    assert read.text(3) == "text"
    assert as_float(read.values(4)[0]) == 1.5
    assert (read.number(9, 5), read.text(9), read.one(9)) == (5, "", None)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # a number without its value
        b"\x08" + b"\xff" * 11,  # a number without an end
        b"\x0a\x05abc",  # bytes cut short
        b"\x0d\x00",  # 32 bits cut short
        b"\x00\x00",  # field 0
        b"\x0b",  # a group, which nobody writes
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Message(span(data)).fields  # noqa: B018


def test_messages_within_messages_end() -> None:
    data = b""
    for _ in range(100):
        data = wire.field(1, data)
    read = Message(span(data))
    for _ in range(65):
        read = read.many(1)[0]
    with pytest.raises(ValueError, match="more than 64 deep"):
        read.many(1)


def test_a_message_is_read_alike_from_memory_and_field_by_field() -> None:
    large = wire.message((1, "a"), (2, bytes(1 << 19)), (3, 5))
    read = Message(span(large))
    assert [number for number, _ in read.fields] == [1, 2, 3]
    assert (read.text(1), read.number(3)) == ("a", 5)


def test_a_table_gives_back_its_entries() -> None:
    entries = {"": b"head", "a": b"1", "b/c": b"22"}
    data = wire.table(entries)
    assert {k.decode(): v for k, v in leveldb.entries(span(data))} == entries
    for at in (0, len(data) - 60):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises(ValueError, match=r"wrong CRC|beyond"):
            list(leveldb.entries(span(bytes(bad))))


def test_a_flatbuffer_is_read_by_its_slots() -> None:
    # A table with an int32 in slot 0, nothing in slot 1, and a text in slot 2.
    plan = struct.pack("<HHHHH", 10, 12, 4, 0, 8)
    table = struct.pack("<iiI", 10, -7, 4)
    data = struct.pack("<I", 14) + plan + table + struct.pack("<I", 2) + b"hi\0"
    read = flatbuffers.root(span(data))
    assert (read.number(0, "int32"), read.number(1, "int32", 3), read.text(2)) == (-7, 3, "hi")
    assert (read.number(9, "int32", 4), read.tables(1), read.numbers(1, "int32")) == (4, [], ())
    for length in range(len(data) - 1):
        with pytest.raises(ValueError, match=r"."):
            _number_and_text(data[:length])


def _number_and_text(data: bytes) -> tuple[int, str]:
    read = flatbuffers.root(span(data))
    return read.number(0, "int32"), read.text(2)


def test_types_that_numpy_lacks_are_widened_exactly() -> None:
    assert decode(b"\x80\x3f\x00\xc0", "bfloat16", (2,)).tolist() == [1.0, -2.0]
    assert decode(b"\x1f\x08", "int4", (3,)).tolist() == [-1, 1, -8]
    assert decode(b"\x1f", "uint4", (2,)).tolist() == [15, 1]
    assert decode(b"\x00\x01", "int16", (1,), ">").tolist() == [1]
    assert decode(b"\x38\xfe\x01", "float8_e4m3fn", (3,)).tolist() == [1.0, -448.0, 2.0**-9]
    assert decode(b"\x3c\x7c", "float8_e5m2", (2,)).tolist() == [1.0, float("inf")]
    assert stored_size("int4", (3, 3)) == 5


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float32", (2,)), ("float3", (1,)), ("int8", (-1,)), ("int8", (1,) * 40)]
)
def test_bytes_that_are_not_the_array_are_refused(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"bytes|unknown|negative|axes"):
        decode(bytes(4), dtype, shape)


def test_a_stretch_is_never_left() -> None:
    part = span(b"0123456789").part(2, 5)
    assert (part.read(), part.read(1, 2), part.part(4, 1).read()) == (b"23456", b"34", b"6")
    for start, length in ((0, 6), (5, 1), (-1, 2), (0, -1)):
        with pytest.raises(ValueError, match=r"beyond"):
            part.read(start, length)
        with pytest.raises(ValueError, match=r"beyond"):
            part.part(start, length)
    file = SpanFile(part)
    assert (file.seek(-2, 2), file.read(9), file.read(1), file.tell()) == (3, b"56", b"", 5)


@pytest.mark.parametrize(
    "data",
    [b".", b"N", b"R.", b"(R.", b"h\x07.", b"a.", b"}s.", b"\xff.", b"]]R.", b"K\x01a.", b"Vabc"],
)
def test_what_is_no_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        take_apart(span(data), ())
