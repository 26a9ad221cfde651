"""A part of a network that is not translated: its source's own runtime runs it, frozen.

It reads the picture, and gives one tensor, or several packed into one [n, all their numbers], which
`Unpack` takes apart again. The graph itself is a buffer, so a model folder holds it with the
weights, and a digest of what is frozen covers it.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from frostline.base.errors import BackboneError
from frostline.networks.runtimes.names import RUNTIMES
from frostline.networks.runtimes.process import RuntimeGraph, RuntimeProcess
from frostline.networks.translate import geometry
from frostline.networks.translate.modules import Permute
from frostline.networks.translate.operator import Operator, Settings, Shape, chain

RUN, UNPACK, PROGRAM = "runtime", "unpack", "program"
# A graph that lies in a buffer, and travels to another process.
MOST_BYTES = 1 << 31
_MOST_NUMBERS = 1 << 28


class RuntimePart(nn.Module):
    """Runs a graph of another framework in its own runtime, in a process apart.

    It has no parameters and gives no gradients. Whatever the precision of the layers around it, it
    computes as its file says.

    Args:
        graph: What is to be run; `program` holds it.
        size: Of the graph, in bytes.
        digest: SHA-256 of the graph, in hexadecimal.
        shapes: Of each output for one picture, in the source's axes.
        order: From the axes held here to the source's, or None.
        layout: Where the source holds channels.
    """

    program: Tensor
    precision: Tensor

    def __init__(
        self,
        graph: RuntimeGraph,
        size: int,
        digest: str,
        shapes: Sequence[Sequence[int]],
        order: Sequence[int] | None,
        layout: str,
    ) -> None:
        super().__init__()
        self.graph, self.digest, self.layout = graph, digest, layout
        self.shapes = [tuple(shape) for shape in shapes]
        self.order = None if order is None else tuple(order)
        self.register_buffer(PROGRAM, torch.zeros(size, dtype=torch.uint8))
        # Follows the layers around it, to whatever type and device they go.
        self.register_buffer("precision", torch.empty(0), persistent=False)
        self._process = RuntimeProcess()

    def forward(self, x: Tensor) -> Tensor:
        """Returns the output, or all of them packed into [n, numbers]."""
        if x.is_meta:
            return self._held([x.new_empty(len(x), *shape) for shape in self.shapes])
        pictures = x.detach().to("cpu", torch.float32)
        if self.order is not None:
            pictures = pictures.permute(self.order)
        found = self._process.run(self.graph, self._data, pictures.contiguous().numpy())
        held = self._held([torch.from_numpy(one) for one in found])
        return held.to(self.precision.device, self.precision.dtype)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.graph.runtime}, {self.digest}, {self.shapes}, {self.order}"

    def _data(self) -> bytes:
        data = self.program.cpu().numpy().tobytes()
        if digest_of(data) != self.digest:
            raise BackboneError(
                f"{self.graph.where}: its weights are not those that it was saved with, and random "
                "ones cannot be drawn for it. Open the network with those of its file."
            )
        return data

    def _held(self, found: Sequence[Tensor]) -> Tensor:
        if len(found) == 1:
            order = geometry.from_source(found[0].dim(), self.layout)
            return found[0] if order is None else found[0].permute(order)
        return torch.cat([one.flatten(1) for one in found], 1)


class Unpack(nn.Module):
    """Takes one tensor [n, …] out of packed ones [n, numbers].

    Args:
        start: The first of its numbers.
        shape: Its shape for one picture.
    """

    def __init__(self, start: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.start, self.shape = start, tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the tensor."""
        part = x[:, self.start : self.start + math.prod(self.shape)]
        return part.reshape(-1, *self.shape)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.start}, {self.shape}"


def runtime_of(module: nn.Module) -> str:
    """Returns what runs a part of a network, as people call it; empty where all is translated."""
    found = next((one for one in module.modules() if isinstance(one, RuntimePart)), None)
    return "" if found is None else RUNTIMES[found.graph.runtime].title


def told(module: nn.Module) -> str:
    """Says in a sentence which part of a network another runtime runs; empty where none does."""
    found = [(path, one) for path, one in module.named_modules() if isinstance(one, RuntimePart)]
    if not found:
        return ""
    path, part = found[0]
    return (
        f"{RUNTIMES[part.graph.runtime].title} runs what leads to {path}, as the file has it: it "
        "stays frozen, and has no lines inside. A tensor of it can be named with ?output=NAME."
    )


def takes_exact(module: nn.Module, graph: fx.Graph) -> bool:
    """Tells whether all that reads a network's input is such a part, which computes in float32.

    Args:
        module: The network.
        graph: What it does.
    """
    waiting = [node for node in graph.nodes if node.op == "placeholder"]
    while waiting:
        for reader in waiting.pop().users:
            found = module.get_submodule(str(reader.target)) if reader.op == "call_module" else None
            if isinstance(found, nn.Identity | Permute):
                waiting.append(reader)
            elif not isinstance(found, RuntimePart):
                return False
    return True


def _run(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    outputs = [(str(name), [int(size) for size in shape]) for name, shape in settings["outputs"]]
    numbers = sum(math.prod(shape) for _, shape in outputs)
    size, runtime = int(settings["size"]), str(settings["runtime"])
    if not (0 < numbers <= _MOST_NUMBERS and 0 < size < MOST_BYTES and runtime in RUNTIMES):
        raise BackboneError(f"no runtime gives {numbers:,} numbers by a graph of {size:,} bytes.")
    if list(shapes[0][1:]) != list(settings["input_shape"]):
        raise BackboneError(
            f"the part that {RUNTIMES[runtime].title} runs takes {settings['input_shape']} alone."
        )
    graph = RuntimeGraph(
        "this network",
        runtime,
        str(settings["input"]),
        tuple(name for name, _ in outputs),
        bool(settings["one_by_one"]),
    )
    order = geometry.to_source(len(shapes[0]), layout)
    return RuntimePart(
        graph, size, str(settings["digest"]), [shape for _, shape in outputs], order, layout
    )


def _unpack(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    shape = [int(size) for size in settings["shape"]]
    order = geometry.from_source(len(shape) + 1, layout)
    return chain(
        part=Unpack(int(settings["start"]), shape),
        order=None if order is None else Permute(order),
    )


def digest_of(data: bytes) -> str:
    """Returns the digest by which a graph is known."""
    return hashlib.sha256(data).hexdigest()


def tensor_of(data: bytes) -> Tensor:
    """Returns a graph as the tensor that a buffer holds."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


RUNTIME_OPERATORS: dict[str, Operator] = {
    RUN: Operator(_run, {PROGRAM: ("", PROGRAM)}),
    UNPACK: Operator(_unpack, {}),
}
