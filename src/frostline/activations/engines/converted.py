"""Running a network with OpenVINO, converted straight from PyTorch.

A conversion takes seconds, so it is kept, under the digest of all that it is made of.
"""

import copy
import importlib
import importlib.util
import json
import os
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

from frostline.base.errors import BackboneError
from frostline.base.files import digest, disk_error, tensors_digest
from frostline.frost import GraphPart

_PRECISION = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}
_NETWORK, _WEIGHTS, _SUMS = "network.xml", "network.bin", "digests.json"


class Converted:
    """A network that OpenVINO runs; several threads may call it at once.

    There are as many streams as cores, of one thread each: a worker that calls keeps one core
    busy, as it does with PyTorch.
    """

    def __init__(self, path: Path, compute: torch.dtype, storage: torch.dtype) -> None:
        """Reads and compiles what `build` wrote.

        Args:
            path: The network's `.xml`, its weights beside it.
            compute: The type to compute in.
            storage: The type to give.
        """
        openvino = _openvino()
        cores = _cores()
        core = openvino.Core()
        # A mapped file that is cut short would kill the process, and no error could be raised.
        core.set_property({"ENABLE_MMAP": False})
        how = {
            "INFERENCE_PRECISION_HINT": _PRECISION[compute],
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
        }
        self._tensor = openvino.Tensor
        self._network = core.compile_model(core.read_model(path), "CPU", how)
        self._storage = storage
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the activations of a normalised batch: float32 [n, 3, h, w]."""
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._network.create_infer_request()
        # Kept until the request is done: it is told where the numbers lie, and does not hold them.
        batch = x.contiguous().numpy()
        request.set_input_tensor(self._tensor(batch, shared_memory=True))
        request.infer()
        # The request writes its next output into the same memory.
        made = torch.from_numpy(request.get_output_tensor().data).to(self._storage, copy=True)
        self._idle.put(request)
        return made


def is_installed() -> bool:
    """Says whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def build(
    half: GraphPart,
    compute: torch.dtype,
    storage: torch.dtype,
    shape_in: tuple[int, ...],
    work: Path,
) -> Converted:
    """Converts a prepared network, or takes the conversion that is kept in `work`.

    Args:
        half: The network, as `prepare` made it.
        compute: The type to compute in.
        storage: The type of the activations to give.
        shape_in: Of one image: (3, h, w).
        work: The folder where conversions are kept.

    Raises:
        BackboneError: Where OpenVINO is not installed.
        DiskError: Where the conversion cannot be written.
    """
    if not is_installed():
        raise BackboneError(
            "engine openvino: the package openvino is not installed. "
            "Install frostline[openvino], or use the engine eager."
        )
    folder = work / network_digest(half, shape_in)
    if not _is_whole(folder):
        _keep(_convert(half, shape_in), folder)
    return Converted(folder / _NETWORK, compute, storage)


def network_digest(half: GraphPart, shape_in: tuple[int, ...]) -> str:
    """Returns the digest of everything a conversion is made of.

    That is code, settings, weights and buffers, the input's shape, and who traced and converted.
    """
    made_by = [f"{name} {version(name)}" for name in ("torch", "timm", "openvino")]
    code = half.graph.python_code("self").src
    told = repr((shape_in, made_by))
    return tensors_digest(half, told.encode(), repr(half).encode(), code.encode())


def _convert(half: GraphPart, shape_in: tuple[int, ...]) -> Any:
    # OpenVINO casts to the type it computes in by itself, and keeps float32 where that matters.
    module: nn.Module = copy.deepcopy(half).float().eval()
    example = torch.zeros(2, *shape_in)
    with warnings.catch_warnings(), torch.no_grad():
        # What tracing warns of, a batch size that was taken for a constant, is tried out later.
        warnings.simplefilter("ignore")
        trace: Any = torch.jit.trace
        traced = trace(module, example, check_trace=False, strict=False)
        return _openvino().convert_model(traced, input=[-1, *shape_in])


def _keep(model: Any, folder: Path) -> None:
    """Writes a conversion beside its place, then puts it there in one step."""
    temporary = folder.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.mkdir(parents=True)
        _openvino().save_model(model, temporary / _NETWORK, compress_to_fp16=False)
        sums = {name: _sum(temporary / name) for name in (_NETWORK, _WEIGHTS)}
        (temporary / _SUMS).write_text(json.dumps(sums), "utf-8")
        if folder.exists() and not _is_whole(folder):
            shutil.rmtree(folder)
        try:
            temporary.rename(folder)
        except OSError:
            # Another process was faster, with the same network.
            if not _is_whole(folder):
                raise
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        sums = json.loads((folder / _SUMS).read_text("utf-8"))
        return all(_sum(folder / name) == sums[name] for name in (_NETWORK, _WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sum(path: Path) -> str:
    return digest(path.read_bytes())


def _openvino() -> Any:
    """Imports OpenVINO, which would otherwise report each import and conversion to its makers."""
    with _without("openvino_telemetry"):
        return importlib.import_module("openvino")


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Lets a package that is not imported yet pass for absent in the block."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _cores() -> int:
    # A container may be given fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
