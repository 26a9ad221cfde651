"""A gated recurrent unit as Keras computes it, of any age."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.networks.translate.activations import activation


class GRU(nn.Module):
    """A gated recurrent unit: h ← z · h + (1 − z) · h̃.

    The source is Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, EMNLP
    2014. Gates stand in the order z, r, h̃. The reset gate is applied before the recurrent matrix,
    as in the paper, or after it (`reset_after`), as in cuDNN.

    Args:
        features: Of each step.
        settings: `units`, `reset_after`, `activation`, `recurrent_activation`, `bias`,
            `all_steps` and `backwards`.
    """

    def __init__(self, features: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.units = int(settings["units"])
        self.reset_after = bool(settings["reset_after"])
        self.all_steps = bool(settings["all_steps"])
        self.backwards = bool(settings["backwards"])
        self.kernel = nn.Parameter(torch.zeros(3 * self.units, features))
        self.recurrent_kernel = nn.Parameter(torch.zeros(3 * self.units, self.units))
        sides = 2 if self.reset_after else 1
        if settings["bias"]:
            self.bias = nn.Parameter(torch.zeros(sides, 3 * self.units))
        else:
            self.register_parameter("bias", None)
        self.inner = activation(settings["activation"], -1)
        self.gate = activation(settings["recurrent_activation"], -1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, units], or [n, steps, units] where all steps are asked for."""
        fed = functional.linear(x, self.kernel, None if self.bias is None else self.bias[0])
        steps = list(fed.unbind(1))
        state = x.new_zeros(x.shape[0], self.units)
        states = []
        for step in reversed(steps) if self.backwards else steps:
            state = self._step(step, state)
            states.append(state)
        return torch.stack(states, 1) if self.all_steps else state

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.units}, {self.reset_after}, {self.all_steps}, {self.backwards}"

    def _step(self, fed: Tensor, state: Tensor) -> Tensor:
        size = self.units
        gates, candidate = fed[:, : 2 * size], fed[:, 2 * size :]
        weights = self.recurrent_kernel
        if self.reset_after:
            turned = functional.linear(state, weights, None if self.bias is None else self.bias[1])
            z, r = self.gate(gates + turned[:, : 2 * size]).chunk(2, 1)
            new = self.inner(candidate + r * turned[:, 2 * size :])
        else:
            z, r = self.gate(gates + functional.linear(state, weights[: 2 * size])).chunk(2, 1)
            new = self.inner(candidate + functional.linear(r * state, weights[2 * size :]))
        # z · h + (1 − z) · h̃, in one step.
        return torch.lerp(new, state, z)
