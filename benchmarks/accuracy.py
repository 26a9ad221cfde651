"""Test accuracy on six sets with two networks: the default, five minutes, an expert's grid, fastai.

    python benchmarks/accuracy.py --keep FOLDER [--rival-python FASTAI/bin/python]
        [--sets grocery …] [--networks mobilenetv2_imagenet …] [--seeds 3]
        [--only default time reference fastai] [--grid-limit N]

Sets and networks are those in `$FROSTLINE_ASSETS`. Nothing is chosen on the test split: it is what
each set gives as `val`; a stratified fifth of its `train`, by group where it has groups, becomes
`val`, another fifth for each seed.

- *default*: `frostline train` with no option but the backbone and the seed, from an empty cache.
- *time*: the same with `--time 5m`.
- *reference*: each setting of a fixed grid, `--no-search`, all on one cache; the best on `val` by
  accuracy (`reference`) and by the rule of `training/scoring.py` (`by the rule`). A setting that
  fails, such as one that diverges, is told and left out.
- *fastai*: `fine_tune` of the same weights (`rival_fastai.py`) at several lengths; the best on
  `val`.

Each run is a line of FOLDER/results.jsonl, and what stands there is not run again; so a benchmark
that was ended goes on by the same command. Seconds are the whole process's; the reference's those
of all its settings together, fastai's those of its best length alone. One table comes first, then
what must hold.
"""

import argparse
import csv
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from accuracy_tables import Result, bars, print_results, result_of
from common import HERE, note, run, train, workplace
from frostline.images import listing
from frostline.images.rows import Listing, Row
from frostline.training import folds

ASSETS = Path(os.environ.get("FROSTLINE_ASSETS", HERE.parent.parent / "shared"))
SETS = ("ants_bees", "cats_dogs", "clothing", "coffee_leaves", "grocery", "solar_cells")
NETWORKS = ("mobilenetv2_imagenet", "efficientnet_lite0_imagenet")
METHODS = ("default", "time", "reference", "fastai")
OPTIONS = {"default": "", "time": "--time 5m"}
RIVAL_EPOCHS = (1, 3, 5, 10)

LINES = ("85%", "65%", "45%", "pixels")
RATES = ("1e-3", "3e-4", "3e-3")
EPOCHS = (5, 15, 30)
SMOOTHINGS = ("0.0", "0.1")
VIEWS = ("none", "light", "standard")


@dataclass(frozen=True)
class Case:
    """A set with one of its splits, and a network."""

    set: str
    network: str
    seed: int

    @property
    def weights(self) -> Path:
        """The timm model folder."""
        return ASSETS / "weights" / self.network


def grid() -> Iterator[str]:
    """Gives the options of 36 settings, pixels last.

    Every line meets every rate and every length. Views and smoothing go through their levels as in
    a Latin square, so that each meets every level of the others.
    """
    for (i, line), (j, rate), (k, epochs) in itertools.product(
        enumerate(LINES), enumerate(RATES), enumerate(EPOCHS)
    ):
        stage = {"line": line, "lr": rate, "epochs": epochs}
        stage["label_smoothing"] = SMOOTHINGS[(i + j + k) % len(SMOOTHINGS)]
        views = VIEWS[(i + j + k) % len(VIEWS)]
        live = ""
        if line == "pixels":
            live = " --live" if views != "none" else ""
            # Of all layers, the lower ones learn with care, as in the recipe `full`.
            stage |= {"suffix_lr": 0.3, "layer_decay": 0.75}
        values = " ".join(f"--set stages.0.{key}={value}" for key, value in stage.items())
        yield f"--no-search --augment {views}{live} {values}"


def source_of(name: str) -> Path:
    """Returns the folder or the table of a set."""
    folder = ASSETS / "data" / name
    table = folder / "pictures.csv"
    return table if table.is_file() else folder


def targets_of(found: Listing) -> torch.Tensor:
    """Returns the classes of the training images: [n], or [n, c] of 0 and 1 for several labels."""
    numbers = {label: number for number, label in enumerate(found.labels)}
    learned = found.of("train")
    if not found.several:
        return torch.tensor([numbers[row.label] for row in learned])
    of_class = torch.zeros(len(learned), len(numbers))
    for at, row in enumerate(learned):
        of_class[at, [numbers[label] for label in found.tags(row)]] = 1
    return of_class


def groups_of(rows: Sequence[Row]) -> list[str] | None:
    """Returns what stays together; None where each image is alone."""
    return [row.group or row.path for row in rows] if any(row.group for row in rows) else None


def split_anew(found: Listing, seed: int) -> list[dict[str, str]]:
    """Returns rows of a table in which `val` is called `test`, and a fifth of `train` `val`."""
    learned = found.of("train")
    held = folds.assign(targets_of(found), 5, groups_of(learned), seed).tolist()
    rows = [(row, "val" if fold == 0 else "train") for row, fold in zip(learned, held, strict=True)]
    rows += [(row, "test") for row in found.of("val")]
    return [
        {
            "path": str(Path(row.path).resolve()),
            "label": row.label,
            "split": split,
            **({"group": row.group} if any(one.group for one, _ in rows) else {}),
        }
        for row, split in rows
    ]


