import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from frostline.images import augment, decode, views
from frostline.images.preprocessing import CROP_MODES, INTERPOLATIONS, Preprocessing

# What views.py promises on photographs: mean and largest difference in levels of 255.
MEAN_LEVELS, MAX_LEVELS = 0.03, 2
SQUASH_MEAN_LEVELS, SQUASH_MAX_LEVELS = 0.3, 10


def load(source: str | Path | bytes, how: Preprocessing) -> torch.Tensor:
    """Returns the `center` view, uint8 `[3, h, w]`."""
    return augment.load(source, how, [augment.CENTER], "")[0]


def timm_view(image: Image.Image, how: Preprocessing) -> torch.Tensor:
    """Returns timm's own result, float32 `[3, h, w]`, normalised."""
    transform = create_transform(
        (3, how.height_px, how.width_px),
        crop_pct=how.crop_pct,
        crop_mode=how.crop_mode,
        interpolation=how.interpolation,
        mean=how.mean,
        std=how.std,
        is_training=False,
    )
    result: torch.Tensor = transform(image.convert("RGB"))
    return result


def levels(normalised: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (how.mean, how.std))
    return (normalised * std + mean) * 255


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture with slopes and edges, as photographs have them, and some noise."""
    chance = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width] / 40.0
    waves = [np.sin(down * (1 + c)) + np.cos(across * (2 - c / 2)) > 0.3 * c for c in range(3)]
    base = np.stack(waves, 2) * 140.0 + 40 + 20 * np.sin(across)[..., None]
    return Image.fromarray(np.clip(base + chance.normal(0, 6, base.shape), 0, 255).astype("u1"))


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


HOWS = [
    *(
        Preprocessing(64, 64, 0.875, mode, interpolation)
        for mode, interpolation in itertools.product(CROP_MODES, INTERPOLATIONS)
    ),
    *(
        Preprocessing(48, 80, pct, mode, "bicubic")
        for mode, pct in itertools.product(CROP_MODES, (0.9, 1.0))
    ),
    Preprocessing(75, 75, 1.0, "center", "bilinear"),
    Preprocessing(65, 64, 0.95, "border", "lanczos", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
]


@pytest.mark.parametrize("how", HOWS, ids=str)
@pytest.mark.parametrize("size", [(201, 150), (97, 131), (80, 80), (40, 30), (31, 333)])
def test_center_is_timms_evaluation_transform(how: Preprocessing, size: tuple[int, int]) -> None:
    image = photo(*size)
    view = views.center(np.array(image), how)
    expected = timm_view(image, how)
    assert view.shape == expected.shape
    assert view.dtype == torch.uint8
    assert view.is_contiguous()
    difference = (view - levels(expected, how)).abs()
    if how.interpolation in ("nearest", "lanczos"):
        assert difference.max() < 1e-3
    else:
        # Hard edges and noise are harsher than photographs; a shift of a pixel would be 10.
        assert difference.mean() < 0.35
    assert (views.normalise(view, how) - expected).abs().mean() < 0.01


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (5000, 3), (2, 20_000), (223, 224)])
def test_sizes_out_of_the_ordinary(size: tuple[int, int], interpolation: str, mode: str) -> None:
    how = Preprocessing(crop_mode=mode, interpolation=interpolation)
    view = views.center(np.full((size[1], size[0], 3), 77, dtype=np.uint8), how)
    assert view.shape == (3, 224, 224)
    assert view[:, 111, 111].tolist() == [77, 77, 77]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_strips_too_long_to_resize_whole_agree_with_timm(interpolation: str) -> None:
    image = photo(600, 7)
    how = Preprocessing(interpolation=interpolation)
    assert np.prod(views.resized_px(7, 600, how)) > 4_194_304
    difference = (views.center(np.array(image), how) - levels(timm_view(image, how), how)).abs()
    assert difference.max() <= 1.001


def test_pixels_that_may_not_be_written_to_are_taken() -> None:
    pixels = np.asarray(photo(50, 40))
    assert not pixels.flags.writeable
    assert views.center(pixels, Preprocessing(32, 32)).shape == (3, 32, 32)
    same = Preprocessing(40, 50, 1.0, "squash")
    assert (views.center(pixels, same).permute(1, 2, 0).numpy() == pixels).all()


def test_the_border_has_the_mean_colour() -> None:
    how = Preprocessing(64, 64, 1.0, "border")
    view = views.center(np.zeros((10, 40, 3), dtype=np.uint8), how)
    assert view[:, 0, 0].tolist() == [124, 116, 104]
    assert view[:, 32, 32].tolist() == [0, 0, 0]


def test_loading_takes_paths_and_bytes(tmp_path: Path) -> None:
    how = Preprocessing(16, 16)
    path = tmp_path / "clear.png"
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(path)
    view = load(path, how)
    assert (view == 255).all()
    assert (load(str(path), how) == view).all()
    assert (load(path.read_bytes(), how) == view).all()
    with pytest.raises(decode.Unreadable, match="no such file"):
        load(tmp_path / "absent.png", how)


def test_a_large_jpeg_loads_close_to_its_whole_self() -> None:
    how = Preprocessing(64, 64)
    data = jpeg(photo(120, 96).resize((960, 768), Image.Resampling.BICUBIC))
    assert decode.decode(data, views.center_source_px(how)).pixels.shape[0] < 768
    whole = views.center(decode.decode(data).pixels, how)
    difference = (load(data, how).int() - whole.int()).abs().float()
    assert difference.mean() <= 0.5
    assert difference.max() <= 9


def test_nearest_never_decodes_smaller() -> None:
    how = Preprocessing(8, 8, interpolation="nearest")
    data = jpeg(photo(320, 240))
    assert decode.decode(data, views.center_source_px(how)).pixels.shape == (240, 320, 3)


def test_normalise_takes_one_image_or_many() -> None:
    how = Preprocessing(mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    batch = torch.full((2, 3, 1, 1), 255, dtype=torch.uint8)
    assert views.normalise(batch, how)[1].flatten().tolist() == [1.0, 0.75, 0.5]
    assert views.normalise(batch[0], how).dtype == torch.float32


@pytest.mark.parametrize(
    ("interpolation", "mode"),
    [
        *((interpolation, "center") for interpolation in INTERPOLATIONS),
        ("bicubic", "squash"),
        ("bilinear", "border"),
    ],
)
def test_real_photographs_agree_with_timm(assets: Path, interpolation: str, mode: str) -> None:
    paths = sorted((assets / "data").rglob("*.jpg"))[::180]
    assert len(paths) > 10
    how = Preprocessing(crop_mode=mode, interpolation=interpolation)
    mean, most = MEAN_LEVELS, MAX_LEVELS
    if mode == "squash":
        mean, most = SQUASH_MEAN_LEVELS, SQUASH_MAX_LEVELS
    if interpolation in ("nearest", "lanczos"):
        mean, most = 0.0, 0
    for path in paths:
        view = load(path, how)
        difference = (view - levels(timm_view(Image.open(path), how), how)).abs()
        assert difference.mean() <= mean + 1e-4, path
        assert difference.max() <= most + 1e-3, path


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("size", [(640, 480), (97, 131), (31, 333)])
def test_the_box_of_the_center_view_is_what_it_shows(size: tuple[int, int], mode: str) -> None:
    how = Preprocessing(48, 80, 0.9, mode)
    width, height = size
    top, left, bottom, right = views.center_box(height, width, how)
    tall, wide = views.resized_px(height, width, how)
    assert (bottom - top) * tall / height == pytest.approx(48)
    assert (right - left) * wide / width == pytest.approx(80)
    # In the middle, within the pixel that rounding may take.
    assert (top + bottom) / 2 == pytest.approx(height / 2, abs=height / tall)
    assert (left + right) / 2 == pytest.approx(width / 2, abs=width / wide)


def test_resizing_may_keep_a_part() -> None:
    pixels = np.array(photo(60, 40))
    whole = views.resize(pixels, (20, 30), "bicubic")
    assert whole.shape == (3, 20, 30)
    part = views.resize(pixels, (20, 30), "bicubic", (2, 3, 12, 28))
    assert torch.equal(part, whole[:, 2:12, 3:28])
