"""Making an engine by name: `eager`, `compile` or `openvino`."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from frostline.activations.engines import openvino_engine
from frostline.activations.engines.eager import Engine
from frostline.base.errors import BackboneError, FrostlineError, did_you_mean
from frostline.networks.translate.runtime_part import runtime_of

NAMES = ("eager", "compile", "openvino")


def candidates(device: torch.device) -> tuple[str, ...]:
    """Returns the names of the engines worth trying on `device`, `eager` first.

    `compile` is for GPUs only: on a CPU it takes half a minute to build and gains little, while
    OpenVINO takes a second and gains much (`docs/benchmarks.md`, "Engines").
    """
    names = ["eager"]
    if device.type == "cuda" and _can_compile():
        names.append("compile")
    if device.type == "cpu" and openvino_engine.is_installed():
        names.append("openvino")
    return tuple(names)


def make(name: str, eager: Engine, shape_in: tuple[int, ...], work: Path) -> Engine:
    """Returns the named engine for the network of `eager`.

    It computes and stores in the same types. Before it is returned it is tried on noise, in batches
    of one and of three, so a network that the engine cannot run is refused here.

    Args:
        name: One of `NAMES`.
        eager: The result of `prepare`; returned unchanged for `eager`, and for the line `pixels`.
        shape_in: The shape of one image's pixels: (c, h, w).
        work: The folder where converted networks are stored; created if absent.

    Raises:
        BackboneError: If the name is unknown, or the engine cannot run the network.
        DiskError: If a converted network cannot be written.
    """
    if name not in NAMES:
        raise BackboneError(
            f"engine: must be one of {', '.join(NAMES)}, not {name!r}.{did_you_mean(name, NAMES)}"
        )
    if name == "eager" or eager.module is None:
        return eager
    if runtime := runtime_of(eager.module):
        raise BackboneError(
            f"engine {name}: {runtime} runs a part of this network, in its own way. Use the engine "
            "eager."
        )
    try:
        runner = _runner(name, eager, shape_in, work)
        engine = replace(eager, name=eager.name.replace("eager", name, 1), runner=runner)
        _try(engine, eager, shape_in)
    except FrostlineError:
        raise
    # Converters fail in many ways: an unsupported operation, a missing compiler, an assertion.
    except Exception as error:
        raise BackboneError(
            f"engine {name}: cannot run this network: {_reason(error)}. Use the engine eager."
        ) from error
    return engine


def _runner(
    name: str, eager: Engine, shape_in: tuple[int, ...], work: Path
) -> Callable[[Tensor], Tensor]:
    if eager.module is None:
        raise ValueError("the line `pixels` has no network to run")
    if name == "openvino":
        if eager.device.type != "cpu":
            raise BackboneError("engine openvino: runs on the CPU only. Use --device cpu.")
        return openvino_engine.build(eager.module, eager.compute, eager.storage, shape_in, work)
    compiled = torch.compile(eager.module)
    return lambda x: compiled(x.to(eager.compute))


def _try(engine: Engine, eager: Engine, shape_in: tuple[int, ...]) -> None:
    """Runs batches of two sizes: a conversion may have fixed the batch size it was traced with."""
    pixels = torch.randint(0, 256, (3, *shape_in), dtype=torch.uint8)
    shape = tuple(eager(pixels[:1]).shape[1:])
    for count in (1, 3):
        got = tuple(engine(pixels[:count]).shape)
        if got != (count, *shape):
            raise BackboneError(
                f"engine {engine.name}: gives activations of shape {got} for a batch of {count}, "
                f"not {(count, *shape)}. Use the engine eager."
            )


def _can_compile() -> bool:
    # GPU kernels are generated with Triton, whose launcher is compiled as C.
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    return bool(compiler) and importlib.util.find_spec("triton") is not None


def _reason(error: Exception) -> str:
    """Returns the most informative line of an error; OpenVINO lists its reasons after dashes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    return (reasons + lines or [type(error).__name__])[0].rstrip(".")[:200]
