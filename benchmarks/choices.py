"""Choices that speed decided, measured again.

    python benchmarks/choices.py PHOTOS --backbone dir:FOLDER

Prints a Markdown table: decoding with simplejpeg and with Pillow, a prefix with and without its
batch norms folded, in bf16 and float32. Each pair is timed in turn; the figures are medians. Then
what turning a picture by up to 15° leaves of its sharpness (squared gradients, over those of the
`center` view), by how far it is oversampled.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import simplejpeg
import torch
from PIL import Image

from frostline.activations import engines
from frostline.activations.engines import eager
from frostline.images import augment, listing, warp
from frostline.images.preprocessing import Preprocessing
from frostline.model import classifier
from frostline.networks import catalog


def rates(repeats: int, count: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Returns how many of `count` each work does in a second: the median of `repeats`."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            found[name].append(count / (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in found.items()}


def gradients(view: torch.Tensor) -> float:
    """Returns the sum of squared differences of neighbouring pixels, over the inner half."""
    height, width = view.shape[1] // 4, view.shape[2] // 4
    inner = view[:, height:-height, width:-width].double()
    return float(inner.diff(dim=1).square().sum() + inner.diff(dim=2).square().sum())


def sharpness(files: list[bytes], settings: Preprocessing, oversample: float) -> float:
    """Returns the squared gradients of turned views over those of `center`: the median."""
    usual, warp.OVERSAMPLE = warp.OVERSAMPLE, oversample
    turned = augment.View(0, augment.Policy(rotate=15.0))
    found = []
    for number, file in enumerate(files):
        center, view = augment.load(file, settings, [augment.CENTER, turned], str(number))
        found.append(gradients(view) / max(gradients(center), 1.0))
    warp.OVERSAMPLE = usual
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    paths = [row.path for row in listing.scan_files([args.photos]).usable][:200]
    files = [Path(path).read_bytes() for path in paths]
    decoding = {
        "simplejpeg": lambda: [simplejpeg.decode_jpeg(file) for file in files],
        "Pillow": lambda: [Image.open(io.BytesIO(file)).convert("RGB").load() for file in files],
    }
    table = {"decoding, one thread, images/s": rates(args.repeats, len(files), decoding)}

    cpu = torch.device("cpu")
    opened = catalog.find(args.backbone)
    pixels = torch.randint(0, 256, (16, 3, 224, 224), dtype=torch.uint8)
    running = {}
    fold = eager.fold_batch_norm
    for folded in (True, False):
        eager.fold_batch_norm = fold if folded else lambda half: half
        for name in ("bf16", "fp32"):
            compute = engines.pick_precision(name, cpu)
            engine = classifier.with_own_classes(opened, "pooled", cpu, compute).engine
            running[f"{name}{', folded' if folded else ''}"] = lambda e=engine: e(pixels)
    eager.fold_batch_norm = fold
    table["prefix to pooled, all threads, images/s"] = rates(args.repeats, 16, running)

    settings = opened.record.preprocessing
    table["sharpness of a turned view, share"] = {
        f"oversampled {times:g} times": sharpness(files, settings, times)
        for times in (1.0, 1.5, 2.0)
    }
    print("| what | way | median |\n| --- | --- | --- |")
    for what, ways in table.items():
        for way, rate in ways.items():
            print(f"| {what} | {way} | {rate:,.3f} |")


if __name__ == "__main__":
    main()
