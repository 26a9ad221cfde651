"""Which file a cell of a table means: a path, an id without ending, a path of another machine."""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from frostline.images.medium import PICTURES, Medium
from frostline.images.walk import files_below, has_ending


@dataclass
class FileFinder:
    """Finds files as cells name them; looks below the folder only where it has to.

    Attributes:
        folder: What relative paths are relative to.
        medium: Pictures or sounds.
        searched: How many files were found by their names alone.
        searched_for: The first cell that was, and what it was taken to be; for the note.
    """

    folder: Path
    medium: Medium = PICTURES
    searched: int = 0
    searched_for: tuple[str, str] = ("", "")
    _by_name: dict[str, list[str]] = field(default_factory=dict)
    _is_listed: bool = False

    def find(self, cell: str) -> tuple[str, str]:
        """Returns the path of a file, and what is wrong with it (empty where nothing is)."""
        path = self.folder / cell
        if os.path.isfile(path):  # noqa: PTH113 - takes names that are too long
            return str(path), ""
        if os.path.isdir(path):  # noqa: PTH112
            return str(path), "is a folder"
        foreign = PureWindowsPath(cell)
        if "\\" in cell and os.path.isfile(self.folder.joinpath(*foreign.parts)):  # noqa: PTH113
            return str(self.folder.joinpath(*foreign.parts)), ""
        parts = foreign.parts if "\\" in cell else Path(cell).parts
        known = self._known(parts[-1]) if parts else []
        best = _longest_common_end(known, parts)
        if len(best) == 1:
            self.searched += 1
            if not self.searched_for[0]:
                self.searched_for = (cell, os.path.relpath(best[0], self.folder))
            return best[0], ""
        if best:
            return str(path), f"may be {best[0]} or {best[1]}"
        return str(path), "does not exist"

    def note(self) -> str:
        """Says what was found by its name alone; empty where nothing was."""
        if not self.searched:
            return ""
        cell, found = self.searched_for
        count = "1 path was" if self.searched == 1 else f"{self.searched} paths were"
        return f"{count} found by file name below the table's folder, such as {cell}: {found}."

    def _known(self, name: str) -> list[str]:
        """Returns the pictures below the folder of this name, with or without its ending."""
        if not self._is_listed:
            self._is_listed = True
            found: dict[str, list[str]] = defaultdict(list)
            for path in files_below(self.folder, self.medium):
                found[path.name].append(str(path))
                found[path.stem].append(str(path))
            self._by_name = dict(found)
        known = self._by_name.get(name, [])
        # An id such as 1.2 has no ending, and 1.png is one name only.
        return [
            path for path in known if Path(path).name == name or not has_ending(name, self.medium)
        ]


def _longest_common_end(paths: list[str], parts: tuple[str, ...]) -> list[str]:
    """Returns those of `paths` that share most folders with `parts`, from the end on."""

    def shared(path: str) -> int:
        pairs = zip(reversed(Path(path).parts[:-1]), reversed(parts[:-1]), strict=False)
        count = 0
        for one, other in pairs:
            if one != other:
                break
            count += 1
        return count

    most = max(map(shared, paths), default=0)
    return [path for path in paths if shared(path) == most]
