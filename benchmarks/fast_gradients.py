"""Training steps with the gradients of `model/fast_gradients.py`, and as PyTorch computes them.

    python benchmarks/fast_gradients.py BACKBONE [BACKBONE ...]

For lines with 85, 65, 45 and 25 % of the work below them: the median time of a step of 32 images
above the line in bf16, one way and the other. Steps take turns; the ratio is of the two medians.
CPU only.
"""

import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import nn

from common import table
from frostline.model import classifier, heads, suffix
from frostline.networks import catalog
from frostline.training import loop, parameters

SHARES, BATCH, CLASSES, TURNS = ("85%", "65%", "45%", "25%"), 32, 20, 11


def step_of(model: classifier.Classifier) -> Callable[[], None]:
    """Returns a function that trains for one step."""
    trainable = model.trainable
    model.module.requires_grad_(False)
    trainable.requires_grad_(True)
    loop.train_mode(trainable, "frozen")
    groups = parameters.groups(trainable.suffix, trainable.head, 1e-4, 1.0, 0.01)
    optimizer = parameters.make_optimizer("adamw", groups)
    x = torch.randn(BATCH, *model.line.shape, dtype=torch.bfloat16)
    wanted = torch.randint(CLASSES, (BATCH,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(trainable(x), wanted).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Returns what a call takes."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def main() -> None:
    """Prints a table."""
    header = ["network", "line", "PyTorch", "fast gradients", "ratio"]
    rows = []
    for name in sys.argv[1:]:
        opened = catalog.find(name)
        labels = tuple(map(str, range(CLASSES)))
        for share in SHARES:
            model = classifier.assemble(
                opened, labels, heads.parse("linear"), share, torch.device("cpu"), torch.bfloat16
            )
            step = step_of(model)
            times: dict[bool, list[float]] = {True: [], False: []}
            for turn in range(2 * TURNS):
                is_new = bool(turn % 2)
                off = mock.patch.object(
                    suffix, "FastGradients", return_value=contextlib.nullcontext()
                )
                with contextlib.nullcontext() if is_new else off:
                    times[is_new].append(seconds(step))
            before, after = (statistics.median(times[key][2:]) for key in (False, True))
            rows.append(
                [
                    opened.record.architecture,
                    model.line.name,
                    f"{1e3 * before:.0f} ms",
                    f"{1e3 * after:.0f} ms",
                    f"{before / after:.2f}",
                ]
            )
    table(header, rows)


if __name__ == "__main__":
    main()
