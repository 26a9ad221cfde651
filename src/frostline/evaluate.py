"""Scores: what a model says of labelled images, and how right it is."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from frostline import metrics
from frostline.data.listing import Row
from frostline.files import write_text

# What metrics.json holds for each split; the rest of `metrics.summarise` is for the report.
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
class Scored:
    """One split's images, with what the model says of each.

    Attributes:
        split: Its name.
        rows: The images.
        probabilities: [n, classes], float64.
        metrics: As in `metrics.json`.
    """

    split: str
    rows: tuple[Row, ...]
    probabilities: np.ndarray
    metrics: dict[str, Any]


def scored(split: str, rows: Sequence[Row], chances: Tensor, labels: Sequence[str]) -> Scored:
    """Scores probabilities [n, classes] against the rows' labels, by name."""
    number = {label: index for index, label in enumerate(labels)}
    targets = np.array([number[row.label] for row in rows], dtype=np.int64)
    probabilities = chances.double().numpy()
    found = metrics.summarise(probabilities, targets, labels)
    return Scored(split, tuple(rows), probabilities, {key: found[key] for key in KEYS})


def summary(split: str, found: Mapping[str, Any]) -> str:
    """Returns one line for a person."""
    low, high = found["accuracy_ci95"]
    return (
        f"{split}: accuracy {found['accuracy']:.4f} (95 % interval {low:.3f} to {high:.3f}, "
        f"n = {found['n']}), log-loss {found['log_loss']:.4f}, macro F1 {found['macro_f1']:.4f}"
    )


def write_predictions(path: Path, labels: Sequence[str], parts: Iterable[Scored]) -> None:
    """Writes one CSV row per image: split, path, label, prediction, and each class's probability.

    Raises:
        DiskError: Where it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["split", "path", "label", "predicted", *(f"p:{name}" for name in labels)])
    for part in parts:
        for row, chances in zip(part.rows, part.probabilities, strict=True):
            best = labels[int(chances.argmax())]
            shown = [f"{chance:.6g}" for chance in chances]
            table.writerow([part.split, row.path, row.label, best, *shown])
    write_text(path, text.getvalue())
