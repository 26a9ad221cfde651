"""Writes `chirp.npz`: what librosa makes of a chirp. Run by hand: `pip install librosa`.

Made with librosa 0.11.0 and NumPy 2; the test compares this package's own front end with it.
"""

from pathlib import Path

import numpy as np

SETTINGS = {
    "music_tagger": {"sr": 12_000, "n_fft": 512, "hop_length": 256, "n_mels": 96},
    "picture": {"sr": 22_050, "n_fft": 1024, "hop_length": 400, "n_mels": 128},
}
FRAMES = 48


def chirp(rate_hz: int, count: int) -> np.ndarray:
    """A sine that rises from 50 Hz to 95 % of half the rate, at half of full scale."""
    t = np.arange(count) / rate_hz
    rise = (0.95 * rate_hz / 2 - 50.0) / (count / rate_hz)
    return (0.5 * np.sin(2 * np.pi * (50.0 * t + rise * t**2 / 2))).astype(np.float32)


if __name__ == "__main__":
    import librosa

    found = {}
    for name, how in SETTINGS.items():
        sound = chirp(how["sr"], (FRAMES - 1) * how["hop_length"])
        mel = librosa.feature.melspectrogram(y=sound, pad_mode="reflect", **how)
        found[f"{name}_mel"] = mel.astype(np.float32)
    power = found["music_tagger_mel"] ** 2
    found["music_tagger"] = librosa.power_to_db(power, ref=1.0, top_db=80.0)
    # 80 dB below the loudest as 0 to 1.
    found["picture"] = librosa.power_to_db(found["picture_mel"], ref=np.max, top_db=80.0) / 80 + 1
    np.savez_compressed(Path(__file__).with_name("chirp.npz"), **found)
