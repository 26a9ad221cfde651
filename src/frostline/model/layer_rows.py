"""A network's layers between two lines, one row each, with all that is known of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod

import torch
from torch import nn

from frostline import frost
from frostline.base.errors import RecipeError, did_you_mean
from frostline.frost import GraphPart, Line
from frostline.frost.field_rules import Window
from frostline.frost.geometry import Geometry, geometry_of
from frostline.frost.liveness import FEW, GraphStep, TensorSpec
from frostline.frost.trace import copy_sharing_tensors


@dataclass(frozen=True)
class LayerRow:
    """A layer, or several that were gathered.

    Attributes:
        name: Its path in the network; `head.N` in a new head.
        kind: Its class; `Parameter` for one that the network reads without a layer.
        shape: Of what it gives for one image, without batch; of a parameter, its own.
        parameters: Of these, those that no earlier row has counted.
        trainable: Whether they are trained; None where it has none.
        window: Kernel, stride and padding of a convolution or a pooling; None for others.
        field_px: Height and width of what one output sees of the picture, padding included; None
            where it sees all, or where that is not known.
        sees_all: Whether one output depends on the whole picture.
        multiply_adds: For one image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    trainable: bool | None
    window: Window | None = None
    field_px: tuple[int, int] | None = None
    sees_all: bool = False
    multiply_adds: int = 0


@dataclass(frozen=True)
class RowCount:
    """Which parameters are trained, and which have been counted; both by `id`."""

    trained: frozenset[int]
    seen: set[int]

    def row(
        self, name: str, kind: str, shape: tuple[int, ...], own: Sequence[nn.Parameter]
    ) -> LayerRow:
        """Returns a row, and remembers what it counts."""
        new = {id(p): p.numel() for p in own if id(p) not in self.seen}
        self.seen.update(new)
        trainable = any(id(p) in self.trained for p in own) if own else None
        return LayerRow(name, kind, shape, sum(new.values()), trainable)


def rows_between(
    traced: frost.TracedNetwork,
    half: GraphPart,
    span: tuple[Line, Line | None],
    count: RowCount,
    geometry: Mapping[str, Geometry],
) -> Iterator[LayerRow]:
    """Gives a row for each layer between two lines, and each parameter that is read by itself.

    Args:
        traced: The network.
        half: The part of it between the lines.
        span: The lines; None for the network's own output.
        count: What was counted before.
        geometry: What `geometry_of` knows of each step.
    """
    modules = dict(half.named_modules(remove_duplicate=False))
    tensors = dict(half.named_parameters(remove_duplicate=False))
    first, last = _positions(traced, *span)
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
            yield _with_geometry(count.row(path, kind, shape, own), step, geometry)


def all_layers(traced: frost.TracedNetwork) -> tuple[LayerRow, ...]:
    """Returns a network's layers in order, its own classifier included; all can be trained."""
    whole = traced.part(None, None)
    count = RowCount(frozenset(map(id, whole.parameters())), set())
    return tuple(rows_between(traced, whole, (traced.lines[0], None), count, geometry_of(traced)))


def head_rows(head: nn.Module, shape: tuple[int, ...], count: RowCount) -> Iterator[LayerRow]:
    """Gives a row for each layer of a new head.

    Args:
        head: A chain of layers.
        shape: Of one image's activation at the line that it sits on.
        count: What was counted before.
    """
    twin = copy_sharing_tensors(head, "meta").eval()
    x = torch.empty(1, *shape, device="meta")
    sees_all = False
    for (name, layer), bare in zip(head.named_children(), twin.children(), strict=True):
        x = bare(x)
        own, kind = list(layer.parameters()), type(layer).__name__
        row = count.row(f"head.{name}", kind, tuple(x.shape[1:]), own)
        # A kernel works once at every place of a map.
        work = sum(p.numel() for p in own if p.ndim > 1) * prod(x.shape[2:])
        is_flat = kind == "Flatten" or getattr(layer, "pooling", "") == "flatten"
        sees_all |= x.ndim == 2 and not is_flat
        yield replace(row, multiply_adds=work, sees_all=sees_all)


def gathered(rows: Sequence[LayerRow], net: nn.Module, depth: int) -> list[LayerRow]:
    """Puts neighbours whose paths begin with the same `depth` parts in one row."""
    made = []
    for path, group in groupby(rows, key=lambda row: ".".join(row.name.split(".")[:depth])):
        several = list(group)
        if len(several) == 1:
            made += several
            continue
        states = {row.trainable for row in several} - {None}
        windows = [row.window for row in several if row.window]
        made.append(
            replace(
                several[-1],
                name=path,
                kind=type(net.get_submodule(path)).__name__,
                parameters=sum(row.parameters for row in several),
                trainable=any(states) if states else None,
                window=windows[0] if len(windows) == 1 else None,
                multiply_adds=sum(row.multiply_adds for row in several),
            )
        )
    return made


def only(rows: Sequence[LayerRow], what: str, where: str) -> tuple[LayerRow, ...]:
    """Returns the rows of one kind of layer.

    Args:
        rows: Of single layers.
        what: A part of the name of its class, such as `conv`, `norm` or `linear`; `conv` and
            `pool` also find what computes as one.
        where: What asked, for messages.

    Raises:
        RecipeError: Where there is none.
    """
    wanted = what.strip().lower()
    found = [
        row
        for row in rows
        if wanted and (wanted in row.kind.lower() or (row.window and row.window.what == wanted))
    ]
    if found:
        return tuple(found)
    kinds = sorted({row.kind for row in rows})
    near = did_you_mean(what, kinds)
    raise RecipeError(f"{where}: no layer is of kind {what!r}.{near} It has: {', '.join(kinds)}.")


def _with_geometry(row: LayerRow, step: GraphStep, found: Mapping[str, Geometry]) -> LayerRow:
    known = found.get(step.node.name, Geometry())
    if row.kind == "Parameter":
        return row
    work = step.multiply_adds // FEW
    return replace(
        row,
        window=known.window,
        field_px=known.field_px,
        sees_all=known.sees_all,
        multiply_adds=work,
    )


def _positions(traced: frost.TracedNetwork, start: Line, end: Line | None) -> tuple[int, int]:
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
