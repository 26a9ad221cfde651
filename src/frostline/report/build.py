"""The report of a run, made from the run folder alone."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from frostline import metrics, recipe
from frostline.data import listing as listings
from frostline.errors import RunError
from frostline.report import page
from frostline.runfolder import RunFolder

MISTAKES = 24


def write(run: RunFolder) -> Path:
    """Writes `report.html` into a finished run and returns its path.

    Raises:
        RunError: Where the run is unfinished or damaged.
        DiskError: Where the page cannot be written.
    """
    scores: dict[str, dict[str, Any]] = run.read_metrics()
    made = recipe.read(run.recipe)
    listing = listings.read_csv(run.listing)
    plan = run.read_plan()
    predicted = _read_predictions(run.predictions)
    counts = [f"{len(listing.of(name))} {name}" for name in listings.SPLITS if listing.of(name)]
    facts = [
        ("images", ", ".join(counts)),
        ("left out", f"{len(listing.problems)} images"),
        ("backbone", made.backbone.name),
        ("head", f"{made.head.spec}, {made.head.pooling} pooling, from {made.head.start}"),
        ("line", f"{plan['line']}: {plan['share_below']:.0%} of the work lies below it"),
        ("engine", plan["engine"]),
        ("views", f"{plan['views']} of each image (center)"),
        ("frozen layers unchanged", "yes, bit for bit" if plan["frozen"]["unchanged"] else "NO"),
    ]
    for name, (truth, chances) in predicted.items():
        if name in scores:
            more = metrics.summarise(chances, truth, scores[name]["labels"])
            scores[name] |= {"ece": more["ece"], "brier": more["brier"]}
            scores[name]["calibration"] = metrics.calibration(chances, truth)
    html = page.render(
        title=run.path.resolve().name,
        facts=facts,
        metrics=scores,
        history=run.read_history(),
        mistakes=_mistakes(run.predictions),
        notes=listings.report_lines(listing),
    )
    page.write(run.report, html)
    return run.report


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
        chances = np.array([[float(row[f"p:{name}"]) for name in names] for row in chosen])
        found[split] = (truth, chances / chances.sum(1, keepdims=True))
    return found


def _mistakes(path: Path) -> list[page.Example]:
    wrong = [
        page.Example(
            row["path"], row["label"], row["predicted"], float(row[f"p:{row['predicted']}"])
        )
        for row in _rows(path)
        if row["label"] != row["predicted"]
    ]
    return sorted(wrong, key=lambda example: -example.probability)[:MISTAKES]
