"""The gradients of one batch: mixed with itself, with noise, in parts where memory is short."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from frostline.training import objectives
from frostline.training.state import Running, TrainState, loss_error, seed_of


def add_gradients(
    run: Running, x: Tensor, targets: Tensor, weights: Tensor | None, images: int, state: TrainState
) -> None:
    """Adds the gradients of a batch, and notes its loss.

    Args:
        run: The stage.
        x: Activations of the batch at the line.
        targets: What they are.
        weights: Of classes; None for none.
        images: Of the whole step, over which gradients are averaged.
        state: Decides the random numbers; loss and hits are added to it.

    Raises:
        LossError: Where the loss is no longer a number; the best state is put back.
    """
    settings = run.settings
    torch.manual_seed(seed_of(settings.seed, state.epoch, state.batch))
    x, wanted = x.to(run.device, non_blocking=True), targets.to(run.device)
    other, share = wanted, 1.0
    if settings.mixup:
        share = float(torch.distributions.Beta(settings.mixup, settings.mixup).sample())
        # Each image keeps the larger share, so that its own label is what is right.
        share = max(share, 1 - share)
        partner = torch.randperm(len(x)).to(run.device)
        x, other = torch.lerp(x[partner].float(), x.float(), share), wanted[partner]
    if settings.noise:
        floats = x.float()
        x = floats + settings.noise * floats.std() * torch.randn_like(floats)

    def mixed(logits: Tensor, few: slice, smoothing: float, weights: Tensor | None) -> Tensor:
        loss = objectives.loss(logits, wanted[few], settings.kind, smoothing, weights)
        if share == 1:
            return loss
        rest = objectives.loss(logits, other[few], settings.kind, smoothing, weights)
        return share * loss + (1 - share) * rest

    def add(few: slice) -> None:
        logits = run.trainable(x[few])
        loss = mixed(logits, few, settings.label_smoothing, weights)
        # What is told is the plain loss, as on validation: smoothing and weights would shift it.
        told = (
            mixed(logits.detach(), few, 0.0, None)
            if settings.label_smoothing or weights is not None
            else loss
        )
        value = told.item()
        if not math.isfinite(value):
            run.trainable.load_state_dict(state.best_weights)
            raise loss_error(run, state)
        _backward(run, loss * (len(logits) / images))
        state.loss_sum += value * len(logits)
        state.correct += objectives.correct(logits.detach(), wanted[few], settings.kind)
        state.seen += len(logits)

    if any(is_trained_norm(module) for module in run.trainable.modules()):
        # Its mean and deviation are those of the whole batch.
        add(slice(0, len(x)))
    else:
        run.parts.each(len(x), add)


def _backward(run: Running, loss: Tensor) -> None:
    """Adds the gradients of a loss: all of them, or none where memory runs out."""
    trained = [value for value in run.trainable.parameters() if value.requires_grad]
    if run.parts.most == 0 and all(value.grad is None for value in trained):
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except Exception:
            run.optimizer.zero_grad(set_to_none=True)
            raise
        return
    found = torch.autograd.grad(loss, trained, allow_unused=True)
    for value, gradient in zip(trained, found, strict=True):
        if gradient is not None:
            value.grad = gradient if value.grad is None else value.grad + gradient


def is_trained_norm(module: nn.Module) -> bool:
    """Says whether a module takes the mean and the deviation of each batch."""
    return isinstance(module, _BatchNorm) and module.training
