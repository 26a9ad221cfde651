"""What graphs do with the places of maps [n, c, h, w], as small modules without children."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

# How a place of the result becomes one of the map, by the words of ONNX.
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


class DepthToSpace(nn.Module):
    """Spreads channels over squares of places.

    Args:
        block: The side of a square.
        channels_last: Whether a channel of the result is the last of what makes up a channel, as in
            TensorFlow (ONNX: DCR), or the first, as in `nn.PixelShuffle` (CRD).
    """

    def __init__(self, block: int, channels_last: bool) -> None:
        super().__init__()
        self.block, self.channels_last = block, channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, c / block², h · block, w · block]."""
        b = self.block
        if not self.channels_last:
            return nn.functional.pixel_shuffle(x, b)
        _, c, h, w = x.shape
        parts = x.reshape(-1, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(-1, c // (b * b), h * b, w * b)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.block}, channels_last={self.channels_last}"


class SpaceToDepth(nn.Module):
    """Gathers squares of places into channels, as TensorFlow and ONNX order them."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Returns [n, c · block², h / block, w / block]."""
        b = self.block
        _, c, h, w = x.shape
        parts = x.reshape(-1, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(-1, c * b * b, h // b, w // b)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.block)


class Resample(nn.Module):
    """Resizes maps by any rule of neighbours: a product with a matrix for rows and one for columns.

    Args:
        before: Height and width of the map.
        after: Height and width of the result.
        linear: Whether two neighbours are mixed, or the nearest is taken.
        coordinates: One of `COORDINATES`.
        rounding: One of `ROUNDINGS`; which neighbour is the nearest.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        before: Sequence[int],
        after: Sequence[int],
        linear: bool,
        coordinates: str,
        rounding: str,
    ) -> None:
        super().__init__()
        self.told = (tuple(before), tuple(after), linear, coordinates, rounding)
        for name, own, wanted in zip(("rows", "columns"), before, after, strict=True):
            matrix = _mixing(own, wanted, linear, coordinates, rounding)
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of the other size."""
        return torch.matmul(self.rows, torch.matmul(x, self.columns.mT))

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.told)


def _mixing(own: int, wanted: int, linear: bool, coordinates: str, rounding: str) -> Tensor:
    """Returns how much of each place [wanted, own] goes into each place of the result."""
    at = np.arange(wanted, dtype=np.float64)
    if coordinates == "align_corners":
        places = at * ((own - 1) / (wanted - 1) if wanted > 1 else 0.0)
    elif coordinates == "asymmetric":
        places = at * (own / wanted)
    elif coordinates == "pytorch_half_pixel" and wanted == 1:
        places = at * 0.0
    else:
        places = (at + 0.5) * (own / wanted) - 0.5
    matrix = np.zeros((wanted, own))
    if linear:
        inside = places.clip(0, own - 1)
        low = np.floor(inside).astype(int)
        share = inside - low
        np.add.at(matrix, (np.arange(wanted), low), 1 - share)
        np.add.at(matrix, (np.arange(wanted), (low + 1).clip(max=own - 1)), share)
    else:
        matrix[np.arange(wanted), _nearest(places, rounding).clip(0, own - 1)] = 1.0
    return torch.tensor(matrix, dtype=torch.float32)


def _nearest(
    places: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", rounding: str
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    # A hair of rounding must not decide between two neighbours.
    near = np.round(places, 9)
    if rounding == "floor":
        found = np.floor(near)
    elif rounding == "ceil":
        found = np.ceil(near)
    elif rounding == "round_prefer_floor":
        found = np.ceil(near - 0.5)
    else:
        found = np.floor(near + 0.5)
    return found.astype(np.int64)
