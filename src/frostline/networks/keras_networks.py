"""Networks of Keras: those of keras.applications by name, and anyone's own from a file.

`keras:MobileNetV2` takes ImageNet's weights, which Keras downloads; `?weights=none` random ones and
`?weights=FILE` those of a Keras weights file. All other keys are the options of Keras's own
function (`alpha`, `include_top`, `pooling`, `classes`), and `input_px`. `keras:PATH` opens a
`.keras` archive, a full-model `.h5` file or a TF.js layers-model, for which Keras need not be
installed; `?mode=tf`, `caffe`, `torch` or `inside` says how pixels become its input where the file
does not, in Keras's own words for it.

Each is translated once into a plain module, which a model folder holds as a graph of operators.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import fx, nn

from frostline import frost
from frostline.base.errors import BackboneError, did_you_mean
from frostline.images.preprocessing import Preprocessing, from_dict
from frostline.networks import foreign_weights, weights
from frostline.networks.downloads import Download
from frostline.networks.folder_config import ModelFolder
from frostline.networks.input_channels import (
    ARGUMENT,
    adapt_state,
    count_of,
    preprocessing_for,
)
from frostline.networks.keras import applications, files
from frostline.networks.keras.families import APPLICATIONS, facts
from frostline.networks.names import BackboneName
from frostline.networks.record import (
    BackboneEntry,
    BackboneRecord,
    LocalWeights,
    OpenedBackbone,
    known_licence,
)
from frostline.networks.translate import classifier as last_layer
from frostline.networks.translate.arrays import slots_of
from frostline.networks.translate.build import Built, build
from frostline.networks.translate.graph import Graph, to_dict
from frostline.networks.translate.graph import from_dict as graph_from_dict
from frostline.networks.translate.network import PictureFacts, TranslatedNetwork

_LABELS, _MODE, _SIZE, _CLASSES = "labels", "mode", "input_px", ("classes", "num_classes")
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
    arguments = dict(name.arguments)
    count = _count(arguments, where)
    channels = count_of(arguments, where) if ARGUMENT in arguments else None
    given = {key: value for key, value in arguments.items() if key != ARGUMENT}
    is_file = Path(name.path).is_absolute()
    network = (_of_file if is_file else _of_application)(name, given, count, local)
    network = _with_channels(network, channels, where)
    how = preprocessing_for(_preprocessing(network, where), network.input_shape[0])
    module = last_layer.attach_graph(network.module, network.graph, network.classifier)
    width = last_layer.features(module, network.shapes)
    match = network.match
    if local is not None and not _is_keras(local.file):
        into = f"{local.file} into {where}"
        found = foreign_weights.load_for(module, local, network.input_shape, into)
        state = adapt_state(found.tensors, module)
        match = weights.apply(module, state, where=into, partial=local.partial)
        match = foreign_weights.told(match, found)
    if count is not None and count != last_layer.outputs(module):
        _set_outputs(module, count, where)
    file_name = f"{Path(name.path).name}@{network.digest[:_DIGEST_HEX]}"
    same = count in (None, len(network.labels or ()))
    trained = local is None and network.labels is not None and same
    record = BackboneRecord(
        name=where,
        kind="keras",
        architecture=file_name if is_file else name.path,
        arguments=arguments,
        pretrained_tag="",
        preprocessing=how,
        parameters=sum(p.numel() for p in module.parameters()),
        licence="",
        classes=network.labels or () if trained else (),
        num_features=width,
    )
    return OpenedBackbone(record, module.eval(), extras=_targets(network, module), match=match)


def download_of(name: BackboneName) -> Download | None:
    """Returns the download of Keras's own weights; see `NetworkKind.download_of`.

    Keras does not tell its size, nor whether it is here: it looks when it opens the network.
    """
    asked = name.arguments.get("weights", "imagenet")
    own = not Path(name.path).is_absolute() and str(asked).lower() == "imagenet"
    return Download("Keras, unless it is here", 0, here=False) if own and name.pretrained else None


def open_folder(folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
    """Opens a network from a model folder; see `NetworkKind.open_folder`. Keras is not needed."""
    block, where = folder.block, str(folder.config_file)
    arguments = dict(name.arguments)
    count = _count(arguments, str(name))
    if arguments:
        known = ", ".join(_CLASSES)
        raise BackboneError(
            f"{name}: takes no argument {next(iter(arguments))!r}; of a folder these can be "
            f"given: {known}."
        )
    graph = graph_from_dict(block.get("graph"), where)
    module, width = _rebuilt(graph, str(block.get("classifier", "")), where)
    stored = folder.config.get("num_classes")
    if stored == 0:
        last_layer.remove_last(module)
    if name.pretrained:
        file = folder.weights_file()
        into = f"{file} into {folder.architecture}"
        weights.apply(module, weights.read(file), where=into, partial=None)
    if count is not None and count != last_layer.outputs(module):
        _set_outputs(module, count, str(name))
    classes = folder.class_names(folder.config.get("label_names"), last_layer.outputs(module))
    record = BackboneRecord(
        name=str(name),
        kind="keras",
        architecture=folder.architecture,
        arguments=folder.block_table("arguments"),
        pretrained_tag="",
        preprocessing=from_dict(folder.block_table("preprocessing"), where),
        parameters=sum(p.numel() for p in module.parameters()),
        licence=known_licence(block.get("licence")) if name.pretrained else "",
        classes=classes if name.pretrained and count in (None, stored) else (),
        num_features=width,
    )
    return OpenedBackbone(record, module.eval(), extras=block)


def configuration(
    module: nn.Module, record: BackboneRecord, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns what `open_folder` reads; see `NetworkKind.configuration`."""
    return {
        "num_classes": last_layer.outputs(module),
        "label_names": list(classes),
        "frostline": {
            "kind": "keras",
            "architecture": record.architecture,
            "arguments": dict(record.arguments),
            "preprocessing": record.preprocessing.as_dict(),
            "licence": record.licence,
            "classifier": last_layer.name_of(module),
            "graph": to_dict(last_layer.graph_of(module)),
        },
    }


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> frost.TracedNetwork:
    """Finds the lines of a network; `pooled` is what its last layer is fed."""
    path = last_layer.path_of(module)
    return frost.trace(module, input_shape, classifiers=(path,) if path else ())


