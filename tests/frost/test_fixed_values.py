"""What a module makes of the size of the images alone is no part of an activation."""

import pytest
import torch
from torch import Tensor, nn

from frostline import frost
from frostline.frost.trace import trace_graph

SHAPE = (3, 16, 16)


class Angles(nn.Module):
    """Position embeddings as they are computed from the size of the images."""

    def __init__(self, follows_pixels: bool = False) -> None:
        super().__init__()
        self.follows_pixels = follows_pixels
        self.register_buffer("rates", torch.tensor([0.5, 1.5, 2.5, 3.5]), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns sines and cosines: [1, 16, 4] each."""
        shift = images.mean() if self.follows_pixels else 0.0
        side = images.shape[-1] // 4
        if side < 1:  # Asked of the size, so that it takes following values.
            raise ValueError("too small")
        places = torch.arange(side * side, dtype=images.dtype, device=images.device)
        angles = places[:, None] * self.rates + shift
        if self.training:
            angles = angles + torch.rand(())
        return angles.sin()[None], angles.cos()[None]


class Block(nn.Module):
    """A layer that is told of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Returns [n, 16, 4]."""
        return self.layer(x) * angles[0] + x * angles[1]


class Rotary(nn.Module):
    """Three blocks, all of which read the angles."""

    def __init__(self, follows_pixels: bool = False) -> None:
        super().__init__()
        self.angles = Angles(follows_pixels)
        self.patches = nn.Conv2d(3, 4, 4, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Returns [n, 5]."""
        angles = self.angles(images)
        x = self.patches(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, angles)
        return self.head(x.mean(1))


@pytest.mark.parametrize("training", [False, True])
def test_a_call_that_gives_the_same_for_all_images_becomes_tensors(training: bool) -> None:
    net = Rotary().eval()
    traced = trace_graph(net, training, SHAPE)
    assert "angles" not in {node.target for node in traced.graph.nodes}
    sines, cosines = net.angles(torch.zeros(1, *SHAPE))
    assert torch.equal(traced.constants["_fixed_angles_0"], sines)
    assert torch.equal(traced.constants["_fixed_angles_1"], cosines)


def test_a_call_that_follows_the_pixels_stays() -> None:
    traced = trace_graph(Rotary(follows_pixels=True).eval(), False, SHAPE)
    assert "angles" in {node.target for node in traced.graph.nodes}
    assert not [name for name in traced.constants if name.startswith("_fixed")]


def test_such_networks_are_cut_after_every_block() -> None:
    net = Rotary().eval()
    traced = frost.trace(net, SHAPE)
    names = {line.name for line in traced.lines}
    assert {"blocks.0", "blocks.1", "blocks.2"} <= names
    images = torch.randn(3, *SHAPE)
    for line in traced.lines:
        prefix, suffix = traced.cut(line)
        assert torch.equal(suffix(prefix(images)), net(images)), line.name


def test_a_network_without_values_has_the_same_lines() -> None:
    there = frost.trace(Rotary().eval(), SHAPE).lines
    assert [line.name for line in frost.trace(Rotary().eval().to("meta"), SHAPE).lines] == [
        line.name for line in there
    ]


class Halved(nn.Module):
    """Makes something of whatever it is fed, and has no weights of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns half of it."""
        return x / 2


class Learned(Rotary):
    """Angles that are learned, and pass through a layer without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(2, 1, 16, 4))
        self.halved = Halved()

    def forward(self, images: Tensor) -> Tensor:
        """Returns [n, 5]."""
        angles = self.halved(self.table)
        x = self.patches(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, (angles[0], angles[1]))
        return self.head(x.mean(1))


def test_what_is_made_of_a_parameter_stays_and_can_be_trained() -> None:
    traced = trace_graph(Learned().eval(), False, SHAPE)
    assert "halved" in {node.target for node in traced.graph.nodes}
    assert not [name for name in traced.constants if name.startswith("_fixed")]
