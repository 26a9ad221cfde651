"""Names of further files, as a file gives them: never followed out of its folder."""

from pathlib import Path, PurePosixPath

from frostline.base.errors import WeightsError


def beside(main: Path, name: str) -> Path:
    """Returns the file that `main` names, in its own folder or below.

    Raises:
        WeightsError: Where it would lie outside, is a link that leads outside, or is not there.
    """
    folder = main.parent
    plain = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or plain.is_absolute() or ".." in plain.parts or ":" in name:
        raise WeightsError(f"{main}: refused: it names {name!r}, which lies outside its folder.")
    path = folder / plain
    # A model hub's cache is all links, and what they lead to lies side by side again.
    homes = (folder.resolve(), main.resolve().parent)
    if not any(path.resolve().is_relative_to(home) for home in homes):
        raise WeightsError(f"{main}: refused: {name!r} is a link that leads out of its folder.")
    if not path.is_file():
        raise WeightsError(f"{main}: names {name!r}, which is not there. Fetch it as well.")
    return path
