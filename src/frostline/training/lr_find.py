"""The learning-rate range test: train at rates that grow step by step, and see where loss falls.

After Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017, arXiv 1506.01186),
with the exponential ramp, the smoothing and the `valley` rule of fastai's `lr_find`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from frostline.base import html
from frostline.base.errors import RecipeError, TrainingError

SMOOTHING = 0.98
BLOWN_UP = 4.0
LEAST_STEPS = 20
LEAST_FALL = 0.05
RULE = "valley: half way down the longest fall of the loss"


@dataclass(frozen=True, repr=False)
class RateSuggestion:
    """A sweep and what it suggests.

    Attributes:
        rates: The learning rates tried, each larger than the one before.
        losses: The loss at each, smoothed over the steps before it.
        suggestion: The learning rate to take.
        rule: How it was chosen, in words.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    rule: str

    def __repr__(self) -> str:
        tried = f"of {len(self.rates)} rates"
        if self.rates:
            tried += f" from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        return f"RateSuggestion {self.suggestion:.2g}, {tried} ({self.rule})"

    def _repr_html_(self) -> str:
        points = [
            (math.log10(rate), loss) for rate, loss in zip(self.rates, self.losses, strict=True)
        ]
        drawn = html.curve(points, math.log10(self.suggestion), f"Losses at {len(points)} rates")
        rows = [
            (f"{rate:.2g}", f"{loss:.4f}")
            for rate, loss in zip(self.rates, self.losses, strict=True)
        ]
        return html.block(
            html.lead(f"Learning rate {self.suggestion:.2g}"),
            html.dim(self.rule),
            drawn,
            html.folded("Rates and losses", html.table(("rate", "loss"), rows)),
        )


def check(start: float, end: float, steps: int) -> None:
    """Refuses rates that cannot be swept.

    Raises:
        RecipeError: Saying what they must be.
    """
    if not 0 < start < end < math.inf:
        raise RecipeError(
            f"lr-find: the rates must rise from above 0, got {start:g} to {end:g}. "
            "Leave them out for 1e-7 to 10."
        )
    if steps < LEAST_STEPS:
        raise RecipeError(
            f"lr-find: steps must be {LEAST_STEPS} or more, got {steps}. 100 is a good number."
        )


def sweep(
    step: Callable[[float], float], start: float = 1e-7, end: float = 10.0, steps: int = 100
) -> RateSuggestion:
    """Trains one step at each of `steps` rates from `start` to `end`, and suggests one of them.

    Rates grow by the same factor each time. It stops early where the loss is no number any more,
    or where the smoothed loss is more than four times its best.

    Args:
        step: Trains one batch at the rate it is given and returns the loss. It changes what it
            trains, so give it a copy.
        start: The first rate; so small that nothing happens.
        end: The last; so large that training breaks.
        steps: How many rates, 20 at least.

    Raises:
        RecipeError: Where `start`, `end` or `steps` cannot be used.
        TrainingError: Where the loss falls at no rate, or breaks before it could.
    """
    check(start, end, steps)
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for number in range(steps):
        rate = start * (end / start) ** (number / (steps - 1))
        loss = step(rate)
        if not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        rates.append(rate)
        # The average begins at zero; this takes that beginning out again.
        losses.append(average / (1 - SMOOTHING ** (number + 1)))
        if losses[-1] > BLOWN_UP * min(losses):
            break
    return RateSuggestion(tuple(rates), tuple(losses), suggest(rates, losses), RULE)


def suggest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Returns the rate half way down the longest fall: fastai's `valley` rule.

    The first tenth is left out, where the average has few losses to go by. Of the rest it takes
    the longest row of losses, not necessarily neighbours, each smaller than the one before.
    From the end of that row it goes back by half its length: there the loss falls fast, and is
    some way from breaking. Counting back from the end, as fastai does, keeps small ripples on the
    flat part at low rates from pulling the suggestion down.

    Args:
        rates: Rising.
        losses: The smoothed loss at each rate, as many.

    Raises:
        TrainingError: Where there are too few rates, or the loss falls by less than 5 %.
    """
    kept = slice(len(losses) // 10, None)
    rates, losses = rates[kept], losses[kept]
    if len(losses) < LEAST_STEPS // 2:
        raise TrainingError(
            f"lr-find: the loss broke after {len(losses)} rates, before it could be seen to fall. "
            "Try a smaller first rate (--start), or --precision fp32."
        )
    lengths = _falls(losses)
    longest = max(lengths)
    last = lengths.index(longest)
    if losses[last] > (1 - LEAST_FALL) * max(losses[: last + 1]):
        raise TrainingError(
            f"lr-find: the loss falls at no rate from {rates[0]:.1e} to {rates[-1]:.1e}. "
            "Try more steps or larger batches; a head that starts from the probe may be as good "
            "as it gets, so try --set head.start=random, or a line further down."
        )
    return rates[last - (longest - 1) // 2]


def _falls(losses: Sequence[float]) -> list[int]:
    """Returns for each loss how long the longest row of ever smaller ones is that ends with it."""
    lengths: list[int] = []
    for index, loss in enumerate(losses):
        before = (lengths[j] for j in range(index) if losses[j] > loss)
        lengths.append(1 + max(before, default=0))
    return lengths
