import json
import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from frostline.scores.metrics import (
    DENSE_CLASSES,
    EPS,
    calibration,
    dense_confusion,
    stored_confusion,
    summarise,
    summarise_multilabel,
    wilson,
)

# Four pictures, two classes: three right, one wrong with confidence 0.7.
PROB = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
TRUTH = np.array([0, 0, 1, 1])


def some(n: int = 200, c: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet(np.full(c, 0.4), size=n)
    truth = np.where(rng.random(n) < 0.6, prob.argmax(1), rng.integers(0, c, n))
    return prob, truth, [f"class {k}" for k in range(c)]


def test_golden_values_by_hand() -> None:
    got = summarise(PROB, TRUTH, ["ant", "bee"])
    assert list(got) == [
        *("n", "accuracy", "accuracy_ci95", "log_loss", "macro_f1", "per_class", "confusion"),
        *("labels", "ece", "brier"),
    ]
    assert got["n"] == 4
    assert got["accuracy"] == 0.75
    assert got["confusion"] == [[2, 0], [1, 1]]
    assert got["labels"] == ["ant", "bee"]
    assert got["per_class"]["ant"] == {"n": 2, "precision": 2 / 3, "recall": 1.0, "f1": 0.8}
    assert got["per_class"]["bee"] == {"n": 2, "precision": 1.0, "recall": 0.5, "f1": 2 / 3}
    assert got["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert got["log_loss"] == pytest.approx(-math.log(0.9 * 0.8 * 0.3 * 0.6) / 4)
    # Each picture is alone in its bin: gaps 0.1, 0.2, 0.7, 0.4.
    assert got["ece"] == pytest.approx(1.4 / 4)
    assert got["brier"] == pytest.approx(2 * (0.01 + 0.04 + 0.49 + 0.16) / 4)
    # (0.75 + z²/8 ± z·sqrt(0.75·0.25/4 + z²/64)) / (1 + z²/4).
    assert got["accuracy_ci95"] == pytest.approx([0.3006418, 0.9544127], abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed: int) -> None:
    prob, truth, labels = some(seed=seed)
    got = summarise(prob, truth, labels)
    said = prob.argmax(1)
    classes = list(range(len(labels)))
    assert got["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, said))
    assert got["log_loss"] == pytest.approx(sklearn.metrics.log_loss(truth, prob, labels=classes))
    assert got["confusion"] == sklearn.metrics.confusion_matrix(truth, said).tolist()
    assert got["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(truth, said, average="macro"))
    assert got["top5_accuracy"] == pytest.approx(
        sklearn.metrics.top_k_accuracy_score(truth, prob, k=5, labels=classes)
    )
    rows = zip(*sklearn.metrics.precision_recall_fscore_support(truth, said), strict=True)
    for row, theirs in zip(got["per_class"].values(), rows, strict=True):
        ours = (row["precision"], row["recall"], row["f1"], row["n"])
        assert ours == pytest.approx(theirs)
    onehot = np.eye(len(labels))[truth]
    assert got["brier"] == pytest.approx(((prob - onehot) ** 2).sum(1).mean())


@given(st.randoms(use_true_random=False))
def test_order_of_examples_changes_no_bit(random: object) -> None:
    prob, truth, labels = some(n=60)
    order = list(range(60))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert summarise(prob[order], truth[order], labels) == summarise(prob, truth, labels)


def test_order_of_classes_changes_only_their_order() -> None:
    prob, truth, labels = some(c=4)
    order = [2, 0, 3, 1]
    moved = summarise(prob[:, order], np.argsort(order)[truth], [labels[k] for k in order])
    plain = summarise(prob, truth, labels)
    assert moved["per_class"] == plain["per_class"]
    assert moved["macro_f1"] == pytest.approx(plain["macro_f1"], rel=1e-15)
    assert moved["confusion"] == np.array(plain["confusion"])[np.ix_(order, order)].tolist()


def test_confusions_of_many_classes_are_stored_without_zeros() -> None:
    count = DENSE_CLASSES + 1
    prob = np.eye(count)[[3, 3, 50, 0]]
    got = summarise(prob, [3, 7, 7, 0], [f"class {k}" for k in range(count)])
    entries = [[0, 0, 1], [3, 3, 1], [7, 3, 1], [7, 50, 1]]
    assert got["confusion"] == {"classes": count, "entries": entries}
    assert got["per_class"]["class 7"]["n"] == 2
    # 1,200 classes took 16 MB.
    many = np.diag(np.arange(1200)) + np.eye(1200, k=1, dtype=np.int64)
    assert len(json.dumps(stored_confusion(many))) < 60_000


@pytest.mark.parametrize("count", [1, 2, DENSE_CLASSES, DENSE_CLASSES + 1, 120])
def test_a_stored_confusion_comes_back_whole(count: int) -> None:
    counts = np.random.default_rng(0).poisson(0.3, (count, count)).astype(np.int64)
    stored = stored_confusion(counts)
    assert isinstance(stored, list) == (count <= DENSE_CLASSES)
    back = dense_confusion(json.loads(json.dumps(stored)))
    assert back.dtype == np.int64
    assert np.array_equal(back, counts)


def test_class_missing_from_truth_and_prediction_has_no_numbers() -> None:
    prob = np.insert(PROB, 2, 0.0, axis=1)
    got = summarise(prob, TRUTH, ["ant", "bee", "wasp"])
    assert got["per_class"]["wasp"] == {"n": 0, "precision": None, "recall": None, "f1": None}
    assert got["macro_f1"] == summarise(PROB, TRUTH, ["ant", "bee"])["macro_f1"]
    assert got["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    json.dumps(got, allow_nan=False)


def test_class_missing_only_from_truth_counts_as_zero() -> None:
    got = summarise([[0.9, 0.1], [0.2, 0.8]], [0, 0], ["ant", "bee"])
    assert got["per_class"]["bee"] == {"n": 0, "precision": 0.0, "recall": None, "f1": 0.0}
    assert got["per_class"]["ant"]["f1"] == pytest.approx(2 / 3)
    assert got["macro_f1"] == pytest.approx(1 / 3)


def test_class_never_predicted() -> None:
    got = summarise([[0.9, 0.1], [0.8, 0.2]], [0, 1], ["ant", "bee"])
    assert got["per_class"]["bee"] == {"n": 1, "precision": None, "recall": 0.0, "f1": 0.0}


def test_log_loss_is_clipped_and_finite() -> None:
    got = summarise([[1.0, 0.0]], [1], ["ant", "bee"])
    assert got["log_loss"] == pytest.approx(-math.log(EPS))
    perfect = summarise([[1.0, 0.0]], [0], ["ant", "bee"])
    assert str(perfect["log_loss"]) == "0.0"
    assert perfect["brier"] == perfect["ece"] == 0.0


def test_top5_only_above_five_classes_and_ties_go_to_the_first() -> None:
    assert "top5_accuracy" not in summarise(np.full((1, 5), 0.2), [0], list("abcde"))
    even = np.full((2, 6), 1 / 6)
    got = summarise(even, [4, 5], list("abcdef"))
    assert got["top5_accuracy"] == 0.5
    assert summarise(even, [0, 0], list("abcdef"))["accuracy"] == 1.0


def test_calibration_bins() -> None:
    rows = calibration([[0.2, 0.8], [0.25, 0.75], [0.4, 0.6], [0.0, 1.0]], [1, 0, 1, 1], bins=5)
    assert [row["n"] for row in rows] == [0, 0, 1, 2, 1]
    assert rows[0] == {"lower": 0.0, "upper": 0.2, "n": 0, "confidence": None, "accuracy": None}
    assert rows[3]["confidence"] == pytest.approx(0.775)
    assert rows[3]["accuracy"] == 0.5
    assert rows[4] == {"lower": 0.8, "upper": 1.0, "n": 1, "confidence": 1.0, "accuracy": 1.0}


def test_ece_against_a_plain_loop() -> None:
    prob, truth, labels = some(c=3)
    confidence, right = prob.max(1), prob.argmax(1) == truth
    total = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert summarise(prob, truth, labels)["ece"] == pytest.approx(total)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_golden(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(kn: tuple[int, int]) -> None:
    k, n = kn
    low, high = wilson(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0
    assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(
    ("prob", "truth", "labels", "words"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), ["a", "b"], "at least one example"),
        (np.zeros((2, 0)), np.zeros(2, int), [], "at least one example and one class"),
        ([0.5, 0.5], [0], ["a", "b"], r"must be \[n, c\] and targets \[n\], got \[2\] and \[1\]"),
        (PROB, [0, 1], ["a", "b"], r"got \[4, 2\] and \[2\]"),
        (PROB, TRUTH, ["a"], "must be 2 different names, one per column, got 1"),
        (PROB, TRUTH, ["a", "a"], "must be 2 different names"),
        (PROB, [0, 0, 0, 2], ["a", "b"], "whole numbers from 0 to 1"),
        (PROB, [0, 0, 0, -1], ["a", "b"], "whole numbers from 0 to 1"),
        (PROB, [0.0, 0.0, 1.0, 1.0], ["a", "b"], "whole numbers from 0 to 1"),
        ([[math.nan, 1.0]], [0], ["a", "b"], "must be finite"),
        ([[2.5, -1.5]], [0], ["a", "b"], "sum to one"),
        ([[0.2, 0.2]], [0], ["a", "b"], "sum to one"),
    ],
)
def test_what_does_not_fit_is_refused(
    prob: object, truth: object, labels: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        summarise(prob, truth, labels)  # type: ignore[arg-type]


def test_refused_arguments_of_the_small_ones() -> None:
    with pytest.raises(ValueError, match="got k=1, n=0"):
        wilson(1, 0)
    with pytest.raises(ValueError, match="got k=3, n=2"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        calibration(PROB, TRUTH, bins=0)


def test_half_precision_probabilities_are_taken() -> None:
    prob = PROB.astype(np.float16)
    assert summarise(prob, TRUTH, ["ant", "bee"])["accuracy"] == 0.75


# Four pictures, three labels: the first picture has all of its right, as has the last.
CHANCES = np.array([[0.9, 0.2, 0.1], [0.6, 0.7, 0.3], [0.4, 0.5, 0.2], [0.1, 0.1, 0.4]])
HAS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)


def test_several_labels_golden_values_by_hand() -> None:
    got = summarise_multilabel(CHANCES, HAS, ["ant", "bee", "cat"])
    assert list(got) == [
        *("n", "accuracy", "accuracy_ci95", "log_loss", "macro_f1", "mean_average_precision"),
        *("per_class", "confusion", "labels"),
    ]
    assert got["n"] == 4
    assert got["accuracy"] == 0.5
    assert got["accuracy_ci95"] == list(wilson(2, 4))
    # Said where 0.5 or more: ant of 0 and 1, bee of 1 and 2.
    assert got["confusion"] == [[[1, 1], [1, 1]], [[2, 1], [0, 1]], [[4, 0], [0, 0]]]
    assert got["per_class"] == {
        # By chance: ant (yes), 1 (no), 2 (yes): (1/1 + 2/3) / 2.
        "ant": {
            **dict.fromkeys(("precision", "recall", "f1"), 0.5),
            "n": 2,
            "average_precision": pytest.approx(5 / 6),
        },
        "bee": {"n": 1, "precision": 0.5, "recall": 1.0, "f1": 2 / 3, "average_precision": 1.0},
        "cat": {"n": 0, "precision": None, "recall": None, "f1": None, "average_precision": None},
    }
    assert got["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert got["mean_average_precision"] == pytest.approx((5 / 6 + 1) / 2)
    right = [0.9, 0.8, 0.9, 0.4, 0.7, 0.7, 0.4, 0.5, 0.8, 0.9, 0.9, 0.6]
    assert got["log_loss"] == pytest.approx(-sum(map(math.log, right)) / 12)
    assert got["labels"] == ["ant", "bee", "cat"]
    json.dumps(got, allow_nan=False)


@pytest.mark.parametrize("seed", range(3))
def test_several_labels_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different values, so that many are equal.
    probabilities = rng.integers(0, 12, (150, 5)) / 11
    has = rng.random((150, 5)) < probabilities * 0.6 + 0.1
    got = summarise_multilabel(probabilities, has, list("abcde"))
    said = probabilities >= 0.5
    assert got["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(has, said))
    assert got["confusion"] == sklearn.metrics.multilabel_confusion_matrix(has, said).tolist()
    assert got["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(has, said, average="macro"))
    assert got["mean_average_precision"] == pytest.approx(
        sklearn.metrics.average_precision_score(has, probabilities, average="macro")
    )
    theirs = np.mean([sklearn.metrics.log_loss(has[:, k], probabilities[:, k]) for k in range(5)])
    assert got["log_loss"] == pytest.approx(theirs)


def test_several_labels_with_one_picture_and_none() -> None:
    got = summarise_multilabel([[0.0, 1.0]], [[False, True]], ["a", "b"])
    assert str(got["log_loss"]) == "0.0"
    assert got["accuracy"] == got["macro_f1"] == got["mean_average_precision"] == 1.0
    none = summarise_multilabel([[0.1, 0.2]], [[False, False]], ["a", "b"])
    assert none["accuracy"] == 1.0
    assert none["macro_f1"] is none["mean_average_precision"] is None
    worst = summarise_multilabel([[1.0, 0.0]], [[False, True]], ["a", "b"])
    assert worst["log_loss"] == pytest.approx(-math.log(EPS))
    assert worst["per_class"]["a"]["f1"] == 0.0


@given(st.randoms(use_true_random=False))
def test_order_of_pictures_with_several_labels_changes_no_bit(random: object) -> None:
    rng = np.random.default_rng(5)
    probabilities, has = rng.integers(0, 9, (40, 3)) / 8, rng.random((40, 3)) < 0.4
    order = list(range(40))
    random.shuffle(order)  # type: ignore[attr-defined]
    moved = summarise_multilabel(probabilities[order], has[order], list("abc"))
    assert moved == summarise_multilabel(probabilities, has, list("abc"))


@pytest.mark.parametrize(
    ("prob", "has", "labels", "words"),
    [
        (CHANCES, HAS[:, 0], list("abc"), r"must both be \[n, c\], got \[4, 3\] and \[4\]\."),
        (np.zeros((0, 2)), np.zeros((0, 2), bool), ["a", "b"], r"and one class, got \[0, 2\]\."),
        (CHANCES, HAS, ["a", "b"], "labels: must be 3 different names, one per column, got 2"),
        (CHANCES, HAS.astype(int), list("abc"), "targets: must be true or false, got int64"),
        (CHANCES * 2, HAS, list("abc"), "probabilities: each must be finite and 0 to 1"),
        ([[math.nan]], [[True]], ["a"], "probabilities: each must be finite and 0 to 1"),
    ],
)
def test_what_does_not_fit_several_labels_is_refused(
    prob: object, has: object, labels: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        summarise_multilabel(prob, has, labels)  # type: ignore[arg-type]
