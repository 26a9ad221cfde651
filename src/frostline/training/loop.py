"""One stage: the suffix and the head are trained on activations, and the best state is kept.

What the loop draws at random is decided by the seed, the epoch and the batch alone, so a stage
that is resumed in the middle draws what it would have drawn.
"""

import contextlib
import copy
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from frostline.base.errors import LossError, TrainingError
from frostline.base.memory import Parts
from frostline.model.suffix import SuffixWithHead
from frostline.training import objectives
from frostline.training.examples import Examples, Fetch, batch_ends, batches
from frostline.training.gradients import add_gradients, is_trained_norm
from frostline.training.scoring import Score, score
from frostline.training.state import (
    Rate,
    Running,
    TrainSettings,
    TrainState,
    is_half,
    loss_error,
    seed_of,
    step_count,
)


def train(
    trainable: SuffixWithHead,
    optimizer: torch.optim.Optimizer,
    rate: Rate,
    fetch: Fetch,
    examples_of: Callable[[int], Examples],
    validation: Examples | None,
    settings: TrainSettings,
    device: torch.device,
    state: TrainState,
    parts: Parts | None = None,
) -> Generator[dict[str, Any] | None, None, None]:
    """Trains `trainable` in place, step by step, and leaves it at its best state on `validation`.

    The state before the first epoch takes part, so a stage never makes things worse there.
    Without validation images the last state stays. Between two steps, when the caller has its
    turn, `trainable`, `optimizer` and `state` are all that going on needs. Close the generator to
    end early: until then the caller's random numbers are not put back.

    Args:
        trainable: Suffix and head, on `device`.
        optimizer: Of its parameters; each group's `peak_lr` is what `rate` multiplies.
        rate: Step and number of all steps to a factor.
        fetch: Row ids to activations at the line.
        examples_of: Epoch, from 1, to what to train on; always as many.
        validation: What the best state is chosen on.
        settings: How to train.
        device: Where `trainable` is.
        state: Where the stage stands; a fresh one starts it.
        parts: How much of a batch is taken at once; its gradients are added up, so what is learned
            is the same but for rounding, and for which numbers dropout draws.

    Yields:
        None after each step, and after each epoch its history record.

    Raises:
        LossError: Where the loss is no longer a number; `trainable` is left at its best state.
        TrainingError: Where batch norms are trained on a single image.
    """
    if state.finished:
        return
    training = examples_of(state.epoch)
    train_mode(trainable, settings.batch_norm)
    if len(training.rows) == 1 and any(is_trained_norm(module) for module in trainable.modules()):
        raise TrainingError(
            "batch norms are trained, and one training image alone is nothing to take a mean and "
            'a deviation of. Add images, or write batch_norm = "frozen" and a head without them.'
        )
    run = Running(
        trainable,
        optimizer,
        rate,
        fetch,
        settings,
        device,
        step_count(len(training.rows), settings),
        Parts() if parts is None else parts,
    )
    weights = None
    if settings.balance == "weights":
        weights = objectives.class_weights(training.targets, settings.kind, settings.classes).to(
            device
        )
    if not state.best_weights:
        _begin(run, validation, state)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        while not state.finished:
            yield from _epoch(run, training, weights, state)
            line = _close(run, validation, state)
            yield line
            if not state.finished:
                training = examples_of(state.epoch)


def _begin(run: Running, validation: Examples | None, state: TrainState) -> None:
    if validation:
        state.first = state.best = _scored(run, validation, state)
        if not math.isfinite(state.first.loss):
            advice = " Try --precision fp32 with another --out." if is_half(run.trainable) else ""
            raise LossError(
                "the loss on validation is no number before the first step: the activations of "
                f"the network itself are too large.{advice}"
            )
    state.best_weights = copy.deepcopy(run.trainable.state_dict())
    if run.settings.ema:
        state.averaged = copy.deepcopy(run.trainable.state_dict())


def _epoch(
    run: Running, training: Examples, weights: Tensor | None, state: TrainState
) -> Iterator[dict[str, Any] | None]:
    """Goes through what is left of an epoch; yields after each step."""
    settings = run.settings
    order = _order(training, settings, state.epoch)
    train_mode(run.trainable, settings.batch_norm)
    loaded = batches(run.fetch, training, order, settings.batch_size, skip=state.batch)
    ends = batch_ends(len(order), settings.batch_size)
    left = len(ends) - 1 - state.batch
    with contextlib.closing(loaded):
        while left and state.step < run.steps:
            begun = time.perf_counter()
            together = min(settings.accumulate, left)
            images = ends[state.batch + together] - ends[state.batch]
            for group in run.optimizer.param_groups:
                group["lr"] = group["peak_lr"] * run.rate(state.step, run.steps)
            run.optimizer.zero_grad(set_to_none=True)
            for x, targets in itertools.islice(loaded, together):
                add_gradients(run, x, targets, weights, images, state)
                state.batch += 1
            if settings.clip:
                nn.utils.clip_grad_norm_(run.trainable.parameters(), settings.clip)
            run.optimizer.step()
            _average(run, state)
            state.step += 1
            left -= together
            state.seconds += time.perf_counter() - begun
            yield None


