"""What a network makes of a picture: feature maps and kernels as pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frostline import frost
from frostline.activations.engines import Normalise
from frostline.base.errors import BackboneError, LineError, ListingError, RecipeError
from frostline.base.files import write_atomic
from frostline.base.paths import user_path, without_folders
from frostline.drawing.tiles import Sheet, Tile, coloured, draw_sheet, grey_of
from frostline.frost import Line
from frostline.frost.geometry import geometry_of
from frostline.images.augment import CENTER, load
from frostline.images.decode import Unreadable
from frostline.model.targets import name_of
from frostline.networks import catalog
from frostline.networks.opening import open_at_size
from frostline.networks.record import OpenedBackbone

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class LookedAt:
    """A network that is looked into.

    Attributes:
        name: What was asked for.
        opened: The network.
        traced: Its lines.
    """

    name: str
    opened: OpenedBackbone
    traced: frost.TracedNetwork


def check(
    picture: str | None, lines: Sequence[str], out: Path | None, kernels: Path | None, channels: int
) -> None:
    """Checks what is asked for, before anything is opened.

    Raises:
        RecipeError: Where something lacks, or goes with nothing.
    """
    if picture is None and kernels is None:
        raise RecipeError("look: name a PICTURE, or --kernels FILE for the first layer's kernels.")
    if picture is not None and out is None:
        raise RecipeError("--out: name the file that the maps go to, such as maps.png.")
    if picture is None and (lines or out is not None):
        raise RecipeError(
            f"{'--line' if lines else '--out'}: goes with a PICTURE, and none is named."
        )
    if channels < 1:
        raise RecipeError(f"--channels: must be at least 1, not {channels}.")
    for option, file in (("--out", out), ("--kernels", kernels)):
        if file is not None and file.suffix.lower() not in SUFFIXES:
            raise RecipeError(f"{option}: {file} must end in {', '.join(SUFFIXES)}.")


def open_network(target: str, image_px: int = 0) -> LookedAt:
    """Opens a network with its weights.

    Args:
        target: A run folder, a model folder, or `KIND:NAME`.
        image_px: Side of the square input, in pixels; 0 for the network's own.

    Raises:
        BackboneError: Where it cannot be opened.
        LineError: Where it cannot be traced.
        RunError: Where the folder is an unfinished run.
    """
    opened = open_at_size(name_of(target), image_px)
    return LookedAt(target, opened, catalog.trace(opened))


@torch.inference_mode()
def write_maps(
    out: Path, network: LookedAt, picture: str, lines: Sequence[str], channels: int
) -> list[str]:
    """Writes the feature maps at some lines, one below the other.

    Args:
        out: The file to write.
        network: The network.
        picture: The picture.
        lines: Where to look; empty for the first block and the last map.
        channels: How many maps to show of a line, at most.

    Returns:
        What is shown, a sentence a line.

    Raises:
        DiskError: Where the file cannot be written.
        LineError: Where there is no such line, or none with maps to show.
        ListingError: Where the picture cannot be read.
    """
    chosen = [network.traced.find(name) for name in lines] or _default_lines(network.traced)
    pixels = _pixels(picture, network)
    sheets = [_picture_sheet(pixels, network, picture)]
    geometry, said = geometry_of(network.traced), []
    for line in chosen:
        prefix, _ = network.traced.cut(line)
        activation = prefix(Normalise(network.opened.record.preprocessing)(pixels[None]))[0]
        known = geometry.get(line.node)
        maps = maps_of(activation, known.places if known else None)
        shape = " × ".join(map(str, activation.shape))
        words = f"{line.name}: {shape}; {_seen_words(maps, channels)}"
        said.append(words)
        sheets.append(Sheet(words, tuple(_map_tiles(maps, channels))))
    _write(out, sheets)
    return said


def write_kernels(out: Path, network: LookedAt) -> str:
    """Writes the kernels of the first convolution: in colour where it reads colours.

    Returns:
        What is shown.

    Raises:
        BackboneError: Where the network has no convolution.
        DiskError: Where the file cannot be written.
    """
    path, weight = _first_kernels(network)
    if network.opened.record.preprocessing.channel_order == "bgr" and weight.shape[1] == 3:
        weight = weight.flip(1)
    values = weight.detach().float().numpy()
    # Grey is zero; all share one scale, so that a kernel that does little looks so.
    scaled = 0.5 + values / (2 * max(float(np.abs(values).max()), 1e-12))
    tiles = [Tile(str(at), _kernel_picture(kernel)) for at, kernel in enumerate(scaled)]
    words = f"{path}: {len(tiles)} kernels of {' × '.join(map(str, weight.shape[1:]))}"
    _write(out, [Sheet(f"{without_folders(network.name)}, {words}; grey is zero", tuple(tiles))])
    return f"{out}: {words}"


def maps_of(activation: Tensor, places: tuple[int, int] | None) -> Tensor:
    """Returns the maps [c, h, w] in one picture's activation; a vector is one map.

    Args:
        activation: At a line, without the batch.
        places: Which of its dimensions are height and width, where that is known.
    """
    x = activation.float()
    if x.ndim == 3:
        high, wide = places or (1, 2)
        (channel,) = {0, 1, 2} - {high, wide}
        return x.permute(channel, high, wide)
    if x.ndim == 2:
        # Tokens: a square of them, behind those that stand for no place.
        side = int(len(x) ** 0.5)
        return x[len(x) - side * side :].T.reshape(-1, side, side)
    flat = x.flatten()
    wide = min(len(flat), 64)
    rows = -(-len(flat) // wide)
    return torch.nn.functional.pad(flat, (0, rows * wide - len(flat))).view(1, rows, wide)


def _default_lines(traced: frost.TracedNetwork) -> list[Line]:
    blocks = [line for line in traced.lines[1:] if line.block and len(line.shape) > 1]
    if not blocks:
        raise LineError("--line: this network has no line with maps; name one, such as pooled.")
    return list(dict.fromkeys((blocks[0], blocks[-1])))


def _pixels(picture: str, network: LookedAt) -> Tensor:
    path = user_path(picture)
    if path.is_dir():
        raise ListingError(f"{picture}: is a folder; name one picture in it.")
    try:
        return load(path, network.opened.record.preprocessing, [CENTER], "")[0]
    except Unreadable as reason:
        raise ListingError(f"{picture}: {reason}.") from reason
    except FileNotFoundError as error:
        raise ListingError(f"{picture}: there is no such file.") from error


def _picture_sheet(pixels: Tensor, network: LookedAt, picture: str) -> Sheet:
    seen = pixels.permute(1, 2, 0).numpy()
    words = f"{Path(picture).name}, as {without_folders(network.name)} sees it"
    return Sheet(words, (Tile("", seen if seen.shape[2] == 3 else grey_of(seen[..., 0])),))


def _seen_words(maps: Tensor, channels: int) -> str:
    count = len(maps)
    if count > channels:
        return f"those {channels} of {count} maps that answer most"
    return f"{count} maps" if count > 1 else "its numbers, row by row"


def _map_tiles(maps: Tensor, channels: int) -> Iterator[Tile]:
    # Those that answer most, in the order of the channels: many say nothing to a picture.
    spread = maps.flatten(1).std(1, correction=0)
    for at in sorted(spread.argsort(descending=True, stable=True)[:channels].tolist()):
        one = maps[at]
        # Each for itself: what counts is where a map answers, not how loudly.
        low, high = float(one.min()), float(one.max())
        scaled = (one - low) / max(high - low, 1e-12)
        yield Tile(str(at), coloured(scaled.numpy()))


def _kernel_picture(kernel: NDArray[Any]) -> NDArray[Any]:
    """Returns one kernel [i, h, w] of values from 0 to 1 as a picture."""
    if len(kernel) == 3:
        return np.asarray(kernel.transpose(1, 2, 0) * 255).round().astype(np.uint8)
    return grey_of((kernel.mean(0) * 255).round().astype(np.uint8))


def _first_kernels(network: LookedAt) -> tuple[str, Tensor]:
    for step in network.traced.evaluating.steps.values():
        if step.follows == "data" and step.node.op == "call_module":
            module = network.opened.module.get_submodule(str(step.node.target))
            for name, parameter in module.named_parameters():
                if parameter.ndim == 4:
                    return f"{step.node.target}.{name}", parameter
    raise BackboneError(f"--kernels: {network.name} has no convolution.")


def _write(out: Path, sheets: Sequence[Sheet]) -> None:
    image = draw_sheet(sheets)
    kind = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(out.suffix.lower(), out.suffix[1:].upper())

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            image.save(file, kind)

    write_atomic(out, save)