def write_table(rows: Sequence[dict[str, str]], path: Path) -> Path:
    """Writes the table that both programs read."""
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def ours(case: Case, options: str, table: Path, work: Path, several: bool) -> Result:
    """Runs `frostline train` and reads what it predicted."""
    name = f"run{len(list(work.glob('run*')))}"
    words = [*options.split(), "--seed", str(case.seed)]
    done = train(table, f"dir:{case.weights}", work, name, *words)
    return result_of(work / name / "predictions.csv", table, done.wall_s, several)


def rival(case: Case, epochs: str, table: Path, work: Path, several: bool, python: str) -> Result:
    """Runs fastai's `fine_tune` and reads what it predicted."""
    note(f"fastai fine_tune({epochs}) {case.set}, {case.network}, seed {case.seed}")
    out = work / f"rival{epochs}.csv"
    command = [python, str(HERE / "rival_fastai.py"), str(table), "--weights", str(case.weights)]
    command += ["--epochs", epochs, "--seed", str(case.seed), "--predictions", str(out)]
    timed = run([*command, *(["--several"] if several else [])])
    return result_of(out, table, timed.wall_s, several)


class Record:
    """The lines of results.jsonl: what was run, and what came of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        entries = [json.loads(line) for line in lines]
        self.results = {
            (Case(**one["case"]), one["method"], one["options"]): Result(**one["result"])
            for one in entries
        }

    def add(self, case: Case, method: str, options: str, made: Callable[[], Result]) -> None:
        """Runs it where it is not there yet, and writes it down."""
        if (case, method, options) in self.results:
            return
        try:
            result = made()
        except SystemExit as end:
            # A rate that is too high is the expert's loss; anything else that fails is ours.
            if method != "reference":
                raise
            note(str(end))
            result = Result()
        self.results[case, method, options] = result
        entry = {"case": asdict(case), "method": method, "options": options}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**entry, "result": asdict(result)}) + "\n")


def carry_out(
    case: Case, found: Listing, wanted: Sequence[tuple[str, str]], record: Record, python: str
) -> None:
    """Runs what is wanted, each method in a folder of its own, so that none finds a warm cache."""
    for method, entries in itertools.groupby(wanted, key=lambda pair: pair[0]):
        with workplace() as work:
            rows = split_anew(found, case.seed)
            table = write_table(rows, work / "table" / f"{case.set}.csv")
            for _, options in entries:
                there = (case, options, table, work, found.several)
                made = (
                    partial(rival, *there, python) if method == "fastai" else partial(ours, *there)
                )
                record.add(case, method, options, made)


def wanted_of(
    methods: Sequence[str], grid_limit: int | None, rival_epochs: Sequence[int] = RIVAL_EPOCHS
) -> list[tuple[str, str]]:
    """Returns the method and the options of each run of a case."""
    wanted = [(method, OPTIONS[method]) for method in methods if method in OPTIONS]
    if "reference" in methods:
        wanted += [("reference", options) for options in list(grid())[:grid_limit]]
    if "fastai" in methods:
        wanted += [("fastai", str(epochs)) for epochs in rival_epochs]
    return wanted


def add_cases(parser: argparse.ArgumentParser, seeds: int) -> None:
    """Adds the options that name sets, networks and seeds."""
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NETWORK"
    )
    parser.add_argument("--seeds", type=int, default=seeds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, seeds=3)
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD")
    parser.add_argument("--grid-limit", type=int, help="only so many settings, the first ones")
    parser.add_argument("--rival-python", default="", help="of an environment with fastai")
    parser.add_argument("--rival-epochs", type=int, nargs="+", default=RIVAL_EPOCHS, metavar="N")
    parser.add_argument("--keep", type=Path, help="where results stay, to go on from")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    methods = [
        one for one in METHODS if one in args.only and (one != "fastai" or args.rival_python)
    ]
    if "fastai" in args.only and not args.rival_python:
        note("without --rival-python: no fastai")
    wanted = wanted_of(methods, args.grid_limit, args.rival_epochs)
    with workplace() as temporary:
        keep = args.keep or temporary
        keep.mkdir(parents=True, exist_ok=True)
        record = Record(keep / "results.jsonl")
        for name in args.sets:
            found = listing.scan(source_of(name))
            for network, seed in itertools.product(args.networks, range(args.seeds)):
                case = Case(name, network, seed)
                left = [one for one in wanted if (case, *one) not in record.results]
                carry_out(case, found, left, record, args.rival_python)
    asked = {
        (set_name, network, method, options): [
            record.results[Case(set_name, network, seed), method, options]
            for seed in range(args.seeds)
        ]
        for set_name, network in itertools.product(args.sets, args.networks)
        for method, options in wanted
    }
    columns = print_results(asked, args.seeds)
    bars(columns)


if __name__ == "__main__":
    main()
