"""Downloading a network ahead of its use, for this machine or for another one."""

from pathlib import Path

from frostline.base.errors import BackboneError
from frostline.networks import catalog, model_folder
from frostline.networks.record import OpenedBackbone


def check_new(folder: Path) -> None:
    """Sees to it that a model folder can be written to `folder`.

    Raises:
        BackboneError: Where something lies there.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BackboneError(f"--out: {folder} must be a new or an empty folder.")


def fetch(name: str, folder: Path | None = None) -> OpenedBackbone:
    """Downloads a network where it is not on this machine, and opens it.

    Args:
        name: As `catalog.find` takes it.
        folder: Where to write a model folder that `dir:FOLDER` opens on any machine; None keeps
            the download in its library's cache alone.

    Raises:
        BackboneError: Where the name does not hold, or it cannot be downloaded.
        DiskError: Where the folder cannot be written.
    """
    opened = catalog.find(name)
    if folder is not None:
        # Some weights have no names for their classes; a folder may have none, too.
        named = opened.record.classes
        extras = dict(opened.extras) if opened.extras or not named else None
        model_folder.write_folder(folder, opened.module, opened.record, named, extras)
    return opened
