"""The shipped recipes on one folder of pictures: accuracy, log-loss and time.

    python benchmarks/recipes.py PHOTOS --weights FOLDER [--only thaw quick …]

Each begins with an empty cache. The network is that of FOLDER in all of them: `classic` is made for
one of VGG's kind and runs here on another; `scratch` takes the architecture with random weights.
*checkpoints* is the share of the wall time that writing them took.
"""

from common import Trained, bar, middle, parser, table, train, workplace
from frostline import recipe

FIRST = "thaw"


def row(name: str, runs: list[Trained], baseline_s: float) -> list[object]:
    wall_s = middle(one.wall_s for one in runs)
    scores = [one.metrics["val"] for one in runs]
    low, high = scores[0]["accuracy_ci95"]
    checkpoints = middle(one.checkpoints_s / one.wall_s for one in runs)
    return [
        name,
        f"{middle(score['accuracy'] for score in scores):.4f}",
        f"{low:.3f} to {high:.3f}",
        f"{middle(score['log_loss'] for score in scores):.4f}",
        f"{wall_s:.1f}",
        f"{wall_s / baseline_s:.2f}",
        f"{middle(one.peak_gib for one in runs):.2f}",
        f"{sum(runs[0].epochs_s):.1f}",
        f"{checkpoints:.2%}",
        runs[0].rows_computed,
        len(runs),
    ]


def main() -> None:
    known = sorted(recipe.builtin(), key=lambda name: (name != FIRST, name))
    arguments = parser(__doc__)
    arguments.add_argument("--only", nargs="*", choices=known, default=known, metavar="NAME")
    arguments.add_argument("--rounds", type=int, default=1)
    args = arguments.parse_args()
    found: dict[str, list[Trained]] = {}
    for _ in range(args.rounds):
        for name in args.only:
            with workplace() as work:
                done = train(args.photos, args.weights, work, name, "--recipe", name)
                found.setdefault(name, []).append(done)
    baseline_s = middle(one.wall_s for one in found[args.only[0]])
    header = ["recipe", "val accuracy", "95 % interval", "log-loss", "wall s"]
    header += [f"over {args.only[0]}", "peak GiB", "epochs s", "checkpoints"]
    header += ["forward passes", "runs"]
    table(header, [row(name, runs, baseline_s) for name, runs in found.items()])
    shares = {
        name: max(one.checkpoints_s / one.wall_s for one in runs) for name, runs in found.items()
    }
    told = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    met = max(shares.values()) <= 0.01
    bar(f"checkpoints' share of the run, {args.photos.name}", "≤ 1 %", told, met)


if __name__ == "__main__":
    main()
