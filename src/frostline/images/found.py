"""What a source of pictures gives, and what it must be able to do."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from frostline.images.medium import PICTURES, Medium
from frostline.images.rows import SEPARATOR, Row


@dataclass(frozen=True)
class ReadOptions:
    """How a table of pictures is read.

    Attributes:
        targets: `multiclass` or `binary`: each image has one label. `multilabel`: any number.
            `auto`: what the source plainly is.
        separator: Between the labels in a cell: `auto`, `space`, or the sign itself.
        layout: Of folders: `auto` finds split folders and refuses what looks like unknown ones;
            `classes` takes the folders on top as the classes, whatever they are called.
        medium: Pictures or sounds.
    """

    targets: str = "auto"
    separator: str = "auto"
    layout: str = "auto"
    medium: Medium = PICTURES


@dataclass
class FoundImages:
    """The images of a source; none has been opened yet.

    Attributes:
        rows: Paths with label and split.
        skipped_hidden: Hidden files and folders passed over.
        skipped_other: Files passed over that are no images by name.
        has_splits: Whether the source assigns splits.
        several: Whether an image may have any number of labels.
        notes: What was assumed, or left out on purpose; a line each.
        medium: What was looked for.
    """

    rows: list[Row] = field(default_factory=list)
    skipped_hidden: int = 0
    skipped_other: int = 0
    has_splits: bool = False
    several: bool = False
    notes: list[str] = field(default_factory=list)
    medium: Medium = PICTURES

    def sort(self) -> None:
        """Puts the rows in order of their paths, byte by byte."""
        self.rows.sort(key=lambda row: os.fsencode(row.path))


class TableSource(Protocol):
    """A kind of source; each is one module of this folder, named in `table_sources`."""

    def takes(self, source: Any) -> bool:
        """Says whether a source is of this kind, by what it is and how it is called."""
        ...

    def find(self, source: Any, options: ReadOptions) -> FoundImages:
        """Returns its images.

        Raises:
            ListingError: Saying what does not hold, with the line or folder.
        """
        ...


def torn_label(labels: Iterable[str]) -> str:
    """Returns the first name that holds the sign between labels; empty where none does."""
    return min((label for label in labels if SEPARATOR in label), default="")
