"""Carrying out a recipe's stages: training, checkpoints, resuming, and the proof of the freeze."""

import contextlib
import copy
import math
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from frostline.activations import engines
from frostline.activations.cut_network import prefix_digest
from frostline.activations.extraction import ImageView
from frostline.activations.sources import Source
from frostline.base import signals as interrupt
from frostline.base.ahead import TRAIN
from frostline.base.console import Console
from frostline.base.errors import LossError, TrainingError
from frostline.base.memory import Parts
from frostline.model import classifier as models
from frostline.model.classifier import Classifier
from frostline.recipe import Stage
from frostline.training import checkpoint, examples, loop, parameters, schedules
from frostline.training.checkpoint import Checkpoint
from frostline.training.examples import Examples
from frostline.training.progress import SHOWN, RunProgress
from frostline.training.state import TrainSettings, TrainState, step_count
from frostline.training.trackers import histogram_tensors

SAMPLE = 16
# Scoring that takes longer than this begins with a checkpoint.
LONG_S = 5.0


@dataclass(frozen=True)
class StageTask:
    """One stage with all it works on.

    Attributes:
        number: From 0.
        count: Of all stages.
        stage: What the recipe says.
        model: Cut at the stage's line.
        source: Its activations.
        images: How many are trained on.
        examples_of: Epoch to training examples, made ready.
        validation: None where there are no validation images.
        sample: A few images whose kept activations are compared with live ones.
        seed: Of this stage.
    """

    number: int
    count: int
    stage: Stage
    model: Classifier
    source: Source
    images: int
    examples_of: Callable[[int], Examples]
    validation: Examples | None
    sample: Mapping[bytes, ImageView]
    seed: int


def run_stage(task: StageTask, progress: RunProgress, found: Checkpoint | None) -> None:
    """Trains one stage, from its start or from a checkpoint, and leaves its best state.

    Args:
        task: The stage.
        progress: Of the run; history, proofs and checkpoints go there.
        found: A checkpoint of this stage.

    Raises:
        Interrupted: After a checkpoint, where a signal asked to end.
        LossError: Where the loss is no longer a number; the best state is in the checkpoint.
        TrainingError: Where a tracker fails; what was trained is in the checkpoint. Or where the
            stage cannot train on so few images, or changed what is frozen.
        RunError: Where the checkpoint does not fit.
    """
    model = task.model
    trainable = model.trainable
    thaw(task)
    optimizer = make_optimizer(task)
    state = checkpoint.unpack(found, trainable, optimizer) if found else TrainState()
    frozen = prefix_digest(model)
    # A signal is obeyed once what the stage came to is in the checkpoint.
    with interrupt.deferred() as request, dropouts_kept(task) as dropouts:
        _tell(task, progress.console, dropouts, state)
        try:
            with engines.threads(threads(task)):
                _train_epochs(task, progress, optimizer, state, request)
        except LossError as error:
            # The best state is the start of this stage for whoever tries again; what led there is
            # not told twice.
            number = task.number + 1
            progress.history = [line for line in progress.history if line["stage"] != number]
            progress.save(task.number, trainable)
            raise LossError(f"stages.{task.number}: {error}") from error
        progress.proofs.append(_freeze_proof(task, frozen, state))
        _report_proof(progress.proofs[-1], progress.console)
        progress.save(task.number + 1, trainable)
        request.obey()


def thaw(task: StageTask) -> None:
    """Lets what lies above the line be trained, and nothing else."""
    task.model.module.requires_grad_(False)
    task.model.trainable.requires_grad_(True)


def threads(task: StageTask) -> int | None:
    """Returns how many threads train a stage soonest; None for all."""
    only_vectors = task.model.line.is_vector
    return 1 if only_vectors else None


def _train_epochs(
    task: StageTask,
    progress: RunProgress,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
    request: interrupt.Request,
) -> None:
    if state.finished:
        return
    stage, model = task.stage, task.model
    steps = step_count(task.images, train_settings(task))
    batches = examples.batch_count(task.images, stage.batch_size)
    parts = Parts()
    lines = training(task, optimizer, state, parts)
    what = f"training stage {task.number + 1} of {task.count}"
    shown = progress.console.bar(steps - state.step, what, "step", TRAIN)
    least = 0
    with contextlib.closing(lines), shown as bar:
        for line in lines:
            scores_next = False
            if parts.most != least:
                least = parts.most
                progress.console.say(f"Memory ran out: {least} at a time, added up")
            if line is None:
                mean = state.loss_sum / state.seen
                bar.advance(1, f"loss {mean:.4f}, accuracy {state.correct / state.seen:.4f}")
                scores_next = state.batch == batches or state.step == steps
            else:
                try:
                    _note_epoch(task, progress, line)
                except TrainingError:
                    # A tracker failed; the training is as good as ever.
                    progress.save(task.number, model.trainable, optimizer, state)
                    raise
            is_due = progress.clock.is_due() or (scores_next and state.scoring_s > LONG_S)
            if request.number or is_due:
                progress.save(task.number, model.trainable, optimizer, state)
            request.obey()


