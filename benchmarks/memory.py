"""Peak memory of training from a cache of 4 GiB against that from a tiny one.

    python benchmarks/memory.py --weights FOLDER [--gib 4]

Pictures are made up: smooth noise, in two classes. The head sits on --on, so that training is quick
and yet every kept activation at --line is read. The tiny cache has one view of 64 pictures; the
large one as many views of all pictures as come to --gib, and an epoch for each view.
"""

import math
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from common import Trained, bar, note, parser, table, train, workplace

FEW = 64


def make_pictures(folder: Path, count: int, side_px: int = 256) -> None:
    """Writes JPEG pictures into `folder/dark` and `folder/light`."""
    chance = np.random.default_rng(0)
    for number in range(count):
        light = number % 2
        small = chance.integers(light * 80, 176 + light * 80, (8, 8, 3), dtype=np.uint8)
        path = folder / ("dark", "light")[light] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((side_px, side_px), Image.Resampling.BICUBIC).save(path)


def size_gib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*/*.safetensors")) / 2**30


def main() -> None:
    arguments = parser(__doc__, photos=False)
    arguments.add_argument("--gib", type=float, default=4.0)
    arguments.add_argument("--pictures", type=int, default=1500)
    arguments.add_argument("--line", default="blocks.1")
    arguments.add_argument("--on", default="blocks.2")
    args = arguments.parse_args()
    rows: list[list[object]] = []
    peaks: list[float] = []

    def measured(name: str, pictures: int, views: int) -> Trained:
        photos = work / name
        make_pictures(photos, pictures)
        options = ["--line", args.line, "--on", args.on, "--epochs", str(views), "--cache"]
        options += ["always", "--augment", "standard", "--views", str(views)]
        done = train(photos, args.weights, work, f"run-{name}", *options)
        cache_gib = size_gib(work / "cache")
        peaks.append(done.peak_gib)
        numbers = [done.rows_computed, f"{cache_gib:.3f}", f"{done.peak_gib:.2f}"]
        rows.append([name, pictures, views, *numbers, f"{done.wall_s:.0f}", 1])
        shutil.rmtree(work / "cache")
        return done

    with workplace() as work:
        row_bytes = measured("tiny", FEW, 1).plan["passes"][0]["row_bytes"]
        # Validation has a fifth, of which one view is kept.
        rest = args.gib * 2**30 / row_bytes - args.pictures
        views = max(1, math.ceil(rest / (0.8 * args.pictures)))
        note(f"{row_bytes / 1024:.1f} KiB a view: {views} views of {args.pictures} pictures")
        measured("large", args.pictures, views)
    header = ["cache", "pictures", "views", "activations", "GiB on disk", "peak GiB", "wall s"]
    table([*header, "runs"], rows)
    added_gib, ratio = peaks[1] - peaks[0], peaks[1] / peaks[0]
    print(f"\nLarge over tiny: {added_gib:+.2f} GiB, {ratio:.2f} ×. Line {args.line}.")
    bar(
        f"peak memory, {args.gib:g} GiB of cache",
        "≤ 2 GiB more",
        f"{added_gib:+.2f} GiB",
        added_gib <= 2,
    )


if __name__ == "__main__":
    main()
