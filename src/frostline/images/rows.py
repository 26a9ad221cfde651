"""The records that a listing is made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from frostline.images.nouns import PICTURES, SOUNDS, Nouns, nouns_of

# Stands between the labels of an image that may have several.
SEPARATOR = ";"


@dataclass(frozen=True)
class Row:
    """One image and what is known of it.

    Attributes:
        path: As it is opened. Bytes that are not UTF-8 stand as surrogates (`os.fsdecode`).
        label: The name of its class; empty where there is none. In a listing of several labels
            an image, all of them as `join_tags` puts them.
        split: `train`, `val`, `test`, or empty while not assigned.
        digest: Of the file's content; empty where it cannot be read.
        width: In pixels, as displayed (upright); 0 where unknown. Of a sound, its length in
            samples.
        height: Likewise. Of a sound, its samples a second.
        mode: Pillow's mode; of pictures deeper than 8 bits `CHANNELS;SAMPLES`, such as
            `RGB;uint16`; of sounds `FORMAT/SAMPLES/CHANNELS`, such as `WAV/PCM_16/2`; empty
            where unknown.
        problem: Why it is left out; empty where it is not.
        group: Images of one group never come apart in a split; empty for none.
    """

    path: str
    label: str = ""
    split: str = ""
    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    problem: str = ""
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """All images of a source, good and bad.

    Attributes:
        rows: One per image, sorted by path; in the order given where loose files were named.
        root: The folder or CSV file they come from; empty for loose files.
        skipped_hidden: How many hidden files and folders were passed over.
        skipped_other: How many files were passed over that are no images by name.
        has_splits: Whether the source itself said what is for training and what for validation.
        several: Whether an image may have any number of labels instead of exactly one.
        notes: What was assumed of the source, or left out of it on purpose; a line each.
        noun: What one of its files is called: `image` or `sound`.
    """

    rows: tuple[Row, ...]
    root: str = ""
    skipped_hidden: int = 0
    skipped_other: int = 0
    has_splits: bool = False
    several: bool = False
    notes: tuple[str, ...] = ()
    noun: str = PICTURES.term

    @property
    def nouns(self) -> Nouns:
        """The words for its files."""
        return nouns_of(self.noun == SOUNDS.term)

    @property
    def usable(self) -> tuple[Row, ...]:
        """The rows without a problem."""
        return tuple(row for row in self.rows if not row.problem)

    @property
    def problems(self) -> tuple[Row, ...]:
        """The rows that are left out."""
        return tuple(row for row in self.rows if row.problem)

    @property
    def labels(self) -> list[str]:
        """The names of the classes that have a usable image, sorted."""
        return sorted({tag for row in self.usable for tag in self.tags(row)})

    def tags(self, row: Row) -> tuple[str, ...]:
        """Returns the labels of one image: one, or where there may be several any number."""
        if self.several:
            return split_tags(row.label)
        return (row.label,) if row.label else ()

    def with_notes(self, notes: Iterable[str]) -> "Listing":
        """Returns the listing with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def of(self, split: str) -> tuple[Row, ...]:
        """Returns the usable rows of one split, in order."""
        return tuple(row for row in self.usable if row.split == split)

    def with_problems(self, reasons: Mapping[str, str]) -> "Listing":
        """Returns the listing with the images at these paths left out, each with its reason."""
        rows = (replace(row, problem=reasons.get(row.path) or row.problem) for row in self.rows)
        return replace(self, rows=tuple(rows))


def split_tags(text: str) -> tuple[str, ...]:
    """Returns the labels in `cat; dog`: sorted, each once, without the spaces around them."""
    return tuple(sorted({tag.strip() for tag in text.split(SEPARATOR)} - {""}))


def shown_label(label: str, several: bool) -> str:
    """Returns a row's label for a person: of several labels all, with commas between them."""
    return ", ".join(split_tags(label)) if several else label


def join_tags(tags: Iterable[str]) -> str:
    """Returns labels as one text, sorted: `cat;dog`. `split_tags` takes it apart again."""
    return SEPARATOR.join(sorted(tags))
