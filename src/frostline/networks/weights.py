"""Reading weights files without running code, and fitting them to a network by name.

A pickle can run any code when it is read, so `.pth` and its kin are read by torch's weights-only
reader, which refuses whatever is not plain data. A file is compared with the network first and
loaded after, so a network is never left half loaded.
"""

import argparse
import pickle
import pickletools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from frostline.base.errors import WeightsError, did_you_mean

PICKLED = (".pth", ".pt", ".th", ".bin", ".ckpt", ".tar")
SUFFIXES = (".safetensors", *PICKLED)

# Where training programs keep the weights in their checkpoints, the plain ones before the averages.
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "network")
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")

# What wrappers put before every name: data-parallel, torch.compile, and the usual attribute names.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")

_SHOWN = 3
_DEEPEST = 3
# Older checkpoints have no such counter, and torch itself lets it be absent.
_COUNTER = "num_batches_tracked"
_CALLS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE"}
_CODE = re.compile(r"GLOBAL (?P<what>[\w.]+)|unsupported class|unrecognized function|TorchScript")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a weights file.

    Attributes:
        tensors: By name, on the CPU.
        wrapping: The keys they lay under, such as `state_dict`; empty where they lay open.
        left_out: Names of the file's arrays that the network has no place for.
        way: How the file's layers were paired with the network's; empty for names alone.
    """

    tensors: dict[str, Tensor]
    wrapping: str = ""
    left_out: tuple[str, ...] = ()
    way: str = ""


@dataclass(frozen=True)
class Match:
    """What became of each tensor when weights met a network.

    Attributes:
        matched: Names that both have, in one shape.
        missing: Names that only the network has.
        unexpected: Names that only the file has.
        mismatched: Name, the network's shape and the file's, where these differ.
        stripped: The prefix taken off the file's names.
        wrapping: The keys the file's tensors lay under.
        way: How layers were paired, where not by the names of their tensors alone.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    stripped: str = ""
    wrapping: str = ""
    way: str = ""

    @property
    def complete(self) -> bool:
        """Whether network and file have the same tensors in the same shapes."""
        return not (self.missing or self.unexpected or self.mismatched)


