"""Model folders of any kind of network: `config.json` beside `model.safetensors`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frostline.base.errors import BackboneError
from frostline.base.files import save_tensors, write_atomic, write_json
from frostline.images import spectrogram
from frostline.images.levels import NO_LEVELS, parse
from frostline.networks import folder_config
from frostline.networks.folder_config import CONFIG, WEIGHTS
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneRecord, OpenedBackbone
from frostline.networks.registry import kind_of


def open_dir(name: BackboneName) -> OpenedBackbone:
    """Opens `dir:PATH`: a model folder, or a run folder that holds one.

    Raises:
        BackboneError: Where the folder or its `config.json` does not hold.
        WeightsError: Where its weights are missing, do not fit, or are not safe to read.
    """
    return open_at(folder_config.locate(Path(name.path), str(name)), name)


def open_at(path: Path, name: BackboneName) -> OpenedBackbone:
    """Opens the model folder `path` under the name `name`; see `open_dir`."""
    folder = folder_config.read(path, str(name))
    kind = kind_of(folder.kind, f"{folder.config_file}, frostline.kind")
    return _with_extras(kind.open_folder(folder, name), str(folder.config_file))


def _with_extras(opened: OpenedBackbone, where: str) -> OpenedBackbone:
    """Adds to the preprocessing what only the `frostline` block says of it."""
    levels = str(opened.extras.get("levels", ""))
    heard = opened.extras.get("spectrogram")
    preprocessing = replace(
        opened.record.preprocessing,
        levels=parse(levels) if levels else NO_LEVELS,
        most_px=int(opened.extras.get("most_px", 0)),
        spectrogram=spectrogram.from_dict(heard, where) if heard else None,
    )
    return replace(opened, record=replace(opened.record, preprocessing=preprocessing))


def write_folder(
    path: Path,
    module: nn.Module,
    record: BackboneRecord,
    classes: Sequence[str],
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model folder that `dir:PATH` opens with equal outputs.

    That of a timm network is opened by timm too: `local-dir:PATH`. The configuration is written
    last, so a folder that has one is whole.

    Args:
        path: The folder; made where it is absent.
        module: A network that `record.architecture` and `record.arguments` build.
        record: Its facts; architecture, arguments, preprocessing and licence are kept.
        classes: One name an output of `module`, or of the head that `extras` describes.
        extras: What the network's library cannot say, such as a head of several layers; `module`
            is then the network without its classifier.

    Raises:
        BackboneError: Where `classes` and the network's outputs differ in number.
        DiskError: Where the disk is full or refuses.
    """
    kind = kind_of(record.kind)
    outputs = kind.outputs(module)
    if extras is None and outputs != len(classes):
        raise BackboneError(
            f"{path}: the network has {outputs} outputs and {len(classes)} class names are given; "
            "there must be one a class."
        )
    state = _separate(module.state_dict())
    config = dict(kind.configuration(module, record, classes))
    block = {**config.pop("frostline", {}), **(extras or {})}
    write_atomic(path / WEIGHTS, lambda temporary: save_tensors(temporary, state, {"format": "pt"}))
    said = extras is not None or block
    write_json(path / CONFIG, {**config, "frostline": block} if said else config)


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns contiguous tensors on the CPU, none sharing memory: safetensors refuses that."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        separate[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    return separate
