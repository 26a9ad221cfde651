"""timm and Hugging Face model folders: `config.json` beside `model.safetensors`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frostline.base.errors import BackboneError, WeightsError, did_you_mean
from frostline.base.files import save_tensors, write_atomic, write_json
from frostline.images.levels import NO_LEVELS, parse
from frostline.images.preprocessing import to_timm
from frostline.networks import timm_networks as timm_source
from frostline.networks import weights
from frostline.networks.catalog import BackboneName, BackboneRecord, OpenedBackbone, known_licence

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
# The names timm itself looks for, the safe one first.
_READ = (WEIGHTS, "pytorch_model.bin", "pytorch_model.pth", "model.pth")
# Facts of where the weights came from and of other sizes, untrue of weights trained since.
_ORIGIN = {
    *("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "architecture"),
    *("label_names", "label_descriptions", "label_offset"),
    *("test_input_size", "test_crop_pct", "test_pool_size"),
}


def open_dir(name: BackboneName) -> OpenedBackbone:
    """Opens `dir:PATH`: a model folder, or a run folder that holds one.

    Raises:
        BackboneError: Where the folder or its `config.json` does not hold.
        WeightsError: Where its weights are missing, do not fit, or are not safe to read.
    """
    return open_at(_locate(Path(name.path), str(name)), name)


def open_at(path: Path, name: BackboneName) -> OpenedBackbone:
    """Opens the model folder `path` under the name `name`; see `open_dir`."""
    config = _read_config(path, str(name))
    architecture = config["architecture"]
    timm_source.check_architecture(architecture, f"{path / CONFIG}")
    arguments = {**config["model_args"], **name.arguments}
    pretrained = _pretrained_config(config)
    module = timm_source.build(architecture, arguments, str(name), config=pretrained)
    if name.pretrained:
        file = _weights_file(path)
        timm_source.fit(module, weights.load(file), f"{file} into {architecture}", partial=None)
    extras = config["frostline"]
    outputs = getattr(module, "num_classes", 0)
    record = timm_source.record_of(
        module,
        name,
        architecture=architecture,
        arguments=arguments,
        licence=_licence(path, config, pretrained) if name.pretrained else "",
        classes=_classes(path, config, int(outputs)) if name.pretrained else (),
        tag=str(pretrained.get("tag") or "") if name.pretrained else "",
    )
    return OpenedBackbone(_with_limits(record, extras), module.eval(), extras=extras)


def _with_limits(record: BackboneRecord, extras: Mapping[str, Any]) -> BackboneRecord:
    """Adds to the preprocessing what timm cannot say of it."""
    levels, most_px = str(extras.get("levels", "")), int(extras.get("most_px", 0))
    how = replace(
        record.preprocessing, levels=parse(levels) if levels else NO_LEVELS, most_px=most_px
    )
    return replace(record, preprocessing=how)


def write_folder(
    path: Path,
    module: nn.Module,
    record: BackboneRecord,
    classes: Sequence[str],
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model folder that timm opens with equal outputs: `local-dir:PATH`.

    The configuration is written last, so a folder that has one is whole.

    Args:
        path: The folder; made where it is absent.
        module: A timm network that `record.architecture` and `record.arguments` build.
        record: Its facts; architecture, arguments, preprocessing and licence are kept.
        classes: One name an output of `module`, or of the head that `extras` describes.
        extras: What timm cannot say, such as a head of several layers; `module` is then the
            network without its classifier.

    Raises:
        BackboneError: Where `classes` and the network's outputs differ in number.
        DiskError: Where the disk is full or refuses.
    """
    outputs = int(getattr(module, "num_classes", len(classes)))
    if extras is None and outputs != len(classes):
        raise BackboneError(
            f"{path}: the network has {outputs} outputs and {len(classes)} class names are given; "
            "there must be one a class."
        )
    state = _separate(module.state_dict())
    write_atomic(path / WEIGHTS, lambda temporary: save_tensors(temporary, state, {"format": "pt"}))
    write_json(path / CONFIG, _config(module, record, classes, extras, outputs))


