"""Which layer of a weights file belongs to which layer of a network: by path, name or order."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from frostline.base.errors import WeightsError
from frostline.networks.keras.ages import snake_case
from frostline.networks.keras.arrays import roles_of
from frostline.networks.keras.config import Layer
from frostline.networks.keras.weights import FileLayer

WAYS = ("auto", "name", "order")


@dataclass(frozen=True)
class Pairing:
    """One way to pair layers.

    Attributes:
        way: `path` (of a Keras 3 file), `name` or `order`.
        pairs: The position of the file's layer, the network's layer, and the file's.
    """

    way: str
    pairs: tuple[tuple[int, Layer, FileLayer], ...]


def pairings(
    network: Sequence[Layer], layers: Sequence[FileLayer], way: str, where: str
) -> list[Pairing]:
    """Returns the pairings there are, the one to be preferred first.

    Names say most, but those that Keras gave by itself (`conv2d_3`) are numbered anew in each
    process, and in some versions from 1: then the order says more.

    Args:
        network: The network's layers that have weights, in order.
        layers: Those of the file.
        way: `auto`, or the only one that is asked for: `name` or `order`.
        where: What is loaded into what, for messages.

    Raises:
        WeightsError: Where there is none.
    """
    if way not in WAYS:
        raise WeightsError(f"{where}: pairing {way!r}: must be one of {', '.join(WAYS)}.")
    stored = Pairing("path", tuple(_by_path(network, layers)))
    named = Pairing("name", tuple(_by_name(network, layers)))
    ordered = Pairing("order", tuple(_by_order(network, layers)))
    numbered = any(_is_numbered(layer) for _, layer, _ in named.pairs)
    found = [stored, ordered, named] if numbered else [stored, named, ordered]
    asked = [one for one in found if way in ("auto", one.way) and one.pairs]
    if not asked:
        names = "has a name of the network's" if way == "name" else "fits the network's"
        raise WeightsError(f"{where}: no layer of the file {names}.")
    return asked


def _by_path(
    network: Sequence[Layer], layers: Sequence[FileLayer]
) -> Iterator[tuple[int, Layer, FileLayer]]:
    """Pairs by the paths of a Keras 3 file, unless the names that it tells speak against them."""
    by_path = {layer.store: layer for layer in network}
    found = [(i, by_path[f.store], f) for i, f in enumerate(layers) if f.store in by_path]
    if all(_is_numbered(own) or one.name in ("", own.name) for _, own, one in found):
        yield from found


def _by_name(
    network: Sequence[Layer], layers: Sequence[FileLayer]
) -> Iterator[tuple[int, Layer, FileLayer]]:
    """Pairs by name; of layers of one name, the first with the first, in the same group if any."""
    waiting: dict[str, list[Layer]] = {}
    for layer in network:
        waiting.setdefault(layer.name, []).append(layer)
    for index, one in enumerate(layers):
        candidates = waiting.get(one.name.replace(".", "_"), []) if one.name else []
        same = [layer for layer in candidates if layer.group == one.group] or candidates
        if same:
            found = same[0]
            candidates.remove(found)
            yield index, found, one


def _by_order(
    network: Sequence[Layer], layers: Sequence[FileLayer]
) -> Iterator[tuple[int, Layer, FileLayer]]:
    """Pairs in order, as far as layers have the same number of arrays."""
    for index, (layer, one) in enumerate(zip(network, layers, strict=False)):
        count = len(roles_of(layer.op, layer.settings))
        if len(one.arrays) not in (count, 9 if layer.op == "gru" else count):
            return
        yield index, layer, one


def _is_numbered(layer: Layer) -> bool:
    """Whether Keras itself gave the name: the class and perhaps a number."""
    return bool(re.fullmatch(rf"{snake_case(layer.class_name)}(_\d+)?", layer.name))
