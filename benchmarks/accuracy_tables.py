"""What `accuracy.py` makes of its runs: their scores, one table, and what must hold.

A picture of the test split is predicted once for each seed. Seeds are pooled, and intervals take
the picture, or its group, for the unit that was drawn: three answers to one picture are not three
pictures.
"""

import csv
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from common import bar, table
from frostline.scores.group_interval import grouped_wilson
from frostline.training import scoring
from frostline.training.scoring import Score

# Set, network, method, options: its results, one for each seed.
Asked = Mapping[tuple[str, str, str, str], Sequence["Result"]]
# Set, network, column: what is told of it.
Columns = dict[tuple[str, str, str], "Told"]
REFERENCES = ("reference", "by the rule")
_LEAST = 1e-12


@dataclass(frozen=True)
class Result:
    """One run on its val and test split; `count` is 0 where it failed.

    Attributes:
        seconds: Of the whole process.
        accuracy: On val, as are the next three.
        loss: Log-loss, in nats.
        scaled_loss: The same after temperature scaling.
        count: How many images.
        right: Of each test picture, in the order of the paths: 1 where it is predicted rightly.
        groups: The group of each, or its path.
    """

    seconds: float = 0.0
    accuracy: float = 0.0
    loss: float = 0.0
    scaled_loss: float = 0.0
    count: int = 0
    right: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    @property
    def score(self) -> Score:
        """On val."""
        return Score(self.loss, self.accuracy, self.count, self.scaled_loss)


@dataclass(frozen=True)
class Told:
    """A method on one set with one network, all seeds together."""

    accuracy: float
    low: float
    high: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.accuracy:.4f} ({self.low:.3f} to {self.high:.3f}), {self.seconds:.0f} s"


def result_of(predictions: Path, pictures: Path, seconds: float, several: bool) -> Result:
    """Reads a `predictions.csv` as `frostline train` writes it.

    Args:
        predictions: split, path, label, predicted, and the probability of each class.
        pictures: The table that was trained on; it knows the groups.
        seconds: Of the whole process.
        several: Whether a picture may have several labels.
    """
    rows = sorted(_rows(predictions), key=lambda row: row["path"])
    val = _score([row for row in rows if row["split"] == "val"], several)
    test = [row for row in rows if row["split"] == "test"]
    groups = {row["path"]: row.get("group", "") for row in _rows(pictures)}
    right = [int(_labels(row["label"]) == _labels(row["predicted"])) for row in test]
    units = [groups[row["path"]] or row["path"] for row in test]
    assert val.scaled_loss is not None
    return Result(seconds, val.accuracy, val.loss, val.scaled_loss, val.count, right, units)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _labels(cell: str) -> set[str]:
    return set(filter(None, cell.split(";")))


def _score(rows: Sequence[Mapping[str, str]], several: bool) -> Score:
    names = [key.removeprefix("p:") for key in rows[0] if key.startswith("p:")]
    values = [[float(row[f"p:{name}"]) for name in names] for row in rows]
    said = torch.tensor(values, dtype=torch.float64).clamp(_LEAST, 1 - _LEAST)
    if not several:
        targets = torch.tensor([names.index(row["label"]) for row in rows])
        return scoring.score_logits(said.log(), targets, "multiclass")
    shown = [[float(name in _labels(row["label"])) for name in names] for row in rows]
    return scoring.score_logits(said.logit(), torch.tensor(shown), "multilabel")


def print_results(asked: Asked, seeds: int) -> Columns:
    """Prints a row for each set and network, and the means; returns what stands there."""
    columns: Columns = {}
    for name, network in dict.fromkeys((key[0], key[1]) for key in asked):
        mine = {key[2:]: runs for key, runs in asked.items() if key[:2] == (name, network)}
        for column, runs, seconds in _chosen(mine):
            columns[name, network, column] = _told(runs, seconds)
    headings = list(dict.fromkeys(column for _, _, column in columns))
    rows = [
        [name, network, seeds, *(columns[name, network, one] for one in headings)]
        for name, network in dict.fromkeys((key[0], key[1]) for key in asked)
    ]
    means = [f"{_mean(columns, one):.4f}, {_seconds(columns, one):.0f} s" for one in headings]
    table(["set", "network", "seeds", *headings], [*rows, ["mean", "", "", *means]])
    return columns


