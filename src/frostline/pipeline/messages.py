"""What a run says of what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.base.ahead import duration
from frostline.base.console import Console
from frostline.frost import Line
from frostline.images import listing as listings
from frostline.images.augment import Policy, ViewPolicy
from frostline.images.listing import Listing
from frostline.images.nouns import Nouns
from frostline.model.classifier import Classifier
from frostline.model.heads import describe
from frostline.networks import weights
from frostline.networks.record import OpenedBackbone
from frostline.recipe import Recipe
from frostline.scores.sentences import counted, percent
from frostline.sound import policies as sounds
from frostline.sound.policies import SoundPolicy
from frostline.training.scoring import Score


def pictures(listing: Listing, console: Console, said: Listing | None = None) -> None:
    """Says how many pictures there are of each class, and what is wrong with them.

    Args:
        listing: The pictures.
        console: Where words go.
        said: The same as it was told of before; only what is new since is said.
    """
    if said is None:
        console.say(_counted(listing))
    known = listings.report_lines(said) if said else []
    for line in listings.report_lines(listing):
        if line not in known:
            console.say(f"  {line}")


def _counted(listing: Listing) -> str:
    rows, names = listing.usable, listing.labels
    tags = [tag for row in rows for tag in listing.tags(row)]
    classes = f"{len(names)} class{'es' * (len(names) != 1)}"
    several = f", several for a {listing.nouns.plain}" if listing.several else ""
    return f"{listing.nouns.many(len(rows))} in {classes}{several}: {counted(tags)}"


def backbone(opened: OpenedBackbone, console: Console) -> None:
    """Says which network it is, what was left out of it, and what became of a weights file."""
    record = opened.record
    size = record.preprocessing
    console.say(
        f"Network: {record.architecture}, {size.width_px} × {size.height_px} px, "
        f"{record.parameters / 1e6:.1f} million parameters"
    )
    console.detail(
        f"backbone {record.name}: {record.architecture}, {size.width_px} × {size.height_px} px, "
        f"{record.parameters / 1e6:.1f} M parameters, licence {record.licence or 'not stated'}"
    )
    for note in opened.notes:
        console.say(f"  {note}")
    if opened.match is not None:
        tell = console.detail if opened.match.complete else console.say
        for line in weights.table(opened.match):
            tell(f"  {line}")


def images(listing: Listing, targets: str, console: Console) -> None:
    """Says which images there are.

    Raises:
        ListingError: Where nothing is left to train on.
    """
    listings.check(listing, targets=targets)
    counts = ", ".join(
        f"{len(listing.of(name))} {name}" for name in ("train", "val", "test") if listing.of(name)
    )
    names = listing.labels
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    several = f", several for one {listing.noun}" if listing.several else ""
    console.detail(f"{listing.noun}s: {counts}; {len(names)} classes{several}: {shown}")


def views(
    policy: ViewPolicy, count: int, live: bool, refresh: float, words: Nouns, console: Console
) -> None:
    """Says how training images are varied: nothing is switched on or off silently."""
    if not policy.varies:
        console.detail(f"views: 1 of each {words.row}, center; no augmentation")
        return
    parts = [
        name if value is True else f"{name} {value:g}" if isinstance(value, float) else ""
        for name, value in vars(policy).items()
        if name != "fill" and value and not (name == "crop" and value == 1)
    ]
    what = ", ".join(part for part in parts if part)
    each = f"{count} of each training {words.row}"
    many = "new ones in every epoch, computed live" if live else each
    fresh = f"; {refresh:.0%} of them replaced in every epoch" if refresh and not live else ""
    console.detail(f"views: {many}{fresh}, varied by {what}; validation sees the center view")


def way(
    counts: Mapping[str, int],
    policy: ViewPolicy,
    views: int,
    seconds: float,
    console: Console,
    windows: int = 0,
) -> None:
    """Says how training will go about it.

    Args:
        counts: How many pictures or sounds each split has.
        policy: How training pictures are varied.
        views: How many varied views of each; 0 for new ones in every epoch.
        seconds: What all of it takes; 0 where nobody measured.
        console: Where words go.
        windows: How many windows of sounds there are; 0 where each file is one, or a picture.
    """
    parts = [f"{counts['train']:,} to learn from"]
    parts += [f"{counts['val']:,} kept aside to choose by"] if counts["val"] else []
    parts += [f"{counts['test']:,} for a final test"] if counts["test"] else []
    varied = ""
    if policy.varies:
        many = f"{views} varied views" if views else "new views in every epoch"
        varied = f"; {many} of each: {', '.join(_changes(policy))} (see views.jpg)"
    cut = f", in {windows:,} windows" if windows else ""
    told = f". About {duration(seconds)}" if seconds else ""
    console.say(f"{', '.join(parts)}{cut}{varied}{told}")


def _changes(policy: ViewPolicy) -> list[str]:
    """Returns what is done to training pictures, or sounds, in plain words."""
    if isinstance(policy, SoundPolicy):
        return sounds.changes(policy)
    assert isinstance(policy, Policy)
    words = {
        "mirrored": policy.flip,
        f"turned by up to {policy.rotate:g}°": policy.rotate,
        "shifted": policy.shift,
        "sheared": policy.shear,
        "cropped": policy.crop < 1 or policy.zoom,
        "in other colours": policy.color,
    }
    return [what for what, is_done in words.items() if is_done]


def fixed(recipe: Recipe, console: Console) -> None:
    """Says what a search keeps to, since it was asked for; nothing where nothing was."""
    names, stage, head = recipe.search.fixed, recipe.stages[0], recipe.head
    words = {
        "line": f"line {stage.line}",
        "epochs": f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}",
        "lr": f"rate {stage.lr:g}",
        "suffix_lr": f"suffix × {stage.suffix_lr:g}",
        "weight_decay": f"weight decay {stage.weight_decay:g}",
        "views": f"views {recipe.views.preset}",
        "head": f"head {'of layers' if head.layers else head.spec}",
    }
    if names:
        told = ", ".join(words[name] for name in names)
        console.say(f"As asked: {told}; the rest is tried out (not with --no-search)")


def probe(score: Score, folds: int, console: Console) -> None:
    """Says how right a new last layer alone is.

    Args:
        score: On validation, or of all folds.
        folds: Of the cross-validation; 0 where it is on validation.
        console: Where words go.
    """
    console.say(f"New last layer: {right(score)}{_by(folds)}")


def stage(
    number: int, count: int, line: Line, proof: Mapping[str, Any], n: int, console: Console
) -> None:
    """Says what a stage came to.

    Args:
        number: From 1.
        count: How many stages there are.
        line: Where the network is cut.
        proof: What is recorded of it.
        n: How many pictures validation has.
        console: Where words go.
    """
    what = "the head" if line.is_vector else f"all above {line.name}"
    start = f"Stage {number} of {count}, {what}"
    if proof["val_accuracy"] is None:
        console.say(f"{start}: trained")
    elif proof["kept"]:
        console.say(f"{start}: {round(proof['val_accuracy'] * n):,} of {n:,} right, kept")
    else:
        console.say(f"{start}: no better, left out")


def right(score: Score) -> str:
    """Returns a score in plain words: "54 of 60 right (90 %)"."""
    count = round(score.accuracy * score.count)
    return f"{count:,} of {score.count:,} right ({percent(score.accuracy)})"


def _by(folds: int) -> str:
    return f", by {folds}-fold cross-validation" if folds else ""


def head(model: Classifier, console: Console) -> None:
    """Says what the new layers are."""
    if model.head is not None:
        shape = " × ".join(map(str, model.top.shape))
        sigmoid = {"binary": ", one sigmoid", "multilabel": ", a sigmoid for each class"}
        console.detail(
            f"head: {describe(model.head)} on {model.top.name} ({shape})"
            f"{sigmoid.get(model.targets, '')}"
        )


def frozen_line(model: Classifier, row_bytes: int, console: Console) -> None:
    """Says where the frost line lies."""
    console.detail(
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
        console.detail("forward passes below the line: none; all activations were kept")
    else:
        console.detail(f"forward passes below the line: {from_pixels:,}")
