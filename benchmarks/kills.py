"""`kill -9` while filling the cache, many times at random moments, then finish.

    python benchmarks/kills.py PHOTOS --backbone dir:FOLDER --kills 20

Compares what the cache holds in the end, row by row, with an uninterrupted fill, and counts the
rows that were computed more than once.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from frostline.cache.chunks import Store, read_chunk


def store_in(cache: Path) -> Store:
    folder = next(path for path in cache.iterdir() if path.is_dir())
    chunks = tuple(read_chunk(path) for path in sorted(folder.glob("*.safetensors")))
    return Store(folder, chunks[0].key, chunks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--line", default="pooled")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)

        def command(name: str) -> list[str]:
            tail = ["--out", str(work / f"{name}.npz"), "--cache-dir", str(work / name)]
            start = [sys.executable, "-m", "frostline", "embed", args.backbone, str(args.photos)]
            return [*start, "--line", args.line, *tail]

        begun = time.perf_counter()
        subprocess.run(command("whole"), check=True, capture_output=True)
        whole_s = time.perf_counter() - begun
        done = []
        for _ in range(args.kills):
            process = subprocess.Popen(command("killed"), stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.2 * whole_s, whole_s))
            process.send_signal(signal.SIGKILL)
            process.wait()
            kept = (
                sum(len(c.rows) for c in store_in(work / "killed").chunks)
                if list((work / "killed").glob("*/*.safetensors"))
                else 0
            )
            done.append(kept)
        subprocess.run(command("killed"), check=True, capture_output=True)
        whole, killed = store_in(work / "whole"), store_in(work / "killed")
        rows = sorted(whole.places)
        same = rows == sorted(killed.places)
        a, b = whole.fetch(rows), killed.fetch(rows)
        twice = sum(len(chunk.rows) for chunk in killed.chunks) - len(killed.places)
        largest = max(len(chunk.rows) for chunk in killed.chunks)
        print(
            json.dumps(
                {
                    "kills": args.kills,
                    "rows": len(rows),
                    "rows after each kill": done,
                    "same rows": same,
                    "bit-identical": bool(torch.equal(a, b)),
                    "largest difference": float((a.float() - b.float()).abs().max()),
                    "rows written twice": twice,
                    "chunks": len(killed.chunks),
                    "largest chunk, rows": largest,
                }
            )
        )


if __name__ == "__main__":
    main()
