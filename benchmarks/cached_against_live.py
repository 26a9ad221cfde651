"""Training from the cache against the same training live: same order of images, same loss curve?

    python benchmarks/cached_against_live.py PHOTOS --backbone dir:FOLDER --line blocks.5

Runs `frostline train` twice with the same recipe, `--cache always` and `--cache never`, and prints
the losses of every epoch, the largest relative difference, and the seconds of an epoch. Both run
the eager engine: another one would be chosen by measurement, and differ by rounding.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--line", default="blocks.5")
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    curves = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for keep in ("always", "never"):
            command = [sys.executable, "-m", "frostline", "train", str(args.photos)]
            command += ["--backbone", args.backbone, "--line", args.line, "--cache", keep]
            command += ["--engine", "eager"]
            command += ["--epochs", str(args.epochs), "--out", str(work / keep)]
            subprocess.run([*command, "--cache-dir", str(work / "cache")], check=True)
            lines = (work / keep / "history.jsonl").read_text().splitlines()
            curves[keep] = [json.loads(line) for line in lines]
    print("| epoch | cached train loss | live train loss | cached val loss | live val loss |")
    print("| --- | --- | --- | --- | --- |")
    worst = 0.0
    for one, two in zip(*curves.values(), strict=True):
        cells = [
            row.get(key, row["val_loss"])
            for key in ("train_loss", "val_loss")
            for row in (one, two)
        ]
        worst = max(worst, *(abs(a - b) / abs(b) for a, b in (cells[:2], cells[2:])))
        print(
            f"| {one.get('epoch', 'probe')} | " + " | ".join(f"{cell:.6f}" for cell in cells) + " |"
        )
    times = [
        statistics.median(row["seconds"] for row in curve if row["kind"] == "train")
        for curve in curves.values()
    ]
    print(f"\nLargest relative difference: {worst:.2e}")
    print(
        f"Seconds an epoch: cached {times[0]:.2f}, live {times[1]:.2f}: {times[1] / times[0]:.1f} ×"
    )


if __name__ == "__main__":
    main()
