"""What a run says of what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.base.console import Console
from frostline.images import listing as listings
from frostline.images.augment import ViewPolicy
from frostline.images.listing import Listing
from frostline.model.classifier import Classifier
from frostline.model.heads import describe
from frostline.networks import weights
from frostline.networks.record import OpenedBackbone


def backbone(opened: OpenedBackbone, console: Console) -> None:
    """Says which network it is, and what became of a weights file."""
    record = opened.record
    size = record.preprocessing
    console.say(
        f"backbone {record.name}: {record.architecture}, {size.width_px} × {size.height_px} px, "
        f"{record.parameters / 1e6:.1f} M parameters, licence {record.licence or 'not stated'}"
    )
    if opened.match is not None:
        for line in weights.table(opened.match):
            console.say(f"  {line}")


def images(listing: Listing, targets: str, console: Console) -> None:
    """Says which images there are.

    Raises:
        ListingError: Where nothing is left to train on.
    """
    for line in listings.report_lines(listing):
        console.say(line)
    listings.check(listing, targets=targets)
    counts = ", ".join(
        f"{len(listing.of(name))} {name}" for name in ("train", "val", "test") if listing.of(name)
    )
    names = listing.labels
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    several = f", several for one {listing.noun}" if listing.several else ""
    console.say(f"{listing.noun}s: {counts}; {len(names)} classes{several}: {shown}")


def views(policy: ViewPolicy, count: int, live: bool, refresh: float, console: Console) -> None:
    """Says how training images are varied: nothing is switched on or off silently."""
    if not policy.varies:
        console.say("views: 1 of each image, center; no augmentation")
        return
    parts = [
        name if value is True else f"{name} {value:g}" if isinstance(value, float) else ""
        for name, value in vars(policy).items()
        if name != "fill" and value and not (name == "crop" and value == 1)
    ]
    what = ", ".join(part for part in parts if part)
    many = "new ones in every epoch, computed live" if live else f"{count} of each training image"
    fresh = f"; {refresh:.0%} of them replaced in every epoch" if refresh and not live else ""
    console.say(f"views: {many}{fresh}, varied by {what}; validation sees the center view")


def head(model: Classifier, console: Console) -> None:
    """Says what the new layers are."""
    if model.head is not None:
        shape = " × ".join(map(str, model.top.shape))
        sigmoid = {"binary": ", one sigmoid", "multilabel": ", a sigmoid for each class"}
        console.say(
            f"head: {describe(model.head)} on {model.top.name} ({shape})"
            f"{sigmoid.get(model.targets, '')}"
        )


def frozen_line(model: Classifier, row_bytes: int, console: Console) -> None:
    """Says where the frost line lies."""
    console.say(
        f"line {model.line.name}: {model.line.share_below:.0%} of the work lies below it; "
        f"{model.engine.name}, {row_bytes / 1024:.1f} KiB a view"
    )


def passes(facts: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Says how many forward passes below the lines the run took."""
    # Below the line `pixels` lies nothing.
    below = [one for one in facts if one["from"] == "pixels" != one["line"]]
    from_pixels = sum(one["rows_computed"] for one in below)
    if not below:
        return
    if from_pixels == 0:
        console.say("forward passes below the line: none; all activations were kept")
    else:
        console.say(f"forward passes below the line: {from_pixels:,}")
