"""The frozen layers between two lines, by which activations at later lines are derived."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frostline.activations.cut_network import CutNetwork
from frostline.activations.engines import Normalise, fold_batch_norm
from frostline.frost import PIXELS, Line


@dataclass(frozen=True)
class Between:
    """The frozen layers between two lines, ready to run.

    Attributes:
        module: The layers, prepared as in an engine.
        device: The device they run on.
        compute: The type they compute in.
        storage: The type of the activations they return.
        normalise: Pixels to network input, if the lower line is `pixels`.
    """

    module: nn.Module
    device: torch.device
    compute: torch.dtype
    storage: torch.dtype
    normalise: Normalise | None = None

    @torch.inference_mode()
    def __call__(self, activations: Tensor) -> Tensor:
        """Returns the activations at the upper line, on the CPU, from those at the lower line."""
        x = activations.to(self.device)
        if self.normalise is not None:
            x = self.normalise(x)
        x = x.to(self.compute)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        output: Tensor = self.module(x)
        return output.to(self.storage, memory_format=torch.contiguous_format).cpu()


def between(network: CutNetwork, below: Line) -> Between:
    """Returns the frozen layers between an earlier line and that of `network`."""
    layers = copy.deepcopy(network.traced.part(below, network.line)).eval().requires_grad_(False)
    engine = network.engine
    folded = fold_batch_norm(layers).to(engine.compute).to(memory_format=torch.channels_last)
    normalise = Normalise(network.preprocessing).to(engine.device)
    return Between(
        folded.to(engine.device),
        engine.device,
        engine.compute,
        engine.storage,
        normalise if below.name == PIXELS else None,
    )
