"""The table of a classifier's layers: shapes, parameters, and what is trained.

Only what the classifier really uses is counted: prefix, suffix and head. What a backbone has
above the line that its head sits on, such as the fully connected layers of a VGG, is not there.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frostline import frost, recipe
from frostline.base.errors import BackboneError, LineError, RecipeError, did_you_mean
from frostline.frost import GraphPart, Line
from frostline.frost.liveness import GraphStep, TensorSpec
from frostline.frost.trace import copy_sharing_tensors
from frostline.model import classifier, heads
from frostline.model.classifier import Classifier
from frostline.model.heads import HeadSpec
from frostline.networks import catalog, model_folder
from frostline.networks.names import BackboneName
from frostline.networks.opening import open_at_size, open_bare
from frostline.networks.record import OpenedBackbone
from frostline.run.folder import RunFolder, open_run

# Two parts of a path name a block of most networks, and a single layer of a plain chain.
BLOCKS, ALL = 2, 0
_OWN = "its own classifier"
_META = torch.device("meta")


@dataclass(frozen=True)
class LayerRow:
    """A layer, or several that were gathered.

    Attributes:
        name: Its path in the network; `head.N` in a new head.
        kind: Its class; `Parameter` for one that the network reads without a layer.
        shape: Of what it gives for one image, without batch; of a parameter, its own.
        parameters: Of these, those that no earlier row has counted.
        trainable: Whether they are trained; None where it has none.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    trainable: bool | None


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
) -> Summary:
    """Summarises a run, a model folder, or a backbone with a new head.

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

    Raises:
        BackboneError: Where the target cannot be opened.
        LineError: Where there is no such line.
        RecipeError: Where the head does not hold or fit, or options exclude each other.
        RunError: Where the folder is an unfinished run.
    """
    path = _folder(target)
    if path is not None and not (head or pooling or layers or on or classes or targets):
        return _of_folder(target, path, line, image_px, depth)
    text = head or ("" if layers else "linear")
    tables = tuple(map(dict, layers))
    choice = recipe.HeadChoice(text or "linear", pooling or "avg", on=on, layers=tables)
    _check(choice, image_px, classes, targets)
    listed = heads.layers_from(layers, file="summary")
    spec = heads.parse(text, choice.pooling, listed)
    opened, traced = _traced(target, path, image_px)
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


