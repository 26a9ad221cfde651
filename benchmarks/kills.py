"""`kill -9` while filling the cache, many times at random moments, then finish.

    python benchmarks/kills.py PHOTOS --backbone dir:FOLDER --kills 20

Each kill falls into the filling. A cache that is full all the same is set aside, and the kills go
on with an empty one. In the end each is finished and compared, bit by bit, with one that was filled
without interruption. A chunk that was kept is never computed again, so what a kill loses is at most
what was gathered for the next one: five seconds' work here. Prints a Markdown table.
"""

import argparse
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from common import table
from frostline.activations.cache.chunks import ChunkStore, read_chunk


def store_in(cache: Path) -> ChunkStore:
    folder = next(path for path in cache.iterdir() if path.is_dir())
    chunks = tuple(read_chunk(path) for path in sorted(folder.glob("*.safetensors")))
    return ChunkStore(folder, chunks[0].key, chunks)


@dataclass
class Round:
    """A cache that is filled under fire, and how many rows it held after each kill."""

    cache: Path
    kept: list[int] = field(default_factory=list)


def kept_in(cache: Path) -> int:
    found = list(cache.glob("*/*.safetensors"))
    return sum(len(read_chunk(path).rows) for path in found)


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
        done = subprocess.run(command("whole"), check=True, capture_output=True, text=True)
        filling_s = float(re.search(r"computed in ([0-9.]+) s", done.stderr)[1])
        ready_s = time.perf_counter() - begun - filling_s
        whole = store_in(work / "whole")
        rounds = [Round(work / "killed0")]
        for _ in range(args.kills):
            if len(rounds[-1].kept) and rounds[-1].kept[-1] == len(whole.locations):
                rounds.append(Round(work / f"killed{len(rounds)}"))
            process = subprocess.Popen(command(rounds[-1].cache.name), stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(ready_s, ready_s + min(8.0, filling_s)))
            process.send_signal(signal.SIGKILL)
            process.wait()
            rounds[-1].kept.append(kept_in(rounds[-1].cache))
        same, twice = True, 0
        rows = sorted(whole.locations)
        for one in rounds:
            subprocess.run(command(one.cache.name), check=True, capture_output=True)
            killed = store_in(one.cache)
            same &= rows == sorted(killed.locations)
            same &= bool(torch.equal(whole.fetch(rows), killed.fetch(rows)))
            twice += sum(len(chunk.rows) for chunk in killed.chunks) - len(killed.locations)
        found = [
            [number, ", ".join(map(str, one.kept)), len(one.kept)]
            for number, one in enumerate(rounds, 1)
        ]
        table(["cache", "rows kept after each kill", "kills"], found)
        verdict = "yes" if same else "NO"
        print(f"\nAll hold the same {len(rows)} rows, bit by bit: {verdict}; kept twice: {twice}.")


if __name__ == "__main__":
    main()
