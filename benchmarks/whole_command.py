"""The whole command with the default recipe against fastai's `fine_tune`, side by side.

    python benchmarks/whole_command.py PHOTOS --weights FOLDER \
        --rival-python FASTAI/bin/python --rival-epochs 3

PHOTOS has train/ and val/. Each round runs, one after the other: `frostline train` with an empty
cache; fastai (`rival_fastai.py`, in its own environment); then, with the now warm cache, the same
recipe with new rates, and with an MLP head. Wall time is the whole process's, imports included;
peak memory the largest resident size of its process; forward passes those below the frost line, as
the run counted them. Prints a Markdown table of medians, our cold command's time over the rival's
(the median of the rounds), and whether accuracy and share are what --accuracy and --share ask.
"""

import json
from pathlib import Path

from common import HERE, bar, middle, note, parser, run, table, train, workplace

# What is changed must not change what is kept.
WARM = {
    "new rates": ["--set", "stages.0.lr=2e-3", "--set", "stages.1.lr=1e-4"],
    "MLP head": ["--head", "mlp:256"],
}
Row = tuple[float, float, float, str]


def rival(python: str, photos: Path, weights: Path, epochs: int) -> tuple[str, Row]:
    command = [python, str(HERE / "rival_fastai.py"), str(photos), "--weights", str(weights)]
    note(f"fastai fine_tune({epochs}) {photos.name}")
    timed = run([*command, "--epochs", str(epochs)])
    said = json.loads(timed.out.strip().splitlines()[-1])
    return said["rival"], (timed.wall_s, timed.peak_gib, said["accuracy"], "")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rival-python", default="", help="of an environment with fastai")
    arguments.add_argument("--rival-epochs", type=int, default=3)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--accuracy", type=float, default=0.0, help="that must be reached")
    arguments.add_argument("--share", type=float, default=1 / 6, help="of the rival's time")
    arguments.add_argument("--cold-only", action="store_true", help="nothing with a warm cache")
    args = arguments.parse_args()
    found: dict[str, list[Row]] = {}
    ratios = []

    def ours(name: str, number: int, *options: str) -> float:
        done = train(args.photos, args.weights, work, f"run{number}", *options)
        row = (done.wall_s, done.peak_gib, done.accuracy, str(done.rows_computed))
        found.setdefault(name, []).append(row)
        return done.wall_s

    for _ in range(args.rounds):
        with workplace() as work:
            wall_s = ours("frostline, cold cache", 0)
            if args.rival_python:
                folder = Path(args.weights.removeprefix("dir:"))
                name, row = rival(args.rival_python, args.photos, folder, args.rival_epochs)
                found.setdefault(name, []).append(row)
                ratios.append(wall_s / row[0])
            for number, (name, options) in enumerate(WARM.items(), 1):
                if not args.cold_only:
                    ours(f"frostline, warm cache, {name}", number, *options)
    rows = []
    for name, runs in found.items():
        walls, peaks, accuracies, passes = zip(*runs, strict=True)
        numbers = f"{middle(walls):.1f}", f"{middle(peaks):.2f}", f"{middle(accuracies):.4f}"
        rows.append([name, *numbers, ", ".join(dict.fromkeys(passes)) or "-", len(runs)])
    table(["command", "wall s", "peak GiB", "val accuracy", "forward passes", "runs"], rows)
    name = args.photos.name
    cold, *others = ([run[2] for run in runs] for runs in found.values())
    reached = middle(cold)
    if args.accuracy:
        wanted = f"≥ {args.accuracy:g}"
        bar(f"default recipe, {name}", wanted, f"{reached:.4f}", reached >= args.accuracy)
    if ratios:
        ratio, theirs = middle(ratios), middle(others[0])
        each = ", ".join(f"{one:.3f}" for one in ratios)
        told = f"1/{1 / ratio:.1f} (pairs: {each})"
        rival_name = f"fastai fine_tune({args.rival_epochs})"
        bar(f"its time, {name}", f"≤ {args.share:.3f} of {rival_name}", told, ratio <= args.share)
        accuracies = f"{reached:.4f} and {theirs:.4f}"
        bar(f"its accuracy, {name}", f"that of {rival_name}", accuracies, reached >= theirs)
    warm = [run[3] for key, runs in found.items() if "warm" in key for run in runs]
    if warm:
        met = set(warm) == {"0"}
        passes = f"{', '.join(dict.fromkeys(warm))} in {len(warm)} runs"
        bar(f"warm cache, new head or rates, {name}", "no forward pass", passes, met)


if __name__ == "__main__":
    main()
