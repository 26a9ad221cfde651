"""What lies in a model folder, read without building anything: `config.json` and the weights."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.base.errors import BackboneError, WeightsError, did_you_mean
from frostline.networks.record import known_licence
from frostline.run.folder import RunFolder

CONFIG = "config.json"
OPEN_CLIP = "open_clip_config.json"
WEIGHTS = "model.safetensors"
# The names timm itself looks for, the safe one first.
_READ = (WEIGHTS, "pytorch_model.bin", "pytorch_model.pth", "model.pth")
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_BLOCK = "frostline"
_FORMS = (
    f"A model folder holds {CONFIG} and {WEIGHTS}, as timm's save_for_hf and Frostline write them."
)


@dataclass(frozen=True)
class ModelFolder:
    """A model folder.

    Attributes:
        path: The folder.
        config: What its `config.json` holds.
        file: The name of that file; OpenCLIP has another.
    """

    path: Path
    config: Mapping[str, Any]
    file: str = CONFIG

    @property
    def config_file(self) -> Path:
        """Where `config.json` lies."""
        return self.path / self.file

    @property
    def is_open_clip(self) -> bool:
        """Whether OpenCLIP wrote it, with a tower for images and one for text."""
        return self.file == OPEN_CLIP

    @property
    def block(self) -> Mapping[str, Any]:
        """What Frostline wrote into `config.json`; empty in others' folders."""
        return self.table(_BLOCK)

    @property
    def kind(self) -> str:
        """The kind of the network in it; timm's where nothing says otherwise."""
        return str(self.block.get("kind", "timm"))

    @property
    def architecture(self) -> str:
        """The name of the architecture; empty where it is not stated."""
        return str(self.block.get("architecture") or self.config.get("architecture") or "")

    @property
    def licence(self) -> str:
        """The licence of the weights that it states; empty where unknown."""
        stated = self.block.get("licence") or self.table("pretrained_cfg").get("license")
        return known_licence(stated)

    def table(self, key: str) -> dict[str, Any]:
        """Returns a table of `config.json`; an empty one where it is absent.

        Raises:
            BackboneError: Where something else stands there.
        """
        value = self.config.get(key) or {}
        if not isinstance(value, dict):
            raise BackboneError(f"{self.config_file}: {key!r} must be a table, not {value!r}.")
        return value

    def block_table(self, key: str) -> dict[str, Any]:
        """Returns a table of Frostline's block.

        Raises:
            BackboneError: Where there is none.
        """
        value = self.block.get(key)
        if not isinstance(value, dict):
            raise BackboneError(
                f"{self.config_file}: {_BLOCK}.{key} must be a table, not {value!r}."
            )
        return value

    def weights_file(self) -> Path:
        """Returns the file with the weights.

        Raises:
            WeightsError: Where there is none.
        """
        names = OPEN_CLIP_WEIGHTS if self.is_open_clip else _READ
        found = [self.path / name for name in names if (self.path / name).is_file()]
        if not found:
            raise WeightsError(
                f"{self.path}: no weights in it; one of {', '.join(names)} must be there."
            )
        return found[0]

    def class_names(self, names: Any, outputs: int) -> tuple[str, ...]:
        """Returns the names of classes, one an output.

        Args:
            names: A list of them, or a table of index to name.
            outputs: How many the network has.

        Raises:
            BackboneError: Where the numbers differ.
        """
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=_number)]
        # A head beside the network has the outputs; the network itself may then have none.
        if names and not self.block and len(names) != outputs:
            raise BackboneError(
                f"{self.config_file}: {len(names)} label_names for {outputs} classes; "
                "there must be one a class."
            )
        return tuple(str(one) for one in names or ())


def locate(path: Path, where: str) -> Path:
    """Returns the model folder that `path` is, or that lies in the run `path`.

    Raises:
        BackboneError: Where `path` is no folder.
    """
    if path.is_file():
        raise BackboneError(
            f"{where}: is a file; dir: takes a model folder. For a weights file write "
            f"timm:ARCHITECTURE --weights {path}"
        )
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise BackboneError(f"{where}: no such folder.{did_you_mean(path.name, siblings)}")
    inside = path / "model"
    if not (path / CONFIG).is_file() and (inside / CONFIG).is_file():
        return inside
    run = RunFolder(path)
    if run.is_run() and not run.is_finished():
        raise BackboneError(
            f"{where}: this run is unfinished. Run its `frostline train` command again to finish "
            "it."
        )
    return path


def read(path: Path, where: str) -> ModelFolder:
    """Reads the `config.json` of the folder `path`, or else OpenCLIP's.

    Raises:
        BackboneError: Where there is none, or it is no table.
    """
    files = [name for name in (CONFIG, OPEN_CLIP) if (path / name).is_file()]
    if not files:
        raise BackboneError(f"{where}: no {CONFIG} in it. {_FORMS}")
    folder = _read(path, files[0])
    # OpenCLIP's folders on the hub often bring transformers' configuration along.
    is_ours = files == [CONFIG] or folder.architecture or folder.block
    return folder if is_ours else _read(path, files[-1])


def is_model_folder(path: Path) -> bool:
    """Tells whether a folder has the configuration of a network in it."""
    return any((path / name).is_file() for name in (CONFIG, OPEN_CLIP))


def licence_of(folder: ModelFolder, stated: Sequence[Any]) -> str:
    """Returns the first licence that is stated, or else the one of the folder's model card."""
    said = [known_licence(value) for value in stated]
    return next(filter(None, said), "") or _readme_licence(folder.path / "README.md")


def _read(path: Path, name: str) -> ModelFolder:
    try:
        config = json.loads((path / name).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BackboneError(f"{path / name}: cannot be read as JSON ({error}).") from error
    return ModelFolder(path, config if isinstance(config, dict) else {}, name)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _readme_licence(file: Path) -> str:
    """Returns the licence that a model card's front matter names."""
    if not file.is_file():
        return ""
    text = file.read_text(encoding="utf-8", errors="replace")
    front = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    lines = front[1].splitlines() if front else []
    pairs = dict(line.split(":", 1) for line in lines if re.match(r"license(_name)?:", line))
    said = {key: known_licence(value.strip().strip("'\"")) for key, value in pairs.items()}
    return said.get("license") or said.get("license_name") or ""
