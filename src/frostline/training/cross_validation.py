"""Cross-validated scores of the probe, from the same activations that everything is trained on.

With few images, a fifth that is held out says little: the accuracy on twelve pictures is one of
thirteen numbers. Here every image is held out once.
"""

import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.training import features as sources
from frostline.training import folds as dealt
from frostline.training import penalties
from frostline.training.features import Features
from frostline.training.penalties import LabelledFeatures, Path, Tried


@dataclass(frozen=True)
class CrossValidated:
    """What probes say of images that they were not fitted to.

    C is chosen for each fold by the others, so no image has a say in the C of what is said of it.

    Attributes:
        logits: [n, scores], of each image by the probe of the other folds.
        fold: [n], the fold of each image, on the CPU.
        inverse_penalties: The C of each fold.
        losses: The log-loss of each fold.
        accuracies: The accuracy of each fold; of several labels, of exact matches.
    """

    logits: Tensor
    fold: Tensor
    inverse_penalties: tuple[float, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def loss(self) -> tuple[float, float]:
        """Mean and standard deviation over folds."""
        return statistics.fmean(self.losses), statistics.stdev(self.losses)

    @property
    def accuracy(self) -> tuple[float, float]:
        """Mean and standard deviation over folds."""
        return statistics.fmean(self.accuracies), statistics.stdev(self.accuracies)


@torch.no_grad()
def cross_validate(
    features: Tensor | Features,
    targets: Tensor,
    classes: int,
    kind: str = "multiclass",
    folds: int = 10,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
    files: Tensor | None = None,
) -> CrossValidated:
    """Says of each image what a probe that never saw it says.

    Everything is fitted anew without each fold, means and deviations of the features too. A class
    with a single image is unknown to the probe that is asked for it.

    Args:
        features: [n, d], of any float type, in memory or block by block.
        targets: As the kind asks.
        classes: How many there are.
        kind: Of the targets; see `objectives`.
        folds: How many; classes are spread evenly over them.
        groups: What images stay together; None for none.
        seed: Of the folds.
        files: [n], on the CPU, the number of each row's file, where files are scored; they must
            stay together.

    Raises:
        TrainingError: Where there are fewer images or groups than folds, or fewer than two folds,
            or where a feature is not finite.
    """
    fold = dealt.assign(targets, folds, groups, seed)
    with penalties.own_cores(targets.device) as cores:
        examples = LabelledFeatures(sources.of(features), targets, kind, classes, cores, files)
        pairs = penalties.pairs_of(examples, fold)
        logits: dict[float, list[Tensor]] = {}
        rows: dict[float, list[Tried]] = {}

        def score(c: float) -> Tried:
            said = sources.each(lambda pair: _said(c, *pair), pairs, cores)
            logits[c] = list(said)
            both = zip(logits[c], pairs, strict=True)
            rows[c] = [penalties.scored(c, [said], out) for said, (_, out) in both]
            return penalties.pooled(rows[c], pairs)

        penalties.walk(score, penalties.first_step(examples.features.shape[1]))
    joined = torch.empty(len(targets), examples.scores, device=targets.device)
    found: list[Tried] = []
    for number in range(folds):
        c = penalties.best(penalties.pooled(of, pairs, without=number) for of in rows.values())
        joined[(fold == number).to(joined.device)] = logits[c][number]
        found.append(rows[c][number])
    return CrossValidated(joined, fold, *zip(*found, strict=True))


def _said(c: float, path: Path, held_out: LabelledFeatures) -> Tensor:
    return torch.cat(list(penalties.logits(path, c, held_out.features)))
