"""Damaged and hostile weights files of every format: each is read, or refused in one line.

    python benchmarks/hostile_files.py [--mutations 300] [--seed 0] [--only KIND …]

Files are those of the tests, damaged as in `tests/networks/weights_files/makers.py`: bits flipped,
cut short, numbers made huge, blocks swapped, dropped and doubled, names that lead elsewhere or are
code, inside archives too. Each is looked into (`weights inspect`), and opened as a network where it
can be one, in a forked process that may take 1 GiB of memory and 10 s, write nothing, run nothing
and open nothing beside the file's folder. HDF5's library is C and may crash: there a process apart
comes first, and says so in one line (`guarded.check`); such files are counted by themselves.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from common import table
from frostline.networks.weights_files import guarded, look

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from networks.weights_files import bounded, openers  # noqa: E402
from networks.weights_files.bounded import Outcome  # noqa: E402
from networks.weights_files.makers import IN_HDF5, MAKERS, make, mutants  # noqa: E402

HEADS = ["format", "opened", "mutations", "read", "refused", "crashed apart", "slowest s", "MB"]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--mutations", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    args = arguments.parse_args()
    # What a process apart does is done in the forked one.
    guarded.check = look.inspect  # type: ignore[assignment]
    broken: list[str] = []
    table([*HEADS, "broke"], rows(args.only, args.mutations, args.seed, broken))
    sys.stderr.writelines(broken)
    sys.exit(1 if broken else 0)


def rows(kinds: Sequence[str], count: int, seed: int, broken: list[str]) -> Iterator[list[object]]:
    """Yields the rows of the table, and adds to `broken` what did what none may."""
    for kind in kinds:
        works = {"inspect": openers.inspect}
        if kind in openers.NETWORKS:
            works["network"] = openers.opener(kind)
        for name, work in works.items():
            done = outcomes(kind, work, count, seed)
            bad = [(what, one) for what, one in done if is_broken(kind, one)]
            broken += [f"{what}, {name}: {one.kind}: {one.said}\n\n" for what, one in bad]
            yield [kind, name, *summary(done), len(bad)]


def outcomes(
    kind: str, work: Callable[[Path], object], count: int, seed: int
) -> list[tuple[str, Outcome]]:
    """Returns what was done to each file, and what came of it."""
    with tempfile.TemporaryDirectory(prefix="frostline-") as folder:
        # Once in this process: what is imported late is there in all children.
        work(make(kind, Path(folder) / "whole"))
        made = list(mutants(kind, Path(folder) / "mutants", count, seed))
        done = bounded.run(work, [path for _, path in made])
        return [(what, one) for (what, _), one in zip(made, done, strict=True)]


def is_broken(kind: str, one: Outcome) -> bool:
    """Says whether a file did what none may."""
    return one.kind == "broke" or (one.kind == "died" and kind not in IN_HDF5)


def summary(done: list[tuple[str, Outcome]]) -> list[object]:
    """Returns the numbers of a row of the table."""
    counts = Counter(one.kind for _, one in done)
    slowest = max(one.seconds for _, one in done)
    most = max(one.bytes for _, one in done) / 1e6
    numbers = [len(done), counts["read"], counts["refused"], counts["died"]]
    return [*numbers, f"{slowest:.2f}", f"{most:.0f}"]


if __name__ == "__main__":
    main()
