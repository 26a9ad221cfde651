"""Pictures and sounds made small, as part of a page."""

from frostline.base.errors import FrostlineError
from frostline.images import thumbnails
from frostline.images.thumbnails import THUMBNAIL_PX
from frostline.images.unreadable import Unreadable
from frostline.sound import spectrograms


def picture(source: str | bytes, told: str, side_px: int = THUMBNAIL_PX) -> str:
    """Returns HTML that shows a picture, or a sound with its player, or says why it cannot.

    Args:
        source: The path of the file, which may be gone; or a picture's content.
        told: What to say to who cannot see it.
        side_px: Of the thumbnail.
    """
    if isinstance(source, bytes) or not spectrograms.is_sound(source):
        return thumbnails.picture(source, told, side_px)
    try:
        return thumbnails.inline(spectrograms.drawn(source), told) + spectrograms.player(source)
    except OSError:
        return '<div class="missing">The sound is no longer there.</div>'
    except (Unreadable, FrostlineError):  # Damaged, or the extra is not installed here.
        cannot = '<div class="missing">The sound cannot be drawn.</div>'
        return cannot + spectrograms.player(source)
