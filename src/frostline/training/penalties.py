"""The search for the penalty of a logistic regression: from strong to weak, until it gets worse.

How strong a penalty is, is told as scikit-learn does: C is its inverse, and what is minimised is C
times the sum of the losses plus half the squared weights, of features that were made to have
deviation 1. So the same C states the same belief about weights, however many images there are.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from frostline.activations.engines.devices import threads
from frostline.scores import pooling
from frostline.training import features as sources
from frostline.training import folds as dealt
from frostline.training import logistic, objectives
from frostline.training.features import Chosen, Features, Held
from frostline.training.logistic import Problem, Space

# Where so many in a row were no better, a walk ends.
PATIENCE = 2
# By less than this share of the loss, none is better.
_LEAST_GAIN = 1e-3
# How many steps C may be away from where the walk began; a step is a factor of √10.
_FARTHEST = 14
# How near its least the loss is brought, as a share of it; of many images, where readings take
# their time, less near: accuracies differ by 0.2 points at most (benchmarks/probe.py).
_TOLERANCE, _TOLERANCE_OF_MANY = 1e-6, 3e-4
# The same where C alone is chosen: of losses that differ by thousandths, the least is the same.
ROUGHLY = 3e-4
# So many images tell the correlations of features, and C, for all; and so many of each class,
# within these bounds.
_PART, _MOST_PART, _OF_EACH_CLASS = 10_240, 20_480, 100


class Tried(NamedTuple):
    """What came of one C: log-loss and accuracy on the images that it was chosen on."""

    inverse_penalty: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class LabelledFeatures:
    """Features with their targets, all on one device.

    Attributes:
        features: Of n images.
        targets: [n] or [n, c], as the kind asks.
        kind: Of the targets; see `objectives`.
        classes: How many there are.
        cores: How many to use.
        files: [n], on the CPU, the number of each row's file; None where each is one of its own.
    """

    features: Features
    targets: Tensor
    kind: str
    classes: int
    cores: int
    files: Tensor | None = None

    @property
    def scores(self) -> int:
        """How many a model gives for an image."""
        return 1 if self.kind == "binary" else self.classes

    @cached_property
    def count(self) -> int:
        """How many files are scored."""
        return pooling.count(len(self.targets), self.files)

    def only(self, mask: Tensor) -> "LabelledFeatures":
        """Returns those that a mask [n], on the CPU, chooses; held in memory where they are few."""
        chosen: Features = Chosen(self.features, mask)
        if math.prod(chosen.shape) * 4 <= sources.FLOAT32_BYTES:
            chosen = Held(sources.read(chosen))
        targets = self.targets[mask.to(self.targets.device)]
        files = None if self.files is None else self.files[mask]
        return replace(self, features=chosen, targets=targets, files=files)

    @cached_property
    def part(self) -> "LabelledFeatures":
        """A part of them with all classes alike, in whole files; all where they are few."""
        count, width = self.features.shape
        wanted = min(max(_PART, _OF_EACH_CLASS * self.classes), _MOST_PART)
        most = min(wanted, max(1, sources.FLOAT32_BYTES // (4 * width)))
        parts = min(math.ceil(count / most), self.count)
        if parts < 2:
            return self
        targets = self.targets
        if targets.ndim == 2:
            targets = (targets.argmax(1) + 1) * targets.any(1)
        files = None if self.files is None else self.files.tolist()
        return self.only(dealt.assign(targets, parts, files) == 0)

    def space(self) -> Space:
        """Returns the coordinates of the weights."""
        return logistic.space_of(self.features, self.part.features, self.cores)

    def path(self, space: Space, tolerance: float = 0.0) -> "Path":
        """Returns what fits to them; see `Path` for the tolerance."""
        task = logistic.problem(
            space, self.features, self.targets, self.kind, self.scores, self.cores
        )
        usual = _TOLERANCE if task.is_turned else _TOLERANCE_OF_MANY
        return Path(task, task.start(), tolerance or usual)


@dataclass
class Path:
    """Fits for one C after the other, each begun at the nearest before.

    Attributes:
        task: What is fitted to.
        begin: Where the first begins.
        tolerance: How near its least the loss is brought, as a share of it.
        models: Of the first C, and of the last ones.
    """

    task: Problem
    begin: Tensor
    tolerance: float
    models: dict[float, Tensor] = field(default_factory=dict)

    def at(self, c: float) -> tuple[Tensor, Tensor]:
        """Returns weight and bias for a C."""
        if c not in self.models:
            near = min(self.models, key=lambda other: abs(math.log(other / c)), default=None)
            begin = self.begin if near is None else self.models[near]
            # The best of a walk is the first, or among the last.
            first, *others = [*self.models, c]
            kept = [first, *others[-PATIENCE - 2 :]]
            model = logistic.fit(self.task, c, begin, self.tolerance)
            self.models = {one: self.models.get(one, model) for one in kept}
        return self.task.exported(self.models[c])


# What is fitted, and the images that it is scored on.
Pair = tuple[Path, LabelledFeatures]


@contextmanager
def own_cores(device: torch.device) -> Iterator[int]:
    """Gives the number of cores to use, each of which works on one thread meanwhile."""
    cores = torch.get_num_threads() if device.type == "cpu" else 1
    with threads(1):
        yield cores


def c_of(step: float) -> float:
    """Returns the C of a step: √10 to the power of it."""
    return float(10 ** (step / 2))


def step_of(c: float) -> float:
    """Returns the step of a C."""
    return 2 * math.log10(c)


def first_step(width: int) -> float:
    """Returns the step of the first C to try: with 1 / features, scores vary by about 1."""
    return float(round(step_of(1 / width)))


def best(tried: Iterable[Tried]) -> float:
    """Returns the C with the least log-loss; the strongest penalty of those that are no worse."""
    rows = sorted(tried)
    least = min(row.loss for row in rows)
    return next(row.inverse_penalty for row in rows if row.loss <= least * (1 + _LEAST_GAIN))


def walk(score: Callable[[float], Tried], first: float) -> list[Tried]:
    """Tries weaker and weaker penalties, and stronger ones where the first was the best.

    In the end it tries one between the best and a neighbour, where their losses point to.

    Args:
        score: Tries a C.
        first: The step to begin with.
    """
    tried = [score(c_of(first))]
    for way in (1, -1):
        left, step = PATIENCE, first
        while left and abs(step - first) < _FARTHEST:
            step += way
            least = min(row.loss for row in tried)
            tried.append(score(c_of(step)))
            left = PATIENCE if tried[-1].loss < least * (1 - _LEAST_GAIN) else left - 1
        if best(tried) != c_of(first):
            break
    between = _least_between(tried)
    return tried if between is None else [*tried, score(c_of(between))]


def _least_between(tried: Sequence[Tried]) -> float | None:
    """Returns the step, to a quarter, where the parabola through the best three is least.

    None where that is at one of them, or the best is at an end.
    """
    rows = sorted(tried)
    here = min(range(len(rows)), key=lambda index: rows[index].loss)
    if not 0 < here < len(rows) - 1:
        return None
    before, least, after = (row.loss for row in rows[here - 1 : here + 2])
    bend = before - 2 * least + after
    quarters = round(2 * (before - after) / bend) if bend > 0 else 0
    return step_of(rows[here].inverse_penalty) + quarters / 4 if quarters else None


def pairs_of(examples: LabelledFeatures, fold: Tensor) -> list[Pair]:
    """Returns for each fold what is fitted without it, and the fold itself; each on one core.

    Args:
        examples: n of them.
        fold: [n], the fold of each, on the CPU.
    """
    pairs = []
    for number in range(int(fold.max()) + 1):
        inside = examples.only(fold != number)
        space = inside.space()
        pairs.append((replace(inside, cores=1).path(space), examples.only(fold == number)))
    return pairs


def pooled(rows: Sequence[Tried], pairs: Sequence[Pair], without: int | None = None) -> Tried:
    """Returns what came of a C over the images, or files, of all folds together.

    Args:
        rows: Of each fold.
        pairs: The folds.
        without: A fold that does not count.
    """
    counts = [0 if k == without else out.count for k, (_, out) in enumerate(pairs)]
    total = sum(counts)
    loss = math.fsum(n * row.loss for n, row in zip(counts, rows, strict=True)) / total
    right = math.fsum(n * row.accuracy for n, row in zip(counts, rows, strict=True)) / total
    return Tried(rows[0].inverse_penalty, loss, right)


def logits(path: Path, c: float, features: Features) -> Iterator[Tensor]:
    """Yields what the probe of a C says of features: [b, scores] each."""
    weight, bias = path.at(c)
    for block in features.blocks():
        yield torch.addmm(bias, block.float(), weight.T)


def score(path: Path, c: float, examples: LabelledFeatures) -> Tried:
    """Scores the probe of a C.

    Raises:
        TrainingError: Where a feature is not finite.
    """
    return scored(c, logits(path, c, examples.features), examples)


def scored(c: float, said: Iterable[Tensor], examples: LabelledFeatures) -> Tried:
    """Scores logits that come block by block, in order; see `score`."""
    loss, right, start = 0.0, 0, 0
    truths = pooling.first(examples.targets, examples.files)
    if examples.files is not None:
        said = [pooling.logits(torch.cat(list(said)), examples.files, examples.kind)]
        truths = truths.cpu()
    for block in said:
        targets = truths[start : start + len(block)]
        start += len(block)
        loss += objectives.loss(block, targets, examples.kind).item() * len(block)
        right += objectives.correct(block, targets, examples.kind)
    sources.check_finite(loss)
    return Tried(c, loss / start, right / start)
