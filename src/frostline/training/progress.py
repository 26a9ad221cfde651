"""How far a run has come: history, proofs of the freeze, and checkpoints."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from frostline.base import files
from frostline.base.console import Console
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.run.folder import RunFolder
from frostline.training import checkpoint
from frostline.training.checkpoint import Checkpoint, CheckpointClock
from frostline.training.state import TrainState
from frostline.training.trackers import Trackers

SHOWN = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


@dataclass
class RunProgress:
    """How far a run has come.

    Attributes:
        run: Its folder.
        console: Where words go.
        trackers: Who else is told.
        bound: What a checkpoint is bound to: digests of images and weights.
        ground: What the run goes on, from `checkpoint_environment`: with another, bits differ.
        histograms: Whether `trackers` get histograms.
        history: One record per epoch and stage.
        proofs: What was frozen and trained, one for each finished stage.
        cross_validation: The probe's score over all folds; None where there is none.
        clock: When checkpoints are due.
    """

    run: RunFolder
    console: Console
    trackers: Trackers
    bound: Mapping[str, str]
    ground: Mapping[str, str]
    histograms: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    proofs: list[dict[str, Any]] = field(default_factory=list)
    cross_validation: dict[str, Any] | None = None
    clock: CheckpointClock = field(default_factory=CheckpointClock)

    def save(
        self,
        number: int,
        trainable: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        state: TrainState | None = None,
    ) -> None:
        """Writes a checkpoint: stage `number` is to be begun, or is in `state`.

        Raises:
            DiskError: Where it cannot be written; the one before it still stands.
        """
        begun = time.perf_counter()
        facts, tensors = checkpoint.pack(trainable, optimizer, state)
        facts |= {
            "stage": number,
            "bound": dict(self.bound),
            "ground": dict(self.ground),
            "history": self.history,
            "proofs": self.proofs,
            "cross_validation": self.cross_validation,
        }
        checkpoint.write(self.run.checkpoint, facts, tensors)
        self.clock.wrote(time.perf_counter() - begun)

    def restore(self, found: Checkpoint) -> None:
        """Takes over history and proofs from a checkpoint."""
        self.history = list(found.facts["history"])
        self.proofs = list(found.facts["proofs"])
        self.cross_validation = found.facts.get("cross_validation")
        for name, now in self.ground.items():
            before = found.facts["ground"][name]
            if before != now:
                self.console.say(
                    f"{name}: the checkpoint is of {before}, and the run goes on with {now}; "
                    "results agree, but not to the last bit"
                )

    def note(self, line: dict[str, Any]) -> None:
        """Adds a record to the history, on disk too, and tells the trackers."""
        self.history.append(line)
        self.run.write_history(self.history)
        numbers = {key: line[key] for key in (*SHOWN, "lr") if key in line}
        self.trackers.scalars(numbers, len(self.history))


def checkpoint_binding(model: Classifier, listing: str) -> dict[str, str]:
    """Returns what a checkpoint is bound to: the images and the network's weights.

    Args:
        model: Before anything is trained.
        listing: The digest of the images with their labels and splits.
    """
    return {"images": listing, "weights": files.tensors_digest(model.module)}


def checkpoint_environment(model: Classifier) -> dict[str, str]:
    """Returns what a run goes on, and the last bits with it: threads, device, precision, engine."""
    engine = model.engine
    return {
        "threads": str(torch.get_num_threads()),
        "device": engine.device.type,
        "precision": classifiers.PRECISION_NAMES[model.trainable.compute],
        "engine": engine.name.partition("-")[0],
    }
