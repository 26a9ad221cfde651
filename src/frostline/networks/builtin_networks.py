"""Networks that ship with Frostline; none needs a download.

Most are model folders inside the package, with weights in half precision; opening one gives
float32, as with any network. The two of `textbook` are code alone, to be trained from scratch, and
the one of `music_tagger` is one whose weights are a file that is named.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks import folder_config
from frostline.networks.folder_config import CONFIG
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneEntry

KIND = "builtin"
# Networks without weights, and the code that makes them.
UNTRAINED = {
    "small_cnn": "frostline.networks.textbook:small_cnn",
    "mnist_cnn": "frostline.networks.textbook:mnist_cnn",
}
# An architecture whose weights are a file that is named; `music_tagger` makes it.
MUSIC_TAGGER = "music_tagger_crnn"
# What takes the place of a default network that is not on the machine.
FALLBACK = "builtin:efficientnet_lite0"


def architectures() -> Sequence[str]:
    """Returns what may follow `builtin:`."""
    return [*_folders(), *UNTRAINED, MUSIC_TAGGER]


def brings_weights(name: BackboneName) -> bool:
    """Says whether a network that ships with Frostline comes with weights of its own."""
    return name.path not in (*UNTRAINED, MUSIC_TAGGER)


def entries() -> Iterator[BackboneEntry]:
    """Yields the networks that ship with Frostline and have weights."""
    for name in _folders():
        found = folder_config.read(_shipped() / name, f"{KIND}:{name}")
        config = found.table("pretrained_cfg")
        yield BackboneEntry(
            name=f"{KIND}:{name}",
            input_px=int(config["input_size"][-1]),
            licence=found.licence,
            interpolation=str(config["interpolation"]),
            classes=int(config["num_classes"]),
        )


def folder(name: BackboneName) -> Path:
    """Returns the model folder of `builtin:NAME`.

    Raises:
        BackboneError: Where no such network ships with Frostline.
    """
    known = architectures()
    if name.path not in known:
        raise BackboneError(
            f"{name}: no such network ships with Frostline; known are "
            f"{', '.join(known)}.{did_you_mean(name.path, known)}"
        )
    return _shipped() / name.path


def as_code(name: BackboneName) -> BackboneName | None:
    """Returns `py:MODULE:FACTORY` for a network that is code alone; None for all others."""
    if name.kind != KIND or name.path not in UNTRAINED:
        return None
    return replace(name, kind="py", path=UNTRAINED[name.path])


def refuse_untrained(name: BackboneName) -> None:
    """Raises `BackboneError` where trained weights are asked for of a network that has none."""
    if name.pretrained and name.path in UNTRAINED:
        random = replace(name, pretrained=False)
        raise BackboneError(
            f"{name}: has no pretrained weights; it is there to be trained from scratch. Take "
            f"random weights, {random}, as the recipe scratch does, or give a file with "
            "--weights FILE."
        )


def _folders() -> list[str]:
    return sorted(path.parent.name for path in _shipped().glob(f"*/{CONFIG}"))


def _shipped() -> Path:
    # Weights are read through the file system; an installed wheel always lies there unpacked.
    return Path(str(resources.files("frostline.networks"))) / "shipped"
