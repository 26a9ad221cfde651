import hashlib
import io
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frostline.base.errors import RecipeError
from frostline.base.files import digest
from frostline.images import augment, decode, policies, views, warp
from frostline.images.augment import CENTER, PRESETS, Policy, View
from frostline.images.preprocessing import CROP_MODES, INTERPOLATIONS, Preprocessing

HOW = Preprocessing(64, 64)
# Nothing is cut away: what `center` shows is the image.
WHOLE = Preprocessing(64, 64, 1.0, "center", "bilinear")
GEOMETRY = Policy(flip=True, rotate=40, shift=0.2, shear=0.2, zoom=0.2)
ALL = replace(GEOMETRY, crop=0.3, color=0.4, fill="constant")


def smooth(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture of slow waves, no part of which looks like another."""
    chance = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width] / max(width, height) * 2 * math.pi
    waves = [
        np.sin(down * a + b) + np.cos(across * c + b) for a, b, c in chance.uniform(0.5, 2, (3, 3))
    ]
    return (np.stack(waves, 2) * 55 + 127).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the mean difference in levels of 255, at least 3 px away from the edges."""
    return float((one.float() - other.float())[:, 3:-3, 3:-3].abs().mean())


Fix = Callable[..., None]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Fix:
    """Lets a test say what chance gives: fields of `_Drawn`; those not named do nothing."""

    def fix(**fields: Any) -> None:
        nothing = policies.draw(View(0, Policy()), "")
        monkeypatch.setattr(augment, "draw", lambda view, content: replace(nothing, **fields))

    return fix


# Same content, same number, same policy: same pixels.


def fingerprint(order: list[tuple[str, int]]) -> dict[tuple[str, int], str]:
    pixels = smooth(90, 70)
    found = {}
    for name, number in order:
        view = augment.make(pixels, HOW, View(number, PRESETS[name]), "content")
        found[name, number] = hashlib.sha256(view.numpy().tobytes()).hexdigest()
    return found


EVERY = [(name, number) for name in PRESETS for number in range(4)]


def test_order_and_threads_and_global_seeds_do_not_matter() -> None:
    torch.manual_seed(1)
    before = fingerprint(EVERY)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    assert fingerprint(EVERY[::-1]) == before
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(fingerprint, [EVERY[at::3] for at in range(3)] * 2):
            assert found.items() <= before.items()
    assert torch.equal(torch.random.get_rng_state(), state), "drew from torch's own generator"


def test_another_process_with_other_thread_counts_makes_the_same_pixels() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import torch; "
        "torch.set_num_threads(3); import test_augment as t; print(t.fingerprint(t.EVERY[::-1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(fingerprint(EVERY[::-1]))


@pytest.mark.parametrize("name", ["light", "standard", "strong"])
def test_content_number_and_policy_each_change_the_view(name: str) -> None:
    pixels, policy = smooth(90, 70), PRESETS[name]
    first = augment.make(pixels, HOW, View(0, policy), "content")
    assert not torch.equal(first, augment.make(pixels, HOW, View(1, policy), "content"))
    assert not torch.equal(first, augment.make(pixels, HOW, View(0, policy), "other"))
    other = View(0, replace(policy, crop=0.45))
    assert not torch.equal(first, augment.make(pixels, HOW, other, "content"))


def test_golden_views() -> None:
    """Means of the channels of a tiny image; a change here asks for a new `augment.VERSION`."""
    pixels = np.mgrid[0:9, 0:12].transpose(1, 2, 0) * 20
    pixels = np.dstack([pixels, 255 - pixels.sum(2, keepdims=True) // 2]).astype(np.uint8)
    how = Preprocessing(8, 8)
    means = {
        (name, number): augment.make(pixels, how, View(number, PRESETS[name]), "golden")
        .float()
        .mean((1, 2))
        .tolist()
        for name, number in GOLDEN
    }
    for key, expected in GOLDEN.items():
        assert means[key] == pytest.approx(expected, abs=0.5), (key, means[key])


GOLDEN: dict[tuple[str, int], list[float]] = {
    ("none", 0): [70.0, 110.0, 165.0],
    ("light", 0): [80.0, 120.0, 155.0],
    ("light", 1): [80.0, 130.0, 150.0],
    ("standard", 0): [88.8, 63.7, 165.0],
    ("standard", 1): [94.6, 95.1, 215.6],
    ("strong", 0): [86.7, 63.6, 195.7],
    ("strong", 1): [156.7, 183.2, 176.6],
}


# Names.


def test_names_of_views() -> None:
    assert CENTER.name == policies.VIEW_CENTER == "center"
    policy = Policy(flip=True)
    assert View(3, policy).name == f"{policy.digest}:3"
    assert View(3).name == "center"


def test_a_digest_tells_policies_apart_and_not_their_spelling() -> None:
    assert Policy(rotate=10).digest == Policy(rotate=10.0).digest
    assert Policy(rotate=-0.0).digest == Policy().digest
    assert Policy(crop=1).digest == Policy().digest
    several = [
        *(Policy(), Policy(flip=True), Policy(rotate=1), Policy(shift=1), Policy(shear=1)),
        *(Policy(zoom=0.5), Policy(crop=0.5), Policy(color=1), Policy(fill="constant")),
    ]
    assert len({policy.digest for policy in several}) == len(several)
    # Equal to Python, and still two: what one is told must not depend on the other.
    assert Policy(flip=1).digest != Policy(flip=True).digest  # type: ignore[arg-type]


def test_a_digest_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(flip=True, rotate=12.25)
    first = policy.digest
    monkeypatch.setattr(policies, "digest_json", lambda _: pytest.fail("worked out again"))
    assert Policy(flip=True, rotate=12.25).digest == first


def test_what_fills_the_edges_varies_nothing_by_itself() -> None:
    assert not Policy().varies
    assert not Policy(fill="constant").varies
    assert Policy(fill="constant", rotate=1.0).varies
    assert all(policy.varies for name, policy in PRESETS.items() if name != "none")


def test_presets() -> None:
    assert list(PRESETS) == ["none", "light", "standard", "strong"]
    assert augment.preset("none") == Policy()
    assert len({policy.digest for policy in PRESETS.values()}) == 4
    with pytest.raises(RecipeError) as caught:
        augment.preset("standart")
    assert str(caught.value) == (
        "view policy 'standart': not a preset; presets are none, light, standard, strong. "
        "Did you mean standard?"
    )


def test_all_that_is_out_of_range_is_said_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        Policy(False, 181, -0.1, 2.5, 1, 0, math.nan, "edges")
    assert str(caught.value) == (
        "view policy: 7 problems: (1) rotate must be from 0 to 180, got 181. "
        "(2) shift must be from 0 to 1, got -0.1. (3) shear must be from 0 to 2, got 2.5. "
        "(4) color must be from 0 to 1, got nan. (5) zoom must be from 0 to below 1, got 1. "
        "(6) crop must be above 0 and at most 1, got 0. "
        "(7) fill must be one of edge, constant, got 'edges'. Did you mean edge?"
    )


# What each field does.


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_policy_that_does_nothing_gives_the_center_view(mode: str, interpolation: str) -> None:
    how = Preprocessing(48, 64, 0.9, mode, interpolation)
    pixels = smooth(90, 70)
    expected = views.center(pixels, how)
    for view in (CENTER, View(5, Policy()), View(2, PRESETS["none"])):
        assert torch.equal(augment.make(pixels, how, view, "content"), expected)


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(90, 70), (333, 200), (30, 41)])
def test_a_warp_that_moves_nothing_is_close_to_the_center_view(
    drawn: Fix, mode: str, interpolation: str, size: tuple[int, int]
) -> None:
    drawn()
    how = Preprocessing(48, 64, 0.9, mode, interpolation)
    pixels = smooth(*size)
    view = augment.make(pixels, how, View(0, GEOMETRY), "content")
    limit = 3.0 if interpolation == "nearest" else 0.6
    assert difference(view, views.center(pixels, how)) < limit


def test_flip_mirrors_half_of_the_views() -> None:
    pixels = smooth(90, 70)
    expected = views.center(pixels, HOW)
    mirrored = 0
    for number in range(100):
        view = augment.make(pixels, HOW, View(number, Policy(flip=True)), "content")
        assert view.is_contiguous()
        if not torch.equal(view, expected):
            assert torch.equal(view, expected.flip(2))
            mirrored += 1
    assert 30 < mirrored < 70


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotate_turns_clockwise(drawn: Fix, quarters: int) -> None:
    drawn(rotate=quarters * math.pi / 2)
    pixels = smooth(80, 80)
    view = augment.make(pixels, WHOLE, View(0, GEOMETRY), "content")
    turned = views.center(np.ascontiguousarray(np.rot90(pixels, -quarters)), WHOLE)
    assert difference(view, turned) < 0.6


def test_rotate_agrees_with_pillow(drawn: Fix) -> None:
    drawn(rotate=math.radians(25))
    pixels = smooth(300, 300)
    view = augment.make(pixels, WHOLE, View(0, Policy(rotate=30)), "content")
    pillow = Image.fromarray(pixels).rotate(-25, Image.Resampling.BICUBIC)
    expected = views.center(np.array(pillow), WHOLE)
    inner = slice(14, 50)  # Pillow leaves the corners black.
    assert difference(view[:, inner, inner], expected[:, inner, inner]) < 0.6


def test_angles_fill_their_range() -> None:
    angles = [policies.draw(View(n, Policy(rotate=30)), "c").rotate for n in range(300)]
    assert math.radians(-30) <= min(angles) < math.radians(-28)
    assert math.radians(28) < max(angles) <= math.radians(30)
    assert abs(float(np.mean(angles))) < math.radians(3)


def test_shift_moves_right_and_down(drawn: Fix) -> None:
    drawn(shift=(0.25, 0.125))
    pixels = smooth(64, 64)
    view = augment.make(pixels, WHOLE, View(0, Policy(shift=0.25)), "content")
    assert difference(view[:, 8:, 16:], views.center(pixels, WHOLE)[:, :-8, :-16]) < 0.3


def test_shift_brings_in_what_the_center_view_leaves_out(drawn: Fix) -> None:
    drawn(shift=(-0.5, 0.0))
    pixels = smooth(128, 64)
    view = augment.make(pixels, WHOLE, View(0, Policy(shift=0.5)), "content")
    expected = torch.from_numpy(pixels[:, 64:].copy()).permute(2, 0, 1)
    assert difference(view, expected) < 0.3


def test_zoom_above_one_looks_larger(drawn: Fix) -> None:
    drawn(zoom=(1.5, 0.5))
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[22:42, 22:42] = 255
    view = augment.make(pixels, WHOLE, View(0, Policy(zoom=0.5)), "content")
    assert float(view[0, 32].sum()) / 255 == pytest.approx(30, abs=0.5)
    assert float(view[0, :, 32].sum()) / 255 == pytest.approx(10, abs=0.5)


def test_shear_leans_what_is_upright(drawn: Fix) -> None:
    drawn(shear=0.5)
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 30:34] = 255
    view = augment.make(pixels, WHOLE, View(0, Policy(shear=0.5)), "content")[0].float()
    middles = (view * torch.arange(64)).sum(1) / view.sum(1)
    assert float(middles[12] - middles[52]) == pytest.approx(20, abs=0.3)


