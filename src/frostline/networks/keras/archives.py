"""Opening Keras's model files: what is in a `.keras` archive, an `.h5` file or a TF.js folder.

Everything is data: JSON and arrays. Nothing of a file is run, and none of it is believed to be
larger than it can be.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.base.errors import BackboneError, WeightsError, did_you_mean
from frostline.networks.keras import hdf5, tfjs, weights

# Of text; the largest network of keras.applications takes 1 MB.
_MOST_JSON = 64 << 20
# How much larger than what is stored a member of an archive may become.
_MOST_EXPANSION = 100
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    Attributes:
        config: The model's configuration.
        weights: Its arrays.
        version: Keras's version; empty where it is not told.
        made_by: What kind of file it is, for people.
    """

    config: Mapping[str, Any]
    weights: weights.WeightsFile
    version: str
    made_by: str


def read(path: Path) -> ModelFile:
    """Reads a `.keras` archive, a full-model `.h5` file or a TF.js `model.json`.

    The file's first bytes say what it is, not its name.

    Raises:
        BackboneError: Where there is no such file, or it holds no model.
        WeightsError: Where its arrays are damaged, or lead elsewhere.
    """
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise BackboneError(f"{path}: no such file.{did_you_mean(path.name, siblings)}")
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        return _archive(path)
    if start.startswith(b"\x89HDF"):
        return _h5(path)
    if start.lstrip().startswith(b"{"):
        return _tfjs(path)
    raise BackboneError(
        f"{path}: must be a .keras archive, an .h5 file or a TF.js model.json of Keras."
    )


def parse_json(text: bytes | str, where: str) -> Any:
    """Parses JSON of a bounded size and depth.

    Raises:
        BackboneError: Where it is too large, too deep, or no JSON.
    """
    if len(text) > _MOST_JSON:
        raise BackboneError(
            f"{where}: {len(text):,} bytes of JSON; at most {_MOST_JSON:,} are read."
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        raise BackboneError(f"{where}: cannot be read as JSON ({reason}).") from error


def _archive(path: Path) -> ModelFile:
    try:
        with zipfile.ZipFile(path) as archive:
            config = parse_json(_member(archive, _CONFIG, path, _MOST_JSON), f"{path}: {_CONFIG}")
            told = _METADATA in archive.namelist()
            metadata = (
                parse_json(_member(archive, _METADATA, path, _MOST_JSON), str(path)) if told else {}
            )
            packed = io.BytesIO(_member(archive, _WEIGHTS, path, None))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise BackboneError(
            f"{path}: not a whole .keras archive ({error}). Fetch it again."
        ) from error
    version = str(metadata.get("keras_version", "")) if isinstance(metadata, Mapping) else ""
    arrays = weights.read_h5(packed, f"{path}: {_WEIGHTS}")
    return ModelFile(
        _model(config, str(path)), arrays, version, f".keras of Keras {version}".strip()
    )


def _member(archive: zipfile.ZipFile, name: str, path: Path, most: int | None) -> bytes:
    """Reads a member, of which no more is believed than its stored size allows."""
    if name not in archive.namelist():
        raise BackboneError(f"{path}: {name} is absent; a .keras archive holds one.")
    told = archive.getinfo(name)
    limit = max(told.compress_size, 1024) * _MOST_EXPANSION
    if told.file_size > min(limit, most or limit):
        raise BackboneError(
            f"{path}: {name} says that it becomes {told.file_size:,} bytes out of "
            f"{told.compress_size:,}; so much is not unpacked."
        )
    if told.flag_bits & 1:
        raise BackboneError(f"{path}: {name} is encrypted.")
    return archive.read(name)


def _h5(path: Path) -> ModelFile:
    with hdf5.opened(path, str(path)) as root:
        text = hdf5.text(root, "model_config")
        version = hdf5.text(root, "keras_version")
        if not text:
            raise BackboneError(
                f"{path}: holds weights and no model. Name the network that they belong to: "
                f"keras:NAME?weights={path.name}"
            )
        config = _model(parse_json(text, f"{path}: model_config"), str(path))
        arrays = weights.read_group(root, str(path))
    version = version or arrays.version
    return ModelFile(config, arrays, version, f".h5 of Keras {version or '1'}")


def _tfjs(path: Path) -> ModelFile:
    if path.stat().st_size > _MOST_JSON:
        raise BackboneError(
            f"{path}: {path.stat().st_size:,} bytes; at most {_MOST_JSON:,} are read."
        )
    told = parse_json(path.read_bytes(), str(path))
    topology = told.get("modelTopology") if isinstance(told, Mapping) else None
    if not isinstance(topology, Mapping):
        raise BackboneError(f"{path}: must be a TF.js model.json with a modelTopology.")
    inner = topology.get("model_config", topology)
    if told.get("format") == "graph-model" or "node" in topology:
        raise BackboneError(f"{path}: is a graph-model of TF.js; layers-models are opened here.")
    version = str(topology.get("keras_version", ""))
    arrays = tfjs.read(path, told.get("weightsManifest"))
    file = weights.WeightsFile(arrays, version, str(topology.get("backend", "")))
    return ModelFile(_model(inner, str(path)), file, version, "TF.js layers-model")


def _model(config: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(config, Mapping) or "class_name" not in config:
        raise BackboneError(f"{where}: its configuration is no model of Keras.")
    return config


def _is_h5(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x89HDF"


def weights_of(path: Path) -> weights.WeightsFile:
    """Reads the weights of any file that this module opens, or of a weights-only `.h5` file.

    Raises:
        BackboneError: Where it holds none.
        WeightsError: Where its arrays are damaged, or lead elsewhere.
    """
    found = weights.read_h5(path, str(path)) if _is_h5(path) else read(path).weights
    if not found.layers:
        raise WeightsError(f"{path}: holds no weights.")
    return found
