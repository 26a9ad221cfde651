import math
from pathlib import Path

import pytest
import torch

from frostline import frost
from frostline.activations import engines
from frostline.activations.engines import agreement
from frostline.images import augment
from frostline.images.augment import CENTER
from frostline.networks import catalog

BF16, FP32 = torch.bfloat16, torch.float32


def test_direction_and_length_are_told_apart() -> None:
    reference = torch.tensor([[3.0, 4.0], [300.0, 400.0], [30.0, 40.0]])
    across = torch.tensor([[-4.0, 3.0], [-400.0, 300.0], [-40.0, 30.0]])
    found = agreement(reference, 1.02 * reference + 0.1 * across, BF16)
    assert found.turn == pytest.approx(0.1)
    assert found.scale == pytest.approx(0.02)
    assert found.agrees
    assert not agreement(reference, reference + 0.4 * across, BF16).agrees


def test_the_tolerance_is_that_of_the_type() -> None:
    reference = torch.ones(2, 4, 3, 3)
    assert agreement(reference, reference * 1.04, BF16).agrees
    assert not agreement(reference, reference * 1.04, FP32).agrees
    assert agreement(reference, reference * 1.001, FP32).agrees
    assert not agreement(reference, reference * 1.3, BF16).agrees


def test_one_bad_image_among_many_is_enough() -> None:
    reference = torch.ones(100, 8)
    got = reference.clone()
    got[7] = 0
    found = agreement(reference, got, BF16)
    assert not found.agrees
    assert (found.turn, found.scale) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_a_dark_image_among_ordinary_ones_does_not_decide() -> None:
    reference = torch.ones(9, 8)
    reference[4] = 0.01
    got = reference.clone()
    got[4, ::2] = 0.0
    assert agreement(reference, got, BF16).agrees


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_no_numbers_do_not_agree(value: float) -> None:
    got = torch.ones(2, 3)
    got[0, 0] = value
    assert not agreement(torch.ones(2, 3), got, BF16).agrees


def test_another_shape_does_not_agree() -> None:
    assert not agreement(torch.ones(2, 3), torch.ones(1, 3), BF16).agrees


def test_an_image_of_zeros_is_met_exactly_or_not_at_all() -> None:
    zeros = torch.zeros(1, 3)
    assert agreement(zeros, zeros, FP32) == engines.Agreement(0.0, 0.0, agrees=True)
    assert not agreement(zeros, zeros + 1e-3, FP32).agrees


@pytest.mark.parametrize("line", ["blocks.5", "pooled"])
def test_eager_engines_agree_on_photographs(assets: Path, line: str) -> None:
    found = catalog.find(f"dir:{assets}/weights/mobilenetv2_imagenet")
    how, cpu = found.record.preprocessing, torch.device("cpu")
    traced = frost.trace(found.module, (3, how.height_px, how.width_px))
    here = traced.find(line)
    prefix, _ = traced.cut(here)
    files = sorted((assets / "data" / "ants_bees").rglob("*.jpg"))[::120]
    pixels = torch.stack([augment.load(str(file), how, [CENTER], "")[0] for file in files])
    exact = engines.exact(prefix, how, cpu)(pixels)
    assert exact.dtype == FP32
    for compute in (BF16, FP32):
        got = engines.prepare(prefix, how, here.shape, cpu, compute)(pixels)
        assert agreement(exact, got, compute).agrees
        assert not agreement(exact, got.flip(0), compute).agrees
