"""Which column of a table says what: path, label, split, group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from frostline.base.errors import ListingError, did_you_mean
from frostline.images import split_names
from frostline.images.csv_text import Table
from frostline.images.rows import Row

# The first that is there is taken.
PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_name", "imagename", "image_file", "img", "img_path"),
    *("picture", "photo", "image_id", "img_id", "id"),
)
LABELS = (
    *("label", "labels", "class", "class_name", "classname", "label_name", "category"),
    *("classes", "categories", "tags", "tag", "target", "targets"),
)
# Names that say that a cell may hold several labels.
PLURALS = ("labels", "classes", "categories", "tags", "targets")
SPLITS = ("split", "splits", "set", "subset", "partition", "phase", "fold", "folds", "kfold")
FLAGS = {"is_valid": "val", "is_val": "val", "is_validation": "val", "is_test": "test"}
_OWN = {"digest", "width", "height", "mode", "problem", "label_count"}
_ZERO, _ONE = {"0", "0.0", "false"}, {"1", "1.0", "true"}
_SHOWN = 8

SplitOf = Callable[[str], str | None]


@dataclass(frozen=True)
class Columns:
    """Where things stand in a table.

    Attributes:
        path: The column of paths.
        label: That of labels; None where each class has a column of its own.
        classes: Those columns, otherwise none: position and name.
        split: The column of splits; None where there is none.
        split_of: What a cell of it says; None where it says nothing that is known.
        group: The column of groups; None where there is none.
        notes: What a person must be told of all this.
    """

    path: int
    label: int | None
    classes: tuple[tuple[int, str], ...]
    split: int | None
    split_of: SplitOf
    group: int | None
    notes: tuple[str, ...]


def find(table: Table) -> Columns:
    """Says which column is which.

    Raises:
        ListingError: Where there are none for paths or labels, or one stands there twice.
    """
    header = [name.replace(" ", "_").replace("-", "_") for name in table.header]
    path = _first(header, PATHS)
    label = _first(header, LABELS)
    split, split_of, split_note = _split(table, header)
    group = _first(header, ("group",))
    taken = {path, label, split, group}
    classes: tuple[tuple[int, str], ...] = ()
    if path is not None and label is None:
        classes = _one_hot(table, header, taken)
    if path is None or (label is None and not classes):
        raise _missing(table, "path" if path is None else "label")
    for index in taken - {None}:
        if header.count(header[index]) > 1:  # type: ignore[index]
            raise ListingError(
                f"{table.name}: the column {header[index]} stands there "  # type: ignore[index]
                f"{header.count(header[index])} times. Keep one of them."  # type: ignore[index]
            )
    used = taken | {index for index, _ in classes}
    notes = _notes(table, header, path, label, classes, used)
    notes += [split_note] if split_note else []
    return Columns(path, label, classes, split, split_of, group, tuple(notes))


def _first(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _cells(table: Table, column: int) -> list[str]:
    return [line[column].strip() if column < len(line) else "" for _, line in table.lines]


def _split(table: Table, header: Sequence[str]) -> tuple[int | None, SplitOf, str]:
    """Returns the column of splits, what its cells say, and what to tell of it."""
    for name in (*SPLITS, *FLAGS):
        if name not in header:
            continue
        column = header.index(name)
        values = {cell for cell in _cells(table, column) if cell}
        if name == "split" or any(split_names.split_of(value) for value in values):
            told = "" if name == "split" else f"splits are those of the column {name}."
            return column, split_names.split_of, told
        lowest = split_names.first_fold(values) if "fold" in name else None
        if lowest is not None and len(values) > 1:
            told = (
                f"splits are those of the column {name}: the pictures of fold {lowest} are for "
                "validation, all others for training."
            )
            return column, _of_fold(lowest), told
        if name in FLAGS and values and all(split_names.is_true(v) is not None for v in values):
            told = f"splits are those of the column {name}: where it is true, {FLAGS[name]}."
            return column, _of_flag(FLAGS[name]), told
    return None, split_names.split_of, ""


def _of_fold(lowest: str) -> SplitOf:
    return lambda cell: None if not cell else "val" if float(cell) == float(lowest) else "train"


def _of_flag(split: str) -> SplitOf:
    return lambda cell: None if not cell else split if split_names.is_true(cell) else "train"


def _one_hot(
    table: Table, header: Sequence[str], taken: set[int | None]
) -> tuple[tuple[int, str], ...]:
    """Returns the columns that hold only 0 and 1, two of them at least: one a class."""
    found = []
    for index, name in enumerate(table.header):
        values = {cell.lower() for cell in _cells(table, index)}
        if index not in taken and name and values and values <= _ZERO | _ONE:
            found.append((index, name))
    names = [name for _, name in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ListingError(
            f"{table.name}: the column {twice} stands there {names.count(twice)} times. "
            "Keep one of them."
        )
    return tuple(found) if len(found) > 1 and table.lines else ()


def tags_of(cells: Sequence[str], classes: Sequence[tuple[int, str]]) -> list[str]:
    """Returns the names of the classes whose column holds 1 in a row."""
    return [
        name
        for index, name in classes
        if index < len(cells) and cells[index].strip().lower() in _ONE
    ]


def _missing(table: Table, needed: str) -> ListingError:
    return ListingError(
        f"{table.name}: there is no column {needed}; the first line must name the columns path "
        f"and label, and may name split and group. It names {', '.join(table.header) or 'none'}."
        f"{did_you_mean(needed, table.header)}"
    )


def _notes(
    table: Table,
    header: Sequence[str],
    path: int,
    label: int | None,
    classes: Sequence[tuple[int, str]],
    used: set[int | None],
) -> list[str]:
    notes = []
    if header[path] != "path":
        notes.append(f"paths are those of the column {table.header[path]}.")
    if label is not None and header[label] != "label":
        notes.append(f"labels are those of the column {table.header[label]}.")
    if classes:
        names = [name for _, name in classes]
        notes.append(f"classes are the columns of 0 and 1: {_some(names)}.")
    own = _OWN if {field.name for field in fields(Row)} <= set(header) else set()
    passed = [
        name or "(without a name)"
        for index, name in enumerate(table.header)
        if index not in used and name not in own
    ]
    if passed:
        notes.append(f"columns passed over: {_some(passed)}.")
    return notes


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