def _config(
    module: nn.Module,
    record: BackboneRecord,
    classes: Sequence[str],
    extras: Mapping[str, Any] | None,
    outputs: int,
) -> dict[str, Any]:
    known = dict(getattr(module, "pretrained_cfg", None) or {})
    kept = {key: value for key, value in known.items() if key not in _ORIGIN}
    kept |= to_timm(record.preprocessing)
    kept |= {"num_classes": outputs, "custom_load": False, "tag": record.pretrained_tag or None}
    kept |= {"license": record.licence or None}
    config: dict[str, Any] = {
        "architecture": record.architecture,
        "num_classes": outputs,
        "num_features": record.num_features,
        "model_args": {k: v for k, v in record.arguments.items() if k != "num_classes"},
        "label_names": list(classes),
        "pretrained_cfg": {key: value for key, value in kept.items() if value is not None},
    }
    return config if extras is None else {**config, "frostline": dict(extras)}


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns contiguous tensors on the CPU, none sharing memory: safetensors refuses that."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        separate[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    return separate


def _locate(path: Path, where: str) -> Path:
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
    return path


def _read_config(path: Path, where: str) -> dict[str, Any]:
    """Reads `config.json` and brings timm's older form, all keys in one table, to the newer."""
    file = path / CONFIG
    if not file.is_file():
        raise BackboneError(
            f"{where}: no {CONFIG} in it. A model folder holds {CONFIG} and {WEIGHTS}, as timm's "
            "save_for_hf and Frostline write them."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BackboneError(f"{file}: cannot be read as JSON ({error}).") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        kind = config.get("model_type") if isinstance(config, dict) else None
        note = f" It seems to be a transformers model ({kind!r})." if kind else ""
        raise BackboneError(
            f"{file}: must name timm's 'architecture', and does not.{note} "
            "Folders of timm models are read."
        )
    config.setdefault("pretrained_cfg", {k: v for k, v in config.items() if k != "architecture"})
    for key in ("pretrained_cfg", "model_args", "frostline"):
        config[key] = config.get(key) or {}
        if not isinstance(config[key], dict):
            raise BackboneError(f"{file}: {key!r} must be a table, not {config[key]!r}.")
    return config


def _pretrained_config(config: Mapping[str, Any]) -> dict[str, Any]:
    pretrained = dict(config["pretrained_cfg"])
    if config.get("num_classes") is not None:
        pretrained["num_classes"] = config["num_classes"]
    return pretrained


def _weights_file(path: Path) -> Path:
    found = [path / name for name in _READ if (path / name).is_file()]
    if not found:
        raise WeightsError(f"{path}: no weights in it; one of {', '.join(_READ)} must be there.")
    return found[0]


def _classes(path: Path, config: Mapping[str, Any], outputs: int) -> tuple[str, ...]:
    """Returns the class names; none where the network was asked for with other outputs."""
    named = config.get("label_names") or config["pretrained_cfg"].get("label_names")
    named = named or config.get("labels") or ()
    if isinstance(named, dict):
        named = [named[key] for key in sorted(named, key=_number)]
    declared = _pretrained_config(config).get("num_classes", outputs)
    if outputs != declared:
        return ()
    # A head that timm cannot express has the outputs; the network itself may then have none.
    if named and not config["frostline"] and len(named) != declared:
        raise BackboneError(
            f"{path / CONFIG}: {len(named)} label_names for {declared} classes; "
            "there must be one a class."
        )
    return tuple(str(one) for one in named)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _licence(path: Path, config: Mapping[str, Any], pretrained: Mapping[str, Any]) -> str:
    said = known_licence(pretrained.get("license")) or known_licence(config.get("license"))
    return said or _readme_licence(path / "README.md")


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
