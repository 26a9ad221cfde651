"""Everything Frostline raises on purpose, and the words it uses for it.

    FrostlineError            what a user can mend; the command line says it in one line, exits 2
    ├── ListingError          the pictures: no folder, no images, one class, labels that do not fit
    ├── RecipeError           a recipe or an option: unknown key, value out of range
    ├── BackboneError         a network: unknown name, not to be had without a network connection
    │   ├── WeightsError      weights that do not fit, or that are not safe to read
    │   └── LineError         a line that does not exist or where this network cannot be cut
    ├── CacheError            a cache that is damaged
    ├── DiskError             not enough room, or the disk refused to write
    ├── TrainingError         training that went wrong, such as a tracker that fails
    │   └── LossError         a loss that is no number
    └── RunError              a run folder: missing, in use, unfinished, or made by another recipe

A message says where (file or field), what must hold, what was got, and what to do next.
Anything else that reaches a user is a bug.
"""

import difflib
from collections.abc import Iterable
from os.path import commonpath


class FrostlineError(Exception):
    """Base of all errors that a user can mend."""


class ListingError(FrostlineError):
    """The pictures do not make a listing that can be used."""


class RecipeError(FrostlineError):
    """A recipe, or an option that stands for a part of one, does not hold."""


class BackboneError(FrostlineError):
    """A backbone cannot be found or opened."""


class WeightsError(BackboneError):
    """A weights file does not fit the network, or is not safe to read."""


class LineError(BackboneError):
    """A line does not exist, or the network cannot be cut there."""


class CacheError(FrostlineError):
    """A cache on disk does not hold what it says."""


class DiskError(FrostlineError):
    """The disk has not enough room, or refused to write."""


class TrainingError(FrostlineError):
    """Training went wrong in a way that other settings mend."""


class LossError(TrainingError):
    """The loss is no number, or no longer one."""


class RunError(FrostlineError):
    """A run folder is missing, in use, unfinished, or made by another recipe."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Returns at most `count` of `names` that may be meant by `name`, the best first.

    Only what is a slip away: one letter in three is another, one name holds the other, or they
    begin alike. `cats` is not `ants`, though they share three letters.
    """
    low = name.lower()
    by_lower = {known.lower(): known for known in names if known and _is_near(low, known.lower())}
    found = difflib.get_close_matches(low, by_lower, n=count, cutoff=0.4)
    return [by_lower[one] for one in found]


def _is_near(name: str, known: str) -> bool:
    # What stands before a colon, and dashes of options, are not what was mistyped.
    one, other = (text.lstrip("-").rpartition(":")[2] for text in (name, known))
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) > 2 and shorter in longer:
        return True
    alike = len(commonpath([one, other]))
    if alike >= 4 and 2 * alike >= len(longer):
        return True
    # `resnet5O` may be `resnet50.a1_in1k`.
    if "." in other and "." not in one and _is_near(one, other.partition(".")[0]):
        return True
    most = len(longer) // 3
    return len(longer) - len(shorter) <= most and _changes(one, other) <= most


def _changes(one: str, other: str) -> int:
    """Counts letters to add, drop, replace or swap with their neighbour.

    The restricted Damerau-Levenshtein distance (Damerau, Communications of the ACM 7, 1964).
    """
    rows = [list(range(len(other) + 1))]
    for i in range(1, len(one) + 1):
        row = [i]
        for j in range(1, len(other) + 1):
            same = one[i - 1] == other[j - 1]
            cost = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (not same))
            if i > 1 and j > 1 and one[i - 2 : i] == other[j - 1] + other[j - 2]:
                cost = min(cost, rows[i - 2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns `" Did you mean a, b?"`, or nothing where no name comes near."""
    close = nearest(name, names)
    return f" Did you mean {', '.join(close)}?" if close else ""


def raise_all(
    kind: type[FrostlineError], where: str, problems: list[str], most: int | None = None
) -> None:
    """Raises one `kind` that names every problem, or nothing where there is none.

    Args:
        kind: The error to raise.
        where: The file or option the problems are in.
        problems: What is wrong, one sentence each.
        most: How many are told; None for all. The rest are counted.

    Raises:
        FrostlineError: Of the given kind, where there is a problem.
    """
    if len(problems) == 1:
        raise kind(f"{where}: {problems[0]}")
    if problems:
        told = [f"({number}) {problem}" for number, problem in enumerate(problems, start=1)][:most]
        rest = [f"And {len(problems) - len(told)} more."] if len(told) < len(problems) else []
        raise kind(f"{where}: {len(problems)} problems: " + " ".join(told + rest))
