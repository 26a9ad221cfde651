"""Thumbnails of any picture, and what stands where there is none."""

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.images.thumbnails import picture, thumbnail


def saved(path: Path, size: tuple[int, int] = (40, 20), **save: Any) -> str:
    Image.new("RGB", size, (200, 30, 30)).save(path, **save)
    return str(path)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def test_pictures_that_cannot_be_shown_are_tolerated_and_said(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    whole = Path(saved(tmp_path / "whole.jpg", (400, 300)))
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:400])
    os.mkfifo(tmp_path / "pipe.jpg")
    names = ("text.jpg", "cut.jpg", "pipe.jpg", "gone.jpg")
    html = "".join(picture(str(tmp_path / name), "told") for name in names)
    assert html.count("The picture cannot be shown.") == 2
    assert html.count("The picture is no longer there.") == 2
    assert "<img" not in html


def test_picture_with_a_name_that_is_not_utf8_is_shown(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    html = picture(saved(Path(path)), Path(path).name)
    assert 'alt="caf\\xe9.png" width="40" height="20"' in html
    found = re.search(r"base64,([^\"]+)", html)
    assert found
    assert opened(base64.b64decode(found[1])).size == (40, 20)


def test_thumbnail_is_small_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpg", (1200, 600), exif=exif)
    assert opened(thumbnail(path)).size == (120, 240)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "I;16", "F"])
def test_thumbnail_of_any_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif" if mode in ("CMYK", "I", "F") else tmp_path / "a.png"
    if mode in ("I", "I;16", "F"):
        dtype = {"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]
        # Blocks of 16 pixels, so that JPEG keeps them apart.
        values = np.kron([[0, 30000], [60000, 60000]], np.ones((16, 16))).astype(dtype)
        Image.fromarray(values).save(path)
        expected = [0, 128, 255, 255]
    else:
        Image.new("RGB", (32, 32), "white").convert(mode).save(path)
        expected = [255] * 4
    got = np.asarray(opened(thumbnail(str(path))).convert("L"), dtype=int)[8::16, 8::16]
    assert np.abs(got.ravel() - expected).max() <= 3


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    pixel = opened(thumbnail(str(tmp_path / "a.png"))).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert min(pixel) >= 253


def test_huge_picture_gets_no_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (10_000, 10_000)).save(path)
    with pytest.raises(ValueError, match="too large for a thumbnail"):
        thumbnail(str(path))


def test_real_photograph_becomes_a_thumbnail(assets: Path) -> None:
    photo = next(iter(sorted((assets / "data" / "ants_bees" / "val" / "ants").glob("*.jpg"))))
    data = thumbnail(str(photo))
    assert max(opened(data).size) == 240
    assert len(data) < 40_000
