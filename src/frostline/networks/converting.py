"""Loading a weights file of any format into a network, and writing that as a model folder."""

from collections.abc import Iterator
from pathlib import Path

from frostline.networks import catalog, fetching, model_folder, weights
from frostline.networks.record import OpenedBackbone
from frostline.networks.weights import Match

_LISTED = 40


def convert(
    file: Path, name: str, folder: Path, *, partial: bool = False, by: str = "auto"
) -> OpenedBackbone:
    """Loads a weights file into a network and writes a model folder, which `dir:FOLDER` opens.

    Args:
        file: The weights file, of any format.
        name: The network, as `catalog.find` takes it.
        folder: A new or an empty folder.
        partial: Load what matches, and leave the rest of the network random.
        by: How layers are paired: `name`, `order`, `graph`, or `auto`.

    Returns:
        The network; its `match` says what became of each tensor.

    Raises:
        BackboneError: Where the name does not hold, or something lies in the folder.
        WeightsError: Where the file does not fit, or is not safe to read; nothing is written.
        DiskError: Where the folder cannot be written.
    """
    fetching.check_new(folder)
    opened = catalog.find(name, weights=file, partial=partial, by=by)
    extras = dict(opened.extras) if opened.extras or not opened.record.classes else None
    model_folder.write_folder(folder, opened.module, opened.record, opened.record.classes, extras)
    return opened


def told(match: Match) -> Iterator[str]:
    """Yields a table of what matched, and the names of all that did not."""
    yield from weights.table(match)
    shapes = [
        f"{name}  network {list(want)}, file {list(got)}" for name, want, got in match.mismatched
    ]
    parts = (
        ("not filled", match.missing),
        ("of another shape", shapes),
        ("of the file, not used", match.unexpected),
    )
    for title, names in parts:
        for one in names[:_LISTED]:
            yield f"{title}: {one}"
        if len(names) > _LISTED:
            yield f"{title}: {len(names) - _LISTED} more; --json names all"
