"""From the input that a file declares to a picture [c, h, w], and how pixels become it."""

from frostline.base.errors import BackboneError
from frostline.networks.keras.families import facts
from frostline.networks.translate import tensors
from frostline.networks.translate.draft import OPEN_BATCH, Draft, Operand
from frostline.networks.translate.network import PictureFacts
from frostline.networks.weights_files.records import Port

_FEW = (1, 3, 4)
_UINT8 = 255


def draft_for(
    port: Port,
    layout: str,
    input_px: tuple[int, int] | None,
    where: str,
    any_number: bool = False,
) -> tuple[Draft, Operand]:
    """Starts a graph with its input.

    An input of three axes is a picture of one channel, and one of two a single row of it.

    Args:
        port: The input, as the file declares it.
        layout: Where the source's maps hold channels.
        input_px: Height and width, where the file leaves them open or others are asked for.
        where: The file, for messages.
        any_number: Whether it is to take any number of pictures, where it is written for one.

    Returns:
        The graph in the making, and the input with the axes of the source.

    Raises:
        BackboneError: Where its size is not known, or it is no picture.
    """
    if port.shape is None or not 2 <= len(port.shape) <= 4:
        axes = "of unknown rank" if port.shape is None else f"of shape {list(port.shape)}"
        raise BackboneError(f"{where}: its input {port.name!r} is {axes}, and no picture.")
    first, *sizes = port.shape
    made_for = int(first or 0) if any_number else 0
    batch = first if first and not any_number else OPEN_BATCH
    last = layout == "channels_last" or _is_channels_last(sizes)
    if len(sizes) == 3:
        c, h, w = (sizes[2], sizes[0], sizes[1]) if last else (sizes[0], sizes[1], sizes[2])
    else:
        c, h, w = 1, sizes[0] if len(sizes) == 2 else 1, sizes[-1]
    if input_px is not None:
        h, w = input_px
    if h is None or w is None:
        raise BackboneError(
            f"{where}: leaves the size of its input {port.name!r} open ({_told(sizes)}). Name it "
            "with ?input_px=224."
        )
    if c is None or min(batch, c, h, w) < 1:
        raise BackboneError(f"{where}: its input {port.name!r} is of shape {_told(sizes)}.")
    draft = Draft(where, layout, batch, (c, h, w), made_for)
    plain = len(sizes) == 3 and last == (layout == "channels_last")
    x: Operand = draft.picture(port.name if plain else f"{port.name}/picture")
    if plain:
        return draft, x
    if len(sizes) == 3:
        return draft, tensors.transpose(draft, port.name, x, (0, 2, 3, 1))
    return draft, tensors.reshape(draft, port.name, x, (batch, *((h, w)[-len(sizes) :])))


def _is_channels_last(sizes: list[int | None]) -> bool:
    """Whether an input of a source with channels in front holds pictures with channels behind."""
    return len(sizes) == 3 and sizes[2] in _FEW and sizes[0] not in _FEW


def facts_of(port: Port, mode: str, channels: int) -> PictureFacts | None:
    """Returns how pixels become an input: as asked for, or as its quantisation says.

    A network of 8 bits takes pixels as they are, and its scale and zero point tell what numbers
    they stand for. An input without an axis of channels is no picture, and is taken as it comes.

    Args:
        port: The input, as the file declares it.
        mode: One of `families.MODES`, or nothing.
        channels: Of the picture.
    """
    if mode:
        return facts(mode, channels)
    if port.shape is not None and len(port.shape) < 4:
        return facts("unit", channels)
    how = port.quantisation
    if how is None or port.dtype not in ("uint8", "int8") or not how.scale[0] > 0:
        return None
    zero = how.zero_point[0] + (128 if port.dtype == "int8" else 0)
    mean, std = (zero / _UINT8,) * channels, (1 / (_UINT8 * how.scale[0]),) * channels
    return PictureFacts(mean, std, source="the input's scale and zero point")


def _told(sizes: list[int | None]) -> str:
    return " × ".join("?" if size is None else str(size) for size in sizes)
