"""Metrics of predictions: accuracy, per-class metrics, confusion matrix, calibration, intervals.

Every metric is a sum over examples, divided once. Sums are exact before rounding (`math.fsum`), so
the order of the examples does not change a bit. An undefined metric, such as the recall of a class
without examples, is None and never NaN, so every result is valid JSON. Only numpy is needed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Log-loss clips probabilities to at least this: no example costs more than 36.04 nats.
EPS = float(np.finfo(np.float64).eps)
BINS = 15
TOP = 5
# In multi-label problems, a label is predicted from this probability on.
THRESHOLD = 0.5
# Up to so many classes a confusion matrix is stored whole, and from there on what is not zero.
DENSE_CLASSES = 50
# Wide enough for probabilities that were computed in bfloat16, narrow enough to catch logits.
_SUM_TOLERANCE = 0.02


def summarise(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, labels: Sequence[str]
) -> dict[str, Any]:
    """Returns the metrics of one split, ready for `metrics.json`.

    The prediction is the class of highest probability; of equal ones, the first.

    Args:
        probabilities: `[n, c]`, one row of class probabilities per image.
        targets: `[n]`, the true class of each image, as a column index.
        labels: The `c` class names in the order of the columns.

    Returns:
        A dict with

        - `n`: the number of examples.
        - `accuracy`, and `accuracy_ci95`, its 95 % Wilson score interval `[low, high]`.
        - `log_loss`: mean of `-log p(truth)` in nats, with `p` clipped to `[EPS, 1]`.
        - `macro_f1`: mean F1 of the classes that occur among labels or predictions.
        - `per_class`: for each class name its `n`, `precision` (None if never predicted),
          `recall` (None if `n` is 0) and `f1` (None if both are).
        - `confusion`: counts, one row per true class, one column per predicted class; above
          `DENSE_CLASSES` in the form of `stored_confusion`.
        - `labels`: the class names.
        - `top5_accuracy`: only with more than five classes.
        - `ece`: expected calibration error of the predicted class, see `calibration`.
        - `brier`: mean squared distance of a row from its one-hot target, from 0 to 2
          (Brier, Verification of forecasts expressed in terms of probability, 1950).

    Raises:
        ValueError: If there are no examples, or shapes, values or labels are invalid.
    """
    names = [str(label) for label in labels]
    prob, truth = _checked(probabilities, targets)
    n, c = prob.shape
    _check_names(names, c)
    predicted = prob.argmax(axis=1)
    confusion = np.bincount(truth * c + predicted, minlength=c * c).reshape(c, c)
    correct = int(np.trace(confusion))
    per_class = _per_class(confusion, names)
    p_truth = prob[np.arange(n), truth]
    summary: dict[str, Any] = {
        "n": n,
        "accuracy": correct / n,
        "accuracy_ci95": list(wilson(correct, n)),
        # Adding 0.0 turns the -0.0 of a perfect row into 0.0.
        "log_loss": math.fsum(-np.log(np.clip(p_truth, EPS, 1.0))) / n + 0.0,
        "macro_f1": _mean(row["f1"] for row in per_class.values()),
        "per_class": per_class,
        "confusion": stored_confusion(confusion),
        "labels": names,
    }
    if c > TOP:
        summary["top5_accuracy"] = int((_ranks(prob, truth) < TOP).sum()) / n
    summary["ece"] = _calibration_error(calibration(prob, truth))
    summary["brier"] = _brier(prob, p_truth)
    return summary


def summarise_multilabel(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, labels: Sequence[str]
) -> dict[str, Any]:
    """Returns the metrics of one split of a multi-label problem.

    The labels of probability `THRESHOLD` or more are predicted.

    Args:
        probabilities: `[n, c]`, independent of each other; rows need not sum to one.
        targets: `[n, c]`, bool: which labels each image has.
        labels: The `c` label names in the order of the columns.

    Returns:
        A dict with

        - `n`: the number of images.
        - `accuracy`: exact match (subset accuracy), the share of images with every label right,
          and `accuracy_ci95`, its 95 % Wilson score interval `[low, high]`.
        - `log_loss`: mean binary cross-entropy over images and labels, in nats, with each
          probability clipped to `[EPS, 1 - EPS]`.
        - `macro_f1`: mean F1 of the labels that occur or are predicted; None if none.
        - `mean_average_precision`: mean of the labels' average precision; None if no image has a
          label.
        - `per_class`: for each label `n`, the number of images that have it, `precision`, `recall`
          and `f1` as in `summarise`, and `average_precision` (None if `n` is 0): the mean, over the
          images that have it, of the precision among all images of at least its probability
          (Zhu, Recall, Precision and Average Precision, 2004; without interpolation).
        - `confusion`: for each label `[[tn, fp], [fn, tp]]`, with the true value as the row.
        - `labels`: the label names.

    Raises:
        ValueError: If there are no examples, or shapes, values or labels are invalid.
    """
    names = [str(label) for label in labels]
    prob, truth = _checked_multilabel(probabilities, targets)
    n, c = prob.shape
    _check_names(names, c)
    predicted = prob >= THRESHOLD
    correct = int((predicted == truth).all(axis=1).sum())
    confusion = _confusion_by_label(predicted, truth)
    per_class = {}
    for index, name in enumerate(names):
        (_, fp), (fn, tp) = confusion[index]
        average_precision = _average_precision(prob[:, index], truth[:, index])
        per_class[name] = {**_rates(tp, fn, fp), "average_precision": average_precision}
    p_truth = np.clip(np.where(truth, prob, 1.0 - prob), EPS, 1.0)
    return {
        "n": n,
        "accuracy": correct / n,
        "accuracy_ci95": list(wilson(correct, n)),
        "log_loss": math.fsum(-np.log(p_truth).ravel()) / (n * c) + 0.0,
        "macro_f1": _mean(row["f1"] for row in per_class.values()),
        "mean_average_precision": _mean(row["average_precision"] for row in per_class.values()),
        "per_class": per_class,
        "confusion": confusion,
        "labels": names,
    }


def stored_confusion(counts: Ints) -> list[list[int]] | dict[str, Any]:
    """Returns a confusion matrix as `metrics.json` holds it; `dense_confusion` undoes it.

    Args:
        counts: `[c, c]`, one row a true class, one column a predicted class.

    Returns:
        Its rows, up to `DENSE_CLASSES`. Above, `classes`, which is c, and `entries`: for each
        count that is not zero `[true class, predicted class, count]`, in the order of the rows.
    """
    if len(counts) <= DENSE_CLASSES:
        rows: list[list[int]] = counts.tolist()
        return rows
    true, predicted = counts.nonzero()
    entries = np.column_stack([true, predicted, counts[true, predicted]])
    return {"classes": len(counts), "entries": entries.tolist()}


def dense_confusion(stored: Sequence[Sequence[int]] | Mapping[str, Any]) -> Ints:
    """Returns the confusion matrix `[c, c]` that `metrics.json` holds, whole or as entries."""
    if not isinstance(stored, Mapping):
        return np.array(stored, dtype=np.int64)
    counts = np.zeros((stored["classes"], stored["classes"]), dtype=np.int64)
    for true, predicted, count in stored["entries"]:
        counts[true, predicted] = count
    return counts


def calibration(
    prob: npt.ArrayLike, targets: npt.ArrayLike, bins: int = BINS
) -> list[dict[str, Any]]:
    """Returns the reliability diagram: accuracy by confidence.

    Confidence is the probability of the predicted class. The bins have equal width and include
    their upper edge (Guo et al., On Calibration of Modern Neural Networks, 2017).

    Args:
        prob: `[n, c]`, class probabilities.
        targets: `[n]`, true classes as column indices.
        bins: The number of bins from 0 to 1.

    Returns:
        One dict per bin, from low to high: `lower`, `upper`, `n`, and the means `confidence` and
        `accuracy`, both None in an empty bin.

    Raises:
        ValueError: As `summarise`, and if `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins: must be at least 1, got {bins}.")
    prob, truth = _checked(prob, targets)
    confidence = prob.max(axis=1)
    correct = prob.argmax(axis=1) == truth
    edges = np.arange(bins + 1) / bins
    bin_index = np.searchsorted(edges[1:-1], confidence, side="left")
    rows: list[dict[str, Any]] = []
    for index in range(bins):
        inside = bin_index == index
        n = int(inside.sum())
        rows.append(
            {
                "lower": float(edges[index]),
                "upper": float(edges[index + 1]),
                "n": n,
                "confidence": math.fsum(confidence[inside]) / n if n else None,
                "accuracy": int(correct[inside].sum()) / n if n else None,
            }
        )
    return rows


def wilson(k: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Returns the Wilson score interval of a proportion.

    Unlike the normal approximation `p ± z·s`, it is valid for few examples and for proportions near
    0 and 1 (Wilson, Probable inference, the law of succession, and statistical inference, 1927).

    Args:
        k: The number of successes.
        n: The number of trials.
        z: Standard deviations to either side; the default gives a 95 % interval.

    Returns:
        The lower and the upper end, both in `[0, 1]`.

    Raises:
        ValueError: Unless `0 <= k <= n` and `n > 0`.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"wilson: must be 0 <= k <= n and n > 0, got k={k}, n={n}.")
    p = k / n
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else max(0.0, center - half_width)
    high = 1.0 if k == n else min(1.0, center + half_width)
    return low, high


def _checked(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Floats, Ints]:
    prob = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(targets)
    if prob.ndim != 2 or truth.shape != prob.shape[:1]:
        raise ValueError(
            "probabilities must be [n, c] and targets [n], "
            f"got {list(prob.shape)} and {list(truth.shape)}."
        )
    n, c = prob.shape
    if n == 0 or c == 0:
        raise ValueError(f"there must be at least one example and one class, got [{n}, {c}].")
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= c:
        raise ValueError(f"targets: must be whole numbers from 0 to {c - 1}.")
    # NaN fails every comparison, so these two reject it as well.
    in_range = bool(np.all((prob >= 0) & (prob <= 1 + _SUM_TOLERANCE)))
    if not in_range or not bool(np.all(np.abs(prob.sum(axis=1) - 1) <= _SUM_TOLERANCE)):
        raise ValueError("probabilities: each row must be finite, 0 to 1, and sum to one.")
    return prob, truth.astype(np.int64)


def _checked_multilabel(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike
) -> tuple[Floats, Bools]:
    prob = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(targets)
    if prob.ndim != 2 or truth.shape != prob.shape:
        raise ValueError(
            "probabilities and targets must both be [n, c], "
            f"got {list(prob.shape)} and {list(truth.shape)}."
        )
    if 0 in prob.shape:
        raise ValueError(f"there must be at least one example and one class, got {[*prob.shape]}.")
    if truth.dtype != np.bool_:
        raise ValueError(f"targets: must be true or false, got {truth.dtype}.")
    # NaN fails every comparison, so this rejects it as well.
    if not bool(np.all((prob >= 0) & (prob <= 1))):
        raise ValueError("probabilities: each must be finite and 0 to 1.")
    return prob, truth


def _check_names(names: list[str], c: int) -> None:
    if len(names) != c or len(set(names)) != c:
        raise ValueError(f"labels: must be {c} different names, one per column, got {len(names)}.")


def _per_class(confusion: Ints, names: list[str]) -> dict[str, dict[str, Any]]:
    truths, predictions = confusion.sum(axis=1), confusion.sum(axis=0)
    rows: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(names):
        tp = int(confusion[index, index])
        rows[name] = _rates(tp, int(truths[index]) - tp, int(predictions[index]) - tp)
    return rows


def _rates(tp: int, fn: int, fp: int) -> dict[str, Any]:
    """Returns a class's `n`, precision, recall and F1.

    Args:
        tp: True positives.
        fn: False negatives.
        fp: False positives.
    """

    def ratio(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    n, predicted = tp + fn, tp + fp
    return {
        "n": n,
        "precision": ratio(tp, predicted),
        "recall": ratio(tp, n),
        "f1": ratio(2 * tp, n + predicted),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Returns the mean of the defined values; None if there are none."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def _confusion_by_label(predicted: Bools, truth: Bools) -> list[list[list[int]]]:
    counts = [
        [~predicted & ~truth, predicted & ~truth],
        [~predicted & truth, predicted & truth],
    ]
    by_label: list[list[list[int]]] = np.sum(counts, axis=2).transpose(2, 0, 1).tolist()
    return by_label


def _average_precision(probabilities: Floats, truth: Bools) -> float | None:
    n = int(truth.sum())
    if not n:
        return None
    order = np.argsort(-probabilities, kind="stable")
    # Images of equal probability share a rank: only the last of each group is a threshold.
    last = np.append(np.diff(probabilities[order]) != 0, True)
    tp = np.cumsum(truth[order])[last]
    predicted = np.flatnonzero(last) + 1
    new = np.diff(tp, prepend=0)
    return math.fsum(new * (tp / predicted)) / n


def _ranks(prob: Floats, truth: Ints) -> Ints:
    """Returns the rank of the true class, from 0; ties are broken by column, as in argmax."""
    p_truth = prob[np.arange(len(truth)), truth][:, None]
    before = np.arange(prob.shape[1])[None, :] < truth[:, None]
    ranks: Ints = ((prob > p_truth) | ((prob == p_truth) & before)).sum(axis=1)
    return ranks


def _calibration_error(bins: list[dict[str, Any]]) -> float:
    full = [row for row in bins if row["n"]]
    gaps = (row["n"] * abs(row["accuracy"] - row["confidence"]) for row in full)
    n = sum(int(row["n"]) for row in full)
    return math.fsum(gaps) / n


def _brier(prob: Floats, p_truth: Floats) -> float:
    # |row - onehot|² = |row|² - 2·p(truth) + 1, without building the one-hot matrix.
    distances = np.einsum("nc,nc->n", prob, prob) - 2.0 * p_truth + 1.0
    return max(0.0, math.fsum(distances) / len(p_truth))
