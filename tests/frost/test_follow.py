"""Forwards that ask for shapes, types and modes: what can be followed, and what is told."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from frostline import frost
from frostline.base.errors import LineError

SHAPE = (3, 8, 8)


class Small(nn.Module):
    """Two convolutions and a classifier, for one question each."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 4, 3, padding=1)
        self.high = nn.Conv2d(4, 6, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.high(F.relu(self.low(x))))
        return self.fc(self.drop(x.mean((2, 3))))


class AssertsChannels(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 3, "three channels"
        return super().forward(x)


class RefusesOddSizes(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, _, h, w = x.shape
        if h % 2 or w % 2:
            raise ValueError("even sizes")
        return super().forward(x)


class AsksForTensor(Small):
    def forward(self, x: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        if not isinstance(x, torch.Tensor):
            x = torch.stack(x)
        return super().forward(x)


class CountsDimensions(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 4 or x.dim() != 4 or len(x.shape) != 4:
            raise ValueError("batches of images")
        if x.dtype not in (torch.float32, torch.bfloat16) or x.device.type == "nowhere":
            raise ValueError("floats")
        return super().forward(x)


class FlattensByLength(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.high(F.relu(self.low(x)))).mean((2, 3))
        return self.fc(self.drop(x.view(len(x), -1)))


class UnpacksShape(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.high(self.low(x)).flatten(2)
        x = x.reshape(*x.shape[:-1], 8, int(x.shape[-1] / 8))
        for _ in range(x.shape[1] // 3):
            x = x * 0.5
        return self.fc(x.mean((2, 3)))


class GroupsOfFour(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        groups = x.shape[0] // 4 + 1
        return super().forward(x) / groups


class NoisyInTraining(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.low(x))
        if self.training:
            x = x + torch.randn_like(x)
        return self.fc(self.drop(self.high(x).mean((2, 3))))


class ForManyImages(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * 2 if x.shape[0] > 64 else x)


class ForBrightImages(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.mean() > 0:
            x = -x
        return super().forward(x)


class CentresTheBatch(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.low(x)
        return self.fc(self.high(x - x.mean(0, keepdim=True)).mean((2, 3)))


FOLLOWED = (
    AssertsChannels,
    RefusesOddSizes,
    AsksForTensor,
    CountsDimensions,
    FlattensByLength,
    UnpacksShape,
    GroupsOfFour,
)


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


@pytest.mark.parametrize("kind", FOLLOWED)
def test_what_asks_for_a_shape_is_followed(kind: type[nn.Module]) -> None:
    net = made(kind)
    traced = frost.trace(net, SHAPE)
    assert {"low", "high"} <= {line.name for line in traced.lines}
    for count in (1, 5, 8):
        batch = torch.randn(count, *SHAPE)
        for line in traced.lines:
            prefix, suffix = traced.cut(line)
            assert torch.equal(suffix(prefix(batch)), net(batch)), line.name


def test_tracing_leaves_builtins_as_they_were() -> None:
    frost.lines(made(FlattensByLength), SHAPE)
    assert "len" not in globals()


def test_a_choice_by_the_number_of_images_is_told_with_its_place() -> None:
    with pytest.raises(
        LineError,
        match=r"ForManyImages: its forward cannot be followed, so there is no line to cut at. What "
        r"failed: test_follow.py:\d+: return super.* if x.shape\[0\] > 64 else x\) "
        r"\(the code chooses there by the number of images\). Write it so that it holds for any",
    ):
        frost.lines(made(ForManyImages), SHAPE)


def test_a_choice_by_the_pixels_is_told_with_its_place() -> None:
    with pytest.raises(
        LineError,
        match=r"test_follow.py:\d+: if x.mean\(\) > 0: \(the code chooses there by what the ",
    ):
        frost.lines(made(ForBrightImages), SHAPE)


def test_a_compiled_module_is_told_for_what_it_is() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    with pytest.raises(LineError, match=r"is compiled by torch\.jit\.script, and cannot be cut\."):
        frost.lines(scripted, SHAPE)


def test_below_a_branch_of_training_a_cut_trains_as_the_network_does() -> None:
    net = made(NoisyInTraining)
    traced = frost.trace(net, SHAPE)
    images = torch.randn(3, *SHAPE)
    for name in ("low", "relu"):
        prefix, suffix = traced.cut(name, top="pooled")
        rest = traced.part(traced.find("pooled"), None)
        torch.manual_seed(1)
        made_of_parts = rest.train()(suffix.train()(prefix.train()(images)))
        net.train()
        torch.manual_seed(1)
        assert torch.equal(made_of_parts, net(images)), name
        net.eval()


def test_a_line_whose_activation_depends_on_other_images_is_refused() -> None:
    traced = frost.trace(made(CentresTheBatch), SHAPE)
    traced.cut("low")
    with pytest.raises(LineError, match="activation depends on the other images of its batch"):
        traced.cut("high")
