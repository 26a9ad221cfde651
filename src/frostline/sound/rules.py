"""How a network is fed sounds: its own spectrogram, or for one of pictures a fitting one."""

import statistics
from dataclasses import replace

from frostline.base.errors import BackboneError
from frostline.images.preprocessing import Preprocessing
from frostline.images.rows import Listing
from frostline.sound.settings import BY_NAME, for_pictures, heard_by

_LEAST_S, _MOST_S = 1.0, 10.0


def preprocessing_for(
    base: Preprocessing, listing: Listing, window_s: float, where: str
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Returns a network's preprocessing with the spectrogram that it is fed, and a line on it.

    Args:
        base: Of the network. What hears by itself keeps its spectrogram.
        listing: The sounds.
        window_s: Seconds heard at once; 0 for the network's own or, where it was made for
            pictures, the median length of the sounds, from 1 to 10 s.
        where: The network's name, for messages.

    Raises:
        BackboneError: Where a network that hears by itself is asked to hear longer or shorter.
    """
    own = base.spectrogram
    if own is not None and own.scaling != "shades":
        if window_s and abs(window_s - own.window_s) > 0.05:
            raise BackboneError(
                f"{where}: hears {own.window_s:.4g} s at once, and {window_s:g} s are asked for. "
                "Leave --window-s away."
            )
        how = own
    elif own is not None and not window_s:
        how = own
    else:
        _refuse_unknown(base, where)
        how = for_pictures(window_s or usual_s(listing), base.width_px)
    note = (
        f"heard in windows of {how.window_s:.3g} s, as {how.bands} mel bands up to "
        f"{how.high_hz:,.0f} Hz"
    )
    return replace(base, spectrogram=how), (note,)


def _refuse_unknown(base: Preprocessing, where: str) -> None:
    """Stops where an input has the form of a known spectrogram, and nothing says that it is one."""
    for name, how in BY_NAME.items():
        if base.input_shape == heard_by(how).input_shape:
            raise BackboneError(
                f"{where}: does not tell how a sound becomes its input of {base.height_px} × "
                f"{base.width_px}. Such spectrograms are those of {name}: add ?mode={name}."
            )


def usual_s(listing: Listing) -> float:
    """Returns the median length of the usable sounds, from 1 to 10 s, to a tenth."""
    lengths = [row.width / row.height for row in listing.usable if row.height]
    middle = statistics.median(lengths) if lengths else _LEAST_S
    return round(min(max(middle, _LEAST_S), _MOST_S), 1)
