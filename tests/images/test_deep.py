"""Pictures deeper than 8 bits: what the file says of them, and one rule for a whole set."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from frostline.base.console import QUIET
from frostline.base.errors import RecipeError
from frostline.images import decode, level_rules
from frostline.images import listing as listings
from frostline.images.levels import NO_LEVELS, Levels, parse
from frostline.images.preprocessing import Preprocessing
from frostline.images.rows import Row

FIRST = [0, 1, 2, 3]


def tiff(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def png(values: Any) -> bytes:
    made: bytes = imagecodecs.png_encode(values)
    return made


def grey(data: bytes, levels: Levels = NO_LEVELS) -> list[int]:
    """The first row of a decoded picture, which must be grey."""
    pixels = decode.decode(data, levels=levels).pixels
    assert (pixels == pixels[:, :, :1]).all()
    shown: list[int] = pixels[0, :, 0].tolist()
    return shown


def row_of(values: list[float], kind: str) -> Any:
    return np.array([values] * 2, dtype=kind)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_depth_of_a_tiff_is_that_of_its_tags(bits: int) -> None:
    top = 2**bits - 1
    data = tiff(row_of([0, top // 2, top, 0], "uint16"), bitspersample=bits)
    assert grey(data) == [0, 127, 255, 0]
    assert decode.probe(data).mode == f"L;uint{bits}"
    assert decode.decode(data).lossy == "16-bit"


@pytest.mark.parametrize(("kind", "top"), [("uint16", 2**16 - 1), ("uint32", 2**32 - 1)])
def test_where_zero_is_white_light_is_not_dark(kind: str, top: int) -> None:
    data = tiff(row_of([0, top // 2, top], kind), photometric="miniswhite")
    assert grey(data) == [255, 128, 0]


def test_unsigned_numbers_of_32_bits_do_not_wrap() -> None:
    data = tiff(row_of([0, 2**31 - 1, 2**31, 2**32 - 1], "uint32"))
    assert grey(data) == [0, 127, 128, 255]


def test_signed_numbers_keep_their_sign() -> None:
    assert grey(tiff(row_of([-32768, 0, 32767], "int16"))) == [0, 128, 255]
    assert grey(tiff(row_of([-128, 0, 127], "int8"))) == [0, 128, 255]
    hounsfield = Levels((("int16", -1000, 3000),))
    assert grey(tiff(row_of([-1024, -1000, 1000, 3000], "int16")), hounsfield) == [0, 0, 128, 255]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_a_little_above_one_are_not_black(kind: str) -> None:
    data = tiff(row_of([0.0, 0.5, 1.0, 1.004], kind))
    assert grey(data) == [0, 128, 255, 255]
    assert decode.decode(data).lossy == "float"


def test_what_is_no_number_is_black_and_infinity_is_the_end() -> None:
    values = row_of([float("nan"), float("-inf"), float("inf"), 0.5], "float32")
    assert grey(tiff(values)) == [0, 0, 255, 128]


COLOUR = np.array([[[0, 257, 65535], [32896, 1, 300]]] * 2, dtype=np.uint16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"planarconfig": "separate"},
        {"byteorder": ">"},
        {"bigtiff": True},
    ],
)
def test_sixteen_bits_of_colour_are_all_read(options: dict[str, Any]) -> None:
    planes = np.moveaxis(COLOUR, -1, 0) if "planarconfig" in options else COLOUR
    for data in (tiff(planes, photometric="rgb", **options), png(COLOUR)):
        assert decode.probe(data).mode == "RGB;uint16"
        assert decode.decode(data).pixels[0].tolist() == [[0, 1, 255], [128, 0, 1]]
        dark = decode.decode(data, levels=parse("0:300")).pixels[0].tolist()
        assert dark == [[0, 218, 255], [255, 1, 255]]


@pytest.mark.parametrize("channels", [2, 4])
def test_deep_transparency_is_laid_on_white(channels: int) -> None:
    values = np.zeros((1, 2, channels), dtype=np.uint16)
    values[0, 1] = 65535
    values[0, 1, :-1] = 10280
    decoded = decode.decode(png(values))
    assert decoded.pixels.tolist() == [[[255] * 3, [40] * 3]]


def test_a_deep_png_is_turned_as_its_exif_says() -> None:
    tag = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    chunk = (
        struct.pack(">I", len(tag)) + b"eXIf" + tag + struct.pack(">I", zlib.crc32(b"eXIf" + tag))
    )
    data = png(COLOUR)
    turned = data[:33] + chunk + data[33:]
    assert decode.decode(turned).pixels[:, 0, 2].tolist() == [255, 1]
    assert (decode.probe(turned).width_px, decode.probe(turned).height_px) == (2, 2)
    values = np.arange(6, dtype=np.uint16).reshape(2, 3)
    sideways = tiff(values, extratags=[(274, "H", 1, 6, True)])
    assert decode.decode(sideways).pixels.shape == (3, 2, 3)
    assert decode.probe(sideways).width_px == 2


@pytest.mark.parametrize("bands", [5, 7])
def test_many_bands_are_told(bands: int) -> None:
    data = tiff(np.zeros((4, 4, bands), "uint8"), photometric="minisblack", planarconfig="contig")
    for use in (decode.probe, decode.decode):
        with pytest.raises(
            decode.Unreadable, match=f"^a TIFF of {bands} bands, and a picture has 3"
        ):
            use(data)


def test_two_deep_bands_are_told_where_neither_is_transparency() -> None:
    values = np.zeros((4, 4, 2), "uint16")
    with pytest.raises(decode.Unreadable, match=r"^a TIFF of 2 bands"):
        decode.probe(tiff(values, photometric="minisblack", planarconfig="contig"))
    alpha = tiff(values, photometric="minisblack", planarconfig="contig", extrasamples=[2])
    assert decode.decode(alpha).pixels[0, 0].tolist() == [255, 255, 255]


def test_three_bands_that_are_called_grey_are_colours() -> None:
    values = np.array([[[1, 2, 3], [250, 251, 252]]], dtype=np.uint8)
    data = tiff(values, photometric="minisblack", planarconfig="contig")
    assert (decode.decode(data).pixels == values).all()


def test_complex_numbers_are_told() -> None:
    with pytest.raises(decode.Unreadable, match="complex numbers: write their magnitude"):
        decode.probe(tiff(np.zeros((4, 4), "complex64")))


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"rowsperstrip": 4}])
def test_a_deep_file_cut_short_is_refused(options: dict[str, Any]) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    whole = tiff(values, **options)
    for data in (whole[: len(whole) * 3 // 4], png(values[:, :, None].repeat(3, 2))[:900]):
        with pytest.raises(decode.Unreadable, match="damaged or cut short"):
            decode.decode(data)


def test_a_deep_bomb_is_refused_by_its_header() -> None:
    data = bytearray(tiff(np.zeros((2, 2), "uint16")))
    for tag in (256, 257):
        at = data.index(struct.pack("<HH", tag, 4))
        data[at + 8 : at + 12] = struct.pack("<I", 60_000)
    with pytest.raises(decode.Unreadable, match="too large: 60000 x 60000"):
        decode.decode(bytes(data))


def test_a_tiff_that_says_more_than_it_holds_takes_no_memory() -> None:
    data = tiff(np.zeros((16, 16), "uint16"))
    counts = data.index(struct.pack("<HH", 279, 4))
    beyond = data[: counts + 8] + struct.pack("<I", 2**31) + data[counts + 12 :]
    tall = bytearray(tiff(np.zeros((32, 32), "uint16"), tile=(16, 16)))
    at = tall.index(struct.pack("<HH", 257, 4))
    tall[at + 8 : at + 12] = struct.pack("<I", 1_000_000)
    for broken, told in ((beyond, "beyond the end of the file"), (bytes(tall), "fewer strips")):
        with pytest.raises(decode.Unreadable, match=told):
            decode.decode(broken)


def test_odd_tags_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    data = tiff(row_of([0, 1, 2], "uint16"), extratags=[(65000, "s", 0, "x", True)])
    decode.decode(data.replace(b"tifffile.py", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5"))
    assert capfd.readouterr() == ("", "")


def saved(folder: Path, *pictures: bytes, ending: str = "tif") -> list[Row]:
    for number, data in enumerate(pictures):
        path = folder / "ab"[number % 2] / f"{number}.{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return list(listings.scan(folder).usable)


@pytest.mark.parametrize(
    ("kind", "sets", "limits"),
    [
        ("uint16", [[0, 900], [5, 3871]], (0, 4095)),
        ("uint16", [[0, 900], [5, 1000]], (0, 1023)),
        ("uint16", [[0, 200], [5, 255]], (0, 255)),
        ("uint16", [[0, 900], [5, 16384]], (0, 65535)),
        ("uint32", [[0, 900], [5, 2**31]], (0, 2**32 - 1)),
        ("uint32", [[0, 900], [5, 1_000_000]], (0, 2**20 - 1)),
        ("int16", [[0, 900], [5, 3871]], (0, 4095)),
        ("int16", [[-1024, 900], [-5, 3071]], (-1100, 3100)),
        ("float32", [[0.0, 0.5], [0.1, 1.004]], (0, 1)),
        ("float32", [[0.0, 200.0], [0.1, 255.0]], (0, 255)),
        ("float32", [[0.0, 0.5], [0.1, 7.31]], (0, 7.4)),
        ("float64", [[-2.71, 0.5], [0.1, 7.31]], (-2.8, 7.4)),
        ("float32", [[3.0, 3.0], [3.0, 3.0]], (3, 4)),
    ],
)
def test_the_values_of_the_whole_set_decide(
    tmp_path: Path, kind: str, sets: list[list[float]], limits: tuple[float, float]
) -> None:
    rows = saved(tmp_path, *(tiff(row_of(values, kind)) for values in sets))
    levels, (note,) = level_rules.settle(rows)
    name = "float" if kind.startswith("float") else kind
    assert levels.ranges == ((name, *limits),)
    assert note.startswith(f"pictures of {'signed ' if kind.startswith('int') else ''}")
    assert note.endswith(
        f"{limits[0]:.6g} becomes black and {limits[1]:.6g} white; --levels BLACK:WHITE sets it."
    )


def test_what_the_files_say_needs_no_values(tmp_path: Path) -> None:
    pictures = [tiff(row_of([0, 7, number], "uint16"), bitspersample=12) for number in (8, 9)]
    levels, _ = level_rules.settle(saved(tmp_path, *pictures))
    assert str(levels) == "uint12=0:4095"


def test_each_kind_of_samples_has_its_rule(tmp_path: Path) -> None:
    pictures = (tiff(row_of([0, 4000], "uint16")), tiff(row_of([0, 0.7], "float32")))
    levels, notes = level_rules.settle(saved(tmp_path, *pictures))
    assert str(levels) == "float=0:1,uint16=0:4095"
    assert parse(str(levels)) == levels
    assert len(notes) == 2


def test_pictures_of_8_bits_have_no_levels_and_the_key_they_always_had(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4), "red").save(tmp_path / name / "x.png")
    rows = listings.scan(tmp_path).usable
    assert level_rules.settle(rows, "0:4095") == (NO_LEVELS, ())
    assert "levels" not in Preprocessing().as_dict()
    assert "most_px" not in Preprocessing(most_px=7).as_dict()
    assert Preprocessing(levels=parse("0:1")).as_dict()["levels"] == "0:1"


def test_what_is_asked_goes_first_then_what_the_model_knows(tmp_path: Path) -> None:
    rows = saved(tmp_path, *(tiff(row_of([0, top], "uint16")) for top in (900, 4000)))
    known = parse("uint16=0:1023")
    assert level_rules.settle(rows, "0:2000", known) == (parse("uint16=0:2000"), ())
    assert level_rules.settle(rows, "auto", known) == (known, ())
    assert str(level_rules.settle(rows, "float=0:1", NO_LEVELS)[0]) == "uint16=0:4095"


def test_a_damaged_picture_does_not_decide(tmp_path: Path) -> None:
    whole = [tiff(row_of([0, top], "uint16")) for top in (900, 4000)]
    broken = tiff(np.full((40, 40), 60_000, "uint16"))[:2000]
    levels, _ = level_rules.settle(saved(tmp_path, *whole, broken))
    assert str(levels) == "uint16=0:4095"


def test_the_preprocessing_of_a_set_says_what_was_assumed(tmp_path: Path) -> None:
    saved(tmp_path, *(tiff(row_of([0, top], "uint16")) for top in (900, 4000)))
    listing = listings.scan(tmp_path)
    how, (note,) = level_rules.preprocessing_for(Preprocessing(), listing, "auto", 5, QUIET)
    assert (str(how.levels), how.most_px) == ("uint16=0:4095", 5)
    assert "pictures of 16-bit integers (2 in all, values 0 to 4000): 0 becomes black and" in note


@pytest.mark.parametrize("text", ["", "5", "5:5", "9:1", "nan:1", "uint99x=0:1", "0:1,", "inf:2"])
def test_levels_that_do_not_hold(text: str) -> None:
    with pytest.raises(RecipeError, match=r"data\.levels must be auto, BLACK:WHITE such as 0:4095"):
        parse(text)
