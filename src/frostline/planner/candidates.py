"""Candidates of a search: other lines, rates and lengths for a recipe's stage, the best bets first.

The order is that of an experiment on six data sets and two networks (docs/benchmarks.md): one stage
below which some 65 % of the work lies, at a rate of 1e-3, does best in the mean. Where it is behind
the probe at its half, by more than noise, a third of the rate and a higher line do better, and
center views alone where varied ones did not help the probe. Where it is not, much is to be learned,
for its rate is still high then: twice the length and lower lines come next. So what else is tried
is known only then, and no time is spent on what the probe and the first half rule out. A few good
candidates do better than many: each one more is one more chance to pick a lucky state on the
validation images.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from frostline.frost import Line
from frostline.recipe import Stage

# When a candidate is tried: in any case, or where the first one is not behind the probe at its
# half, or where it is; or where these are done and time is left.
ALWAYS, AHEAD, BEHIND, REFINING = "always", "ahead", "behind", "refining"
# Shares of the work below the lines that are tried: the recipe's own, lower ones, one higher.
MAIN, LOWER, HIGHER = 0.65, (0.45, 0.25), 0.85
# With fewer epochs than this, a higher line and a larger rate learn more: five here came to as much
# as ten there.
FEWEST_EPOCHS = 6
# Fewer epochs than this are not worth a stage at all.
LEAST_EPOCHS = 3
# A longer training has twice the epochs, or at least so many times as many.
LONGER = 1.4
# A recipe's epochs are meant for so many images; more images need fewer epochs.
IMAGES = 1500
# With fewer training images than this, large steps on many layers do harm.
FEW_IMAGES = 100


@dataclass(frozen=True)
class Candidate:
    """One thing to try: a stage at a line.

    Attributes:
        stage: Its settings, with the line's name in them.
        line: Where the network is cut.
        estimate_s: Seconds to train it to its end.
        when: `always`, or only where the first candidate is as good as the probe or `ahead` of
            it, or `behind`; `refining` where it is the winner with one thing changed.
        views: The preset of its views; empty for the recipe's own.
        live: Whether it gets new views in every epoch, none kept.
        head: The specification of its head; empty for the recipe's own.
        changed: What else is not as in the recipe, in words.
    """

    stage: Stage
    line: Line
    estimate_s: float
    when: str = ALWAYS
    views: str = ""
    live: bool = False
    head: str = ""
    changed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a person calls it."""
        stage = self.stage
        views = () if stage.augment else ("center views only",)
        epochs = f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}"
        return ", ".join([stage.line, f"rate {stage.lr:g}", epochs, *views, *self.changed])


@dataclass(frozen=True)
class SearchLines:
    """Where to cut.

    Attributes:
        main: The line that does best in the mean.
        lower: Some below it, downwards; none where the user named a line.
        higher: One above it; None where there is none, or the user named a line.
    """

    main: Line
    lower: tuple[Line, ...] = ()
    higher: Line | None = None


@dataclass(frozen=True)
class EpochCost:
    """Seconds of an epoch above a line, from a measurement at one line.

    Attributes:
        train_s: Seconds to train on one image above `measured_at`.
        score_s: Seconds to score one.
        measured_at: Where that was measured.
        images: Training images.
        validation: Validation images.
    """

    train_s: float
    score_s: float
    measured_at: Line
    images: int
    validation: int

    def at(self, line: Line) -> float:
        """Returns the seconds of an epoch above `line`: work above it decides."""
        above = max(1 - line.share_below, 0.01) / max(1 - self.measured_at.share_below, 0.01)
        return above * (self.train_s * self.images + self.score_s * self.validation)


def choose(
    base: Stage,
    lines: SearchLines,
    cost: EpochCost,
    budget_s: float,
    most: int = 0,
    folds: int = 0,
    fixed: Collection[str] = (),
) -> tuple[Candidate, ...]:
    """Returns the candidates that fit into the time, the first of them at its best length.

    Args:
        base: The recipe's stage; with `line = "auto"` its line is varied.
        lines: Where to cut.
        cost: Of an epoch.
        budget_s: Seconds for all of them.
        most: At most so many; 0 for as many as fit.
        folds: Of the cross-validation that compares them; 0 where validation does.
        fixed: What stays as it is in `base`, of `epochs`, `lr` and `views`. A line that `base`
            names does anyway.

    Returns:
        None at all where not even a short one fits; of fixed length there is always one.
    """
    first = _first(base, lines, cost, budget_s / max(folds, 1), fixed)
    if first is None:
        return ()
    longer = 2 * first.stage.epochs if folds else _longer(first, budget_s)
    ahead = [one for one in _bolder(first, base, lines, cost, longer) if _keeps(one, base, fixed)]
    behind = [one for one in _gentler(first, base, lines, cost) if _keeps(one, base, fixed)]
    if folds:  # There is no half: each is cross-validated to its end.
        return _fitting(first, [*behind, *ahead], budget_s, most, folds)
    return (
        *_fitting(first, [replace(one, when=AHEAD) for one in ahead], budget_s, most),
        *_fitting(first, [replace(one, when=BEHIND) for one in behind], budget_s, most)[1:],
    )


def _keeps(candidate: Candidate, base: Stage, fixed: Collection[str]) -> bool:
    fields = ["augment" if name == "views" else name for name in fixed if name != "head"]
    return all(getattr(candidate.stage, name) == getattr(base, name) for name in fields)


def _fitting(
    first: Candidate, others: Sequence[Candidate], budget_s: float, most: int, folds: int = 0
) -> tuple[Candidate, ...]:
    chosen = [first]
    for candidate in others:
        if most and len(chosen) == most:
            break
        if cost_s([*chosen, candidate], folds) <= budget_s:
            chosen.append(candidate)
    return tuple(chosen)


