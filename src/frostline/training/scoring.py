"""Loss and accuracy of a network on examples, and the rule by which one is better than another.

The rule: among states whose accuracy lies within half a standard error of the best one, the least
log-loss after temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML
2017) wins. Accuracy alone keeps lucky states; plain log-loss compares calibrations, which label
smoothing and weight decay shift in opposite directions.

Where many are compared with one after the other, the best is ahead by luck alone, and the further
the more there are (Cawley and Talbot, "On Over-fitting in Model Selection and Subsequent Selection
Bias in Performance Evaluation", JMLR 11, 2010). Then one takes the other's place only by a step
larger than the noise (Blum and Hardt, "The Ladder", ICML 2015), which grows with their number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from frostline.base.memory import Parts
from frostline.model.suffix import SuffixWithHead
from frostline.scores import pooling
from frostline.training import objectives
from frostline.training.examples import Examples, Fetch, batches

EVAL_BATCH = 128
# Nats. To be as wrong as this in the mean, most classes must be thought impossible.
BLOWN_UP = 20.0
# Natural logarithms of the temperatures that are tried: from 1/20 to 20.
_LOG_TEMPERATURES = torch.linspace(-3.0, 3.0, 121, dtype=torch.float64)


@dataclass(frozen=True)
class Score:
    """Sums over examples, divided once.

    Attributes:
        loss: Mean log-loss, in nats.
        accuracy: The share of images with every label right; of sounds, of files.
        count: How many images or files.
        scaled_loss: The log-loss after temperature scaling; None in checkpoints that lack it.
        loss_error: Its standard error, in nats; None where it is not known.
    """

    loss: float
    accuracy: float
    count: int
    scaled_loss: float | None = None
    loss_error: float | None = None

    def better_than(self, other: "Score") -> bool:
        """Compares by the rule of this module; a tie is no improvement."""
        return best_of([other, self]) == 1

    @property
    def _rank_loss(self) -> float:
        return self.loss if self.scaled_loss is None else self.scaled_loss


def best_of(scores: Sequence[Score]) -> int:
    """Returns the position of the best score, by the rule of this module; the first of equals."""
    most = max(score.accuracy for score in scores)
    near = [at for at, one in enumerate(scores) if one.accuracy >= most - _half_error(scores)]
    return min(near, key=lambda at: (scores[at]._rank_loss, at))


def has_blown_up(score: Score) -> bool:
    """Says whether a log-loss is beyond what any untrained network has, if still a number."""
    return score._rank_loss > BLOWN_UP


def is_far_behind(score: Score, other: Score) -> bool:
    """Says whether an accuracy is lower by more than half a standard error."""
    return score.accuracy < other.accuracy - _half_error([score, other])


def is_clearly_worse(score: Score, other: Score) -> bool:
    """Says whether log-loss is worse by more than half a standard error, or accuracy is.

    Where the log-loss is better, a lower accuracy says nothing: on few images it is the coarser
    measure.
    """
    errors = [one.loss_error for one in (score, other) if one.loss_error is not None]
    more = score._rank_loss - other._rank_loss
    return more > max(errors, default=0.0) / 2 or (more > 0 and is_far_behind(score, other))


def is_beyond_luck(score: Score, other: Score, tries: int) -> bool:
    """Says whether a score is better than another by more than the luck of so many tries.

    Half a standard error is about what two trainings on the same images differ by. So much it must
    be ahead, and the expected lead of the best of `tries` equal ones besides: in accuracy, or in
    log-loss where its accuracy is not half a standard error lower.

    Args:
        score: Of what is new.
        other: What it is to take the place of.
        tries: How many were compared with `other` or those before it, `score` among them.
    """
    margin = 1 + expected_lead(tries)
    if score.accuracy - other.accuracy > margin * _half_error([score, other]):
        return True
    errors = [one.loss_error for one in (score, other) if one.loss_error is not None]
    if not errors or is_far_behind(score, other):
        return False
    return other._rank_loss - score._rank_loss > margin * max(errors) / 2


def expected_lead(count: int) -> float:
    """Returns the expected maximum of `count` standard normal variables.

    By the approximation of Blom, "Statistical Estimates and Transformed Beta-Variables", 1958.
    """
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25)) if count > 1 else 0.0


def _half_error(scores: Sequence[Score]) -> float:
    """Returns half a standard error of the best accuracy."""
    most = max(score.accuracy for score in scores)
    count = max(score.count for score in scores)
    return 0.5 * math.sqrt(most * (1 - most) / max(count, 1))


def scaled_loss(logits: Tensor, targets: Tensor, kind: str) -> tuple[float, float]:
    """Returns the least log-loss that one temperature for all logits gives; its standard error."""
    exact = logits.double()
    factors = (-_LOG_TEMPERATURES).exp()
    losses = [objectives.loss(exact * factor, targets, kind).item() for factor in factors]
    best = min(range(len(losses)), key=losses.__getitem__)
    each = objectives.losses(exact * factors[best], targets, kind)
    return losses[best], each.std(correction=0).item() / math.sqrt(len(each))


def predict(
    trainable: SuffixWithHead, fetch: Fetch, examples: Examples, device: torch.device
) -> Tensor:
    """Returns logits [n, scores] in float32 on the CPU, in eval mode."""
    trainable.eval()
    order = range(len(examples.rows))
    logits, parts = [], Parts()
    with torch.inference_mode():
        for x, _ in batches(fetch, examples, order, EVAL_BATCH):
            logits += parts.through(lambda few: trainable(few.to(device)).cpu(), x)
    return torch.cat(logits)


def score_logits(logits: Tensor, targets: Tensor, kind: str, files: Tensor | None = None) -> Score:
    """Returns the score of logits [n, scores] against targets.

    Args:
        logits: Of rows.
        targets: Of rows, as the kind asks.
        kind: See `objectives`.
        files: [n], the number of each row's file, where what is scored is files; else None.
    """
    logits, targets = pooling.logits(logits, files, kind), pooling.first(targets, files)
    loss = objectives.loss(logits.double(), targets, kind).item()
    correct = objectives.correct(logits, targets, kind)
    return Score(loss, correct / len(targets), len(targets), *scaled_loss(logits, targets, kind))


def score(
    trainable: SuffixWithHead,
    fetch: Fetch,
    examples: Examples,
    device: torch.device,
    kind: str = "multiclass",
) -> Score:
    """Returns loss and accuracy over all examples, or their files."""
    logits = predict(trainable, fetch, examples, device)
    return score_logits(logits, examples.targets, kind, examples.files)
