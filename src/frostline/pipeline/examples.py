"""Rows of the listing as examples: row ids with their targets, in a fixed order."""

from collections.abc import Iterable, Mapping

import torch

from frostline.activations.cache.key import row_id
from frostline.images.augment import CENTER
from frostline.images.listing import Listing, Row
from frostline.model.classifier import Classifier
from frostline.sound import windows
from frostline.training.examples import Examples


def sorted_rows(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Returns rows in an order that renaming changes nothing of, with classes one by one."""
    return tuple(sorted(rows, key=lambda row: (row.label, row.digest, row.path)))


def labelled(rows: Iterable[Row], listing: Listing, model: Classifier) -> Examples | None:
    """Returns the `center` views of `rows` with targets and files; None where there are none."""
    number = {label: index for index, label in enumerate(model.labels)}
    chosen = tuple(rows)
    if not chosen:
        return None
    ids = tuple(row_id(row.digest, CENTER.name) for row in chosen)
    numbers = windows.file_numbers(chosen)
    files = None if numbers is None else torch.tensor(numbers)
    if model.targets != "multilabel":
        return Examples(ids, torch.tensor([number[row.label] for row in chosen]), files)
    targets = torch.zeros(len(chosen), len(model.labels))
    for index, row in enumerate(chosen):
        targets[index, [number[tag] for tag in listing.tags(row)]] = 1
    return Examples(ids, targets, files)


def problems_by_path(problems: Mapping[bytes, str], listing: Listing) -> dict[str, str]:
    """Returns what is wrong with images, by their paths, from problems by row id."""
    found = {}
    for row in listing.usable:
        reason = problems.get(row_id(row.digest, CENTER.name))
        if reason is not None:
            found[row.path] = reason
    return found
