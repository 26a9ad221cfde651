"""The errors Frostline raises for mistakes that a user can correct.

    FrostlineError            the base class; the command line prints one line and exits with 2
    ├── ListingError          images: no folder, no images, a single class, labels that do not match
    ├── RecipeError           a recipe or an option: unknown key, value out of range
    ├── BackboneError         a network: unknown name, refused by its library
    │   ├── DownloadError     a network that is not on this machine and cannot be downloaded
    │   ├── EngineError       an engine whose activations are not those of the network
    │   ├── WeightsError      weights that do not match the network, or are not safe to read
    │   └── LineError         a line that does not exist, or at which the network cannot be cut
    ├── CacheError            a damaged cache
    ├── DiskError             not enough space, or a failed write
    ├── TrainingError         training that failed, for instance because of a tracker
    │   └── LossError         a loss that is NaN or infinite
    └── RunError              a run folder: missing, in use, unfinished, or of another recipe

A message says where (file or field), what is required, what was found, and what to do next.
Any other exception that reaches a user is a bug.
"""

import difflib
from collections.abc import Iterable
from os.path import commonpath


class FrostlineError(Exception):
    """Base class of all errors that a user can correct."""


class ListingError(FrostlineError):
    """The images do not make a usable listing."""


class RecipeError(FrostlineError):
    """A recipe, or an option that sets a part of one, is not valid."""


class BackboneError(FrostlineError):
    """A backbone cannot be found or opened."""


class DownloadError(BackboneError):
    """A network is not on this machine and cannot be downloaded.

    Attributes:
        missing: What is missing, and why: the message without its advice.
    """

    def __init__(self, missing: str, advice: str) -> None:
        super().__init__(f"{missing}. {advice}")
        self.missing = missing


class EngineError(BackboneError):
    """An engine does not give the activations of the network."""


class WeightsError(BackboneError):
    """A weights file does not match the network, or is not safe to read."""


class LineError(BackboneError):
    """A line does not exist, or the network cannot be cut there."""


class CacheError(FrostlineError):
    """A cache on disk is damaged."""


class DiskError(FrostlineError):
    """The disk has not enough space, or a write failed."""


class TrainingError(FrostlineError):
    """Training failed in a way that other settings can avoid."""


class LossError(TrainingError):
    """The loss is NaN or infinite."""


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
    """Returns `" Did you mean a, b?"`, or an empty string if no name is similar."""
    close = nearest(name, names)
    return f" Did you mean {', '.join(close)}?" if close else ""


def raise_all(
    kind: type[FrostlineError], where: str, problems: list[str], most: int | None = None
) -> None:
    """Raises a single error that names all problems, if there are any.

    Args:
        kind: The class of the error.
        where: The file or option that has the problems.
        problems: What is wrong, one sentence each.
        most: How many are spelled out; None for all. The rest are counted.

    Raises:
        FrostlineError: Of the given class, if there is a problem.
    """
    if len(problems) == 1:
        raise kind(f"{where}: {problems[0]}")
    if problems:
        shown = [f"({number}) {problem}" for number, problem in enumerate(problems, start=1)][:most]
        rest = [f"And {len(problems) - len(shown)} more."] if len(shown) < len(problems) else []
        raise kind(f"{where}: {len(problems)} problems: " + " ".join(shown + rest))
