"""The report of a run, made from the run folder alone."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frostline import recipe
from frostline.base.errors import RunError
from frostline.images import listing as listings
from frostline.images.rows import split_tags
from frostline.report import page
from frostline.run.folder import RunFolder
from frostline.scores import metrics

MISTAKES = 24


def write(run: RunFolder) -> Path:
    """Writes `report.html` into a finished run and returns its path.

    Raises:
        RunError: Where the run is unfinished or damaged.
        DiskError: Where the page cannot be written.
    """
    scores: dict[str, dict[str, Any]] = run.read_scores()
    made = recipe.read(run.recipe)
    listing = listings.read_csv(run.listing)
    plan = run.read_plan()
    # What is told of the winning class means nothing where there are several.
    predicted = {} if listing.several else _read_predictions(run.predictions)
    counts = [f"{len(listing.of(name))} {name}" for name in listings.SPLITS if listing.of(name)]
    facts = [
        ("images", ", ".join(counts)),
        ("left out", f"{len(listing.problems)} images"),
        ("backbone", made.backbone.name),
        ("head", f"{_head(made.head)}, from {made.head.start}"),
        ("line", f"{plan['line']}: {plan['share_below']:.0%} of the work lies below it"),
        ("engine", plan["engine"]),
        ("views", _views(made.views)),
        ("frozen layers unchanged", _frozen(plan, run.read_metrics())),
        ("forward passes below the line", f"{plan['rows_computed']:,}"),
    ]
    for name, (truth, probabilities) in predicted.items():
        if name in scores:
            more = metrics.summarise(probabilities, truth, scores[name]["labels"])
            scores[name] |= {"ece": more["ece"], "brier": more["brier"]}
            scores[name]["calibration"] = metrics.calibration(probabilities, truth)
    html = page.render(
        title=run.path.resolve().name,
        facts=facts,
        metrics=scores,
        history=run.read_history(),
        mistakes=_mistakes(run.predictions, listing.several),
        notes=listings.report_lines(listing),
    )
    page.write(run.report, html)
    return run.report


def _head(choice: recipe.HeadChoice) -> str:
    if choice.layers:
        return ", ".join(str(layer["type"]) for layer in choice.layers)
    return f"{choice.spec}, {choice.pooling} pooling"


def _views(views: recipe.Views) -> str:
    if views.live:
        return "new ones of each training image in every epoch"
    return f"{views.count} of each training image" if views.count > 1 else "center alone"


def _frozen(plan: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Says whether the whole run, and each stage of it, left what lies below its line alone."""
    proofs = [plan["frozen"], *found.get("stages", [])]
    return "yes, bit for bit" if all(one["unchanged"] for one in proofs) else "NO"


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read: {error.strerror}. "
            "Remove the run folder and run its `frostline train` command again."
        ) from error


def _read_predictions(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns, for each split, targets [n] and probabilities [n, classes]."""
    rows = _rows(path)
    names = [key.removeprefix("p:") for key in rows[0] if key.startswith("p:")] if rows else []
    found = {}
    for split in dict.fromkeys(row["split"] for row in rows):
        chosen = [row for row in rows if row["split"] == split]
        truth = np.array([names.index(row["label"]) for row in chosen], dtype=np.int64)
        probabilities = np.array([[float(row[f"p:{name}"]) for name in names] for row in chosen])
        found[split] = (truth, probabilities / probabilities.sum(1, keepdims=True))
    return found


def _mistakes(path: Path, several: bool = False) -> list[page.Example]:
    rows = _rows(path)
    names = [key for key in rows[0] if key.startswith("p:")] if rows else []
    wrong = [
        _worst_of_several(row, names)
        if several
        else page.Example(
            row["path"], row["label"], row["predicted"], float(row[f"p:{row['predicted']}"])
        )
        for row in rows
        if row["label"] != row["predicted"]
    ]
    return sorted(wrong, key=lambda example: -example.wrongness)[:MISTAKES]


def _worst_of_several(row: dict[str, str], names: Sequence[str]) -> page.Example:
    """Returns a picture with the label that the model is most sure of and wrong about."""
    truth, said = split_tags(row["label"]), split_tags(row["predicted"])
    wrong = set(truth) ^ set(said)
    probabilities = {name.removeprefix("p:"): float(row[name]) for name in names}
    worst = max(sorted(wrong), key=lambda name: abs(probabilities[name] - 0.5))
    return page.Example(row["path"], ", ".join(truth), ", ".join(said), probabilities[worst], worst)
