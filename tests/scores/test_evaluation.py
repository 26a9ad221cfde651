"""Scores of a split, of one label an image and of several."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from frostline.images.listing import Row
from frostline.scores import evaluation

ONE = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
MANY = torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.1, 0.3], [0.7, 0.2, 0.6]])


def rows(*labels: str) -> list[Row]:
    return [Row(f"{number}.png", label) for number, label in enumerate(labels)]


def written(path: Path, labels: list[str], *parts: evaluation.ScoredSplit) -> list[list[str]]:
    evaluation.write_predictions(path, labels, parts)
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_one_label_an_image(tmp_path: Path) -> None:
    part = evaluation.scored("val", rows("ant", "bee", "ant"), ONE, ["ant", "bee"])
    assert tuple(part.metrics) == evaluation.KEYS
    assert not part.several
    assert evaluation.summary("val", part.metrics) == (
        "val: accuracy 0.6667 (95 % interval 0.208 to 0.939, n = 3), log-loss 0.6067, "
        "macro F1 0.6667"
    )
    assert written(tmp_path / "p.csv", ["ant", "bee"], part) == [
        ["split", "path", "label", "predicted", "p:ant", "p:bee"],
        ["val", "0.png", "ant", "ant", "0.9", "0.1"],
        ["val", "1.png", "bee", "bee", "0.4", "0.6"],
        ["val", "2.png", "ant", "bee", "0.3", "0.7"],
    ]


def test_several_labels_an_image(tmp_path: Path) -> None:
    labels = ["cat", "ant", "bee"]
    part = evaluation.scored("val", rows("ant;cat", "", "cat"), MANY, labels, several=True)
    assert part.several
    assert part.metrics["accuracy"] == pytest.approx(2 / 3)
    assert part.metrics["per_class"]["cat"]["average_precision"] == 1.0
    assert part.metrics["confusion"] == [[[1, 0], [0, 2]], [[2, 0], [0, 1]], [[2, 1], [0, 0]]]
    assert written(tmp_path / "p.csv", labels, part) == [
        ["split", "path", "label", "predicted", "p:cat", "p:ant", "p:bee"],
        ["val", "0.png", "ant;cat", "ant;cat", "0.9", "0.5", "0.1"],
        ["val", "1.png", "", "", "0.2", "0.1", "0.3"],
        ["val", "2.png", "cat", "bee;cat", "0.7", "0.2", "0.6"],
    ]


def test_summary_of_several_labels() -> None:
    part = evaluation.scored("test", rows("ant;cat", "", "cat"), MANY, ["cat", "ant", "bee"], True)
    assert evaluation.summary("test", part.metrics) == (
        "test: exact match 0.6667 (95 % interval 0.208 to 0.939, n = 3), mAP 1.0000, "
        "log-loss 0.3428, macro F1 0.6667"
    )
    none = evaluation.scored("test", rows(""), MANY[1:2], ["cat", "ant", "bee"], True)
    assert "mAP n/a, " in evaluation.summary("test", none.metrics)
    assert evaluation.summary("test", none.metrics).endswith("macro F1 n/a")


@pytest.mark.parametrize("several", [False, True])
def test_the_interval_goes_by_group_where_there_are_any(several: bool) -> None:
    said, truth = torch.tensor([[0.9, 0.1]] * 6), ("ant", "ant", "bee", "bee", "ant", "ant")
    groups = ("first", "first", "second", "second", "", "")
    grouped = [replace(row, group=group) for row, group in zip(rows(*truth), groups, strict=True)]
    plain = evaluation.scored("val", rows(*truth), said, ["ant", "bee"], several).metrics
    part = evaluation.scored("val", grouped, said, ["ant", "bee"], several).metrics
    # Each of the images without a group is one of its own.
    assert part["groups"] == 4
    assert "groups" not in plain
    assert part["accuracy"] == plain["accuracy"]
    low, high = part["accuracy_ci95"]
    assert low < plain["accuracy_ci95"][0]
    assert high > plain["accuracy_ci95"][1]
    assert "interval by 4 groups 0." in evaluation.summary("val", part)


def test_one_group_alone_says_nothing() -> None:
    same = [Row(f"{n}.png", "ant", group="one") for n in range(3)]
    assert evaluation.scored("val", same, ONE, ["ant", "bee"]).metrics["accuracy_ci95"] == [0, 1]
