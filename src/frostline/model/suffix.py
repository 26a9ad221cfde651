"""What is trained: the layers above the line, and the head on them."""

import contextlib

import torch
from torch import Tensor, nn

from frostline.activations.engines import Normalise
from frostline.model.fast_gradients import FastGradients, keep_format


class SuffixWithHead(nn.Module):
    """What lies above the line: suffix and head.

    The suffix runs in `compute` by autocast; the head runs in float32.
    """

    def __init__(
        self,
        suffix: nn.Module,
        head: nn.Module,
        compute: torch.dtype,
        normalise: Normalise | None = None,
    ) -> None:
        """Takes the parts; `normalise` where the line is `pixels`."""
        super().__init__()
        self.suffix, self.head, self.normalise = suffix, head, normalise
        self.compute = compute

    def top(self, activations: Tensor) -> Tensor:
        """Returns what the suffix makes of activations [n, *shape], in float32."""
        x = activations
        if self.normalise is not None:
            x = self.normalise(x)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        half = self.compute.itemsize == 2
        trains_on_cpu = self.training and x.device.type == "cpu"
        with (
            torch.autocast(x.device.type, self.compute if half else None, enabled=half),
            FastGradients() if trains_on_cpu else contextlib.nullcontext(),
        ):
            made: Tensor = self.suffix(x if half else x.float())
        if trains_on_cpu:
            keep_format(made)
        return made.float()

    def forward(self, activations: Tensor) -> Tensor:
        """Returns logits [n, classes] in float32."""
        scores: Tensor = self.head(self.top(activations))
        return scores
