"""`kill -9` at random moments of a search; does the same command end with the same result?

    python benchmarks/search_kills.py PHOTOS --weights FOLDER --kills 20

A run is done once without interruption. Then runs in fresh folders are killed while candidates are
trained, and the same command is given again, until KILLS kills have fallen into searches; each run
is finished in the end. All share one warm cache. The number of candidates and their lengths are
fixed, and there is nothing to choose but them, so that two plans are alike. Compared are
`search.json` and `history.jsonl` without seconds, the scores, and the bytes of the weights.
"""

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from common import FROSTLINE, bar, note, parser, workplace

RECIPE = """
[views]
preset = "standard"
count = 2

[compute]
engine = "eager"
cache = "always"

[search]
enabled = true
candidates = 3
folds = 1

[[stages]]
line = "auto"
epochs = 4
lr = 1e-3
suffix_lr = 1.0
warmup = 0.2
ema = 0.99
select = "last"
"""
TIMES = ("seconds", "estimate_s", "clock", "at_s")


def without_times(facts: Any) -> Any:
    """Returns facts without what differs from run to run."""
    if isinstance(facts, dict):
        return {key: without_times(one) for key, one in facts.items() if key not in TIMES}
    return [without_times(one) for one in facts] if isinstance(facts, list) else facts


def outcome(run: Path) -> tuple[Any, ...]:
    """Returns what must be the same in all runs."""
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    search = json.loads((run / "search.json").read_text())
    scores = json.loads((run / "metrics.json").read_text())["val"]
    weights = (run / "model" / "model.safetensors").read_bytes()
    return without_times(history), without_times(search), scores, weights


def is_searching(run: Path) -> bool:
    """Says whether candidates are under way: the first is trained, and none is chosen yet."""
    if not (run / "checkpoints").is_dir() or (run / "metrics.json").is_file():
        return False
    search = run / "search.json"
    if not search.is_file():
        return any((run / "checkpoints").glob("candidate*"))
    return "chosen" not in json.loads(search.read_text())


def killed_in_search(command: list[str], run: Path, wait_s: float) -> bool:
    """Starts a run, kills it so many seconds into its search; says whether it was still in it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not is_searching(run):
        time.sleep(0.02)
    begun = time.perf_counter()
    while process.poll() is None and time.perf_counter() - begun < wait_s:
        time.sleep(0.02)
    hit = process.poll() is None and is_searching(run)
    if process.poll() is None and hit:
        process.send_signal(signal.SIGKILL)
    process.wait()
    return hit


def main() -> None:
    """Kills, goes on, and compares."""
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=20)
    args = options.parse_args()
    chance = random.Random(0)
    with workplace() as work:
        recipe = work / "recipe.toml"
        recipe.write_text(RECIPE)

        def command(run: Path) -> list[str]:
            return [
                *(*FROSTLINE, "train", str(args.photos), "--out", str(run)),
                *("--recipe", str(recipe), "--backbone", args.weights),
                *("--cache-dir", str(work / "cache")),
            ]

        subprocess.run(command(work / "whole"), check=True, capture_output=True)
        wanted = outcome(work / "whole")
        spent_s = sum(
            one.get("seconds", 0.0)
            for one in json.loads((work / "whole" / "search.json").read_text())["candidates"]
        )
        kills = runs = same = 0
        while kills < args.kills:
            run = work / "killed"
            shutil.rmtree(run, ignore_errors=True)
            times = min(chance.randint(1, 4), args.kills - kills)
            for _ in range(times):
                kills += killed_in_search(command(run), run, chance.uniform(0, spent_s / times))
            subprocess.run(command(run), check=True, capture_output=True)
            runs += 1
            same += outcome(run) == wanted
            note(f"{kills} kills in {runs} runs, {same} of them as the uninterrupted one")
        bar(
            "kills during the search",
            f"{args.kills}, all resumed, result identical",
            f"{kills} in {runs} runs, {same} identical",
            same == runs,
        )


if __name__ == "__main__":
    main()
