"""Going on with a run: what was begun, whether it is the same, and what has changed since."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from frostline import planner, recipe
from frostline.base import files
from frostline.base.console import Console
from frostline.base.errors import FrostlineError, RunError
from frostline.images import listing as listings
from frostline.images.listing import Listing
from frostline.recipe import Recipe
from frostline.run import folder as run_folder
from frostline.run import places
from frostline.run.folder import RunFolder
from frostline.training import checkpoint


def begun_with(out: Path) -> str:
    """Returns the name of the backbone of the run in `out`; empty where there is none."""
    run = RunFolder(out)
    try:
        return recipe.read(run.recipe).backbone.name if run.is_run() else ""
    except OSError:  # A name that is too long; who writes there says so.
        return ""


def latest(first: Path) -> Path:
    """Returns the last folder of a series that is there; the first where there is none."""
    found = first
    for path in places.series(first):
        if not path.exists():
            return found
        found = path
    return found


def place_for(wanted: Recipe, listing: Listing, first: Path) -> Path:
    """Returns the folder for a run that nobody named one for.

    Args:
        wanted: The recipe.
        listing: The images, as they were found.
        first: Where its series begins.

    Returns:
        The first of the series that is new or empty, or holds this very run, begun or finished.
    """
    return next(path for path in places.series(first) if _may_take(path, wanted, listing))


def _may_take(path: Path, wanted: Recipe, listing: Listing) -> bool:
    run = RunFolder(path)
    try:
        if not path.exists():
            return True
        with places.locked(run_folder.claim(path)):
            return not run.is_run() or _is_same(run, wanted, listing)
    except FrostlineError:  # In use, damaged, or something else.
        return False


def _is_same(run: RunFolder, wanted: Recipe, listing: Listing) -> bool:
    """Says whether a run is of this recipe and these images."""
    recorded = recipe.read(run.recipe)
    facts = run.read_plan() if run.plan.is_file() or run.is_finished() else {}
    asked = recipe.from_dict(facts["asked"], str(run.plan)) if "asked" in facts else recorded
    if recorded != wanted and recipe.differences(asked, wanted):
        return False
    if run.is_finished():
        return bool(facts.get("listing") == digest(listing))
    found = checkpoint.read(run.checkpoint)
    return found is None or found.facts["bound"]["images"] == digest(listing)


def earlier(run: RunFolder, wanted: Recipe, listing: Listing, console: Console) -> Recipe | None:
    """Returns the recipe of a run that this one goes on with; None where it begins anew.

    Raises:
        RunError: Where the folder holds a finished run of another recipe or of other pictures.
    """
    if not run.is_run():
        return None
    recorded = recipe.read(run.recipe)
    # An unfinished run may have ended before its plan was written; a finished one has one.
    facts = run.read_plan() if run.plan.is_file() or run.is_finished() else {}
    asked = recipe.from_dict(facts["asked"], str(run.plan)) if "asked" in facts else recorded
    differ = recipe.differences(asked, wanted)
    is_same = not differ or recorded == wanted
    if not run.is_finished():
        return _unfinished(run, is_same, recorded, wanted, asked, console)
    if not is_same:
        raise RunError(
            f"{run.path}: holds a finished run of another recipe ({'; '.join(differ[:3])}). "
            + _keep_both(run)
        )
    if facts.get("listing") != digest(listing):
        raise RunError(
            f"{run.path}: was made from other {listing.nouns.plain}s than these: "
            f"{_changes(run, listing)}. " + _keep_both(run)
        )
    console.say(f"{run.path}: already finished with this recipe and these {listing.nouns.plain}s")
    return recorded


def _keep_both(run: RunFolder) -> str:
    return (
        f"To train anew and keep this run: --out {places.next_free(run.path)} (what the cache "
        "holds is not computed again). To replace it, remove the folder first."
    )


def _unfinished(
    run: RunFolder,
    is_same: bool,
    recorded: Recipe,
    wanted: Recipe,
    asked: Recipe,
    console: Console,
) -> Recipe | None:
    if is_same:
        console.say(f"{run.path}: unfinished; going on with it. What is kept is not redone")
        return recorded
    found = checkpoint.read(run.checkpoint)
    number = int(found.facts["stage"]) if found else 0
    at_start = found is not None and "state" not in found.facts and number < len(wanted.stages)
    if at_start and replace(asked, stages=asked.stages[:number]) == replace(
        wanted, stages=wanted.stages[:number]
    ):
        lines = dict(enumerate(stage.line for stage in recorded.stages))
        changed = [
            replace(stage, line=lines.get(at, planner.DEFAULT_LINE))
            if stage.line == planner.AUTO
            else stage
            for at, stage in enumerate(wanted.stages)
        ]
        console.say(
            f"{run.path}: unfinished; going on with it from stages.{number}, changed as asked"
        )
        return replace(recorded, stages=tuple(changed))
    if found is not None:
        differ = recipe.differences(asked, wanted)
        raise RunError(
            f"{run.path}: holds an unfinished run of another recipe ({'; '.join(differ[:3])}), "
            f"with a checkpoint in stages.{number}. The command that began it goes on with it; "
            "name another folder with --out, or remove this one, to begin anew."
        )
    console.say(
        f"{run.path}: an unfinished run of another recipe; begun anew with this one. "
        "What the cache holds is not redone"
    )
    return None


def find_checkpoint(
    run: RunFolder, bound: Mapping[str, str], listing: Listing, photos: Path
) -> checkpoint.Checkpoint | None:
    """Returns the run's checkpoint.

    Args:
        run: The run.
        bound: What its checkpoint must be bound to.
        listing: With the splits that are assigned, for the words on what changed.
        photos: Where the images come from, likewise.

    Raises:
        RunError: Where images or weights are not those of the checkpoint, saying what changed.
    """
    found = checkpoint.read(run.checkpoint)
    if found is None or found.facts["bound"] == dict(bound):
        return found
    changed = []
    if found.facts["bound"]["images"] != bound["images"]:
        changed.append(_changes(run, listing))
    if found.facts["bound"]["weights"] != bound["weights"]:
        changed.append("the backbone's weights are others")
    raise RunError(
        f"{run.path}: this unfinished run was begun with other input: {'; '.join(changed)}. "
        f"Put back what {listings.name_of(photos)} and the backbone were, and the same command "
        "goes on; or name another folder with --out (or remove this one) to begin anew."
    )


def _changes(run: RunFolder, listing: Listing) -> str:
    """Says how the images differ from those of the run."""
    earlier = [row for row in listings.read_csv(run.listing).rows if row.digest]
    before = {(row.digest, row.label) for row in earlier}
    now = {(row.digest, row.label) for row in listing.rows if row.digest}
    contents = {digest for digest, _ in before}
    added = sum(digest not in contents for digest, _ in now - before)
    current = {digest for digest, _ in now}
    removed = sum(digest not in current for digest, _ in before - now)
    labelled = len(now - before) - added
    # Where the source says nothing of splits, they follow from what else has changed.
    placed = {(row.digest, row.label, row.split) for row in earlier}
    moved = sum(
        (row.digest, row.label) in before and (row.digest, row.label, row.split) not in placed
        for row in (listing.usable if listing.has_splits else ())
    )
    parts = [
        (added, "added"),
        (removed, "removed"),
        (labelled, "labelled otherwise"),
        (moved, "moved to another split"),
    ]
    said = ", ".join(f"{count} {words}" for count, words in parts if count)
    term = listing.noun
    return f"of the {term}s {said}" if said else f"{term}s changed"


def digest(listing: Listing) -> str:
    """Returns the digest of all images with their labels, splits and groups, wherever they lie.

    Args:
        listing: As it was found. Splits that are assigned later depend on what can be read; with
            what the source says, and the recipe's shares, they are settled.
    """
    rows = [(row.digest, row.label, row.split, row.group) for row in listing.rows if row.digest]
    return files.digest_json(sorted(rows))
