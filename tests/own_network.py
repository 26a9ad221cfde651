"""A network of one's own, as a user might write it."""

from torch import Tensor, nn

from frostline.images.preprocessing import Preprocessing


class Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Small(nn.Module):
    preprocessing = Preprocessing(height_px=64, width_px=64, crop_pct=1.0)

    def __init__(self, classes: int = 7) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 16, 3, 2), Scale(), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(self.block(self.stem(x))).flatten(1)
        scores: Tensor = self.fc(pooled)
        return scores.log_softmax(1)


def small(classes: int = 7) -> tuple[nn.Module, Preprocessing]:
    return Small(classes), Small.preprocessing


def bare() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3, 2))


def untold(classes: int = 7):  # type: ignore[no-untyped-def]
    return small(classes)


def number() -> int:
    return 3


NOT_A_FUNCTION = 3
