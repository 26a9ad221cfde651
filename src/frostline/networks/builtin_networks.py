"""Networks that ship with Frostline: model folders inside the package, weights in half precision.

They need no download. Opening one gives float32, as with any network.
"""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks import folder_config
from frostline.networks.folder_config import CONFIG
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneEntry

KIND = "builtin"
# What takes the place of a default network that is not on the machine.
FALLBACK = "builtin:efficientnet_lite0"


def architectures() -> Sequence[str]:
    """Returns what may follow `builtin:`."""
    return sorted(path.parent.name for path in _shipped().glob(f"*/{CONFIG}"))


def entries() -> Iterator[BackboneEntry]:
    """Yields the networks that ship with Frostline."""
    for name in architectures():
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


def _shipped() -> Path:
    # Weights are read through the file system; an installed wheel always lies there unpacked.
    return Path(str(resources.files("frostline.networks"))) / "shipped"