def _average(run: Running, state: TrainState) -> None:
    if state.averaged:
        own = run.trainable.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        # Early on, a long memory would be of little but the start.
        decay = min(run.settings.ema, (1 + state.step) / (10 + state.step))
        update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        update([state.averaged[name] for name in floats], [own[name] for name in floats], None)


def _close(run: Running, validation: Examples | None, state: TrainState) -> dict[str, Any]:
    """Scores an epoch, keeps what is best, and makes ready for the next one."""
    begun = time.perf_counter()
    settings = run.settings
    line: dict[str, Any] = {
        "epoch": state.epoch,
        "step": state.step,
        "train_loss": state.loss_sum / state.seen,
        "train_accuracy": state.correct / state.seen,
        "lr": run.optimizer.param_groups[-1]["peak_lr"] * run.rate(state.step - 1, run.steps),
    }
    is_end = state.step >= run.steps or state.epoch == settings.stop_after
    own = copy.deepcopy(run.trainable.state_dict()) if state.averaged else {}
    if state.averaged:
        run.trainable.load_state_dict(state.averaged)
    if validation and state.best:
        now = _scored(run, validation, state)
        if not math.isfinite(now.loss):
            run.trainable.load_state_dict(state.best_weights)
            raise loss_error(run, state)
        line |= {"val_loss": now.loss, "val_accuracy": now.accuracy}
        line |= {"val_scaled_loss": now.scaled_loss}
        state.last = now
        select = settings.select
        is_due = select == "best" or is_end
        if is_due and (select == "end" or now.better_than(state.best)):
            state.best, state.best_epoch = now, state.epoch
            state.best_weights = copy.deepcopy(run.trainable.state_dict())
    elif not all(bool(value.isfinite().all()) for value in run.trainable.parameters()):
        run.trainable.load_state_dict(state.best_weights)
        raise loss_error(run, state)
    else:
        state.best_weights = copy.deepcopy(run.trainable.state_dict())
        state.best_epoch = state.epoch
    # Where the end of the schedule is what counts, no epoch before it can be waited for.
    waits = settings.select == "best" or not validation
    idle = waits and state.epoch - state.best_epoch >= settings.patience > 0
    state.finished = is_end or idle
    if state.finished:
        run.trainable.load_state_dict(state.best_weights)
    elif own:
        run.trainable.load_state_dict(own)
    seconds = state.seconds + time.perf_counter() - begun
    state.epoch, state.batch = state.epoch + 1, 0
    state.loss_sum, state.correct, state.seen, state.seconds = 0.0, 0, 0, 0.0
    return {**line, "seconds": round(seconds, 3)}


def end_early(trainable: SuffixWithHead, state: TrainState, select: str) -> None:
    """Ends a stage between two epochs, as `stop_after` would have.

    Args:
        trainable: Suffix and head as training left them.
        state: Where the stage stands, after an epoch that was scored.
        select: Which state the stage ends with; see `recipe.Stage`.
    """
    last = state.last
    is_best = state.best is None or (last is not None and last.better_than(state.best))
    if last is not None and (select == "end" or is_best):
        state.best, state.best_epoch = last, state.epoch - 1
        state.best_weights = copy.deepcopy(state.averaged or trainable.state_dict())
    state.finished = True
    trainable.load_state_dict(state.best_weights)


def _scored(run: Running, validation: Examples, state: TrainState) -> Score:
    begun = time.perf_counter()
    found = score(run.trainable, run.fetch, validation, run.device, run.settings.kind)
    state.scoring_s = time.perf_counter() - begun
    return found


def _order(training: Examples, settings: TrainSettings, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed_of(settings.seed, epoch, -1))
    if settings.balance == "sampling":
        probabilities = objectives.sampling_weights(
            training.targets, settings.kind, settings.classes
        )
        drawn = torch.multinomial(
            probabilities, len(training.rows), replacement=True, generator=generator
        )
        return [int(index) for index in drawn]
    return [int(index) for index in torch.randperm(len(training.rows), generator=generator)]


def train_mode(trainable: SuffixWithHead, batch_norm: str) -> None:
    """Puts `trainable` in training mode.

    Where batch norms are `frozen`, those of the suffix stay in eval mode. The head's are new, so
    they always learn what to normalise by.
    """
    trainable.train()
    if batch_norm == "frozen":
        for module in trainable.suffix.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
