"""Pixels of one, three and n channels, out of the files that hold them."""

import io

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from frostline.images import augment, channels, decode, views
from frostline.images.levels import parse
from frostline.images.policies import PRESETS, preset
from frostline.images.preprocessing import Preprocessing, from_dict, network_facts
from frostline.images.unreadable import Unreadable

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (40, 50, 3), dtype=np.uint8)
STACK = RANDOM.integers(0, 256, (5, 40, 50), dtype=np.uint8)


def taking(count: int, **more: object) -> Preprocessing:
    half = (0.5,) * count
    return Preprocessing(32, 32, 1.0, "squash", "bilinear", half, half, **more)  # type: ignore[arg-type]


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, "PNG")
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **how: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack", **how)
    return buffer.getvalue()


def pixels_of(data: bytes, count: int, **more: object) -> np.ndarray:
    return channels.decode(data, decode_whole(), taking(count, **more))


def decode_whole() -> tuple[int, int]:
    return decode.PIXEL_LIMIT, decode.PIXEL_LIMIT


def refusal(data: bytes, count: int) -> str:
    with pytest.raises(Unreadable) as caught:
        pixels_of(data, count)
    return str(caught.value)


def test_grey_is_what_pillow_makes_of_colours() -> None:
    want = np.asarray(Image.fromarray(COLOURS).convert("L"))
    assert np.array_equal(channels.grey(COLOURS)[:, :, 0], want)
    assert np.array_equal(pixels_of(png(COLOURS), 1)[:, :, 0], want)


def test_a_grey_picture_keeps_its_values() -> None:
    assert np.array_equal(pixels_of(png(STACK[0]), 1)[:, :, 0], STACK[0])


def test_the_pages_of_a_tiff_are_channels_in_their_order() -> None:
    assert np.array_equal(pixels_of(tiff(STACK), 5), STACK.transpose(1, 2, 0))


def test_deep_pages_are_scaled_by_one_rule() -> None:
    deep = STACK.astype(np.uint16) * 16
    got = pixels_of(tiff(deep), 5, levels=parse("0:4080"))
    assert np.array_equal(got, STACK.transpose(1, 2, 0))
    white_is_zero = tifffile.imwrite
    buffer = io.BytesIO()
    white_is_zero(buffer, 4080 - deep, photometric="miniswhite")
    inverted = pixels_of(buffer.getvalue(), 5, levels=parse("0:4080"))
    assert np.array_equal(inverted, STACK.transpose(1, 2, 0))


def test_the_frames_of_an_animation_are_channels() -> None:
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(plane) for plane in STACK)
    first.save(buffer, "GIF", save_all=True, append_images=others)
    assert np.array_equal(pixels_of(buffer.getvalue(), 5), STACK.transpose(1, 2, 0))


def test_the_bands_of_one_picture_are_channels() -> None:
    four = STACK[:4].transpose(1, 2, 0).copy()
    assert np.array_equal(pixels_of(png(four, "RGBA"), 4), four)
    deep = four.astype(np.uint16) * 257
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep, photometric="rgb", extrasamples=("unspecified",))
    assert np.array_equal(pixels_of(buffer.getvalue(), 4), four)


def test_colours_are_asked_for_as_before() -> None:
    assert np.array_equal(pixels_of(png(COLOURS), 3), COLOURS)
    assert np.array_equal(pixels_of(tiff(STACK), 3)[:, :, 0], STACK[0])


@pytest.mark.parametrize(
    ("data", "count", "said"),
    [
        (png(COLOURS), 5, "holds one picture of 3 channels, and the network takes 5 channels"),
        (tiff(STACK), 4, "holds 5 pictures, and the network takes 4 channels: a stack of 4"),
        (tiff(STACK.astype(np.uint16)), 4, "holds 5 pictures, and the network takes 4 channels"),
        (tiff(STACK)[:4000], 5, "damaged or cut short"),
        (tiff(STACK.astype(np.uint16))[:4000], 5, "damaged or cut short"),
        (b"", 5, "the file is empty"),
    ],
)
def test_a_file_of_other_channels_says_so(data: bytes, count: int, said: str) -> None:
    assert said in refusal(data, count)


def test_pages_of_different_sizes_are_no_stack() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for side in (20, 30):
            writer.write(np.zeros((side, side), np.uint16))
    assert "differ in size" in refusal(buffer.getvalue(), 2)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_each_channel_is_resized_like_one_of_three(count: int, interpolation: str) -> None:
    how = Preprocessing(24, 20, 0.875, "center", interpolation, (0.5,) * count, (0.5,) * count)
    pixels = STACK[:count].transpose(1, 2, 0).copy()
    got = views.center(pixels, how)
    assert (got.shape, got.dtype) == ((count, 24, 20), torch.uint8)
    for index in range(count):
        alone = np.repeat(pixels[:, :, index : index + 1], 3, 2)
        want = views.center(alone, Preprocessing(24, 20, 0.875, "center", interpolation))
        # torch has another kernel for three interleaved channels, which rounds once more.
        assert (got[index].int() - want[0].int()).abs().max() <= 1


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("count", [1, 5])
def test_views_of_any_channels_are_made_and_repeat(name: str, count: int) -> None:
    view = augment.View(3, preset(name))
    pixels = STACK[:count].transpose(1, 2, 0).copy()
    made = augment.make(pixels, taking(count), view, "content")
    assert made.shape == (count, 32, 32)
    assert torch.equal(made, augment.make(pixels, taking(count), view, "content"))


def test_brightness_of_grey_is_that_of_colours() -> None:
    from frostline.images.warp import coloured

    grey = torch.from_numpy(STACK[:1])
    changed = coloured(grey, (1.2, 0.8, 1.3))
    as_colours = coloured(grey.repeat(3, 1, 1), (1.2, 0.8, 1.3))
    assert (changed.int() - as_colours[:1].int()).abs().max() <= 1


def test_normalisation_of_one_channel() -> None:
    how = Preprocessing(2, 2, mean=(0.1307,), std=(0.3081,))
    got = views.normalise(torch.full((1, 2, 2), 255, dtype=torch.uint8), how)
    assert got.shape == (1, 2, 2)
    assert float(got[0, 0, 0]) == pytest.approx((1 - 0.1307) / 0.3081, rel=1e-6)


def test_a_record_of_any_channels_is_written_and_read() -> None:
    how = taking(5)
    assert (how.channels, how.input_shape) == (5, (5, 32, 32))
    assert from_dict(network_facts(how), "here") == how
    from frostline.base.errors import BackboneError

    with pytest.raises(BackboneError, match="must have as many values as the network"):
        from_dict({"mean": [0.5], "std": [0.5, 0.5]}, "here")
