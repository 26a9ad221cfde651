"""How many kept views of an image are enough: accuracy and time for K = 1, 2, 4, 8 and live.

    python benchmarks/views.py PHOTOS --weights FOLDER [--seeds 3]

The default recipe (the probe, then the head for four epochs, then the last blocks for four more, on
views of the preset `standard`), differing in nothing but K. The first seed begins with an empty
cache: wall time and first pass are its own. The others take what it kept and the engine it chose;
live views are computed anew each time. Accuracy is the mean over seeds, on validation images, and
`log-loss` likewise; *last epoch* is the accuracy after it, though an earlier state may be kept.
"""

import statistics

from common import Trained, middle, parser, table, train, workplace

WAYS = {
    "no augmentation": ["--augment", "none"],
    **{f"K = {count}": ["--augment", "standard", "--views", str(count)] for count in (1, 2, 4, 8)},
    "live": ["--augment", "standard", "--live"],
}


def row(name: str, runs: list[Trained], baseline_s: float) -> list[object]:
    accuracies = [one.accuracy for one in runs]
    losses = [one.metrics["val"]["log_loss"] for one in runs]
    epochs = [[line for line in one.history if line["kind"] == "train"] for one in runs]
    last = [lines[-1]["val_accuracy"] for lines in epochs]
    wall_s = runs[0].wall_s
    return [
        name,
        f"{statistics.mean(accuracies):.4f}",
        f"{min(accuracies):.4f} to {max(accuracies):.4f}",
        f"{statistics.mean(losses):.4f}",
        f"{statistics.mean(last):.4f}",
        f"{wall_s:.1f}",
        f"{wall_s / baseline_s:.2f}",
        f"{runs[0].passes_s:.1f}",
        f"{middle(sum(one.epochs_s) for one in runs):.1f}",
        runs[0].recipe["compute"]["engine"],
        len(runs),
    ]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--only", nargs="*", choices=list(WAYS), default=list(WAYS))
    args = arguments.parse_args()
    found: dict[str, list[Trained]] = {}
    for name in args.only:
        options = WAYS[name]
        # What is compared is kept and live views, not what the planner thinks of keeping.
        options = options if "--live" in options else [*options, "--cache", "always"]
        engine = "auto"
        with workplace() as work:
            for seed in range(args.seeds):
                more = ["--engine", engine, "--seed", str(seed)]
                done = train(args.photos, args.weights, work, f"seed{seed}", *options, *more)
                engine = done.recipe["compute"]["engine"]
                found.setdefault(name, []).append(done)
    baseline_s = found[args.only[-1]][0].wall_s
    header = ["views", "val accuracy", "lowest to highest", "log-loss", "last epoch"]
    header += ["wall s, cold", f"over {args.only[-1]}", "first pass s", "epochs s"]
    header += ["engine", "seeds"]
    table(header, [row(name, runs, baseline_s) for name, runs in found.items()])


if __name__ == "__main__":
    main()
