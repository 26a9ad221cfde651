"""What is minimised, and what counts as right, for each kind of target.

`multiclass`: one of the classes; logits [n, c], targets [n] of class numbers.
`binary`: two classes by one sigmoid; logits [n, 1], targets [n] of 0 and 1.
`multilabel`: any of the classes, one sigmoid each; logits [n, c], targets [n, c] of 0 and 1.
"""

import torch
from torch import Tensor
from torch.nn import functional


def loss(
    logits: Tensor,
    targets: Tensor,
    kind: str,
    smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Returns the mean loss of a batch: the sum over its images, divided by their number.

    Weights do not change what it is divided by. So an image counts as much in a small batch as in a
    large one, whatever classes it meets there.

    Args:
        logits: What the head gives.
        targets: As the kind asks.
        kind: `multiclass`, `binary` or `multilabel`.
        smoothing: Of the labels, in [0, 1).
        weights: From `class_weights`.
    """
    if kind == "multiclass":
        total = functional.cross_entropy(
            logits, targets, weights, reduction="sum", label_smoothing=smoothing
        )
        return total / len(targets)
    wanted = targets.to(logits.dtype).reshape(logits.shape)
    soft = wanted * (1 - smoothing) + smoothing / 2
    if kind == "multilabel":
        return functional.binary_cross_entropy_with_logits(logits, soft, pos_weight=weights)
    each = functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    if weights is not None:
        each = each * weights[targets.long().reshape(-1)].reshape(each.shape)
    return each.mean()


def losses(logits: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Returns the plain loss of each image, [n]; their mean is that of `loss`."""
    if kind == "multiclass":
        return functional.cross_entropy(logits, targets, reduction="none")
    wanted = targets.to(logits.dtype).reshape(logits.shape)
    each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return each.reshape(len(logits), -1).mean(1)


def correct(logits: Tensor, targets: Tensor, kind: str) -> int:
    """Returns how many images are classified rightly; with several labels, all of them."""
    if kind == "multiclass":
        return int((logits.argmax(1) == targets).sum())
    said = (logits > 0).reshape(targets.shape) == (targets > 0.5)
    return int(said.all(1).sum() if kind == "multilabel" else said.sum())


def class_weights(targets: Tensor, kind: str, classes: int) -> Tensor:
    """Returns what makes classes count alike, whatever their number of images.

    Args:
        targets: Of all training images.
        kind: Their kind.
        classes: How many there are.

    Returns:
        [classes]: for one class an image, the mean count over the class's; for several, how many
        images lack the label for each that has it. At most 100.
    """
    if kind == "multilabel":
        have = targets.sum(0)
        return ((len(targets) - have) / have.clamp_min(1)).clamp(0.01, 100)
    counts = torch.bincount(targets.long(), minlength=classes).float()
    return (counts.sum() / (classes * counts.clamp_min(1))).clamp_max(100)


def sampling_weights(targets: Tensor, kind: str, classes: int) -> Tensor:
    """Returns for each image how often it is to be drawn, so that classes come alike.

    Args:
        targets: Of all training images.
        kind: Their kind; with several labels, an image's rarest one decides.
        classes: How many there are.
    """
    if kind == "multilabel":
        each = 1 / targets.sum(0).clamp_min(1)
        none = 1 / (targets.sum(1) == 0).sum().clamp_min(1)
        return torch.where(targets.sum(1) > 0, (targets * each).amax(1), none)
    counts = torch.bincount(targets.long(), minlength=classes).float()
    return 1 / counts[targets.long()]