def test_crop_keeps_shares_of_the_whole_image_as_asked() -> None:
    """Red counts across and green down, so a view shows which box it is of."""
    pixels = np.zeros((200, 250, 3), np.uint8)
    pixels[..., 0] = np.arange(250)
    pixels[..., 1] = np.arange(200)[:, None]
    shares, aspects, middles = [], [], []
    for number in range(200):
        view = augment.make(pixels, WHOLE, View(number, Policy(crop=0.25)), "content").float()
        wide, tall = (float(view[0, 0, 60] - view[0, 0, 3]), float(view[1, 60, 0] - view[1, 3, 0]))
        wide, tall = wide * 64 / 57, tall * 64 / 57
        shares.append(wide * tall / 50_000)
        aspects.append(wide / tall)
        middles.append(float(view[0].mean()) / 250)
    assert 0.23 < min(shares) < 0.3
    assert 0.8 < max(shares) < 1.05
    assert 0.72 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.37
    assert min(middles) < 0.4
    assert max(middles) > 0.6


def test_crop_in_squash_mode_keeps_the_aspect_of_the_image() -> None:
    how = Preprocessing(64, 64, 1.0, "squash")
    boxes = [
        warp.crop_box(100, 400, how, policies.draw(View(n, Policy(crop=0.9)), "c"))
        for n in range(50)
    ]
    assert all(2.9 < (right - left) / (bottom - top) < 5.5 for top, left, bottom, right in boxes)


