"""Where a traced network can be cut: positions at which few tensors are alive, each with its rows.

A cut needs every value that is read above it. Where one tensor with a row for each image is alive,
that tensor is the activation. Where blocks hand on several, as NASNet's cells do, all of them are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from math import prod

from torch import nn

from frostline.frost.liveness import GraphStep, TensorSpec, alive
from frostline.frost.traced_graph import TracedGraph
from frostline.frost.tracer import is_leaf

# Several tensors are taken for an activation only where a larger share of the work than this lies
# between two places with one, and never more of them than this.
_WIDE_GAP = 0.2
_MOST_TENSORS = 8


@dataclass(frozen=True)
class LiveTensor:
    """A tensor that is read above a cut.

    Attributes:
        node: The name of the node that gives it.
        rows: How many rows an image has in it, such as patches: its first size, by image.
        shape: Of one row.
        order: Its dimensions as they lie in memory, the slowest first; empty for as they are.
    """

    node: str
    rows: int
    shape: tuple[int, ...]
    order: tuple[int, ...] = field(default=(), compare=False)

    @property
    def size(self) -> int:
        """How many numbers an image has in it."""
        return self.rows * prod(self.shape)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image's part."""
        return self.shape if self.rows == 1 else (self.rows, *self.shape)


@dataclass(frozen=True)
class CutPoint:
    """Where a line lies in a graph.

    Attributes:
        tensors: What is alive there, in the order of the graph.
        index: The position after which the suffix begins.
        same: Names of the nodes that hand on this tensor unchanged.
    """

    tensors: tuple[LiveTensor, ...]
    index: int
    same: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes that give the tensors."""
        return tuple(tensor.node for tensor in self.tensors)

    @property
    def node(self) -> str:
        """The nodes' names in one."""
        return "+".join(self.nodes)

    @property
    def is_packed(self) -> bool:
        """Whether the activation is several tensors, flattened and concatenated."""
        return len(self.tensors) > 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's activation."""
        if self.is_packed:
            return (sum(tensor.size for tensor in self.tensors),)
        return self.tensors[0].shape

    @property
    def vector(self) -> tuple[int, ...]:
        """The shape, a map of a single point being a vector."""
        single = len(self.shape) > 1 and prod(self.shape) == max(self.shape)
        return (prod(self.shape),) if single else self.shape


def single_cut_points(net: nn.Module, steps: Mapping[str, GraphStep]) -> tuple[CutPoint, ...]:
    """Finds where exactly one tensor with a row for each image is alive, in order."""
    order = list(steps.values())
    blocked = _blocked(net, order)
    root: dict[str, str] = {}
    found: dict[str, CutPoint] = {}
    same: dict[str, list[str]] = {}
    for step, live in zip(order, alive(steps), strict=True):
        if len(live) != 1 or blocked[step.index]:
            continue
        (name,) = live
        shape = steps[name].shape
        if shape is None or name in found or name in root:
            continue
        handed_on = _handed_on(net, steps[name])
        if handed_on is not None and (source := root.get(handed_on, handed_on)) in found:
            root[name] = source
            same.setdefault(source, []).append(name)
            continue
        found[name] = CutPoint((LiveTensor(name, 1, shape),), step.index)
    return tuple(
        replace(cut_point, same=tuple(same.get(name, ()))) for name, cut_point in found.items()
    )


def packed_cut_points(
    net: nn.Module,
    traced_graph: TracedGraph,
    steps: Mapping[str, GraphStep],
    singles: Sequence[CutPoint],
    top: int,
) -> tuple[CutPoint, ...]:
    """Finds the ends of blocks at which several tensors are alive, in wide gaps between `singles`.

    Args:
        net: The network.
        traced_graph: What it does.
        steps: The same, step by step.
        singles: Where one tensor is alive.
        top: The position above which no line lies.
    """
    order, live = list(steps.values()), alive(steps)
    blocked = _blocked(net, order)
    by_depth: dict[int, list[CutPoint]] = {}
    for path, calls in traced_graph.outputs.items():
        if not path or len(calls) > 1 or not is_block(net, path):
            continue
        given = [steps[name].index for name in calls[0] if steps[name].follows == "data"]
        at = max(given, default=0)
        # The block's own output must be among what is alive.
        if at <= top and not blocked[at] and order[at].node.name in live[at]:
            point = packed_at(order, live[at], at)
            if point is not None:
                by_depth.setdefault(path.count("."), []).append(point)
    found: dict[tuple[str, ...], CutPoint] = {}
    for _, points in sorted(by_depth.items()):
        # Outer blocks first: inner ones only where a wide gap is left.
        gaps = list(_wide_gaps(order, [*singles, *found.values()]))
        inside = [p for p in points if any(low < p.index < high for low, high in gaps)]
        found |= {point.nodes: point for point in inside}
    return tuple(found.values())


