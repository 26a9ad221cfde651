"""What a command may be asked to look at: a run, a model folder, or a network by name."""

from pathlib import Path

from frostline import frost
from frostline.base.errors import BackboneError, LineError, did_you_mean
from frostline.base.paths import user_path
from frostline.networks import catalog, model_folder
from frostline.networks.names import BackboneName
from frostline.networks.opening import open_at_size, open_bare
from frostline.networks.record import OpenedBackbone
from frostline.run.folder import RunFolder, open_run


def folder_of(target: str) -> Path | None:
    """Returns the model folder that is meant, which may be a run's; None for other names.

    Raises:
        BackboneError: Where there is no such folder, and one of nearly that name.
        RunError: Where it is an unfinished run.
    """
    path = Path(catalog.parse(target).path) if target.startswith("dir:") else user_path(target)
    if path.is_dir() or target.startswith("dir:"):
        return open_run(path).model if RunFolder(path).is_run() else path
    there = Path(target).parent
    if ":" not in target and there.is_dir():
        near = did_you_mean(Path(target).name, [p.name for p in there.iterdir() if p.is_dir()])
        if near:
            raise BackboneError(f"{target}: no such run or model folder.{near}")
    return None


def traced_of(
    target: str, path: Path | None, image_px: int
) -> tuple[OpenedBackbone, frost.TracedNetwork]:
    """Opens a network and finds its lines; without weights wherever that can be done.

    Args:
        target: What was asked for.
        path: From `folder_of`.
        image_px: Side of the square input, in pixels; 0 for the network's own.

    Raises:
        BackboneError: Where it cannot be opened.
        LineError: Where it cannot be traced.
    """
    if path is not None:
        # Not by name: a folder's own name may read like a name's arguments.
        opened = model_folder.open_dir(BackboneName("dir", str(path.absolute())))
        return opened, catalog.trace(opened, image_px)
    try:
        bare = open_bare(target, image_px)
        return bare, catalog.trace(bare)
    # A network that cannot be traced without numbers is traced with some.
    except LineError:
        opened = open_at_size(target, image_px, pretrained=catalog.is_folder(target))
        return opened, catalog.trace(opened)


def name_of(target: str) -> str:
    """Returns the name that opens a network; a run or a model folder may be named by its path.

    Raises:
        BackboneError: Where there is no such folder, and one of nearly that name.
        RunError: Where it is an unfinished run.
    """
    path = folder_of(target)
    return target if path is None or target.startswith("dir:") else f"dir:{path.absolute()}"
