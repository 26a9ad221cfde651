"""The proof of a cut, before it is used: its parts in a row do what the network does."""

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
    net: nn.Module,
    line: str,
    input_shape: tuple[int, int, int],
    parts: Sequence[nn.Module],
    images: Sequence[int] = (1, 2),
) -> None:
    """Runs `net` and its `parts` in a row on noise, and compares.

    It also checks that an image's activation is the same in a batch and alone: it may be kept,
    and read again in other company. Training flags and statistics stay as they are.

    Args:
        net: The network.
        line: The name of the line, for messages.
        input_shape: One image's shape: channels, height and width in pixels.
        parts: What the network was cut into, the lowest first.
        images: The sizes of the batches.

    Raises:
        LineError: Where the results differ by more than rounding, or a part does not run, or
            writes into its input, or mixes images below the line.
    """
    where = f"{type(net).__name__}: line {line!r}"
    like = next(net.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(_SEED)
    noise = torch.randn(max(images), *input_shape, generator=generator)
    kept: list[torch.Tensor] = []
    with torch.no_grad(), in_eval(net, *parts):
        for count in images:
            batch = noise[:count].to(like.device, like.dtype)
            whole = net(batch.clone())
            made = _chain(where, parts, batch)
            kept.append(made[0][:1])
            difference = _difference(whole, made[-1])
            if difference and _difference(whole, net(batch.clone())):
                raise LineError(
                    f"{type(net).__name__}: gives something else each time in eval mode, so no cut "
                    "can be proven. Dropout as a function needs training=self.training: "
                    "F.dropout(x, p, training=self.training)."
                )
            if difference:
                raise LineError(f"{where}: {difference}. Choose another line.")
    if any(_difference(kept[0], row) for row in kept[1:]):
        raise LineError(
            f"{where}: an image's activation depends on the other images of its batch, so it "
            "cannot be kept. Choose a line below the layer that mixes them."
        )


def _chain(where: str, parts: Sequence[nn.Module], batch: torch.Tensor) -> list[Any]:
    """Returns what each part gives, which the next one takes."""
    made = []
    for part in parts:
        kept = batch.clone()
        try:
            output = part(batch)
        except Exception as error:
            raise LineError(f"{where}: a part does not run: {first_line(error)}") from error
        if not torch.equal(kept, batch) and not bool(batch.isnan().any()):
            raise LineError(f"{where}: a part writes into its input. Choose another line.")
        made.append(output)
        batch = output
    return made


def _difference(whole: Any, parts: Any) -> str:
    """Says how far two results lie apart; nothing where it is no more than rounding."""
    for expected, got in zip(_tensors(whole), _tensors(parts), strict=True):
        close = _CLOSE.get(expected.dtype, 0.0)
        far = float((expected - got).abs().max()) if expected.shape == got.shape else float("inf")
        scale = float(expected.abs().max())
        if far > close * scale:
            return (
                f"both parts together differ from the network by {far:.2g} "
                f"(largest value {scale:.2g})"
            )
    return ""


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
