"""Numbers about predictions: counts, per class, confusion, calibration, intervals. numpy only.

Every number is a sum over examples, divided once. The sums are exact before they are rounded
(`math.fsum`), so the order of the examples changes no bit. Whatever is undefined, such as the
recall of a class without examples, is None and never NaN, so that every result is valid JSON.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# The smallest probability that log-loss believes: no example costs more than 36.04 nats.
EPS = float(np.finfo(np.float64).eps)
BINS = 15
TOP = 5
# From this probability on, an image that may have several labels is said to have one.
THRESHOLD = 0.5
# Up to so many classes a confusion matrix is stored whole, and from there on what is not zero.
DENSE_CLASSES = 50
# Wide enough for probabilities that were computed in bfloat16, narrow enough to catch logits.
_SUM_TOLERANCE = 0.02


def summarise(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, labels: Sequence[str]
) -> dict[str, Any]:
    """Returns the numbers of one split, ready for `metrics.json`.

    The prediction is the class of highest probability, of equal ones the first.

    Args:
        probabilities: `[n, c]`, one row of class probabilities an image.
        targets: `[n]`, the true class of each image, as a column number.
        labels: The `c` class names in the order of the columns.

    Returns:
        A dict with

        - `n`: the number of examples.
        - `accuracy`, and `accuracy_ci95`, its 95 % Wilson score interval `[low, high]`.
        - `log_loss`: mean of `-log p(truth)` in nats, with `p` held in `[EPS, 1]`.
        - `macro_f1`: mean f1 of the classes that occur in truth or prediction.
        - `per_class`: for each name its `n`, `precision` (None where never predicted),
          `recall` (None where `n` is 0) and `f1` (None where neither).
        - `confusion`: counts, one row a true class, one column a predicted class; above
          `DENSE_CLASSES` in the form of `stored_confusion`.
        - `labels`: the class names.
        - `top5_accuracy`: only where there are more than five classes.
        - `ece`: expected calibration error of the winning class, see `calibration`.
        - `brier`: mean squared distance of a row from its one-hot truth, from 0 to 2
          (Brier, Verification of forecasts expressed in terms of probability, 1950).

    Raises:
        ValueError: Where there are no examples, or where shapes, values or labels do not fit.
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
    """Returns the numbers of one split whose images have any number of labels each.

    An image is said to have the labels of probability `THRESHOLD` or more.

    Args:
        probabilities: `[n, c]`, for each image and label by itself; rows need not sum to one.
        targets: `[n, c]`, bool: which labels each image has.
        labels: The `c` names in the order of the columns.

    Returns:
        A dict with

        - `n`: the number of images.
        - `accuracy`: the share of images with every label right, and `accuracy_ci95`, its 95 %
          Wilson score interval `[low, high]`.
        - `log_loss`: mean binary cross-entropy over images and labels, in nats, with each
          probability held in `[EPS, 1 - EPS]`.
        - `macro_f1`: mean f1 of the labels that occur in truth or prediction; None without any.
        - `mean_average_precision`: mean of the labels' average precision; None where no image
          has a label.
        - `per_class`: for each name `n`, the images that have it, and `precision`, `recall` and
          `f1` as in `summarise`, and `average_precision` (None where `n` is 0): the mean, over
          the images that have it, of the precision among all that are at least as likely
          (Zhu, Recall, Precision and Average Precision, 2004; nothing is interpolated).
        - `confusion`: for each label `[[tn, fp], [fn, tp]]`, rows the truth.
        - `labels`: the names.

    Raises:
        ValueError: Where there are no examples, or where shapes, values or labels do not fit.
    """
    names = [str(label) for label in labels]
    prob, truth = _checked_multilabel(probabilities, targets)
    n, c = prob.shape
    _check_names(names, c)
    said = prob >= THRESHOLD
    right = int((said == truth).all(axis=1).sum())
    confusion = _confusion_by_label(said, truth)
    per_class = {}
    for index, name in enumerate(names):
        (_, wrongly), (missed, hit) = confusion[index]
        precise = _average_precision(prob[:, index], truth[:, index])
        per_class[name] = {**_shares(hit, missed, wrongly), "average_precision": precise}
    held = np.clip(np.where(truth, prob, 1.0 - prob), EPS, 1.0)
    return {
        "n": n,
        "accuracy": right / n,
        "accuracy_ci95": list(wilson(right, n)),
        "log_loss": math.fsum(-np.log(held).ravel()) / (n * c) + 0.0,
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
    """Sorts the examples into bins by their confidence and returns how often each bin is right.

    Confidence is the probability of the predicted class; the bins are of equal width and hold
    their upper edge (Guo et al., On Calibration of Modern Neural Networks, 2017).

    Args:
        prob: `[n, c]`, class probabilities.
        targets: `[n]`, true classes as column numbers.
        bins: How many bins from 0 to 1.

    Returns:
        One dict a bin, from low to high: `lower`, `trainable`, `n`, and the means `confidence` and
        `accuracy`, both None in an empty bin.

    Raises:
        ValueError: As `summarise`, and where `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins: must be at least 1, got {bins}.")
    prob, truth = _checked(prob, targets)
    confidence = prob.max(axis=1)
    correct = prob.argmax(axis=1) == truth
    edges = np.arange(bins + 1) / bins
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    rows: list[dict[str, Any]] = []
    for index in range(bins):
        inside = place == index
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
    """Returns the Wilson score interval of a share.

    It keeps its promise for few examples and for shares near 0 and 1, where the usual
    `p ± z·s` leaves the range (Wilson, Probable inference, 1927).

    Args:
        k: How many of `n` came out right.
        n: How many there were.
        z: Standard deviations to either side; the default makes a 95 % interval.

    Returns:
        The low and the high end, both in `[0, 1]`.

    Raises:
        ValueError: Where not `0 <= k <= n` and `n > 0`.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"wilson: must be 0 <= k <= n and n > 0, got k={k}, n={n}.")
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else max(0.0, middle - reach)
    high = 1.0 if k == n else min(1.0, middle + reach)
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
    # NaN fails every comparison, so these two say no to it as well.
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
    # NaN fails every comparison, so this says no to it as well.
    if not bool(np.all((prob >= 0) & (prob <= 1))):
        raise ValueError("probabilities: each must be finite and 0 to 1.")
    return prob, truth


