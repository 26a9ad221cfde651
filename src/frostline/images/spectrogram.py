"""The record of how a sound becomes the one-channel picture that a network takes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from frostline.base.errors import BackboneError, did_you_mean

FILTERS = ("slaney", "htk")
SCALINGS = ("shades", "decibels_squared", "log_offset")


@dataclass(frozen=True)
class Spectrogram:
    """A log-mel spectrogram: the short-time Fourier transform, mel filters, a logarithm.

    Attributes:
        rate_hz: What sounds are resampled to, in samples a second.
        frame: Samples of one analysis frame, under a periodic Hann window.
        fft: Length of the Fourier transform; frames are padded with zeros to it.
        hop: Samples from one frame to the next.
        bands: Mel bands.
        frames: How many frames one picture has.
        low_hz: Where the lowest band begins.
        high_hz: Where the highest band ends.
        filters: `slaney`: triangles in hertz, of equal area, on Slaney's scale, as librosa has
            them. `htk`: triangles in mel, of equal height, on HTK's scale, as TensorFlow has them.
        power: 1 for magnitudes, 2 for their squares.
        scaling: How bands become values: `shades`, 80 dB below the loudest as 0 to 1;
            `decibels_squared`, 10·log10 of the square, at most 80 dB below the loudest;
            `log_offset`, the natural logarithm of the band plus 0.001.
        is_centered: Whether the first frame is centred on the first sample, with the sound
            mirrored at both ends, or begins there.
        is_time_down: Whether time runs from top to bottom and bands from left to right; otherwise
            time runs from left to right, and the lowest band is the first row.
    """

    rate_hz: int
    frame: int
    fft: int
    hop: int
    bands: int
    frames: int
    low_hz: float
    high_hz: float
    filters: str = "slaney"
    power: int = 2
    scaling: str = "shades"
    is_centered: bool = True
    is_time_down: bool = False

    @property
    def samples(self) -> int:
        """How many samples one picture is made of."""
        span = (self.frames - 1) * self.hop
        return span if self.is_centered else span + self.frame

    @property
    def window_s(self) -> float:
        """How many seconds of sound one picture shows."""
        return self.samples / self.rate_hz

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON values; `from_dict` reads them back."""
        return asdict(self)


def from_dict(facts: Mapping[str, Any], where: str) -> Spectrogram:
    """Reads what `Spectrogram.as_dict` gave.

    Args:
        facts: Its keys.
        where: The file it stands in, for messages.

    Raises:
        BackboneError: Where a key is unknown or missing, or a value does not hold.
    """
    known = [field.name for field in fields(Spectrogram)]
    for key in facts:
        if key not in known:
            raise BackboneError(f"{where}: spectrogram has no {key!r}.{did_you_mean(key, known)}")
    try:
        record = Spectrogram(**facts)
        wrong = _first_fault(record)
    except TypeError as error:
        raise BackboneError(f"{where}: spectrogram is not whole: {error}.") from error
    if wrong:
        raise BackboneError(f"{where}: spectrogram.{wrong}")
    return record


def _first_fault(record: Spectrogram) -> str:
    for key in ("rate_hz", "frame", "fft", "hop", "bands", "frames"):
        value = getattr(record, key)
        if type(value) is not int or not 0 < value <= 1_000_000:
            return f"{key} must be a whole number from 1 to 1,000,000, not {value!r}."
    if not record.frame <= record.fft:
        return f"frame must be at most fft ({record.fft}), not {record.frame}."
    if not 0 <= record.low_hz < record.high_hz <= record.rate_hz / 2:
        return (
            f"low_hz and high_hz must rise from 0 to at most {record.rate_hz / 2:g}, not "
            f"{record.low_hz!r} and {record.high_hz!r}."
        )
    for key, choices in (
        ("filters", FILTERS),
        ("scaling", SCALINGS),
        ("power", (1, 2)),
        ("is_centered", (True, False)),
        ("is_time_down", (True, False)),
    ):
        value = getattr(record, key)
        if value not in choices:
            return f"{key} must be one of {', '.join(map(str, choices))}, not {value!r}."
    return ""