def test_a_strip_is_cropped_in_its_middle() -> None:
    pixels = np.zeros((30, 900, 3), np.uint8)
    pixels[:, 430:470] = 200
    view = augment.make(pixels, HOW, View(0, Policy(crop=0.5)), "content")
    assert (view == 200).all()
    tall = augment.make(pixels.swapaxes(0, 1), HOW, View(0, Policy(crop=0.5)), "content")
    assert (tall == 200).all()


def test_the_edge_or_the_mean_colour_fills_what_lies_outside(drawn: Fix) -> None:
    drawn(shift=(0.5, 0.0))
    pixels = np.full((64, 64, 3), 200, np.uint8)
    pixels[:, 0] = 50
    edge = augment.make(pixels, WHOLE, View(0, Policy(shift=0.5)), "content")
    assert (edge[:, :, :31] == 50).all()
    assert (edge[:, :, 36:] == 200).all()
    constant = Policy(shift=0.5, fill="constant")
    for policy, how in (
        (constant, WHOLE),
        (Policy(shift=0.5), replace(WHOLE, crop_mode="border")),
    ):
        view = augment.make(pixels, how, View(0, policy), "content")
        assert view[:, 30, 5].tolist() == [124, 116, 104]
        assert view[:, 30, 45].tolist() == [200, 200, 200]


