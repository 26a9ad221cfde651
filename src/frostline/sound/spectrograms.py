"""Sounds on a page: their spectrograms, with players for the files where they lie."""

import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from frostline.sound import decode, settings
from frostline.sound.mel import log_mel
from frostline.sound.windows import window_of

# So much of a long sound is drawn.
_MOST_S = 30.0
_WIDTH_PX = 240


def is_sound(path: str) -> bool:
    """Says whether a path is that of a sound, by its ending."""
    return Path(window_of(path).path).suffix.lower() in decode.READ


def drawn(path: str) -> bytes:
    """Returns the spectrogram of a sound, or of its first half minute, as a JPEG.

    Raises:
        Unreadable: Where it gives none.
    """
    file = window_of(path).path
    length_s = min(decode.length_s(file), _MOST_S)
    how = settings.for_pictures(length_s, _WIDTH_PX)
    samples = decode.read(file, 0.0, how.samples, how.rate_hz, is_lenient=True)
    grey = np.round(log_mel(samples, how)[::-1] * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).convert("RGB").save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def player(path: str) -> str:
    """Returns HTML that plays a sound from where it lies; it is linked and not embedded."""
    window = window_of(path)
    address = Path(window.path).absolute().as_uri()
    if window.start_s is not None:
        address += path[len(window.path) :]
    return f'<audio controls preload="none" src="{html.escape(address, quote=True)}"></audio>'