def read(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a weights file by name, on the CPU; see `load`."""
    return load(path).tensors


def load(path: Path) -> Checkpoint:
    """Reads a weights file and takes it out of its wrapping; no code in it is run.

    Args:
        path: A `.safetensors` file, or one that torch saved: `.pth`, `.pt`, `.th`, `.bin`, `.ckpt`.

    Raises:
        WeightsError: Where the file is absent, of another kind, damaged, holds no named tensors,
            or could run code.
    """
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise WeightsError(f"{path}: no such weights file.{did_you_mean(path.name, siblings)}")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return _unwrap(_read_safetensors(path), path)
    if suffix in PICKLED:
        return _unwrap(_unpickle(path), path)
    kind = "Keras weights" if suffix in {".h5", ".keras"} else f"{suffix or 'nameless'} files"
    raise WeightsError(
        f"{path}: {kind} are not read; known are {', '.join(SUFFIXES)}. "
        "Convert it to .safetensors with the network's own names."
    )


def compare(module: nn.Module, state: Mapping[str, Tensor]) -> tuple[Match, dict[str, Tensor]]:
    """Compares weights with a network and changes neither.

    Prefixes such as `module.` are taken off where that makes more names match.

    Returns:
        The match, and the weights under their names without the prefix.
    """
    own = module.state_dict()
    stripped = _best_prefix(state, own)
    renamed = {_strip(name, stripped): tensor for name, tensor in state.items()}
    shapes = {
        name: (tuple(own[name].shape), tuple(renamed[name].shape))
        for name in own
        if name in renamed
    }
    match = Match(
        matched=tuple(n for n in own if n in shapes and shapes[n][0] == shapes[n][1]),
        missing=tuple(n for n in own if n not in renamed and not n.endswith(_COUNTER)),
        unexpected=tuple(n for n in renamed if n not in own),
        mismatched=tuple(
            (n, *shapes[n]) for n in own if n in shapes and shapes[n][0] != shapes[n][1]
        ),
        stripped="".join(stripped),
    )
    return match, renamed


def apply(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: str,
    partial: bool | None,
    wrapping: str = "",
) -> Match:
    """Loads weights into a network, all that belongs to it or nothing.

    A classifier that the file has and the network was built without is left over and no error.

    Args:
        module: The network; unchanged where this raises.
        state: Tensors by name, such as `load` gives.
        where: What is loaded into what, for messages.
        partial: Load what matches, and leave the rest of the network as it is. None is False
            where the user has no such choice, so that the message does not offer it.
        wrapping: The keys the tensors lay under, for the report.

    Raises:
        WeightsError: Where tensors are missing, left over or of another shape and `partial` is
            not set, or where nothing matches at all.
    """
    match, renamed = compare(module, state)
    match = replace(match, wrapping=wrapping)
    if not match.matched or not (partial or _fits(module, match)):
        raise WeightsError(_misfit(match, where, _advice(match, partial)))
    # Some modules, such as MNASNet, ask which version of their own wrote the weights.
    own = module.state_dict()
    taken = type(own)((name, renamed[name]) for name in match.matched)
    taken._metadata = getattr(own, "_metadata", None)  # type: ignore[attr-defined]
    module.load_state_dict(taken, strict=False)
    return match


def table(match: Match) -> list[str]:
    """Returns the lines that say what matched, what was missing and what was left over."""
    notes = [f"paired by {match.way}"] if match.way else []
    notes += [f"found under {match.wrapping}"] if match.wrapping else []
    notes += [f"'{match.stripped}' taken off the names"] if match.stripped else []
    shapes = [_shapes(one) for one in match.mismatched]
    rows = [("matched", len(match.matched), "; ".join(notes))]
    rows += [("missing", len(match.missing), few(match.missing))]
    rows += [("other shape", len(shapes), few(shapes, "; "))]
    rows += [("left over", len(match.unexpected), few(match.unexpected))]
    return [f"{what:<12}{count:>6}  {said}".rstrip() for what, count, said in rows]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path, device="cpu"))
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: not a whole safetensors file ({error}). Fetch it again."
        ) from error


def _unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            # torch warns of pickle protocols it knows less well; it still reads or refuses them.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}.") from error
    # On a file that is not its own, torch's reader raises whatever its parser stumbles over.
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WeightsError:
    code = _CODE.search(str(error))
    if code is None and not (isinstance(error, pickle.UnpicklingError) and _calls(path)):
        reason = f"{type(error).__name__}: {_first_line(error)}".rstrip(": ")
        return WeightsError(f"{path}: torch cannot read it as weights ({reason}). Fetch it again.")
    what = f"needs {code['what']}" if code and code["what"] else "holds more than tensors"
    return WeightsError(
        f"{path}: refused: this pickle {what}, and pickles can run code; nothing was run. Where "
        "you trust it, load it with torch elsewhere and save its tensors alone as .safetensors."
    )


def _calls(path: Path) -> bool:
    """Whether a file reads as a pickle that calls something; it is taken apart, never run."""
    try:
        with path.open("rb") as file:
            return any(operation.name in _CALLS for operation, _, _ in pickletools.genops(file))
    except ValueError:
        return False


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The reason stands after torch's advice, which does not help here.
    told = [line for line in lines if line.startswith("Unsupported")] or lines
    return told[0][:120] if told else ""


def _unwrap(value: Any, path: Path) -> Checkpoint:
    wrapping: list[str] = []
    while isinstance(value, Mapping) and len(wrapping) < _DEEPEST:
        known = (key for key in (*WRAPPINGS, *AVERAGES) if isinstance(value.get(key), Mapping))
        key = next((key for key in known if value[key]), None)
        if key is None:
            break
        value = value[key]
        wrapping.append(key)
    if not isinstance(value, Mapping):
        raise WeightsError(
            f"{path}: holds a {type(value).__name__}, where a table of named tensors must be."
        )
    tensors = {str(key): part for key, part in value.items() if isinstance(part, Tensor)}
    if not tensors:
        raise WeightsError(
            f"{path}: no named tensors in it; its keys are {few([str(k) for k in value])}. "
            f"Weights are looked for at the top and under {', '.join((*WRAPPINGS, *AVERAGES))}."
        )
    return Checkpoint(tensors, ".".join(wrapping))


def _best_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Returns the prefixes to take off, outermost first, so that most names match."""
    present = [p for p in PREFIXES if any(p in name for name in state)]
    chains = [c for size in range(1, _DEEPEST + 1) for c in product(present, repeat=size)]
    best: tuple[str, ...] = ()
    most = sum(name in own for name in state)
    for chain in chains:
        if not any(name.startswith("".join(chain)) for name in state):
            continue
        renamed = [_strip(name, chain) for name in state]
        count = sum(name in own for name in renamed)
        if count > most and len(set(renamed)) == len(renamed):
            best, most = chain, count
    return best


def _strip(name: str, chain: Iterable[str]) -> str:
    return name.removeprefix("".join(chain))


def _fits(module: nn.Module, match: Match) -> bool:
    if match.missing or match.mismatched:
        return False
    config = getattr(module, "pretrained_cfg", None) or {}
    named = config.get("classifier") or ()
    classifiers = tuple(f"{c}." for c in ((named,) if isinstance(named, str) else named))
    headless = getattr(module, "num_classes", None) == 0 and bool(classifiers)
    return all(headless and name.startswith(classifiers) for name in match.unexpected)


def _misfit(match: Match, where: str, advice: str) -> str:
    total = len(match.matched) + len(match.missing) + len(match.mismatched)
    parts = [f"{len(match.matched)} of the network's {total} tensors match"]
    if match.missing:
        parts.append(f"{len(match.missing)} missing ({few(match.missing)})")
    if match.mismatched:
        shapes = [_shapes(one) for one in match.mismatched]
        parts.append(f"{len(shapes)} of another shape ({few(shapes, '; ')})")
    if match.unexpected:
        parts.append(f"{len(match.unexpected)} left over ({few(match.unexpected)})")
    return f"{where}: the weights do not fit: {', '.join(parts)}. {advice}"


def _advice(match: Match, partial: bool | None) -> str:
    if partial is None:
        return (
            "Its config.json and its weights do not belong together, or the name's arguments "
            "change the network."
        )
    if not match.matched:
        return "Choose the architecture that the weights were made for."
    outputs = {got[0] for _, want, got in match.mismatched if want[1:] == got[1:] and got}
    only_outputs = len(outputs) == 1 and len(match.mismatched) <= 2
    if only_outputs and not (match.missing or match.unexpected):
        count = outputs.pop()
        return (
            f"They seem to have {count} classes: add num_classes={count} to the name "
            f"(timm:NAME?num_classes={count}), or load what matches with --partial."
        )
    return (
        "Choose the architecture and arguments that the weights were made for, or load what "
        "matches with --partial."
    )


def _shapes(one: tuple[str, tuple[int, ...], tuple[int, ...]]) -> str:
    name, want, got = one
    return f"{name}: network {list(want)}, file {list(got)}"


def few(names: Sequence[str], separator: str = ", ") -> str:
    """Returns the first of many names, for messages."""
    more = f"{separator}…" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more
