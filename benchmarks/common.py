"""What the benchmarks share: running a command with its time and memory, and tables."""

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FROSTLINE = (sys.executable, "-m", "frostline")


@dataclass(frozen=True)
class Timed:
    """A command that has ended: wall seconds, its largest resident size, what it printed."""

    wall_s: float
    peak_gib: float
    out: str


@dataclass(frozen=True)
class Trained:
    """A finished `frostline train`, imports and report included."""

    wall_s: float
    peak_gib: float
    metrics: dict[str, Any]
    plan: dict[str, Any]
    recipe: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def accuracy(self) -> float:
        """Of the validation images."""
        return float(self.metrics["val"]["accuracy"])

    @property
    def rows_computed(self) -> int:
        """Forward passes below the line."""
        return int(self.plan["rows_computed"])

    @property
    def checkpoints_s(self) -> float:
        """Seconds spent on writing checkpoints."""
        return float(self.plan["checkpoints"]["seconds"])

    @property
    def epochs_s(self) -> list[float]:
        """Seconds of each epoch."""
        return [line["seconds"] for line in self.history if line["kind"] == "train"]

    @property
    def passes_s(self) -> float:
        """Seconds spent on filling the cache; 0 where none is kept."""
        return float(self.plan["measured"]["passes_s"])


def parser(doc: str, photos: bool = True) -> argparse.ArgumentParser:
    """Returns a parser with what almost every benchmark takes."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    if photos:
        made.add_argument("photos", type=Path, help="a folder with train/ and val/")
    made.add_argument(
        "--weights", type=backbone, required=True, help="a timm model folder, or a backbone's name"
    )
    return made


def backbone(text: str) -> str:
    """Returns the name of the backbone in a folder; a name stays as it is."""
    return f"dir:{text}" if Path(text).is_dir() else text


def run(command: Sequence[str]) -> Timed:
    """Runs a command to its end; ends this script where it fails."""
    begun = time.perf_counter()
    timer = [sys.executable, str(HERE / "peak.py"), *command]
    done = subprocess.run(timer, capture_output=True, text=True)
    wall_s = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    peak_gib = float(done.stderr.rsplit("peak_kib=", 1)[1].split()[0]) / 2**20
    return Timed(wall_s, peak_gib, done.stdout)


def train(photos: Path, weights: str, work: Path, name: str, *options: str) -> Trained:
    """Runs `frostline train` with its cache in `work/cache` and its run in `work/NAME`."""
    note(f"frostline train {photos.name} {' '.join(options)} ({name})")
    out = work / name
    command = [*FROSTLINE, "train", str(photos), "--json", "--backbone", weights, *options]
    timed = run([*command, "--cache-dir", str(work / "cache"), "--out", str(out)])
    return Trained(
        timed.wall_s,
        timed.peak_gib,
        json.loads(timed.out),
        json.loads((out / "plan.json").read_text()),
        tomllib.loads((out / "recipe.toml").read_text()),
        [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()],
    )


@contextmanager
def workplace() -> Iterator[Path]:
    """Gives an empty folder that is removed in the end."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def middle(values: Iterable[float]) -> float:
    """Returns the median."""
    return statistics.median(values)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a Markdown table, each row when it is there."""
    for row in itertools.chain((header, ["---"] * len(header)), rows):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def bar(what: str, wanted: str, measured: str, met: bool) -> None:
    """Prints a line on what must hold; `all.py` makes one table of these."""
    print(f"\nBar: {what} | {wanted} | {measured} | {'met' if met else 'NOT MET'}", flush=True)


def note(text: str) -> None:
    """Says what is under way, apart from the table."""
    print(text, file=sys.stderr, flush=True)
