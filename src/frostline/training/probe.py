"""The probe: regularised logistic regression on pooled activations, one fit for all classes.

Cheap, convex, and the best place for fine-tuning to start from: a head that already fits does not
drag good features about (Kumar et al., "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution", ICLR 2022).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.training import features as sources
from frostline.training import folds as dealt
from frostline.training import penalties
from frostline.training.features import Features
from frostline.training.penalties import LabelledFeatures, Path, Tried

FOLDS = 5
# With more images than this, one fold is held out instead of each in turn.
_MOST_IN_FOLDS = 5_000

# Features, targets, and the numbers of the rows' files, as `LabelledFeatures` has them.
Split = tuple[Tensor | Features, Tensor] | tuple[Tensor | Features, Tensor, Tensor | None]


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier.

    Attributes:
        weight: [scores, features], for activations as they are; one score a class, or a single
            one for `binary`.
        bias: [scores].
        inverse_penalty: C, as in scikit-learn's LogisticRegression on standardised features.
        tried: Each C that was tried, from the strongest penalty to the weakest.
        chosen_on: What told the best of them, in words; empty where C was given.
    """

    weight: Tensor
    bias: Tensor
    inverse_penalty: float
    tried: tuple[Tried, ...]
    chosen_on: str

    @property
    def chosen(self) -> Tried:
        """What came of the C that was chosen."""
        return next(row for row in self.tried if row.inverse_penalty == self.inverse_penalty)


@torch.no_grad()
def fit(
    train: Split,
    val: Split | None,
    classes: int,
    kind: str = "multiclass",
    inverse_penalty: float | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Probe:
    """Fits probes from a strong penalty to weaker ones, and keeps the one best on `val`.

    It ends where the log-loss there no longer falls, and turns to stronger penalties where the
    first was the best. With many images C is chosen on a part of them, and fitted to all once: it
    states a belief about weights, which does not depend on how many images there are.

    Args:
        train: Features [n, d], of any float type, in memory or block by block, and targets, as
            the kind asks; and where C is chosen by the scores of files, the number of each
            row's, [n], on the CPU.
        val: Likewise; None chooses C by cross-validation within `train` instead.
        classes: How many there are.
        kind: Of the targets; see `objectives`.
        inverse_penalty: C, where it is not to be chosen.
        groups: What images of `train` stay together in cross-validation.

    Raises:
        TrainingError: Where a feature is not finite.
    """
    with penalties.own_cores(train[1].device) as cores:
        examples = _labelled(train, kind, classes, cores)
        path = examples.path(examples.space())
        if inverse_penalty is not None:
            return Probe(*path.at(inverse_penalty), inverse_penalty, (), "")
        if val is None:
            best, tried, chosen_on = _cross_validated(examples, groups)
        else:
            held_out = _labelled(val, kind, classes, cores)
            (best, tried), chosen_on = _validated(path, examples, held_out), "val"
        return Probe(*path.at(best), best, tuple(sorted(tried)), chosen_on)


def _labelled(split: Split, kind: str, classes: int, cores: int) -> LabelledFeatures:
    features, targets, *files = split
    return LabelledFeatures(sources.of(features), targets, kind, classes, cores, *files)


def _validated(
    path: Path, examples: LabelledFeatures, val: LabelledFeatures
) -> tuple[float, list[Tried]]:
    """Returns the best C on validation, and all that were tried.

    Of many images on a part; the best one is then fitted to all, from the model of the part.
    """
    first = penalties.first_step(examples.features.shape[1])
    part = examples.part
    if part is examples:
        tried = penalties.walk(lambda c: penalties.score(path, c, val), first)
        return penalties.best(tried), tried
    coarse, sample = part.path(path.task.space, penalties.ROUGHLY), val.part
    tried = penalties.walk(lambda c: penalties.score(coarse, c, sample), first)
    best = penalties.best(tried)
    path.begin = coarse.models[best]
    others = [one for one in tried if one.inverse_penalty != best]
    return best, [*others, penalties.score(path, best, val)]


def _cross_validated(
    examples: LabelledFeatures, groups: Sequence[Hashable] | None
) -> tuple[float, Sequence[Tried], str]:
    """Chooses C by cross-validation, of many images on one fold; tells all, and on what, too."""
    first = penalties.first_step(examples.features.shape[1])
    units = len(set(groups)) if groups is not None else examples.count
    if units < 2:
        only = Tried(penalties.c_of(first), 0.0, 0.0)
        return only.inverse_penalty, [only], "nothing:"
    folds = min(FOLDS, units)
    fold = dealt.assign(examples.targets, folds, groups)
    if len(fold) > _MOST_IN_FOLDS:
        inside, outside = examples.only(fold != 0), examples.only(fold == 0)
        best, tried = _validated(inside.path(inside.space()), inside, outside)
        return best, tried, f"held-out (one in {folds})"
    pairs = penalties.pairs_of(examples, fold)

    def score(c: float) -> Tried:
        rows = sources.each(
            lambda pair: penalties.score(pair[0], c, pair[1]), pairs, examples.cores
        )
        return penalties.pooled(list(rows), pairs)

    tried = penalties.walk(score, first)
    return penalties.best(tried), tried, f"{folds}-fold cross-validation"
