"""What the formats have in common: which input and output is meant, and from draft to network."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from frostline.base.errors import BackboneError, did_you_mean
from frostline.networks.graphs import below, pictures
from frostline.networks.graphs.calls import UntranslatableError
from frostline.networks.graphs.source import GraphSource
from frostline.networks.keras import labels
from frostline.networks.translate import simplify
from frostline.networks.translate.arrays import slots_of, to_state
from frostline.networks.translate.build import Built, build
from frostline.networks.translate.draft import OPEN_BATCH, Draft
from frostline.networks.translate.graph import Graph
from frostline.networks.translate.network import (
    TranslatedNetwork,
    check_labels,
    classifier_of,
)
from frostline.networks.translate.runtime_part import runtime_of
from frostline.networks.translate.tensor_layers import fuse_biases
from frostline.networks.weights import Match
from frostline.networks.weights_files import formats, guarded
from frostline.networks.weights_files.records import Graph as FileGraph
from frostline.networks.weights_files.records import Port, WeightsFile

_MOST_TOLD = 12
# How far rounding takes apart what a picture gives in a batch and alone, as a share of the most.
_SAME = 1e-3


@dataclass(frozen=True)
class Asked:
    """What was asked for in a network's name.

    Attributes:
        input: The name of the input; empty where the file has one.
        output: The name of the tensor that the network gives; empty where the file has one.
        input_px: Height and width of the input, where the file leaves them open.
        mode: How pixels become the input, in Keras's words; empty where the file tells.
        labels: A file that names the classes, one a line.
        pretrained: False for random weights.
        scope: What the names of the variables that are loaded begin with; the others are drawn.
        weights: A checkpoint whose values are loaded instead of the file's own.
        partial: Load what matches of it, and draw the rest.
    """

    input: str = ""
    output: str = ""
    input_px: tuple[int, int] | None = None
    mode: str = ""
    labels: Path | None = None
    pretrained: bool = True
    scope: str = ""
    weights: Path | None = None
    partial: bool = False


def graph_file(path: Path, kind: str, told: str) -> tuple[WeightsFile, FileGraph]:
    """Returns a file that must hold a graph, and that graph.

    Args:
        path: The file.
        kind: Its format, as `weights inspect` names it.
        told: What it must be, for messages.

    Raises:
        BackboneError: Where it is another file.
        WeightsError: Where it is absent, damaged or not safe to read.
    """
    guarded.check(path)
    file = formats.open_file(path)
    if file.format != kind or file.graph is None:
        raise BackboneError(f"{path}: must be a file {told}; it is {file.format}.")
    return file, file.graph


def one_of(
    ports: Sequence[Port], asked: str, what: str, where: str, inner: Sequence[Port] = ()
) -> Port:
    """Returns the input or output that is meant.

    Args:
        ports: Those of the file.
        asked: The name or label that was asked for; empty for the only one.
        what: `input` or `output`.
        where: The file, for messages.
        inner: Tensors that can be asked for besides, by name or label.

    Raises:
        BackboneError: Where there is none of that name, or several and none is named.
    """
    told = ", ".join(_named(port) for port in ports[:_MOST_TOLD])
    told += ", …" if len(ports) > _MOST_TOLD else ""
    if asked:
        found = [port for port in (*ports, *inner) if asked in (port.name, port.label)]
        if not found:
            raise BackboneError(
                f"{where}: has no {what} {asked!r}; its {what}s are {told or 'none'}."
                f"{did_you_mean(asked, [port.label or port.name for port in (*ports, *inner)])}"
            )
        return found[0]
    if not ports:
        raise BackboneError(f"{where}: has no {what}.")
    if len(ports) != 1:
        raise BackboneError(
            f"{where}: has {len(ports)} {what}s ({told}). Name one with ?{what}=NAME."
        )
    return ports[0]


def finished(
    source: GraphSource,
    asked: Asked,
    path: Path,
    told: str,
    match: Match | None = None,
) -> TranslatedNetwork:
    """Translates what a file gives, builds the network and fills its weights.

    Args:
        source: The operations of the file.
        asked: What was asked for.
        path: The file.
        told: Where the network comes from, for people.
        match: What became of the variables of a checkpoint that was asked for.

    Raises:
        BackboneError: Where it cannot be translated or run, gives nothing of a picture, or its
            labels are not as many as its scores.
    """
    found, graph, built = _built(source, asked)
    draft = found.draft
    classifier = classifier_of(graph, built.shapes)
    beside = asked.labels or (labels.beside(path) if classifier else None)
    named = labels.read(beside) if beside else None
    if named is not None:
        if not classifier:
            raise BackboneError(f"{beside}: names classes, and {path.name} gives none.")
        check_labels(named, built.shapes[graph.output], str(beside))
    return TranslatedNetwork(
        module=built.module,
        graph=graph,
        shapes=built.shapes,
        preprocessing=pictures.facts_of(source.port, asked.mode, draft.input_shape[0]),
        labels=named,
        classifier=classifier,
        source=told,
        digest=graph.digest,
        notes=found.notes,
        match=match,
    )


def _built(source: GraphSource, asked: Asked) -> tuple[below.Drafted, Graph, Built]:
    """Returns what was drafted of a file, and the network with its weights."""
    found = _filled(below.drafted(source, asked.input_px), asked)
    if _is_for_any_number(found):
        return found
    draft = found[0].draft
    with suppress(UntranslatableError):
        # As it stands, or else for any number: the one that was not tried first.
        other = (
            below.drafted(source, asked.input_px, any_number=False)
            if draft.made_for
            else below.drafted_for_any_number(source, asked.input_px)
        )
        found = _filled(other, asked)
        if _is_for_any_number(found):
            return found
    refusal = (
        f"{draft.where}: is made for {draft.batch} at a time, and mixes pictures of a batch. "
        "Export it for any number of them."
    )
    if draft.batch != 1 or source.run is None:
        raise BackboneError(refusal)
    try:
        found = _filled(below.drafted_alone(source, asked.input_px), asked)
    except BackboneError as error:
        told = str(error).removeprefix(f"{draft.where}: ")
        raise BackboneError(f"{refusal} {told}") from error
    if not _is_for_any_number(found):
        raise BackboneError(refusal)
    return found


def _is_for_any_number(found: tuple[below.Drafted, Graph, Built]) -> bool:
    draft = found[0].draft
    is_fixed = draft.batch != OPEN_BATCH or draft.made_for
    return not is_fixed or _keeps_apart(found[2].module, draft.input_shape)


def _filled(found: below.Drafted, asked: Asked) -> tuple[below.Drafted, Graph, Built]:
    draft = found.draft
    graph = fuse_biases(draft, found.graph)
    if len(draft.shape_of(graph.output)) == 2:
        graph = simplify.without_scores(graph)
    built = build(graph, draft.where)
    _fill(built, graph, draft, asked.pretrained)
    return found, graph, built


@torch.no_grad()
def _keeps_apart(module: nn.Module, input_shape: tuple[int, int, int]) -> bool:
    """Tells whether a network gives of a picture the same in a batch as alone.

    Of one without values, whether it takes a batch at all.
    """
    has_values = not any(one.is_meta for one in module.state_dict().values())
    generator = torch.Generator().manual_seed(0)
    # Whoever wants the layers alone has torch make tensors without values.
    with torch.device("cpu" if has_values else "meta"):
        pictures = torch.randn(3, *input_shape, generator=generator, device="cpu")
        try:
            if not has_values:
                # Fixed numbers have values even then.
                bare = copy.deepcopy(module).to("meta")
                return bool(bare(pictures.to("meta")).shape[0] == len(pictures))
            together: Tensor = module(pictures)
            alone = torch.cat([module(one[None]) for one in pictures])
        except RuntimeError:
            return False
    most = float(alone.nan_to_num().abs().max())
    return together.shape == alone.shape and torch.allclose(
        together, alone, rtol=0.0, atol=_SAME * max(most, 1e-30), equal_nan=True
    )


def _fill(built: Built, graph: Graph, draft: Draft, pretrained: bool) -> None:
    """Gives a network its arrays; where its weights are to be random, its fixed numbers alone."""
    if any(one.is_meta for one in built.module.state_dict().values()):
        return  # It is built without values.
    if not pretrained and (runtime := runtime_of(built.module)):
        raise BackboneError(
            f"{draft.where}: {runtime} runs a part of it, whose weights are those of the file: "
            "they cannot be random, nor come from elsewhere."
        )
    ops = {node.name: node.op for node in graph.nodes}
    arrays = {
        slot: array
        for slot, array in draft.arrays.items()
        if pretrained or ops.get(slot[0]) == "elementwise"
    }
    if pretrained:
        _check_filled(slots_of(graph, built), arrays, draft.where)
    built.module.load_state_dict(to_state(graph, built, arrays), strict=False)


def _check_filled(
    slots: Mapping[tuple[str, str], str], arrays: Mapping[tuple[str, str], Tensor], where: str
) -> None:
    lacking = sorted({layer for layer, _ in set(slots) - set(arrays)})
    if lacking:
        raise BackboneError(f"{where}: has no weights for {', '.join(lacking[:5])}.")


def _named(port: Port) -> str:
    return f"{port.name} ({port.label})" if port.label else port.name
