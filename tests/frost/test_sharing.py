"""What is used on both sides of a line: weights stay frozen above it, and modes keep apart."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from frostline import frost
from frostline.base.errors import LineError

SHAPE = (3, 8, 8)


class SharesLayers(nn.Module):
    """Calls a convolution and a dropout in two places each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.mix = nn.Conv2d(4, 4, 1)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(F.relu(self.mix(self.stem(x))))
        x = self.last(F.relu(self.mix(x)))
        return self.fc(self.drop(x.mean((2, 3))))


class SharesTable(nn.Module):
    """Adds what a small network makes of its parameters, before and after a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, 3))
        self.bias = nn.Linear(3, 1)
        self.low, self.high = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = self.bias(self.table).view(1, 4, 1, 1)
        x = self.low(x) + bias
        x = self.high(x) + bias
        return self.fc(x.mean((2, 3)))


class DropsInTable(SharesTable):
    """Drops in that small network, too, and behind the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = self.bias(self.table).view(1, 4, 1, 1)
        x = self.high(self.low(x) + bias) + bias
        return self.fc(self.drop(x.mean((2, 3))))


class SharesNorm(nn.Module):
    """Calls one batch norm before and after a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.high(self.norm(self.low(x))))
        return self.fc(x.mean((2, 3)))


class Ties(nn.Module):
    """Two layers that are not one, with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(192, 192), nn.Linear(192, 192)
        self.high.weight = self.low.weight
        self.fc = nn.Linear(192, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.high(F.relu(self.low(x.flatten(1))))))


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("kind", "line", "shared"),
    [
        (SharesLayers, "drop", ("mix.weight", "mix.bias")),
        (SharesTable, "high", ("table", "bias.weight", "bias.bias")),
        (Ties, "low", ("low.weight",)),
    ],
)
def test_a_weight_on_both_sides_stays_frozen_above(
    kind: type[nn.Module], line: str, shared: tuple[str, ...]
) -> None:
    net = made(kind)
    traced = frost.trace(net, SHAPE)
    at = traced.find(line)
    assert set(at.shared) == set(shared)
    prefix, suffix = traced.cut(at)
    assert not {id(p) for p in prefix.parameters()} & {id(p) for p in suffix.parameters()}
    assert at.params_above == sum(p.numel() for p in suffix.parameters())
    assert at.params_below == sum(p.numel() for p in prefix.parameters())
    assert suffix.state_dict().keys() <= net.state_dict().keys() | {"high.weight"}
    batch = images()
    assert torch.equal(suffix(prefix(batch)), net(batch))
    kept = prefix(batch).detach()
    optimizer = torch.optim.SGD([p for p in suffix.parameters() if p.requires_grad], lr=0.5)
    suffix.train()(kept).square().sum().backward()
    optimizer.step()
    assert torch.equal(prefix(batch), kept)
    suffix.eval()
    assert torch.equal(suffix(kept), net(batch))


def test_a_shared_weight_that_changes_below_is_read_above() -> None:
    net = made(SharesTable)
    prefix, suffix = frost.cut(net, "high", SHAPE)
    with torch.no_grad():
        net.get_parameter("bias.weight").mul_(3)
    assert torch.equal(suffix(prefix(images())), net(images()))
    twin = copy.deepcopy(suffix)
    assert torch.equal(twin(prefix(images())), net(images()))


def test_the_prefix_does_not_drop_while_the_suffix_trains() -> None:
    net = made(SharesLayers)
    prefix, suffix = frost.cut(net, "drop", SHAPE)
    expected = prefix(images())
    suffix.train()
    assert torch.equal(prefix(images()), expected)
    assert not torch.equal(suffix(expected), suffix(expected))
    whole = net(images())
    suffix.eval()
    prefix.train()
    assert torch.equal(suffix(expected), whole)


def test_what_both_sides_read_of_parameters_alone_stays_as_it_is_below() -> None:
    net = made(DropsInTable)
    prefix, suffix = frost.cut(net, "high", SHAPE)
    holder = nn.Sequential(suffix)
    holder.train()
    whole = made(DropsInTable).train()
    whole.get_submodule("bias").eval()
    torch.manual_seed(3)
    wanted = whole(images())
    torch.manual_seed(3)
    assert torch.equal(holder(prefix(images())), wanted)
    # Where nothing below reads it, it trains with what is above.
    _, everything = frost.cut(net, "pixels", SHAPE)
    whole.train()
    torch.manual_seed(3)
    wanted = whole(images())
    torch.manual_seed(3)
    assert torch.equal(everything.train()(images()), wanted)


def test_a_norm_with_statistics_on_both_sides_is_no_place_for_a_line() -> None:
    lines = frost.lines(made(SharesNorm), SHAPE)
    assert [line.name for line in lines] == ["pixels", "low", "norm_1", "pooled"]
    with pytest.raises(LineError, match=r"line 'high': .* The nearest lines are 'low' before it"):
        frost.cut(made(SharesNorm), "high", SHAPE)
