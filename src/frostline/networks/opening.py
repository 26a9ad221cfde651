"""Opening a network at an input size of the user's, and without weights where none matter."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline.base.errors import BackboneError, FrostlineError
from frostline.networks import catalog
from frostline.networks.record import OpenedBackbone
from frostline.networks.registry import kind_of


def open_at_size(
    name: str,
    image_px: int,
    *,
    pretrained: bool = True,
    weights: Path | None = None,
    partial: bool = False,
) -> OpenedBackbone:
    """Opens a network for square images of another size than its own.

    A network made for one size, such as a vision transformer, is built for this one, and its
    position embeddings are resampled. Any other network takes the size as it is.

    Args:
        name: As `catalog.find` takes it, and so are the other arguments.
        image_px: Side of the square input, in pixels; 0 for the network's own size.
        pretrained: False for random weights.
        weights: A local weights file.
        partial: Load what matches of it.

    Raises:
        BackboneError: Where the network cannot be opened.
        WeightsError: Where the weights do not fit at that size, or are not safe to read.
    """
    given: dict[str, Any] = {"pretrained": pretrained, "weights": weights, "partial": partial}
    opened = catalog.find(name, **given)
    if not image_px:
        return opened
    size = opened.record.preprocessing
    if size.spectrogram is not None and size.spectrogram.scaling != "shades":
        raise BackboneError(
            f"{name}: hears spectrograms of {size.width_px} × {size.height_px} and no others. "
            "Leave --image-px away."
        )
    parsed = catalog.parse(name)
    own = (size.height_px, size.width_px)
    argument = kind_of(opened.record.kind).size_argument(opened.module)
    if own != (image_px, image_px) and argument:
        if argument in parsed.arguments:
            raise BackboneError(
                f"{name}: is built for {own[1]} × {own[0]} px by its name, and images of "
                f"{image_px} px are asked for. Leave one of the two away."
            )
        arguments = {**parsed.arguments, argument: image_px}
        # Not every such architecture can be told; whether it takes the size shows in tracing.
        with suppress(BackboneError):
            opened = catalog.find(str(replace(parsed, arguments=arguments)), **given)
    sized = replace(opened.record.preprocessing, height_px=image_px, width_px=image_px)
    return replace(opened, record=replace(opened.record, preprocessing=sized))


def open_bare(name: str, image_px: int = 0) -> OpenedBackbone:
    """Opens a network for its layers and lines alone; no weights are downloaded or filled in.

    Args:
        name: As `catalog.find` takes it.
        image_px: Side of the square input, in pixels; 0 for the network's own size.

    Returns:
        The network; its tensors may have no values.

    Raises:
        BackboneError: Where the network cannot be opened.
    """
    import torch

    if catalog.is_folder(name):
        return open_at_size(name, image_px)
    try:
        with torch.device("meta"):
            return open_at_size(name, image_px, pretrained=False)
    except FrostlineError:
        raise
    # A network that computes with numbers while it is built fails in its own way, and is built
    # with some.
    except Exception:
        return open_at_size(name, image_px, pretrained=False)
