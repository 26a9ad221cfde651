"""From a file to what a network takes, whether it is fed pictures or sounds."""

from collections.abc import Sequence

from torch import Tensor

from frostline.images import augment
from frostline.images import views as pictures
from frostline.images.medium import PICTURES, Medium
from frostline.images.policies import View
from frostline.images.preprocessing import Preprocessing
from frostline.images.rows import Listing
from frostline.sound import views as sounds
from frostline.sound import windows
from frostline.sound.decode import SOUNDS


def load(
    path: str, preprocessing: Preprocessing, views: Sequence[View], content: str
) -> list[Tensor]:
    """Reads a file once, and makes all its views.

    Args:
        path: A picture, a sound or a window of one.
        preprocessing: Of the network.
        views: Which views.
        content: The digest of the content, from which chance is drawn.

    Returns:
        For each of `views` [channels, height_px, width_px]: uint8 pixels, or float32 values of a
        spectrogram.

    Raises:
        Unreadable: Where the file gives none.
    """
    if preprocessing.spectrogram is None:
        return augment.load(path, preprocessing, views, content)
    return sounds.load(path, preprocessing, views, content)


def medium(is_sound: bool) -> Medium:
    """Returns which kind of files is listed."""
    return SOUNDS if is_sound else PICTURES


def windows_of(listing: Listing, preprocessing: Preprocessing) -> Listing:
    """Returns what a network is fed of a listing: windows of sounds, pictures as they are."""
    how = preprocessing.spectrogram
    return listing if how is None else windows.cut(listing, how)


def files_of(listing: Listing, found: Listing) -> Listing:
    """Returns the files of a listing of windows; pictures as they are.

    Args:
        listing: From `windows_of`, with problems and splits.
        found: What it was made from.
    """
    return windows.joined(listing, found) if found.noun == SOUNDS.noun else listing


def version_of(preprocessing: Preprocessing) -> str:
    """Returns the version of the code that makes views, for cache keys."""
    return pictures.VERSION if preprocessing.spectrogram is None else f"sound {sounds.VERSION}"
