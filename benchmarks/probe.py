"""Seconds and memory of the probe, on made-up features whose best classifier is known.

    python benchmarks/probe.py [--sizes 20000x1280x10 100000x1280x10]

Features are correlated, as those of networks are: a few directions vary much, most of them little.
Labels are drawn from the softmax of a linear model, so no classifier can do better than that one.
Each size is a process of its own. *CPU s* is of all threads; *peak* is of the whole process, with
PyTorch and the features, which are held in half precision where they are large. Accuracies are on
validation images, a tenth of all but at most 20,000, on which C was chosen.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from common import bar, note, run, table

SIZES = ("20000x1280x10", "100000x1280x10", "50000x1280x1000", "1000000x1280x10")
MOST_VAL = 20_000
# Of the logits of the true model: some classes of a picture are likely, none is certain.
SPREAD = 3.0


def true_model(width: int, classes: int, chance: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Returns a mixing matrix's deviations [d], its rotation [d, d], and weights [c, d]."""
    deviations = 1 / torch.arange(1, width + 1).sqrt()
    turned, _ = torch.linalg.qr(torch.randn(width, width, generator=chance))
    weight = torch.randn(classes, width, generator=chance)
    weight *= SPREAD / deviations.square().sum().sqrt()
    return deviations, turned, weight


def draw(
    count: int, model: tuple[Tensor, Tensor, Tensor], chance: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    """Returns features [n, d] in the type that `gather` gives, labels, and the model's accuracy."""
    from frostline.training import features

    deviations, turned, weight = model
    targets = torch.empty(count, dtype=torch.long)
    right = 0

    def batches() -> "object":
        nonlocal right
        for start in range(0, count, 4096):
            size = min(4096, count - start)
            z = torch.randn(size, len(deviations), generator=chance) * deviations
            chances = (z @ weight.T).softmax(1)
            drawn = torch.multinomial(chances, 1, generator=chance)[:, 0]
            targets[start : start + size] = drawn
            right += int((chances.argmax(1) == drawn).sum())
            yield z @ turned + 1

    return features.gather(batches(), count), targets, right / count


def measure(size: str) -> None:
    """Fits once and prints what came of it as JSON."""
    from frostline.training import probe

    count, width, classes = map(int, size.split("x"))
    chance = torch.Generator().manual_seed(0)
    model = true_model(width, classes, chance)
    held_out = min(count // 10, MOST_VAL)
    train = draw(count - held_out, model, chance)
    val = draw(held_out, model, chance)
    begun, cpu = time.perf_counter(), time.process_time()
    found = probe.fit(train[:2], val[:2], classes)
    facts = {
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "accuracy": found.chosen.accuracy,
        "possible": val[2],
        "c": found.inverse_penalty,
        "tried": [list(row) for row in found.tried],
        "held": str(train[0].dtype).removeprefix("torch."),
    }
    print(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="images x features x classes")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.one)
        return
    rows = []
    for size in args.sizes:
        note(size)
        done = run([sys.executable, str(Path(__file__).resolve()), "--one", size])
        facts = json.loads(done.out)
        note(f"tried: {facts['tried']}")
        seconds = [f"{facts['seconds']:.1f}", f"{facts['cpu']:.1f}", f"{facts['peak']:.2f}"]
        right = [f"{facts['accuracy']:.4f}", f"{facts['possible']:.4f}", f"{facts['c']:.3g}"]
        rows.append([size.replace("x", " × "), facts["held"], *seconds, *right])
        if size == "100000x1280x10":
            fast = facts["cpu"] <= 2 * 13
            bar("probe, 100,000 × 1,280, 10 classes", "≤ 26 CPU s", f"{facts['cpu']:.1f} s", fast)
        else:
            small = facts["peak"] <= 4
            bar(f"probe, {size}, peak memory", "≤ 4 GiB", f"{facts['peak']:.2f} GiB", small)
    heads = ["images × features × classes", "held in", "wall s", "CPU s", "peak GiB"]
    table([*heads, "val accuracy", "of the true model", "C"], rows)


if __name__ == "__main__":
    main()
