"""The table of a classifier's layers: shapes, parameters, and what is trained.

Only what the classifier really uses is counted: prefix, suffix and head. What a backbone has
above the line that its head sits on, such as the fully connected layers of a VGG, is not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frostline import frost, recipe
from frostline.base.errors import RecipeError
from frostline.frost import GraphPart, Line
from frostline.frost.geometry import geometry_of
from frostline.model import classifier, heads
from frostline.model.classifier import Classifier
from frostline.model.heads import HeadSpec
from frostline.model.layer_rows import LayerRow as LayerRow
from frostline.model.layer_rows import RowCount, gathered, head_rows, rows_between
from frostline.model.targets import folder_of, traced_of
from frostline.networks.registry import kind_of

# Two parts of a path name a block of most networks, and a single layer of a plain chain.
BLOCKS, ALL = 2, 0
_OWN = "its own classifier"
_META = torch.device("meta")


@dataclass(frozen=True)
class Totals:
    """Sums over what the classifier uses; what is shared counts once.

    Attributes:
        parameters: Numbers.
        trainable_parameters: Those above the line.
        frozen_parameters: Those below it.
        tensors: Weights, biases and the like, each one tensor; statistics of norms are none.
        trainable_tensors: Those above the line.
        frozen_tensors: Those below it.
    """

    parameters: int
    trainable_parameters: int
    frozen_parameters: int
    tensors: int
    trainable_tensors: int
    frozen_tensors: int


@dataclass(frozen=True)
class Summary:
    """What a classifier is made of.

    Attributes:
        name: What was asked for: a backbone, a run or a model folder.
        architecture: The backbone's.
        input_px: Height and width of the input, in pixels.
        line: The frost line.
        top: The line that the head sits on.
        head: The head, in words.
        scores: How many it gives.
        rows: The layers, in the order in which they run.
        below: How many of these rows lie below the line.
        totals: Of all of them.
    """

    name: str
    architecture: str
    input_px: tuple[int, int]
    line: str
    top: str
    head: str
    scores: int
    rows: tuple[LayerRow, ...]
    below: int
    totals: Totals


def of_target(
    target: str,
    *,
    line: str = "",
    head: str = "",
    pooling: str = "",
    layers: Sequence[Mapping[str, Any]] = (),
    on: str = "",
    image_px: int = 0,
    classes: int = 0,
    targets: str = "",
    depth: int = BLOCKS,
    as_is: bool = False,
) -> Summary:
    """Summarises a run, a model folder, a backbone with a new head, or a network as it is.

    Weights matter to nothing here, so those of a network by name are neither made nor downloaded.

    Args:
        target: A run folder, a model folder, or `KIND:NAME`.
        line: Where to put the frost line, as a recipe says it. Where empty: where a run or a model
            folder has it; below the head of a backbone.
        head: A new head, as text. Where neither this nor any of `pooling`, `layers`, `on`,
            `classes` and `targets` is given, a run or a model folder has its own.
        pooling: Of the new head: `avg`, `max` or `flatten`.
        layers: The new head as a list of layers instead.
        on: The line that the new head sits on; the backbone's end where empty.
        image_px: Side of the square input; 0 for the backbone's own.
        classes: How many the new head tells apart; 0 for two.
        targets: Of the new head: `multiclass`, `binary` (one score) or `multilabel`.
        depth: How many parts of a layer's path make a row; `ALL` for each layer by itself.
        as_is: Whether a network is shown with its own classifier instead of a new head.

    Raises:
        BackboneError: Where the target cannot be opened.
        LineError: Where there is no such line.
        RecipeError: Where the head does not hold or fit, or options exclude each other.
        RunError: Where the folder is an unfinished run.
    """
    path = folder_of(target)
    is_new = bool(head or pooling or layers or on or classes or targets)
    if as_is and is_new:
        raise RecipeError("--as-is: shows a network's own classifier; ask for no other head.")
    if path is not None and not is_new:
        return _of_folder(target, path, line, image_px, depth)
    if as_is:
        return _with_own_classes(target, line, image_px, depth)
    text = head or ("" if layers else "linear")
    tables = tuple(map(dict, layers))
    choice = recipe.HeadChoice(text or "linear", pooling or "avg", on=on, layers=tables)
    _check(choice, image_px, classes, targets)
    listed = heads.layers_from(layers, file="summary")
    spec = heads.parse(text, choice.pooling, listed)
    opened, traced = traced_of(target, path, image_px)
    top = classifier.top_of(traced, spec, on)
    labels = tuple(map(str, range(classes or 2)))
    scores = classifier.score_count(targets, labels)
    with _META:
        made = heads.build(spec, top.shape, opened.record.num_features, scores)
    at = classifier.find_line(traced, line or classifier.TOP, top)
    parts = _SummaryParts(target, opened.record.architecture, traced, at, top, spec, made, scores)
    return _summarise(parts, depth)


def summarise(model: Classifier, depth: int = ALL) -> Summary:
    """Summarises a classifier where it is cut.

    Args:
        model: The classifier.
        depth: How many parts of a layer's path make a row; `ALL` for each layer by itself.
    """
    return _summarise(_parts_of(model, model.record.name, model.line), depth)


@dataclass(frozen=True)
class _SummaryParts:
    """What a summary is made from."""

    name: str
    architecture: str
    traced: frost.TracedNetwork
    line: Line
    top: Line
    spec: HeadSpec | None
    head: nn.Module
    scores: int


def _parts_of(model: Classifier, name: str, line: Line) -> _SummaryParts:
    return _SummaryParts(
        name,
        model.record.architecture,
        model.traced,
        line,
        model.top,
        model.head,
        model.trainable.head,
        classifier.score_count(model.targets, model.labels) if model.head else len(model.labels),
    )


def _of_folder(target: str, path: Path, line: str, image_px: int, depth: int) -> Summary:
    if image_px:
        raise RecipeError(
            f"--image-px: {target} has a head made for the size it was trained at; leave it away, "
            "or name a new --head."
        )
    model = classifier.open_folder(path, torch.device("cpu"), "fp32")
    at = classifier.find_line(model.traced, line, model.top) if line else model.line
    return _summarise(_parts_of(model, target, at), depth)


def _with_own_classes(target: str, line: str, image_px: int, depth: int) -> Summary:
    opened, traced = traced_of(target, None, image_px)
    top, record = traced.lines[-1], opened.record
    at = classifier.find_line(traced, line or classifier.TOP, top)
    outputs = kind_of(record.kind).outputs(opened.module)
    scores = traced.part(top, None)
    parts = _SummaryParts(target, record.architecture, traced, at, top, None, scores, outputs)
    return _summarise(parts, depth)


def _check(head: recipe.HeadChoice, image_px: int, classes: int, targets: str) -> None:
    """Checks what a recipe would check of these choices, and how many classes there may be."""
    choice = recipe.Recipe(
        backbone=recipe.BackboneChoice(image_px=image_px),
        head=head,
        data=recipe.Data(targets=targets or "auto"),
    )
    recipe.validate(choice, "summary")
    if targets == "binary" and classes not in (0, 2):
        raise RecipeError(
            f"--classes: binary targets tell two classes apart, not {classes}; "
            "leave it away, or take multiclass targets."
        )
    least = 1 if targets == "multilabel" else 2
    if classes and classes < least:
        raise RecipeError(f"--classes: must be {least} or more, not {classes}.")


def _summarise(parts: _SummaryParts, depth: int) -> Summary:
    traced, line, top = parts.traced, parts.line, parts.top
    prefix, suffix = traced.part(None, line), traced.part(line, top)
    trainable = {id(p): p for half in (suffix, parts.head) for p in half.parameters()}
    lower = {id(p): p for p in prefix.parameters() if id(p) not in trainable}
    count, known = RowCount(frozenset(trainable), set()), geometry_of(traced)
    below = list(rows_between(traced, prefix, (traced.lines[0], line), count, known))
    above = list(rows_between(traced, suffix, (line, top), count, known))
    own: list[LayerRow] = []
    if isinstance(parts.head, GraphPart):
        above += rows_between(traced, parts.head, (top, None), count, known)
    else:
        own = list(head_rows(parts.head, top.shape, count))
    if depth > 0:
        below, above = gathered(below, traced.net, depth), gathered(above, traced.net, depth)
    return Summary(
        name=parts.name,
        architecture=parts.architecture,
        input_px=traced.input_shape[1:],
        line=line.name,
        top=top.name,
        head=_OWN if parts.spec is None else heads.describe(parts.spec),
        scores=parts.scores,
        rows=(*below, *above, *own),
        below=len(below),
        totals=_sums(lower.values(), trainable.values()),
    )


def _sums(lower: Any, trainable: Any) -> Totals:
    frozen, trained = [p.numel() for p in lower], [p.numel() for p in trainable]
    return Totals(
        parameters=sum(frozen) + sum(trained),
        trainable_parameters=sum(trained),
        frozen_parameters=sum(frozen),
        tensors=len(frozen) + len(trained),
        trainable_tensors=len(trained),
        frozen_tensors=len(frozen),
    )
