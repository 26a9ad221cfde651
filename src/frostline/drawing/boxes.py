"""The boxes of a drawing: which steps of a network go into one, and how they hang together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from frostline.frost import Line, TracedNetwork
from frostline.frost.geometry import Geometry, geometry_of
from frostline.frost.liveness import FEW, GraphStep, TensorSpec
from frostline.model.summary_text import field_cell, window_cells, work_cell

_DROPPED = (nn.Identity, nn.Dropout, nn.Dropout2d)
_NORMS = ("norm",)


@dataclass(frozen=True)
class Box:
    """A box of a drawing.

    Attributes:
        name: Its key: the name of its first node.
        title: The path of its layer, or what it does.
        does: What happens in it, in short.
        shape: Of what it gives for one image.
        is_above: Whether it lies above the frost line.
        details: More about it, a line each.
        reads: The keys of the boxes that it reads.
    """

    name: str
    title: str
    does: str
    shape: tuple[int, ...]
    is_above: bool
    details: tuple[str, ...]
    reads: tuple[str, ...]


def boxes_of(traced: TracedNetwork, line: Line) -> tuple[Box, ...]:
    """Returns the boxes of a network, layer by layer.

    What works number by number, such as a norm or an activation, goes into the box of the layer
    that it follows, where nothing else reads that.

    Args:
        traced: The network.
        line: The frost line; no box lies on both sides of it.
    """
    steps = {
        name: step
        for name, step in traced.evaluating.steps.items()
        if step.follows == "data" and step.node.op != "output"
    }
    cut = traced.evaluating.cut_points[line.index]
    assert cut is not None
    home = _homes(steps, traced.net, cut.index)
    members: dict[str, list[GraphStep]] = {}
    for name, step in steps.items():
        members.setdefault(home[name], []).append(step)
    known, made = geometry_of(traced), []
    named = {node: one.name for one in traced.lines for node in (one.node, *one.aliases)}
    for key, inside in members.items():
        own = {step.node.name for step in inside}
        sources = [n.name for step in inside for n in step.node.all_input_nodes]
        reads = dict.fromkeys(home[n] for n in sources if n in home and n not in own)
        is_above = inside[0].index > cut.index
        box = _box(key, inside, traced.net, known, is_above, tuple(reads))
        # What adds and joins has no layer of its own; what it gives may be that of a block.
        is_layer = inside[0].node.op == "call_module"
        block = "" if is_layer else named.get(inside[-1].node.name, "")
        made.append(replace(box, title=block or box.title))
    return tuple(made)


def blocks_of(traced: TracedNetwork, line: Line) -> tuple[Box, ...]:
    """Returns a box for what lies between each two lines that part blocks, in a chain."""
    chosen = [one for one in traced.lines if one.block or one.index in (0, line.index)]
    work = traced.multiply_adds
    known, made = geometry_of(traced), []
    for below, at in zip([None, *chosen], chosen, strict=False):
        count = at.params_below - (below.params_below if below else 0)
        share = at.share_below - (below.share_below if below else 0.0)
        seen = known.get(at.node.rpartition("+")[2], Geometry())
        does = f"{count:,} parameters" if below else "input"
        details = (
            f"{work_cell(round(share * work))} multiply-adds",
            f"sees {field_cell(seen.field_px, seen.sees_all)} px of the picture",
        )
        reads = (below.node,) if below else ()
        above = at.index > line.index
        made.append(Box(at.node, at.name, does, at.shape, above, details, reads))
    return tuple(made)


def _homes(steps: Mapping[str, GraphStep], net: nn.Module, cut: int) -> dict[str, str]:
    """Returns for each node the first node of the box that it goes into."""
    home: dict[str, str] = {}
    for name, step in steps.items():
        sources = [n.name for n in step.node.all_input_nodes if n.name in steps]
        home[name] = name
        if len(set(sources)) != 1:
            continue
        (source,) = set(sources)
        readers = [user for user in steps[source].node.users if user.name in steps]
        is_same_side = (steps[source].index <= cut) == (step.index <= cut)
        is_input = steps[source].node.op == "placeholder"
        if (
            len(readers) == 1
            and is_same_side
            and not is_input
            and _follows(step, steps[source], net)
        ):
            home[name] = home[source]
    return home


def _follows(step: GraphStep, source: GraphStep, net: nn.Module) -> bool:
    """Whether a step needs no box of its own: it keeps the shape and mixes no places."""
    node = step.node
    if node.op == "call_module":
        module = net.get_submodule(str(node.target))
        if isinstance(module, nn.Identity):
            return True
        kept = _shape(step) == _shape(source)
        has_kernel = any(p.ndim > 1 for p in module.parameters())
        return kept and not has_kernel and "pool" not in type(module).__name__.lower()
    return _shape(step) == _shape(source) or not isinstance(source.values[0], TensorSpec)


def _box(
    key: str,
    inside: Sequence[GraphStep],
    net: nn.Module,
    known: Mapping[str, Geometry],
    is_above: bool,
    reads: tuple[str, ...],
) -> Box:
    paths = [str(step.node.target) for step in inside if step.node.op == "call_module"]
    count = sum(p.numel() for path in paths for p in net.get_submodule(path).parameters())
    seen = known.get(inside[-1].node.name, Geometry())
    work = sum(step.multiply_adds for step in inside) // FEW
    details = (
        *paths,
        f"{count:,} parameters, {work_cell(work)} multiply-adds",
        f"sees {field_cell(seen.field_px, seen.sees_all)} px of the picture",
    )
    does = " + ".join(word for step in inside if (word := _word(step, net, known)))
    return Box(
        key, _title(inside[0], paths, net), does, _shape(inside[-1]), is_above, details, reads
    )


def _title(first: GraphStep, paths: Sequence[str], net: nn.Module) -> str:
    """The path of the first layer, or of the module whose layers are all in the box."""
    if first.node.op == "placeholder":
        return "pixels"
    if not paths:
        return ""
    path = paths[0]
    while "." in path:
        parent = path.rpartition(".")[0]
        leaves = [
            f"{parent}.{name}"
            for name, module in net.get_submodule(parent).named_modules()
            if name
            and not any(True for _ in module.children())
            and not isinstance(module, _DROPPED)
        ]
        if not set(leaves) <= set(paths):
            break
        path = parent
    return path


def _word(step: GraphStep, net: nn.Module, known: Mapping[str, Geometry]) -> str:
    node = step.node
    if node.op == "placeholder":
        return "input"
    if node.op != "call_module":
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return {"cat": "concat", "iadd": "add", "getitem": ""}.get(str(name), str(name))
    module = net.get_submodule(str(node.target))
    kind = type(module).__name__
    window = known.get(node.name, Geometry()).window
    if window is not None:
        kernel, stride, _ = window_cells(window)
        what = "conv" if window.what == "conv" else _pool(kind)
        depthwise = (
            "depthwise " if window.groups > 1 and window.groups == step_channels(step) else ""
        )
        return f"{depthwise}{what} {kernel}" + (f" / {stride}" if stride != "1" else "")
    if isinstance(module, _DROPPED):
        return ""
    return "norm" if any(part in kind.lower() for part in _NORMS) else kind


def step_channels(step: GraphStep) -> int:
    """Returns how many channels a step gives; 0 where it gives no tensor."""
    shape = _shape(step)
    return shape[0] if shape else 0


def _pool(kind: str) -> str:
    return "mean pool" if "a" in kind.lower().partition("pool")[0][:1] else "max pool"


def _shape(step: GraphStep) -> tuple[int, ...]:
    value = step.values[0]
    return value.shape[1:] if isinstance(value, TensorSpec) else ()
