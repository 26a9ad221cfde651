"""What all kinds of translated networks have in common: facts, model folders, lines, classifier.

A kind whose source was translated into a graph of operators opens it, and leaves the rest to this.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx, nn

from frostline import frost
from frostline.base.errors import BackboneError
from frostline.images.preprocessing import Preprocessing, from_dict, network_facts
from frostline.images.spectrogram import Spectrogram
from frostline.networks import foreign_weights, weights
from frostline.networks.folder_config import ModelFolder
from frostline.networks.input_channels import (
    ARGUMENT,
    adapt_state,
    count_of,
    preprocessing_for,
)
from frostline.networks.names import BackboneName
from frostline.networks.record import (
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
from frostline.sound.settings import heard_by

SIZE = "input_px"
CLASSES = ("classes", "num_classes")


def opened(
    network: TranslatedNetwork,
    record: BackboneRecord,
    count: int | None,
    local: LocalWeights | None,
    trained: bool,
) -> OpenedBackbone:
    """Gives a translated network its weights file, its number of classes, and the last facts.

    Args:
        network: What was translated.
        record: Its facts; parameters, classes and width of features are filled in here.
        count: How many classes its classifier is to have; None for its own.
        local: A weights file, not of its source, that takes the place of its own.
        trained: Whether it has the source's own weights, and so its classes.

    Raises:
        BackboneError: Where it has no classifier that could get so many classes.
        WeightsError: Where the weights do not fit, or are not safe to read.
    """
    module = last_layer.attach_graph(network.module, network.graph, network.classifier)
    width = last_layer.features(module, network.shapes)
    match = network.match
    if local is not None:
        into = f"{local.file} into {record.name}"
        found = foreign_weights.load_for(module, local, network.input_shape, into)
        state = adapt_state(found.tensors, module)
        match = weights.apply(module, state, where=into, partial=local.partial)
        match = foreign_weights.told(match, found)
    if count is not None and count != last_layer.outputs(module):
        set_outputs(module, count, record.name)
    same = count in (None, len(network.labels or ()))
    named = network.labels if trained and local is None and same else None
    record = dataclasses.replace(
        record,
        parameters=sum(p.numel() for p in module.parameters()),
        classes=named or (),
        num_features=width,
    )
    return OpenedBackbone(
        record, module.eval(), extras=_targets(network, module), match=match, notes=network.notes
    )


def open_folder(folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
    """Opens a network from a model folder; see `NetworkKind.open_folder`. No source is needed."""
    block, where = folder.block, str(folder.config_file)
    arguments = dict(name.arguments)
    count = take_count(arguments, str(name))
    if arguments:
        known = ", ".join(CLASSES)
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
        set_outputs(module, count, str(name))
    classes = folder.class_names(folder.config.get("label_names"), last_layer.outputs(module))
    record = BackboneRecord(
        name=str(name),
        kind=folder.kind,
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
            "kind": record.kind,
            "architecture": record.architecture,
            "arguments": dict(record.arguments),
            "preprocessing": network_facts(record.preprocessing),
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
    return SIZE if flattened else ""


def outputs(module: nn.Module) -> int:
    """Returns how many scores the last layer gives; 0 where it was removed."""
    return last_layer.outputs(module)


def remove_classifier(module: nn.Module) -> None:
    """Puts an identity in the place of the last layer."""
    last_layer.remove_last(module)


def replace_classifier(module: nn.Module, outputs: int) -> nn.Linear | None:
    """Puts a new last layer in; see `NetworkKind.replace_classifier`."""
    return last_layer.replace_last(module, outputs)


def preprocessing_of(network: TranslatedNetwork, where: str) -> Preprocessing:
    """Returns how pictures become the network's input.

    Raises:
        BackboneError: Where nobody tells.
    """
    _, height, width = network.input_shape
    how: PictureFacts | None = network.preprocessing
    if how is None:
        raise BackboneError(
            f"{where}: does not tell how pixels become its input. Add ?mode=tf (from -1 to 1), "
            "caffe, torch, unit (0 to 1), or inside (0 to 255, where its own layers do the rest)."
        )
    told = Preprocessing(
        height_px=height,
        width_px=width,
        crop_pct=how.crop_pct,
        crop_mode=how.crop_mode,
        interpolation=how.interpolation,
        mean=how.mean,
        std=how.std,
        channel_order=how.channel_order,
    )
    return preprocessing_for(told, network.input_shape[0])


def hearing_of(network: TranslatedNetwork, how: Spectrogram, where: str) -> Preprocessing:
    """Returns how sounds become the network's input.

    Raises:
        BackboneError: Where the network takes other than such spectrograms.
    """
    heard = heard_by(how)
    if network.input_shape != heard.input_shape:
        own, asked = (
            " × ".join(map(str, shape)) for shape in (network.input_shape, heard.input_shape)
        )
        raise BackboneError(
            f"{where}: its input is {own}, and that spectrogram is {asked}. Leave the mode away, "
            "or name the one that it was trained with."
        )
    return heard


def take_channels(arguments: dict[str, Any], where: str) -> int | None:
    """Takes the number of input channels out of the arguments; None where none is asked for.

    Raises:
        BackboneError: Where it is none.
    """
    channels = count_of(arguments, where) if ARGUMENT in arguments else None
    arguments.pop(ARGUMENT, None)
    return channels


def with_channels(
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


def take_count(arguments: dict[str, Any], where: str) -> int | None:
    """Takes the number of classes out of the arguments.

    Raises:
        BackboneError: Where it is none.
    """
    found = [arguments.pop(key) for key in CLASSES if key in arguments]
    if not found:
        return None
    if len(found) > 1 or type(found[0]) is not int or found[0] < 0:
        raise BackboneError(f"{where}: classes must be one whole number, not {found}.")
    return found[0]


def set_outputs(module: nn.Module, count: int, where: str) -> None:
    """Gives the classifier so many scores, or takes it away.

    Raises:
        BackboneError: Where there is none.
    """
    if last_layer.path_of(module) == "":
        raise BackboneError(f"{where}: has no classifier that could get {count} classes.")
    if count == 0:
        last_layer.remove_last(module)
    else:
        last_layer.replace_last(module, count)


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