def training(
    task: StageTask,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
    parts: Parts | None = None,
) -> Generator[dict[str, Any] | None, None, None]:
    """Returns the loop over a stage's steps, as `loop.train` has it."""
    stage = task.stage
    return loop.train(
        task.model.trainable,
        optimizer,
        partial(schedules.factor, warmup=stage.warmup, schedule=stage.schedule),
        task.source.fetch,
        task.examples_of,
        task.validation,
        train_settings(task),
        task.model.engine.device,
        state,
        parts,
    )


def _note_epoch(task: StageTask, progress: RunProgress, line: dict[str, Any]) -> None:
    progress.note({"stage": task.number + 1, "kind": "train", **line})
    parts = [f"{key.replace('_', ' ')} {line[key]:.4f}" for key in SHOWN if key in line]
    total = "" if task.stage.steps else f"/{task.stage.epochs}"
    progress.console.detail(
        f"  epoch {line['epoch']}{total}: {', '.join(parts)}, {line['seconds']:.1f} s"
    )
    if progress.histograms:
        tensors = histogram_tensors(task.model.module, "backbone")
        tensors |= histogram_tensors(task.model.trainable.head, "head")
        progress.trackers.histograms(tensors, len(progress.history))


@contextlib.contextmanager
def trial(task: StageTask) -> Iterator[Callable[[float], float]]:
    """Gives a function that trains a copy of suffix and head for one step at a rate.

    For the learning-rate finder: the rate is the head's, the suffix's follows as in the stage, and
    all else is as in the stage but for what comes of many steps: no average, no early end.

    Args:
        task: The stage; it stays as it is.

    Yields:
        A rate to the loss of the step, which is NaN where it is no longer a number.
    """
    model, stage = task.model, task.stage
    task = replace(task, model=replace(model, trainable=copy.deepcopy(model.trainable)))
    trainable = task.model.trainable
    trainable.requires_grad_(True)
    set_dropout(trainable, stage.dropout)
    state, now = TrainState(), 0.0
    lines = loop.train(
        trainable,
        make_optimizer(task),
        lambda step, steps: now / stage.lr,
        task.source.fetch,
        task.examples_of,
        None,
        replace(train_settings(task), steps=sys.maxsize, ema=0.0, patience=0),
        model.engine.device,
        state,
    )

    def step(rate: float) -> float:
        nonlocal now
        now = rate
        loss_sum, seen = state.loss_sum, state.seen
        try:
            while next(lines) is not None:
                # An epoch has ended, and its sums begin anew.
                loss_sum, seen = 0.0, 0
        except LossError:
            return math.nan
        return (state.loss_sum - loss_sum) / (state.seen - seen)

    with contextlib.closing(lines), engines.threads(threads(task)):
        yield step


def make_optimizer(task: StageTask) -> torch.optim.Optimizer:
    """Returns the stage's optimiser over suffix and head."""
    stage, trainable = task.stage, task.model.trainable
    depths = models.depths(task.model) if stage.layer_decay < 1 else None
    undecayed: Collection[str] = getattr(task.model.module, "no_weight_decay", tuple)()
    made = parameters.groups(
        trainable.suffix,
        trainable.head,
        stage.lr,
        stage.suffix_lr,
        stage.weight_decay,
        depths,
        stage.layer_decay,
        undecayed,
    )
    return parameters.make_optimizer(stage.optimizer, made)


def train_settings(task: StageTask) -> TrainSettings:
    """Returns how the loop is to train, as the stage says."""
    stage = task.stage
    return TrainSettings(
        epochs=stage.epochs,
        steps=stage.steps,
        batch_size=stage.batch_size,
        accumulate=stage.accumulate,
        label_smoothing=stage.label_smoothing,
        batch_norm=stage.batch_norm,
        clip=stage.clip,
        ema=stage.ema,
        stop_after=stage.stop_after,
        patience=stage.patience,
        mixup=stage.mixup,
        noise=stage.noise,
        balance=stage.balance,
        kind=task.model.targets,
        classes=len(task.model.labels),
        seed=task.seed,
        select=stage.select,
    )


