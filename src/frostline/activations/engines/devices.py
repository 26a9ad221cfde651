"""Device, precision and number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from frostline.base.errors import RecipeError

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def pick_device(name: str) -> torch.device:
    """Returns the device of that name; `auto` is the GPU if there is one, else the CPU.

    Raises:
        RecipeError: If the machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RecipeError(f"--device: must be auto, cpu, cuda or cuda:N, not {name!r}.") from error
    if device.type not in ("cpu", "cuda"):
        raise RecipeError(f"--device: must be auto, cpu, cuda or cuda:N, not {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RecipeError(
            f"--device: {name} was asked for, and PyTorch sees {torch.cuda.device_count()} GPUs. "
            "Use --device cpu."
        )
    return device


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Returns the type to compute in; `auto` is bf16 if the processor has instructions for it.

    Args:
        name: `auto`, `bf16` or `fp32`.
        device: The device to compute on.
    """
    if name != "auto":
        return _DTYPES[name]
    if device.type == "cuda":
        has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        # Absent from older releases, where float32 is the safe choice.
        flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        has_bf16 = bool(flags.get("amx_bf16") or flags.get("avx512_bf16") or flags.get("bf16"))
    return torch.bfloat16 if has_bf16 else torch.float32


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Lets PyTorch use `count` threads in the block; None leaves the number unchanged.

    A step of a few million operations is faster on one core than on several that synchronise after
    every step, above all while other programs are running.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
