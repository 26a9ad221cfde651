import pytest
import torch

from frostline.base.errors import TrainingError
from frostline.training import features
from frostline.training.features import Chosen, Held


def test_blocks_are_all_rows_in_order() -> None:
    values = torch.arange(21.0).reshape(7, 3)
    for rows in (0, 1, 3, 7, 100):
        assert torch.equal(torch.cat(list(Held(values, rows).blocks())), values)
    assert [len(block) for block in Held(values, 3).blocks()] == [3, 3, 1]


def test_chosen_rows_are_those_of_the_mask() -> None:
    values = torch.arange(21.0).reshape(7, 3).half()
    mask = torch.tensor([0, 1, 0, 0, 0, 0, 1], dtype=torch.bool)
    chosen = Chosen(Held(values, 2), mask)
    assert chosen.shape == (2, 3)
    assert torch.equal(features.read(chosen), values[mask].float())
    assert [len(block) for block in chosen.blocks()] == [1, 1]


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_each_keeps_the_order(cores: int) -> None:
    assert list(features.each(lambda x: x * x, range(20), cores)) == [x * x for x in range(20)]


def test_an_error_on_a_core_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(features.each(lambda x: 1 / x, [1, 0, 1], 2))


def test_small_features_stay_as_they_are() -> None:
    parts = [torch.rand(4, 3), torch.rand(2, 3)]
    held = features.gather(iter(parts), 6)
    assert held.dtype == torch.float32
    assert torch.equal(held, torch.cat(parts))


def test_large_features_are_held_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "FLOAT32_BYTES", 70)
    parts = [torch.rand(4, 3), torch.rand(2, 3)]
    held = features.gather(iter(parts), 6)
    assert held.dtype == torch.float16
    torch.testing.assert_close(held.float(), torch.cat(parts), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("where", [0, 1])
def test_what_float16_cannot_hold_makes_it_bfloat16(
    where: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "FLOAT32_BYTES", 70)
    parts = [torch.rand(4, 3), torch.rand(2, 3)]
    parts[where][1, 1] = -1e6
    held = features.gather(iter(parts), 6)
    assert held.dtype == torch.bfloat16
    torch.testing.assert_close(held.float(), torch.cat(parts), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_moments_are_exact_far_from_zero(dtype: torch.dtype) -> None:
    values = (1000 + torch.randn(5000, 4)).to(dtype)
    found = features.moments(Held(values, 64))
    torch.testing.assert_close(found.mean, values.double().mean(0), rtol=1e-8, atol=0)
    want = values.double().std(0, unbiased=False)
    torch.testing.assert_close(found.spread, want, rtol=1e-5, atol=0)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 3e38])
def test_moments_that_are_no_numbers_are_refused(wrong: float) -> None:
    values = torch.zeros(9, 2)
    values[8, 1] = wrong
    with pytest.raises(TrainingError, match="no numbers, or too large"):
        features.moments(Held(values, 4))
