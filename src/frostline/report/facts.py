"""What a run was made of, as names and values for the report."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from frostline import recipe
from frostline.base.paths import without_folders
from frostline.images import listing as listings
from frostline.images.listing import Listing
from frostline.images.nouns import nouns_of
from frostline.report.text import date
from frostline.run.about import RunAbout

_BESIDE = "results.csv (every epoch), confusion and curves as PNG and SVG, views.jpg"


def of_run(
    made: recipe.Recipe,
    listing: Listing,
    plan: Mapping[str, Any],
    found: Mapping[str, Any],
    about: RunAbout | None,
) -> list[tuple[str, str]]:
    """Returns the facts, those a reader asks for first in front.

    Args:
        made: The recipe, with every choice written out.
        listing: All pictures.
        plan: What `plan.json` holds.
        found: What `metrics.json` holds.
        about: What `run.json` holds; None in runs that have none.
    """
    counts = [f"{len(listing.of(name)):,} {name}" for name in listings.SPLITS if listing.of(name)]
    took_s = plan.get("measured", {}).get("total_s")
    noun = nouns_of(made.data.sound).plain
    facts = [
        ("command", _command(about)),
        (f"{noun}s", ", ".join(counts)),
        ("left out", _files(len(listing.problems))),
        ("recipe", made.about),
        ("network", without_folders(made.backbone.name)),
        ("head", f"{head(made.head)}, from {made.head.start}"),
        ("frost line", f"{plan['line']}: {plan['share_below']:.0%} of the work lies below it"),
        ("frozen layers unchanged", _frozen(plan, found)),
        ("views", _views(made.views, noun)),
        ("time for passes and epochs", f"{took_s:,.0f} s" if took_s is not None else ""),
        ("passes below the line", f"{plan['rows_computed']:,}"),
        ("engine", plan["engine"]),
        ("made with", versions(about)),
        ("files beside this page", f"predictions.csv (every {noun}), {_BESIDE}"),
    ]
    return [(name, value) for name, value in facts if value]


def byline(about: RunAbout | None) -> list[str]:
    """Returns when and with what a run was made; nothing where nothing tells."""
    return [date(about.finished), f"Frostline {about.frostline}"] if about else []


def head(choice: recipe.HeadChoice) -> str:
    """Returns what a head is, in few words."""
    if choice.layers:
        return ", ".join(str(layer["type"]) for layer in choice.layers)
    return f"{choice.spec}, {choice.pooling} pooling"


def command(words: Sequence[str]) -> str:
    """Returns a command as it was typed, without the folders of absolute paths."""
    return shlex.join(without_folders(word) for word in words).replace("'…", "…").replace("'", "")


def frozen_changed(plan: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Says whether the run, or any stage of it, changed what lies below its line."""
    proofs = [plan["frozen"], *found.get("stages", [])]
    return not all(one["unchanged"] for one in proofs)


def _command(about: RunAbout | None) -> str:
    if about is None:
        return ""
    return command(about.command) if about.command else "frostline.train, from Python"


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def _views(views: recipe.Views, noun: str) -> str:
    if views.live:
        return f"new ones of each training {noun} in every epoch"
    return f"{views.count} of each training {noun}" if views.count > 1 else "center alone"


def _frozen(plan: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    return "NO" if frozen_changed(plan, found) else "yes, bit for bit"


def versions(about: RunAbout | None) -> str:
    """Returns what a run was made with; nothing where nothing tells."""
    if about is None:
        return ""
    packages = [f"{name} {version}" for name, version in about.packages.items()]
    return ", ".join([f"Python {about.python}", *packages, about.system])
