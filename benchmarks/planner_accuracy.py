"""The planner's estimate against what then happened, on three settings.

    python benchmarks/planner_accuracy.py PHOTOS --weights FOLDER [--rounds 3]

Each is a fresh process with an empty cache. `plan.json` holds the estimate, made before anything
was computed, and what the pass over the pixels and the epochs then took. As a measure from outside,
the wall time of `frostline train` less that of `frostline plan` with the same options stands beside
it: it has scoring, saving and the report in it too.
"""

from common import FROSTLINE, Trained, bar, middle, parser, run, table, train, workplace

SETTINGS = {
    "default recipe": "",
    "line blocks.5, 2 epochs, nothing kept": "--line blocks.5 --epochs 2 --cache never",
    "line blocks.3, 2 views, 3 epochs, fp32, eager": (
        "--line blocks.3 --epochs 3 --augment standard --views 2 --precision fp32 --engine eager"
    ),
}


def compared(name: str, runs: list[Trained], outside: list[float]) -> list[object]:
    """Returns a row: estimate / measured (ratio) of medians, for total, pass and epoch."""
    cells: list[object] = [name]
    for said, came in (
        ("total_s", "total_s"),
        ("first_pass_s", "passes_s"),
        ("epoch_s", "epoch_s"),
    ):
        estimates = [one.plan["estimate"][said] for one in runs]
        measured = [one.plan["measured"][came] for one in runs]
        if not all(measured):
            cells.append(f"{middle(estimates):.1f} / not measured")
            continue
        ratio = middle(a / b for a, b in zip(estimates, measured, strict=True))
        cells.append(f"{middle(estimates):.1f} / {middle(measured):.1f} ({ratio:.2f})")
    choice = runs[0].plan["estimate"]
    kept = f"{choice['views']} views kept" if choice["keep"] else "nothing kept"
    chosen = f"{choice['line']}, {choice['engine']}, {kept}"
    ratio = middle(
        one.plan["estimate"]["total_s"] / seconds
        for one, seconds in zip(runs, outside, strict=True)
    )
    return [*cells, f"{middle(outside):.1f} ({ratio:.2f})", chosen, len(runs)]


def estimate_over_measured(runs: list[Trained]) -> float:
    return middle(one.plan["estimate"]["total_s"] / one.plan["measured"]["total_s"] for one in runs)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=1)
    arguments.add_argument("--only", nargs="*", type=int, help="which settings, from 0")
    args = arguments.parse_args()
    rows = []
    ratios = []
    for number, (name, words) in enumerate(SETTINGS.items()):
        if args.only and number not in args.only:
            continue
        runs, outside, options = [], [], words.split()
        for _ in range(args.rounds):
            with workplace() as work:
                start = [*FROSTLINE, "plan", str(args.photos), "--backbone", args.weights, *options]
                planned = run([*start, "--cache-dir", str(work / "planned")])
                runs.append(train(args.photos, args.weights, work, f"setting{number}", *options))
                outside.append(runs[-1].wall_s - planned.wall_s)
        rows.append(compared(name, runs, outside))
        ratios.append(estimate_over_measured(runs))
    header = ["setting", "total s: estimate / measured (ratio)", "first pass s", "epoch s"]
    table([*header, "train less plan, wall s (ratio)", "chosen", "runs"], rows)
    told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    met = all(abs(ratio - 1) <= 0.3 for ratio in ratios)
    bar(f"the planner's estimate over what came, {args.photos.name}", "0.7 to 1.3", told, met)


if __name__ == "__main__":
    main()