def taking_part(
    candidates: Sequence[Candidate], is_behind: bool, views_helped: bool = False
) -> list[int]:
    """Returns the positions of what is tried, by how the first one does at its half.

    Args:
        candidates: Of a plan.
        is_behind: Whether the first one is clearly worse than the probe there.
        views_helped: Whether the probe is better for varied views, so that doing without them is
            not tried where the first one has them.
    """
    ruled_out = AHEAD if is_behind else BEHIND
    needs_views = views_helped and candidates[0].stage.augment
    return [
        at
        for at, one in enumerate(candidates)
        if one.when != ruled_out and (one.stage.augment or not needs_views)
    ]


def total_s(candidates: Sequence[Candidate], folds: int = 0) -> float:
    """Returns the seconds of all that may come to be tried, at most.

    Each to its half, the better half of them to the end; where they are cross-validated, each on
    all folds but one in turn, and the best of them, at worst the longest, once more.
    """
    return max(
        cost_s([candidates[at] for at in taking_part(candidates, is_behind)], folds)
        for is_behind in (False, True)
    )


def cost_s(candidates: Sequence[Candidate], folds: int = 0) -> float:
    """Returns the seconds of candidates that are all tried; see `total_s`."""
    if not candidates:
        return 0.0
    costs = sorted((one.estimate_s for one in candidates), reverse=True)
    if folds:
        return sum(costs) * (folds - 1) + costs[0]
    if len(costs) == 1:
        return costs[0]
    return sum(costs) / 2 + sum(costs[: survivor_count(len(costs))]) / 2


def survivor_count(count: int) -> int:
    """Returns how many of `count` candidates go on after their half."""
    return count if count == 1 else -(-count // 2)


def scaled_epochs(epochs: int, images: int) -> int:
    """Returns how many epochs to take for so many images: fewer where there are many."""
    if images <= IMAGES:
        return epochs
    return max(min(LEAST_EPOCHS, epochs), round(epochs * math.sqrt(IMAGES / images)))


def _first(
    base: Stage, lines: SearchLines, cost: EpochCost, budget_s: float, fixed: Collection[str]
) -> Candidate | None:
    has_length, has_rate = "epochs" in fixed, "lr" in fixed
    epochs = base.epochs if has_length else scaled_epochs(base.epochs, cost.images)
    if lines.higher is not None and cost.images < FEW_IMAGES:
        lr = base.lr if has_rate else two_digits(0.3 * base.lr)
        small = _made(replace(base, lr=lr), lines.higher, epochs, cost)
        return small if has_length or small.estimate_s <= budget_s else None
    if has_length:
        return _made(base, lines.main, epochs, cost)
    main = lines.main
    longest = int(budget_s / max(cost.at(main), 1e-9))
    enough = min(FEWEST_EPOCHS, epochs)
    if longest >= enough or lines.higher is None:
        return _fitted(base, main, min(epochs, longest), cost)
    longest = int(budget_s / max(cost.at(lines.higher), 1e-9))
    lr = base.lr if has_rate else two_digits(3 * base.lr)
    return _fitted(replace(base, lr=lr), lines.higher, min(epochs, longest), cost)


def _fitted(stage: Stage, line: Line, epochs: int, cost: EpochCost) -> Candidate | None:
    if epochs < min(LEAST_EPOCHS, stage.epochs):
        return None
    return _made(stage, line, epochs, cost)


def _gentler(
    first: Candidate, base: Stage, lines: SearchLines, cost: EpochCost
) -> Iterator[Candidate]:
    """Yields what to try where the first one unlearns what the probe knows."""
    epochs, lr = first.stage.epochs, first.stage.lr
    yield _made(replace(base, lr=two_digits(0.3 * lr)), first.line, epochs, cost)
    if cost.images < FEW_IMAGES:
        return
    if lines.higher is not None and lines.higher != first.line:
        yield _made(replace(base, lr=two_digits(0.3 * lr)), lines.higher, epochs, cost)
    yield _made(replace(base, lr=two_digits(0.3 * lr), augment=False), first.line, epochs, cost)


def _longer(first: Candidate, budget_s: float) -> int:
    """Returns how many epochs a longer training has: twice as many, or fewer where only these fit.

    It takes its whole time and the first one half of its own.
    """
    epochs = first.stage.epochs
    fitting = int((budget_s - first.estimate_s / 2) * epochs / max(first.estimate_s, 1e-9))
    return fitting if LONGER * epochs <= fitting < 2 * epochs else 2 * epochs


def _bolder(
    first: Candidate, base: Stage, lines: SearchLines, cost: EpochCost, longer: int
) -> Iterator[Candidate]:
    """Yields what to try where the first one learns what the probe cannot know."""
    epochs, lr = first.stage.epochs, first.stage.lr
    if epochs < scaled_epochs(base.epochs, cost.images) or cost.images < FEW_IMAGES:
        return  # There is not even time for the first one at its full length.
    yield _made(replace(base, lr=lr), first.line, longer, cost)
    for line in lines.lower:
        yield _made(replace(base, lr=lr), line, epochs, cost)
        yield _made(replace(base, lr=lr), line, 2 * epochs, cost)
    mixed = _made(replace(base, lr=lr, mixup=0.2), first.line, 2 * epochs, cost)
    yield replace(mixed, changed=("mixup",))


def two_digits(rate: float) -> float:
    """Returns a rate with two digits, so that a recipe reads well."""
    return float(f"{rate:.2g}")


def _made(stage: Stage, line: Line, epochs: int, cost: EpochCost) -> Candidate:
    made = replace(stage, line=line.name, epochs=epochs, steps=0)
    return Candidate(made, line, epochs * cost.at(line))
