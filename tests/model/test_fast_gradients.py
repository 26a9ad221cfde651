"""Gradients on a CPU: computed another way where that is faster, and the same but for rounding."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from frostline.model import fast_gradients
from frostline.model.fast_gradients import FastGradients
from frostline.model.suffix import SuffixWithHead

# Gradients by parts; the whole layer in float32; as PyTorch computes it in bf16.
IN_PARTS, IN_FLOAT32, AS_USUAL = "parts", "float32", "bfloat16"

CASES: list[tuple[dict[str, Any], str]] = [
    ({"kernel_size": 3, "stride": 2, "padding": 1}, IN_PARTS),
    ({"kernel_size": 3, "stride": 2}, IN_PARTS),
    ({"kernel_size": 3, "stride": (1, 2), "padding": (0, 1)}, IN_PARTS),
    ({"kernel_size": 4, "stride": 1, "padding": 1}, IN_PARTS),
    ({"kernel_size": 5, "padding": 2}, IN_PARTS),
    ({"kernel_size": 5, "stride": 2, "padding": 2}, IN_PARTS),
    ({"kernel_size": 5, "stride": 3}, IN_PARTS),
    ({"kernel_size": 7, "padding": 3, "bias": True}, IN_PARTS),
    ({"kernel_size": (3, 6), "padding": (1, 2)}, IN_PARTS),
    ({"kernel_size": 9, "stride": (2, 1), "padding": 4}, IN_PARTS),
    ({"kernel_size": (1, 5)}, IN_FLOAT32),
    ({"kernel_size": (1, 5), "bias": True}, IN_FLOAT32),
    ({"kernel_size": 5, "padding": "same"}, IN_FLOAT32),
    ({"kernel_size": 5, "dilation": 2, "padding": 4}, IN_FLOAT32),
    ({"kernel_size": 3, "padding": 1}, AS_USUAL),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "groups": 4}, AS_USUAL),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "out_channels": 16}, AS_USUAL),
    ({"kernel_size": 3, "stride": 2, "padding": 1, "groups": 1}, AS_USUAL),
]


def layer_of(settings: dict[str, Any]) -> nn.Conv2d:
    torch.manual_seed(0)
    settings = {"in_channels": 8, "out_channels": 8, "groups": 8, "bias": False, **settings}
    return nn.Conv2d(**settings)


def made(layer: nn.Module) -> tuple[SuffixWithHead, torch.Tensor]:
    trainable = SuffixWithHead(layer, nn.Identity(), torch.bfloat16)
    trainable.train()
    return trainable, torch.randn(4, 8, 13, 11).bfloat16()


def way_of(out: torch.Tensor) -> str:
    """Returns how the gradients of a single layer's output are computed."""
    ahead = [out.grad_fn]
    while ahead:
        node = ahead.pop()
        if type(node).__name__ == "_DepthwiseBackward":
            return IN_PARTS
        if type(node).__name__ == "ConvolutionBackward0":
            return str(node._saved_input.dtype).removeprefix("torch.")
        ahead += [one for one, _ in node.next_functions if one is not None]
    raise AssertionError


@pytest.mark.parametrize(("settings", "way"), CASES)
def test_outputs_and_gradients_are_those_of_float32(settings: dict[str, Any], way: str) -> None:
    layer = layer_of(settings)
    _, x = made(layer)
    got_x, exact_x = x.clone().requires_grad_(), x.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), FastGradients():
        out = layer(got_x)
    assert out.dtype == torch.bfloat16
    assert way_of(out) == way
    exact = layer(exact_x)
    torch.testing.assert_close(out.float(), exact, rtol=0.02, atol=0.02)
    seed = torch.randn_like(exact).bfloat16()
    got = torch.autograd.grad(out, [got_x, *layer.parameters()], seed)
    wanted = torch.autograd.grad(exact, [exact_x, *layer.parameters()], seed.float())
    for one, other in zip(got, wanted, strict=True):
        # Each is rounded to bfloat16 once, which keeps two to three digits.
        assert (one.float() - other).norm() / other.norm() < 0.01
    assert [one.dtype for one in got[1:]] == [torch.float32] * len(got[1:])


