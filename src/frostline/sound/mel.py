"""Log-mel spectrograms of samples, in float64 and NumPy alone: the same bits on any thread."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from frostline.images.spectrogram import Spectrogram

Samples = NDArray[np.float32]
Floats = NDArray[np.float64]

# Slaney's scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.
_SLANEY_HZ, _SLANEY_KNEE_HZ = 200 / 3, 1_000.0
_SLANEY_STEP = np.log(6.4) / 27
# Powers below this are as good as none; and how far below the loudest a band may lie.
_LEAST_POWER = 1e-10
_RANGE_DB = 80.0
# The loudest band of what can just be heard: without it, silence would be as bright as noise.
_QUIET_POWER = 1e-2
_LOG_OFFSET = 0.001


def log_mel(samples: Samples, how: Spectrogram) -> NDArray[np.float32]:
    """Returns the spectrogram of one window.

    Args:
        samples: Mono, in [-1, 1], at `how.rate_hz`; of any length from one sample on.
        how: What to compute.

    Returns:
        float32 [bands, frames of that length], the lowest band first. `how.samples` samples give
        `how.frames` frames.
    """
    return _scaled(mel(samples, how), how.scaling).astype(np.float32)


def mel(samples: Samples, how: Spectrogram) -> Floats:
    """Returns the energies of the mel bands before any logarithm: [bands, frames]."""
    padded = samples.astype(np.float64)
    if how.is_centered:
        padded = np.pad(padded, how.fft // 2, mode="reflect" if len(padded) > 1 else "edge")
    length = how.fft if how.is_centered else how.frame
    if len(padded) < length:
        padded = np.pad(padded, (0, length - len(padded)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: how.hop]
    spectrum = np.abs(np.fft.rfft(frames * _hann(how, length), n=how.fft))
    bands: Floats = _filters(how) @ (spectrum**how.power).T
    return bands


def mel_of_hz(hz: Floats, filters: str) -> Floats:
    """Returns the place of frequencies on the mel scale of a kind of filters."""
    if filters == "htk":
        return 1127.0 * np.log1p(hz / 700.0)
    knee = _SLANEY_KNEE_HZ / _SLANEY_HZ
    above = knee + np.log(np.maximum(hz, _SLANEY_KNEE_HZ) / _SLANEY_KNEE_HZ) / _SLANEY_STEP
    return np.where(hz < _SLANEY_KNEE_HZ, hz / _SLANEY_HZ, above)


def _hz_of_mel(mels: Floats) -> Floats:
    """Undoes `mel_of_hz` on Slaney's scale."""
    knee = _SLANEY_KNEE_HZ / _SLANEY_HZ
    above = _SLANEY_KNEE_HZ * np.exp(_SLANEY_STEP * (mels - knee))
    return np.where(mels < knee, mels * _SLANEY_HZ, above)


@lru_cache(maxsize=8)
def _filters(how: Spectrogram) -> Floats:
    """Returns [bands, fft // 2 + 1]: how much of each frequency each band has."""
    bins = np.arange(how.fft // 2 + 1) * how.rate_hz / how.fft
    low, high = mel_of_hz(np.array([how.low_hz, how.high_hz]), how.filters)
    edges = np.linspace(low, high, how.bands + 2)
    if how.filters == "htk":
        places = mel_of_hz(bins, how.filters)
    else:
        places, edges = bins, _hz_of_mel(edges)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (places - left) / (middle - left), (right - places) / (right - middle)
    weights: Floats = np.maximum(0.0, np.minimum(rising, falling))
    if how.filters == "htk":
        weights[:, 0] = 0.0  # TensorFlow leaves the constant part out.
        return weights
    return weights * (2.0 / (right - left))


def _hann(how: Spectrogram, length: int) -> Floats:
    """The periodic Hann window, in the middle of a frame of `length` samples."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(how.frame) / how.frame)
    before = (length - how.frame) // 2
    return np.pad(window, (before, length - how.frame - before))


def _scaled(bands: Floats, scaling: str) -> Floats:
    levels: Floats
    if scaling == "log_offset":
        levels = np.log(bands + _LOG_OFFSET)
    elif scaling == "decibels_squared":
        levels = 10 * np.log10(np.maximum(_LEAST_POWER, bands**2))
        levels = np.maximum(levels, levels.max() - _RANGE_DB)
    else:
        loudest = max(float(bands.max()), _QUIET_POWER)
        levels = 10 * np.log10(np.maximum(_LEAST_POWER, bands) / loudest)
        levels = np.clip(levels / _RANGE_DB + 1, 0.0, 1.0)
    return levels
