"""Which folders are splits and which are classes, by their names and by what lies in them."""

from pathlib import Path

from frostline.base.errors import ListingError
from frostline.images.medium import Medium
from frostline.images.split_names import is_container, split_of
from frostline.images.walk import Inside, peek

_SHOWN = 4


def find(root: Path, inside: Inside, medium: Medium) -> dict[str, str]:
    """Returns the folders that are splits, by name; none where the folders are classes.

    A folder `train` among `car` and `bus` is a class: it is a split only beside another split,
    alone, or where it holds folders and no images.

    Raises:
        ListingError: For validation without training, and for two folders of one split.
    """
    splits = {name: split for name in inside.folders if (split := split_of(name))}
    layered = [name for name in splits if is_layered(root / name, medium)]
    alone = len(splits) == len(inside.folders)
    if "train" not in splits.values():
        if layered and alone:
            raise ListingError(
                f"{root}: has {' and '.join(splits)} but no train. Add a folder train, or name "
                "one folder of class folders."
            )
        return {}
    if len(set(splits.values())) < len(splits):
        raise ListingError(
            f"{root}: {', '.join(splits)}: two of these mean the same split. Keep one of them."
        )
    if len(splits) > 1 or alone or any(splits[name] == "train" for name in layered):
        return splits
    return {}


def is_layered(folder: Path, medium: Medium) -> bool:
    """Says whether a folder holds folders and no images of its own."""
    inside = peek(folder, medium)
    return bool(inside.folders) and not inside.images


def inner(folder: Path, medium: Medium) -> Path:
    """Returns where the class folders of a split lie: `seg_train/seg_train`, `train/images`.

    It goes down only where a single folder lies within whose name says no class.
    """
    here = folder
    while True:
        inside = peek(here, medium)
        if inside.images or len(inside.folders) != 1:
            return here
        (name,) = inside.folders
        if not (name.lower() == folder.name.lower() or is_container(name) or split_of(name)):
            return here
        below = here / name
        within = peek(below, medium)
        if not within.folders and not within.images:
            return here
        here = below


def refuse_lookalikes(root: Path, inside: Inside, medium: Medium) -> None:
    """Stops where what stands in the place of classes looks like parts of one set.

    Raises:
        ListingError: Where all of these folders hold folders of the same names, two at least, and
            no pictures of their own.
    """
    held = {}
    for name in inside.folders:
        within = peek(root / name, medium)
        if within.images:
            return
        if within.folders:
            held[name] = {folder.casefold(): folder for folder in within.folders}
    common = set.intersection(*map(set, held.values())) if held else set()
    if len(held) < 2 or len(common) < 2 or 2 * len(common) < max(map(len, held.values())):
        return
    parts = _some(list(held))
    names = _some(sorted(next(iter(held.values()))[folder] for folder in common))
    if all(split_of(folder) for folder in common):
        raise ListingError(
            f"{root}: each of {parts} holds {names}: splits below classes. Put them the other way "
            "round (train/CLASS, val/CLASS), or --layout classes takes all pictures of a class."
        )
    raise ListingError(
        f"{root}: {parts} hold folders of the same names ({names}) and no pictures of their own, "
        "so they look like parts of one set and not like classes. Call them train, val and test, "
        "or name one of them; where they are the classes, say --layout classes."
    )


def _some(names: list[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
