"""Whether a run is cross-validated, in how many folds, and which image is in which.

With few images a held-out fifth says little: of 60 images it is right in 12, and the accuracy on
them is one of thirteen numbers. Then every image of train and val is held out once, and what is
said of it comes from what was trained without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from frostline.activations.extraction import ImageView
from frostline.activations.sources import image_views_of
from frostline.base.errors import RecipeError
from frostline.images.listing import Listing, Row
from frostline.model.classifier import Classifier
from frostline.pipeline.examples import labelled, sorted_rows
from frostline.sound import windows
from frostline.training import folds as dealt
from frostline.training.examples import Examples

# Fewer images in train and val together are few: with 200 of them a fifth is 40, on which one
# standard error at 90 % is 4.7 points, more than what candidates differ by.
FEW = 200
# So few for validation are few too, whatever there is to train on; but of so many images in all,
# training without a fold over and over takes its time, and is done where it is asked for only.
FEW_HELD_OUT, MANY = 40, 2000
# Usual folds: of the probe, and of candidates, which take longer.
OF_PROBE, OF_CANDIDATES = 10, 5


@dataclass(frozen=True)
class Dealt:
    """The images of train and val in folds.

    Attributes:
        rows: In the order of `sorted_rows`.
        examples: Their `center` views with targets.
        fold: [n], the fold of each, on the CPU.
        count: Of folds.
        stay_together: What each stays together with; None where each is alone.
    """

    rows: tuple[Row, ...]
    examples: Examples
    fold: Tensor
    count: int
    stay_together: tuple[str, ...] | None

    @property
    def views(self) -> dict[bytes, ImageView]:
        """The `center` views of all of them."""
        return image_views_of(self.rows)

    def held_out(self, number: int) -> tuple[Row, ...]:
        """Returns the images of one fold."""
        return tuple(
            row for row, fold in zip(self.rows, self.fold.tolist(), strict=True) if fold == number
        )

    def listing_without(self, listing: Listing, number: int) -> Listing:
        """Returns the listing with one fold for validation, and the others for training."""
        out = {row.path for row in self.held_out(number)}
        return replace(
            listing,
            rows=tuple(
                replace(row, split="val" if row.path in out else "train")
                if row.split in ("train", "val")
                else row
                for row in listing.rows
            ),
        )


def fold_count(listing: Listing, asked: int, usual: int) -> int:
    """Returns in how many folds a run is cross-validated; 0 for not at all.

    Args:
        listing: With splits.
        asked: What the recipe says: 0 leaves it open, 1 wants none.
        usual: How many folds where images are few.
    """
    rows = _rows(listing)
    units = len(set(_groups(rows)))
    if asked == 1 or units < 2:
        return 0
    count = windows.file_count(rows)
    few_held_out = windows.file_count(listing.of("val")) < FEW_HELD_OUT and count < MANY
    if not asked and count >= FEW and not few_held_out:
        return 0
    return min(asked or usual, units)


def check(listing: Listing, asked: int) -> None:
    """Sees to it that there are as many folds as a recipe asks for.

    Raises:
        RecipeError: Where there are too few images, or groups of them.
    """
    rows = _rows(listing)
    units = len(set(_groups(rows)))
    if asked > units:
        # Windows of a sound are a group, too.
        what = "groups" if units < windows.file_count(rows) else f"{listing.noun}s"
        raise RecipeError(
            f"search.folds must be at most the number of {what} in train and val, which is "
            f"{units}, not {asked}."
        )


def deal(listing: Listing, model: Classifier, count: int, seed: int) -> Dealt:
    """Deals the images of train and val into folds, classes evenly and groups together."""
    rows = sorted_rows(_rows(listing))
    examples = labelled(rows, listing, model)
    assert examples is not None
    groups = _groups(rows)
    # Where no two stay together, classes can be dealt more evenly.
    some = groups if len(set(groups)) < len(groups) else None
    fold = dealt.assign(examples.targets, count, some, seed)
    return Dealt(rows, examples, fold, count, some)


def _rows(listing: Listing) -> tuple[Row, ...]:
    return (*listing.of("train"), *listing.of("val"))


def _groups(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row.group or row.digest for row in rows)
