"""One stage: the suffix and the head are trained on activations, and the best state is kept."""

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from frostline.classifier import Upper
from frostline.errors import TrainingError

Fetch = Callable[[Sequence[bytes]], Tensor]
Rate = Callable[[int, int], float]
EVAL_BATCH = 128


@dataclass(frozen=True)
class Examples:
    """Row ids, and for each the number of its class."""

    rows: tuple[bytes, ...]
    targets: Tensor


@dataclass(frozen=True)
class Score:
    """Sums over examples, divided once."""

    loss: float
    accuracy: float
    count: int

    def better_than(self, other: "Score") -> bool:
        """Compares by accuracy, then by loss."""
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


def batches(
    fetch: Fetch, examples: Examples, order: Sequence[int], batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields activations and targets in `order`; a thread fetches one batch ahead.

    Batches are as even as can be and at most `batch_size` long: a last one of a picture or two
    would weigh as much as a whole one, and a batch norm cannot learn from a single vector.
    """
    count = -(-len(order) // batch_size)
    ends = [len(order) * number // count for number in range(count + 1)] if count else [0]
    parts = [order[start:end] for start, end in itertools.pairwise(ends)]

    def load(part: Sequence[int]) -> tuple[Tensor, Tensor]:
        return fetch([examples.rows[i] for i in part]), examples.targets[list(part)]

    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
        ahead = pool.submit(load, parts[0]) if parts else None
        for number in range(len(parts)):
            assert ahead is not None
            ready = ahead.result()
            ahead = pool.submit(load, parts[number + 1]) if number + 1 < len(parts) else None
            yield ready


def predict(upper: Upper, fetch: Fetch, examples: Examples, device: torch.device) -> Tensor:
    """Returns logits [n, classes] in float32 on the CPU, in eval mode."""
    upper.eval()
    order = range(len(examples.rows))
    with torch.inference_mode():
        parts = [upper(x.to(device)).cpu() for x, _ in batches(fetch, examples, order, EVAL_BATCH)]
    return torch.cat(parts)


def score(upper: Upper, fetch: Fetch, examples: Examples, device: torch.device) -> Score:
    """Returns loss and accuracy over all examples."""
    logits = predict(upper, fetch, examples, device)
    loss = cross_entropy(logits.double(), examples.targets).item()
    right = int((logits.argmax(1) == examples.targets).sum())
    return Score(loss, right / len(examples.rows), len(examples.rows))


def train(
    upper: Upper,
    optimizer: torch.optim.Optimizer,
    rate: Rate,
    fetch: Fetch,
    training: Examples,
    validation: Examples | None,
    *,
    epochs: int,
    batch_size: int,
    label_smoothing: float,
    batch_norm: str,
    seed: int,
    device: torch.device,
    record: Callable[[dict[str, Any]], None],
) -> None:
    """Trains `upper` in place and leaves it at its best state on `validation`.

    The state before the first epoch takes part, so a stage never makes things worse there.
    Without validation images the last state stays.

    Args:
        upper: Suffix and head, on `device`.
        optimizer: Of its parameters; each group's `peak_lr` is what `rate` multiplies.
        rate: Step and number of all steps to a factor.
        fetch: Row ids to activations at the line.
        training: What to train on.
        validation: What the best state is chosen on.
        epochs: Passes over `training`.
        batch_size: Images per step.
        label_smoothing: In [0, 1).
        batch_norm: `frozen` keeps the stored statistics, `train` updates them.
        seed: Decides order and dropout.
        device: Where `upper` is.
        record: Takes one history record per epoch.

    Raises:
        TrainingError: Where the loss is no longer a number; `upper` is left at its best state.
    """
    steps = epochs * -(-len(training.rows) // batch_size)
    best = score(upper, fetch, validation, device) if validation else None
    kept = copy.deepcopy(upper.state_dict())
    shuffle = torch.Generator().manual_seed(seed)
    done = 0
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            begun = time.perf_counter()
            order = torch.randperm(len(training.rows), generator=shuffle).tolist()
            train_mode(upper, batch_norm)
            loss_sum, right = 0.0, 0
            for x, targets in batches(fetch, training, order, batch_size):
                for group in optimizer.param_groups:
                    group["lr"] = group["peak_lr"] * rate(done, steps)
                wanted = targets.to(device)
                logits = upper(x.to(device, non_blocking=True))
                loss = cross_entropy(logits, wanted, label_smoothing=label_smoothing)
                if not torch.isfinite(loss):
                    upper.load_state_dict(kept)
                    raise _no_number(epoch, done)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                loss_sum += loss.item() * len(targets)
                right += int((logits.argmax(1) == wanted).sum())
                done += 1
            line = {
                "epoch": epoch,
                "train_loss": loss_sum / len(order),
                "train_accuracy": right / len(order),
                "lr": optimizer.param_groups[-1]["lr"],
            }
            if validation and best:
                now = score(upper, fetch, validation, device)
                if not math.isfinite(now.loss):
                    upper.load_state_dict(kept)
                    raise _no_number(epoch, done)
                line |= {"val_loss": now.loss, "val_accuracy": now.accuracy}
                if now.better_than(best):
                    best, kept = now, copy.deepcopy(upper.state_dict())
            record({**line, "seconds": round(time.perf_counter() - begun, 3)})
    if validation:
        upper.load_state_dict(kept)
    elif not all(bool(value.isfinite().all()) for value in upper.parameters()):
        upper.load_state_dict(kept)
        raise _no_number(epochs, done)


def _no_number(epoch: int, step: int) -> TrainingError:
    return TrainingError(
        f"the loss is no longer a number in epoch {epoch}, step {step}. Try a "
        "learning rate ten times smaller (--lr), or --precision fp32."
    )


def train_mode(upper: nn.Module, batch_norm: str) -> None:
    """Puts `upper` in training mode; batch norms stay in eval mode where they are `frozen`."""
    upper.train()
    if batch_norm == "frozen":
        for module in upper.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
