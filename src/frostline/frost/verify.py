"""The proof of a cut, before it is used: both parts in a row do what the network does."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from frostline.base.errors import LineError
from frostline.frost.trace import first_line, in_eval

# How far both ways may lie apart, relative to the largest value: rounding, not another result.
_CLOSE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_SEED = 20250607


def verify_parts(
    net: nn.Module, line: str, input_shape: tuple[int, int, int], parts: Sequence[nn.Module]
) -> None:
    """Runs `net` and its `parts` in a row on noise, one image and two, and compares.

    Training flags and statistics stay as they are.

    Args:
        net: The network.
        line: The name of the line, for messages.
        input_shape: One image's shape: channels, height and width in pixels.
        parts: What the network was cut into, the lowest first.

    Raises:
        LineError: Where the results differ by more than rounding, or a part does not run, or
            writes into its input.
    """
    where = f"{type(net).__name__}: line {line!r}"
    like = next(net.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad(), in_eval(net, *parts):
        for images in (1, 2):
            noise = torch.randn(images, *input_shape, generator=generator)
            batch = noise.to(like.device, like.dtype)
            _compare(where, net(batch.clone()), _chain(where, parts, batch))


def _chain(where: str, parts: Sequence[nn.Module], batch: torch.Tensor) -> Any:
    for part in parts:
        kept = batch.clone()
        try:
            output = part(batch)
        except Exception as error:
            raise LineError(f"{where}: a part does not run: {first_line(error)}") from error
        if not torch.equal(kept, batch) and not bool(batch.isnan().any()):
            raise LineError(f"{where}: a part writes into its input. Choose another line.")
        batch = output
    return batch


def _compare(where: str, whole: Any, parts: Any) -> None:
    for expected, got in zip(_tensors(whole), _tensors(parts), strict=True):
        close = _CLOSE.get(expected.dtype, 0.0)
        far = float((expected - got).abs().max()) if expected.shape == got.shape else float("inf")
        scale = float(expected.abs().max())
        if far > close * scale:
            raise LineError(
                f"{where}: both parts together differ from the network by {far:.2g} "
                f"(largest value {scale:.2g}). Choose another line."
            )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