def test_an_image_moved_out_of_sight_leaves_its_fill(drawn: Fix) -> None:
    drawn(shift=(-1.0, 1.0), rotate=0.3)
    pixels = np.full((40, 50, 3), 9, np.uint8)
    policy = Policy(shift=1.0, rotate=90, fill="constant")
    view = augment.make(pixels, WHOLE, View(0, policy), "content")
    assert view[:, 0, 60].tolist() == [124, 116, 104]
    edge = augment.make(pixels, WHOLE, View(0, replace(policy, fill="edge")), "content")
    assert (edge == 9).all()


def test_color_is_brightness_contrast_and_saturation(drawn: Fix) -> None:
    pixels = smooth(64, 64)
    pixels = pixels // 2 + 30  # Far enough from both ends that nothing is cut off.
    center = views.center(pixels, WHOLE).float()
    grey = torch.einsum("c,chw->hw", torch.tensor([0.299, 0.587, 0.114]), center)
    for factors, expected in (
        ((1.2, 1.0, 1.0), center * 1.2),
        ((1.0, 0.7, 1.0), center * 0.7 + 0.3 * grey.mean()),
        ((1.0, 1.0, 0.0), grey.expand(3, 64, 64)),
        ((1.0, 1.0, 1.3), center * 1.3 - 0.3 * grey),
    ):
        drawn(color=factors)
        view = augment.make(pixels, WHOLE, View(0, Policy(color=1.0)), "content")
        assert (view - expected).abs().max() <= 0.51
    drawn(color=(2.0, 1.0, 1.0))
    white = augment.make(np.full((9, 9, 3), 200, np.uint8), WHOLE, View(0, Policy(color=1)), "c")
    assert (white == 255).all()


# Sizes.


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (2000, 3), (2, 20_000), (65, 64)])
def test_sizes_out_of_the_ordinary(size: tuple[int, int], interpolation: str, mode: str) -> None:
    how = Preprocessing(48, 64, 0.875, mode, interpolation)
    pixels = np.full((size[1], size[0], 3), 77, np.uint8)
    for policy in (
        *PRESETS.values(),
        GEOMETRY,
        ALL,
        Policy(zoom=0.99),
        Policy(rotate=180, crop=1e-6),
    ):
        view = augment.make(pixels, how, View(1, policy), "content")
        assert view.shape == (3, 48, 64)
        assert view.dtype == torch.uint8
        if mode != "border" and policy.fill == "edge" and not policy.color:
            assert (view == 77).all(), policy


