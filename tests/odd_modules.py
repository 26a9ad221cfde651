"""Modules as users write them, with an oddity each, for `test_families.py`."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn


def plain_chain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 64, 32),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(32, 10),
    )


class Small(nn.Module):
    """Two convolutions and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(16, 10)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(self.conv1(x)))
        return F.relu(self.conv2(x))

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(self.drop(self.features(x).mean((2, 3))))


class BranchInside(nn.Module):
    """A part that chooses by the number of images, and is one piece."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 3, padding=1)
        self.body = ManyOrOne()
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(F.relu(self.stem(x))))


class ManyOrOne(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        return (x * 1.5 if x.shape[0] > 1 else x).mean((2, 3))


class NoisyInTraining(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
        return self.fc(self.drop(x.mean((2, 3))))


class FlattensByLength(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x).mean((2, 3))
        return self.fc(self.drop(x.view(len(x), -1)))


class ChecksItsInput(Small):
    def forward(self, x: torch.Tensor) -> Any:
        assert x.shape[1] == 3, "three channels"
        _, _, h, w = x.shape
        if h % 2 or w % 2:
            raise ValueError("even sizes")
        return super().forward(x)


class TakesAList(Small):
    def forward(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            x = torch.stack(tuple(x))
        return super().forward(x)


class NormalisesInside(Small):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> Any:
        deviation = torch.tensor([0.2, 0.3, 0.2], device=x.device).view(1, 3, 1, 1)
        return super().forward((x - self.mean) / deviation)


class BatchInSteps(Small):
    """Works out groups of four images before anything else."""

    def forward(self, x: torch.Tensor) -> Any:
        groups = x.shape[0] // 4 + 1
        return super().forward(x) / groups


class GivesADict(Small):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.features(x).mean((2, 3))
        return {"logits": self.fc(self.drop(features)), "features": features}


class LayersUsedTwice(Small):
    """A dropout and a convolution, each in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(F.relu(self.mix(F.relu(self.bn(self.conv1(x))))))
        x = self.conv2(F.relu(self.mix(x)))
        return self.fc(self.drop(F.relu(x).mean((2, 3))))


class Recurrent(nn.Module):
    """Convolutions, then an LSTM over columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.lstm = nn.LSTM(16, 24, num_layers=2, batch_first=True, dropout=0.3)
        self.fc = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.lstm(self.conv(x).mean(2).permute(0, 2, 1))
        return self.fc(out[:, -1])


class Attention(nn.Module):
    """Patches, a class token, positions, and torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, 32))
        self.pos = nn.Parameter(torch.randn(1, 17, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.head(self.encoder(x)[:, 0])


class BodyAndHead(nn.Module):
    """A body of torchvision with a new head, as tutorials have it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = torchvision.models.resnet18(weights=None)
        self.base.fc = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.base(x))


MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "plain chain": plain_chain,
    "branch in a part": BranchInside,
    "noise in training": NoisyInTraining,
    "flattens by length": FlattensByLength,
    "checks its input": ChecksItsInput,
    "takes a list": TakesAList,
    "normalises inside": NormalisesInside,
    "batch in steps": BatchInSteps,
    "gives a dict": GivesADict,
    "layers used twice": LayersUsedTwice,
    "recurrent": Recurrent,
    "attention": Attention,
    "body and head": BodyAndHead,
}
