"""Whether pictures have the channels that a network takes, before anything is computed."""

from collections.abc import Sequence

from frostline.base.errors import ListingError
from frostline.images import channels, decode
from frostline.images.preprocessing import Preprocessing
from frostline.images.rows import Listing, Row
from frostline.images.unreadable import Unreadable

# So many pictures are looked at, evenly over the listing; single ones are told when they are met.
SAMPLE = 16
_GREY = ("1", "L", "LA", "La", "I", "F")


def check_channels(listing: Listing, how: Preprocessing, network: str) -> tuple[str, ...]:
    """Sees to it that some of the pictures can be fed, and tells what is made of them.

    Args:
        listing: The pictures.
        how: The network's preprocessing.
        network: Its name, for messages.

    Returns:
        What to tell: that colours are made grey, where they are.

    Raises:
        ListingError: Where the network takes another number of channels than three and one, and
            none of the pictures that are looked at has as many.
    """
    rows = listing.usable
    if how.channels == 3 or not rows:
        return ()
    if how.channels == 1:
        coloured = sum(row.mode.partition(";")[0] not in _GREY for row in rows)
        pictures = f"{coloured} of {len(rows)} pictures are made grey"
        return (f"the network takes one channel: {pictures}",) if coloured else ()
    reasons = [_problem(row, how) for row in _spread(rows)]
    if all(reasons):
        raise ListingError(
            f"{listing.root or rows[0].path}: {network} takes {how.channels} channels, and none of "
            f"{len(reasons)} pictures looked at has as many, such as {rows[0].path}: {reasons[0]}. "
            f"Give stacks of {how.channels}, or a network of three channels (in_chans=3)."
        )
    return ()


def _spread(rows: Sequence[Row]) -> Sequence[Row]:
    count = min(SAMPLE, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def _problem(row: Row, how: Preprocessing) -> str:
    try:
        channels.decode(decode.read(row.path), (how.height_px, how.width_px), how)
    except Unreadable as error:
        return str(error).partition(",")[0]
    return ""