def _check_names(names: list[str], c: int) -> None:
    if len(names) != c or len(set(names)) != c:
        raise ValueError(f"labels: must be {c} different names, one a column, got {len(names)}.")


def _per_class(confusion: Ints, names: list[str]) -> dict[str, dict[str, Any]]:
    truths, predictions = confusion.sum(axis=1), confusion.sum(axis=0)
    rows: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(names):
        hit = int(confusion[index, index])
        rows[name] = _shares(hit, int(truths[index]) - hit, int(predictions[index]) - hit)
    return rows


def _shares(hit: int, missed: int, wrongly: int) -> dict[str, Any]:
    """Returns the numbers of a class: `hit` of its images were found, `missed` not.

    `wrongly` is how many others were taken for it.
    """

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    n, said = hit + missed, hit + wrongly
    return {
        "n": n,
        "precision": share(hit, said),
        "recall": share(hit, n),
        "f1": share(2 * hit, n + said),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Returns the mean of those that are defined; None where none is."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def _confusion_by_label(said: Bools, truth: Bools) -> list[list[list[int]]]:
    counts = [
        [~said & ~truth, said & ~truth],
        [~said & truth, said & truth],
    ]
    by_label: list[list[list[int]]] = np.sum(counts, axis=2).transpose(2, 0, 1).tolist()
    return by_label


def _average_precision(probabilities: Floats, truth: Bools) -> float | None:
    n = int(truth.sum())
    if not n:
        return None
    order = np.argsort(-probabilities, kind="stable")
    # Equal chances cannot be told apart, so they come in together: only the last of each counts.
    last = np.append(np.diff(probabilities[order]) != 0, True)
    found = np.cumsum(truth[order])[last]
    taken = np.flatnonzero(last) + 1
    new = np.diff(found, prepend=0)
    return math.fsum(new * (found / taken)) / n


def _ranks(prob: Floats, truth: Ints) -> Ints:
    """Returns how many classes stand before the true one; of equal ones the first, as argmax."""
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
    # |row - onehot|² = |row|² - 2·p(truth) + 1, without a one-hot matrix of [n, c].
    distances = np.einsum("nc,nc->n", prob, prob) - 2.0 * p_truth + 1.0
    return max(0.0, math.fsum(distances) / len(p_truth))
