"""The report on other pictures than a run's own, with a table of what is wrong."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from frostline.base.errors import RunError
from frostline.base.files import write_json, write_text
from frostline.images.listing import Listing
from frostline.images.nouns import PICTURES, Nouns
from frostline.report import build, examples, facts, matrix, page
from frostline.report.names import short_names
from frostline.report.page import Page
from frostline.run.about import RunAbout
from frostline.scores import evaluation
from frostline.scores.evaluation import ScoredSplit


@dataclass(frozen=True)
class Judge:
    """What was evaluated, and how.

    Attributes:
        name: Of the model, as the page calls it.
        about: When, with what and by which command.
        trained: The pictures that the model was trained on, as their digests; none where nothing
            tells.
        counts: How many training pictures each class has; None where nothing tells.
    """

    name: str
    about: RunAbout
    trained: frozenset[str] = frozenset()
    counts: Mapping[str, int] | None = None


def claim(folder: Path) -> Path:
    """Returns the folder to write to, which is new, empty, or an earlier evaluation's.

    Raises:
        RunError: Where it holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"--out: {folder} is a file; name a folder.")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and not ("wrong.csv" in names and "recipe.toml" not in names):
        raise RunError(
            f"--out: {folder} holds {min(names)!r}, and is no earlier evaluation. "
            "Name a new or empty folder."
        )
    return folder


def write(folder: Path, scored: ScoredSplit, listing: Listing, judge: Judge) -> Path:
    """Writes `report.html`, `wrong.csv`, `predictions.csv`, `metrics.json` and the matrix.

    Args:
        folder: Where to write; see `claim`.
        scored: What the model said of the pictures, and how right it is.
        listing: All pictures, with what could not be read.
        judge: What was evaluated.

    Returns:
        The page.

    Raises:
        DiskError: Where something cannot be written.
    """
    labels, split = list(scored.metrics["labels"]), scored.split
    predictions = folder / "predictions.csv"
    evaluation.write_predictions(predictions, labels, [scored])
    rows = build.read_rows(predictions)
    names = short_names(row.path for row in listing.rows)
    wrong = examples.mistakes(rows, names, scored.several)
    _write_wrong(folder / "wrong.csv", wrong)
    matrix.write_confusion(scored.metrics, folder / f"confusion-{split}")
    worrying, harmless = build.sorted_notes(build.notes_of(listing, names))
    html = page.render(
        Page(
            title=f"{Path(listing.root).name or listing.nouns.plain + 's'}, judged by {judge.name}",
            byline=facts.byline(judge.about),
            parts=build.parts_of({split: scored.metrics}, rows, names, scored.several),
            mistakes=wrong,
            warnings=[*seen_before(scored, judge, listing.nouns), *worrying],
            remarks=harmless,
            trained=judge.counts,
            nouns=listing.nouns,
            facts=_facts(scored, listing, judge),
        )
    )
    page.write(folder / "report.html", html)
    # Last, so that a folder with it is whole.
    write_json(folder / "metrics.json", {split: scored.metrics})
    return folder / "report.html"


def seen_before(scored: ScoredSplit, judge: Judge, nouns: Nouns = PICTURES) -> list[str]:
    """Warns of pictures that the model was trained on: they say nothing of new ones."""
    count = sum(row.digest in judge.trained for row in scored.rows)
    if not count:
        return []
    were = "was" if count == 1 else "were"
    said = f"{count:,} of these {nouns.many(len(scored.rows))} {were} trained on"
    return [f"{said}: on new ones the model will be less right than this."]


def trained_on(listing: Listing) -> tuple[frozenset[str], dict[str, int]]:
    """Returns the digests of a run's training pictures, and how many each class has."""
    rows = listing.of("train")
    counts = Counter(tag for row in rows for tag in listing.tags(row))
    return frozenset(row.digest for row in rows if row.digest), dict(counts)


def _facts(scored: ScoredSplit, listing: Listing, judge: Judge) -> list[tuple[str, str]]:
    left_out = len(listing.problems)
    found = [
        ("command", facts.command(judge.about.command)),
        ("model", judge.name),
        (f"{listing.nouns.plain}s", f"{len(scored.rows):,} ({scored.split})"),
        ("left out", f"{left_out:,} file{'s' * (left_out != 1)}"),
        ("made with", facts.versions(judge.about)),
        ("files beside this page", "wrong.csv, predictions.csv, confusion as PNG and SVG"),
    ]
    return [(name, value) for name, value in found if value]


def _write_wrong(path: Path, wrong: Sequence[examples.Example]) -> None:
    """Writes the wrong ones, the surest first; `about` is the label meant of several."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "label", "predicted", "probability", "about"])
    for one in wrong:
        chance = f"{one.probability:.6f}"
        table.writerow([one.path, one.truth, one.predicted, chance, one.about])
    write_text(path, text.getvalue())
