"""Loss and accuracy of a network on examples, as sums that are divided once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.model.classifier import SuffixWithHead
from frostline.training import objectives
from frostline.training.examples import Examples, Fetch, batches

EVAL_BATCH = 128


@dataclass(frozen=True)
class Score:
    """Sums over examples, divided once."""

    loss: float
    accuracy: float
    count: int

    def better_than(self, other: "Score") -> bool:
        """Compares by accuracy, then by loss."""
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


def predict(
    trainable: SuffixWithHead, fetch: Fetch, examples: Examples, device: torch.device
) -> Tensor:
    """Returns logits [n, scores] in float32 on the CPU, in eval mode."""
    trainable.eval()
    order = range(len(examples.rows))
    with torch.inference_mode():
        parts = [
            trainable(x.to(device)).cpu() for x, _ in batches(fetch, examples, order, EVAL_BATCH)
        ]
    return torch.cat(parts)


def score(
    trainable: SuffixWithHead,
    fetch: Fetch,
    examples: Examples,
    device: torch.device,
    kind: str = "multiclass",
) -> Score:
    """Returns loss and accuracy over all examples."""
    logits = predict(trainable, fetch, examples, device)
    loss = objectives.loss(logits.double(), examples.targets, kind).item()
    correct = objectives.correct(logits, examples.targets, kind)
    return Score(loss, correct / len(examples.rows), len(examples.rows))
