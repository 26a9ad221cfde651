"""Liveness analysis: which tensors are still read after a step, and what it costs and overwrites.

Graphs are run on the meta device, where tensors have shapes and no values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from frostline.base.errors import LineError
from frostline.frost.trace import copy_sharing_tensors, first_line
from frostline.frost.traced_graph import TracedGraph

# Two numbers of images; what differs between them follows the batch.
FEW, MORE = 2, 3
_CHANNELS_LAST = torch.channels_last


@dataclass(frozen=True)
class TensorSpec:
    """A tensor's shape, type and layout.

    Attributes:
        shape: Its sizes.
        dtype: Its type.
        order: Its dimensions as they lie in memory, the slowest first.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    order: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class GraphStep:
    """A node of the graph, and what is known of its value without data.

    Attributes:
        node: The node.
        index: Its position in the graph.
        follows: `data` where its value depends on the pixels, `shape` where only on their shape,
            `free` where on neither.
        values: The value at `FEW` and at `MORE` images, each tensor in it as a `TensorSpec`.
        multiply_adds: For `FEW` images.
        parameters: Names of the parameters that it reads itself.
        last_use: Index of the last node that reads it; its own where there is none.
        written: Indices of the nodes that write into its memory, in eval or in training.
        writes: Whether it writes into memory that was there before.
        is_look_up: Whether it is a number, a size or a type that is looked up of a tensor.
    """

    node: fx.Node
    index: int
    follows: str
    values: tuple[Any, Any]
    multiply_adds: int
    parameters: frozenset[str]
    last_use: int
    written: frozenset[int]
    writes: bool
    is_look_up: bool

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one image's row, or None where this is no tensor with a row an image."""
        return self.rows[1] if self.rows is not None and self.rows[0] == 1 else None

    @property
    def rows(self) -> tuple[int, tuple[int, ...]] | None:
        """How many rows an image has, and the shape of a row; None for other values.

        Several rows an image are, for instance, an image's patches or windows.
        """
        few, more = self.values
        if not (
            isinstance(few, TensorSpec)
            and isinstance(more, TensorSpec)
            and few.dtype.is_floating_point
            and few.shape
            and few.shape[1:] == more.shape[1:]
        ):
            return None
        count = more.shape[0] - few.shape[0]
        is_batch = count > 0 and few.shape[0] == count * FEW and more.shape[0] == count * MORE
        return (count, few.shape[1:]) if is_batch else None


def steps_of(
    net: nn.Module,
    traced_graphs: tuple[tuple[TracedGraph, bool], ...],
    input_shape: tuple[int, int, int],
) -> dict[str, GraphStep]:
    """Runs graphs without data and notes each node's shape, cost, and what it overwrites.

    Args:
        net: The network that was traced; only the shapes of its tensors are read.
        traced_graphs: Graphs of one structure, each with whether it is that of training. Shapes
            and costs are those of the first; who writes into what is gathered over all.
        input_shape: One image's shape: channels, height and width in pixels.

    Returns:
        A step for each node, by the node's name, in order.

    Raises:
        LineError: Where the network does not run on images of this shape.
    """
    # Work is counted with hooks on what needs a gradient, which a view of a parameter has not.
    meta = _without_norms(copy_sharing_tensors(net, "meta")).requires_grad_(False)
    dtype = next((p.dtype for p in net.parameters()), torch.float32)
    runs: list[_Run] = []
    for traced_graph, training in traced_graphs:
        for name, constant in traced_graph.constants.items():
            setattr(meta, name, constant.to("meta"))
        for images in (FEW, MORE):
            if len(runs) == 3 and runs[2].writers <= runs[0].writers | runs[1].writers:
                break  # Training overwrites nothing that eval mode does not: all is known.
            batch = torch.empty(images, *input_shape, dtype=dtype, device="meta")
            runs.append(_run(meta.train(training), traced_graph, batch, count=not runs))
    return {step.node.name: step for step in _steps(net, traced_graphs[0][0], runs)}


def alive(steps: Mapping[str, GraphStep]) -> list[frozenset[str]]:
    """Returns the live nodes at each position: those that hold data and are read later."""
    sets: list[frozenset[str]] = []
    now: frozenset[str] = frozenset()
    for step in steps.values():
        if step.follows == "data":
            now |= {step.node.name}
        now = frozenset(name for name in now if steps[name].last_use > step.index)
        sets.append(now)
    return sets


