"""How near extraction comes to what decoding and the bare network allow together.

    python benchmarks/extraction.py PHOTOS --backbone dir:FOLDER [--line pooled] [--repeats 5]

Times three things in turn, several times over: decoding alone, the prefix alone on pixels that are
ready, and both as the first pass does them. On a CPU both share the cores, so together they allow
1 / (1 / decode + 1 / network) images a second; on a GPU the slower of the two. Prints a Markdown
table of medians; the ratio is what the first pass reaches of what they allow.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from common import table
from frostline.activations import engines, extraction
from frostline.images import listing
from frostline.model import classifier
from frostline.networks import catalog


def timed(work) -> float:
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--line", default="pooled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=512)
    args = parser.parse_args()
    device = engines.pick_device(args.device)
    compute = engines.pick_precision(args.precision, device)
    model = classifier.with_own_classes(catalog.find(args.backbone), args.line, device, compute)
    settings, engine = model.preprocessing, model.engine
    rows = listing.scan_files([args.photos]).usable[: args.images]
    items = [extraction.ImageView(row.path, row.digest) for row in rows]
    ready = [batch for _, batch, _ in extraction.pixels(items, settings) if batch is not None]

    def decode() -> None:
        for _ in extraction.pixels(items, settings):
            pass

    def network() -> None:
        for batch in ready:
            engine(batch)

    def both() -> None:
        for _ in extraction.activations(items, settings, engine, engine.on_cpu):
            pass

    for work in (decode, network, both):
        work()
    rates = {"decode": [], "network": [], "both": [], "ratio": []}
    for _ in range(args.repeats):
        one = {
            name: len(items) / timed(work)
            for name, work in (("decode", decode), ("network", network), ("both", both))
        }
        on_cpu = 1 / (1 / one["decode"] + 1 / one["network"])
        allowed = on_cpu if device.type == "cpu" else min(one["decode"], one["network"])
        for name, rate in {**one, "ratio": one["both"] / allowed}.items():
            rates[name].append(rate)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    header = ["engine", "images", "decoding/s", "network/s", "both/s", "ratio", "runs"]
    numbers = [f"{middle[name]:.1f}" for name in ("decode", "network", "both")]
    table(header, [[engine.name, len(items), *numbers, f"{middle['ratio']:.2f}", args.repeats]])


if __name__ == "__main__":
    main()
