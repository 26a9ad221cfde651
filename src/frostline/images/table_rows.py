"""From the cells of a table to images with labels, whatever kind of table it was."""

from collections import Counter
from collections.abc import Sequence

from frostline.base.errors import ListingError, did_you_mean, raise_all
from frostline.images import columns, label_names, split_names
from frostline.images.columns import Columns
from frostline.images.csv_text import Table
from frostline.images.file_names import FileFinder
from frostline.images.found import FoundImages, ReadOptions, torn_label
from frostline.images.rows import SEPARATOR, Row, join_tags

_SHOWN = 20
_GUESSED = ("|", ",", " ")
# Of the names in a cell of tags, so many come back elsewhere where a space stands between them.
_MOSTLY = 0.8
_WORDS = {"|": "bars", ",": "commas", " ": "spaces"}


def read(table: Table, options: ReadOptions) -> FoundImages:
    """Reads `path,label[,split][,group]`; columns may be called otherwise, and others are named.

    Splits are filled in for all images or for none.

    Raises:
        ListingError: With every fault and its line, raised once.
    """
    where = columns.find(table)
    separator, several = _separator(table, where, options)
    renamed = _one_spelling(table, where, separator)
    finder = FileFinder(table.folder, options.medium)
    rows: list[Row] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, line in table.lines:
        row, wrong = _read(line, where, separator, several, renamed, finder)
        wrong = [f"{fault}{_relative(fault, table)}" for fault in wrong]
        if row.path in seen and not wrong:
            more = "; put all its labels into one cell, with ; between them" if several else ""
            first = f"{table.unit} {seen[row.path]}"
            wrong = [f"path {row.path} stands on {first} already{more}."]
        seen.setdefault(row.path, number)
        problems += [f"{table.unit} {number}: {fault}" for fault in wrong]
        rows.append(row)
    problems = problems or _check_splits(rows)
    raise_all(ListingError, table.name, problems, most=_SHOWN)
    notes = [*where.notes, finder.note(), *label_names.joined(renamed)]
    if separator not in ("", SEPARATOR):
        notes.append(
            f"labels in a cell are taken apart at {_WORDS.get(separator, repr(separator))}, so a "
            "picture may have several; --targets multiclass takes each cell as one class."
        )
    if not separator and _may_be_tags(table, where, options):
        notes.append(
            f"each cell of {table.header[where.label or 0]} is taken as one class; where it holds "
            "several labels, say what stands between them, such as --separator space."
        )
    found = FoundImages(
        rows,
        several=several,
        notes=[note for note in notes if note],
        medium=options.medium,
    )
    found.has_splits = any(row.split for row in rows)
    found.sort()
    return found


def _relative(fault: str, table: Table) -> str:
    return f"; paths are relative to {table.relative_to}." if not fault.endswith(".") else ""


def _separator(table: Table, where: Columns, options: ReadOptions) -> tuple[str, bool]:
    """Returns the sign between labels (empty for none), and whether there may be several."""
    if options.targets in ("multiclass", "binary"):
        return "", False
    asked = {"auto": "", "space": " "}.get(options.separator, options.separator)
    is_asked = options.targets == "multilabel" or bool(asked)
    if where.label is None:
        counts = {len(columns.tags_of(line, where.classes)) for _, line in table.lines}
        return SEPARATOR, is_asked or counts != {1}
    cells = [line[where.label] for _, line in table.lines if where.label < len(line)]
    if any(SEPARATOR in cell for cell in cells) and not asked:
        return SEPARATOR, True
    asked = asked or _guess(cells, table.header[where.label])
    return asked or (SEPARATOR if is_asked else ""), is_asked or bool(asked)


def _may_be_tags(table: Table, where: Columns, options: ReadOptions) -> bool:
    """Says whether a column whose name says several labels has cells of several words."""
    if options.targets != "auto" or where.label is None:
        return False
    column = where.label
    return table.header[column] in columns.PLURALS and any(
        len(line[column].split()) > 1 for _, line in table.lines if column < len(line)
    )


