"""`kill -9` at random moments of a two-stage run; is the resumed run the uninterrupted one?

    python benchmarks/resume.py PHOTOS --weights FOLDER --kills 30

A run of two stages (the head, then what lies above --line, on two views of each image) is done once
without interruption. Then, KILLS times, it is begun in a fresh folder, killed, and the same command
given again until it is done; now and then it is killed a second time on the way. Which part a kill
is to fall into is drawn (before training, either stage, after it), and then a moment of that part.
All runs share one warm cache; nothing is left for the planner to measure, since two runs that chose
different engines could not be compared bit by bit. Compared are `history.jsonl` without seconds
and the bytes of `model.safetensors`.
"""

import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from common import FROSTLINE, bar, middle, note, parser, table, workplace
from frostline.training import checkpoint

RECIPE = """
[views]
preset = "standard"
count = 2

[compute]
engine = "eager"
cache = "always"

[[stages]]
line = "top"
epochs = {epochs[0]}
batch_size = 64

[[stages]]
line = "{line}"
epochs = {epochs[1]}
lr = 2e-4
suffix_lr = 1.0
"""
AGAIN = 0.3


@dataclass(frozen=True)
class Part:
    """From one line of output to the next: what is under way, and how long it took unkilled."""

    name: str
    words: str
    seconds: float


@dataclass(frozen=True)
class Killed:
    """A kill: the part it fell into, where the run will go on, what it lost."""

    part: str
    goes_on: str
    lost_s: float


PARTS = {
    "before training": "backbone ",
    "stage 1": "stage 1 of 2",
    "stage 2": "stage 2 of 2",
    "scoring and saving": "val: ",
}


def watched(command: list[str], part: Part | None = None, wait_s: float = 0.0) -> dict[str, float]:
    """Runs to the end, or kills `wait_s` after `part` began.

    Returns:
        When each part began; the last is "end" where the run came to it.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    begun: dict[str, float] = {}
    said = []
    for line in process.stderr:
        said.append(line)
        for name, words in PARTS.items():
            if line.startswith(words):
                begun.setdefault(name, time.perf_counter())
        if part and line.startswith(part.words):
            # What is said after the kill was said before it: the part may have ended meanwhile.
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
    process.stderr.close()
    if process.wait() not in (0, -signal.SIGKILL):
        raise SystemExit(f"{' '.join(command)} failed:\n{''.join(said)}")
    if process.returncode == 0:
        begun["end"] = time.perf_counter()
    return begun


def state_of(out: Path) -> tuple[str, float]:
    """Returns where the run stands, and when that was written."""
    path = out / "checkpoints" / "last.safetensors"
    found = checkpoint.read(path)
    if found is None:
        return "the end" if (out / "metrics.json").is_file() else "the start", time.time()
    number, state = found.facts["stage"] + 1, found.facts.get("state")
    if state:
        return f"within stage {number}", path.stat().st_mtime
    return f"before stage {number}" if number <= 2 else "after stage 2", path.stat().st_mtime


def result(out: Path) -> tuple[list[dict], bytes]:
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    plain = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    return plain, (out / "model" / "model.safetensors").read_bytes()


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--line", default="blocks.5")
    arguments.add_argument("--epochs", type=int, nargs=2, default=(2, 3), help="of both stages")
    arguments.add_argument("--kills", type=int, default=30, help="runs that are killed")
    arguments.add_argument("--seed", type=int, default=0)
    args = arguments.parse_args()
    chance = random.Random(args.seed)
    with workplace() as work:
        (work / "two.toml").write_text(RECIPE.format(line=args.line, epochs=args.epochs))

        def command(name: str) -> list[str]:
            start = [*FROSTLINE, "train", str(args.photos), "--backbone", args.weights]
            places = ["--cache-dir", str(work / "cache"), "--out", str(work / name)]
            return [*start, "--recipe", str(work / "two.toml"), *places]

        note("filling the cache")
        watched(command("filling"))
        begun = watched(command("whole"))
        whole, plan = result(work / "whole"), json.loads((work / "whole/plan.json").read_text())
        ends = [*list(begun.values())[1:]]
        parts = [
            Part(name, PARTS[name], end - at)
            for (name, at), end in zip(list(begun.items())[:-1], ends, strict=True)
        ]
        if {part.name for part in parts} != set(PARTS):
            raise SystemExit(f"the output named only {', '.join(begun)}")
        note(", ".join(f"{part.name}: {part.seconds:.1f} s" for part in parts))
        kills: list[Killed] = []
        same = runs = 0
        while runs < args.kills:
            out = work / f"killed{runs}"
            before = len(kills)
            while len(kills) == before or (len(kills) == before + 1 and chance.random() < AGAIN):
                part = chance.choice(parts)
                *_, last = watched(command(out.name), part, chance.uniform(0, part.seconds))
                if last == "end":
                    break
                where, written = state_of(out)
                kills.append(Killed(last, where, max(0.0, time.time() - written)))
                note(
                    f"run {runs + 1}: aimed at {part.name}, killed in {last}; goes on from {where}"
                )
            if len(kills) == before:
                note("ended before it was to be killed; begun anew")
                shutil.rmtree(out)
                continue
            watched(command(out.name))
            same += result(out) == whole
            runs += 1
    fell = Counter(kill.part for kill in kills)
    went = Counter(kill.goes_on for kill in kills)
    rows = [
        ["runs killed", args.kills],
        ["kills in all", len(kills)],
        *([f"kills in {name}", fell[name]] for name in PARTS),
        *([f"went on from {name}", count] for name, count in sorted(went.items())),
        ["history and weights bit-identical", f"{same} of {args.kills}"],
        ["lost to a kill in a stage, at most", f"{most_lost(kills):.1f} s"],
        ["lost to a kill in a stage, median", f"{middle(lost_in_stages(kills)):.1f} s"],
    ]
    spent, wall_s = plan["checkpoints"], begun["end"] - begun["before training"]
    share = spent["seconds"] / wall_s
    rows.append(
        [
            f"checkpoints of the uninterrupted run ({wall_s:.1f} s without start-up)",
            f"{spent['written']} written, {spent['seconds']:.2f} s, {share:.2%}",
        ]
    )
    table([f"`kill -9`, line {args.line}, {args.epochs[0]} and {args.epochs[1]} epochs", ""], rows)
    name = args.photos.name
    told = f"{same} of {args.kills}"
    bar(f"`kill -9`, {name}: history and weights", "bit-identical", told, same == args.kills)
    bar(f"`kill -9`, {name}: lost", "≤ 30 s", f"{most_lost(kills):.1f} s", most_lost(kills) <= 30)


def lost_in_stages(kills: list[Killed]) -> list[float]:
    """Returns what kills in a stage lost: the time since the last checkpoint."""
    return [kill.lost_s for kill in kills if kill.part.startswith("stage")] or [0.0]


def most_lost(kills: list[Killed]) -> float:
    return max(lost_in_stages(kills))


if __name__ == "__main__":
    main()