def size_argument(module: nn.Module) -> str:
    """Returns the argument for the input size where a flattened map fixes it."""
    flattened = any(node.op == "flatten" for node in last_layer.graph_of(module).nodes)
    return _SIZE if flattened else ""


def outputs(module: nn.Module) -> int:
    """Returns how many scores the last layer gives; 0 where it was removed."""
    return last_layer.outputs(module)


def remove_classifier(module: nn.Module) -> None:
    """Puts an identity in the place of the last layer."""
    last_layer.remove_last(module)


def replace_classifier(module: nn.Module, outputs: int) -> nn.Linear | None:
    """Puts a new last layer in; see `NetworkKind.replace_classifier`."""
    return last_layer.replace_last(module, outputs)


def _of_application(
    name: BackboneName, arguments: Mapping[str, Any], count: int | None, local: LocalWeights | None
) -> TranslatedNetwork:
    options = dict(arguments)
    asked = options.pop("weights", "imagenet")
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
    known = (_LABELS, _MODE, _SIZE)
    for key in arguments:
        if key not in known:
            raise BackboneError(
                f"{name}: takes no argument {key!r}; of a file these can be given: "
                f"{', '.join((*known, *_CLASSES))}.{did_you_mean(key, known)}"
            )
    side, labels = arguments.get(_SIZE), arguments.get(_LABELS)
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


def _with_channels(
    network: TranslatedNetwork, channels: int | None, where: str
) -> TranslatedNetwork:
    """Returns the network for another number of input channels, built anew from its graph."""
    if channels is None or channels == network.input_shape[0]:
        return network
    graph = dataclasses.replace(network.graph, input_shape=(channels, *network.input_shape[1:]))
    built = build(graph, where)
    # The first layer may have another form, and name, for another number of channels.
    own, names = network.module.state_dict(), slots_of(graph, built)
    before = slots_of(network.graph, Built(network.module, network.shapes, {}))
    state = adapt_state({name: own[before[slot]] for slot, name in names.items()}, built.module)
    weights.apply(built.module, state, where=f"{where}, its first layer", partial=None)
    return dataclasses.replace(
        network, module=built.module, graph=graph, shapes=built.shapes, digest=graph.digest
    )


def _preprocessing(network: TranslatedNetwork, where: str) -> Preprocessing:
    _, height, width = network.input_shape
    how: PictureFacts | None = network.preprocessing
    if how is None:
        raise BackboneError(
            f"{where}: does not tell how pixels become its input. Add ?mode=tf (from -1 to 1), "
            "caffe, torch, or inside (0 to 255, where its own layers do the rest)."
        )
    return Preprocessing(
        height_px=height,
        width_px=width,
        crop_pct=how.crop_pct,
        crop_mode=how.crop_mode,
        interpolation=how.interpolation,
        mean=how.mean,
        std=how.std,
        channel_order=how.channel_order,
    )


def _targets(network: TranslatedNetwork, module: nn.Module) -> Mapping[str, Any]:
    """Says what sigmoids mean; a softmax need not be told."""
    if network.graph.scores != "sigmoid":
        return {}
    return {"targets": "binary" if last_layer.outputs(module) == 1 else "multilabel"}


def _rebuilt(graph: Graph, classifier: str, where: str) -> tuple[fx.GraphModule, int]:
    built = build(graph, where)
    if classifier and classifier not in {node.name for node in graph.nodes}:
        raise BackboneError(f"{where}: its classifier {classifier!r} is no layer of its graph.")
    module = last_layer.attach_graph(built.module, graph, classifier)
    return module, last_layer.features(module, built.shapes)


def _set_outputs(module: nn.Module, count: int, where: str) -> None:
    if last_layer.path_of(module) == "":
        raise BackboneError(f"{where}: has no classifier that could get {count} classes.")
    if count == 0:
        last_layer.remove_last(module)
    else:
        last_layer.replace_last(module, count)


def _count(arguments: dict[str, Any], where: str) -> int | None:
    """Takes the number of classes out of the arguments."""
    found = [arguments.pop(key) for key in _CLASSES if key in arguments]
    if not found:
        return None
    if len(found) > 1 or not isinstance(found[0], int) or found[0] < 0:
        raise BackboneError(f"{where}: classes must be one whole number, not {found}.")
    return found[0]


def _is_keras(file: Path) -> bool:
    return file.suffix.lower() in (".h5", ".hdf5", ".keras", ".json")
