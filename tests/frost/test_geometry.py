"""Windows and receptive fields: as the literature has them, and as gradients find them."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from frostline import frost
from frostline.base.errors import LineError
from frostline.frost.geometry import Geometry, geometry_of
from frostline.frost.sizes import output_size
from frostline.networks import catalog
from frostline.networks.opening import open_bare


def at_lines(name: str) -> dict[str, Geometry]:
    traced = catalog.trace(open_bare(name))
    found = geometry_of(traced)
    return {line.name: found[line.node] for line in traced.lines if line.node in found}


@pytest.mark.parametrize(
    ("name", "line", "field_px"),
    [
        # Araujo, Norris and Sim, Distill 2019, and the papers' own arithmetic.
        ("timm:vgg16", "features.23", 100),
        ("timm:vgg16", "features", 212),
        ("keras:VGG16?weights=none", "block5_pool", 212),
        ("torchvision:alexnet", "features", 195),
        ("torchvision:resnet18", "layer4", 435),
        ("timm:mobilenetv1_100", "blocks", 315),
    ],
)
def test_fields_of_well_known_networks(name: str, line: str, field_px: int) -> None:
    found = at_lines(name)[line]
    assert (found.field_px, found.sees_all) == ((field_px, field_px), False)


def test_what_averages_over_the_picture_sees_all_of_it() -> None:
    found = at_lines("torchvision:resnet18")
    assert found["pooled"] == Geometry(None, None, True, found["pooled"].places)
    # Squeeze and excitation looks at the whole map, and attention at all tokens.
    assert at_lines("timm:test_efficientnet")["pooled"].sees_all
    tokens = at_lines("timm:test_vit")
    assert (tokens["patch_embed"].field_px, tokens["blocks.0"].sees_all) == ((16, 16), True)
    # What windows of attention see is not followed, and not guessed.
    assert at_lines("torchvision:swin_t")["features.3"] == Geometry(None, None, False, None)


def test_windows_are_those_of_the_layers() -> None:
    found = at_lines("keras:MobileNet?weights=none")
    first, deep = found["conv1_relu"], found["conv_pw_12_relu"]
    assert first.field_px == (3, 3)
    assert deep.window is None
    traced = catalog.trace(open_bare("keras:MobileNet?weights=none"))
    windows = [one.window for one in geometry_of(traced).values() if one.window]
    assert windows[0].kernel == (3, 3)
    assert windows[0].stride == (2, 2)
    # TensorFlow's `same` adds a row and a column at the end alone.
    assert windows[0].padding == ((0, 1), (0, 1))
    assert {one.groups for one in windows} >= {1, 32, 1024}
    assert all(one.what == "conv" for one in windows)


class _Odd(nn.Module):
    """Paths of different length, uneven windows, holes, slices and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, (3, 5), stride=(1, 2), padding=(1, 2))
        self.holes = nn.Conv2d(4, 4, 3, dilation=2, padding=2)
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.wide(x)
        x = torch.cat([x, self.holes(x)], 1)
        x = self.pool(x)
        return self.last(x[:, :, ::2, 1::2] + x[:, :, 1::2, ::2])


class _Tokens(nn.Module):
    """A network that computes with channels last and with flattened places."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.mlp = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x)
        height, width = x.shape[2:]
        tokens = self.norm(self.mlp(x.flatten(2).transpose(1, 2)))
        return self.conv(tokens.transpose(1, 2).unflatten(2, (height, width)))


@pytest.mark.parametrize("net", [_Odd(), _Tokens()], ids=lambda net: type(net).__name__)
def test_a_field_is_what_gradients_reach(net: nn.Module) -> None:
    traced = frost.trace(net, (3, 96, 80))
    last = next(reversed([one for one in geometry_of(traced).values() if one.field_px]))
    assert last.field_px == reached(net, (3, 96, 80))


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_convnext", "keras:MobileNetV2"])
def test_a_field_inside_a_network_is_what_gradients_reach(name: str) -> None:
    opened = catalog.find(f"{name}?weights=none" if "keras" in name else f"{name}?pretrained=false")
    shape = (3, 320, 320)
    traced = frost.trace(opened.module, shape)
    found = geometry_of(traced)
    inner = [
        line
        for line in traced.lines
        if line.index and (field := found[line.node].field_px) and max(field) < 120
    ]
    assert inner
    for line in inner[:: math.ceil(len(inner) / 4)]:
        prefix, _ = traced.cut(line, verify=False)
        assert found[line.node].field_px == reached(prefix, shape), line.name


def reached(net: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """How far apart the pixels lie that a number in the middle depends on."""
    net = net.eval()
    with torch.no_grad():
        for parameter in net.parameters():
            # Positive, so that nothing cancels, and so small that no ReLU6 is full.
            parameter.abs_().add_(0.01).mul_(0.01)
    images = torch.rand(1, *shape, requires_grad=True, dtype=torch.float64)
    made: Any = net.double()(images)
    height, width = made.shape[-2:] if made.shape[-1] != made.shape[1] else made.shape[1:3]
    made[0, :, height // 2, width // 2].sum().backward()
    assert images.grad is not None
    rows, columns = images.grad[0].abs().sum(0).nonzero().T
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize("size", [7, 8, 31])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_arithmetic_is_that_of_torch(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    padding = kernel // 2
    conv = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
    if dilation * (kernel - 1) + 1 <= size + 2 * padding:
        made = conv(torch.zeros(1, 1, size, size + 4)).shape[2:]
        assert output_size((size, size + 4), kernel, stride, padding, dilation) == tuple(made)
    for ceil in (False, True):
        pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
        made = pool(torch.zeros(1, 1, size, size)).shape[2:]
        assert output_size(size, kernel, stride, padding, ceil=ceil) == made[0]


def test_the_arithmetic_of_keras() -> None:
    assert output_size(224, 3, 2, "same") == 112
    assert output_size(225, 3, 2, "same") == 113
    assert output_size(299, 3, 2, "valid") == 149
    assert output_size(32, 3, 2, ((0, 1), (0, 1))) == 16


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 4, "kernel": 5}, "window of 5 px does not fit into 4 px"),
        ({"size": 0, "kernel": 1}, "size must be a number from 1"),
        ({"size": 4, "kernel": 3, "padding": "full"}, "same, valid or numbers"),
        ({"size": 4, "kernel": 3, "padding": -1}, "0 or more"),
        ({"size": (4, 4, 4), "kernel": 3}, "size must be"),
    ],
)
def test_sizes_that_do_not_hold(given: dict[str, Any], words: str) -> None:
    with pytest.raises(LineError, match=words):
        output_size(**given)
