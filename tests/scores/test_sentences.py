"""Scores in plain words."""

from typing import Any

import numpy as np
import pytest

from frostline.scores.metrics import summarise, summarise_multilabel
from frostline.scores.sentences import (
    Guess,
    counted,
    cross_validated,
    doubts,
    guess_from,
    guess_of,
    over_seeds,
    percent,
    verdict,
)


def scores(counts: list[list[int]], labels: list[str] | None = None) -> dict[str, Any]:
    """Returns the scores of a confusion matrix: rows the truth, columns the prediction."""
    truth, predicted = [], []
    for row, cells in enumerate(counts):
        for column, count in enumerate(cells):
            truth += [row] * count
            predicted += [column] * count
    names = labels or ["ants", "bees", "wasps"][: len(counts)]
    return summarise(np.eye(len(counts))[predicted], truth, names)


def test_the_sentence_of_a_small_set() -> None:
    assert verdict(scores([[28, 2], [3, 27]])) == (
        "55 of 60 right (92 %), with so few the truth may lie between 82 % and 96 %; "
        "always saying 'ants' would be 50 %."
    )


def test_the_sentence_of_a_large_set_names_no_cause() -> None:
    assert verdict(scores([[2800, 200], [300, 2700]])) == (
        "5,500 of 6,000 right (92 %); the truth may lie between 91 % and 92 %; "
        "always saying 'ants' would be 50 %."
    )


def test_the_sentence_of_several_labels() -> None:
    probabilities = [[0.9, 0.2], [0.6, 0.7], [0.4, 0.5], [0.1, 0.1]]
    has = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], dtype=bool)
    found = summarise_multilabel(probabilities, has, ["ant", "bee"])
    assert guess_from(found) is None
    assert verdict(found).startswith("2 of 4 with every label right (50 %), with so few the truth")
    assert verdict(found, guess_of(["ant", "bee", "ant", ""])).endswith(
        "always saying 'ant' would be 50 %."
    )
    assert verdict(found, Guess("", 0.6)).endswith("always saying nothing would be 60 %.")


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        *((0.0, "0 %"), (1.0, "100 %"), (0.916, "92 %"), (0.996, "99.6 %"), (0.9999, "99.99 %")),
        *((0.004, "0.4 %"), (0.00004, "almost 0 %"), (0.9999999, "almost 100 %"), (0.5, "50 %")),
    ],
)
def test_what_is_not_all_is_never_told_as_all(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_the_commonest_answer_is_the_guess() -> None:
    assert guess_of([]) is None
    assert guess_of(["b", "a", "b"]) == Guess("b", 2 / 3)
    assert guess_of(["b", "a"]) == Guess("a", 0.5), "of equal ones the first by name"
    assert guess_from(scores([[1, 2], [3, 4]])) == Guess("bees", 0.7)


def test_a_score_no_better_than_guessing_is_said_to_be_so() -> None:
    assert doubts(scores([[10, 20], [5, 25]])) == [
        "With 60 pictures this cannot be told from guessing by always saying 'ants'."
    ]
    (line,) = doubts(scores([[10, 20], [20, 10]]))
    assert line.startswith("No better than guessing: always saying 'ants' would be right as often")
    assert doubts(scores([[28, 2], [3, 27]])) == []


def test_one_class_alone_is_no_matter_of_guessing() -> None:
    assert doubts(scores([[3, 0], [0, 0]])) == []


def test_classes_that_were_never_recognised_are_named() -> None:
    good = [[60, 0, 0], [0, 60, 0]]
    assert doubts(scores([*good, [6, 0, 0]])) == [
        "None of the 6 pictures of 'wasps' was recognised."
    ]
    assert doubts(scores([*good, [1, 0, 0]])) == ["The only picture of 'wasps' was not recognised."]
    assert doubts(scores([*good, [0, 0, 0]])) == [], "nothing was there to be recognised"
    two = doubts(scores([[60, 0, 0], [2, 0, 0], [1, 0, 0]]))
    assert two[-1] == "Of 2 classes no picture was recognised: 'bees' (2), 'wasps' (1)."


def test_counts_are_told_the_commonest_first() -> None:
    assert counted(["bees", "ants", "bees", ""]) == "bees 2, none 1, ants 1"
    assert counted([str(k) for k in range(10)], most=8).endswith("7 1, 2 other classes 2")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"several": False}, "56 right, 93 % (84 % to 97 %)"),
        (
            {"several": True, "groups": 8},
            "56 with every label right, 93 % (84 % to 97 %, by 8 groups)",
        ),
    ],
)
def test_a_cross_validation_is_named_for_what_it_is(more: dict[str, Any], words: str) -> None:
    found = {"of": "probe", "folds": 10, "n": 60, "accuracy": 56 / 60}
    assert cross_validated({**found, "accuracy_ci95": [0.84, 0.97], **more}) == (
        f"10-fold cross-validation of the probe over all 60 images of train and val: {words}"
    )


def test_seeds_are_told_for_each_split_that_there_is() -> None:
    found = {"seeds": [0, 1], "val": {"accuracy": [0.75, 0.5], "mean": 0.625, "std": 0.1768}}
    assert over_seeds(found) == [
        "2 seeds: val accuracy 0.6250 on average, 0.5000 to 0.7500, standard deviation 0.1768"
    ]
    assert over_seeds({"seeds": []}) == []
