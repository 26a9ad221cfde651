"""The learning-rate range test: its ramp, when it stops, and what it suggests."""

import itertools
import math
import random

import pytest
import torch

from frostline.base.errors import RecipeError, TrainingError
from frostline.training.lr_find import BLOWN_UP, RateSuggestion, suggest, sweep


def bowl(best: float = 1e-2) -> list[tuple[float, float]]:
    """Rates and a loss that is flat, falls around `best`, and then blows up."""
    rates = [1e-7 * 10 ** (8 * number / 99) for number in range(100)]
    steep = [1 / (1 + (best / rate)) for rate in rates]
    return [(r, 0.7 - 0.4 * s + max(0.0, r - 1) ** 2) for r, s in zip(rates, steep, strict=True)]


def fastai_valley(rates: list[float], losses: list[float]) -> float:
    """The rule as fastai 2.8 computes it, from its description: for comparison."""
    length = [1] * len(losses)
    for i in range(len(losses)):
        for j in range(i):
            if losses[i] < losses[j]:
                length[i] = max(length[i], length[j] + 1)
    end = length.index(max(length))
    third = (length[end]) / 3
    return rates[end - length[end] + int(third) + int(third / 2)]


def quadratic(scale: float = 1.0) -> RateSuggestion:
    """A sweep of gradient descent on a bowl: it breaks at rates above 2 / scale."""
    x = torch.tensor([1.0], dtype=torch.float64)

    def step(rate: float) -> float:
        loss = float(scale * x.square().sum() / 2)
        x.sub_(rate * scale * x)
        return loss

    return sweep(step)


def test_rates_grow_by_one_factor_from_start_to_end() -> None:
    seen: list[float] = []

    def step(rate: float) -> float:
        seen.append(rate)
        return 1.0 / len(seen)

    found = sweep(step, 1e-5, 1.0, 51)
    assert found.rates == tuple(seen)
    assert (seen[0], len(seen)) == (1e-5, 51)
    assert seen[-1] == pytest.approx(1.0)
    assert [b / a for a, b in itertools.pairwise(seen)] == pytest.approx([10**0.1] * 50)
    assert found.rule == "valley: half way down the longest fall of the loss"


def test_the_smoothed_loss_of_a_constant_is_that_constant() -> None:
    values: list[float] = []

    def step(rate: float) -> float:
        values.append(rate)
        return 3.0 if len(values) < 30 else 2.0

    losses = sweep(step, steps=100).losses
    assert losses[:29] == pytest.approx([3.0] * 29)
    # By hand: the weights of the 71 last losses among all hundred.
    assert losses[-1] == pytest.approx(3 - (1 - 0.98**71) / (1 - 0.98**100))


def test_a_bowl_is_swept_until_it_breaks() -> None:
    found = quadratic(100.0)
    assert len(found.rates) < 100, "it stops early"
    assert found.losses[-1] > BLOWN_UP * min(found.losses)
    assert found.losses[-2] <= BLOWN_UP * min(found.losses)
    assert 1e-5 < found.suggestion < 2 / 100


def test_a_steeper_bowl_gets_a_smaller_rate() -> None:
    assert quadratic(100.0).suggestion < quadratic().suggestion / 10


def test_it_stops_at_a_loss_that_is_no_number() -> None:
    rows = iter([*(loss for _, loss in bowl()[:80]), math.nan])
    found = sweep(lambda rate: next(rows))
    assert len(found.rates) == len(found.losses) == 80
    assert all(map(math.isfinite, found.losses))


@pytest.mark.parametrize("seed", range(5))
def test_the_suggestion_is_that_of_fastai(seed: int) -> None:
    noise = random.Random(seed)
    rates, losses = (list(part) for part in zip(*bowl(), strict=True))
    losses = [loss + noise.gauss(0, 0.002) for loss in losses]
    theirs = fastai_valley(rates[10:], losses[10:])
    # A rate or two apart: they round thirds, this a half.
    assert suggest(rates, losses) == pytest.approx(theirs, rel=0.5)


def test_a_clean_fall_is_met_half_way() -> None:
    rates = [10.0**-number for number in range(30, 0, -1)]
    falling = [1.0] * 9 + [1.0 - 0.05 * number for number in range(11)] + [9.0] * 10
    # Losses 8 to 19 are one fall, where the last flat one is its top.
    assert suggest(rates, falling) == rates[14]


def test_a_loss_that_never_falls_is_refused_with_what_to_try() -> None:
    noise = random.Random(0)
    with pytest.raises(TrainingError) as caught:
        sweep(lambda rate: 1.0 + rate + noise.gauss(0, 0.01))
    said = str(caught.value)
    assert said.startswith("lr-find: the loss falls at no rate from 6.4e-07 to ")
    assert "Try more steps or larger batches" in said
    assert "so try --set head.start=random, or a line further down." in said


def test_a_loss_that_breaks_at_once_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"broke after 0 rates.*smaller first rate"):
        sweep(lambda rate: math.inf)


@pytest.mark.parametrize(
    ("start", "end", "steps", "said"),
    [
        (0.0, 1.0, 100, "the rates must rise from above 0, got 0 to 1."),
        (1.0, 0.1, 100, "the rates must rise from above 0, got 1 to 0.1."),
        (math.nan, 0.1, 100, "the rates must rise from above 0, got nan to 0.1."),
        (1e-7, math.inf, 100, "the rates must rise from above 0, got 1e-07 to inf."),
        (1e-7, 10.0, 19, "steps must be 20 or more, got 19."),
    ],
)
def test_what_cannot_be_swept_is_refused(start: float, end: float, steps: int, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        sweep(lambda rate: 1.0, start, end, steps)
    assert said in str(caught.value)
