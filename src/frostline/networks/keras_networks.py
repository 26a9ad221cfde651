"""Networks of Keras: those of keras.applications by name, and anyone's own from a file.

`keras:MobileNetV2` takes ImageNet's weights, which Keras downloads; `?weights=none` random ones and
`?weights=FILE` those of a Keras weights file. All other keys are the options of Keras's own
function (`alpha`, `include_top`, `pooling`, `classes`), and `input_px`. `keras:PATH` opens a
`.keras` archive, a full-model `.h5` file or a TF.js layers-model, for which Keras need not be
installed; `?mode=tf`, `caffe`, `torch` or `inside` says how pixels become its input where the file
does not, in Keras's own words for it.

Each is translated once into a plain module, which a model folder holds as a graph of operators.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks import translated_networks
from frostline.networks.downloads import Download
from frostline.networks.keras import applications, files
from frostline.networks.keras.families import APPLICATIONS, facts
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneEntry, BackboneRecord, LocalWeights, OpenedBackbone
from frostline.networks.translate.network import TranslatedNetwork
from frostline.networks.translated_networks import CLASSES, SIZE
from frostline.networks.translated_networks import configuration as configuration
from frostline.networks.translated_networks import open_folder as open_folder
from frostline.networks.translated_networks import outputs as outputs
from frostline.networks.translated_networks import remove_classifier as remove_classifier
from frostline.networks.translated_networks import replace_classifier as replace_classifier
from frostline.networks.translated_networks import size_argument as size_argument
from frostline.networks.translated_networks import trace as trace

_LABELS, _MODE = "labels", "mode"
_DIGEST_HEX = 16


def architectures() -> Sequence[str]:
    """Returns the names of keras.applications."""
    return tuple(APPLICATIONS)


def entries() -> Iterator[BackboneEntry]:
    """Yields the networks of keras.applications, all of which have weights of ImageNet."""
    for name, application in APPLICATIONS.items():
        how = facts(application.mode)
        assert how is not None
        # Keras does not tell under which licence each network's weights are.
        yield BackboneEntry(f"keras:{name}", application.input_px, "", how.interpolation, 1000)


def open_named(name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
    """Opens `keras:NAME` or `keras:PATH`; see `NetworkKind.open_named`."""
    where = str(name)
    given = dict(name.arguments)
    count = translated_networks.take_count(given, where)
    channels = translated_networks.take_channels(given, where)
    is_file = Path(name.path).is_absolute()
    network = (_of_file if is_file else _of_application)(name, given, count, local)
    network = translated_networks.with_channels(network, channels, where)
    own = None if local is None or _is_keras(local.file) else local
    file_name = f"{Path(name.path).name}@{network.digest[:_DIGEST_HEX]}"
    record = BackboneRecord(
        name=where,
        kind="keras",
        architecture=file_name if is_file else name.path,
        arguments={key: v for key, v in name.arguments.items() if key not in CLASSES},
        pretrained_tag="",
        preprocessing=translated_networks.preprocessing_of(network, where),
        parameters=0,
        licence="",
        classes=(),
        num_features=0,
    )
    return translated_networks.opened(network, record, count, own, trained=local is None)


def download_of(name: BackboneName) -> Download | None:
    """Returns the download of Keras's own weights; see `NetworkKind.download_of`.

    Keras does not tell its size, nor whether it is here: it looks when it opens the network.
    """
    asked = name.arguments.get("weights", "imagenet")
    own = not Path(name.path).is_absolute() and str(asked).lower() == "imagenet"
    return Download("Keras, unless it is here", 0, here=False) if own and name.pretrained else None


def _of_application(
    name: BackboneName, arguments: Mapping[str, Any], count: int | None, local: LocalWeights | None
) -> TranslatedNetwork:
    options = dict(arguments)
    asked = options.pop("weights", "imagenet")
    if local is not None and str(asked).lower() not in ("imagenet", "none"):
        raise BackboneError(
            f"{name}: names the weights {asked}, and --weights names {local.file}. Leave one away."
        )
    options["weights"] = asked if name.pretrained and local is None else None
    if local is not None and _is_keras(local.file):
        options["weights"] = str(local.file)
    if count and str(options["weights"]).lower() != "imagenet":
        # ImageNet's top has a thousand, and gets another last layer afterwards.
        options["classes"] = count
    partial = local.partial if local is not None else False
    return applications.open_application(name.path, options, partial, _way(local))


def _of_file(
    name: BackboneName, arguments: Mapping[str, Any], count: int | None, local: LocalWeights | None
) -> TranslatedNetwork:
    known = (_LABELS, _MODE, SIZE)
    for key in arguments:
        if key not in known:
            raise BackboneError(
                f"{name}: takes no argument {key!r}; of a file these can be given: "
                f"{', '.join((*known, *CLASSES))}.{did_you_mean(key, known)}"
            )
    side, labels = arguments.get(SIZE), arguments.get(_LABELS)
    own = local is not None and _is_keras(local.file)
    return files.open_file(
        Path(name.path),
        input_px=None if side is None else applications.read_size(side, str(name)),
        labels_file=Path(str(labels)).expanduser() if labels else None,
        mode=str(arguments.get(_MODE, "")),
        pretrained=name.pretrained and local is None,
        weights=local.file if own and local is not None else None,
        partial=local.partial if local is not None else False,
        way=_way(local),
    )


def _way(local: LocalWeights | None) -> str:
    """Returns how layers of a Keras file are paired; its own order is that of its graph."""
    by = local.by if local is not None else "auto"
    return "order" if by == "graph" else by


def _is_keras(file: Path) -> bool:
    return file.suffix.lower() in (".h5", ".hdf5", ".keras", ".json")
