"""The errors Frostline raises for mistakes that a user can correct.

    FrostlineError            the base class; the command line prints one line and exits with 2
    ├── ListingError          images: no folder, no images, a single class, labels that do not match
    ├── RecipeError           a recipe or an option: unknown key, value out of range
    ├── BackboneError         a network: unknown name, not available offline
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


class FrostlineError(Exception):
    """Base class of all errors that a user can correct."""


class ListingError(FrostlineError):
    """The images do not make a usable listing."""


class RecipeError(FrostlineError):
    """A recipe, or an option that sets a part of one, is not valid."""


class BackboneError(FrostlineError):
    """A backbone cannot be found or opened."""


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
    """Returns up to `count` of `names` that are most similar to `name`, the best first."""
    by_lower = {known.lower(): known for known in names}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[match] for match in matches]


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
