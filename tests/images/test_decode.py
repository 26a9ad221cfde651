import functools
import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from frostline.images import decode

RAMP = np.arange(40 * 56 * 3, dtype=np.uint32).reshape(40, 56, 3)
COLOURS = ((RAMP * 7) % 251).astype(np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def smooth(width: int = 56, height: int = 40) -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 255 - across], 2).astype(np.uint8))


@functools.cache
def huge_png(width: int, height: int) -> bytes:
    """A PNG of very many black pixels in a few hundred KiB."""
    rows = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def exif(orientation: int, order: str = "<") -> bytes:
    start = b"II*\0" if order == "<" else b"MM\0*"
    return (
        b"Exif\0\0" + start
        + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    grey = Image.fromarray(COLOURS[:, :, 0])
    image = grey if kind == "GIF" else Image.fromarray(COLOURS)
    data = encode(image, kind, **options)
    assert (decode.decode(data).pixels == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_gives_the_pixels_that_pillow_gives(mode: str, options: dict[str, int]) -> None:
    data = encode(Image.fromarray(COLOURS).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (decode.decode(data).pixels == expected).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_applied(kind: str, orientation: int, order: str) -> None:
    options: dict[str, object] = {"exif": exif(orientation, order)}
    if kind == "TIFF":
        tags = Image.Exif()
        tags[0x0112] = orientation
        options["exif"] = tags
    if kind == "WEBP":
        options["lossless"] = True
    data = encode(smooth(), kind, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    decoded = decode.decode(data)
    assert decoded.pixels.shape == ((56, 40, 3) if orientation >= 5 else (40, 56, 3))
    assert (decoded.pixels == expected).all()
    assert decoded.pixels.flags.c_contiguous
    header = decode.probe(data)
    assert (header.height_px, header.width_px) == decoded.pixels.shape[:2]


def test_orientation_in_xmp_counts_where_exif_is_silent() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    data = encode(smooth(), "JPEG", xmp=xmp)
    assert decode.decode(data).pixels.shape == (56, 40, 3)


@pytest.mark.parametrize(
    "broken",
    [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0XX*\0", exif(0), exif(9), exif(77)],
)
def test_a_broken_orientation_is_upright(broken: bytes) -> None:
    assert decode.decode(encode(smooth(), "JPEG", exif=broken)).pixels.shape == (40, 56, 3)


def test_corrupt_exif_gives_no_warning_and_loses_no_image() -> None:
    # The Dogs vs. Cats set has such files: a tag that points past the end.
    tiff = b"II*\0" + struct.pack("<IH", 8, 2)
    tiff += struct.pack("<HHII", 0x010F, 2, 900, 5000) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    for kind in ("JPEG", "PNG"):
        data = encode(smooth(), kind, exif=b"Exif\0\0" + tiff)
        assert decode.decode(data).pixels.shape == (56, 40, 3)


@pytest.mark.parametrize("kind", ["LA", "RGBA"])
def test_transparency_is_laid_on_white(kind: str) -> None:
    image = Image.new(kind, (2, 1), (0, 0) if kind == "LA" else (0, 0, 0, 0))
    image.putpixel((1, 0), (40, 255) if kind == "LA" else (40, 40, 40, 255))
    decoded = decode.decode(encode(image))
    assert decoded.pixels.tolist() == [[[255, 255, 255], [40, 40, 40]]]
    assert decoded.lossy == "alpha"


def test_half_transparent_is_half_white() -> None:
    decoded = decode.decode(encode(Image.new("RGBA", (1, 1), (0, 100, 200, 128))))
    assert np.allclose(decoded.pixels[0, 0], [127, 177, 227], atol=1)


def test_an_opaque_alpha_channel_loses_nothing() -> None:
    decoded = decode.decode(encode(Image.new("RGBA", (3, 3), (1, 2, 3, 255))))
    assert decoded.lossy == ""
    assert decoded.pixels[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_with_a_transparent_entry(transparency: object) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putpixel((1, 0), 1)
    decoded = decode.decode(encode(image, transparency=transparency))
    assert decoded.pixels.tolist() == [[[255, 255, 255], [200, 0, 0]]]
    assert decoded.lossy == "alpha"


def test_palette_is_looked_up_and_loses_nothing() -> None:
    image = Image.new("P", (1, 1))
    image.putpalette([9, 80, 200])
    decoded = decode.decode(encode(image))
    assert decoded.pixels.tolist() == [[[9, 80, 200]]]
    assert decoded.lossy == ""


def test_one_bit_and_grey_are_repeated() -> None:
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    decoded = decode.decode(encode(bits))
    assert decoded.pixels.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert decoded.lossy == ""


def test_cmyk_jpeg_comes_out_as_pillow_has_it() -> None:
    data = encode(smooth().convert("CMYK"), "JPEG")
    decoded = decode.decode(data)
    assert (decoded.pixels == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()
    assert decoded.lossy == "cmyk"
    assert decode.probe(data).mode == "CMYK"
    # Inverted twice or not at all, light would be dark.
    assert np.abs(decoded.pixels.astype(int) - np.asarray(smooth()).astype(int)).mean() < 12


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
def test_sixteen_bit_grey_uses_the_whole_range(kind: str, mode: str) -> None:
    levels = np.array([[0, 257, 32896, 65535]], dtype=">u2" if mode.endswith("B") else "<u2")
    image = Image.frombytes(mode, (4, 1), levels.tobytes())
    decoded = decode.decode(encode(image, kind))
    assert decoded.pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert decoded.lossy == "16-bit"


def test_sixteen_bit_colour_is_noticed_though_pillow_says_rgb() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0" + struct.pack(">HHH", 65535, 32896, 0))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel)
    data += chunk(b"IEND", b"")
    decoded = decode.decode(data)
    assert decoded.pixels.tolist() == [[[255, 128, 0]]]
    assert decoded.lossy == "16-bit"
    assert decode.probe(data).mode == "RGB;uint16"


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_colour_spaces_are_converted(mode: str) -> None:
    image = Image.new(mode, (2, 2), (128, 128, 128) if mode == "YCbCr" else (137, 128, 128))
    pixels = decode.decode(encode(image, "TIFF")).pixels
    assert pixels.shape == (2, 2, 3)
    assert np.abs(pixels.astype(int) - 128).max() <= 3


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "green", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode.decode(data).pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_one_pixel_is_an_image(kind: str) -> None:
    data = encode(Image.new("RGB", (1, 1), "white"), kind)
    assert decode.decode(data).pixels.tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_a_file_cut_short_is_refused(kind: str) -> None:
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    data = encode(Image.fromarray(COLOURS), kind, **options)
    with pytest.raises(decode.Unreadable, match="damaged or cut short: "):
        decode.decode(data[: len(data) // 2])


def test_a_jpeg_cut_within_its_header_is_refused() -> None:
    with pytest.raises(decode.Unreadable, match="damaged or cut short: "):
        decode.probe(encode(smooth(), "JPEG")[:200])


def test_harmless_junk_in_a_jpeg_is_accepted_as_pillow_does() -> None:
    data = encode(Image.fromarray(COLOURS), "JPEG")
    junk = data[:-2] + bytes(range(1, 90)) + data[-2:]
    assert (decode.decode(junk).pixels == decode.decode(data).pixels).all()
    assert (decode.decode(data + b"after the end").pixels == decode.decode(data).pixels).all()


@pytest.mark.parametrize("use", [decode.probe, decode.decode])
def test_what_is_no_image_is_said(use: object) -> None:
    with pytest.raises(decode.Unreadable, match=r"^not an image$"):
        use(b"Dear diary, this is a text file with the name of a picture.\n" * 9)
    with pytest.raises(decode.Unreadable, match=r"^the file is empty \(0 bytes\)$"):
        use(b"")


@pytest.mark.parametrize("use", [decode.probe, decode.decode])
def test_a_bomb_is_refused_by_its_header_without_a_warning(use: object) -> None:
    data = huge_png(30_000, 30_000)
    assert len(data) < 500_000
    with pytest.raises(decode.Unreadable) as error:
        use(data)
    assert str(error.value) == (
        "too large: 30000 x 30000 = 900,000,000 pixels, the limit is 89,478,485 "
        "(--max-megapixels moves it)"
    )


def test_a_jpeg_bomb_is_refused_too() -> None:
    data = bytearray(encode(smooth(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(decode.Unreadable, match="too large: 60000 x 60000"):
        decode.decode(bytes(data))


def test_postscript_is_never_run() -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(decode.Unreadable, match="not an image"):
        decode.decode(data)
    assert not {".eps", ".ps", ".h5", ".mpg", ".wmf"} & decode.extensions()
    assert {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"} <= (
        decode.extensions()
    )


def test_a_large_jpeg_is_decoded_smaller_and_stays_close() -> None:
    image = smooth(1600, 1200)
    data = encode(image, "JPEG", quality=95)
    small = decode.decode(data, (256, 256)).pixels
    assert small.shape == (600, 800, 3)
    exact = image.resize((800, 600), Image.Resampling.BOX)
    assert np.abs(small.astype(int) - np.asarray(exact).astype(int)).mean() < 1
    # Turned, the sides of the request turn with it.
    turned = encode(image, "JPEG", quality=95, exif=exif(6))
    assert decode.decode(turned, (400, 100)).pixels.shape == (800, 600, 3)
    assert decode.decode(turned, (100, 400)).pixels.shape == (1600, 1200, 3)


def test_a_jpeg_whose_sides_do_not_divide_is_decoded_whole() -> None:
    data = encode(smooth(1601, 1201), "JPEG")
    assert decode.decode(data, (10, 10)).pixels.shape == (1201, 1601, 3)


def test_reading_says_why_not(tmp_path: Path) -> None:
    with pytest.raises(decode.Unreadable, match=r"^no such file or directory$"):
        decode.read(str(tmp_path / "absent.jpg"))
    with pytest.raises(decode.Unreadable, match=r"^is a directory$"):
        decode.read(str(tmp_path))


def test_many_threads_decode_alike() -> None:
    datas = [encode(Image.fromarray(COLOURS), kind) for kind in ("JPEG", "PNG", "GIF", "TIFF")] * 8
    alone = [decode.decode(data).pixels for data in datas]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode.decode(data).pixels, datas))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_real_photographs_decode_as_pillow_decodes_them(assets: Path) -> None:
    paths = sorted((assets / "data" / "ants_bees" / "val").rglob("*.jp*g"))[::10]
    assert len(paths) > 10
    for path in paths:
        expected = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        assert (decode.decode(path.read_bytes()).pixels == np.asarray(expected)).all(), path
