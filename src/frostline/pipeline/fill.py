"""The third step: every image is seen once and its activations are kept; then splits are final."""

from dataclasses import dataclass, replace

from frostline.activations.extraction import ImageView
from frostline.activations.sources import image_views_of
from frostline.images import listing as listings
from frostline.images import splits
from frostline.images.augment import CENTER, Policy, View, ViewPolicy
from frostline.images.listing import Listing
from frostline.pipeline import messages
from frostline.pipeline.examples import labelled, problems_by_path, sorted_rows
from frostline.pipeline.planning import Planned
from frostline.pipeline.prepare import refuse_unreadable, with_labels
from frostline.pipeline.stage_sources import StageSources
from frostline.planner import policy_of, view_count
from frostline.recipe import Recipe
from frostline.run.folder import RunFolder
from frostline.sound.loading import files_of
from frostline.training.examples import Examples


@dataclass(frozen=True)
class Filled:
    """All activations are there.

    Attributes:
        planned: The plan; its model has the classes that can be learned.
        listing: With what cannot be read left out, and with final splits; of sounds, their windows.
        files: The same as files, for people.
        sources: The network cut at each stage's line, with its activations.
        validation: The validation images; None where there are none.
    """

    planned: Planned
    listing: Listing
    files: Listing
    sources: StageSources
    validation: Examples | None


def fill(planned: Planned, sources: StageSources, run: RunFolder | None = None) -> Filled:
    """Sees every image once, with all views that training will need.

    Args:
        planned: The plan.
        sources: Of its lines.
        run: Where the listing is written; nowhere where None.

    Raises:
        ListingError: Where too few images can be read, or the recipe is strict.
    """
    recipe, console = planned.recipe, planned.prepared.request.console
    policy = policy_of(recipe)
    _report_views(planned, policy)
    before = planned.prepared.listing
    listing = _first_pass(sources, before, recipe, policy)
    found = planned.prepared.request.listing
    files = files_of(listing, found)
    if run is not None:
        listings.write_csv(files, run.listing)
    refuse_unreadable(files, recipe.data.strict)
    messages.pictures(files, console, files_of(before, found))
    messages.images(files, planned.prepared.targets, console)
    prepared = with_labels(planned.prepared, listing.labels)
    if prepared is not planned.prepared:
        planned = replace(planned, prepared=prepared)
        sources = StageSources(planned)
    validation = labelled(sorted_rows(listing.of("val")), listing, prepared.model)
    return Filled(planned, listing, files, sources, validation)


def _first_pass(
    sources: StageSources, listing: Listing, recipe: Recipe, policy: ViewPolicy
) -> Listing:
    count = view_count(recipe, policy)
    if recipe.search.enabled and recipe.budget.time_min is None:
        # Where the probe leaves nothing to gain, no more are needed.
        count = min(count, 1)
    views = [View(number, policy) for number in range(count)]
    wanted: dict[bytes, ImageView] = {}
    for row in listing.usable:
        wanted |= image_views_of([row], [CENTER, *views] if row.split == "train" else [CENTER])
    problems = sources.first().prepare(wanted)
    listing = listing.with_problems(problems_by_path(problems, listing))
    # Without what cannot be read, the split may be another.
    listing = listing if listing.has_splits else _without_splits(listing)
    return splits.assign(listing, recipe.data.val, recipe.data.test, recipe.seed)


def _without_splits(listing: Listing) -> Listing:
    return replace(listing, rows=tuple(replace(row, split="") for row in listing.rows))


def _report_views(planned: Planned, policy: ViewPolicy) -> None:
    """Says how many views training will see, which may be fewer than there might have been."""
    recipe, console = planned.recipe, planned.prepared.request.console
    count, live = view_count(recipe, policy), recipe.views.live
    if not policy.varies and recipe.views.count > 1:
        console.say(
            f"views.count = {recipe.views.count} means nothing here: nothing varies the views; "
            "name a preset (--augment)"
        )
    is_varied = count > 0 or (live and any(stage.augment for stage in recipe.stages))
    shown, words = policy if is_varied else Policy(), planned.prepared.listing.nouns
    messages.views(shown, count, live, recipe.views.refresh, words, console)
