"""Folders of class folders as a source of pictures, with or without split folders above them."""

import stat
from collections import Counter
from pathlib import Path
from typing import Any

from frostline.base.errors import ListingError
from frostline.images import label_names, split_folders, split_names, walk
from frostline.images.found import FoundImages, ReadOptions, torn_label
from frostline.images.rows import Row
from frostline.images.walk import Identity, Inside, at, identity_of, look_or_raise


def takes(source: Any) -> bool:
    """Says whether it is a folder."""
    return isinstance(source, Path) and stat.S_ISDIR(walk.kind_of(source))


def find(source: Any, options: ReadOptions) -> FoundImages:
    """Returns the images of class folders, each with the name of its folder.

    Raises:
        ListingError: Where folders cannot be told to be classes or splits, or hold no images.
    """
    found = FoundImages(several=options.targets == "multilabel", medium=options.medium)
    # Files are opened long after this, perhaps from another working directory.
    root = source.absolute()
    inside = look_or_raise(root, found)
    splits = split_folders.find(root, inside, options.medium) if options.layout == "auto" else {}
    if splits:
        _find_splits(root, inside, splits, found)
    else:
        if options.layout == "auto":
            split_folders.refuse_lookalikes(root, inside, options.medium)
        _find_classes(root, inside, "", found, {identity_of(root)})
    _one_spelling(found)
    torn = torn_label(row.label for row in found.rows) if found.several else ""
    if torn:
        raise ListingError(
            f"{source}: the class folder {torn!r} has a ; in its name, which stands between "
            "labels where an image may have several. Rename the folder."
        )
    found.sort()
    return found


def _find_splits(root: Path, inside: Inside, splits: dict[str, str], found: FoundImages) -> None:
    found.has_splits = True
    odd = [f"{name} is {split}" for name, split in splits.items() if name.lower() != split]
    if odd:
        found.notes.append(f"splits are those of the folders: {', '.join(odd)}.")
    above = {identity_of(root)}
    for name in inside.folders:
        if name in splits:
            _find_split(root / name, splits[name], found, above)
        else:
            _leave_out(root / name, "lies beside the split folders", found, above)
    _add_strays(root, inside, found)


def _find_split(folder: Path, split: str, found: FoundImages, above: set[Identity]) -> None:
    before = len(found.rows)
    folder = split_folders.inner(folder, found.medium)
    inside = look_or_raise(folder, found)
    if split == "test" and inside.images and not inside.folders:
        count = _many(len(inside.images))
        found.notes.append(
            f"left out: {folder}: {count} without class folders, so nothing says what they show. "
            f"Once trained: frostline predict RUN {folder}."
        )
        return
    _find_classes(folder, inside, split, found, above | {identity_of(folder)})
    if split == "train" and not any(not row.problem for row in found.rows[before:]):
        raise ListingError(
            f"{folder}: holds no {found.medium.noun}s. Put a folder of {found.medium.noun}s for "
            "each class into it."
        )


def _find_classes(
    root: Path, inside: Inside, split: str, found: FoundImages, above: set[Identity]
) -> None:
    if inside.images and not inside.folders:
        tables = sorted(path.name for path in (root, root.parent) for path in path.glob("*.csv"))
        hint = f" Or name a table that says it: is it {tables[0]}?" if tables else ""
        raise ListingError(
            f"{root}: holds {len(inside.images)} {found.medium.noun}s but no class folders, "
            f"so nothing says what they show. Put each class into a folder of its own.{hint}"
        )
    for label in inside.folders:
        folder = root / label
        if identity_of(folder) in above:  # A link back up is no class.
            found.skipped_other += 1
            continue
        if split_names.is_unlabelled(label) and split:
            _leave_out(folder, "is called as if nobody knew what they show", found, above)
            continue
        before = len(found.rows)
        like = Row(str(folder), label, split)
        walk.walk(folder, like, found, set(above))
        if len(found.rows) == before:
            found.rows.append(at(like, folder, f"a class folder without {found.medium.noun}s"))
    _add_strays(root, inside, found)


def _leave_out(folder: Path, reason: str, found: FoundImages, above: set[Identity]) -> None:
    """Names a folder whose pictures are not used."""
    beside = FoundImages(medium=found.medium)
    walk.walk(folder, Row(""), beside, set(above))
    found.skipped_other += beside.skipped_other
    found.skipped_hidden += beside.skipped_hidden
    found.notes += beside.notes
    if beside.rows:
        found.notes.append(f"left out: {folder}: {_many(len(beside.rows))}; it {reason}.")


def _add_strays(root: Path, inside: Inside, found: FoundImages) -> None:
    reason = "lies outside every class folder"
    found.rows += [Row(str(root / name), problem=reason) for name in inside.images]


def _one_spelling(found: FoundImages) -> None:
    """Brings the names of classes to one form; paths stay as they are on disk."""
    tidied = {row.label: label_names.tidy(row.label) or row.label for row in found.rows}
    shared = Counter(tidied.values())
    # Blanks around a name are a part of it where no other folder is called the same without.
    renamed = {
        label: label if label.isascii() and shared[name] == 1 else name
        for label, name in tidied.items()
    }
    found.notes += label_names.joined(renamed)
    found.rows = [
        row
        if renamed[row.label] == row.label
        else Row(row.path, renamed[row.label], row.split, problem=row.problem)
        for row in found.rows
    ]


def _many(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
