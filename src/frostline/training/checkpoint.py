"""Checkpoints: what a stage needs to go on exactly where it was.

One safetensors file, written atomically, with a digest of all it holds. Nothing is pickled. What
the loop draws at random follows from seed, epoch and batch, so no generator need be kept.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from frostline.base.errors import RunError
from frostline.base.files import save_tensors, write_atomic
from frostline.training.scoring import Score
from frostline.training.state import TrainState

FORMAT = 2
# A kill loses at most this long; and writing takes at most this share of the time, where both fit.
AT_MOST_S = 30.0
AT_LEAST_S = 1.0
# Half of what all checkpoints may take: where stages begin and end, others come on top.
SHARE = 0.005
# Names in the file that differ from those of `TrainState`, which were once the same.
_WEIGHTS = {"kept": "best_weights", "averaged": "averaged"}
_IN_FILE = {"correct": "right"}
_SCORES = ("first", "best", "last")


@dataclass(frozen=True)
class Checkpoint:
    """What was read.

    Attributes:
        facts: Plain values: what the run is, and where it stands.
        tensors: By name, on the CPU.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """Returns the tensors under `name.`, by the rest of their names."""
        start = f"{name}."
        return {
            key.removeprefix(start): value
            for key, value in self.tensors.items()
            if key.startswith(start)
        }


@dataclass
class CheckpointClock:
    """Says when the next checkpoint is due: a small share of the time, but every 30 seconds.

    Attributes:
        spent_s: What all checkpoints took.
        count: How many were written.
    """

    spent_s: float = 0.0
    count: int = 0
    _last: float = field(default_factory=time.monotonic)
    _cost: float = 0.0

    def is_due(self) -> bool:
        """Says whether one is to be written now."""
        wait = min(AT_MOST_S, max(AT_LEAST_S, self._cost / SHARE))
        return time.monotonic() - self._last >= wait

    def wrote(self, seconds: float) -> None:
        """Takes note of what one took."""
        self.spent_s += seconds
        self.count += 1
        self._cost, self._last = seconds, time.monotonic()


def write(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes a checkpoint; the one before it stands until this one is whole.

    Raises:
        DiskError: Where the disk is full or refuses; the one before it still stands.
    """
    own = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }
    text = json.dumps({"format": FORMAT, **facts}, allow_nan=False)
    metadata = {"facts": text, "digest": _digest(text, own)}
    write_atomic(path, lambda temporary: save_tensors(temporary, own, metadata))


def read(path: Path) -> Checkpoint | None:
    """Reads a checkpoint; None where there is none.

    Raises:
        RunError: Where it is damaged or of another version.
    """
    if not path.is_file():
        return None
    advice = "Remove it, and the run begins its training anew."
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
        tensors = dict(load_file(path))
        facts = json.loads(metadata["facts"])
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise RunError(f"{path}: not a whole checkpoint ({error}). {advice}") from error
    if metadata.get("digest") != _digest(metadata["facts"], tensors):
        raise RunError(f"{path}: its content is not what was written. {advice}")
    if facts.get("format") != FORMAT:
        raise RunError(f"{path}: was written by another version of Frostline. {advice}")
    return Checkpoint(facts, tensors)


def pack(
    trainable: nn.Module, optimizer: torch.optim.Optimizer | None, state: TrainState | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns a stage's facts and tensors; `unpack` is the way back.

    Args:
        trainable: Suffix and head.
        optimizer: None before a stage's first step.
        state: Likewise.
    """
    tensors = {f"upper.{name}": value for name, value in trainable.state_dict().items()}
    if optimizer is None or state is None:
        return {}, tensors
    for part, attribute in _WEIGHTS.items():
        tensors |= {f"{part}.{name}": value for name, value in getattr(state, attribute).items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    scalars = {
        _IN_FILE.get(item.name, item.name): getattr(state, item.name)
        for item in dataclasses.fields(state)
        if item.name not in _WEIGHTS.values()
    }
    for name in _SCORES:
        scalars[name] = dataclasses.asdict(scalars[name]) if scalars[name] else None
    trained = [name for name, value in trainable.named_parameters() if value.requires_grad]
    return {"state": scalars, "trained": trained}, tensors


def _difference(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Returns in words how tensors differ in names and shapes; nothing where they do not."""
    missing, added = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    shared = wanted.keys() & found.keys()
    reshaped = [name for name in shared if wanted[name].shape != found[name].shape]
    parts = []
    for names, what in ((missing, "not in it"), (added, "in it alone")):
        if names:
            parts.append(f"{len(names)} tensor{'s' * (len(names) != 1)} {what} ({min(names)})")
    if reshaped:
        name = min(reshaped)
        shapes = f"{list(found[name].shape)} in it, {list(wanted[name].shape)} here"
        count = f"{len(reshaped)} tensor{'s' * (len(reshaped) != 1)} of another shape"
        parts.append(f"{count} ({name}: {shapes})")
    return ", ".join(parts)


def unpack(
    found: Checkpoint, trainable: nn.Module, optimizer: torch.optim.Optimizer | None
) -> TrainState:
    """Puts a checkpoint's tensors back and returns the state; a fresh one at a stage's start.

    Raises:
        RunError: Where the checkpoint is of another network.
    """
    own = found.part("upper")
    if "state" not in found.facts:
        # Written when the stage before ended, whose line may lie higher; below that line weights
        # are still what they were.
        state = trainable.state_dict()
        own |= {k: v for k, v in state.items() if k.startswith("suffix.") and k not in own}
    if difference := _difference(own, trainable.state_dict()):
        raise RunError(f"the checkpoint is of another network: {difference}.")
    trainable.load_state_dict(own)
    if optimizer is None or "state" not in found.facts:
        return TrainState()
    trained = [name for name, value in trainable.named_parameters() if value.requires_grad]
    if trained != found.facts["trained"]:
        raise RunError("the checkpoint trains other tensors than this recipe does.")
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in found.part("optimizer").items():
        index, _, name = key.partition(".")
        states.setdefault(int(index), {})[name] = _lay_like(parameters[int(index)], value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    names = {in_file: name for name, in_file in _IN_FILE.items()}
    scalars = {names.get(key, key): value for key, value in found.facts["state"].items()}
    for name in _SCORES:
        scalars[name] = Score(**scalars[name]) if scalars.get(name) else None
    # Where they are compared with and loaded into what lies on the device.
    device = next(trainable.parameters()).device
    weights = {
        attribute: {name: value.to(device) for name, value in found.part(part).items()}
        for part, attribute in _WEIGHTS.items()
    }
    restored = TrainState(**scalars)
    for attribute, tensors in weights.items():
        setattr(restored, attribute, tensors)
    return restored


def _lay_like(parameter: Tensor, value: Tensor) -> Tensor:
    # The fused optimisers go through both as they lie in memory, whatever their strides say.
    if value.shape != parameter.shape:
        return value.clone()
    laid = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
    return laid.copy_(value)


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    state = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        state.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        state.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
