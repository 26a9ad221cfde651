"""How a stage trains, and how far it has come."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from frostline.base.errors import LossError
from frostline.base.memory import Parts
from frostline.model.suffix import SuffixWithHead
from frostline.training.examples import Fetch, batch_count
from frostline.training.scoring import Score

Rate = Callable[[int, int], float]


@dataclass(frozen=True)
class TrainSettings:
    """How a stage trains.

    Attributes:
        epochs: Passes over the training images.
        steps: Optimiser steps instead; 0 counts epochs.
        batch_size: Images per forward pass.
        accumulate: Forward passes per step.
        label_smoothing: In [0, 1).
        batch_norm: `frozen` keeps the suffix's stored statistics, `train` updates them.
        clip: Largest norm of all gradients together; 0 for no limit.
        ema: Decay of the moving average of the weights; 0 for none.
        stop_after: The epoch after which the stage ends, whatever its schedule; 0 for none.
        patience: Epochs without a better score after which the stage ends; 0 for all.
        mixup: Of pairs of activations, by Beta(mixup, mixup); 0 for none.
        noise: On activations, as a share of a batch's standard deviation.
        balance: `none`, `weights` or `sampling`.
        kind: Of the targets; see `objectives`.
        classes: How many there are.
        seed: Decides order, dropout, mixing and noise.
        select: `best` keeps the best epoch on validation; `last` the end of the schedule, if it is
            better than the start; `end` the end of the schedule in any case.
    """

    epochs: int
    batch_size: int
    steps: int = 0
    accumulate: int = 1
    label_smoothing: float = 0.0
    batch_norm: str = "frozen"
    clip: float = 0.0
    ema: float = 0.0
    stop_after: int = 0
    patience: int = 0
    mixup: float = 0.0
    noise: float = 0.0
    balance: str = "none"
    kind: str = "multiclass"
    classes: int = 2
    seed: int = 0
    select: str = "best"


@dataclass
class TrainState:
    """How far a stage has come: all that going on needs, besides weights and optimiser.

    Attributes:
        epoch: The one under way, from 1.
        batch: Batches of it that are done.
        step: Optimiser steps done in the stage.
        loss_sum: Over the images of this epoch so far.
        correct: How many of them were classified rightly.
        seen: How many they are.
        seconds: What this epoch has taken so far.
        first: The score before the first epoch.
        best: The best score on validation.
        best_epoch: When that was; 0 before the first.
        best_weights: The weights of that time.
        averaged: The moving average of the weights; empty for none.
        finished: Whether the stage is over.
        scoring_s: What the last scoring on validation took.
        last: The score after the last epoch that is done.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    first: Score | None = None
    best: Score | None = None
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    averaged: dict[str, Tensor] = field(default_factory=dict)
    finished: bool = False
    scoring_s: float = 0.0
    last: Score | None = None


@dataclass(frozen=True)
class Running:
    """What stays the same throughout a stage.

    Attributes:
        trainable: Suffix and head, on `device`.
        optimizer: Of its parameters; each group's `peak_lr` is what `rate` multiplies.
        rate: Step and number of all steps to a factor.
        fetch: Row ids to activations at the line.
        settings: How to train.
        device: Where `trainable` is.
        steps: Optimiser steps of the whole stage.
        parts: How much of a batch is taken at once.
    """

    trainable: SuffixWithHead
    optimizer: torch.optim.Optimizer
    rate: Rate
    fetch: Fetch
    settings: TrainSettings
    device: torch.device
    steps: int
    parts: Parts


def step_count(images: int, settings: TrainSettings) -> int:
    """Returns how many optimiser steps a stage takes if it is not ended early."""
    return settings.steps or settings.epochs * -(
        -batch_count(images, settings.batch_size) // settings.accumulate
    )


def loss_error(run: Running, state: TrainState) -> LossError:
    """Returns the error of a loss that is no longer a number, with what may help."""
    kept = f"epoch {state.best_epoch}" if state.best_epoch else "before this stage"
    other = "; or --precision fp32 with another --out" if is_half(run.trainable) else ""
    return LossError(
        f"the loss is no longer a number in epoch {state.epoch}, step {state.step}; the state of "
        f"{kept} is kept. Try a learning rate ten times smaller or clip = 1.0, with which the same "
        f"command goes on from there{other}."
    )


def is_half(trainable: SuffixWithHead) -> bool:
    """Says whether it computes in half precision."""
    return trainable.compute.itemsize == 2


def seed_of(*numbers: int) -> int:
    """Returns a seed that these numbers alone decide."""
    text = ":".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "little")
