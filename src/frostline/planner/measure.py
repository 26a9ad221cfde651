"""Short measurements on this machine, with the very parts that will do the work."""

import contextlib
import copy
import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from frostline.activations import engines, extraction
from frostline.activations.between import between
from frostline.activations.extraction import ImageView, LoadedBatch
from frostline.base.files import disk_error
from frostline.frost import Line
from frostline.model.classifier import Classifier
from frostline.model.suffix import SuffixWithHead
from frostline.recipe import Stage
from frostline.training import loop, parameters
from frostline.training.examples import Examples
from frostline.training.state import TrainSettings, TrainState

# A rate is measured for at least so long, after a first round that warms up.
AT_LEAST_S = 0.4
LEAST_BATCHES = 4
MOST_ROWS = 1 << 15
DISK_BYTES = 16 << 20
STEPS = 8
# A probe's loss and gradient are computed about so many times, for all penalties together; timed on
# so many rows at most, and the decomposition of the features' correlations at a small size.
EVALUATIONS, PROBE_ROWS, SMALL = 150, 4096, 256


@dataclass(frozen=True)
class DiskThroughput:
    """How fast chunks are written (synced to disk) and read (from the system's memory).

    Attributes:
        write: Bytes a second.
        read: Bytes a second.
        free: Bytes that nothing takes yet.
    """

    write: float
    read: float
    free: float = math.inf


@dataclass(frozen=True)
class StepCost:
    """What training and validating take.

    Attributes:
        train_s: Seconds an image in training.
        eval_s: Seconds an image in validation.
    """

    train_s: float
    eval_s: float


def rows_per_s(model: Classifier, items: Sequence[ImageView]) -> float:
    """Returns how many views a second go from file to activation, on all cores."""
    engine = model.engine
    return _rate(
        lambda many: extraction.activations(many, model.preprocessing, engine, engine.on_cpu), items
    )


def decoded_per_s(model: Classifier, items: Sequence[ImageView]) -> float:
    """Returns how many views a second go from file to pixels, on all cores."""
    return _rate(lambda many: extraction.pixels(many, model.preprocessing), items)


def disk(folder: Path) -> DiskThroughput:
    """Writes and reads a file in `folder`, as chunks are; nothing of it stays.

    Raises:
        DiskError: Where it cannot be written.
    """
    data = os.urandom(DISK_BYTES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            begun = time.perf_counter()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            written = time.perf_counter()
            file.seek(0)
            while file.read(1 << 20):
                pass
            done = time.perf_counter()
    except OSError as error:
        raise disk_error(error, folder) from error
    free = shutil.disk_usage(folder).free
    return DiskThroughput(DISK_BYTES / (written - begun), DISK_BYTES / (done - written), free)


def derived_s(model: Classifier, below: Line) -> float:
    """Returns the seconds to derive one activation at the model's line from an earlier line."""
    layers = between(model, below)
    batch = _noise(below.shape, 64, model.engine.storage)
    layers(batch[:8])
    begun = time.perf_counter()
    layers(batch)
    return (time.perf_counter() - begun) / len(batch)


def step(model: Classifier, stage: Stage, images: int = 1 << 20) -> StepCost:
    """Trains a copy of suffix and head for a few steps on noise, and scores once.

    Args:
        model: Cut at the stage's line.
        stage: How it trains.
        images: How many there are: a batch has no more.
    """
    trainable: SuffixWithHead = copy.deepcopy(model.trainable)
    trainable.requires_grad_(True)
    storage = model.engine.storage
    count = max(min(stage.batch_size, images), 2)
    batch = _noise(model.line.shape, count, storage)
    classes = len(model.labels)
    targets = torch.arange(count) % 2
    if model.targets == "multilabel":
        targets = torch.zeros(count, classes)
    # All in one epoch, as in training: between two, weights are copied, and memory is claimed anew.
    rows = tuple(bytes([0]) * 2 for _ in range(count * STEPS))
    examples = Examples(rows, torch.cat([targets] * STEPS))
    made = parameters.groups(trainable.suffix, trainable.head, 1e-6, 1.0, 0.0)
    optimizer = parameters.make_optimizer(stage.optimizer, made)
    settings = TrainSettings(
        epochs=1,
        batch_size=count,
        batch_norm=stage.batch_norm,
        clip=stage.clip,
        ema=stage.ema,
        mixup=stage.mixup,
        noise=stage.noise,
        kind=model.targets,
        classes=classes,
    )
    device = model.engine.device

    def fetch(rows: Sequence[bytes]) -> Tensor:
        return batch[: len(rows)].clone()

    with engines.threads(1 if model.line.is_vector else None):
        taken = []
        state = TrainState()
        lines = loop.train(
            trainable,
            optimizer,
            lambda *_: 1.0,
            fetch,
            lambda _: examples,
            None,
            settings,
            device,
            state,
        )
        begun = time.perf_counter()
        for line in lines:
            if line is None:
                taken.append(time.perf_counter() - begun)
            if sum(taken[1:]) > AT_LEAST_S:
                break
            begun = time.perf_counter()
        lines.close()
        trainable.eval()
        with torch.inference_mode():
            trainable(batch.to(device))
            begun = time.perf_counter()
            # Scores come back to the CPU, and a GPU is waited for.
            trainable(batch.to(device)).cpu()
            scored = time.perf_counter() - begun
    steady = taken[1:] or taken
    # Other programs make some steps longer, and none shorter.
    return StepCost(statistics.median(steady) / count, scored / count)


def probe_s(images: int, width: int, scores: int) -> float:
    """Returns the seconds that fitting a probe is expected to take, all penalties together.

    Args:
        images: That it is fitted to, views counted.
        width: Features of each.
        scores: That it gives.
    """
    rows = min(images, PROBE_ROWS)
    features, weights = (_noise((width,), count, torch.float32) for count in (rows, scores))
    small = _noise((SMALL,), SMALL, torch.float64)
    begun = time.perf_counter()
    (features @ weights.T).softmax(1).T @ features
    evaluated = time.perf_counter()
    torch.linalg.eigh(small @ small.T)
    decomposed_s = time.perf_counter() - evaluated
    grown = (min(images, width) / SMALL) ** 3
    return EVALUATIONS * (evaluated - begun) * images / rows + decomposed_s * grown


def _rate(
    load: Callable[[Sequence[ImageView]], Generator[LoadedBatch, None, None]],
    items: Sequence[ImageView],
) -> float:
    """Loads items over and over for `AT_LEAST_S`, as one pass does, whose start does not count."""
    # One image alone is one batch, however often it is there.
    repeats = -(-MOST_ROWS // len(items)) if len({item.path for item in items}) > 1 else 1
    with contextlib.closing(load([*items] * repeats)) as loaded:
        begun = time.perf_counter()
        done = _count(next(loaded))
        taken = time.perf_counter() - begun
        begun, steady = time.perf_counter(), 0
        for number, batch in enumerate(loaded, 1):
            steady += _count(batch)
            done, taken = steady, time.perf_counter() - begun
            if taken >= AT_LEAST_S and number >= LEAST_BATCHES:
                break
    return done / taken


def _count(loaded: LoadedBatch) -> int:
    positions, _, problems = loaded
    return len(positions) + len(problems)


def _noise(shape: tuple[int, ...], count: int, storage: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if storage == torch.uint8:
        return torch.randint(0, 256, (count, *shape), dtype=storage, generator=generator)
    return torch.randn(count, *shape, generator=generator).to(storage)