def table(summary: Summary) -> list[str]:
    """Returns the lines to print: what it is, the layers with a ruler at the line, the totals."""
    height, width = summary.input_px
    cells = [("layer", "kind", "output", "parameters", ""), *map(_cells, summary.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    shown = [
        f"{name.ljust(widths[0])}  {kind.ljust(widths[1])}  {shape.ljust(widths[2])}  "
        f"{count.rjust(widths[3])}  {state}".rstrip()
        for name, kind, shape, count, state in cells
    ]
    ruler = f"── frost line: {summary.line} ".ljust(sum(widths) + len("trainable") + 8, "─")
    shown.insert(1 + summary.below, ruler)
    title = (
        f"{summary.name}: {summary.architecture}, {width} × {height} px; "
        f"head {summary.head} on {summary.top}, {_counted(summary.scores, 'score')}"
    )
    return [title, "", *shown, "", *_totals(summary.totals)]


def as_json(summary: Summary) -> dict[str, Any]:
    """Returns the summary as plain JSON values."""
    plain = dataclasses.asdict(summary)
    plain["input_px"] = list(summary.input_px)
    plain["rows"] = [{**row, "shape": list(row["shape"])} for row in plain["rows"]]
    return plain


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


def _folder(target: str) -> Path | None:
    """Returns the model folder that is meant, which may be a run's; None for other names."""
    path = Path(catalog.parse(target).path) if target.startswith("dir:") else Path(target)
    if path.is_dir() or target.startswith("dir:"):
        return open_run(path).model if RunFolder(path).is_run() else path
    there = Path(target).parent
    if ":" not in target and there.is_dir():
        near = did_you_mean(Path(target).name, [p.name for p in there.iterdir() if p.is_dir()])
        if near:
            raise BackboneError(f"{target}: no such run or model folder.{near}")
    return None


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


def _traced(
    target: str, path: Path | None, image_px: int
) -> tuple[OpenedBackbone, frost.TracedNetwork]:
    """Opens a backbone and finds its lines; without weights wherever that can be done."""
    if path is not None:
        # Not by name: a folder's own name may read like a name's arguments.
        opened = model_folder.open_dir(BackboneName("dir", str(path.absolute())))
        return opened, catalog.trace(opened, image_px)
    try:
        bare = open_bare(target, image_px)
        return bare, catalog.trace(bare)
    # A network that cannot be traced without numbers is traced with some.
    except LineError:
        opened = open_at_size(target, image_px, pretrained=catalog.is_folder(target))
        return opened, catalog.trace(opened)


def _summarise(parts: _SummaryParts, depth: int) -> Summary:
    traced, line, top = parts.traced, parts.line, parts.top
    prefix, suffix = traced.part(None, line), traced.part(line, top)
    trainable = {id(p): p for half in (suffix, parts.head) for p in half.parameters()}
    lower = {id(p): p for p in prefix.parameters() if id(p) not in trainable}
    count = _Count(frozenset(trainable), set())
    below = list(_rows(traced, prefix, traced.lines[0], line, count))
    above = list(_rows(traced, suffix, line, top, count))
    if isinstance(parts.head, GraphPart):
        above += _rows(traced, parts.head, top, None, count)
        own: list[LayerRow] = []
    else:
        own = list(_head_rows(parts.head, top.shape, count))
    if depth > 0:
        below, above = _gathered(below, traced.net, depth), _gathered(above, traced.net, depth)
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


@dataclass(frozen=True)
class _Count:
    """Which parameters are trained, and which have been counted; both by `id`."""

    trained: frozenset[int]
    seen: set[int]

    def row(
        self, name: str, kind: str, shape: tuple[int, ...], own: list[nn.Parameter]
    ) -> LayerRow:
        """Returns a row, and remembers what it counts."""
        new = {id(p): p.numel() for p in own if id(p) not in self.seen}
        self.seen.update(new)
        trainable = any(id(p) in self.trained for p in own) if own else None
        return LayerRow(name, kind, shape, sum(new.values()), trainable)


def _rows(
    traced: frost.TracedNetwork, half: GraphPart, start: Line, end: Line | None, count: _Count
) -> Iterator[LayerRow]:
    """Gives a row for each layer between two lines, and each parameter that is read by itself."""
    modules = dict(half.named_modules(remove_duplicate=False))
    tensors = dict(half.named_parameters(remove_duplicate=False))
    first, last = _span(traced, start, end)
    for step in traced.evaluating.steps.values():
        path, is_between = str(step.node.target), first < step.index <= last
        if step.node.op == "call_module" and path in modules:
            module = modules[path]
            # Those of the network: what both halves use holds no parameters in the upper one.
            own = list(traced.net.get_submodule(path).parameters())
            kind, shape = type(module).__name__, _shape(step)
            is_shown = is_between and not isinstance(module, nn.Identity)
        elif step.node.op == "get_attr" and path in tensors:
            kind, shape, own = "Parameter", tuple(tensors[path].shape), [tensors[path]]
            is_shown = False
        else:
            continue
        # What is read without looking at the pixels belongs to where it is first needed.
        is_needed = step.follows == "free" or is_between
        if is_shown or (is_needed and any(id(p) not in count.seen for p in own)):
            yield count.row(path, kind, shape, own)


def _span(traced: frost.TracedNetwork, start: Line, end: Line | None) -> tuple[int, int]:
    """Returns the positions after which, and up to which, steps lie between two lines."""
    cut_points = traced.evaluating.cut_points
    below = cut_points[start.index]
    above = None if end is None else cut_points[end.index]
    assert below is not None
    return below.index, len(traced.evaluating.steps) if above is None else above.index


def _shape(step: GraphStep) -> tuple[int, ...]:
    """Returns the shape of one image's part; nothing where a layer gives several tensors."""
    value = step.values[0]
    return value.shape[1:] if isinstance(value, TensorSpec) else ()


def _head_rows(head: nn.Module, shape: tuple[int, ...], count: _Count) -> Iterator[LayerRow]:
    twin = copy_sharing_tensors(head, "meta").eval()
    x = torch.empty(1, *shape, device=_META)
    for (name, layer), bare in zip(head.named_children(), twin.children(), strict=True):
        x = bare(x)
        yield count.row(
            f"head.{name}", type(layer).__name__, tuple(x.shape[1:]), list(layer.parameters())
        )


def _gathered(rows: Sequence[LayerRow], net: nn.Module, depth: int) -> list[LayerRow]:
    """Puts neighbours whose paths begin with the same `depth` parts in one row."""
    made = []
    for path, group in groupby(rows, key=lambda row: ".".join(row.name.split(".")[:depth])):
        several = list(group)
        if len(several) == 1:
            made += several
            continue
        states = {row.trainable for row in several} - {None}
        gathered = replace(
            several[-1],
            name=path,
            kind=type(net.get_submodule(path)).__name__,
            parameters=sum(row.parameters for row in several),
            trainable=any(states) if states else None,
        )
        made.append(gathered)
    return made


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


def _cells(row: LayerRow) -> tuple[str, ...]:
    state = {None: "", True: "trainable", False: "frozen"}[row.trainable]
    shape = " × ".join(map(str, row.shape)) or "-"
    return row.name, row.kind, shape, f"{row.parameters:,}" if row.parameters else "-", state


def _totals(totals: Totals) -> list[str]:
    lines = {
        "total": (totals.parameters, totals.tensors),
        "trainable": (totals.trainable_parameters, totals.trainable_tensors),
        "frozen": (totals.frozen_parameters, totals.frozen_tensors),
    }
    width = len(f"{totals.parameters:,}")
    return [
        f"{name:<9}  {numbers:>{width},} parameters in {_counted(tensors, 'tensor')}"
        for name, (numbers, tensors) in lines.items()
    ]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
