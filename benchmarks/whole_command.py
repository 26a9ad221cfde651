"""The whole command against fastai's `fine_tune(1)`, side by side; and again with another head.

    python benchmarks/whole_command.py PHOTOS --weights FOLDER --rival-python FASTAI/bin/python

PHOTOS has train/ and val/. Each round runs, one after the other: `frostline train` with an empty
cache, the same with an MLP head and the now warm cache, and fastai (`rival_fastai.py`, in its own
environment). Wall time is the whole process's, imports included; peak memory the largest resident
size of its process. Prints a Markdown table of medians.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(command: list[str], **more) -> tuple[float, float, str]:
    """Returns wall seconds, peak GiB and standard output."""
    begun = time.perf_counter()
    timer = [sys.executable, str(HERE / "peak.py"), *command]
    done = subprocess.run(timer, capture_output=True, text=True, **more)
    wall = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    peak = float(done.stderr.rsplit("peak_kib=", 1)[1].split()[0]) / 2**20
    return wall, peak, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rival-python", default="")
    parser.add_argument("--rival-epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(args.rounds):
        work = Path(tempfile.mkdtemp())
        ours = [sys.executable, "-m", "frostline", "train", str(args.photos), "--json"]
        ours += ["--backbone", f"dir:{args.weights}", "--cache-dir", str(work / "cache")]
        for name, more in (
            ("frostline, cold cache", ["--out", str(work / "one")]),
            ("frostline, warm cache, MLP head", ["--out", str(work / "two"), "--head", "mlp:256"]),
        ):
            wall, peak, out = run([*ours, *more])
            found.setdefault(name, []).append((wall, peak, json.loads(out)["val"]["accuracy"]))
        if args.rival_python:
            rival = [args.rival_python, str(HERE / "rival_fastai.py"), str(args.photos)]
            rival += ["--weights", str(args.weights), "--epochs", str(args.rival_epochs)]
            wall, peak, out = run(rival)
            said = json.loads(out.strip().splitlines()[-1])
            found.setdefault(said["rival"], []).append((wall, peak, said["accuracy"]))
        shutil.rmtree(work)
    print("| command | wall s | peak GiB | val accuracy | runs |\n| --- | --- | --- | --- | --- |")
    for name, rows in found.items():
        wall, peak, accuracy = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {wall:.1f} | {peak:.2f} | {accuracy:.4f} | {len(rows)} |")
    walls = [[wall for wall, _, _ in rows] for rows in found.values()]
    if len(walls) == 3:
        ratio = statistics.median(a / c for a, _, c in zip(*walls, strict=True))
        print(f"\nCold command over rival, median of pairs: {ratio:.4f} (1/{1 / ratio:.1f})")


if __name__ == "__main__":
    main()
