"""Copies of pictures in a folder for each class that was said of them; nothing is ever moved."""

import filecmp
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from frostline.base.files import disk_error
from frostline.model.predict import Prediction

UNSURE, NONE = "_unsure", "_none"
# What one system or another does not allow in a name.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')


def sort_into(
    folder: Path,
    said: Iterable[Prediction],
    labels: Sequence[str],
    unsure: float | None = None,
    link: bool = False,
) -> int:
    """Puts a copy of each picture, or a link to it, into the folder of its class.

    One of several labels lies in each of their folders, one without any in `_none`, and an unsure
    one in `_unsure`. What is there already stays: another picture of the same name gets a number,
    and the same picture is not put there twice. What could not be read is passed over.

    Args:
        folder: Where the folders of the classes are made.
        said: One prediction a picture.
        labels: All classes of the model.
        unsure: Below this sureness, a picture is unsure; None for none.
        link: Whether links are made instead of copies.

    Returns:
        How many pictures were sorted.

    Raises:
        DiskError: Where the disk is full or refuses.
    """
    names = folder_names([UNSURE, NONE, *labels])
    count = 0
    for one in said:
        if one.problem:
            continue
        is_unsure = unsure is not None and one.is_unsure(unsure)
        for label in [UNSURE] if is_unsure else one.labels or [NONE]:
            _put(Path(one.path), folder / names[label], link)
        count += 1
    return count


def folder_names(labels: Iterable[str]) -> dict[str, str]:
    """Returns a folder's name for each class, which every system allows, and no two alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        plain = _FORBIDDEN.sub("_", label).rstrip(". ") or "_"
        tries = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
        # Some systems take names that differ in case only for the same.
        names[label] = next(name for name in tries if name.casefold() not in taken)
        taken.add(names[label].casefold())
    return names


def _put(picture: Path, folder: Path, link: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from error
    for number in itertools.count(1):
        name = picture.name if number == 1 else f"{picture.stem}-{number}{picture.suffix}"
        target = folder / name
        if not os.path.lexists(target):
            break
        if _is_same(picture, target):
            return
    try:
        if link:
            target.symlink_to(picture.absolute())
        else:
            _copy(picture, target)
    except OSError as error:
        raise disk_error(error, target) from error


def _copy(picture: Path, target: Path) -> None:
    """Copies under another name first, so that a part never passes for the whole.

    It is not synced to the disk: the picture itself is still there.
    """
    temporary = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(picture, temporary)
        shutil.copystat(picture, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _is_same(picture: Path, target: Path) -> bool:
    try:
        return picture.samefile(target) or filecmp.cmp(picture, target, shallow=False)
    except OSError:
        return False