def test_the_pixels_are_left_as_they_were() -> None:
    pixels = np.full((48, 64, 3), 7, np.uint8)
    pixels.setflags(write=False)
    how = Preprocessing(48, 64, 1.0, "squash")
    for policy in (*PRESETS.values(), Policy(color=1.0), ALL):
        for number in range(3):
            augment.make(pixels, how, View(number, policy), "content")
    assert (pixels == 7).all()


# Files.


def test_loading_decodes_once_and_makes_views_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg(smooth(120, 90))
    calls = []
    real = decode.decode

    def counted(*args: Any) -> decode.Decoded:
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(decode, "decode", counted)
    wanted = [View(1, ALL), CENTER, View(0, ALL), View(0, GEOMETRY)]
    loaded = augment.load(data, HOW, wanted, "content")
    assert len(calls) == 1
    pixels = real(data).pixels
    for view, result in zip(wanted, loaded, strict=True):
        assert torch.equal(result, augment.make(pixels, HOW, view, "content"))
    path = tmp_path / "one.jpg"
    path.write_bytes(data)
    for source in (path, str(path)):
        again = augment.load(source, HOW, wanted, "content")
        assert all(map(torch.equal, again, loaded))
    assert augment.load(path, HOW, [], "content") == []


def test_a_file_that_is_no_picture_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(decode.Unreadable, match="no such file"):
        augment.load(tmp_path / "absent.png", HOW, [CENTER], "content")
    with pytest.raises(decode.Unreadable):
        augment.load(b"no picture", HOW, [View(0, ALL)], "content")


def test_a_large_jpeg_gives_the_same_views_alone_and_together() -> None:
    data = jpeg(smooth(960, 768))
    wanted = [CENTER, View(0, PRESETS["light"]), View(0, ALL), View(1, ALL)]
    together = augment.load(data, HOW, wanted, "content")
    for view, result in zip(wanted, together, strict=True):
        assert torch.equal(augment.load(data, HOW, [view], "content")[0], result)
    assert torch.equal(
        together[0], views.center(decode.decode(data, views.center_source_px(HOW)).pixels, HOW)
    )


@pytest.mark.parametrize("policy", [PRESETS["light"], PRESETS["standard"], GEOMETRY])
def test_a_reduced_decode_has_pixels_enough(policy: Policy) -> None:
    data = jpeg(smooth(1920, 1440))
    size = augment.source_px(HOW, policy)
    assert decode.decode(data, size).pixels.shape[0] < 1440
    pixels = decode.decode(data).pixels
    # A box ends on whole pixels, of which there are fewer: up to a quarter of one of the view's.
    limit = 0.8 if policy.crop == 1 else 6
    for number in range(3):
        view = View(number, policy)
        whole = augment.make(pixels, HOW, view, "content")
        assert difference(augment.load(data, HOW, [view], "content")[0], whole) < limit


def test_what_a_policy_needs_of_the_source() -> None:
    assert augment.source_px(HOW, None) == views.center_source_px(HOW)
    assert augment.source_px(HOW, Policy(flip=True, color=0.5)) == views.center_source_px(HOW)
    assert augment.source_px(HOW, Policy(zoom=0.5)) == (110, 110)
    # A box of a quarter, three quarters as wide as it is tall, is 0.433 of a square's width.
    assert augment.source_px(HOW, Policy(crop=0.25)) == (148, 148)
    nearest = Preprocessing(64, 64, interpolation="nearest")
    assert augment.source_px(nearest, ALL) == views.center_source_px(nearest)


def test_views_of_real_photographs(assets: Path) -> None:
    paths = sorted((assets / "data").rglob("*.jpg"))[::300]
    assert len(paths) > 5
    how = Preprocessing(crop_mode="center")
    for path in paths:
        data = path.read_bytes()
        content = digest(data)
        center, *rest = augment.load(
            data, how, [CENTER, *(View(n, p) for p in PRESETS.values() for n in range(2))], content
        )
        assert torch.equal(rest[0], center)
        assert len({view.numpy().tobytes() for view in rest}) == 7
        for view in rest:
            assert view.shape == (3, 224, 224)
            # Still the same photo: about as light, and not a flat field.
            assert abs(float(view.float().mean() - center.float().mean())) < 90
            assert view.float().std() > 0.3 * center.float().std()
