"""Depthwise convolutions with slow gradients in bf16 are computed in float32, and no others."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from frostline.model.classifier import SuffixWithHead
from frostline.model.depthwise import DepthwiseInFloat32


def made(layer: nn.Module, training: bool = True) -> tuple[SuffixWithHead, torch.Tensor]:
    trainable = SuffixWithHead(layer, nn.Identity(), torch.bfloat16)
    trainable.train(training)
    return trainable, torch.randn(4, 8, 11, 11).bfloat16()


def noted(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Returns a list to which the types are added that convolutions are computed in."""
    types: list[torch.dtype] = []
    original: Callable[..., torch.Tensor] = nn.Conv2d._conv_forward

    def forward(
        self: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        x.requires_grad_()
        out = original(self, x, weight, bias)
        graph = out.grad_fn
        while graph is not None and "Convolution" not in type(graph).__name__:
            graph = graph.next_functions[0][0]
        types.append(graph._saved_input.dtype)
        return out

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", forward)
    return types


@pytest.mark.parametrize(
    ("layer", "computed_in"),
    [
        (nn.Conv2d(8, 8, 3, 2, 1, groups=8), torch.float32),
        (nn.Conv2d(8, 8, 5, 1, 2, groups=8), torch.float32),
        (nn.Conv2d(8, 8, (1, 5), 1, groups=8), torch.float32),
        (nn.Conv2d(8, 8, 3, 1, 1, groups=8), torch.bfloat16),
        (nn.Conv2d(8, 8, 3, 2, 1, groups=4), torch.bfloat16),
        (nn.Conv2d(8, 16, 3, 2, 1, groups=8), torch.bfloat16),
        (nn.Conv2d(8, 8, 3, 2, 1), torch.bfloat16),
    ],
)
def test_what_is_slow_is_computed_in_float32(
    layer: nn.Conv2d, computed_in: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainable, x = made(layer)
    types = noted(monkeypatch)
    trainable(x)
    assert types == [computed_in]


def test_outputs_and_gradients_are_those_of_float32() -> None:
    layer = nn.Conv2d(8, 8, 3, 2, 1, groups=8)
    trainable, x = made(layer)
    out = trainable(x)
    out.square().sum().backward()
    got = layer.weight.grad
    layer.weight.grad = None
    exact = layer(x.float())
    torch.testing.assert_close(out, exact.bfloat16().float())
    exact.square().sum().backward()
    assert got is not None
    assert layer.weight.grad is not None
    # What follows rounds to bfloat16, whose errors a single sum that cancels out may enlarge.
    error = (got - layer.weight.grad).norm() / layer.weight.grad.norm()
    assert error < 0.01


def test_what_follows_stays_in_half_precision() -> None:
    seen: list[torch.dtype] = []
    pointwise = nn.Conv2d(8, 4, 1)
    pointwise.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    trainable, x = made(nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=8), pointwise))
    trainable(x)
    assert seen == [torch.bfloat16]


def test_keyword_arguments_are_understood() -> None:
    x, weight = torch.randn(2, 8, 7, 7).bfloat16(), torch.randn(8, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16), DepthwiseInFloat32():
        got = torch.conv2d(input=x, weight=weight, stride=2, groups=8)
    exact = torch.conv2d(x.float(), weight, stride=2, groups=8)
    torch.testing.assert_close(got, exact.bfloat16())
