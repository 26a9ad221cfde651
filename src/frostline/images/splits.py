"""Who is for training, who for validation and who for the test: decided by content.

Each image falls where a hash of its content (or of its group) falls on [0, 1): below `val` it is
for validation, below `val + test` for the test, else for training. So the share holds per class on
average, adding images moves none, renaming moves none, and identical images stay together.

Groups are few and of any size, so their shares would come out lopsided by chance alone. Where
there are any, whole groups are moved to another split as long as that brings the shares of the
classes nearer to what is asked for (`balance`); images without a group stay where they fell.

There is one exception. A class whose images would all fall on one side gets its lowest in
validation and its highest in training, as long as it has two that can be told apart; when more
images are added, such a one may move back. Where images have several labels, training comes first:
no image moves to validation that is the last to show another class in training.
"""

import math
from collections import Counter, defaultdict
from dataclasses import replace

from frostline.base.errors import RecipeError
from frostline.images.rows import Listing
from frostline.images.split_units import Unit, balance, units_of


def assign(listing: Listing, val: float, test: float, seed: int = 0) -> Listing:
    """Gives each usable image its split.

    Where the source has a val split, nothing changes. Where it has train but no val, val is taken
    out of train; a test split that is there stays, and `test` then does nothing.

    Args:
        listing: As `scan` gives it.
        val: The share for validation, at least 0.
        test: The share for the test, at least 0; `val + test` below 1.
        seed: Another seed is another split.

    Raises:
        RecipeError: Where the shares are out of range.
    """
    _check_shares(val, test)
    if listing.has_splits and listing.of("val"):
        return listing
    free = [
        index for index, row in enumerate(listing.rows) if not row.problem and row.split != "test"
    ]
    if len(free) < len(listing.usable):
        test = 0.0
    units = units_of(listing, [listing.rows[index] for index in free], seed)
    splits = [_fall(unit.place, val, test) for unit in units]
    balance(units, splits, val, test)
    _mend(units, splits, val)
    rows = list(listing.rows)
    for unit, split in zip(units, splits, strict=True):
        for member in unit.rows:
            rows[free[member]] = replace(rows[free[member]], split=split)
    return replace(listing, rows=tuple(rows))


def _check_shares(val: float, test: float) -> None:
    for name, share in (("val", val), ("test", test)):
        if not (math.isfinite(share) and 0 <= share < 1):
            raise RecipeError(
                f"{name}: must be a share of the images, at least 0 and below 1, and is {share}."
            )
    if val + test >= 1:
        raise RecipeError(
            f"val and test: must leave something to train on, and {val} + {test} leave nothing."
        )


def _fall(place: float, val: float, test: float) -> str:
    if place < val:
        return "val"
    return "test" if place < val + test else "train"


def _mend(units: list[Unit], splits: list[str], val: float) -> None:
    """Sees to it that each class is in train, and in val where that is wanted; in place."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(units)), key=lambda index: units[index].place):
        for label in units[index].labels:
            by_label[label].append(index)
    for label in sorted(by_label):
        if not any(splits[index] == "train" for index in by_label[label]):
            splits[by_label[label][-1]] = "train"
    # Only now is it known what training can spare.
    trained = Counter(
        label
        for unit, split in zip(units, splits, strict=True)
        if split == "train"
        for label in unit.labels
    )
    for label in sorted(by_label) if val > 0 else ():
        mine = by_label[label]
        if len(mine) > 1 and not any(splits[index] == "val" for index in mine):
            _give_to_val(units, splits, mine, trained)


def _give_to_val(
    units: list[Unit], splits: list[str], candidates: list[int], trained: Counter[str]
) -> None:
    """Moves the first unit to val that takes no class's last image out of train; in place."""
    for index in candidates:
        was_trained = splits[index] == "train"
        if was_trained and any(trained[label] == 1 for label in units[index].labels):
            continue
        splits[index] = "val"
        if was_trained:
            trained.subtract(units[index].labels)
        return
