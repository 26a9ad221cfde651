"""Networks with operations that are not known: what lies below the last one is run, not translated.

The whole file is translated with a hole for each operation that is not known, whose shape its own
runtime tells. Then all that a hole depends on, and the holes, become one layer, which the runtime
computes; what lies above stays as translated, and can be trained.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs import pictures
from frostline.networks.graphs.calls import UntranslatableError, counted, translate
from frostline.networks.graphs.source import GraphSource, RunSource
from frostline.networks.runtimes.names import RUNTIMES
from frostline.networks.runtimes.process import RuntimeGraph, RuntimeProcess
from frostline.networks.translate import runtime_part, simplify
from frostline.networks.translate.draft import HOLE, OPEN_BATCH, Draft, Operand, Value
from frostline.networks.translate.graph import Graph, Node
from frostline.networks.translate.names import safe_name
from frostline.networks.weights_files.records import Port

# Pictures to find shapes with, where their number is open: what differs follows it.
_TRIED = (2, 3)
_SEED = 20261126
OPENING_S, OPENING_BYTES, OPENING_BYTES_PER_S = 10, 1 << 30, 10_000_000


@dataclass(frozen=True)
class Drafted:
    """A file that was translated.

    Attributes:
        draft: The graph in the making, with its arrays.
        graph: The network.
        notes: What a reader should know of it, a sentence each.
    """

    draft: Draft
    graph: Graph
    notes: tuple[str, ...] = ()


def drafted_for_any_number(source: GraphSource, input_px: tuple[int, int] | None) -> Drafted:
    """Translates a file that was written for a fixed number of pictures for any number of them.

    Raises:
        UntranslatableError: Where that cannot be done.
    """
    return _translated(source, input_px, any_number=True)


def drafted_alone(source: GraphSource, input_px: tuple[int, int] | None) -> Drafted:
    """Lets a file's runtime run it one picture at a time, up to a vector of the picture's own.

    For files that were made for one picture and put its parts, such as a transformer's tokens,
    where a batch would stand: what is translated of them would mix the pictures of a batch.

    Args:
        source: The file, whose input is one picture.
        input_px: Height and width of the input, where the file leaves them open.

    Raises:
        BackboneError: Where the runtime is not installed, or cannot run it.
    """
    assert source.run is not None
    runtime = RUNTIMES[source.run.runtime]
    if not runtime.is_installed():
        raise BackboneError(f"Or let {runtime.title} run it, frozen: {runtime.install}.")
    return _run_below(source, source.port, input_px, source.run, one_by_one=True, is_whole=True)


def drafted(
    source: GraphSource, input_px: tuple[int, int] | None, any_number: bool = True
) -> Drafted:
    """Translates a file; where operations are not known, its own runtime runs what is below them.

    A file that was written for a fixed number of pictures, and cannot be translated so, is tried
    for any number of them; `draft.made_for` then says so. Whether pictures of a batch stay apart
    in what comes out must be tried.

    Args:
        source: The file.
        input_px: Height and width of the input, where the file leaves them open.
        any_number: Whether to try that.

    Raises:
        BackboneError: Where it cannot be translated, and the runtime is not installed, or cannot
            run it either; or what it gives does not depend on the picture.
    """
    try:
        return _translated(source, input_px)
    except UntranslatableError as error:
        if any_number and source.port.shape and source.port.shape[0]:
            with suppress(UntranslatableError):
                return drafted_for_any_number(source, input_px)
        return _with_runtime(source, input_px, error)


def _translated(
    source: GraphSource, input_px: tuple[int, int] | None, any_number: bool = False
) -> Drafted:
    draft, values = _started(source, source.port, input_px, any_number)
    translate(draft, source.nodes, values, source.table, source.title)
    return Drafted(draft, simplify.prune(draft.graph(_given(source, values))))


def _with_runtime(
    source: GraphSource, input_px: tuple[int, int] | None, error: UntranslatableError
) -> Drafted:
    if source.run is None:
        raise UntranslatableError(f"{error} {source.refused}".strip()) from error
    runtime = RUNTIMES[source.run.runtime]
    if not runtime.is_installed():
        raise UntranslatableError(
            f"{error} Or let {runtime.title} run what lies below them, frozen: {runtime.install}."
        ) from error
    try:
        return _run_somehow(source, input_px, source.run)
    except BackboneError as other:
        told = str(other).removeprefix(f"{source.where}: ")
        raise UntranslatableError(f"{error} Nor could {runtime.title} help: {told}") from other


def _run_somehow(source: GraphSource, input_px: tuple[int, int] | None, run: RunSource) -> Drafted:
    first, *sizes = source.port.shape or (None,)
    if first:
        return _run_below(source, source.port, input_px, run, one_by_one=first == 1)
    try:
        return _run_below(source, source.port, input_px, run, one_by_one=False)
    except BackboneError:
        # Its operations may be made for one picture, whatever its input declares.
        single = replace(source.port, shape=(1, *sizes))
        return _run_below(source, single, input_px, run, one_by_one=True)


def _run_below(
    source: GraphSource,
    port: Port,
    input_px: tuple[int, int] | None,
    run: RunSource,
    one_by_one: bool,
    is_whole: bool = False,
) -> Drafted:
    draft, values = _started(source, port, input_px)
    x = values[source.input]
    assert isinstance(x, Value)
    if x.shape[0] not in (1, OPEN_BATCH):
        raise BackboneError(f"{source.where}: takes {x.shape[0]} pictures at once, not any number.")
    shapes = _Shapes(_shapes(source, run, x.shape, one_by_one))
    translate(draft, source.nodes, values, source.table, source.title, shapes)
    graph = simplify.prune(draft.graph(_given(source, values)))
    names = {one.node: name for name, one in values.items() if isinstance(one, Value)}
    part = _Part(graph, draft, x, names)
    below = part.up_to_vector() if is_whole else part.below()
    if not below:
        return Drafted(draft, graph)
    outputs = part.frontier(below)
    where = ", ".join(outputs[:3]) + (", …" if len(outputs) > 3 else "")
    unknown = Counter(
        str(node.settings["op"]) for node in graph.nodes if node.op == HOLE and node.name in below
    )
    why = "It is made for one picture" if is_whole else f"{counted(unknown)} cannot be translated"
    note = f"{why}: {RUNTIMES[run.runtime].title} runs all below {where}, which stays frozen."
    return Drafted(draft, _joined(part, below, outputs, run, one_by_one), (note,))


def _started(
    source: GraphSource, port: Port, input_px: tuple[int, int] | None, any_number: bool = False
) -> tuple[Draft, dict[str, Operand]]:
    draft, x = pictures.draft_for(port, source.layout, input_px, source.where, any_number)
    return draft, {**source.constants, source.input: x}


def _given(source: GraphSource, values: Mapping[str, Operand]) -> Value:
    if source.output not in values:
        raise BackboneError(f"{source.where}: nothing gives the output {source.output!r}.")
    given = values[source.output]
    if not isinstance(given, Value):
        raise BackboneError(f"{source.where}: what it gives does not depend on the picture.")
    return given


@dataclass(frozen=True)
class _Shapes:
    """Shapes by tensor, as a runtime told them."""

    found: Mapping[str, tuple[int, ...]]

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """Returns a tensor's shape, or None where it has none that is fixed."""
        return self.found.get(tensor)


