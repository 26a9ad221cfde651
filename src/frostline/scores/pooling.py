"""From rows to files: what is said of a file is the mean of the probabilities over its rows.

A long sound is fed to a network in windows, each a row of its own; what is chosen by and what is
reported is of files. Both come from here. Where each row is a file of its own, as pictures are,
`files` is None and nothing is changed, not even a rounding.
"""

import torch
from torch import Tensor
from torch.nn import functional


def count(rows: int, files: Tensor | None) -> int:
    """Returns how many files some rows are of."""
    return rows if files is None else len(_numbered(files)[1])


def mean(values: Tensor, files: Tensor | None) -> Tensor:
    """Returns the means over the rows of each file.

    Args:
        values: [n, c], of rows.
        files: [n], the number of each row's file, or None.

    Returns:
        [files, c], in the order of the numbers.
    """
    if files is None:
        return values
    number, counts = _numbered(files)
    sums = values.new_zeros(len(counts), values.shape[1]).index_add_(0, number, values)
    return sums / counts[:, None]


def logits(values: Tensor, files: Tensor | None, kind: str) -> Tensor:
    """Returns logits whose probabilities are the means of those of each file's rows.

    Args:
        values: [n, scores], the logits of rows.
        files: [n], the number of each row's file, or None.
        kind: `multiclass`, `binary` or `multilabel`.

    Returns:
        [files, scores], on the CPU in float64, in the order of the numbers.
    """
    if files is None:
        return values
    exact = values.cpu().double()
    if kind == "multiclass":
        return _log_mean(exact.log_softmax(1), files)
    yes, no = functional.logsigmoid(exact), functional.logsigmoid(-exact)
    return _log_mean(yes, files) - _log_mean(no, files)


def first(values: Tensor, files: Tensor | None) -> Tensor:
    """Returns what the first row of each file has: [files, ...] of [n, ...], such as targets."""
    if files is None:
        return values
    number, counts = _numbered(files)
    places = torch.full((len(counts),), len(number)).scatter_reduce(
        0, number, torch.arange(len(number)), "amin"
    )
    return values[places.to(values.device)]


def _numbered(files: Tensor) -> tuple[Tensor, Tensor]:
    """Returns numbers without gaps, [n], and how many rows each file has."""
    _, number, counts = torch.unique(files, return_inverse=True, return_counts=True)
    return number, counts


def _log_mean(logs: Tensor, files: Tensor) -> Tensor:
    """Returns the logarithms of the means of what these [n, c] are the logarithms of."""
    number, counts = _numbered(files)
    index = number[:, None].expand_as(logs)
    # Less the largest, so that the means of small probabilities do not vanish.
    most = logs.new_full((len(counts), logs.shape[1]), -torch.inf)
    most = most.scatter_reduce(0, index, logs, "amax")
    return most + mean((logs - most[number]).exp(), files).log()
