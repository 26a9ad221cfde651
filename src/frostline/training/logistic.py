"""Regularised logistic regression on many features and images: preconditioned L-BFGS.

Features are made to have mean 0 and deviation 1, and weights are sought in coordinates in which
features are not correlated. There the second derivatives of the loss are nearly diagonal, and
known: the mean of p (1 - p) of a class times the variance of a coordinate. With them as a
preconditioner, limited-memory BFGS (Liu & Nocedal, Mathematical Programming 1989) needs some ten
readings of the features instead of hundreds. Where there are fewer images than features, there are
as many coordinates as images: what is orthogonal to all images has no weight in the optimum.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from frostline.training import features as sources
from frostline.training.features import Features, Held

# Up to so many images and features, coordinates are found; they cost the cube of it.
_MOST_COORDINATES = 2048
# Of fewer images than features, up to so many values are turned in float64.
_MOST_VALUES = 32 << 20
# Up to so many images, features are brought into the coordinates once and held in them.
_HELD_ROWS = 4096
# A feature that hardly moves must not be blown up to the size of the others.
_LEAST_SPREAD = 0.05
# The variance of the normal prior on a bias: wide, and yet a class without images has an optimum.
_BIAS_VARIANCE = 1000.0
_LEAST_CURVATURE = 1e-4
_HISTORY = 10
_MOST_STEPS = 200


@dataclass(frozen=True)
class Space:
    """The coordinates in which weights are sought.

    Attributes:
        mean: [d], float64, of the features.
        scale: [d], float64, what makes their deviations 1.
        directions: [d, k], float64, orthonormal, of the scaled features; None for the features.
        variances: [k], float64, of the coordinates.
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor | None
    variances: Tensor

    def to_features(self, weight: Tensor) -> Tensor:
        """Returns weights [c, k] as those of features with their mean subtracted: [c, d]."""
        turned = weight if self.directions is None else weight @ self.directions.T
        return turned * self.scale

    def to_coordinates(self, gradient: Tensor) -> Tensor:
        """Returns derivatives by weights of features [c, d] as those by coordinates: [c, k]."""
        scaled = gradient * self.scale
        return scaled if self.directions is None else scaled @ self.directions


def space_of(features: Features, sample: Features, cores: int = 1) -> Space:
    """Finds coordinates for features.

    Args:
        features: All rows; read once, for means and deviations.
        sample: Some or all of them, whose correlations stand for those of all.
        cores: How many to use.

    Raises:
        TrainingError: Where a value is not finite.
    """
    found = sources.moments(features)
    least = _LEAST_SPREAD * found.spread.mean().clamp_min(1e-12)
    scale = 1 / found.spread.clamp_min(least)
    if not _has_directions(features, sample):
        return Space(found.mean, scale, None, (found.spread * scale).square())
    if sample.shape[0] < sample.shape[1]:
        directions, variances = _fewer_rows(sample, found.mean, scale)
    else:
        directions, variances = _fewer_columns(sample, found.mean, scale, cores)
    return Space(found.mean, scale, directions, variances)


def _has_directions(features: Features, sample: Features) -> bool:
    """Says whether coordinates are worth finding, and those of the sample are enough for all."""
    count, width = sample.shape
    if min(count, width) > _MOST_COORDINATES:
        return False
    is_all = count == features.shape[0]
    return count >= width or (is_all and count * width <= _MOST_VALUES)


def _fewer_columns(
    sample: Features, mean: Tensor, scale: Tensor, cores: int
) -> tuple[Tensor, Tensor]:
    def product(block: Tensor) -> Tensor:
        x = (block - mean.float()) * scale.float()
        return x.T @ x

    products = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    for part in sources.each(product, sample.blocks(), cores):
        products += part
    # float32 takes half the time, and whatever is orthonormal will do.
    variances, directions = torch.linalg.eigh((products / sample.shape[0]).float())
    return directions.double(), variances.double().clamp_min(0)


