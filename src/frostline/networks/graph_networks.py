"""Networks from files that hold a graph: TensorFlow Lite, ONNX, TensorFlow.

`tflite:FILE[?key=value&…]` and its like translate the graph once into a plain module whose layers
have the names of the file's tensors. `output` names the tensor that the network gives, where the
file has several or it is to end earlier; `input` the input, of several; `input_px` its size, where
the file leaves it open; `mode`, where the file does not tell, how pixels become the input (`tf`,
`caffe`, `torch`, `unit`, `inside`) or how a sound does (`yamnet`, `music_tagger`); `labels` a file
with the classes, one a line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from frostline import frost
from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks import translated_networks
from frostline.networks.folder_config import ModelFolder
from frostline.networks.graphs import onnx_files, tf_files, tflite_files
from frostline.networks.graphs.opening import Asked
from frostline.networks.input_channels import ARGUMENT
from frostline.networks.keras.applications import read_size
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneEntry, BackboneRecord, LocalWeights, OpenedBackbone
from frostline.networks.translate.network import TranslatedNetwork
from frostline.networks.translated_networks import CLASSES
from frostline.networks.weights_files import formats
from frostline.sound.settings import BY_NAME

_KEYS = ("input", "output", "input_px", "mode", "labels")
_OF_TENSORFLOW = ("scope",)
_DIGEST_HEX = 16


@dataclass(frozen=True)
class GraphKind:
    """A kind of network that files of one format hold; see `NetworkKind` for what it can do.

    Attributes:
        name: What stands before the colon.
        open_file: Reads and translates a file.
        keys: What can be given in a name.
        checkpoints: Formats of weights files that have its source's names.
    """

    name: str
    open_file: Callable[[Path, Asked], TranslatedNetwork]
    keys: Sequence[str] = _KEYS
    checkpoints: Sequence[str] = ()

    def architectures(self) -> Sequence[str]:
        """Returns nothing: such networks are files."""
        return ()

    def entries(self) -> Iterator[BackboneEntry]:
        """Yields nothing: such networks are files."""
        return iter(())

    def open_named(self, name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
        """Opens a network from a file."""
        where, given = str(name), dict(name.arguments)
        count = translated_networks.take_count(given, where)
        channels = translated_networks.take_channels(given, where)
        trained = name.pretrained and local is None
        asked = replace(_asked(given, self.keys, where), pretrained=trained)
        heard = BY_NAME.get(asked.mode)
        asked = replace(asked, mode="") if heard else asked
        own = local is not None and formats.format_of(local.file).name in self.checkpoints
        if local is not None and own:
            asked = replace(asked, weights=local.file, partial=local.partial, pretrained=True)
            local = None
        network = self.open_file(Path(name.path), asked)
        network = translated_networks.with_channels(network, channels, where)
        record = BackboneRecord(
            name=where,
            kind=self.name,
            architecture=f"{Path(name.path).name}@{network.digest[:_DIGEST_HEX]}",
            arguments={k: v for k, v in name.arguments.items() if k not in CLASSES},
            pretrained_tag="",
            preprocessing=(
                translated_networks.hearing_of(network, heard, where)
                if heard
                else translated_networks.preprocessing_of(network, where)
            ),
            parameters=0,
            licence="",
            classes=(),
            num_features=0,
        )
        return translated_networks.opened(network, record, count, local, trained)

    def download_of(self, name: BackboneName) -> None:
        """Returns nothing: files are here."""

    def open_folder(self, folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
        """Opens a network from a model folder, which needs no other file."""
        return translated_networks.open_folder(folder, name)

    def configuration(
        self, module: nn.Module, record: BackboneRecord, classes: Sequence[str]
    ) -> Mapping[str, Any]:
        """Returns what `open_folder` reads."""
        return translated_networks.configuration(module, record, classes)

    def trace(self, module: nn.Module, input_shape: tuple[int, int, int]) -> frost.TracedNetwork:
        """Finds the lines of a network."""
        return translated_networks.trace(module, input_shape)

    def size_argument(self, module: nn.Module) -> str:
        """Returns the argument for the input size where a flattened map fixes it."""
        return translated_networks.size_argument(module)

    def outputs(self, module: nn.Module) -> int:
        """Returns how many scores the last layer gives; 0 where it was removed."""
        return translated_networks.outputs(module)

    def remove_classifier(self, module: nn.Module) -> None:
        """Puts an identity in the place of the last layer."""
        translated_networks.remove_classifier(module)

    def replace_classifier(self, module: nn.Module, outputs: int) -> nn.Linear | None:
        """Puts a new last layer in."""
        return translated_networks.replace_classifier(module, outputs)


TFLITE = GraphKind("tflite", tflite_files.open_file)
ONNX = GraphKind("onnx", onnx_files.open_file)
TENSORFLOW = GraphKind("tf", tf_files.open_file, (*_KEYS, *_OF_TENSORFLOW), tf_files.CHECKPOINTS)


def _asked(arguments: Mapping[str, Any], keys: Sequence[str], where: str) -> Asked:
    known = (*keys, *CLASSES, ARGUMENT)
    for key in arguments:
        if key not in keys:
            raise BackboneError(
                f"{where}: takes no argument {key!r}; these can be given: {', '.join(known)}."
                f"{did_you_mean(key, known)}"
            )
    side, labels = arguments.get("input_px"), arguments.get("labels")
    return Asked(
        input=str(arguments.get("input", "")),
        output=str(arguments.get("output", "")),
        input_px=None if side is None else read_size(side, where),
        mode=str(arguments.get("mode", "")),
        labels=Path(str(labels)).expanduser() if labels else None,
        scope=str(arguments.get("scope", "")),
    )
