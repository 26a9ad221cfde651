"""The engine `openvino`: a network converted from PyTorch and run by OpenVINO.

Converting takes seconds, so the converted network is stored, under a digest of everything that goes
into it.
"""

import copy
import importlib
import importlib.util
import json
import queue
import shutil
import sys
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frostline.base import machine
from frostline.base.errors import BackboneError
from frostline.base.files import digest, disk_error, tensors_digest
from frostline.frost import GraphPart

_PRECISION = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}
_NETWORK, _WEIGHTS, _DIGESTS = "network.xml", "network.bin", "digests.json"


class OpenVINONetwork:
    """A network that OpenVINO runs; several threads may call it at once.

    It has as many streams as there are cores, each with one thread, so a worker that calls it uses
    one core, as with PyTorch.
    """

    def __init__(self, path: Path, compute: torch.dtype, storage: torch.dtype) -> None:
        """Reads and compiles a network that `build` has written.

        Args:
            path: The network's `.xml`, with its weights beside it.
            compute: The type to compute in.
            storage: The type of the activations to return.
        """
        openvino = _openvino()
        cores = machine.cores()
        core = openvino.Core()
        # A truncated file that is memory-mapped would kill the process instead of raising an error.
        core.set_property({"ENABLE_MMAP": False})
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISION[compute],
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
        }
        self._tensor = openvino.Tensor
        self._network = core.compile_model(core.read_model(path), "CPU", settings)
        self._storage = storage
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the activations of a normalised batch: float32 [n, c, h, w]."""
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._network.create_infer_request()
        # Must stay alive until the request is done, which uses its memory without owning it.
        batch = x.contiguous().numpy()
        request.set_input_tensor(self._tensor(batch, shared_memory=True))
        request.infer()
        # A copy: the request writes its next output into the same memory.
        activations = torch.from_numpy(request.get_output_tensor().data).to(
            self._storage, copy=True
        )
        self._idle.put(request)
        return activations


def is_installed() -> bool:
    """Tells whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def build(
    prefix: GraphPart,
    compute: torch.dtype,
    storage: torch.dtype,
    shape_in: tuple[int, ...],
    work: Path,
) -> OpenVINONetwork:
    """Converts a prepared prefix, or reads the converted one that is stored in `work`.

    Args:
        prefix: The module of an engine that `prepare` made.
        compute: The type to compute in.
        storage: The type of the activations to return.
        shape_in: The shape of one image's pixels: (c, h, w).
        work: The folder where converted networks are stored.

    Raises:
        BackboneError: If OpenVINO is not installed.
        DiskError: If the converted network cannot be written.
    """
    if not is_installed():
        raise BackboneError(
            "engine openvino: the package openvino is not installed. "
            "Install frostline[openvino], or use the engine eager."
        )
    folder = work / network_digest(prefix, shape_in)
    if not _is_intact(folder):
        _store(_convert(prefix, shape_in), folder)
    return OpenVINONetwork(folder / _NETWORK, compute, storage)


def network_digest(prefix: GraphPart, shape_in: tuple[int, ...]) -> str:
    """Returns the digest of everything that goes into a converted network.

    That is its code, settings, weights and buffers, the input shape, and the versions of the
    packages that trace and convert it.
    """
    versions = [f"{name} {version(name)}" for name in ("torch", "timm", "openvino")]
    code = prefix.graph.python_code("self").src
    inputs = repr((shape_in, versions))
    return tensors_digest(prefix, inputs.encode(), repr(prefix).encode(), code.encode())


def _convert(prefix: GraphPart, shape_in: tuple[int, ...]) -> Any:
    # OpenVINO casts to the type it computes in, and keeps float32 where precision matters.
    module: nn.Module = copy.deepcopy(prefix).float().eval()
    example = torch.zeros(2, *shape_in)
    with warnings.catch_warnings(), torch.no_grad():
        # Tracing warns that the batch size may become a constant; `make` tries that out.
        warnings.simplefilter("ignore")
        trace: Any = torch.jit.trace
        traced = trace(module, example, check_trace=False, strict=False)
        return _openvino().convert_model(traced, input=[-1, *shape_in])


def _store(model: Any, folder: Path) -> None:
    """Writes a converted network to a temporary folder, then renames it to `folder`."""
    temporary = folder.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.mkdir(parents=True)
        _openvino().save_model(model, temporary / _NETWORK, compress_to_fp16=False)
        digests = {name: _file_digest(temporary / name) for name in (_NETWORK, _WEIGHTS)}
        (temporary / _DIGESTS).write_text(json.dumps(digests), "utf-8")
        if folder.exists() and not _is_intact(folder):
            shutil.rmtree(folder)
        try:
            temporary.rename(folder)
        except OSError:
            # Another process may have written the same network in the meantime.
            if not _is_intact(folder):
                raise
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_intact(folder: Path) -> bool:
    try:
        digests = json.loads((folder / _DIGESTS).read_text("utf-8"))
        return all(_file_digest(folder / name) == digests[name] for name in (_NETWORK, _WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _file_digest(path: Path) -> str:
    return digest(path.read_bytes())


def _openvino() -> Any:
    """Imports OpenVINO without its telemetry, which would report each import and conversion."""
    with _hidden("openvino_telemetry"):
        return importlib.import_module("openvino")


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Makes a package that is not imported yet appear absent in the block."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
