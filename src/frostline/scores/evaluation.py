"""Scoring a split: predictions compared with labels, metrics, and `predictions.csv`."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from frostline.base.files import write_text
from frostline.images.rows import Row, join_tags, split_tags
from frostline.scores import metrics
from frostline.scores.group_interval import grouped_wilson

# The part of `metrics.summarise` that goes to metrics.json; the rest is for the report. Of
# `metrics.summarise_multilabel`, everything goes there.
KEYS = (
    "n",
    "accuracy",
    "accuracy_ci95",
    "log_loss",
    "macro_f1",
    "per_class",
    "confusion",
    "labels",
)


@dataclass(frozen=True)
class ScoredSplit:
    """The images of one split with their predicted probabilities and metrics.

    Attributes:
        split: Its name.
        rows: The images.
        probabilities: [n, classes], float64.
        metrics: As in `metrics.json`.
        several: Whether this is multi-label: an image may have any number of labels.
    """

    split: str
    rows: tuple[Row, ...]
    probabilities: np.ndarray
    metrics: dict[str, Any]
    several: bool = False


def scored(
    split: str,
    rows: Sequence[Row],
    probabilities: Tensor,
    labels: Sequence[str],
    several: bool = False,
) -> ScoredSplit:
    """Compares probabilities with the rows' labels and computes the metrics.

    Args:
        split: The split's name.
        rows: The images; all their labels must be in `labels`.
        probabilities: [n, classes]; independent of each other if multi-label.
        labels: Class names, in the order of the columns.
        several: Whether this is multi-label: an image may have any number of labels.
    """
    column = {label: index for index, label in enumerate(labels)}
    values = probabilities.double().numpy()
    if several:
        truth = np.zeros(values.shape, dtype=np.bool_)
        for position, row in enumerate(rows):
            truth[position, [column[tag] for tag in split_tags(row.label)]] = True
        summary = metrics.summarise_multilabel(values, truth, labels)
        summary |= _by_group(rows, ((values >= metrics.THRESHOLD) == truth).all(1))
        return ScoredSplit(split, tuple(rows), values, summary, several)
    targets = np.array([column[row.label] for row in rows], dtype=np.int64)
    summary = metrics.summarise(values, targets, labels)
    kept = {key: summary[key] for key in KEYS}
    kept |= _by_group(rows, values.argmax(1) == targets)
    return ScoredSplit(split, tuple(rows), values, kept)


def _by_group(rows: Sequence[Row], correct: np.ndarray) -> dict[str, Any]:
    """Returns the interval of the accuracy by group, where images have groups."""
    if not any(row.group for row in rows):
        return {}
    # An image without a group is one of its own.
    groups = [("group", row.group) if row.group else ("image", row.path) for row in rows]
    low, high = grouped_wilson(correct, groups)
    # One group alone says nothing of others.
    ends = [0.0, 1.0] if low is None or high is None else [low, high]
    return {"groups": len(set(groups)), "accuracy_ci95": ends}


def summary(split: str, scores: Mapping[str, Any]) -> str:
    """Returns the main metrics of a split as one readable line."""
    low, high = scores["accuracy_ci95"]
    several = "mean_average_precision" in scores
    kind = "exact match" if several else "accuracy"
    ranking = f", mAP {_format(scores['mean_average_precision'])}" if several else ""
    by_group = f" by {scores['groups']} groups" if "groups" in scores else ""
    return (
        f"{split}: {kind} {scores['accuracy']:.4f} (95 % interval{by_group} {low:.3f} to "
        f"{high:.3f}, n = {scores['n']}){ranking}, log-loss {scores['log_loss']:.4f}, "
        f"macro F1 {_format(scores['macro_f1'])}"
    )


def write_predictions(path: Path, labels: Sequence[str], parts: Iterable[ScoredSplit]) -> None:
    """Writes one CSV row per image: split, path, label, prediction, probability of each class.

    Several labels of one image, true or predicted, are joined by `;`.

    Raises:
        DiskError: If it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["split", "path", "label", "predicted", *(f"p:{name}" for name in labels)])
    for part in parts:
        for row, probabilities in zip(part.rows, part.probabilities, strict=True):
            columns = [f"{probability:.6g}" for probability in probabilities]
            predicted = _predicted(probabilities, labels, part.several)
            table.writerow([part.split, row.path, row.label, predicted, *columns])
    write_text(path, text.getvalue())


def _format(value: float | None) -> str:
    """Returns four decimals, or `n/a` if the value is undefined."""
    return "n/a" if value is None else f"{value:.4f}"


def _predicted(probabilities: np.ndarray, labels: Sequence[str], several: bool) -> str:
    """Returns the predicted label or labels of an image, from its probabilities [classes]."""
    if several:
        indices = np.flatnonzero(probabilities >= metrics.THRESHOLD).tolist()
        return join_tags(labels[index] for index in indices)
    return labels[int(probabilities.argmax())]