Choice = tuple[str, list[Result], float]


def _chosen(mine: Mapping[tuple[str, str], Sequence[Result]]) -> list[Choice]:
    """Returns for each column its name, the run that is taken for each seed, and mean seconds."""
    choices: list[Choice] = []
    for method in dict.fromkeys(method for method, _ in mine):
        by_seed = list(zip(*(runs for key, runs in mine.items() if key[0] == method), strict=True))
        best = [max(_finished(runs), key=lambda one: (one.accuracy, -one.loss)) for runs in by_seed]
        if method != "reference":
            choices.append((method, best, statistics.mean(one.seconds for one in best)))
            continue
        seconds = statistics.mean(sum(one.seconds for one in runs) for runs in by_seed)
        choices.append((REFERENCES[0], best, seconds))
        choices.append((REFERENCES[1], [_by_rule(_finished(runs)) for runs in by_seed], seconds))
    return choices


def _finished(runs: Sequence[Result]) -> list[Result]:
    return [one for one in runs if one.count]


def _by_rule(runs: Sequence[Result]) -> Result:
    return runs[scoring.best_of([one.score for one in runs])]


def _told(runs: Sequence[Result], seconds: float) -> Told:
    right = [one for result in runs for one in result.right]
    low, high = grouped_wilson(right, [unit for result in runs for unit in result.groups])
    return Told(statistics.mean(right), low or 0.0, 1.0 if high is None else high, seconds)


def _mean(columns: Columns, column: str, name: str | None = None) -> float:
    """Returns the mean accuracy over networks of one set, or of all."""
    return statistics.mean(
        told.accuracy
        for key, told in columns.items()
        if key[2] == column and name in (None, key[0])
    )


def _seconds(columns: Columns, column: str) -> float:
    return statistics.mean(told.seconds for key, told in columns.items() if key[2] == column)


def bars(columns: Columns) -> None:
    """Says what must hold of what was run; of the two references the better in the mean counts."""
    there = {key[2] for key in columns}
    if "reference" in there:
        reference = max(REFERENCES, key=lambda one: _mean(columns, one))
        if "default" in there:
            _behind(columns, "default", reference, 0.7)
            _worst(columns, "default", reference, 2.0)
        if "time" in there:
            _behind(columns, "time", reference, 0.2)
    if {"default", "fastai"} <= there:
        _against_fastai(columns)


def _behind(columns: Columns, column: str, reference: str, most: float) -> None:
    points = 100 * (_mean(columns, reference) - _mean(columns, column))
    what = f"{column}, behind the {_named(reference)}, mean"
    bar(what, f"≤ {most:g} points", f"{points:+.2f} points", points <= most)


def _worst(columns: Columns, column: str, reference: str, most: float) -> None:
    points = {
        name: 100 * (_mean(columns, reference, name) - _mean(columns, column, name))
        for name in dict.fromkeys(key[0] for key in columns)
    }
    told = ", ".join(f"{name} {value:+.2f}" for name, value in points.items())
    met = max(points.values()) <= most
    bar(f"{column}, behind the {_named(reference)}, each set", f"≤ {most:g} points", told, met)


def _named(reference: str) -> str:
    return "reference" if reference == REFERENCES[0] else f"reference {reference}"


def _against_fastai(columns: Columns) -> None:
    cases = list(dict.fromkeys(key[:2] for key in columns))
    lost = [
        " with ".join(case)
        for case in cases
        if columns[*case, "default"].high < columns[*case, "fastai"].accuracy
    ]
    told = ", ".join(lost) or "all"
    wanted = "fastai's at its best length within our interval"
    bar("default, each set and network", wanted, told if not lost else f"not {told}", not lost)
    mine, theirs = _mean(columns, "default"), _mean(columns, "fastai")
    bar("default, mean", "better than fastai's", f"{mine:.4f} and {theirs:.4f}", mine > theirs)
    share = _seconds(columns, "default") / _seconds(columns, "fastai")
    bar("its time", "≤ 0.2 of fastai's", f"1/{1 / share:.1f}", share <= 0.2)
