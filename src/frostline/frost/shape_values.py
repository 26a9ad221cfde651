"""What is known of a traced value before there is any data: shapes, sizes and types.

Each node is run without data for several numbers of images. What differs between them follows the
batch; only what does not is told, so that no choice in a network's code is made for one number of
images alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError

_IMAGES = (2, 3, 29)
_UNKNOWN = object()
_SCALARS = (bool, int, float)


class ShapeValues:
    """Runs the nodes of a graph without data while it is recorded.

    Attributes:
        is_running: Whether a node is being run; the modules called then are not to be recorded.
        root: What is traced; it holds the tensors that the code makes while it is traced.
    """

    def __init__(self, meta: nn.Module, input_shape: tuple[int, int, int]) -> None:
        """Takes the network on the meta device, and one image's shape."""
        dtype = next((p.dtype for p in meta.parameters()), torch.float32)
        self.is_running = False
        self.root: nn.Module | None = None
        self._meta = meta
        self._inputs = tuple(
            torch.empty(images, *input_shape, dtype=dtype, device="meta") for images in _IMAGES
        )
        self._values: dict[fx.Node, tuple[Any, ...]] = {}
        self._batch: set[fx.Node] = set()

    def note(self, node: fx.Node) -> None:
        """Computes what is known of a node that was recorded just now."""
        if node.op == "placeholder":
            self._values[node] = self._inputs
            return
        with self._running():
            self._values[node] = tuple(self._run(node, at) for at in range(len(_IMAGES)))
        if self._follows_batch(node):
            self._batch.add(node)

    def kind(self, node: fx.Node) -> type | None:
        """Returns the type that the code sees: a tensor or a number; None for anything else."""
        value = self._values[node][0]
        if isinstance(value, torch.Tensor):
            return torch.Tensor
        return type(value) if type(value) in _SCALARS else None

    def is_int(self, node: fx.Node) -> bool:
        """Tells whether a node's value is a whole number that does not follow the batch."""
        return type(self._values[node][0]) is int and node not in self._batch

    def answer(self, node: fx.Node, length: bool = False) -> Any:
        """Returns a node's value, to choose by; with `length` only its length is asked for.

        Raises:
            TraceError: Where it depends on the pixels or on the number of images.
        """
        values = self._values[node]
        if any(value is _UNKNOWN for value in values):
            raise TraceError("what the code asks for there is not known before it runs")
        if isinstance(values[0], torch.Tensor):
            if length:
                raise TraceError("the number of images is not known before it runs")
            raise TraceError("the code chooses there by what the pixels are")
        if length and len({len(value) for value in values}) == 1:
            return values[0]
        if node in self._batch:
            raise TraceError("the code chooses there by the number of images")
        return values[0]

    def _run(self, node: fx.Node, at: int) -> Any:
        def known(source: fx.Node) -> Any:
            return self._values[source][at]

        if any(known(source) is _UNKNOWN for source in node.all_input_nodes):
            return _UNKNOWN
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), known)
        try:
            return _on_meta(self._call(node, args, kwargs))
        except Exception:
            return _UNKNOWN

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target: Any = node.target
        if node.op == "call_module":
            return self._meta.get_submodule(target.partition(".")[2])(*args, **kwargs)
        if node.op == "get_attr":
            if hasattr(self.root, target):
                return getattr(self.root, target)
            owner, _, name = target.partition(".")[2].rpartition(".")
            return getattr(self._meta.get_submodule(owner), name)
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        if target is getattr and isinstance(args[0], torch.device) and args[1] == "type":
            return "cpu"
        return target(*args, **kwargs)

    def _follows_batch(self, node: fx.Node) -> bool:
        values = self._values[node]
        if isinstance(values[0], torch.Tensor) or values[0] is _UNKNOWN:
            return False
        plain = [_plain(value) for value in values]
        differs = any(type(one) is not type(plain[0]) or one != plain[0] for one in plain)
        # What was worked out from the batch follows it, even where three numbers give the same.
        return differs or any(
            source in self._batch and type(self._values[source][0]) in _SCALARS
            for source in node.all_input_nodes
        )

    @contextmanager
    def _running(self) -> Iterator[None]:
        self.is_running = True
        try:
            with torch.no_grad():
                yield
        finally:
            self.is_running = False


def _on_meta(value: Any) -> Any:
    # A constant that was made while tracing lies on the CPU.
    return value.to("meta") if isinstance(value, torch.Tensor) else value


def _plain(value: Any) -> Any:
    """Returns a value that can be compared, whatever tensors are in it."""
    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple | list) else value
