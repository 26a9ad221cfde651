"""Scores: what a model says of labelled images, and how right it is."""

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

# What metrics.json holds for each split; the rest of `metrics.summarise` is for the report. Where
# images have several labels, it holds all of `metrics.summarise_multilabel`.
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
    """One split's images, with what the model says of each.

    Attributes:
        split: Its name.
        rows: The images.
        probabilities: [n, classes], float64.
        metrics: As in `metrics.json`.
        several: Whether each image may have any number of labels.
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
    """Scores probabilities against the rows' labels, by name.

    Args:
        split: Its name.
        rows: The images; `labels` has all of their labels.
        probabilities: [n, classes]; of each label by itself where there are several an image.
        labels: Class names, in the order of the columns.
        several: Whether each image may have any number of labels.
    """
    number = {label: index for index, label in enumerate(labels)}
    exact = probabilities.double().numpy()
    if several:
        has = np.zeros(exact.shape, dtype=np.bool_)
        for position, row in enumerate(rows):
            has[position, [number[tag] for tag in split_tags(row.label)]] = True
        found = metrics.summarise_multilabel(exact, has, labels)
        return ScoredSplit(split, tuple(rows), exact, found, several)
    targets = np.array([number[row.label] for row in rows], dtype=np.int64)
    found = metrics.summarise(exact, targets, labels)
    return ScoredSplit(split, tuple(rows), exact, {key: found[key] for key in KEYS})


def summary(split: str, found: Mapping[str, Any]) -> str:
    """Returns one line for a person."""
    low, high = found["accuracy_ci95"]
    several = "mean_average_precision" in found
    kind = "exact match" if several else "accuracy"
    ranked = f", mAP {_shown(found['mean_average_precision'])}" if several else ""
    return (
        f"{split}: {kind} {found['accuracy']:.4f} (95 % interval {low:.3f} to {high:.3f}, "
        f"n = {found['n']}){ranked}, log-loss {found['log_loss']:.4f}, "
        f"macro F1 {_shown(found['macro_f1'])}"
    )


def write_predictions(path: Path, labels: Sequence[str], parts: Iterable[ScoredSplit]) -> None:
    """Writes one CSV row per image: split, path, label, prediction, and each class's probability.

    Several labels of an image, true or predicted, have `;` between them.

    Raises:
        DiskError: Where it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["split", "path", "label", "predicted", *(f"p:{name}" for name in labels)])
    for part in parts:
        for row, probabilities in zip(part.rows, part.probabilities, strict=True):
            digits = [f"{chance:.6g}" for chance in probabilities]
            best = _said(probabilities, labels, part.several)
            table.writerow([part.split, row.path, row.label, best, *digits])
    write_text(path, text.getvalue())


def _shown(value: float | None) -> str:
    """Says n/a of what is undefined."""
    return "n/a" if value is None else f"{value:.4f}"


def _said(probabilities: np.ndarray, labels: Sequence[str], several: bool) -> str:
    """Returns what probabilities [classes] say of an image."""
    if several:
        likely = np.flatnonzero(probabilities >= metrics.THRESHOLD).tolist()
        return join_tags(labels[index] for index in likely)
    return labels[int(probabilities.argmax())]
