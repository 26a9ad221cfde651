"""Sounds that tests make."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

ENDINGS = ("wav", "flac", "ogg", "mp3")


def tone(hz: float, length_s: float = 1.0, rate_hz: int = 16_000, seed: int = 0) -> NDArray:
    """A sine in a little noise."""
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (0.3 * np.sin(2 * np.pi * hz * t) + noise).astype(np.float32)


def write(path: Path, samples: NDArray, rate_hz: int = 16_000, subtype: str | None = None) -> Path:
    """Writes samples [n] or [n, channels] in the format of the file's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path


def make_sounds(root: Path, each: int = 12, length_s: float = 1.0) -> Path:
    """Two classes, `high` and `low`, in files of all four formats."""
    for label, hz in (("high", 2000.0), ("low", 300.0)):
        for number in range(each):
            samples = tone(hz * (1 + 0.01 * number), length_s, seed=number)
            write(root / label / f"{number:03}.{ENDINGS[number % 4]}", samples)
    return root
