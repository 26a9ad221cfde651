"""Loss and accuracy of a network on examples, and the rule by which one is better than another.

The rule: among states whose accuracy lies within half a standard error of the best one, the least
log-loss after temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML
2017) wins. Accuracy alone keeps lucky states; plain log-loss compares calibrations, which label
smoothing and weight decay shift in opposite directions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.base.memory import Parts
from frostline.model.classifier import SuffixWithHead
from frostline.scores import pooling
from frostline.training import objectives
from frostline.training.examples import Examples, Fetch, batches

EVAL_BATCH = 128
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
    """

    loss: float
    accuracy: float
    count: int
    scaled_loss: float | None = None

    def better_than(self, other: "Score") -> bool:
        """Compares by the rule of this module; a tie is no improvement."""
        return best_of([other, self]) == 1

    @property
    def _rank_loss(self) -> float:
        return self.loss if self.scaled_loss is None else self.scaled_loss


def best_of(scores: Sequence[Score]) -> int:
    """Returns the position of the best score, by the rule of this module; the first of equals."""
    most = max(score.accuracy for score in scores)
    count = max(score.count for score in scores)
    half_error = 0.5 * math.sqrt(most * (1 - most) / max(count, 1))
    near = [at for at, one in enumerate(scores) if one.accuracy >= most - half_error]
    return min(near, key=lambda at: (scores[at]._rank_loss, at))


def scaled_loss(logits: Tensor, targets: Tensor, kind: str) -> float:
    """Returns the least log-loss that one temperature for all logits gives."""
    exact = logits.double()
    factors = (-_LOG_TEMPERATURES).exp()
    losses = [objectives.loss(exact * factor, targets, kind).item() for factor in factors]
    return min(losses)


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
    return Score(loss, correct / len(targets), len(targets), scaled_loss(logits, targets, kind))


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
