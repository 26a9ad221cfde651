"""Which lines there are: names, classifiers, several live tensors, and which are worth trying."""

import operator

import pytest
import timm
import torch
from torch import nn

from frostline import frost
from frostline.base.errors import LineError
from frostline.frost.choice import auto_lines, find_line

SHAPE = (3, 8, 8)


def test_in_a_plain_chain_a_name_is_a_layer_and_a_number_an_index() -> None:
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU()
    )
    traced = frost.trace(nn.Sequential(*chain, nn.Flatten(), nn.Linear(256, 2)).eval(), SHAPE)
    for line in traced.lines:
        assert traced.find(line.name) is line
        assert frost.find(traced.lines, line.name) is line
        assert frost.find(traced.lines, line.index) is line
    assert traced.find("2").node == "_2"
    assert traced.find(2).node == "_1"
    with pytest.raises(LineError, match="line '7': lies above 'pooled', the last line"):
        traced.find("7")
    assert traced.find("-1").name == "pooled"


class Squeezed(nn.Module):
    """Ends in a 1 × 1 convolution and pooling, as SqueezeNet does."""

    def __init__(self, kernel: int = 1) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 4, 3, padding=1)
        self.classes = nn.Conv2d(4, 5, kernel, padding=kernel // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.classes(torch.relu(self.low(x)))).mean((2, 3))


class Hidden(nn.Module):
    """Has its classifier in a part that cannot be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.head = HiddenHead()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.high(self.low(x)))


class HiddenHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)) if x.shape[0] > 0 else x)


def test_a_convolution_of_single_points_is_a_classifier_and_another_is_a_feature() -> None:
    assert frost.lines(Squeezed().eval(), SHAPE)[-1].shape == (4, 8, 8)
    assert frost.lines(Squeezed(3).eval(), SHAPE)[-1].shape == (5,)


def test_without_a_classifier_to_find_there_is_no_pooled_and_it_is_said() -> None:
    traced = frost.trace(Hidden().eval(), SHAPE)
    assert [line.name for line in traced.lines] == ["pixels", "low", "high"]
    with pytest.raises(
        LineError,
        match=r"line 'pooled': this network has none, as its classifier 'head.fc' is a part of "
        r"'head', which is one piece. Name the line that the head sits on, such as 'high'\.",
    ):
        traced.find("pooled")
    prefix, suffix = traced.cut("high")
    images = torch.randn(3, *SHAPE)
    assert torch.equal(suffix(prefix(images)), traced.net(images))


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.act(self.mix(x) + before), x


class Cells(nn.Module):
    """Each cell reads two before it, as NASNet's do; the tuple names them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.cells = nn.ModuleList([Cell() for _ in range(4)])
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        before = x * 2
        for cell in self.cells:
            x, before = cell(x, before)
        return self.fc(operator.add(x, before).mean((2, 3)))


def test_several_live_tensors_are_one_activation() -> None:
    torch.manual_seed(0)
    net = Cells().eval()
    traced = frost.trace(net, SHAPE)
    line = traced.find("cells.1")
    assert line.shape == (2 * 4 * 64,)
    assert line.packed == ((4, 8, 8), (4, 8, 8))
    assert line.block
    images = torch.randn(5, *SHAPE)
    prefix, suffix = traced.cut("cells.1")
    kept = prefix(images)
    assert kept.shape == (5, 512)
    before = kept.clone()
    assert torch.equal(suffix(kept), net(images))
    assert torch.equal(suffix(kept[2:3]), net(images[2:3]))
    assert torch.equal(kept, before)
    _, middle = traced.cut("cells.0", top="cells.2")
    assert middle(traced.part(None, traced.find("cells.0"))(images)).shape == (5, 512)
    suffix.train()(kept.detach()).sum().backward()
    assert {n for n, p in net.named_parameters() if p.grad is not None} == {
        name for name, _ in suffix.named_parameters()
    }


class Tupled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.ReLU()

    def forward(
        self, x: torch.Tensor, size: tuple[int, int]
    ) -> tuple[torch.Tensor, tuple[int, int]]:
        return x + self.act(self.inner(x)), size


class HandsOnSizes(nn.Module):
    """Its blocks give a tensor and what they know of its size, as MViTv2's do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.blocks = nn.ModuleList([Tupled() for _ in range(3)])
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        size = (x.shape[2], x.shape[3])
        for block in self.blocks:
            x, size = block(x, size)
        return self.fc(x.mean((2, 3)))


def test_a_block_that_gives_a_tuple_names_its_line() -> None:
    lines = frost.lines(HandsOnSizes().eval(), SHAPE)
    assert [line.name for line in lines if line.block] == [
        *("pixels", "stem", "blocks.0", "blocks.1", "blocks.2", "pooled")
    ]
    assert "add" in frost.find(lines, "blocks.0").aliases


@pytest.mark.parametrize("name", ["resnet10t", "mvitv2_tiny", "vit_tiny_patch16_224", "vgg11"])
def test_lines_worth_trying_leave_something_to_train(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name)
    traced = frost.trace(net, net.pretrained_cfg["input_size"])
    top = traced.lines[-1]
    found = auto_lines(traced, top)
    shares = [line.share_below for line in found]
    assert len(found) >= 4
    assert shares == sorted(shares, reverse=True)
    assert found[-1].name == "pixels"
    whole = traced.lines[0].params_above - top.params_above
    assert all(line.params_above - top.params_above >= 0.01 * whole for line in found)
    at = find_line(traced, "85%", top)
    assert at.params_above - top.params_above >= 0.01 * whole
    assert find_line(traced, "100%", top) is top