def set_dropout(trainable: nn.Module, rate: float | None) -> int | None:
    """Sets every dropout of `trainable`; returns how many there are, None if `rate` is None."""
    if rate is None:
        return None
    found = _dropouts(trainable)
    for module in found:
        module.p = rate
    return len(found)


@contextlib.contextmanager
def dropouts_kept(task: StageTask) -> Iterator[int | None]:
    """Sets dropouts as the stage says, and back at the end: they are no other stage's.

    Yields:
        How many there are; None where the stage says nothing of them.
    """
    before = [(module, module.p) for module in _dropouts(task.model.trainable)]
    try:
        yield set_dropout(task.model.trainable, task.stage.dropout)
    finally:
        for module, rate in before:
            module.p = rate


def _dropouts(trainable: nn.Module) -> list[_DropoutNd]:
    return [module for module in trainable.modules() if isinstance(module, _DropoutNd)]


def count(model: Classifier) -> dict[str, int]:
    """Returns how many tensors and parameters are trained and frozen."""
    trained = {id(value): value.numel() for value in model.trainable.parameters()}
    below = {id(value): value.numel() for value in model.prefix.parameters()}
    frozen = {key: size for key, size in below.items() if key not in trained}
    return {
        "trained_tensors": len(trained),
        "trained_parameters": sum(trained.values()),
        "frozen_tensors": len(frozen),
        "frozen_parameters": sum(frozen.values()),
    }


def _freeze_proof(task: StageTask, before: str, state: TrainState) -> dict[str, Any]:
    """Says what was frozen, that it stayed so bit for bit, and what came of the training.

    Raises:
        TrainingError: Where something below the line changed.
    """
    model = task.model
    after = prefix_digest(model)
    if after != before:
        raise TrainingError(
            f"stages.{task.number}: training changed what lies below line {model.line.name!r}, "
            "which is frozen, so activations that were kept no longer hold. This is a bug: please "
            "report the backbone's name. A stage with line = 'top' trains the head alone."
        )
    # What computes live was made before the stage; with equal digests it is the network of now.
    first, best = state.first, state.best
    return {
        "stage": task.number + 1,
        "line": model.line.name,
        **count(model),
        "frozen_digest": before,
        "frozen_digest_after": after,
        "unchanged": before == after,
        "cached_against_live": task.source.against_live(task.sample),
        "kept": best is None or state.best_epoch > 0,
        "best_epoch": state.best_epoch,
        "val_accuracy_before": first.accuracy if first else None,
        "val_accuracy": best.accuracy if best else None,
    }


def _tell(task: StageTask, console: Console, dropouts: int | None, state: TrainState) -> None:
    stage, model = task.stage, task.model
    numbers = count(model)
    length = f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}"
    if stage.steps:
        length = f"{stage.steps} step{'s' * (stage.steps != 1)}"
    decay = f", × {stage.layer_decay:g} a block" if stage.layer_decay < 1 else ""
    suffix = ""
    if any(True for _ in model.trainable.suffix.parameters()):
        suffix = f", {stage.lr * stage.suffix_lr:g} (suffix{decay})"
    console.detail(
        f"stage {task.number + 1} of {task.count}: line {model.line.name}, "
        f"{numbers['trained_tensors']} tensors with {numbers['trained_parameters']:,} parameters "
        f"trained, {numbers['frozen_tensors']} with {numbers['frozen_parameters']:,} frozen; "
        f"{length}, {stage.optimizer}, rate {stage.lr:g} (head){suffix}"
    )
    if dropouts == 0:
        console.say(f"  dropout = {stage.dropout:g}: there is no dropout above this line")
    if state.step or state.epoch > 1:
        console.detail(f"  goes on in epoch {state.epoch} after step {state.step}")


def _report_proof(proof: Mapping[str, Any], console: Console) -> None:
    words = "kept" if proof["kept"] else "not kept: validation did not get better"
    if proof["kept"] and proof["best_epoch"] and proof["val_accuracy"] is not None:
        words = f"kept from epoch {proof['best_epoch']}, val accuracy {proof['val_accuracy']:.4f}"
    console.detail(
        f"  {words}; what lies below {proof['line']} is unchanged, bit for bit; cached against "
        f"live activations differ by {proof['cached_against_live']:.2g}"
    )