class _NewTensor(nn.Module):
    """Stands for a batch norm where only shapes and memory count: a new tensor like its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)


def _without_norms(meta: nn.Module) -> nn.Module:
    """Puts stand-ins in the place of batch norms, which take most of the time without data."""
    from timm.layers import BatchNormAct2d

    for path, module in list(meta.named_modules()):
        if type(module) is nn.BatchNorm2d:
            meta.set_submodule(path, _NewTensor())
        elif type(module) is BatchNormAct2d:
            meta.set_submodule(path, nn.Sequential(_NewTensor(), module.drop, module.act))
    return meta


def _is_last(tensor: torch.Tensor) -> bool:
    """Whether a map lies in memory channels last, and not channels first as well."""
    plain = tensor.is_contiguous()
    return tensor.dim() == 4 and not plain and tensor.is_contiguous(memory_format=_CHANNELS_LAST)


class _Run(fx.Interpreter):
    """Runs a graph on the meta device, and watches which node writes into what."""

    def __init__(self, net: nn.Module, graph: fx.Graph) -> None:
        super().__init__(net, garbage_collect_values=False, graph=graph)
        self.values: dict[str, Any] = {}
        self.multiply_adds: dict[str, int] = {}
        self.written: dict[str, set[str]] = {}
        self.writers: set[str] = set()
        self._watched: dict[str, tuple[torch.Tensor, int]] = {}
        self._counter = FlopCounterMode(display=False)
        self.at: fx.Node | None = None

    def _convolves(self, n: fx.Node) -> bool:
        if n.op == "call_module":
            return isinstance(self.fetch_attr(str(n.target)), nn.Conv2d)
        return n.op == "call_function" and n.target in (torch.conv2d, F.conv2d)

    def run_node(self, n: fx.Node) -> Any:
        self.at = n
        read = [t for source in n.all_input_nodes for t in _tensors(self.env[source])]
        before = [t._version for t in read]
        flops = self._counter.get_total_flops()
        value = super().run_node(n)
        if self._convolves(n) and _is_last(read[0]):
            # Without data, torch gives channels first here; on a CPU the layout stays.
            value = value.contiguous(memory_format=_CHANNELS_LAST)
        self.multiply_adds[n.name] = (self._counter.get_total_flops() - flops) // 2
        if before != [t._version for t in read]:
            self._note_writes(n.name)
        if isinstance(value, torch.Tensor):
            self._watched[n.name] = (value, value._version)
        self.values[n.name] = _spec(value)
        return value

    def run_counted(self, batch: torch.Tensor, count: bool) -> None:
        """Runs the graph on `batch`; counting work doubles the time."""
        with torch.no_grad():
            if count:
                with self._counter:
                    self.run(batch)
            else:
                self.run(batch)

    def _note_writes(self, writer: str) -> None:
        self.writers.add(writer)
        for name, (tensor, version) in self._watched.items():
            if tensor._version != version:
                self.written.setdefault(name, set()).add(writer)
                self._watched[name] = (tensor, tensor._version)


def _run(net: nn.Module, traced_graph: TracedGraph, batch: torch.Tensor, count: bool) -> _Run:
    # What is a view of what depends on the memory's order, so that both orders are tried; but
    # not every network runs with channels last.
    orders = [torch.contiguous_format]
    if len(batch) == MORE:
        orders.insert(0, torch.channels_last)
    for order in orders:
        run = _Run(net, traced_graph.graph)
        try:
            run.run_counted(batch.to(memory_format=order), count)
        except Exception as error:
            if order is orders[-1]:
                raise LineError(
                    f"{type(net).__name__}: does not run on images of shape "
                    f"{tuple(batch.shape[1:])}, at {run.at}: {first_line(error)}"
                ) from error
        else:
            break
    return run


def _steps(net: nn.Module, traced_graph: TracedGraph, runs: list[_Run]) -> Iterator[GraphStep]:
    index = {node.name: i for i, node in enumerate(traced_graph.graph.nodes)}
    owned = _parameters_by_path(net)
    follows: dict[str, str] = {}
    for node in traced_graph.graph.nodes:
        name = node.name
        values = (runs[0].values[name], runs[1].values[name])
        sources = {follows[source.name] for source in node.all_input_nodes}
        follows[name] = _follows(node, sources, values[0])
        yield GraphStep(
            node=node,
            index=index[name],
            follows=follows[name],
            values=values,
            multiply_adds=runs[0].multiply_adds[name],
            parameters=owned.get(str(node.target), frozenset())
            if node.op in ("call_module", "get_attr")
            else frozenset(),
            last_use=max((index[user.name] for user in node.users), default=index[name]),
            written=frozenset(index[w] for run in runs for w in run.written.get(name, ())),
            writes=any(name in run.writers for run in runs),
            is_look_up=not any(_specs(values[0]))
            and any(_specs([runs[0].values[source.name] for source in node.all_input_nodes])),
        )


def _follows(node: fx.Node, sources: set[str], value: Any) -> str:
    if node.op == "placeholder":
        return "data"
    if "data" in sources and (node.op == "output" or any(_specs(value))):
        return "data"
    return "shape" if sources & {"data", "shape"} else "free"


def _parameters_by_path(net: nn.Module) -> dict[str, frozenset[str]]:
    """Names of the parameters below each module path, and each parameter's own."""
    first = {id(p): name for name, p in net.named_parameters()}
    owned: dict[str, set[str]] = {}
    for path, parameter in net.named_parameters(remove_duplicate=False):
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            owned.setdefault(".".join(parts[:end]), set()).add(first[id(parameter)])
    return {path: frozenset(names) for path, names in owned.items()}


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _specs(value: Any) -> Iterator[TensorSpec]:
    if isinstance(value, TensorSpec):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _specs(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _specs(part)


def _spec(value: Any) -> Any:
    """Replaces each tensor in `value` by its shape and type, so that nothing is kept alive."""
    if isinstance(value, torch.Tensor):
        strides = value.stride()
        order = tuple(sorted(range(value.ndim), key=lambda dim: -strides[dim]))
        return TensorSpec(tuple(value.shape), value.dtype, order)
    if isinstance(value, dict):
        return {key: _spec(part) for key, part in value.items()}
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, list | tuple):
        return tuple(_spec(part) for part in value)
    return value
