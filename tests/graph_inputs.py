"""Made-up inputs for real networks, the same here and where the references were made."""

from pathlib import Path

import numpy as np


def spectra() -> np.ndarray:
    """Two log-mel spectra for the music network: [2, 187, 96]."""
    return np.random.default_rng(0).normal(size=(2, 187, 96)).astype(np.float32)


def sound() -> np.ndarray:
    """Two stretches of sound, noise and two tones: [2, 43844, 1]."""
    time = np.arange(43844) / 22050
    tones = 0.4 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 659.3 * time)
    noise = 0.1 * np.random.default_rng(1).normal(size=len(time))
    return np.stack([noise, tones])[..., None].astype(np.float32)


def picture() -> np.ndarray:
    """A round orange thing on green, with noise: uint8 [1, 224, 224, 3]."""
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    round_ = (x * x + 1.3 * y * y < 0.4)[..., None]
    colours = np.where(round_, (230, 130, 20), (60, 120, 50)) * (1 - 0.3 * (x + y)[..., None] / 2)
    noise = np.random.default_rng(2).normal(0, 8, (224, 224, 3))
    return np.clip(colours + noise, 0, 255).astype(np.uint8)[None]


def yamnet(files: Path) -> np.ndarray:
    """YAMNet's own spectrogram: [1, 96, 64]."""
    return np.fromfile(files / "yamnet_test_spectra.bin", np.float32).reshape(1, 96, 64)