def packed_at(order: Sequence[GraphStep], live: frozenset[str], at: int) -> CutPoint | None:
    """Returns the cut through several live tensors at a position, or None where there is none."""
    steps = [step for step in order if step.node.name in live]
    if not 2 <= len(steps) <= _MOST_TENSORS:
        return None
    tensors = []
    for step in steps:
        if step.rows is None:
            return None
        tensors.append(LiveTensor(step.node.name, *step.rows, step.values[0].order))
    # Two that share memory which is written later would come apart.
    later = [index for step in steps for index in step.written if index > at]
    types = {step.values[0].dtype for step in steps}
    if len(later) > len(set(later)) or len(types) > 1:
        return None
    return CutPoint(tuple(tensors), at)


def is_block(net: nn.Module, path: str) -> bool:
    """Whether a module with parts of its own belongs to the network, to a chain or to a stage."""
    module = net.get_submodule(path)
    parent = net.get_submodule(path.rpartition(".")[0])
    if is_leaf(module):
        return False
    return parent is net or isinstance(parent, nn.Sequential | nn.ModuleList) or _is_stage(parent)


def _is_stage(module: nn.Module) -> bool:
    """Whether `module` has no layers of its own, only parts that have inner parts again."""
    parts = [part for part in module.children() if type(part) is not nn.Identity]
    deep = [any(not is_leaf(inner) for inner in part.children()) for part in parts]
    return any(deep) and not any(is_leaf(part) for part in parts)


def _wide_gaps(order: Sequence[GraphStep], points: Sequence[CutPoint]) -> Iterator[tuple[int, int]]:
    work = list(accumulate(step.multiply_adds for step in order))
    ends = [*sorted(point.index for point in points), len(order) - 1]
    for low, high in pairwise(ends):
        if work[high] - work[low] > _WIDE_GAP * work[-1]:
            yield low, high


def _blocked(net: nn.Module, order: Sequence[GraphStep]) -> list[bool]:
    """Marks positions that no cut can pass, whatever is alive there.

    Either a number that was looked up below is read above and has no formula in the number of
    images; or a module with statistics of its own is called on both sides: one half would change
    what the other one reads.
    """
    blocked = [False] * len(order)
    spans: dict[nn.Module, list[int]] = {}
    steps = {step.node.name: step for step in order}
    for step in order:
        if step.follows == "shape" and not has_formula(step, steps):
            spans[nn.Identity()] = [step.index, step.last_use]
        elif step.node.op == "call_module":
            module = net.get_submodule(str(step.node.target))
            if any(_keeps_state(inner) for inner in module.modules()):
                spans.setdefault(module, []).append(step.index)
    for found in spans.values():
        for index in range(min(found), max(found)):
            blocked[index] = True
    return blocked


def has_formula(step: GraphStep, steps: Mapping[str, GraphStep]) -> bool:
    """Tells whether what follows the images' shape can be made anew from an activation alone."""
    sources = [steps[source.name] for source in step.node.all_input_nodes]
    if step.is_look_up or isinstance(step.values[0], TensorSpec):
        return _is_linear(*step.values)
    return all(has_formula(source, steps) for source in sources if source.follows == "shape")


def _is_linear(few: object, more: object) -> bool:
    if isinstance(few, tuple) and isinstance(more, tuple):
        same = len(few) == len(more)
        return same and all(_is_linear(a, b) for a, b in zip(few, more, strict=True))
    return isinstance(few, TensorSpec) or few == more or type(few) is type(more) is int


def _keeps_state(module: nn.Module) -> bool:
    """Whether a module's calls change it, or it holds its parameters in a second place."""
    return "running_mean" in module._buffers or isinstance(module, nn.RNNBase)


def _handed_on(net: nn.Module, step: GraphStep) -> str | None:
    """The name of the node whose tensor an identity hands on."""
    node = step.node
    if node.op != "call_module" or len(node.all_input_nodes) != 1:
        return None
    module = net.get_submodule(str(node.target))
    return node.all_input_nodes[0].name if type(module) is nn.Identity else None