def _fewer_rows(sample: Features, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    x = (sources.read(sample).double() - mean) * scale
    squares, turned = torch.linalg.eigh(x @ x.T)
    # What is left of nothing by rounding is no direction.
    real = squares > 1e-10 * squares[-1].clamp_min(1e-300)
    squares, turned = squares[real], turned[:, real]
    return x.T @ (turned / squares.sqrt()), squares / sample.shape[0]


@dataclass(frozen=True)
class Problem:
    """Images to fit to.

    Attributes:
        space: The coordinates of the weights.
        rows: Features, or coordinates where `is_turned`.
        targets: As the kind asks; on the device of the features.
        kind: Of the targets; see `objectives`.
        scores: How many a model gives: c.
        cores: How many to use.
        is_turned: Whether `rows` are in the coordinates already.
    """

    space: Space
    rows: Features
    targets: Tensor
    kind: str
    scores: int
    cores: int = 1
    is_turned: bool = False

    def start(self) -> Tensor:
        """Returns a model that says the same of all: [c, k + 1] of zeros; the last are biases."""
        size = (self.scores, len(self.space.variances) + 1)
        return torch.zeros(size, dtype=torch.float64, device=self.space.mean.device)

    def exported(self, model: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight [c, d] and bias [c] of a model, for features as they are; float32."""
        weight = self.space.to_features(model[:, :-1])
        return weight.float(), (model[:, -1] - weight @ self.space.mean).float()


def problem(
    space: Space, features: Features, targets: Tensor, kind: str, scores: int, cores: int = 1
) -> Problem:
    """Returns what to fit; few images are brought into the coordinates once and for all."""
    directions = space.directions
    if directions is None or features.shape[0] > _HELD_ROWS:
        return Problem(space, features, targets, kind, scores, cores)
    turn = directions * space.scale[:, None]
    parts = [((block.double() - space.mean) @ turn).float() for block in features.blocks()]
    # All in one block: they are few.
    rows = Held(torch.cat(parts), block_rows=_HELD_ROWS)
    return Problem(space, rows, targets, kind, scores, is_turned=True)


@dataclass(frozen=True)
class _Value:
    """What is minimised at a model, with its derivatives.

    Attributes:
        loss: The mean over images, of several labels their sum, with the penalty.
        gradient: [c, k + 1].
        curvature: [c], the mean of p (1 - p).
    """

    loss: float
    gradient: Tensor
    curvature: Tensor


def fit(task: Problem, inverse_penalty: float, model: Tensor, tolerance: float) -> Tensor:
    """Returns the model [c, k + 1] that minimises mean loss + |weights|² / (2 n C).

    Args:
        task: What to fit.
        inverse_penalty: C, as in scikit-learn's LogisticRegression.
        model: Where to begin: [c, k + 1].
        tolerance: It ends when the loss is this near its least, as far as the curvature tells, as
            a share of the loss.
    """
    here = _value(task, inverse_penalty, model)
    scales = _inverse_curvature(task, inverse_penalty, here)
    pairs: list[tuple[Tensor, Tensor]] = []
    for _ in range(_MOST_STEPS):
        direction = _direction(here.gradient, scales, pairs)
        slope = _dot(here.gradient, direction)
        # Half the slope of a Newton step is what is left to gain.
        if -slope / 2 <= tolerance * here.loss:
            break
        found = _search(task, inverse_penalty, model, here, direction, slope)
        if found is None:
            break
        moved, there = found
        step, change = moved - model, there.gradient - here.gradient
        if _dot(step, change) > 0:
            pairs = [*pairs[-_HISTORY + 1 :], (step, change)]
        model, here = moved, there
    return model


def _direction(gradient: Tensor, scales: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Returns where to go: minus the gradient times the inverse of the curvature."""
    left = gradient.clone()
    shares = []
    for step, change in reversed(pairs):
        shares.append(_dot(step, left) / _dot(step, change))
        left.sub_(change, alpha=shares[-1])
    left *= scales
    if pairs:
        step, change = pairs[-1]
        left *= _dot(step, change) / _dot(change, scales * change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        left.add_(step, alpha=share - _dot(change, left) / _dot(step, change))
    return left.neg_()


def _search(
    task: Problem,
    inverse_penalty: float,
    model: Tensor,
    here: _Value,
    direction: Tensor,
    slope: float,
) -> tuple[Tensor, _Value] | None:
    """Goes along a direction until the loss falls enough (Armijo's rule); None where it never does.

    The whole step nearly always does.
    """
    size = 1.0
    # Less than this is rounding.
    slack = 1e-9 * abs(here.loss)
    while size > 1e-4:
        moved = model + size * direction
        there = _value(task, inverse_penalty, moved)
        rise = there.loss - here.loss
        if rise <= 1e-4 * size * slope + slack:
            return moved, there
        # The least of the parabola through both losses and the slope.
        size *= min(0.5, max(0.1, -slope * size / (2 * (rise - slope * size))))
    return None


def _inverse_curvature(task: Problem, inverse_penalty: float, here: _Value) -> Tensor:
    count = len(task.targets)
    curvature = here.curvature.clamp_min(_LEAST_CURVATURE)[:, None]
    weights = curvature * task.space.variances + 1 / (count * inverse_penalty)
    return 1 / torch.cat([weights, curvature + 1 / (count * _BIAS_VARIANCE)], 1)


def _value(task: Problem, inverse_penalty: float, model: Tensor) -> _Value:
    count = len(task.targets)
    weight, bias = model[:, :-1], model[:, -1]
    total, by_weight, by_bias, curvature = _sums(task, weight, bias)
    penalty = weight.square().sum() / inverse_penalty + bias.square().sum() / _BIAS_VARIANCE
    gradient = torch.cat([by_weight, by_bias[:, None]], 1)
    gradient[:, :-1] += weight / inverse_penalty
    gradient[:, -1] += bias / _BIAS_VARIANCE
    loss = (total + penalty / 2).item() / count
    return _Value(loss, gradient / count, curvature / count)


def _sums(task: Problem, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns loss, derivatives by weight [c, k] and bias [c], and p (1 - p) [c], over all images.

    Products are in float32, sums over blocks in float64.
    """
    inner = weight if task.is_turned else task.space.to_features(weight)
    narrow, offset, mean = inner.float(), bias.float(), task.space.mean.float()

    def sums(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        block, targets = pair
        # Made float32 first: to subtract from half precision takes twice as long.
        x = block if task.is_turned else block.to(torch.float32, copy=True).sub_(mean)
        loss, slopes, bends = _terms(torch.addmm(offset, x, narrow.T), targets, task.kind)
        return loss, slopes.T @ x, slopes.sum(0), bends

    loss = torch.zeros((), dtype=torch.float64, device=inner.device)
    totals = (loss, torch.zeros_like(inner), torch.zeros_like(bias), torch.zeros_like(bias))
    for parts in sources.each(sums, sources.with_targets(task.rows, task.targets), task.cores):
        for total, part in zip(totals, parts, strict=True):
            total += part
    loss, by_weight, by_bias, curvature = totals
    return (
        loss,
        by_weight if task.is_turned else task.space.to_coordinates(by_weight),
        by_bias,
        curvature,
    )


def _terms(logits: Tensor, targets: Tensor, kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the summed loss, its derivatives by logits [b, c], and the sums of p (1 - p) [c].

    It overwrites `logits`.
    """
    if kind != "multiclass":
        wanted = targets.to(logits.dtype).reshape(logits.shape)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        chances = logits.sigmoid_()
        return loss, chances - wanted, (chances - chances.square()).sum(0)
    truth = targets[:, None]
    whole = logits.logsumexp(1, keepdim=True)
    loss = (whole - logits.gather(1, truth)).sum(dtype=torch.float64)
    chances = logits.sub_(whole).exp_()
    bends = chances.sum(0) - chances.square().sum(0)
    return loss, chances.scatter_(1, truth, chances.gather(1, truth) - 1), bends


def _dot(a: Tensor, b: Tensor) -> float:
    return torch.dot(a.reshape(-1), b.reshape(-1)).item()
