"""The report of a run, and the files beside it, made from the run folder alone."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from frostline import recipe
from frostline.base.errors import RunError
from frostline.images import listing as listings
from frostline.images.listing import Listing
from frostline.images.nouns import Nouns, nouns_of
from frostline.images.rows import shown_label
from frostline.report import examples, facts, page, search
from frostline.report.names import short_names
from frostline.report.page import Page, SplitPart
from frostline.report.stages import StageResult, choices, prices, results
from frostline.run import about as run_about
from frostline.run.folder import RunFolder
from frostline.scores import metrics
from frostline.scores.sentences import cross_validated, guess_of, over_seeds

# How those remarks on pictures begin that tell of nothing wrong.
_HARMLESS = ("converted ", "passed over", "without a label", "groups stay together", "heard in ")

PredictionRows = Sequence[Mapping[str, str]]


def write(run: RunFolder) -> Path:
    """Writes `report.html` into a finished run and returns its path.

    Raises:
        RunError: Where the run is unfinished or damaged.
        DiskError: Where the page cannot be written.
    """
    page.write(run.report, page.render(_page(run)))
    return run.report


def stages_of(run: RunFolder) -> list[StageResult]:
    """Returns what each stage of a finished run came to.

    Raises:
        RunError: Where the run is unfinished or damaged.
    """
    return results(run.read_history(), run.read_metrics().get("stages", []))


def parts_of(
    scores: Mapping[str, Mapping[str, Any]],
    rows: PredictionRows,
    names: Mapping[str, str],
    several: bool,
) -> list[SplitPart]:
    """Returns what the page shows of each split.

    Args:
        scores: Of each split.
        rows: Of `predictions.csv`.
        names: What the page calls each path.
        several: Whether a picture may have several labels.
    """
    parts = []
    for split, found in scores.items():
        chosen = [row for row in rows if row["split"] == split]
        shown = examples.by_class(chosen, names, list(found["labels"]), several)
        # What is told of the winning class means nothing where there are several.
        more = {} if several or not chosen else _of_the_winner(chosen, found["labels"])
        guess = guess_of(shown_label(row["label"], several) for row in chosen)
        parts.append(SplitPart(split, {**found, **more}, guess, shown))
    return parts


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a `predictions.csv`.

    Raises:
        RunError: Where it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read: {error.strerror}. "
            "Remove the run folder and run its `frostline train` command again."
        ) from error


def notes_of(listing: Listing, names: Mapping[str, str]) -> list[str]:
    """Returns what is to be said of the pictures, with their short names."""
    short = (replace(row, path=names.get(row.path, row.path)) for row in listing.rows)
    lines = listings.report_lines(replace(listing, rows=tuple(short)))
    root = listing.root.rstrip("/\\")
    # What is said of the whole set may name where it lies.
    return [line.replace(root, Path(root).name) for line in lines] if root else lines


def _page(run: RunFolder) -> Page:
    scores, found = run.read_scores(), run.read_metrics()
    made = recipe.read(run.recipe)
    nouns, tried = nouns_of(made.data.sound), search.count(run.read_search())
    plan, history = run.read_plan(), run.read_history()
    listing = _with_notes(
        replace(listings.read_csv(run.listing), noun=nouns.term), plan.get("pictures", {})
    )
    rows = read_rows(run.predictions)
    about = run_about.read(run)
    names = short_names([*(row.path for row in listing.rows), *(row["path"] for row in rows)])
    stages = results(history, found.get("stages", []))
    counts = {name: len(listing.of(name)) for name in listings.SPLITS}
    worrying, harmless = sorted_notes(notes_of(listing, names))
    if facts.frozen_changed(plan, found):
        worrying.insert(
            0, "Frozen layers changed: this is a fault of the program, tell its makers."
        )
    return Page(
        title=run.path.resolve().name,
        byline=facts.byline(about),
        besides=_besides(found, nouns),
        parts=parts_of(scores, rows, names, listing.several),
        mistakes=examples.mistakes(rows, names, listing.several),
        warnings=[*prices(stages, counts["val"], nouns.plain), *worrying],
        remarks=[*choices(stages, counts, tried, nouns.plain), *harmless],
        stages=stages,
        search=run.read_search(),
        history=history,
        trained=Counter(tag for row in listing.of("train") for tag in listing.tags(row)),
        views=run.views.read_bytes() if run.views.is_file() else b"",
        is_varied=_is_varied(made.views),
        nouns=nouns,
        facts=facts.of_run(made, listing, plan, found, about),
    )


def _with_notes(listing: Listing, told: Mapping[str, Any]) -> Listing:
    """Adds what the plan tells of the pictures, and the table of pictures does not."""
    hidden, other = int(told.get("hidden", 0)), int(told.get("other", 0))
    known = replace(listing, skipped_hidden=hidden, skipped_other=other)
    return known.with_notes(told.get("notes", ()))


def _besides(found: Mapping[str, Any], nouns: Nouns) -> list[str]:
    crossed = found.get("cross_validation")
    return [
        *([cross_validated(crossed, nouns.term)] if crossed else []),
        *over_seeds(found.get("seeds", {"seeds": []})),
    ]


def _is_varied(views: recipe.Views) -> bool:
    own = views.policy()
    named = any(value for name, value in own.items() if name not in ("fill", "crop"))
    return views.preset != "none" or named or own.get("crop", 1) < 1


def sorted_notes(notes: Iterable[str]) -> tuple[list[str], list[str]]:
    """Parts what a reader must know from what merely was so."""
    listed = list(notes)
    harmless = [note for note in listed if note.startswith(_HARMLESS)]
    shown = [note[:1].upper() + note[1:] for note in listed if note not in harmless]
    return shown, [note[:1].upper() + note[1:] for note in harmless]


def _of_the_winner(rows: PredictionRows, labels: Sequence[str]) -> dict[str, Any]:
    truth = np.array([labels.index(row["label"]) for row in rows], dtype=np.int64)
    exact = np.array([[float(row[f"p:{name}"]) for name in labels] for row in rows])
    probabilities = exact / exact.sum(1, keepdims=True)
    more = metrics.summarise(probabilities, truth, labels)
    kept = {key: more[key] for key in ("ece", "brier")}
    return {**kept, "calibration": metrics.calibration(probabilities, truth)}
