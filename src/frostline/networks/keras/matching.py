"""Loading a Keras weights file into a translated network, whole or in part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from frostline.base.errors import WeightsError, raise_all
from frostline.networks.keras.arrays import Array, as_tensor, roles_of, with_roles
from frostline.networks.keras.config import Reading
from frostline.networks.keras.pairing import Pairing, pairings
from frostline.networks.keras.weights import FileLayer, KerasFile
from frostline.networks.translate.arrays import Slot, to_state
from frostline.networks.translate.build import Built
from frostline.networks.weights import Match, apply, compare, table


@dataclass(frozen=True)
class LoadedWeights:
    """What became of a weights file.

    Attributes:
        match: Which of the network's tensors were filled; `unexpected` holds `left_out`.
        way: How layers were paired: `name`, `path` (of a Keras 3 file) or `order`.
        left_out: Layers of the file that the network does not have.
        rows: A table of both, for people.
    """

    match: Match
    way: str
    left_out: tuple[str, ...]
    rows: tuple[str, ...]


def load_weights(
    reading: Reading,
    built: Built,
    file: KerasFile,
    where: str,
    partial: bool = False,
    way: str = "auto",
    turned: bool | None = None,
) -> LoadedWeights:
    """Loads a Keras weights file into a translated network: what belongs to it, or nothing.

    Layers are paired by their paths in a Keras 3 file, by their names or by their order, whichever
    fits best; see `pairing.py`. A file of the whole network fits a network without its top.

    Args:
        reading: What the network was built from.
        built: The network, changed in place.
        file: What is loaded.
        where: What is loaded into what, for messages.
        partial: Load what matches, and leave the rest as it is.
        way: `auto`, `name` or `order`.
        turned: Whether Theano trained the kernels; None where the file is to tell.

    Returns:
        What matched, what is missing and what was left out.

    Raises:
        WeightsError: Where arrays of a layer do not fit it, or layers are missing or left over
            and `partial` is not set.
    """
    network = [layer for layer in reading.layers if roles_of(layer.op, layer.settings)]
    tried = [
        _attempt(one, reading, built, file, turned)
        for one in pairings(network, file.layers, way, where)
    ]
    best = min(tried, key=lambda one: one.misfits)
    if not partial:
        raise_all(WeightsError, where, list(best.problems), most=5)
        _refuse_left_over(file.layers, best.paired, built.module, best.state, where)
        _refuse_misfit(built.module, best.state, where)
    match = apply(built.module, best.state, where=where, partial=True)
    rest = [one for index, one in enumerate(file.layers) if index not in best.paired]
    left_out = tuple(one.name or one.store or one.group for one in rest)
    match = replace(match, unexpected=left_out, way=best.way)
    return LoadedWeights(match, best.way, left_out, tuple(_rows(match, left_out)))


@dataclass(frozen=True)
class _Attempt:
    """What one pairing would give.

    Attributes:
        way: How layers were paired.
        paired: Positions of the file's layers that have a partner.
        state: The network's tensors, by name.
        problems: What does not fit, a sentence each.
        misfits: How many do not fit, and how many of the network's tensors are missing.
    """

    way: str
    paired: frozenset[int]
    state: Mapping[str, Tensor]
    problems: tuple[str, ...]
    misfits: tuple[int, int]


def _attempt(
    pairing: Pairing, reading: Reading, built: Built, file: KerasFile, turned: bool | None
) -> _Attempt:
    theano = _is_theano(pairing, file)
    if turned is None:
        turned = file.backend == "theano" or (theano and file.numbered)
    arrays, problems = _tensors(pairing, theano, turned)
    state = to_state(reading.graph, built, arrays, as_held=theano)
    own = built.module.state_dict()
    others = sum(own[name].shape != tensor.shape for name, tensor in state.items())
    missing = sum(name not in state for name in _wanted(built.module))
    paired = frozenset(index for index, _, _ in pairing.pairs)
    misfits = (len(problems) + others, missing)
    return _Attempt(pairing.way, paired, state, tuple(problems), misfits)


def _wanted(module: nn.Module) -> set[str]:
    return {name for name in module.state_dict() if not name.endswith("num_batches_tracked")}


def _is_theano(pairing: Pairing, file: KerasFile) -> bool:
    """Whether kernels lie as [out, in, h, w]: the number of filters says."""
    if file.version.startswith(("2", "3")):
        return False
    votes = []
    for _, layer, one in pairing.pairs:
        kernels = [a for role, a in one.arrays if role in ("", "kernel") and a.ndim == 4]
        if layer.op == "conv2d" and kernels:
            filters = layer.settings["filters"]
            first, last = kernels[0].shape[0] == filters, kernels[0].shape[3] == filters
            votes += [first] if first != last else []
    return bool(votes) and all(votes)


def _tensors(
    pairing: Pairing, theano: bool, turned: bool
) -> tuple[Mapping[Slot, Tensor], list[str]]:
    arrays: dict[Slot, Tensor] = {}
    problems = []
    for _, layer, one in pairing.pairs:
        try:
            roles: Mapping[str, Array] = with_roles(layer.op, layer.settings, one.arrays)
            for role, array in roles.items():
                if role != "count":
                    arrays[(layer.path, role)] = as_tensor(layer.op, role, array, theano, turned)
        except WeightsError as error:
            problems.append(f"layer {layer.path!r}: {error}.")
    return arrays, problems


def _refuse_left_over(
    layers: Sequence[FileLayer],
    paired: frozenset[int],
    module: nn.Module,
    state: Mapping[str, Tensor],
    where: str,
) -> None:
    """A network without its top leaves the file's last layers over; nothing else may be left."""
    rest = [index for index in range(len(layers)) if index not in paired]
    wanted = _wanted(module)
    # A Keras 3 file is sorted by class, so that its last layers stand anywhere.
    at_end = all(layers[i].store for i in rest) or min(rest, default=0) > max(paired, default=-1)
    if rest and not (at_end and wanted <= set(state)):
        names = [layers[index].name or layers[index].group for index in rest]
        filled = len(wanted & set(state))
        raise WeightsError(
            f"{where}: the file has layers that the network lacks ({_few(names)}), and fills "
            f"{filled} of its {len(wanted)} tensors. Ask for partial loading, or choose the "
            "network that the file was made for."
        )


def _refuse_misfit(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    match, _ = compare(module, state)
    if match.complete:
        return
    shapes = [f"{n}: network {list(a)}, file {list(b)}" for n, a, b in match.mismatched]
    parts = [f"{len(match.missing)} missing ({_few(match.missing)})"] if match.missing else []
    parts += [f"{len(shapes)} of another shape ({_few(shapes)})"] if shapes else []
    outputs = {got[0] for _, own, got in match.mismatched if own[1:] == got[1:] and got}
    classes = outputs.pop() if len(outputs) == 1 and len(shapes) <= 2 else 0
    advice = f" They seem to have {classes} classes: ask for classes={classes}." if classes else ""
    raise WeightsError(
        f"{where}: the weights do not fit: {len(match.matched)} tensors match, {', '.join(parts)}."
        f"{advice or ' Choose the network they were made for, or ask for partial loading.'}"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _rows(match: Match, left_out: Sequence[str]) -> list[str]:
    row = f"{'left out':<12}{len(left_out):>6}  {_few(left_out)}".rstrip()
    return [*table(match)[:-1], row]