@pytest.mark.parametrize("has_input_gradient", [True, False])
@pytest.mark.parametrize("has_weight_gradient", [True, False])
def test_only_the_gradients_that_are_asked_for_are_computed(
    has_input_gradient: bool, has_weight_gradient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    for name in ("_input_gradient", "_weight_gradient"):
        original = getattr(fast_gradients, name)

        def noted(*given: Any, name: str = name, original: Any = original) -> torch.Tensor:
            computed.append(name)
            return original(*given)

        monkeypatch.setattr(fast_gradients, name, noted)
    layer = layer_of({"kernel_size": 5, "stride": 2})
    layer.weight.requires_grad_(has_weight_gradient)
    _, x = made(layer)
    x.requires_grad_(has_input_gradient)
    with torch.autocast("cpu", torch.bfloat16), FastGradients():
        out = layer(x)
    if out.requires_grad:
        out.float().sum().backward()
    expected = ["_input_gradient"] * has_input_gradient + ["_weight_gradient"] * has_weight_gradient
    assert computed == expected


def test_what_follows_stays_in_half_precision() -> None:
    seen: list[torch.dtype] = []
    pointwise = nn.Conv2d(8, 4, 1)
    pointwise.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    trainable, x = made(nn.Sequential(nn.Conv2d(8, 8, (1, 5), 1, groups=8), pointwise))
    trainable(x)
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("compute", [torch.bfloat16, torch.float32])
def test_a_classifier_in_training_uses_them(is_training: bool, compute: torch.dtype) -> None:
    trainable = SuffixWithHead(layer_of({"kernel_size": 5}), nn.Identity(), compute)
    trainable.train(is_training)
    _, x = made(nn.Identity())
    in_parts = is_training and compute == torch.bfloat16
    assert way_of(trainable(x)) == (IN_PARTS if in_parts else str(compute).removeprefix("torch."))


def test_arguments_in_any_form_are_understood() -> None:
    x, weight = torch.randn(2, 8, 7, 7).bfloat16(), torch.randn(8, 1, 3, 3)
    exact = torch.conv2d(x.float(), weight, stride=2, groups=8)
    for given in ({"stride": 2}, {"stride": [2]}, {"stride": np.int64(2), "padding": [0, 0]}):
        with torch.autocast("cpu", torch.bfloat16), FastGradients():
            got = torch.conv2d(input=x, weight=weight, groups=8, **given)
        torch.testing.assert_close(got.float(), exact, rtol=0.02, atol=0.02)


def test_a_part_without_autocast_stays_exact() -> None:
    class Exact(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(layer_of({"kernel_size": 5}), nn.Conv2d(8, 4, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", enabled=False):
                return self.inner(x.float())

    layer = Exact()
    trainable, x = made(layer)
    torch.testing.assert_close(trainable(x), layer.inner(x.float()))


def test_what_is_computed_again_in_the_backward_pass_is_the_same() -> None:
    layer = layer_of({"kernel_size": 5})
    _, x = made(layer)
    seed = torch.ones(4, 8, 9, 7, dtype=torch.bfloat16)
    found = []
    for keeps in (True, False):
        with torch.autocast("cpu", torch.bfloat16), FastGradients():
            out = layer(x) if keeps else checkpoint(layer, x, use_reentrant=False)
        with torch.autocast("cpu", torch.bfloat16), FastGradients():
            found += torch.autograd.grad(out, [layer.weight], seed)
    torch.testing.assert_close(*found)


def test_without_autocast_convolutions_are_left_alone() -> None:
    layer = layer_of({"kernel_size": 5})
    with FastGradients():
        out = layer(torch.randn(2, 8, 9, 9))
    assert way_of(out) == IN_FLOAT32


POOLINGS = {
    "module": nn.AdaptiveAvgPool2d(1),
    "method": lambda x: x.mean((2, 3)),
    "function": lambda x: torch.mean(x, (2, 3), keepdim=True),
    "named": lambda x: torch.mean(input=x, dim=(2, 3)),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_the_gradient_of_a_mean_has_the_maps_format(name: str) -> None:
    start = torch.randn(2, 8, 5, 5).to(memory_format=torch.channels_last).requires_grad_()
    x = start * 2
    seen: list[torch.Tensor] = []
    with FastGradients():
        pooled = POOLINGS[name](x)
    # The hook of the mode came first; this one sees what it returned.
    x.register_hook(seen.append)
    pooled.square().sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    exact = torch.autograd.grad(start.mul(2).mean((2, 3)).square().sum(), start)[0]
    torch.testing.assert_close(start.grad, exact)


@pytest.mark.parametrize("head", [nn.Flatten(), nn.AdaptiveAvgPool2d(1)])
def test_the_gradient_of_a_head_on_a_map_has_the_maps_format(head: nn.Module) -> None:
    trainable = SuffixWithHead(nn.Conv2d(8, 8, 1), head, torch.float32)
    trainable.train()
    seen: list[torch.Tensor] = []
    trainable.suffix.register_forward_hook(lambda _, given, out: maps.append(out))
    maps: list[torch.Tensor] = []
    out = trainable(torch.randn(2, 8, 5, 5))
    maps[0].register_hook(seen.append)
    out.square().sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_other_tensors_keep_their_formats() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True) * 1
    fixed = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    with FastGradients():
        pooled = x.mean((2, 3))
        torch.testing.assert_close(fixed.mean(), fixed.flatten().mean())
    seen: list[torch.Tensor] = []
    x.register_hook(seen.append)
    pooled.sum().backward()
    assert not seen[0].is_contiguous(memory_format=torch.channels_last)


def test_no_hooks_gather_on_parameters() -> None:
    weight = nn.Parameter(torch.randn(8, 8, 1, 1))
    for _ in range(3):
        with FastGradients():
            (weight - weight.mean((1, 2, 3), keepdim=True)).sum().backward()
    assert not weight._backward_hooks
