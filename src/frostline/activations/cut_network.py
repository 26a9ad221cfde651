"""What this folder needs to know of a network that is cut at a line."""

from typing import Protocol

from frostline.activations.engines import Engine
from frostline.base.files import tensors_digest
from frostline.frost import GraphPart, Line, TracedNetwork
from frostline.images.preprocessing import Preprocessing


class CutNetwork(Protocol):
    """A network cut at a line; `model.classifier.Classifier` is one."""

    @property
    def architecture(self) -> str:
        """The backbone's name, as shown and as used in cache keys."""
        ...

    @property
    def line(self) -> Line:
        """The line at which it is cut."""
        ...

    @property
    def prefix(self) -> GraphPart:
        """The layers below the line, unchanged."""
        ...

    @property
    def engine(self) -> Engine:
        """A copy of the prefix, ready to run."""
        ...

    @property
    def traced(self) -> TracedNetwork:
        """The whole network, traced, with its lines."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become the network's input."""
        ...


def prefix_digest(network: CutNetwork) -> str:
    """Returns the digest of everything below the line: code, settings, weights and buffers."""
    code = network.prefix.graph.python_code("self").src
    # Caches made before the class was renamed hold the digest of its earlier name.
    settings = repr(network.prefix).replace("GraphPart(", "Half(", 1)
    return tensors_digest(network.prefix, settings.encode(), code.encode())


def row_bytes(network: CutNetwork) -> int:
    """Returns the size of one stored activation in bytes."""
    count: int = 1
    for size in network.line.shape:
        count *= size
    return count * network.engine.storage.itemsize
