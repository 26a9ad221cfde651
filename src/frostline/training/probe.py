"""The probe: regularised logistic regression on pooled activations, one fit for all classes.

Cheap, convex, and the best place for fine-tuning to start from: a head that already fits does not
drag good features about (Kumar et al., "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution", ICLR 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.training import objectives

STRENGTHS = tuple(10.0**power for power in (4, 3, 2.5, 2, 1.5, 1, 0.5, 0, -1, -2))
FOLDS = 5
_FLOOR = 0.05


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier.

    Attributes:
        weight: [scores, features], for activations as they are; one score a class, or a single
            one for `binary`.
        bias: [scores].
        strength: The chosen penalty, as a factor of half the squared weights.
        tried: For each strength, the log-loss and accuracy on the images it was chosen on.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    tried: tuple[tuple[float, float, float], ...]


def fit(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor] | None,
    classes: int,
    strengths: Sequence[float] = STRENGTHS,
    kind: str = "multiclass",
) -> Probe:
    """Fits a probe for each strength and keeps the one with the least log-loss on `val`.

    Args:
        train: Features [n, d] and targets, as the kind asks.
        val: Likewise; None chooses the strength by cross-validation within `train` instead.
        classes: How many there are.
        strengths: Penalties to try.
        kind: Of the targets; see `objectives`.
    """
    scores = 1 if kind == "binary" else classes
    if val is None:
        tried = _cross_validate(train, scores, strengths, kind)
    else:
        tried = _score(train, val, scores, strengths, kind)
    best = min(tried, key=lambda row: row[1])[0]
    down_to_best = [strength for strength in sorted(strengths, reverse=True) if strength >= best]
    (*_, (_, weight, bias)) = _path(*train, scores, down_to_best, kind)
    return Probe(weight, bias, best, tuple(tried))


def _score(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    scores: int,
    strengths: Sequence[float],
    kind: str,
) -> list[tuple[float, float, float]]:
    features, targets = val
    rows = []
    for strength, weight, bias in _path(*train, scores, sorted(strengths, reverse=True), kind):
        logits = features @ weight.T + bias
        loss = objectives.loss(logits, targets, kind).item()
        accuracy = objectives.correct(logits, targets, kind) / len(targets)
        rows.append((strength, loss, accuracy))
    return rows


def _cross_validate(
    train: tuple[Tensor, Tensor], scores: int, strengths: Sequence[float], kind: str
) -> list[tuple[float, float, float]]:
    features, targets = train
    fold = torch.arange(len(targets), device=targets.device) % FOLDS
    scored = []
    for number in range(min(FOLDS, len(targets))):
        inside, outside = fold != number, fold == number
        if inside.any():
            part = (features[inside], targets[inside])
            rest = (features[outside], targets[outside])
            scored.append((len(rest[1]), _score(part, rest, scores, strengths, kind)))
    if not scored:
        return [(max(strengths), 0.0, 0.0)]
    total = sum(count for count, _ in scored)
    return [
        (
            rows[0][0],
            sum(n * row[1] for (n, _), row in zip(scored, rows, strict=True)) / total,
            sum(n * row[2] for (n, _), row in zip(scored, rows, strict=True)) / total,
        )
        for rows in zip(*(rows for _, rows in scored), strict=True)
    ]


def _path(
    features: Tensor, targets: Tensor, scores: int, strengths: Sequence[float], kind: str
) -> list[tuple[float, Tensor, Tensor]]:
    """Fits from the strongest penalty to the weakest, each starting from the one before."""
    mean = features.mean(0)
    spread = features.std(0, unbiased=False)
    # A feature that hardly moves must not be blown up to the size of the others.
    scale = 1 / spread.clamp_min(_FLOOR * spread.mean().clamp_min(1e-12))
    x = (features - mean) * scale
    weight = torch.zeros(scores, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(scores, device=x.device, requires_grad=True)
    fitted = []
    for strength in strengths:
        _descend(x, targets, weight, bias, strength, kind)
        scaled = weight.detach() * scale
        fitted.append((strength, scaled, bias.detach() - scaled @ mean))
    return fitted


def _descend(
    x: Tensor, targets: Tensor, weight: Tensor, bias: Tensor, strength: float, kind: str
) -> None:
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=100, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = objectives.loss(x @ weight.T + bias, targets, kind)
        if kind == "multilabel":
            # The sum over labels, so that none is held back more for there being others.
            value = value * len(bias)
        value = value + 0.5 * strength * weight.square().sum() / x.shape[1]
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
