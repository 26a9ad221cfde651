"""Formats that are not read are called by their names; large and odd files of those that are."""

import base64
import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from frostline.images import decode, heic
from frostline.images import listing as listings
from images.made import folders

# 48 x 64 px as displayed, green above red; made with pillow-heif, and turned by the file itself.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAHQAAgAAAAACYAABAAAAAAAAACQAAAA4aWlu"
    "ZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAB"
    "B2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkA"
    "AAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAA"
    "AAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAa"
    "aXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAKBtZGF0AAAAcCgBrwngOSMkv//jF///jtr//0rb3Bf/47vX3loDf/KR"
    "vURjWLKbmEqi/RgQHQznFWIxzHTNH0z73sXuzXXzu++6BHXkbCK2FbjT8ZC4a9DzuoExRBV1XfblXvTST0EdXPUr"
    "qcwm/NU0MdH7AXZdSFgAAAAGRXhpZgAASUkqAAgAAAABABIBAwABAAAABgAAAAAAAAA="
)
RAMP = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)


def boxes(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + b"\0\0\0\0" + bytes(600)


def tiff(*tags: tuple[int, int], maker: bytes = b"") -> bytes:
    """A TIFF of nothing but tags, as a raw file begins."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + maker + bytes(600)


KINDS = [
    (b"RIFF\x24\0\0\0WAVEfmt ", "a sound, and this network sees pictures: train with --sound"),
    (b"fLaC\0\0\0\x22" + bytes(34), "a sound, and"),
    (boxes(b"heic"), "HEIC, as phones save photographs: pip install 'frostline[heic]', or"),
    (boxes(b"mif1"), "HEIC"),
    (boxes(b"crx "), "camera raw (Canon CR3)"),
    (boxes(b"qt  "), "a video"),
    (imagecodecs.jpegxl_encode(RAMP.astype(np.uint8)), "JPEG XL, which is not read: convert it"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
    (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "camera raw (Canon CR2)"),
    (tiff((254, 1), (50706, 1)), "camera raw (DNG), which is no picture yet: develop it, or"),
    (tiff((254, 1), (330, 9), maker=b"NIKON CORPORATION"), "camera raw (Nikon NEF)"),
    (tiff((254, 1), (330, 9), maker=b"SONY"), "camera raw (a camera's own TIFF)"),
    (tiff((262, 32803)), "camera raw (colour filter array)"),
    (b"FUJIFILMCCD-RAW 0201" + bytes(99), "camera raw (Fujifilm RAF)"),
    (b"IIRO\x08\0\0\0" + bytes(99), "camera raw (Olympus ORF)"),
    (b"IIU\0\x18\0\0\0" + bytes(99), "camera raw (Panasonic RW2)"),
    (bytes(128) + b"DICM" + bytes(99), "DICOM, which is not read: write its pixels to 16-bit PNG"),
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "a Git LFS pointer and not the picture itself: run `git lfs pull`",
    ),
    (b"\n<!DOCTYPE html><html><title>404</title>", "a web page and not a picture"),
    (b"<html><body>Sign in", "a web page and not a picture"),
    (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG, a drawing"),
    (b"%PDF-1.7\n", "a PDF, which is no picture"),
    (imagecodecs.jpeg8_encode(RAMP % 4096, bitspersample=12), "a JPEG of 12 bits, which is not"),
    (imagecodecs.ljpeg_encode(RAMP), "a lossless JPEG (as in DICOM or raw files), which is not"),
]


@pytest.mark.parametrize(("data", "told"), KINDS, ids=[told[:24] for _, told in KINDS])
def test_what_is_not_read_is_called_by_its_name(
    data: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heic, "is_installed", lambda: False)
    for use in (decode.probe, decode.decode):
        with pytest.raises(decode.Unreadable) as error:
            use(data)
        assert str(error.value).startswith(told)


def test_they_are_counted_by_kind_and_not_silently_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heic, "is_installed", lambda: False)
    folders(tmp_path, "a", "b")
    for number in range(7):
        (tmp_path / "a" / f"IMG_{number}.HEIC").write_bytes(boxes(b"heic"))
    (tmp_path / "b" / "x.CR2").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(99))
    (tmp_path / "b" / "gone.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    listing = listings.scan(tmp_path)
    assert len(listing.problems) == 9
    assert listings.report_lines(listing)[:3] == [
        (
            "not read: 7 files: HEIC, as phones save photographs: pip install "
            "'frostline[heic]', or "
            f"convert them to JPEG. The first: {tmp_path}/a/IMG_0.HEIC."
        ),
        (
            "not read: 1 file: a Git LFS pointer and not the picture itself: run `git lfs pull` "
            "where "
            f"it came from. The first: {tmp_path}/b/gone.jpg."
        ),
        (
            "not read: 1 file: camera raw (Canon CR2), which is no picture yet: develop it, or "
            "take "
            f"the JPEG beside it. The first: {tmp_path}/b/x.CR2."
        ),
    ]


def test_heic_is_read_and_upright_where_its_decoder_is_installed() -> None:
    pytest.importorskip("pi_heif")
    assert decode.probe(HEIC) == decode.Header(48, 64, "RGB")
    pixels = decode.decode(HEIC).pixels.astype(int)
    assert pixels.shape == (64, 48, 3)
    assert np.abs(pixels[10, 24] - (20, 180, 60)).max() < 12
    assert np.abs(pixels[54, 24] - (200, 30, 40)).max() < 12
    with pytest.raises(decode.Unreadable, match="damaged or cut short"):
        decode.decode(HEIC[:500])
    with pytest.raises(decode.Unreadable, match="too large: "):
        decode.probe(HEIC, most_px=100)


def test_a_heic_whose_items_have_no_names_does_not_end_the_process() -> None:
    pytest.importorskip("pi_heif")
    at = HEIC.index(b"Exif")
    broken = HEIC[:at] + b"\xe0" + HEIC[at + 1 :]
    for use in (decode.probe, decode.decode):
        with pytest.raises(decode.Unreadable, match="the names of its items are no text"):
            use(broken)


def test_avif_is_read_and_is_no_heic() -> None:
    data = imagecodecs.avif_encode(np.full((16, 16, 3), 90, np.uint8))
    assert decode.decode(data).pixels.shape == (16, 16, 3)


def test_a_12_bit_jpeg_in_name_only_is_read() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "JPEG", comment=b"\xff\xc3\x00\x11\x0c lossless")
    assert decode.decode(stream.getvalue()).pixels.shape == (8, 8, 3)


LONG = "".join(map(chr, np.random.default_rng(0).integers(97, 123, 3 << 20)))


@pytest.mark.parametrize("kind", ["text", "packed", "xmp", "profile"])
@pytest.mark.parametrize("mode", ["RGB", "P", "I;16"])
def test_whole_pngs_with_much_metadata_are_read(kind: str, mode: str) -> None:
    image = Image.frombytes("L", (16, 12), bytes(range(192))).convert(mode.replace("I;16", "I"))
    image = image.convert("I;16") if mode == "I;16" else image
    plain, stream, texts = io.BytesIO(), io.BytesIO(), PngImagePlugin.PngInfo()
    image.save(plain, "PNG")
    options: dict[str, object] = {}
    if kind == "text":
        for number in range(25):  # More than 64 MiB in all.
            texts.add_text(f"prompt {number}", LONG)
    elif kind == "packed":
        texts.add_text("prompt", LONG, zip=True)
    elif kind == "xmp":
        texts.add_itxt("XML:com.adobe.xmp", f'<x tiff:Orientation="6"/>{LONG}', zip=True)
    else:
        options["icc_profile"] = LONG.encode()
    image.save(stream, "PNG", pnginfo=texts, compress_level=1, **options)
    expected = decode.decode(plain.getvalue()).pixels
    if kind == "xmp":
        expected = expected.swapaxes(0, 1)[:, ::-1]
    decoded = decode.decode(stream.getvalue()).pixels
    assert (decoded == expected).all()
    header = decode.probe(stream.getvalue())
    assert (header.height_px, header.width_px) == expected.shape[:2]


def test_text_after_the_pixels_loses_no_picture() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, "PNG")
    data = stream.getvalue()
    text = b"zTXtprompt\0\0" + zlib.compress(LONG.encode(), 1)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    assert decode.decode(data[:-12] + chunk + data[-12:]).pixels[0, 0].tolist() == [255, 0, 0]


@pytest.fixture(scope="module")
def phone() -> bytes:
    """108 megapixels, as phones take them: left dark, right light."""
    image = Image.new("L", (12_000, 9_000), 20)
    image.paste(220, (6_000, 0, 12_000, 9_000))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=30)
    return stream.getvalue()


def test_photographs_of_108_megapixels_are_decoded_smaller(phone: bytes) -> None:
    assert (decode.probe(phone).width_px, decode.probe(phone).height_px) == (12_000, 9_000)
    small = decode.decode(phone, (256, 256)).pixels
    assert small.shape == (1125, 1500, 3)
    # However large it is wanted, and however much is allowed.
    for most_px in (0, 200_000_000):
        assert decode.decode(phone, (9_000, 9_000), most_px=most_px).pixels.shape[:2] == (
            4_500, 6_000,
        )  # fmt: skip
    assert np.abs(small[600, [100, 1400], 0].astype(int) - (20, 220)).max() < 3


def test_the_limit_moves_both_ways(phone: bytes) -> None:
    with pytest.raises(decode.Unreadable, match="the limit is 100,000,000"):
        decode.probe(phone, most_px=100_000_000)
    stream = io.BytesIO()
    Image.new("1", (10_000, 9_000)).save(stream, "PNG")
    with pytest.raises(decode.Unreadable, match=r"the limit is 89,478,485 \(--max-megapixels"):
        decode.probe(stream.getvalue())
    assert decode.probe(stream.getvalue(), most_px=90_000_000).width_px == 10_000
