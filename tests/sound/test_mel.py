"""The front end, compared with librosa's stored numbers and with what can be worked out."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frostline.sound import settings
from frostline.sound.mel import log_mel, mel, mel_of_hz

HERE = Path(__file__).parent
MADE = runpy.run_path(str(HERE / "make_chirp.py"))
chirp, FRAMES = MADE["chirp"], MADE["FRAMES"]


@pytest.mark.parametrize("name", ["music_tagger", "picture"])
def test_a_chirp_is_what_librosa_makes_of_it(name: str) -> None:
    stored = np.load(HERE / "chirp.npz")
    pictures = replace(settings.for_pictures(1.0, FRAMES), hop=400)
    how = pictures if name == "picture" else replace(settings.MUSIC_TAGGER, frames=FRAMES)
    sound = chirp(how.rate_hz, how.samples)
    bands = mel(sound, how)
    assert bands.shape == stored[f"{name}_mel"].shape
    np.testing.assert_allclose(bands, stored[f"{name}_mel"], atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(log_mel(sound, how), stored[name], atol=1e-3)


def test_a_network_gets_as_many_frames_as_it_takes() -> None:
    for how in (settings.MUSIC_TAGGER, settings.YAMNET, settings.for_pictures(3.0, 224)):
        bands = log_mel(np.zeros(how.samples, np.float32), how)
        assert bands.shape == (how.bands, how.frames)
        assert np.isfinite(bands).all()


def test_music_tagger_hears_29_12_seconds_and_yamnet_almost_one() -> None:
    assert settings.MUSIC_TAGGER.window_s == pytest.approx(29.12)
    assert settings.YAMNET.samples == 95 * 160 + 400


def test_silence_is_black_and_not_stretched_to_noise() -> None:
    how = settings.for_pictures(1.0, 64)
    assert log_mel(np.zeros(how.samples, np.float32), how).max() == 0
    loud = log_mel(chirp(how.rate_hz, how.samples), how)
    assert (loud.min(), loud.max()) == (0.0, 1.0)


def test_scales_of_mel() -> None:
    hz = np.array([0.0, 200.0 / 3, 1000.0, 6400.0])
    # Slaney: linear to 1 kHz, then 27 steps for each factor of 6.4.
    np.testing.assert_allclose(mel_of_hz(hz, "slaney"), [0, 1, 15, 42])
    np.testing.assert_allclose(mel_of_hz(np.array([700.0]), "htk"), [1127 * np.log(2)])
