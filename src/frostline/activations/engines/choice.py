"""The ways to run a prepared network, by name."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from frostline.activations.engines import converted
from frostline.activations.engines.eager import Engine
from frostline.base.errors import BackboneError, FrostlineError, did_you_mean

NAMES = ("eager", "compile", "openvino")


def candidates(device: torch.device) -> tuple[str, ...]:
    """Returns the names of what can be had on `device`, `eager` first.

    `compile` is for GPUs: on a CPU it takes half a minute to build and gains little, where OpenVINO
    takes a second and gains much (`docs/benchmarks.md`, "Engines").
    """
    names = ["eager"]
    if device.type == "cuda" and _can_compile():
        names.append("compile")
    if device.type == "cpu" and converted.is_installed():
        names.append("openvino")
    return tuple(names)


def make(name: str, eager: Engine, shape_in: tuple[int, ...], work: Path) -> Engine:
    """Returns an engine that runs the network of `eager` in another way.

    It computes and stores in the same types, and has another name. It is tried on noise, in
    batches of one and of three, before it is given: a network that cannot be run in this way is
    refused here.

    Args:
        name: One of `NAMES`.
        eager: What `prepare` made. Given back as it is for `eager`, and for the line `pixels`.
        shape_in: Of one image's pixels: (3, h, w).
        work: The folder where conversions are kept; made where it is absent.

    Raises:
        BackboneError: Where the name is none, or the network cannot be run in this way.
        DiskError: Where a conversion cannot be written.
    """
    if name not in NAMES:
        raise BackboneError(
            f"engine: must be one of {', '.join(NAMES)}, not {name!r}.{did_you_mean(name, NAMES)}"
        )
    if name == "eager" or eager.module is None:
        return eager
    try:
        runner = _runner(name, eager, shape_in, work)
        made = replace(eager, name=eager.name.replace("eager", name, 1), runner=runner)
        _try(made, eager, shape_in)
    except FrostlineError:
        raise
    # Converters fail in any way they like: a missing operation, a compiler, an assertion.
    except Exception as error:
        raise BackboneError(
            f"engine {name}: cannot run this network: {_reason(error)}. Use the engine eager."
        ) from error
    return made


def _runner(
    name: str, eager: Engine, shape_in: tuple[int, ...], work: Path
) -> Callable[[Tensor], Tensor]:
    if eager.module is None:
        raise ValueError("nothing to run")
    if name == "openvino":
        if eager.device.type != "cpu":
            raise BackboneError("engine openvino: runs on the CPU only. Use --device cpu.")
        return converted.build(eager.module, eager.compute, eager.storage, shape_in, work)
    compiled = torch.compile(eager.module)
    return lambda x: compiled(x.to(eager.compute))


def _try(made: Engine, eager: Engine, shape_in: tuple[int, ...]) -> None:
    """Runs batches of two sizes: a conversion may have taken the one it saw for the only one."""
    pixels = torch.randint(0, 256, (3, *shape_in), dtype=torch.uint8)
    shape = tuple(eager(pixels[:1]).shape[1:])
    for count in (1, 3):
        got = tuple(made(pixels[:count]).shape)
        if got != (count, *shape):
            raise BackboneError(
                f"engine {made.name}: gives activations of shape {got} for a batch of {count}, "
                f"not {(count, *shape)}. Use the engine eager."
            )


def _can_compile() -> bool:
    # Kernels for GPUs are written in Triton, and started through a small piece of C.
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    return bool(compiler) and importlib.util.find_spec("triton") is not None


def _reason(error: Exception) -> str:
    """Returns the line of an error that says most; OpenVINO lists its reasons after dashes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    listed = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    return (listed + lines or [type(error).__name__])[0].rstrip(".")[:200]
