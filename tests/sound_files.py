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
    if path.suffix == ".ogg":
        path.write_bytes(_numbered_zero(path.read_bytes()))
    return path


def _numbered_zero(ogg: bytes) -> bytes:
    """Gives the stream the number 0 in place of a random one, so that files are the same each time.

    A split follows what is in the files. Pages begin with OggS; see RFC 3533 for the fields.
    """
    pages = []
    for page in ogg.split(b"OggS")[1:]:
        plain = b"OggS" + page[:10] + bytes(4) + page[14:18] + bytes(4) + page[22:]
        pages.append(plain[:22] + _checksum(plain).to_bytes(4, "little") + plain[26:])
    return b"".join(pages)


def _checksum(page: bytes) -> int:
    """Returns Ogg's CRC-32, bit by bit: polynomial 0x04C11DB7, nothing turned around."""
    found = 0
    for byte in page:
        found ^= byte << 24
        for _ in range(8):
            found = (found << 1) ^ (0x04C11DB7 if found & 0x80000000 else 0)
            found &= 0xFFFFFFFF
    return found


def make_sounds(root: Path, each: int = 12, length_s: float = 1.0) -> Path:
    """Two classes, `high` and `low`, in files of all four formats."""
    for label, hz in (("high", 2000.0), ("low", 300.0)):
        for number in range(each):
            samples = tone(hz * (1 + 0.01 * number), length_s, seed=number)
            write(root / label / f"{number:03}.{ENDINGS[number % 4]}", samples)
    return root
