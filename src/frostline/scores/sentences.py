"""Scores in plain words, for the screen, the report and the model card.

A score is told as counts before shares, with the interval that its number of pictures allows, and
beside what always giving the commonest answer would come to.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Below so many pictures, it is said that they are few.
_FEW = 200
_NAMED = 6


@dataclass(frozen=True)
class Guess:
    """What always giving one answer would come to.

    Attributes:
        answer: The commonest answer, as it is shown: a class, or several labels as one text.
        share: How often it is right, 0 to 1.
    """

    answer: str
    share: float


def guess_of(truths: Iterable[str]) -> Guess | None:
    """Returns the best constant answer to these; None where there are none.

    Of answers that are equally common it is the first by name.
    """
    counts = Counter(truths)
    if not counts:
        return None
    answer, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return Guess(answer, count / counts.total())


def guess_from(found: Mapping[str, Any]) -> Guess | None:
    """Returns the best constant answer of one class an image, from the scores of a split.

    None where an image may have several labels: their scores do not tell which stand together.
    """
    if has_several(found) or "per_class" not in found:
        return None
    counts = {name: row["n"] for name, row in found["per_class"].items()}
    return guess_of(name for name, count in counts.items() for _ in range(count))


def has_several(found: Mapping[str, Any]) -> bool:
    """Says whether scores are those of several labels an image."""
    return "mean_average_precision" in found


def percent(share: float) -> str:
    """Returns a share as a percentage; what is not all is never told as all, nor as none."""
    for places in (0, 1, 2):
        value = float(f"{100 * share:.{places}f}")
        if (value == 100) == (share == 1) and (value == 0) == (share == 0):
            return f"{value:.{places}f} %"
    return "almost 100 %" if share > 0.5 else "almost 0 %"


def verdict(found: Mapping[str, Any], guess: Guess | None = None) -> str:
    """Says how right a model is, in one sentence.

    Args:
        found: The scores of one split, as `metrics.json` holds them.
        guess: What a constant answer would come to; by default as `guess_from` finds it.

    Returns:
        Such as "55 of 60 right (92 %), with so few the truth may lie between 82 % and 97 %;
        always saying 'ants' would be 50 %."
    """
    guess = guess or guess_from(found)
    n, accuracy = int(found["n"]), float(found["accuracy"])
    right = f"{round(accuracy * n):,} of {n:,} {_right(found)} ({percent(accuracy)})"
    low, high = found["accuracy_ci95"]
    cause = ", with so few" if n < _FEW else ";"
    said = f"{right}{cause} the truth may lie between {percent(low)} and {percent(high)}"
    if guess is not None:
        said += f"; always saying {_quoted(guess.answer)} would be {percent(guess.share)}"
    return f"{said}."


def cross_validated(found: Mapping[str, Any], term: str = "image") -> str:
    """Says how right the probe is where every picture was held out once, named for what it is.

    Args:
        found: What `metrics.json` holds under `cross_validation`.
        term: What one of its files is called.

    Returns:
        Such as "10-fold cross-validation of the probe over all 60 images of train and val: 56
        right, 93 % (84 % to 97 %)".
    """
    n, accuracy = int(found["n"]), float(found["accuracy"])
    low, high = map(percent, found["accuracy_ci95"])
    right = "with every label right" if found["several"] else "right"
    by_group = f", by {found['groups']:,} groups" if "groups" in found else ""
    return (
        f"{found['folds']}-fold cross-validation of the {found['of']} over all {n:,} {term}s of "
        f"train and val: {round(accuracy * n):,} {right}, {percent(accuracy)} ({low} to "
        f"{high}{by_group})"
    )


def over_seeds(found: Mapping[str, Any]) -> list[str]:
    """Says how far a score depends on chance, a sentence for each split.

    Args:
        found: What `metrics.json` holds under `seeds`.
    """
    count = len(found["seeds"])
    return [
        f"{count} seeds: {split} accuracy {one['mean']:.4f} on average, {min(one['accuracy']):.4f} "
        f"to {max(one['accuracy']):.4f}, standard deviation {one['std']:.4f}"
        for split in ("val", "test")
        if (one := found.get(split))
    ]


def doubts(
    found: Mapping[str, Any], guess: Guess | None = None, noun: str = "picture"
) -> list[str]:
    """Returns what a person must know before believing a score; nothing where all is well.

    Args:
        found: The scores of one split, as `metrics.json` holds them.
        guess: What a constant answer would come to; by default as `guess_from` finds it.
        noun: What one of those that were scored is called.
    """
    guess = guess or guess_from(found)
    missed = _never_found(found.get("per_class", {}), noun)
    return [*_against_guessing(found, guess, noun), *missed]


def _right(found: Mapping[str, Any]) -> str:
    return "with every label right" if has_several(found) else "right"


def _quoted(answer: str) -> str:
    return f"'{answer}'" if answer else "nothing"


def _against_guessing(found: Mapping[str, Any], guess: Guess | None, noun: str) -> list[str]:
    # Where there is one answer only, always giving it is the whole task.
    if guess is None or guess.share == 1:
        return []
    always = f"always saying {_quoted(guess.answer)}"
    if found["accuracy"] <= guess.share:
        return [f"No better than guessing: {always} would be right as often or more."]
    if found["accuracy_ci95"][0] <= guess.share:
        return [f"With {found['n']:,} {noun}s this cannot be told from guessing by {always}."]
    return []


def _never_found(per_class: Mapping[str, Mapping[str, Any]], noun: str) -> list[str]:
    missed = [(name, row["n"]) for name, row in per_class.items() if row["n"] and not row["recall"]]
    if not missed:
        return []
    if len(missed) == 1:
        name, count = missed[0]
        many = f"None of the {count} {noun}s" if count > 1 else f"The only {noun}"
        return [f"{many} of {name!r} was {'not ' if count == 1 else ''}recognised."]
    shown = ", ".join(f"{name!r} ({count})" for name, count in missed[:_NAMED])
    more = f" and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
    return [f"Of {len(missed)} classes no {noun} was recognised: {shown}{more}."]


def counted(labels: Sequence[str], most: int = 8) -> str:
    """Returns how often each label stands there, the commonest first: "ants 3, bees 2"."""
    counts = sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name or 'none'} {count:,}" for name, count in counts[:most])
    left = counts[most:]
    rest = sum(count for _, count in left)
    return f"{shown}, {len(left)} other classes {rest:,}" if left else shown


def summary_of(labels: Sequence[Sequence[str]], unsure: int, threshold: float) -> str:
    """Returns what was said of pictures in few words: "ants 3, bees 3; 2 under 70 % sure".

    Args:
        labels: Of each picture, all that was said of it.
        unsure: How many are less sure than the threshold.
        threshold: From 0 to 1.
    """
    said = counted([label for each in labels for label in each or [""]])
    return f"{said}; {unsure:,} under {percent(threshold)} sure" if unsure else said
