"""What a search tries once its list is done and time is left: the winner with one thing changed.

The order is that of what is known to help most for what it costs: a lower line, twice the length,
other views, other rates; then mixup, smoothing, moving average, weight decay and the head, which
moved less than the noise in the experiment that `candidates` goes back to; and everything from
pixels where there is time even for that. What wins is the new center, and what was tried in an
equal form is not tried again: a coordinate-wise descent, which ends by itself.

All of it follows from what was measured with the plan and from scores, never from a clock, so a
search that is interrupted goes on to the same result.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from frostline.frost import PIXELS, Line
from frostline.planner.candidates import (
    FEW_IMAGES,
    REFINING,
    Candidate,
    EpochCost,
    cost_s,
    two_digits,
)
from frostline.recipe import Stage

# Presets of views that are tried beside the recipe's own.
PRESETS = ("light", "standard")
RATE_FACTORS = (0.3, 3.0)
MIXUP, SMOOTHING, AVERAGE, DECAY = 0.2, 0.1, 0.99, 0.01
LARGEST_DECAY, SMALLEST_DECAY = 1.0, 1e-4
LARGEST_RATE, LARGEST_SHARE = 10.0, 10.0
LINEAR, MLP = "linear", "mlp:256,dropout=0.5"
# A stage is not made longer than so many times the recipe's, nor its rate so many times another.
LONGEST, FURTHEST = 8, 30
# Of everything from pixels, as in the recipe `full`.
SUFFIX_RATE, LAYER_DECAY, CLIP = 0.3, 0.75, 1.0

# Activations of views of the training images: the index of a line, and the views' name.
_Kept = tuple[int, str]
_CENTER = "center"


@dataclass(frozen=True)
class Refining:
    """What refinements are made of and from; settled with the plan.

    Attributes:
        base: The recipe's stage.
        budget_s: Seconds that candidates and refinements may take together.
        cost: Of an epoch.
        row_s: Seconds from a file to an activation.
        lines: What may be cut at, downwards, `pixels` last; none where a line was asked for.
        kept_at: The line down to which the plan keeps activations.
        number_bytes: Of each number in an activation.
        room_bytes: What more activations may take on disk.
        views: Kept of each training image.
        preset: The recipe's own views.
        varies: Whether these vary.
        presets: Other views that may be tried; none where views were asked for.
        head: The recipe's own; empty where no other may be tried.
        most: At most so many candidates besides the probe; 0 for as many as the time allows.
        folds: Of the cross-validation that compares them; 0 where validation does.
        fixed: What stays as it is in `base`.
    """

    base: Stage
    budget_s: float
    cost: EpochCost
    row_s: float
    lines: tuple[Line, ...]
    kept_at: Line
    number_bytes: int
    room_bytes: float
    views: int
    preset: str
    varies: bool
    presets: tuple[str, ...]
    head: str
    most: int = 0
    folds: int = 0
    fixed: tuple[str, ...] = ()


@dataclass
class Spent:
    """What candidates have taken so far, by the plan's measure.

    Attributes:
        seconds: Of training and of passes over the images.
        bytes: Of activations that the plan did not reckon with.
        kept: Which activations are there.
        longest_s: Of the longest training.
        count: Candidates that were tried.
    """

    seconds: float
    bytes: float = 0.0
    kept: set[_Kept] = field(default_factory=set)
    longest_s: float = 0.0
    count: int = 0


def spent_on(
    refining: Refining,
    planned: Sequence[Candidate],
    tried: Sequence[Candidate],
    finished: Sequence[Candidate],
) -> Spent:
    """Returns what the candidates of a plan took.

    Args:
        refining: The plan's measure.
        planned: All of them; the plan reckons with the activations of all.
        tried: Those that were tried, to their half at least.
        finished: Those of them that came to their end.
    """
    kept = {(refining.kept_at.index, _CENTER)}
    kept |= {one for candidate in planned for one in _activations(candidate, refining)}
    longest_s = max((one.estimate_s for one in tried), default=0.0)
    seconds = sum(one.estimate_s for one in [*tried, *finished]) / 2
    if refining.folds:
        seconds = cost_s(tried, refining.folds)
    return Spent(seconds, 0.0, kept, longest_s, len(tried))


def book(candidate: Candidate, refining: Refining, spent: Spent, is_ended: bool) -> None:
    """Adds what a refinement took.

    Args:
        candidate: The refinement.
        refining: The plan's measure.
        spent: Where to add it.
        is_ended: Whether it was ended at its half.
    """
    seconds, size = _needs(candidate, refining, spent)
    spent.seconds += seconds - (candidate.estimate_s / 2 if is_ended else 0.0)
    spent.bytes += size
    spent.kept |= _activations(candidate, refining)
    spent.longest_s = max(spent.longest_s, candidate.estimate_s)
    spent.count += 1


def next_one(
    center: Candidate, tried: Iterable[Candidate], refining: Refining, spent: Spent
) -> Candidate | None:
    """Returns the next refinement; None where none is left, or none fits.

    Args:
        center: The winner so far.
        tried: What was tried before.
        refining: What there is to try, and the budget.
        spent: What the ones before took.
    """
    if refining.most and spent.count >= refining.most:
        return None
    known = {_form(one) for one in tried}
    for candidate in _moves(center, refining):
        if _form(candidate) in known:
            continue
        seconds, size = _needs(candidate, refining, spent)
        fits = spent.seconds + seconds <= refining.budget_s
        if fits and spent.bytes + size <= refining.room_bytes:
            return candidate
    return None


def _form(candidate: Candidate) -> tuple[Stage, str, bool, str]:
    """Returns what makes two candidates equal."""
    views = candidate.views if candidate.stage.augment else ""
    return candidate.stage, views, candidate.live, candidate.head


def _needs(candidate: Candidate, refining: Refining, spent: Spent) -> tuple[float, float]:
    """Returns the seconds and bytes that a candidate takes, its pass over the images included."""
    cost, seconds, size = refining.cost, candidate.estimate_s, 0.0
    if refining.folds:  # On all but one in turn; and the longest may be trained once more.
        seconds *= refining.folds - 1
        seconds += max(0.0, candidate.estimate_s - spent.longest_s)
    for index, views in _activations(candidate, refining) - spent.kept:
        count = cost.images * (1 if views == _CENTER else refining.views)
        # Those of the recipe's own lines are derived from what is kept further down.
        if index <= refining.kept_at.index:
            count += cost.validation * (index < refining.kept_at.index)
            seconds += count * refining.row_s
        line = candidate.line if candidate.line.index == index else refining.kept_at
        size += count * math.prod(line.shape) * refining.number_bytes
    return seconds, size


def _activations(candidate: Candidate, refining: Refining) -> set[_Kept]:
    """Returns what a candidate needs: at its line, and at the one that this is derived from."""
    at = candidate.line.index
    if candidate.live:
        return {(at, _CENTER)}
    is_varied = candidate.stage.augment and (refining.varies or bool(candidate.views))
    views = (candidate.views or "own") if is_varied else _CENTER
    return {(at, views), (min(at, refining.kept_at.index), views)}


def _moves(center: Candidate, refining: Refining) -> Iterator[Candidate]:
    """Yields the center with one thing changed, what helps most for its cost first."""
    stage, fixed = center.stage, refining.fixed
    below = [line for line in refining.lines if line.index < center.line.index]
    if below and below[0].name != PIXELS:
        yield _made(center, refining, line=below[0])
    if "epochs" not in fixed and 2 * stage.epochs <= LONGEST * refining.base.epochs:
        yield _made(center, refining, replace(stage, epochs=2 * stage.epochs))
    yield from _other_views(center, refining)
    for other in _other_settings(stage, refining):
        yield _made(center, refining, other)
    yield from _other_heads(center, refining)
    if below and not center.live:
        yield from _from_pixels(center, refining, below[-1])


def _other_views(center: Candidate, refining: Refining) -> Iterator[Candidate]:
    if "views" in refining.fixed:
        return
    stage, current = center.stage, center.views or refining.preset
    varied = replace(stage, augment=True)
    is_varied = stage.augment and (refining.varies or bool(center.views))
    for preset in refining.presets:
        if not is_varied or preset != current:
            own = preset == refining.preset
            yield _made(center, refining, varied, views="" if own else preset)
    if is_varied and not center.live:
        yield _made(center, refining, replace(stage, augment=False), views="")


def _other_settings(stage: Stage, refining: Refining) -> Iterator[Stage]:
    """Yields the stage with one number changed."""
    fixed, base, is_few = refining.fixed, refining.base, refining.cost.images < FEW_IMAGES
    for factor in RATE_FACTORS:
        rate, share = two_digits(factor * stage.lr), two_digits(factor * stage.suffix_lr)
        is_near = base.lr / FURTHEST <= rate <= min(FURTHEST * base.lr, LARGEST_RATE)
        if "lr" not in fixed and is_near and not (is_few and factor > 1):
            yield replace(stage, lr=rate)
        if "suffix_lr" not in fixed and 1 / FURTHEST <= share <= LARGEST_SHARE:
            yield replace(stage, suffix_lr=share)
    yield replace(stage, mixup=0.0 if stage.mixup else MIXUP)
    yield replace(stage, label_smoothing=0.0 if stage.label_smoothing else SMOOTHING)
    yield replace(stage, ema=0.0 if stage.ema else AVERAGE)
    if "weight_decay" in fixed:
        return
    for decay in (10 * stage.weight_decay or DECAY, stage.weight_decay / 10):
        decay = two_digits(decay)
        if decay != stage.weight_decay and SMALLEST_DECAY <= decay <= LARGEST_DECAY:
            yield replace(stage, weight_decay=decay)


def _other_heads(center: Candidate, refining: Refining) -> Iterator[Candidate]:
    if not refining.head or "head" in refining.fixed:
        return
    other = MLP if refining.head == LINEAR else LINEAR
    yield _made(center, refining, head="" if center.head else other)


def _from_pixels(center: Candidate, refining: Refining, pixels: Line) -> Iterator[Candidate]:
    """Yields everything trained, with new views in every epoch, as the recipe `full` does."""
    if pixels.name != PIXELS:
        return
    stage, fixed = replace(center.stage, layer_decay=LAYER_DECAY, clip=CLIP), refining.fixed
    if "epochs" not in fixed:
        stage = replace(stage, epochs=min(stage.epochs, refining.base.epochs))
    if "suffix_lr" not in fixed:
        stage = replace(stage, suffix_lr=SUFFIX_RATE)
    live = stage.augment and (refining.varies or bool(center.views))
    yield _made(center, refining, stage, line=pixels, live=live)


def _made(
    center: Candidate,
    refining: Refining,
    stage: Stage | None = None,
    line: Line | None = None,
    views: str | None = None,
    live: bool | None = None,
    head: str | None = None,
) -> Candidate:
    """Returns the center with what is given changed."""
    line = line or center.line
    stage = replace(stage or center.stage, line=line.name)
    live = center.live if live is None else live
    cost = refining.cost
    epoch_s = cost.at(line) + (cost.images * refining.row_s if live else 0.0)
    made = Candidate(
        stage,
        line,
        stage.epochs * epoch_s,
        REFINING,
        center.views if views is None else views,
        live,
        center.head if head is None else head,
    )
    return replace(made, changed=tuple(_words(made, refining)))


def _words(candidate: Candidate, refining: Refining) -> Iterator[str]:
    """Yields in a word each what is not as in the recipe."""
    stage, base = candidate.stage, refining.base
    if candidate.live:
        yield "new views in every epoch"
    if candidate.views and stage.augment:
        yield f"{candidate.views} views"
    if stage.suffix_lr != base.suffix_lr:
        yield f"suffix × {stage.suffix_lr:g}"
    if stage.layer_decay != base.layer_decay:
        yield f"layer decay {stage.layer_decay:g}"
    if stage.clip != base.clip:
        yield f"clip {stage.clip:g}"
    words = {
        "mixup": (stage.mixup, base.mixup),
        "label smoothing": (stage.label_smoothing, base.label_smoothing),
        "moving average": (stage.ema, base.ema),
    }
    for word, (value, before) in words.items():
        if value != before:
            yield word if value else f"no {word}"
    if stage.weight_decay != base.weight_decay:
        yield f"weight decay {stage.weight_decay:g}"
    if candidate.head:
        yield f"head {candidate.head}"
