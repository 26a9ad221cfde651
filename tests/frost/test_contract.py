"""What must hold at every legal line of every network that the project promises to cut."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import timm
import torch
from torch import nn

from frostline import frost


@dataclass(frozen=True)
class PlanInputs:
    """A network, the smallest images that suit it, and how to put dropout everywhere."""

    name: str
    image_px: int = 64
    arguments: Mapping[str, Any] = field(default_factory=lambda: DROPS)
    every: int = 1


DROP = {"drop_rate": 0.2}
DROPS = DROP | {"drop_path_rate": 0.2}
VIT = DROPS | {"proj_drop_rate": 0.1, "attn_drop_rate": 0.1, "pos_drop_rate": 0.1}
CASES = (
    PlanInputs("vgg16", 32, DROP | {"mlp_ratio": 0.02}),
    PlanInputs("resnet50"),
    PlanInputs("resnext50_32x4d"),
    PlanInputs("resnetv2_50"),
    PlanInputs("mobilenetv1_100"),
    PlanInputs("mobilenetv2_100"),
    PlanInputs("mobilenetv4_conv_small"),
    PlanInputs("densenet121", 64, DROP | {"proj_drop_rate": 0.1}),
    PlanInputs("inception_v3", 80, DROP),
    PlanInputs("inception_resnet_v2", 80, DROP, every=9),
    PlanInputs("legacy_xception", 64, DROP),
    PlanInputs("nasnetalarge", 64, DROP, every=3),
    PlanInputs("efficientnet_b0"),
    PlanInputs("convnext_tiny"),
    PlanInputs("regnety_008"),
    PlanInputs("vit_small_patch16_224", 32, VIT | {"img_size": 32}),
    PlanInputs("vit_small_patch14_dinov2", 28, VIT | {"img_size": 28}),
    PlanInputs(
        "swin_tiny_patch4_window7_224",
        64,
        DROPS | {"proj_drop_rate": 0.1, "img_size": 64, "window_size": 2},
    ),
)
HEAVY = tuple(case for case in CASES if case.every > 1)


def build(case: PlanInputs) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = timm.create_model(case.name, num_classes=7, **case.arguments)
    return net.eval()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_line_of_every_network_holds(case: PlanInputs) -> None:
    check_lines(case, case.every)


@pytest.mark.slow
@pytest.mark.parametrize("case", HEAVY, ids=lambda case: case.name)
def test_every_line_of_the_heavy_networks_holds(case: PlanInputs) -> None:
    check_lines(case, 1)


def check_lines(case: PlanInputs, every: int) -> None:
    net = build(case)
    traced = frost.trace(net, (3, case.image_px, case.image_px))
    assert [line.index for line in traced.lines] == list(range(len(traced.lines)))
    assert traced.lines[0].name == "pixels"
    assert traced.lines[-1].name == "pooled"
    assert traced.training is not None
    reference = Reference(net, case.image_px)
    for line in traced.lines:
        if line.index % every == 0 or line.index == len(traced.lines) - 1:
            reference.check(traced, line)


class Reference:
    """What the whole network does, to compare the parts with."""

    def __init__(self, net: nn.Module, image_px: int) -> None:
        self.net = net
        self.images = torch.randn(2, 3, image_px, image_px)
        expected = net(self.images[:1])
        expected.square().sum().backward()
        self.expected = expected.detach()
        self.reached = {name for name, p in net.named_parameters() if p.grad is not None}
        net.zero_grad()
        self.buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        torch.manual_seed(1)
        with torch.no_grad():
            self.trained = copy.deepcopy(net).train()(self.images)

    def check(self, traced: frost.TracedNetwork, line: frost.Line) -> None:
        prefix, suffix = traced.cut(line, verify=False)
        self.check_names(prefix, suffix, line)
        self.check_eval(prefix, suffix, line)
        self.check_training(prefix, suffix, line)
        self.net.eval()
        for name, buffer in self.net.named_buffers():
            buffer.copy_(self.buffers[name])

    def check_names(self, prefix: nn.Module, suffix: nn.Module, line: frost.Line) -> None:
        below, above = dict(prefix.named_parameters()), dict(suffix.named_parameters())
        whole = dict(self.net.named_parameters())
        assert all(parameter is whole[name] for name, parameter in (below | above).items())
        assert below.keys() | above.keys() == self.reached
        assert not below.keys() & above.keys()
        assert sum(p.numel() for p in below.values()) == line.params_below
        assert sum(p.numel() for p in above.values()) == line.params_above
        stored = self.net.state_dict().keys()
        assert prefix.state_dict().keys() | suffix.state_dict().keys() <= stored

    def check_eval(self, prefix: nn.Module, suffix: nn.Module, line: frost.Line) -> None:
        images = self.images[:1].clone()
        with torch.no_grad():
            activation = prefix(images)
        assert torch.equal(images, self.images[:1]), line.name
        assert activation.shape[1:] == line.shape, line.name
        kept = activation.clone()
        output = suffix(activation)
        assert torch.equal(output, self.expected), line.name
        output.square().sum().backward()
        assert torch.equal(activation, kept), line.name
        reached = {name for name, p in self.net.named_parameters() if p.grad is not None}
        assert reached == {name for name, _ in suffix.named_parameters()}, line.name
        self.net.zero_grad()

    def check_training(self, prefix: nn.Module, suffix: nn.Module, line: frost.Line) -> None:
        norms = {m for m in self.net.modules() if getattr(m, "running_mean", None) is not None}
        seen = {norm: int(norm.num_batches_tracked) for norm in norms}
        prefix.train(), suffix.train()
        torch.manual_seed(1)
        with torch.no_grad():
            activation = prefix(self.images)
            kept = activation.clone()
            output = suffix(activation)
            # The same seed gives the same dropout; so all of it follows train().
            assert torch.equal(output, self.trained), line.name
            assert torch.equal(activation, kept), line.name
        above = set(suffix.modules()) | set(prefix.modules())
        counted = {norm for norm in norms if int(norm.num_batches_tracked) == seen[norm] + 1}
        assert counted == norms & above, line.name