def _guess(cells: Sequence[str], header: str) -> str:
    """Returns the sign that plainly stands between labels; empty where none does.

    A bar always; a comma in a column called `tags` or the like, a space there where the names come
    back in other cells. In a column for one label, a comma only where each part is a class of its
    own, too: so `golden retriever` and `Paris, France` stay whole.
    """
    distinct = {cell.strip() for cell in cells}
    for sign in _GUESSED:
        parts = [[part.strip() for part in cell.split(sign) if part.strip()] for cell in distinct]
        torn = {part for found in parts if len(found) > 1 for part in found}
        uses = Counter(part for found in parts for part in set(found))
        again = sum(uses[part] > 1 for part in torn)
        if sign == "|":
            is_plain = bool(torn)
        elif header in columns.PLURALS:
            is_plain = bool(torn) and (sign == "," or again >= _MOSTLY * len(torn))
        else:
            is_plain = sign == "," and bool(torn) and again == len(torn) and torn <= distinct
        if is_plain:
            return sign
    return ""


def _one_spelling(table: Table, where: Columns, separator: str) -> dict[str, str]:
    """Returns each label as it is written, with the name of its class."""
    written: set[str] = set()
    for _, line in table.lines:
        if where.label is None:
            written |= set(columns.tags_of(line, where.classes))
        elif where.label < len(line):
            written |= set(_parts(line[where.label], separator))
    tidied = {text: label_names.tidy(text) for text in written}
    numbers = label_names.same_numbers(tidied.values())
    return {text: numbers.get(name, name) for text, name in tidied.items()}


def _parts(cell: str, separator: str) -> list[str]:
    # Blanks of ASCII around a name were never a part of it, and are not worth a word.
    parts = cell.split(separator) if separator else [cell]
    return [part.strip(" \t\r\n") for part in parts]


def _read(
    line: Sequence[str],
    where: Columns,
    separator: str,
    several: bool,
    renamed: dict[str, str],
    finder: FileFinder,
) -> tuple[Row, list[str]]:
    def cell(column: int | None) -> str:
        return line[column] if column is not None and column < len(line) else ""

    wrong = []
    if where.label is None:
        texts = columns.tags_of(line, where.classes)
    else:
        texts = [text for text in _parts(cell(where.label), separator) if text]
    wrong += _label_faults(cell(where.path), texts, several, one_hot=where.label is None)
    names = {renamed[text] for text in texts} - {""}
    split_cell = cell(where.split).strip()
    split = where.split_of(split_cell) if split_cell else ""
    if split_cell and not split:
        wrong.append(
            f"split must be train, val or test, and is {split_cell!r}."
            f"{did_you_mean(split_cell, split_names.KNOWN)}"
        )
    path, fault = finder.find(cell(where.path)) if cell(where.path) else (str(finder.folder), "")
    wrong += [f"{path} {fault}"] if fault else []
    label = join_tags(names) if several else next(iter(names), "")
    return Row(path, label, split or "", group=cell(where.group).strip()), wrong


def _label_faults(path: str, texts: Sequence[str], several: bool, one_hot: bool) -> list[str]:
    missing = next((text for text in texts if label_names.is_missing(text)), None)
    if not path and several:
        return ["path is empty; each image needs one."]
    if not several and (not path or not "".join(map(label_names.tidy, texts))):
        return [f"{'path' if not path else 'label'} is empty; each image needs both."]
    if missing is not None:
        rest = (
            "leave the cell empty where a picture shows none of the classes"
            if several
            else ("leave the picture out of the table")
        )
        return [f"label is {missing!r}, which means that it is missing; {rest}, or rename it."]
    torn = torn_label(texts) if several else ""
    if torn:
        return [f"label {torn!r} has a ; in its name, which stands between labels. Rename it."]
    if any(label_names.has_control(text) for text in texts):
        return [
            'label holds a line break or another control character. Is a quotation mark (") open?'
        ]
    if one_hot and not several and len(texts) > 1:
        return [f"has several classes ({', '.join(texts)}), and its targets are one each."]
    return []


def _check_splits(rows: list[Row]) -> list[str]:
    without = sum(not row.split for row in rows)
    if 0 < without < len(rows):
        return [f"split is empty for {without} of {len(rows)} images; fill it for all or none."]
    if rows and not without and not any(row.split == "train" for row in rows):
        return ["no image has the split train."]
    return []
