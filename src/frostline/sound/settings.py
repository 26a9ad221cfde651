"""The spectrograms of networks that hear, and the one for networks that were made for pictures."""

from collections.abc import Mapping

from frostline.images.preprocessing import Preprocessing
from frostline.images.spectrogram import Spectrogram

# Of Choi et al., "Convolutional Recurrent Neural Networks for Music Classification", ICASSP 2017,
# as its author's code computes it: the square of the power is what the network was trained on.
MUSIC_TAGGER = Spectrogram(
    rate_hz=12_000,
    frame=512,
    fft=512,
    hop=256,
    bands=96,
    frames=1366,
    low_hz=0.0,
    high_hz=6_000.0,
    scaling="decibels_squared",
)
# Of YAMNet (tensorflow/models, research/audioset/yamnet): 0.96 s a picture, time from top to
# bottom.
YAMNET = Spectrogram(
    rate_hz=16_000,
    frame=400,
    fft=512,
    hop=160,
    bands=64,
    frames=96,
    low_hz=125.0,
    high_hz=7_500.0,
    filters="htk",
    power=1,
    scaling="log_offset",
    is_centered=False,
    is_time_down=True,
)
# What a network's name may ask for, where its file does not tell.
BY_NAME: Mapping[str, Spectrogram] = {"music_tagger": MUSIC_TAGGER, "yamnet": YAMNET}

PICTURE_RATE_HZ = 22_050
# The frame of the Fourier transform lasts 46 ms: pitch is told apart, and onsets still are.
_PICTURE_FRAME = 1024
_PICTURE_BANDS = 128


def heard_by(how: Spectrogram) -> Preprocessing:
    """Returns the preprocessing of a network that takes this spectrogram as it is."""
    height, width = (how.frames, how.bands) if how.is_time_down else (how.bands, how.frames)
    return Preprocessing(
        height_px=height,
        width_px=width,
        crop_pct=1.0,
        crop_mode="squash",
        interpolation="bilinear",
        mean=(0.0,),
        std=(1.0,),
        spectrogram=how,
    )


def for_pictures(window_s: float, width_px: int) -> Spectrogram:
    """Returns the spectrogram for a network of photographs: a column of pixels a frame.

    Args:
        window_s: Seconds of sound that one picture shows.
        width_px: Width of the network's input.
    """
    hop = max(1, round(window_s * PICTURE_RATE_HZ / (width_px - 1)))
    return Spectrogram(
        rate_hz=PICTURE_RATE_HZ,
        frame=_PICTURE_FRAME,
        fft=_PICTURE_FRAME,
        hop=hop,
        bands=_PICTURE_BANDS,
        frames=width_px,
        low_hz=0.0,
        high_hz=PICTURE_RATE_HZ / 2,
    )