def _shapes(
    source: GraphSource, run: RunSource, shape: Sequence[int], one_by_one: bool
) -> dict[str, tuple[int, ...]]:
    """Runs noise through the file, and returns the shapes of all tensors that have a fixed one."""
    names = [name for node in source.nodes for name in node.outputs if name]
    data = run.cut(names)
    # What a file may take while it is only looked at follows its own size.
    process = RuntimeProcess(
        OPENING_BYTES + 4 * len(data), OPENING_S + len(data) // OPENING_BYTES_PER_S
    )
    told = tuple(map(run.name, names))
    graph = RuntimeGraph(source.where, run.runtime, run.input, told, one_by_one)
    random = np.random.default_rng(_SEED)
    counts = _TRIED if shape[0] == OPEN_BATCH else (1,)
    found = []
    try:
        for count in counts:
            noise = random.normal(size=(count, *shape[1:])).astype(np.float32)
            found.append(process.shapes(graph, lambda: data, noise))
    except MemoryError as error:
        raise BackboneError(f"{error}. Take a smaller ?input_px.") from error
    finally:
        process.close()
    per_tensor = zip(names, zip(*found, strict=True), strict=True)
    return {name: one for name, told in per_tensor if (one := _in_general(told, counts))}


def _in_general(
    told: Sequence[tuple[int, ...] | None], counts: Sequence[int]
) -> tuple[int, ...] | None:
    """Returns a shape for any number of pictures; None where it follows anything else."""
    first = told[0]
    if first is None or any(one is None or len(one) != len(first) for one in told):
        return None
    if len(counts) == 1:
        return first
    found = []
    for sizes in zip(*(one for one in told if one is not None), strict=True):
        if len(set(sizes)) == 1:
            found.append(sizes[0])
        elif all(
            size * counts[0] == sizes[0] * count for size, count in zip(sizes, counts, strict=True)
        ):
            found.append(OPEN_BATCH * sizes[0] // counts[0])
        else:
            return None
    return tuple(found)


@dataclass(frozen=True)
class _Part:
    """A graph with holes.

    Attributes:
        graph: The graph.
        draft: What it was drafted in.
        x: The picture, in the source's axes.
        names: What the source calls what a node gives, where it calls it anything.
    """

    graph: Graph
    draft: Draft
    x: Value
    names: Mapping[str, str]

    def below(self) -> set[str]:
        """Returns the nodes that the runtime must compute; none where nothing is unknown.

        They are the holes and all that these depend on. What passes from there to the other nodes
        must be tensors of the file, with a row for each picture; where one is not, what reads it
        is computed by the runtime as well.
        """
        kept = self._before({self.x.node})
        found = self._before({node.name for node in self.graph.nodes if node.op == HOLE}) - kept
        while bad := [name for name in self.frontier(found) if not self._passes(name)]:
            readers = {node.name for node in self.graph.nodes if set(node.inputs) & {*bad}} - found
            if not readers:
                raise BackboneError(
                    f"{self.draft.where}: gives {bad[0]!r}, which does not have a row for each "
                    "picture. Name another tensor with ?output=NAME."
                )
            found |= self._before(readers) - kept
        return found

    def up_to_vector(self) -> set[str]:
        """Returns what leads to the lowest vector that the rest depends on, or to the output."""
        kept = self._before({self.x.node})
        for node in self.graph.nodes:
            if len(self.draft.shape_of(node.name)) == 2 and self._passes(node.name):
                found = self._before({node.name}) - kept
                if found and self.frontier(found | kept) == [node.name]:
                    return found
        return self._before({self.graph.output}) - kept

    def frontier(self, below: set[str]) -> list[str]:
        """Returns the nodes among these that others read, or that give the output."""
        read = {
            name for node in self.graph.nodes if node.name not in below for name in node.inputs
        } | {self.graph.output}
        return [node.name for node in self.graph.nodes if node.name in below & read]

    def _passes(self, name: str) -> bool:
        shape = self.draft.shape_of(name)
        return name in self.names and len(shape) > 1 and shape[0] == self.draft.batch

    def _before(self, names: set[str]) -> set[str]:
        """Returns these nodes and all that they depend on."""
        found = set(names)
        for node in reversed(self.graph.nodes):
            if node.name in found:
                found |= set(node.inputs)
        return found


def _joined(
    part: _Part, below: set[str], outputs: Sequence[str], run: RunSource, one_by_one: bool
) -> Graph:
    """Returns the graph in which one node stands for all those below."""
    draft, tensors = part.draft, [part.names[name] for name in outputs]
    data = run.cut(tensors)
    if len(data) >= runtime_part.MOST_BYTES:
        raise BackboneError(f"{draft.where}: {len(data):,} bytes are too many for a runtime.")
    shapes = [draft.shape_of(name)[1:] for name in outputs]
    title = safe_name(f"below {outputs[-1]}") if len(outputs) > 1 else outputs[0]
    settings = {
        "runtime": run.runtime,
        "input": run.input,
        "input_shape": list(part.draft.held_shape(part.x.node)[1:]),
        "outputs": [[run.name(t), list(s)] for t, s in zip(tensors, shapes, strict=True)],
        "one_by_one": one_by_one,
        "size": len(data),
        "digest": runtime_part.digest_of(data),
    }
    draft.arrays[(title, runtime_part.PROGRAM)] = runtime_part.tensor_of(data)
    nodes = [Node(title, runtime_part.RUN, (part.x.node,), settings)]
    if len(outputs) > 1:
        starts = np.cumsum([0, *(math.prod(shape) for shape in shapes)]).tolist()
        nodes += [
            Node(name, runtime_part.UNPACK, (title,), {"start": start, "shape": list(shape)})
            for name, start, shape in zip(outputs, starts, shapes, strict=False)
        ]
    kept = [node for node in part.graph.nodes if node.name not in below]
    at = next(i for i, node in enumerate(kept) if node.name == part.x.node) + 1
    return simplify.prune(replace(part.graph, nodes=(*kept[:at], *nodes, *kept[at:])))
